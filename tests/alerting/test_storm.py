"""A sound that flaps calls nobody again and again; what is new in kind or place always calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from homeguard.alerting.courier import Courier
from homeguard.alerting.desk import Desk
from homeguard.alerting.escalation import Planner
from homeguard.alerting.outbox import Outbox
from homeguard.config import AlertsConfig, EscalationConfig
from homeguard.domain import Change, Incident
from homeguard.labels import Category
from tests.alerting.cases import KIM, LEE, FakeChannel, SteppedClock, an_incident, end, new, update


class Scene:
    def __init__(self, directory: Path) -> None:
        self.clock = SteppedClock()
        self.outbox = Outbox(directory, self.clock)
        self.desk = Desk(self.outbox, Planner((KIM, LEE), EscalationConfig(), None), self.clock)
        self.channels = {name: FakeChannel(name) for name in ("sms", "mqtt")}
        self.couriers = [
            Courier(channel, self.outbox, AlertsConfig(), self.clock, self.clock.since_boot)
            for channel in self.channels.values()
        ]

    def raised(self, name: str, **changes: object) -> Incident:
        at = self.clock()
        incident = an_incident(name, raised_at=at, updated_at=at, **changes)
        self.desk.submit(new(incident))
        self.deliver()
        return incident

    def ended(self, incident: Incident) -> None:
        self.desk.submit(end(incident, 0))
        self.deliver()

    def deliver(self) -> None:
        for courier in self.couriers:
            courier.deliver_due()

    def step(self, seconds: float) -> None:
        self.clock.step(seconds)
        self.deliver()

    def called(self, name: str) -> list[str]:
        """The incidents for which a contact got a message that is not of its end."""
        sent = self.channels["sms"].sent
        return [a.after.id for a, to in sent if to and to.name == name and a.change != Change.END]

    @property
    def published(self) -> list[str]:
        return [a.after.id for a, _ in self.channels["mqtt"].sent if a.change is Change.NEW]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.outbox.close()


def test_the_same_again_within_five_minutes_is_published_and_calls_nobody(scene: Scene) -> None:
    scene.ended(scene.raised("one"))
    scene.step(20)
    scene.ended(scene.raised("two"))
    scene.step(20)
    assert scene.published == ["one", "two"]
    assert scene.called(KIM.name) == ["one"]


def test_the_next_contact_is_called_all_the_same(scene: Scene) -> None:
    scene.ended(scene.raised("one"))
    scene.step(20)
    scene.raised("two")
    scene.step(40)
    assert scene.called(LEE.name) == ["one"]


def test_what_still_sounds_when_a_repeat_is_due_is_told(scene: Scene) -> None:
    scene.ended(scene.raised("one"))
    scene.step(20)
    scene.raised("two")
    scene.step(279)
    assert scene.called(KIM.name) == ["one"]
    scene.step(1)
    assert scene.called(KIM.name) == ["one", "two"]


def test_after_five_minutes_the_same_calls_again(scene: Scene) -> None:
    scene.ended(scene.raised("one"))
    scene.step(300)
    scene.raised("two")
    assert scene.called(KIM.name) == ["one", "two"]


@pytest.mark.parametrize("changes", [{"category": Category.ROBBERY}, {"room": "kitchen"}])
def test_another_category_or_room_calls_at_once(scene: Scene, changes: dict[str, object]) -> None:
    scene.raised("one")
    scene.step(1)
    scene.raised("two", **changes)
    assert scene.called(KIM.name) == ["one", "two"]


def test_one_that_follows_and_becomes_something_else_calls_at_once(scene: Scene) -> None:
    scene.raised("one")
    scene.step(20)
    two = scene.raised("two")
    scene.step(20)
    scene.desk.submit(update(two, 20, category=Category.ROBBERY))
    scene.deliver()
    assert scene.called(KIM.name) == ["one", "two"]
    scene.step(20)
    assert scene.called(LEE.name) == ["one"]
    scene.step(60)
    assert scene.called(LEE.name) == ["one", "two"]


def test_what_nobody_could_be_told_of_is_not_followed(scene: Scene) -> None:
    one = scene.raised("one")
    scene.desk.acknowledge(one.id, KIM.name)
    for row in range(1, 40):
        scene.outbox.failed(row, "refused", "21211")
    scene.step(20)
    scene.raised("two")
    assert "two" in scene.called(KIM.name)


def test_an_acknowledged_one_is_followed_too(scene: Scene) -> None:
    """Whoever takes care hears it; five minutes later it calls again."""
    one = scene.raised("one")
    scene.desk.acknowledge(one.id, KIM.name)
    scene.step(20)
    scene.ended(scene.raised("two"))
    assert scene.called(KIM.name) == ["one"]
    scene.step(300)
    scene.raised("three")
    assert scene.called(KIM.name) == ["one", "three"]
