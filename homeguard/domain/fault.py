"""What keeps us from hearing, judging or telling."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from homeguard.domain.incident import Change


class FaultCause(StrEnum):
    """What is wrong with the watch itself."""

    NEVER_STARTED = "never_started"  # a room's source gave no sound since the start
    OFFLINE = "offline"  # a room's source is gone
    FROZEN = "frozen"  # a room's source is there and gives nothing
    SILENT = "silent"  # a room's source gives digital silence
    CLIPPED = "clipped"  # a room's sound is cut off at full scale; it is still judged
    OFFSET = "offset"  # a room's sound lies off its middle; it is moved back and still judged
    GARBLED = "garbled"  # a room's source gives samples that are no number
    BEHIND = "behind"  # judging is too slow: sound of a room is lost
    VOTER = "voter"  # a voter is down
    CONTACT = "contact"  # a contact's number refuses messages for good
    CAPPED = "capped"  # a number has had as many messages as it may
    CHANNEL = "channel"  # a way out of the house is away
    DISK = "disk"  # full or failing
    DATABASE = "database"  # was damaged and set aside
    ONE_VOTER = "one_voter"  # only one voter is left: what it hears is unconfirmed
    UNJUDGED = "unjudged"  # no voter is left: nothing is judged
    TEST = "test"  # the last test through the real channels has not arrived, or is overdue
    MUTED = "muted"  # somebody muted the home: meant, but everybody is to know

    @property
    def repeats(self) -> bool:
        """Whether it is told again every hour while it lasts."""
        return self in {FaultCause.ONE_VOTER, FaultCause.UNJUDGED}

    @property
    def is_deaf(self) -> bool:
        """Whether a room cannot be heard at all."""
        return self in _DEAF


_DEAF = frozenset(
    {FaultCause.NEVER_STARTED, FaultCause.OFFLINE, FaultCause.FROZEN, FaultCause.SILENT}
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that keeps us from hearing, judging or telling, from its beginning to its end."""

    id: str
    cause: FaultCause
    subject: str  # the room or the voter; empty: the whole home
    raised_at: datetime  # since when it is so
    updated_at: datetime
    ended_at: datetime | None = None
    detail: str = ""  # for people
    until: datetime | None = None  # when a mute ends by itself


@dataclass(frozen=True, slots=True)
class FaultAlert:
    """What leaves the house of a fault: NEW once, END on recovery."""

    change: Change
    before: Fault | None
    after: Fault
    late: bool = False
