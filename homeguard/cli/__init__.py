"""The command line `homeguard`; every command imports what it needs when it is called."""

from homeguard.cli.app import main

__all__ = ["main"]
