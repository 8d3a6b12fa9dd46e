"""The supervisor on a real outbox: faults, unanswered incidents, heartbeat, the end of a mute."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from homeguard.alerting.courier import Courier
from homeguard.alerting.dispatch import Dispatcher
from homeguard.alerting.drills import drill
from homeguard.alerting.escalation import Planner
from homeguard.alerting.mqtt_link import Message, MqttLink
from homeguard.alerting.mute import Mute
from homeguard.alerting.outbox import Outbox
from homeguard.config import MqttConfig
from homeguard.domain import (
    Alert,
    AnyAlert,
    Change,
    Decision,
    DeliveryError,
    FaultAlert,
    FaultCause,
    Outgoing,
    Reason,
)
from homeguard.health import Symptom
from homeguard.labels import Category
from homeguard.listening import Listener
from homeguard.supervision import Supervisor
from tests.alerting.cases import KIM, START, FakeChannel, SteppedClock, a_config, an_incident, new


class FakeLink(MqttLink):
    """Keeps what it would publish."""

    def __init__(self) -> None:
        super().__init__(MqttConfig(), "home")
        self.published: list[Message] = []

    def state(self, message: Message) -> None:
        self.published.append(message)

    def on(self, topic: str) -> list[str | bytes]:
        return [m.payload for m in self.published if m.topic == f"homeguard/home/{topic}"]


class FakeListener:
    """A room with the symptom that a test gives it."""

    name = "den"

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock
        self._since_s: float | None = None
        self.audible = True
        self.muted = False
        self.repeated = 0

    def ail(self, *, ails: bool = True) -> None:
        self._since_s = self._clock.since_boot() if ails else None

    def symptoms(self) -> tuple[Symptom, ...]:
        if self._since_s is None:
            return ()
        return (Symptom(FaultCause.OFFLINE, "den", self._since_s, "unplugged"),)

    def report(self, _link: object, *, voters_down: bool, muted: bool, again: bool) -> None:
        del voters_down
        self.repeated += again
        self.muted = muted


class Scene:
    def __init__(self, directory: Path) -> None:
        self.clock = SteppedClock()
        self.outbox = Outbox(directory, self.clock)
        self.mute = Mute(self.outbox, self.clock, self.clock.since_boot)
        config = a_config(
            alerts={"contacts": [KIM.model_dump()]},
            sms={"enabled": True, "account_sid": "AC1", "sender": "+15005550006"},
        )
        self.channels = [FakeChannel("mqtt"), FakeChannel("sms")]
        self.dispatcher = Dispatcher(
            self.outbox,
            Planner.of(config),
            [],
            config.alerts,
            self.clock,
            muted=lambda: self.mute.on,
        )
        self.couriers = [
            Courier(channel, self.outbox, config.alerts, self.clock) for channel in self.channels
        ]
        self.link = FakeLink()
        self.listener = FakeListener(self.clock)
        self.supervisor = Supervisor(
            config,
            self.outbox,
            self.dispatcher,
            self.mute,
            self.clock,
            link=self.link,
            monotonic=self.clock.since_boot,
        )

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.step(1)
            self.supervisor.tick([cast("Listener", self.listener)])
            for courier in self.couriers:
                courier.deliver_due()

    def sent(self, channel: int = 1) -> list[Outgoing]:
        return [alert for alert, _ in self.channels[channel].sent]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.outbox.close()


def test_a_dead_microphone_is_told_within_100_s_and_its_recovery(scene: Scene) -> None:
    scene.run(10)
    scene.listener.ail()
    scene.run(100)
    (alert,) = scene.sent()
    assert isinstance(alert, FaultAlert)
    assert (alert.after.cause, alert.after.subject) == (FaultCause.OFFLINE, "den")
    assert len(scene.sent(0)) == 1
    scene.listener.ail(ails=False)
    scene.run(40)
    over = scene.sent()[1]
    assert isinstance(over, FaultAlert)
    assert over.after.ended_at is not None
    assert (over.after.ended_at - over.after.raised_at).total_seconds() == 101


def test_a_full_disk_is_told_within_100_s_and_that_there_is_room_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("homeguard.alerting.telling.LEAST_FREE_BYTES", 1 << 62)
        scene.run(100)
        assert [a.after.cause for a in scene.sent() if isinstance(a, FaultAlert)] == ["disk"]
    scene.run(60)
    assert [a.change for a in scene.sent()] == [Change.NEW, Change.END]


def test_what_the_disk_refuses_is_told_later(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    full = [sqlite3.OperationalError("disk full")] * 3
    submit = scene.dispatcher.submit

    def refuse(alert: AnyAlert) -> AnyAlert:
        if full:
            raise full.pop()
        return submit(alert)

    monkeypatch.setattr(scene.dispatcher, "submit", refuse)
    scene.listener.ail()
    scene.run(40)
    assert (full, len(scene.sent())) == ([], 1)


def test_nobody_acknowledged_so_it_is_marked_unanswered_once(scene: Scene) -> None:
    scene.dispatcher.submit(new(an_incident()))
    scene.run(30)
    scene.clock.step(3600)
    scene.run(60)
    incident = scene.outbox.history.incident(an_incident().id)
    assert incident is not None
    assert incident.unanswered_at is not None
    marked = [a for a in scene.sent(0) if isinstance(a, Alert) and a.after.unanswered_at]
    assert len(marked) == 1


def test_an_acknowledged_one_is_not_unanswered(scene: Scene) -> None:
    scene.dispatcher.submit(new(an_incident()))
    scene.dispatcher.acknowledge(an_incident().id, "Kim")
    scene.clock.step(3700)
    scene.run(20)
    incident = scene.outbox.history.incident(an_incident().id)
    assert incident is not None
    assert incident.unanswered_at is None


def test_a_heartbeat_every_minute_says_who_is_heard(scene: Scene) -> None:
    scene.run(1)
    decision = Decision("den", 0, 5, True, False, None, 0.1, Reason.OUTVOTED)  # noqa: FBT003 by place
    scene.supervisor.heard(decision)
    scene.run(120)
    beats = [json.loads(beat) for beat in scene.link.on("heartbeat")]
    assert [beat["decision_age_s"] for beat in beats] == [None, 60.0, 120.0]
    assert beats[0]["rooms"] == ["den"]
    assert beats[1]["at"] > START.isoformat()
    assert scene.listener.repeated == 3  # or what expires in Home Assistant would


def test_the_end_of_a_mute_is_published_and_what_still_runs_told(scene: Scene) -> None:
    scene.supervisor.start()
    scene.mute.begin(60, "Kim", scene.dispatcher.submit)
    scene.dispatcher.submit(new(an_incident(category=Category.FALL)))
    scene.run(30)
    assert scene.listener.muted
    assert not [a for a in scene.sent() if isinstance(a, Alert)]
    scene.run(40)
    assert [a.change.value for a in scene.sent() if isinstance(a, Alert)] == ["new"]
    assert not scene.listener.muted
    assert [json.loads(s)["state"] for s in scene.link.on("mute/state")] == ["OFF", "OFF"]


def test_the_weekly_test_is_published_and_its_failure_told(scene: Scene) -> None:
    scene.run(30)
    assert [json.loads(s)["passed_at"] for s in scene.link.on("test/state")] == [None]
    scene.dispatcher.submit(drill("den", scene.clock()))
    scene.run(30)
    passed = json.loads(scene.link.on("test/state")[-1])
    assert passed["passed_at"] > START.isoformat()
    scene.channels[1].outcomes = [DeliveryError("no number", retryable=False, code="21211")]
    scene.dispatcher.submit(drill("den", scene.clock()))
    scene.run(60)
    told = json.loads(scene.link.on("test/state")[-1])
    assert (told["failure"], told["passed_at"]) == ("sms to 김철수: no number", passed["passed_at"])
    causes = [a.after.cause for a in scene.sent() if isinstance(a, FaultAlert)]
    assert FaultCause.TEST in causes
