"""Faults on their way out: who is told, what the text says, and that alerts go first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from homeguard.alerting.courier import Courier
from homeguard.alerting.desk import Desk
from homeguard.alerting.escalation import Planner
from homeguard.alerting.message import Texter, segments
from homeguard.alerting.outbox import Outbox
from homeguard.alerting.records import Sent
from homeguard.alerting.schema import EventWriter
from homeguard.alerting.sms import SmsChannel
from homeguard.config import AlertsConfig, EscalationConfig
from homeguard.demo.gateway import Gateway
from homeguard.domain import (
    Change,
    Contact,
    DeliveryError,
    Fault,
    FaultAlert,
    FaultCause,
)
from tests.alerting.cases import (
    KIM,
    LEE,
    PARK,
    START,
    FakeChannel,
    SteppedClock,
    a_config,
    an_incident,
    new,
)
from tests.parts.twilio import TOKEN, sms_config

PLANNER = Planner((KIM, LEE), EscalationConfig(), None)
KOREAN = Contact(KIM.name, KIM.phone)
ENGLISH = Contact(PARK.name, PARK.phone, "en")
AWAY = DeliveryError("away", retryable=True)


def a_fault(**changes: object) -> FaultAlert:
    fault = Fault("f1", FaultCause.OFFLINE, "living-room", START, START, detail="unplugged")
    return FaultAlert(Change.NEW, None, replace(fault, **changes))  # type: ignore[arg-type]


def over(alert: FaultAlert, seconds: float) -> FaultAlert:
    at = START + timedelta(seconds=seconds)
    return FaultAlert(Change.END, alert.after, replace(alert.after, updated_at=at, ended_at=at))


class Scene:
    def __init__(self, directory: Path) -> None:
        self.clock = SteppedClock()
        self.outbox = Outbox(directory, self.clock)
        self.desk = Desk(self.outbox, PLANNER, self.clock)
        self.sms = FakeChannel("sms")
        self.courier = Courier(self.sms, self.outbox, AlertsConfig(), self.clock)

    def step(self, seconds: float) -> None:
        self.clock.step(seconds)
        self.courier.deliver_due()

    @property
    def told(self) -> list[tuple[str, str | None]]:
        return [(a.change.value, to.name if to else None) for a, to in self.sms.sent]


def test_faults_take_half_of_an_hour_at_most(gateway: Gateway) -> None:
    said = Sent("old", ("fire", "den"))
    earlier = [said] * 4
    texter, clock = Texter(a_config()), SteppedClock()
    channel = SmsChannel(sms_config(gateway), TOKEN, texter, lambda *_: earlier, clock)
    channel.send(a_fault(), KOREAN)
    earlier.append(said)
    with pytest.raises(DeliveryError, match="an hour"):
        channel.send(a_fault(), KOREAN)
    assert [message.body for message in gateway.messages] == [text(a_fault())]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.outbox.close()


def test_the_first_on_duty_is_told_at_once_and_the_others_after_an_hour(scene: Scene) -> None:
    scene.desk.submit(a_fault())
    scene.step(0)
    scene.step(3500)
    assert scene.told == [("new", KIM.name)]
    scene.step(200)
    assert scene.told == [("new", KIM.name), ("new", LEE.name)]
    scene.step(36_000)
    assert len(scene.told) == 2


def test_recovery_is_told_to_those_who_knew_and_stops_the_rest(scene: Scene) -> None:
    alert = a_fault()
    scene.desk.submit(alert)
    scene.step(0)
    scene.desk.submit(over(alert, 600))
    scene.step(0)
    scene.step(7200)
    assert scene.told == [("new", KIM.name), ("end", KIM.name)]
    assert scene.outbox.history.open_faults() == []


def test_a_fault_told_late_is_still_told_with_its_end(scene: Scene) -> None:
    scene.sms.outcomes = [AWAY, AWAY]
    alert = a_fault()
    scene.desk.submit(alert)
    scene.step(0)
    scene.desk.submit(over(alert, 30))
    scene.step(5)
    scene.step(60)
    assert scene.told == [("new", KIM.name), ("end", KIM.name)]


def test_a_permanent_failure_calls_the_next_contact(scene: Scene) -> None:
    scene.sms.outcomes = [DeliveryError("no number", retryable=False)]
    scene.desk.submit(a_fault())
    scene.step(0)
    scene.step(0)
    assert scene.told == [("new", LEE.name)]


def test_an_alert_goes_before_faults_that_waited_longer(scene: Scene) -> None:
    scene.desk.submit(a_fault())
    scene.clock.step(30)
    scene.desk.submit(new(an_incident()))
    scene.step(0)
    assert [type(alert).__name__ for alert, _ in scene.sms.sent] == ["Alert", "FaultAlert"]


def test_a_fault_is_no_incident(scene: Scene) -> None:
    scene.desk.submit(a_fault())
    assert scene.outbox.history.incidents() == scene.outbox.history.running() == []
    assert scene.outbox.history.incident("f1") is None
    assert list(scene.outbox.history.export()) == []
    assert [fault.id for fault in scene.outbox.history.open_faults()] == ["f1"]


def test_an_open_fault_outlives_a_restart_and_the_forgetting(scene: Scene, tmp_path: Path) -> None:
    scene.desk.submit(a_fault())
    for _ in range(2):
        scene.step(4000)
    scene.outbox.forget(START + timedelta(days=1))
    scene.outbox.close()
    scene.outbox = Outbox(tmp_path, scene.clock)
    assert scene.outbox.history.open_faults()[0].cause is FaultCause.OFFLINE


def text(alert: FaultAlert, to: Contact = KOREAN) -> str:
    return Texter(a_config())(alert, to)


def test_the_text_says_what_where_and_since_when() -> None:
    assert text(a_fault()) == "[고장] 거실 마이크 안 들림 12:12 할머니댁"
    assert text(a_fault(), ENGLISH).startswith("[FAULT] 거실 microphone not heard 12:12")
    assert text(replace(a_fault(), late=True)).startswith("[고장·지연] 거실")


def test_the_text_of_recovery_says_from_when_to_when() -> None:
    assert text(over(a_fault(), 1680)) == "[복구] 거실 마이크 안 들림 12:12-12:40 할머니댁"
    assert "11/20 12:12-11/21 12:12" in text(over(a_fault(), 86_400))


def test_the_text_of_a_mute_says_until_when() -> None:
    mute = a_fault(cause=FaultCause.MUTED, subject="", until=START + timedelta(minutes=30))
    assert text(mute) == "[알림 멈춤] 위급한 것만 알림 12:12-12:42 할머니댁"


@pytest.mark.parametrize("cause", FaultCause)
@pytest.mark.parametrize("to", [KOREAN, ENGLISH])
def test_every_text_is_one_segment(cause: FaultCause, to: Contact) -> None:
    alert = a_fault(cause=cause, until=START + timedelta(hours=1))
    assert segments(text(alert, to)) == segments(text(over(alert, 90_000), to)) == 1


def test_the_event_of_a_fault() -> None:
    event = json.loads(EventWriter(a_config()).event(over(a_fault(), 60)))
    assert (event["type"], event["before"]["state"], event["after"]["state"]) == (
        "fault",
        "raised",
        "ended",
    )
    assert event["after"]["cause"] == "offline"
    assert datetime.fromisoformat(event["after"]["raised_at"]) == START
