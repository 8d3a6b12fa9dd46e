"""Incidents, alerts, contacts and a clock that tests step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from homeguard.config import Config, ContactConfig
from homeguard.domain import (
    Alert,
    Change,
    Contact,
    DeliveryState,
    Incident,
    IncidentState,
    Outgoing,
    Receipt,
    Span,
    Vote,
    VoteReason,
)
from homeguard.labels import Category

START = datetime(2026, 11, 20, 3, 12, tzinfo=UTC)
KIM = ContactConfig(name="김철수", phone="+821011112222")
LEE = ContactConfig(name="이영희", phone="+821033334444")
PARK = ContactConfig(name="Park", phone="+821055556666", language="en")


class SteppedClock:
    """Time that passes when a test says so."""

    def __init__(self, at: datetime = START) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def step(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def since_boot(self) -> float:
        """A monotonic clock that steps along, so that a step is time and not a clock set."""
        return (self.at - START).total_seconds()


class FakeChannel:
    """Does what the test put on its list, then delivers; keeps what it was given."""

    def __init__(self, name: str, *outcomes: Exception | Receipt) -> None:
        self.name = name
        self.outcomes = list(outcomes)
        self.states: dict[str, Receipt] = {}
        self.sent: list[tuple[Outgoing, Contact | None]] = []

    def send(self, alert: Outgoing, recipient: Contact | None) -> Receipt:
        outcome = self.outcomes.pop(0) if self.outcomes else Receipt(DeliveryState.DELIVERED)
        if isinstance(outcome, Exception):
            raise outcome
        self.sent.append((alert, recipient))
        return outcome

    def poll(self, reference: str) -> Receipt:
        return self.states.get(reference, Receipt(DeliveryState.ACCEPTED, reference))

    @property
    def names(self) -> list[str | None]:
        return [to.name if to else None for _, to in self.sent]


def an_incident(identity: str = "a1b2c3d4e5f60718", **changes: object) -> Incident:
    incident = Incident(
        id=identity,
        room="living-room",
        category=Category.FIRE,
        state=IncidentState.RAISED,
        confidence=0.93,
        raised_at=START,
        updated_at=START,
        onset_at=START - timedelta(seconds=4),
        votes=(
            Vote("encoder", emergency=True, probability=0.95, category=Category.FIRE),
            Vote(
                "transcript",
                emergency=True,
                transcript="불이야",
                spoken=Span(1.0, 2.0),
            ),
            Vote.abstain("cnn", VoteReason.LATE),
        ),
        transcript="불이야",
        rooms=("living-room",),
    )
    return replace(incident, **changes)  # type: ignore[arg-type]


def new(incident: Incident) -> Alert:
    return Alert(Change.NEW, None, incident)


def update(before: Incident, seconds: float = 30, **changes: object) -> Alert:
    at = before.updated_at + timedelta(seconds=seconds)
    return Alert(Change.UPDATE, before, replace(before, updated_at=at, **changes))  # type: ignore[arg-type]


def end(before: Incident, seconds: float = 60) -> Alert:
    at = before.updated_at + timedelta(seconds=seconds)
    after = replace(before, updated_at=at, ended_at=at, state=IncidentState.ENDED)
    return Alert(Change.END, before, after)


def a_config(**sections: object) -> Config:
    return Config.model_validate(
        {
            "home": {"name": "할머니댁", "timezone": "Asia/Seoul", "address": "서울시 동대문구"},
            "rooms": [{"name": "living-room", "label": "거실", "microphone": "default"}],
            **sections,
        }
    )
