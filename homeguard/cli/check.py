"""check-config and doctor: is what is written right, and does what it names really work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from homeguard.cli.exits import ExitCode, complain
from homeguard.cli.options import ConfigOption, JsonOption, find_config, load_config

if TYPE_CHECKING:
    from homeguard.checkup import Check
    from homeguard.config import Config


def check_config(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="The file to check; the one that `run` would use when left out.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Check a config file: every error at once, by line and path; then what would run."""
    from homeguard.cli.locate import load_with_lines
    from homeguard.cli.summary import summarize, warnings_of
    from homeguard.config import Config, Secrets

    found = find_config(file or config)
    checked = load_with_lines(found) if found else Config()
    if checked.sms.enabled:
        _check_gateway(checked)
    typer.echo(f"{found or 'no config file, built-in defaults'}: valid")
    for label, value in summarize(checked):
        typer.echo(f"  {label:<9} {value}")
    for warning in warnings_of(checked, Secrets.load()):
        complain(f"warning: {warning}")


def _check_gateway(config: Config) -> None:
    """Raises ConfigError where the token would travel in the clear."""
    from datetime import UTC, datetime

    from homeguard.alerting.sms import SmsChannel

    SmsChannel(
        config.sms,
        "",
        compose=lambda _alert, _contact: "",
        sent=lambda _address, _since: (),
        now=lambda: datetime.now(UTC),
    )


def config_reference(
    shipped: Annotated[
        Path, typer.Argument(help="The commented config.yaml that explains each key.")
    ] = Path("config.yaml"),
) -> None:
    """Write docs/configuration.md to stdout, from the config model and the shipped file."""
    from homeguard.cli.reference import reference

    typer.echo(reference(shipped.read_text(encoding="utf-8")), nl=False)


def doctor(
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    listen_s: Annotated[
        float,
        typer.Option("--listen", min=0.2, max=60.0, help="Seconds to listen to each microphone."),
    ] = 2.0,
) -> None:
    """Try every part for real and say what to do about each failure; exit 1 if one fails.

    Config, models, microphones (a level is heard), MQTT broker (connects), SMS account (asked for,
    nothing is sent), state directory, disk, clock.
    """
    from homeguard import doctor as examination
    from homeguard.checkup import State
    from homeguard.config import ConfigError, Secrets

    checks = []
    try:
        found = examination.examine(
            load_config(config), Secrets.load(), find_config(config), listen_s
        )
        for check in found:
            checks.append(check)
            if not as_json:
                _show(check)
    except ConfigError as error:
        checks.append(examination.broken_config(error))
        if not as_json:
            _show(checks[-1])
    if as_json:
        typer.echo(examination.as_json(checks))
    if any(check.state is State.FAIL for check in checks):
        raise typer.Exit(ExitCode.FAILED)


_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def _show(check: Check) -> None:
    """One check in a line or a few, as soon as it is known."""
    mark = typer.style(f"{check.state.upper():<4}", fg=_COLOURS[check.state], bold=True)
    typer.echo(f"{mark}  {check.name}: {check.found}")
    if check.remedy and check.state != "ok":
        typer.echo(f"      -> {check.remedy}")
