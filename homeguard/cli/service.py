"""run, demo and test-alert: the daemon itself, and messages through the real channels."""

from __future__ import annotations

import typer

from homeguard.cli.options import ConfigOption, load_config


def run(config: ConfigOption = None) -> None:
    """Listen and alert until told to stop (SIGTERM or Ctrl-C); ends within 5 seconds."""
    from homeguard.config import Secrets
    from homeguard.daemon import run as run_daemon

    raise typer.Exit(run_daemon(load_config(config), Secrets.load()))


def demo() -> None:
    """Play a household scene through the daemon, with a broker and an SMS gateway of its own."""
    from homeguard.demo import run as run_demo

    raise typer.Exit(run_demo())


def send_test(config: ConfigOption = None) -> None:
    """Send a test through every configured channel and wait for what becomes of it."""
    load_config(config)
