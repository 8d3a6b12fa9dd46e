"""What the rows of the outbox hold, as types: incidents, alerts and what became of messages."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import TypeAdapter

from homeguard.alerting.escalation import Kind
from homeguard.domain import (
    Alert,
    Change,
    Contact,
    DeliveryState,
    Fault,
    FaultAlert,
    Incident,
    Outgoing,
)

FAULT = "fault"  # the state of a fault's row among the incidents
GIVEN_UP = "given_up"  # the code of a message that was tried for as long as it may be
CLAIMED = "claimed"  # between PENDING and what became of it; only a crash leaves one behind


@dataclass(frozen=True, slots=True)
class Parcel:
    """A claimed row: one alert for one recipient, `attempts` counting this one."""

    id: int
    alert: Outgoing
    recipient: Contact | None
    kind: Kind
    created_at: datetime
    due_at: datetime
    attempts: int
    polls: int = 0
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was sent: of which incident, which is of which category where."""

    incident_id: str
    what: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A contact whose last message was refused for good, or put off by a cap."""

    name: str
    code: str
    error: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Tally:
    """How many messages of a channel there are: unsent ones, and others by what became of them."""

    channel: str
    due: int  # should have left by now
    planned: int  # escalation and repeats, for later
    oldest_s: float  # for how long the oldest of those that are due has been so; 0 without one
    finished: dict[DeliveryState, int]


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """What became of one message."""

    channel: str
    recipient: Contact | None
    kind: Kind
    change: Change
    state: DeliveryState
    due_at: datetime
    attempts: int
    sent_at: datetime | None
    finished_at: datetime | None
    reference: str | None
    error: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class Visit:
    """What somebody did by the link of a message: heard the recording, acknowledged."""

    name: str
    what: str
    at: datetime


@dataclass(frozen=True, slots=True)
class IncidentRecord:
    """An incident with its messages, in the order in which they were planned."""

    incident: Incident
    acknowledged_at: datetime | None
    deliveries: tuple[DeliveryRecord, ...]
    visits: tuple[Visit, ...] = ()


_INCIDENT: TypeAdapter[Incident] = TypeAdapter(Incident)
_FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)
_RECORD: TypeAdapter[IncidentRecord] = TypeAdapter(IncidentRecord)


def to_json(what: Incident | Fault) -> str:
    """An incident or a fault as the database keeps it."""
    if isinstance(what, Fault):
        return _FAULT.dump_json(what).decode()
    return _INCIDENT.dump_json(what).decode()


def incident_of(text: str) -> Incident:
    """An incident from what the database keeps."""
    return _INCIDENT.validate_json(text)


def fault_of(text: str) -> Fault:
    """A fault from what the database keeps."""
    return _FAULT.validate_json(text)


def record_to_json(record: IncidentRecord) -> str:
    """A record as one line of JSON, for export."""
    return _RECORD.dump_json(record).decode()


def parcel(row: sqlite3.Row, alert: sqlite3.Row) -> Parcel:
    """A claimed or accepted row of deliveries with its row of alerts.

    `alert` also has the `state` of what it is about: FAULT for a fault.
    """
    return Parcel(
        id=row["id"],
        alert=_alert(alert),
        recipient=_recipient(row),
        kind=Kind(row["kind"]),
        created_at=datetime.fromtimestamp(row["created_at"], UTC),
        due_at=datetime.fromtimestamp(row["due_at"], UTC),
        attempts=row["attempts"],
        polls=row["polls"],
        reference=row["reference"],
    )


def _alert(row: sqlite3.Row) -> Outgoing:
    change = Change(row["change"])
    if row["state"] == FAULT:
        said = fault_of(row["before"]) if row["before"] else None
        return FaultAlert(change, said, fault_of(row["after"]))
    before = incident_of(row["before"]) if row["before"] else None
    return Alert(change, before, incident_of(row["after"]))


def _recipient(row: sqlite3.Row) -> Contact | None:
    if row["address"] is None:
        return None
    return Contact(row["name"], row["address"], row["language"])


def delivery_record(row: sqlite3.Row) -> DeliveryRecord:
    """A row of deliveries with the `change` of its alert."""
    state = row["state"]
    return DeliveryRecord(
        channel=row["channel"],
        recipient=_recipient(row),
        kind=Kind(row["kind"]),
        change=Change(row["change"]),
        state=DeliveryState.PENDING if state == CLAIMED else DeliveryState(state),
        due_at=datetime.fromtimestamp(row["due_at"], UTC),
        attempts=row["attempts"],
        sent_at=utc(row["sent_at"]),
        finished_at=utc(row["finished_at"]),
        reference=row["reference"],
        error=row["error"],
        code=row["code"],
    )


def utc(epoch: float | None) -> datetime | None:
    """A time from seconds since the epoch."""
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)
