"""An emergency from its first window to the all-clear. Times are timezone-aware UTC from here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from homeguard.domain.voting import Reason, Vote
from homeguard.labels import Category


class IncidentState(StrEnum):
    """Life of an incident."""

    RAISED = "raised"
    ACKNOWLEDGED = "acknowledged"
    ENDED = "ended"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Clip:
    """A written recording of an incident."""

    path: Path
    media_type: str
    duration_s: float
    sha256: str


@dataclass(frozen=True, slots=True)
class Incident:
    """One emergency from its first window to the all-clear."""

    id: str
    room: str  # the loudest of `rooms`
    category: Category
    state: IncidentState
    confidence: float
    raised_at: datetime
    updated_at: datetime
    onset_at: datetime  # when the first agreeing window began
    ended_at: datetime | None = None
    votes: tuple[Vote, ...] = ()
    reason: Reason = Reason.AGREED
    transcript: str | None = None
    rooms: tuple[str, ...] = ()
    clip: Clip | None = None
    acknowledged_by: str | None = None
    unanswered_at: datetime | None = None  # the repeats ended and nobody had acknowledged


class Change(StrEnum):
    """What an alert tells of its incident."""

    NEW = "new"
    UPDATE = "update"
    END = "end"


@dataclass(frozen=True, slots=True)
class Alert:
    """What leaves the house: an incident's change, before and after."""

    change: Change
    before: Incident | None
    after: Incident
    late: bool = False  # delivered long after it happened (restart, broker away)
