"""Fixtures of real parts, each from a module of `parts`."""

from __future__ import annotations

pytest_plugins = [
    "tests.parts.mosquitto",
    "tests.parts.pulse",
    "tests.parts.services",
    "tests.parts.twilio",
]
