"""What the stages hand to one another, in the order of the flow.

AudioChunk -> Mark -> Window -> Features -> Vote x 3 -> Decision -> Incident -> Alert

What keeps us from doing that is a Fault, and leaves the house as a FaultAlert by the same way.

Stream time (`*_s`, seconds since the room's stream began) is used up to Decision; timezone-aware
UTC (`*_at`) from Incident on. Arrays are read-only.
"""

from homeguard.domain.delivery import (
    AlertChannel,
    AnyAlert,
    Contact,
    DeliveryState,
    Outgoing,
    Receipt,
)
from homeguard.domain.errors import DeliveryError, HomeGuardError, ModelError, SourceError
from homeguard.domain.fault import Fault, FaultAlert, FaultCause
from homeguard.domain.incident import Alert, Change, Clip, Incident, IncidentState
from homeguard.domain.sound import (
    BLOCK_SAMPLES,
    AudioChunk,
    AudioSource,
    Encoding,
    Features,
    Float32,
    Mark,
    Span,
    Window,
)
from homeguard.domain.voting import Decision, Reason, Vote, Voter, VoteReason

__all__ = [
    "BLOCK_SAMPLES",
    "Alert",
    "AlertChannel",
    "AnyAlert",
    "AudioChunk",
    "AudioSource",
    "Change",
    "Clip",
    "Contact",
    "Decision",
    "DeliveryError",
    "DeliveryState",
    "Encoding",
    "Fault",
    "FaultAlert",
    "FaultCause",
    "Features",
    "Float32",
    "HomeGuardError",
    "Incident",
    "IncidentState",
    "Mark",
    "ModelError",
    "Outgoing",
    "Reason",
    "Receipt",
    "SourceError",
    "Span",
    "Vote",
    "VoteReason",
    "Voter",
    "Window",
]
