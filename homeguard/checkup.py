"""What doctor finds: one thing that was tried, how it came out, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried: what was found, and what to do if it is not well."""

    name: str
    state: State
    found: str
    remedy: str = ""
