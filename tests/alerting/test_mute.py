"""Mute: it ends by itself, is told to all, survives a restart, and never holds what is critical."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeguard.alerting.courier import Courier
from homeguard.alerting.desk import Desk
from homeguard.alerting.escalation import Planner
from homeguard.alerting.mute import Mute, parse_mute
from homeguard.alerting.outbox import Outbox
from homeguard.config import AlertsConfig, EscalationConfig
from homeguard.domain import Alert, Change, HomeGuardError
from homeguard.labels import Category
from tests.alerting.cases import (
    KIM,
    LEE,
    FakeChannel,
    SteppedClock,
    an_incident,
    end,
    new,
    update,
)

FALL = an_incident("fall", category=Category.FALL)


class Scene:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = SteppedClock()
        self.sms = FakeChannel("sms")
        self.open()

    def open(self) -> None:
        self.outbox = Outbox(self.directory, self.clock)
        self.mute = Mute(self.outbox, self.clock, self.clock.since_boot)
        planner = Planner((KIM, LEE), EscalationConfig(), None)
        self.desk = Desk(self.outbox, planner, self.clock, lambda: self.mute.on)
        self.courier = Courier(self.sms, self.outbox, AlertsConfig(), self.clock)

    def begin(self, seconds: float = 600) -> None:
        self.mute.begin(seconds, "Kim", self.desk.submit)

    def told(self) -> list[tuple[str, str, str | None]]:
        self.courier.deliver_due()
        sent, self.sms.sent = self.sms.sent, []
        return [(type(a).__name__, a.change.value, to.name if to else None) for a, to in sent]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.outbox.close()


def test_a_mute_is_told_to_all_and_ends_by_itself(scene: Scene) -> None:
    scene.begin()
    assert scene.told() == [("FaultAlert", "new", KIM.name), ("FaultAlert", "new", LEE.name)]
    assert json.loads(scene.mute.state)["by"] == "Kim"
    assert not scene.mute.expire(scene.desk.submit)
    scene.clock.step(601)
    assert not scene.mute.on
    assert json.loads(scene.mute.state) == {"state": "OFF"}
    assert scene.mute.expire(scene.desk.submit)
    assert scene.told() == [("FaultAlert", "end", KIM.name), ("FaultAlert", "end", LEE.name)]


def test_a_new_incident_is_recorded_and_held_back(scene: Scene) -> None:
    scene.begin()
    scene.told()
    scene.desk.submit(new(FALL))
    scene.desk.submit(update(FALL, room="kitchen"))
    assert scene.told() == []
    assert [incident.id for incident in scene.outbox.history.held()] == ["fall"]


def test_what_still_runs_after_the_mute_is_told_as_new(scene: Scene) -> None:
    scene.begin()
    scene.told()
    scene.desk.submit(new(FALL))
    scene.clock.step(601)
    (held,) = scene.outbox.history.held()
    scene.desk.submit(Alert(Change.UPDATE, held, held))
    assert scene.told() == [("Alert", "new", KIM.name)]
    assert scene.outbox.history.held() == []


def test_what_ended_during_the_mute_stays_a_record(scene: Scene) -> None:
    scene.begin()
    scene.told()
    scene.desk.submit(new(FALL))
    scene.desk.submit(end(FALL))
    scene.clock.step(601)
    assert (scene.told(), scene.outbox.history.held()) == ([], [])
    assert scene.outbox.history.incident("fall") is not None


def test_what_is_critical_goes_out_all_the_same(scene: Scene) -> None:
    scene.begin()
    scene.told()
    scene.desk.submit(new(an_incident()))
    assert scene.told() == [("Alert", "new", KIM.name)]


def test_what_turns_critical_goes_out_as_new(scene: Scene) -> None:
    scene.begin()
    scene.told()
    scene.desk.submit(new(FALL))
    scene.desk.submit(update(FALL, category=Category.HELP_REQUEST))
    assert scene.told() == [("Alert", "new", KIM.name)]


def test_an_incident_from_before_the_mute_goes_on_being_told(scene: Scene) -> None:
    scene.desk.submit(new(FALL))
    scene.told()
    scene.begin()
    scene.desk.submit(update(FALL, room="kitchen"))
    assert ("Alert", "update", KIM.name) in scene.told()


def test_it_survives_a_restart_and_no_clock_makes_it_longer(scene: Scene) -> None:
    scene.begin(600)
    scene.outbox.close()
    scene.clock.step(300)
    scene.open()
    assert scene.mute.on
    scene.outbox.close()
    scene.clock.step(-86_400)
    scene.open()
    scene.clock.step(3601)
    assert not scene.mute.on


def test_off_ends_it(scene: Scene) -> None:
    scene.begin()
    assert scene.mute.end(scene.desk.submit)
    assert not scene.mute.end(scene.desk.submit)
    assert scene.outbox.history.open_faults() == []


@pytest.mark.parametrize("seconds", [-1.0, 3601.0, float("inf"), float("nan")])
def test_no_mute_is_longer_than_an_hour(scene: Scene, seconds: float) -> None:
    with pytest.raises(HomeGuardError, match="3600"):
        scene.begin(seconds)
    assert not scene.mute.on


def test_how_a_mute_is_written() -> None:
    assert parse_mute("600") == (600.0, None)
    assert parse_mute("OFF") == (0.0, None)
    assert parse_mute('{"seconds": 60, "by": "Kim"}') == (60.0, "Kim")
    for wrong in ("ON", "", '{"by": "Kim"}', "[]"):
        with pytest.raises(HomeGuardError, match="seconds"):
            parse_mute(wrong)
