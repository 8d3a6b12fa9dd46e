"""How an alert leaves the house, and how far it got."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, TypeVar

from homeguard.domain.fault import FaultAlert
from homeguard.domain.incident import Alert

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
