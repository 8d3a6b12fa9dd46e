"""Tests through the real channels: when the weekly one goes out, and when one has passed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from homeguard.alerting.courier import Courier
from homeguard.alerting.desk import Desk
from homeguard.alerting.drills import OVERDUE, DrillState, WeeklyDrill, drill
from homeguard.alerting.escalation import Planner
from homeguard.alerting.outbox import Outbox
from homeguard.config import AlertsConfig, EscalationConfig
from homeguard.domain import DeliveryError, DeliveryState, IncidentState, Receipt
from tests.alerting.cases import KIM, LEE, FakeChannel, SteppedClock, an_incident, new

SEOUL = ZoneInfo("Asia/Seoul")
SUNDAY = datetime(2026, 11, 22, 12, 0, tzinfo=SEOUL)
MONDAY_10 = datetime(2026, 11, 23, 10, 0, tzinfo=SEOUL)
REFUSED = DeliveryError("the SMS gateway refuses the account", retryable=True, code="20003")
HOUR = 3600


class Scene:
    """A weekly test on Mondays at 10:00 in Seoul, with a broker and two contacts."""

    def __init__(self, directory: Path, moment: str = "mon 10:00") -> None:
        self.directory = directory
        self.moment = moment
        self.clock = SteppedClock(SUNDAY.astimezone(UTC))
        self.mqtt, self.sms = FakeChannel("mqtt"), FakeChannel("sms")
        self.open()

    def open(self) -> None:
        self.outbox = Outbox(self.directory, self.clock)
        self.desk = Desk(self.outbox, Planner((KIM, LEE), EscalationConfig(), SEOUL), self.clock)
        self.couriers = [
            Courier(channel, self.outbox, AlertsConfig(), self.clock)
            for channel in (self.mqtt, self.sms)
        ]
        self.weekly = WeeklyDrill(
            self.outbox.drills,
            self.moment,
            "den",
            lambda at: at.astimezone(SEOUL),
            self.desk.submit,
            self.clock,
            self.clock.since_boot,
        )

    def restart(self) -> None:
        self.outbox.close()
        self.open()

    def look(self, *, busy: bool = False) -> DrillState:
        self.weekly.look(busy=busy)
        for courier in self.couriers:
            courier.deliver_due()
        return self.weekly.look(busy=busy)

    def run(self, until: datetime, step_s: float = 600.0) -> DrillState:
        """Look around every ten minutes until then."""
        state = self.look()
        while self.clock() < until:
            self.clock.step(step_s)
            state = self.look()
        return state

    @property
    def sent_at(self) -> list[datetime]:
        """When tests went out, in local time."""
        return [i.raised_at.astimezone(SEOUL) for i in reversed(self.outbox.history.incidents())]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.outbox.close()


def test_a_test_goes_to_broker_and_contacts_once_a_week_and_passes(scene: Scene) -> None:
    assert scene.look() == DrillState(None, None, None)
    state = scene.run(MONDAY_10 + timedelta(days=9))
    assert scene.sent_at == [MONDAY_10, MONDAY_10 + timedelta(days=7)]
    assert state.passed_at == MONDAY_10 + timedelta(days=7)
    assert scene.sms.names == [KIM.name, LEE.name] * 2
    assert {getattr(alert.after, "state", None) for alert, _ in scene.mqtt.sent} == {
        IncidentState.TEST
    }
    assert scene.weekly.failing is None


def test_the_state_is_what_mqtt_is_told(scene: Scene) -> None:
    told = json.loads(scene.run(MONDAY_10).as_json())
    assert told == {
        "passed_at": "2026-11-23T01:00:00+00:00",
        "sent_at": "2026-11-23T01:00:00+00:00",
        "failure": None,
    }


def test_a_test_that_was_missed_is_made_up_for_at_the_same_hour(scene: Scene) -> None:
    scene.look()
    scene.clock.step((MONDAY_10 - SUNDAY).total_seconds() + 3 * HOUR)  # off at ten
    scene.restart()
    scene.run(MONDAY_10 + timedelta(days=2))
    assert scene.sent_at == [MONDAY_10 + timedelta(days=1)]


def test_no_test_goes_out_amid_an_emergency(scene: Scene) -> None:
    scene.run(MONDAY_10 - timedelta(minutes=10))
    scene.clock.step(600)
    scene.look(busy=True)
    assert scene.sent_at == []
    scene.clock.step(600)
    scene.look()
    assert scene.sent_at == [MONDAY_10 + timedelta(minutes=10)]


def test_none_goes_out_where_none_is_wanted(tmp_path: Path) -> None:
    scene = Scene(tmp_path, moment="")
    scene.run(MONDAY_10 + timedelta(days=15), step_s=1800)
    assert scene.sent_at == []
    scene.outbox.close()


def test_a_restart_right_after_sends_no_second_one(scene: Scene) -> None:
    scene.run(MONDAY_10)
    scene.restart()
    state = scene.run(MONDAY_10 + timedelta(hours=2))
    assert scene.sent_at == [MONDAY_10]
    assert state.passed_at == MONDAY_10


def test_an_account_that_is_refused_fails_the_test_within_an_hour_and_a_bit(scene: Scene) -> None:
    scene.run(MONDAY_10 - timedelta(minutes=10))
    scene.sms.outcomes = [REFUSED] * 999
    state = scene.run(MONDAY_10 + timedelta(minutes=50))
    assert (state.passed_at, state.failure) == (None, None)
    state = scene.run(MONDAY_10 + timedelta(minutes=70))
    assert state.failure == "sms to 김철수, 이영희: the SMS gateway refuses the account"
    assert scene.weekly.failing is not None
    scene.sms.outcomes = []
    scene.couriers[1].deliver_due()
    assert scene.run(MONDAY_10 + timedelta(hours=2)).failure is None  # it arrived, late
    assert scene.weekly.failing is None


def test_messages_that_are_taken_and_never_delivered_fail_the_test(scene: Scene) -> None:
    scene.run(MONDAY_10 - timedelta(minutes=10))
    scene.sms.outcomes = [Receipt(DeliveryState.ACCEPTED, "SM1")] * 2
    failure = scene.run(MONDAY_10 + timedelta(minutes=70)).failure
    assert failure is not None
    assert "sms to 김철수, 이영희: taken by the gateway, and no word since" in failure


def test_a_number_that_refuses_fails_the_test_at_once(scene: Scene) -> None:
    scene.run(MONDAY_10 - timedelta(minutes=10))
    scene.sms.outcomes = [DeliveryError("no valid number", retryable=False, code="21211")]
    assert scene.run(MONDAY_10).failure == "sms to 김철수: no valid number"


def test_a_failure_outlives_a_restart_and_ends_with_a_test_by_hand(scene: Scene) -> None:
    scene.run(MONDAY_10 - timedelta(minutes=10))
    scene.sms.outcomes = [DeliveryError("no valid number", retryable=False, code="21211")]
    scene.run(MONDAY_10)
    scene.restart()
    scene.look()
    assert scene.weekly.failing is not None
    scene.clock.step(60)
    scene.desk.submit(drill("den", scene.clock()))
    assert scene.look().passed_at == scene.clock()
    assert scene.weekly.failing is None


def test_no_test_for_more_than_a_week_is_overdue(scene: Scene) -> None:
    scene.run(MONDAY_10)
    scene.moment = "sun 09:00"
    scene.restart()
    scene.weekly._submit = lambda alert: alert
    scene.run(MONDAY_10 + OVERDUE - timedelta(hours=1))
    assert scene.weekly.failing is None
    scene.run(MONDAY_10 + OVERDUE + timedelta(hours=1))
    assert scene.weekly.failing is not None
    assert scene.weekly.failing[1] == "no test has passed since 2026-11-23 10:00"


def test_what_is_forgotten_is_not_the_last_that_passed(scene: Scene) -> None:
    scene.run(MONDAY_10)
    later = scene.clock() + timedelta(days=1)
    scene.outbox.forget(later)
    scene.outbox.drills.forget(later)
    assert scene.outbox.drills.state.passed_at == MONDAY_10


def test_an_emergency_is_no_test(scene: Scene) -> None:
    scene.desk.submit(new(an_incident()))
    assert scene.look() == DrillState(None, None, None)
