"""What the stages hand to one another, in the order of the flow.

AudioChunk -> Mark -> Window -> Features -> Vote x 3 -> Decision -> Incident -> Alert

What keeps us from doing that is a Fault, and leaves the house as a FaultAlert by the same way.

Stream time (`*_s`, seconds since the room's stream began) is used up to Decision; timezone-aware
UTC (`*_at`) from Incident on. Arrays are read-only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from homeguard.labels import Category

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Float32 = NDArray[np.float32]

BLOCK_SAMPLES = 1536  # samples a chunk: 96 ms at 16 kHz, three frames of Silero


class HomeGuardError(Exception):
    """An error whose message says what happened and what to do; shown without a traceback."""


class SourceError(HomeGuardError):
    """A source cannot be opened or read; `retryable` says whether it may come back by itself."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class ModelError(HomeGuardError):
    """A model is missing, altered or not what its manifest says."""


class DeliveryError(HomeGuardError):
    """A channel could not deliver.

    `retryable`: trying again may help. `retry_after_s`: the receiver asked for this pause.
    `code`: the receiver's own error code, for the record.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        retry_after_s: float | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.code = code


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of stream time in seconds, `start_s` <= `end_s`."""

    start_s: float
    end_s: float

    def overlaps(self, other: Span) -> bool:
        """Whether the two share more than a point."""
        return self.start_s < other.end_s and other.start_s < self.end_s


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk:
    """Consecutive sound of one room: mono float32 at 16 kHz, -1..1, shape (n,), n <= BLOCK_SAMPLES.

    Sources give BLOCK_SAMPLES a chunk; only the last before a gap or the end is shorter. A source
    that lost sound (overrun, reopened device) lets `start_s` jump.
    """

    room: str
    start_s: float
    samples: Float32
    nonfinite: int = 0  # samples in or just before it that were no number
    offset: float = 0.0  # the constant that was removed from it, -1..1

    @property
    def end_s(self) -> float:
        """Stream time just after the last sample."""
        return self.start_s + len(self.samples) / 16_000


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A chunk with what the gate heard in it."""

    chunk: AudioChunk
    active: bool  # worth hearing: above the noise floor, or confirmed speech
    speech: bool  # speech that Silero confirmed
    level_dbfs: float  # RMS of the chunk; -120 for digital silence
    floor_dbfs: float | None  # adaptive noise floor, None until it is known


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The sound that one decision is about, zero-padded to the full window length at the end.

    `end_s` is where real sound ends. `speech` lists the confirmed stretches of speech that overlap
    it, in stream time, uncut (a stretch may begin before the window); `speech_open` says that the
    last of them had not ended when the window did.
    """

    room: str
    start_s: float
    end_s: float
    samples: Float32
    active: bool
    speech: tuple[Span, ...] = ()
    speech_open: bool = False
    level_dbfs: float = -120.0  # loudest chunk


class Encoding(Protocol):
    """One Whisper encoder pass: `array` (n_frames, d_model) float32 and the handle for decoding."""

    @property
    def array(self) -> Float32:
        """Encoder output, (n_frames, d_model)."""
        ...

    @property
    def storage(self) -> object:
        """The same output as the decoder takes it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """One log-mel (80, n_frames) of a window, and one encoder pass, made when first asked for.

    `encode` runs the pass at the first call, from whichever thread, and gives the same result ever
    after; it raises what the model raises.
    """

    window: Window
    log_mel: Float32
    encode: Callable[[], Encoding]


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


Outgoing = Alert | FaultAlert
AnyAlert = TypeVar("AnyAlert", Alert, FaultAlert)


@dataclass(frozen=True, slots=True)
class Contact:
    """A recipient of a channel as the channel needs it: a phone number, a url."""

    name: str
    address: str
    language: str = "ko"


class DeliveryState(StrEnum):
    """How far one message got."""

    PENDING = "pending"
    ACCEPTED = "accepted"  # the carrier has it
    DELIVERED = "delivered"
    FAILED = "failed"  # given up by rule
    CANCELLED = "cancelled"  # no longer needed: acknowledged


@dataclass(frozen=True, slots=True)
class Receipt:
    """A channel's answer; `reference` finds the message again at the carrier (an SMS's SID)."""

    state: DeliveryState
    reference: str | None = None
    detail: str | None = field(default=None)


class AudioSource(Protocol):
    """Where a room's sound comes from."""

    def chunks(self) -> Iterator[AudioChunk]:
        """Open, yield chunks until the end, close. Raises SourceError."""
        ...


class Voter(Protocol):
    """One of the three."""

    @property
    def name(self) -> str:
        """encoder, transcript or cnn."""
        ...

    def vote(self, features: Features) -> Vote:
        """Judge one window. May raise: the panel turns that into an abstention."""
        ...


class AlertChannel(Protocol):
    """A way out of the house."""

    @property
    def name(self) -> str:
        """mqtt, sms, apprise."""
        ...

    def send(self, alert: Outgoing, recipient: Contact | None) -> Receipt:
        """Deliver one alert to one recipient (None: a channel without recipients).

        Raises DeliveryError. Called from the dispatcher's thread of this channel only.
        """
        ...

    def poll(self, reference: str) -> Receipt:
        """Ask how far an ACCEPTED message got. Raises DeliveryError."""
        ...
