"""What keeps messages from people is noticed, and over when it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from homeguard.alerting import telling
from homeguard.alerting.courier import Courier
from homeguard.alerting.desk import Desk
from homeguard.alerting.escalation import Planner
from homeguard.alerting.mqtt_link import MqttLink
from homeguard.alerting.outbox import Outbox
from homeguard.alerting.telling import Telling
from homeguard.config import AlertsConfig, EscalationConfig, MqttConfig
from homeguard.domain import DeliveryError, DeliveryState, FaultCause, Receipt
from tests.alerting.cases import KIM, LEE, FakeChannel, SteppedClock, an_incident, new

REFUSED = DeliveryError("no valid number", retryable=False, code="21211")
CAPPED = DeliveryError("50 messages in 24 h", retryable=False, code="cap")
PUT_OFF = DeliveryError("10 in an hour", retryable=True, retry_after_s=300, code="hour")
AWAY = DeliveryError("gateway away", retryable=True, code="network")
GONE = Receipt(DeliveryState.DELIVERED)


class Scene:
    def __init__(self, directory: Path) -> None:
        self.clock = SteppedClock()
        self.outbox = Outbox(directory, self.clock)
        planner = Planner((KIM, LEE), EscalationConfig(), None, broadcast=())
        self.desk = Desk(self.outbox, planner, self.clock)
        self.sms = FakeChannel("sms")
        self.courier = Courier(
            self.sms, self.outbox, AlertsConfig(), self.clock, self.clock.since_boot
        )
        self.telling = Telling(
            self.outbox,
            lambda: [self.courier.broken] if self.courier.broken else [],
            self.clock,
            monotonic=self.clock.since_boot,
        )

    def send(self, name: str, *outcomes: Exception | Receipt) -> None:
        self.sms.outcomes = list(outcomes)
        self.desk.submit(new(an_incident(name, room=name)))
        self.courier.deliver_due()

    @property
    def found(self) -> list[tuple[FaultCause, str]]:
        return [(t.cause, t.subject) for t in self.telling.troubles()]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.outbox.close()


def test_all_is_well_to_begin_with(scene: Scene) -> None:
    scene.send("one", GONE)
    assert scene.found == []


def test_a_refused_number_is_a_trouble_until_it_takes_a_message(scene: Scene) -> None:
    scene.send("one", REFUSED)
    assert scene.found == [(FaultCause.CONTACT, KIM.name)]
    scene.clock.step(10)
    scene.send("two", GONE)
    assert scene.found == []


def test_a_trouble_of_a_day_ago_is_none(scene: Scene) -> None:
    scene.send("one", REFUSED)
    scene.clock.at += timedelta(days=1, seconds=1)
    assert scene.found == []


@pytest.mark.parametrize("error", [CAPPED, PUT_OFF])
def test_a_cap_that_is_reached_is_visible(scene: Scene, error: DeliveryError) -> None:
    scene.send("one", error)
    assert (FaultCause.CAPPED, KIM.name) in scene.found
    assert scene.courier.broken is None


def test_a_gateway_is_away_after_a_minute_and_back_with_the_next_message(scene: Scene) -> None:
    scene.send("one", AWAY)
    scene.clock.step(telling.GATEWAY_AWAY_S - 1)
    assert scene.found == []
    scene.clock.step(1)
    assert scene.found == [(FaultCause.CHANNEL, "sms")]
    scene.courier.deliver_due()
    assert scene.found == []


def test_what_was_given_up_is_the_channels_trouble_not_the_contacts(scene: Scene) -> None:
    scene.send("one", AWAY)
    scene.clock.step(25 * 3600)
    scene.sms.outcomes = [AWAY] * 40
    scene.courier.deliver_due()
    assert scene.found == [(FaultCause.CHANNEL, "sms")]


def test_a_broker_may_be_away_for_ten_minutes(scene: Scene) -> None:
    link = MqttLink(MqttConfig(), "home")
    link._down_s = 0.0
    watch = Telling(scene.outbox, list, scene.clock, link=link, monotonic=scene.clock.since_boot)
    scene.clock.step(telling.BROKER_AWAY_S - 1)
    assert watch.troubles() == ()
    scene.clock.step(1)
    assert [(t.cause, t.subject) for t in watch.troubles()] == [(FaultCause.CHANNEL, "mqtt")]


def test_a_disk_that_is_nearly_full_is_a_trouble(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "LEAST_FREE_BYTES", 1 << 62)
    assert scene.found == [(FaultCause.DISK, "")]


def test_a_disk_that_fails_is_a_trouble(scene: Scene) -> None:
    error = sqlite3.OperationalError("attempt to write a readonly database")
    error.sqlite_errorcode = sqlite3.SQLITE_READONLY
    scene.outbox.mend(error)
    began_s = scene.clock.since_boot()
    for _ in range(3):
        (trouble,) = scene.telling.troubles()
        assert (trouble.cause, trouble.since_s) == (FaultCause.DISK, began_s)
        scene.clock.step(10)
    scene.outbox.settle()
    assert scene.found == []
