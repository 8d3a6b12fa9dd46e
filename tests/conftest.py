"""Fixtures of real parts, each from a module of `parts`."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = [
    "tests.parts.mosquitto",
    "tests.parts.pulse",
    "tests.parts.services",
    "tests.parts.twilio",
]


@pytest.fixture(autouse=True)
def shipped_config(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands without --config take the shipped one, not what a developer has beside it."""
    monkeypatch.setenv("HOMEGUARD_CONFIG", str(Path(__file__).parents[1] / "config.yaml"))
