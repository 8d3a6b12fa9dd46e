"""What the voters say of a window, and what is decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from homeguard.domain.sound import Features, Span
from homeguard.labels import Category


class VoteReason(StrEnum):
    """Why a voter said what it said, or why it said nothing."""

    HEARD = "heard"  # a vote: probability, emergency and category are set
    NO_SPEECH = "no_speech"  # nothing for this voter to judge
    UNSURE = "unsure"  # heard, but its own guards do not trust it
    SKIPPED = "skipped"  # could not have changed the decision
    LATE = "late"
    FAILED = "failed"
    INVALID = "invalid"  # NaN or a wrong shape
    MISSING = "missing"  # its model is not there

    @property
    def is_fault(self) -> bool:
        """Whether the voter is broken, rather than having nothing to say."""
        return self in _FAULTS


_FAULTS = frozenset({VoteReason.LATE, VoteReason.FAILED, VoteReason.INVALID, VoteReason.MISSING})


@dataclass(frozen=True, slots=True)
class Vote:
    """One voter's word on one window; `emergency` None is an abstention, never a no."""

    voter: str
    emergency: bool | None
    probability: float | None = None  # calibrated, of an emergency
    category: Category | None = None
    reason: VoteReason = VoteReason.HEARD
    transcript: str | None = None
    spoken: Span | None = None  # the stretch of speech that was decoded
    calls: tuple[Span, ...] = ()  # every stretch that held a confident call for help
    detail: str | None = None  # for people: what failed, which phrase

    @property
    def distress(self) -> bool:
        """Whether the transcript holds a confident call for help."""
        return bool(self.calls)

    @classmethod
    def abstain(cls, voter: str, reason: VoteReason, detail: str | None = None) -> Vote:
        """An abstention with its reason."""
        return cls(voter, emergency=None, reason=reason, detail=detail)


class Reason(StrEnum):
    """Why a decision is as it is."""

    AGREED = "agreed"  # enough voters say emergency
    DISTRESS_PHRASE = "distress_phrase"  # an explicit call for help
    UNCONFIRMED = "unconfirmed"  # the only voter that works says emergency
    OUTVOTED = "outvoted"  # enough voters, too few say emergency
    NO_QUORUM = "no_quorum"  # too few voters to decide
    SILENT = "silent"  # the gate was shut


@dataclass(frozen=True, slots=True)
class Decision:
    """What is thought of one window, and why. `probability` is None only where silent."""

    room: str
    start_s: float
    end_s: float
    active: bool
    emergency: bool
    category: Category | None
    probability: float | None
    reason: Reason
    votes: tuple[Vote, ...] = ()
    level_dbfs: float = -120.0

    @property
    def transcript(self) -> str | None:
        """What was said, if the transcript voter heard words."""
        return next((v.transcript for v in self.votes if v.transcript), None)


class Voter(Protocol):
    """One of the three."""

    @property
    def name(self) -> str:
        """encoder, transcript or cnn."""
        ...

    def vote(self, features: Features) -> Vote:
        """Judge one window. May raise: the panel turns that into an abstention."""
        ...
