"""run, demo and test-alert: the daemon itself, and messages through the real channels."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from homeguard.cli.exits import ExitCode, complain
from homeguard.cli.options import ConfigOption, find_config, load_config, state_dir_of

if TYPE_CHECKING:
    from pathlib import Path

    from homeguard.config import Config


def run(
    *,
    config: ConfigOption = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log what goes on, not only what matters.")
    ] = False,
) -> None:
    """Listen and alert until told to stop (SIGTERM or Ctrl-C); ends within 5 seconds.

    SIGHUP reads the config again; one with an error is refused and the old one stays in force.
    """
    from homeguard.runtime import leave  # isort: skip - before any native library
    from homeguard.config import Secrets
    from homeguard.logs import configure
    from homeguard.service import run as run_daemon

    loaded = _placed(load_config(config))
    configure(verbose=verbose, form=loaded.logs.format)
    _say_which(find_config(config))
    run_daemon(loaded, Secrets.load(), lambda: _placed(load_config(config)))
    leave()


def demo() -> None:
    """Play a household scene through the daemon, with a broker and an SMS gateway of its own."""
    from homeguard import runtime as _runtime  # noqa: F401 - before any native library
    from homeguard.demo import run as run_demo

    raise typer.Exit(run_demo())


def send_test(
    *,
    config: ConfigOption = None,
    room: Annotated[
        str | None, typer.Option(help="The room that the test names; the first when left out.")
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=1.0, help="Seconds to wait for the results.")
    ] = 60.0,
) -> None:
    """Send a test through every configured channel and wait for what becomes of it.

    Everyone gets it, marked as a test. Exit 1 if a message fails or stays under way.
    """
    from homeguard.cli.history import describe
    from homeguard.cli.trial import FINAL, opened
    from homeguard.config import Secrets
    from homeguard.domain import DeliveryState

    loaded = load_config(config)
    rooms = [each.name for each in loaded.rooms]
    if room is not None and room not in rooms:
        message = f"there are {', '.join(rooms)}"
        raise typer.BadParameter(message, param_hint="--room")
    failed = under_way = False
    with opened(loaded, Secrets.load(), state_dir_of(loaded)) as trial:
        identity = trial.send(room or rooms[0])
        sender = "the running daemon sends it" if trial.by_daemon else "no daemon runs: we send it"
        goes_on = "it is still tried" if trial.by_daemon else "`homeguard run` will go on trying"
        typer.echo(f"test {identity} ({sender}); waiting up to {timeout_s:g} s")
        for delivery in trial.follow(identity, timeout_s):
            typer.echo(f"  {describe(delivery)}")
            failed |= delivery.state is DeliveryState.FAILED
            under_way |= delivery.state not in FINAL
    if under_way:
        complain(
            f"not everything has arrived within {timeout_s:g} s; {goes_on}: "
            f"`homeguard incidents show {identity[:8]}` tells what became of it"
        )
    if failed or under_way:
        raise typer.Exit(ExitCode.FAILED)


def _say_which(config: Path | None) -> None:
    """Which file is in force: what is written in another one would be missed."""
    log = logging.getLogger(__name__)
    if config is None:
        log.warning("no config file, built-in defaults: `homeguard init` writes one")
    else:
        log.info("the configuration is %s", config.absolute())


def _placed(config: Config) -> Config:
    """The config with the state directory that systemd names, if it does."""
    node = config.node.model_copy(update={"state_dir": state_dir_of(config)})
    return config.model_copy(update={"node": node})
