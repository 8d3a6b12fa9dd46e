"""check-config and doctor: is what is written right, and does what it names really work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from homeguard.cli.exits import ExitCode, complain
from homeguard.cli.options import ConfigOption, JsonOption, find_config, load_config


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
    typer.echo(f"{found or 'no config file, built-in defaults'}: valid")
    for label, value in summarize(checked):
        typer.echo(f"  {label:<9} {value}")
    for warning in warnings_of(checked, Secrets.load()):
        complain(f"warning: {warning}")


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
    from homeguard.config import ConfigError, Secrets

    try:
        loaded = load_config(config)
    except ConfigError as error:
        checks = [examination.config_broken(error)]
    else:
        checks = examination.stream(
            examination.examinations(loaded, Secrets.load(), find_config(config), listen_s),
            None if as_json else examination.show,
        )
    if as_json:
        typer.echo(examination.as_json(checks))
    elif len(checks) == 1:
        examination.show(checks[0])
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(ExitCode.FAILED)
