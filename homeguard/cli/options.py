"""Options that several commands share, and the place where a config is looked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from homeguard.config import Config

LOCAL = Path("config.local.yaml")
HERE = Path("config.yaml")
CONFIG_PLACES = (LOCAL, HERE, Path("/etc/homeguard/config.yaml"))

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="HOMEGUARD_CONFIG",
        metavar="FILE",
        help="Config file. Otherwise ./config.local.yaml, ./config.yaml, "
        "/etc/homeguard/config.yaml, or the built-in defaults.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For scripts: JSON on stdout.")]


def find_config(given: Path | None) -> Path | None:
    """The config file to use: the given one, else the first that is there, else None."""
    return given or next((place for place in CONFIG_PLACES if place.is_file()), None)


def own_config() -> Path:
    """Where a config of one's own is written when nobody says where.

    In a checkout not over the config.yaml that comes with it: git follows that one, and would
    refuse to update it.
    """
    from homeguard.cli.written import shipped_config

    shipped = HERE.exists() and HERE.samefile(shipped_config())
    return LOCAL if shipped or LOCAL.exists() else HERE


def load_config(given: Path | None) -> Config:
    """The config in force. Raises ConfigError listing every fault with its line."""
    from homeguard.cli.locate import load_with_lines
    from homeguard.config import Config

    found = find_config(given)
    return load_with_lines(found) if found else Config()


def state_dir_of(config: Config) -> Path:
    """Where the database and the clips lie: systemd's StateDirectory wins."""
    return Path(os.environ.get("STATE_DIRECTORY") or config.node.state_dir)
