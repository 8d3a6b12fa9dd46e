"""Dispatch: retried with backoff, given up by rule, one channel never waiting for another."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeguard.alerting.courier import Courier, backoff_s, masked
from homeguard.alerting.desk import Desk
from homeguard.alerting.dispatch import Dispatcher
from homeguard.alerting.escalation import Planner
from homeguard.alerting.outbox import Outbox
from homeguard.config import AlertsConfig, EscalationConfig
from homeguard.domain import (
    Change,
    Contact,
    DeliveryError,
    DeliveryState,
    HomeGuardError,
    Incident,
    Outgoing,
    Receipt,
)
from tests.alerting.cases import KIM, LEE, FakeChannel, SteppedClock, an_incident, end, new, update
from tests.parts.mosquitto import wait_until

PLANNER = Planner((KIM, LEE), EscalationConfig(), None)
CONFIG = AlertsConfig()
BUSY = DeliveryError("busy", retryable=True)
WRONG = DeliveryError("no valid number", retryable=False, code="21211")
ACCEPTED = Receipt(DeliveryState.ACCEPTED, "SM1")


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def outbox(tmp_path: Path, clock: SteppedClock) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path, clock)
    yield outbox
    outbox.close()


def a_courier(channel: FakeChannel, outbox: Outbox, clock: SteppedClock) -> Courier:
    return Courier(channel, outbox, CONFIG, clock)


def a_desk(outbox: Outbox, clock: SteppedClock) -> Desk:
    return Desk(outbox, PLANNER, clock)


def state_of(outbox: Outbox, place: int) -> DeliveryState:
    record = outbox.history.show(an_incident().id)
    assert record is not None
    return record.deliveries[place].state


def test_backoff_doubles_to_a_minute_with_jitter() -> None:
    assert [backoff_s(n, lambda: 0.5) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff_s(1, lambda: 0.0) == 0.75
    assert backoff_s(10_000, lambda: 1.0) == 60


def test_a_number_in_a_log_shows_its_ends_only() -> None:
    assert masked("+821011112222") == "+82…22"


def test_what_fails_is_tried_again_and_then_arrives(outbox: Outbox, clock: SteppedClock) -> None:
    channel = FakeChannel("mqtt", BUSY, BUSY)
    courier = a_courier(channel, outbox, clock)
    a_desk(outbox, clock).submit(new(an_incident()))
    pause_s = courier.deliver_due()
    assert 0.7 < pause_s < 1.3
    assert state_of(outbox, 0) is DeliveryState.PENDING
    clock.step(1.3)
    assert 1.4 < courier.deliver_due() < 2.6
    clock.step(2.6)
    courier.deliver_due()
    assert [alert.after.id for alert, _ in channel.sent] == [an_incident().id]
    assert state_of(outbox, 0) is DeliveryState.DELIVERED


def test_retry_after_is_honoured(outbox: Outbox, clock: SteppedClock) -> None:
    channel = FakeChannel("mqtt", DeliveryError("429", retryable=True, retry_after_s=30))
    courier = a_courier(channel, outbox, clock)
    a_desk(outbox, clock).submit(new(an_incident()))
    assert courier.deliver_due() == pytest.approx(30)


def test_a_permanent_error_is_not_retried_and_the_next_contact_is_called(
    outbox: Outbox, clock: SteppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    channel = FakeChannel("sms", WRONG)
    a_desk(outbox, clock).submit(new(an_incident()))
    a_courier(channel, outbox, clock).deliver_due()
    assert channel.names == ["이영희"]
    assert state_of(outbox, 1) is DeliveryState.FAILED
    assert KIM.phone not in caplog.text


def test_a_message_the_carrier_dropped_calls_the_next_contact(
    outbox: Outbox, clock: SteppedClock
) -> None:
    channel = FakeChannel("sms", ACCEPTED)
    channel.states["SM1"] = Receipt(DeliveryState.FAILED, "SM1", "undelivered (error 30003)")
    courier = a_courier(channel, outbox, clock)
    a_desk(outbox, clock).submit(new(an_incident()))
    assert courier.deliver_due() == pytest.approx(2)
    clock.step(2)
    courier.deliver_due()
    courier.deliver_due()
    assert channel.names == ["김철수", "이영희"]


def test_an_accepted_message_is_asked_for_until_it_arrived(
    outbox: Outbox, clock: SteppedClock
) -> None:
    channel = FakeChannel("sms", ACCEPTED)
    courier = a_courier(channel, outbox, clock)
    a_desk(outbox, clock).submit(new(an_incident()))
    courier.deliver_due()
    assert state_of(outbox, 1) is DeliveryState.ACCEPTED
    clock.step(2)
    courier.deliver_due()
    channel.states["SM1"] = Receipt(DeliveryState.DELIVERED, "SM1")
    clock.step(2)
    courier.deliver_due()
    assert state_of(outbox, 1) is DeliveryState.DELIVERED


def test_nobody_answers_for_a_day_and_it_is_given_up(outbox: Outbox, clock: SteppedClock) -> None:
    channel = FakeChannel("mqtt", *[BUSY] * 2)
    courier = a_courier(channel, outbox, clock)
    a_desk(outbox, clock).submit(new(an_incident()))
    courier.deliver_due()
    clock.step(CONFIG.give_up_after_s + 1)
    courier.deliver_due()
    assert state_of(outbox, 0) is DeliveryState.FAILED


def test_an_alert_that_waited_is_marked_late(outbox: Outbox, clock: SteppedClock) -> None:
    channel = FakeChannel("mqtt", BUSY)
    courier = a_courier(channel, outbox, clock)
    a_desk(outbox, clock).submit(new(an_incident()))
    courier.deliver_due()
    clock.step(61)
    courier.deliver_due()
    assert [alert.late for alert, _ in channel.sent] == [True]


def test_an_escalation_on_its_time_is_not_late(outbox: Outbox, clock: SteppedClock) -> None:
    channel = FakeChannel("sms")
    courier = a_courier(channel, outbox, clock)
    a_desk(outbox, clock).submit(new(an_incident()))
    courier.deliver_due()
    clock.step(60)
    courier.deliver_due()
    assert [alert.late for alert, _ in channel.sent] == [False, False]


def test_an_outage_of_hours_delivers_everything_once_in_order_and_late(
    outbox: Outbox, clock: SteppedClock
) -> None:
    channel = FakeChannel("mqtt", *[BUSY] * 40)
    courier, desk = a_courier(channel, outbox, clock), a_desk(outbox, clock)
    incidents = [an_incident(f"i{n}") for n in range(3)]
    for incident in incidents:
        desk.submit(new(incident))
        courier.deliver_due()
        clock.step(600)
        desk.submit(update(incident))
        desk.submit(end(incident))
        courier.deliver_due()
        clock.step(3600)
    channel.outcomes.clear()
    outbox.hurry("mqtt")
    courier.deliver_due()
    assert [(a.after.id, a.change) for a, _ in channel.sent] == [
        (f"i{n}", change) for n in range(3) for change in (Change.NEW, Change.UPDATE, Change.END)
    ]
    assert all(alert.late for alert, _ in channel.sent)


def test_a_broken_channel_warns_once_and_says_when_it_works_again(
    outbox: Outbox, clock: SteppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    courier = a_courier(FakeChannel("mqtt", BUSY, BUSY, BUSY), outbox, clock)
    a_desk(outbox, clock).submit(new(an_incident()))
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            courier.deliver_due()
            clock.step(60)
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO"]
    assert "불이야" not in caplog.text


def test_a_defect_in_a_channel_is_an_error_to_retry(outbox: Outbox, clock: SteppedClock) -> None:
    channel = FakeChannel("mqtt", TypeError("a defect"))
    courier = a_courier(channel, outbox, clock)
    a_desk(outbox, clock).submit(new(an_incident()))
    courier.deliver_due()
    clock.step(2)
    courier.deliver_due()
    assert len(channel.sent) == 1


def test_a_disk_that_refuses_the_mark_does_not_send_twice(
    outbox: Outbox, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise sqlite3.OperationalError

    channel = FakeChannel("mqtt")
    courier = a_courier(channel, outbox, clock)
    a_desk(outbox, clock).submit(new(an_incident()))
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "delivered", refuse)
        for _ in range(3):
            with pytest.raises(sqlite3.OperationalError):
                courier.deliver_due()
    assert len(channel.sent) == 1
    courier.deliver_due()
    assert len(channel.sent) == 1
    assert state_of(outbox, 0) is DeliveryState.DELIVERED


def test_an_acknowledgement_stops_the_calls_and_tells_the_others(
    outbox: Outbox, clock: SteppedClock
) -> None:
    channel, desk = FakeChannel("sms"), a_desk(outbox, clock)
    courier = a_courier(channel, outbox, clock)
    desk.submit(new(an_incident()))
    courier.deliver_due()
    clock.step(60)
    courier.deliver_due()
    done = desk.acknowledge(an_incident().id, by="이영희")
    assert done.alert is not None
    clock.step(7200)
    courier.deliver_due()
    assert channel.names == ["김철수", "이영희", "김철수"]
    last = channel.sent[-1][0].after
    assert isinstance(last, Incident)
    assert last.acknowledged_by == "이영희"


def test_a_second_acknowledgement_changes_nothing(outbox: Outbox, clock: SteppedClock) -> None:
    desk = a_desk(outbox, clock)
    desk.submit(new(an_incident()))
    desk.acknowledge(an_incident().id, by="김철수")
    again = desk.acknowledge(an_incident().id, by="Park")
    assert (again.alert, again.by) == (None, "김철수")


def test_acknowledging_what_never_was_says_so(outbox: Outbox, clock: SteppedClock) -> None:
    with pytest.raises(HomeGuardError, match="incidents list"):
        a_desk(outbox, clock).acknowledge("nothing", by="Park")


class HangingChannel(FakeChannel):
    """Hangs until released."""

    def __init__(self) -> None:
        super().__init__("sms")
        self.released = threading.Event()
        self.entered = threading.Event()

    def send(self, alert: Outgoing, recipient: Contact | None) -> Receipt:
        self.entered.set()
        self.released.wait(10)
        return super().send(alert, recipient)


def test_a_channel_that_hangs_delays_no_other(outbox: Outbox, clock: SteppedClock) -> None:
    hanging, quick = HangingChannel(), FakeChannel("mqtt")
    dispatcher = Dispatcher(outbox, PLANNER, [hanging, quick], CONFIG, clock)
    dispatcher.start()
    dispatcher.submit(new(an_incident()))
    assert hanging.entered.wait(5)
    assert wait_until(lambda: len(quick.sent) == 1, 5)
    hanging.released.set()
    dispatcher.stop()
    assert hanging.names == ["김철수"]


def test_stopping_sends_what_is_due_and_keeps_the_rest(outbox: Outbox, clock: SteppedClock) -> None:
    channel = FakeChannel("mqtt")
    dispatcher = Dispatcher(outbox, PLANNER, [channel], CONFIG, clock)
    a_desk(outbox, clock).submit(new(an_incident()))
    dispatcher.start()
    dispatcher.stop(5)
    assert len(channel.sent) == 1
    assert outbox.next_due("sms") is not None


def test_a_channel_that_is_back_sends_at_once(outbox: Outbox, clock: SteppedClock) -> None:
    channel = FakeChannel("mqtt", DeliveryError("down", retryable=True, retry_after_s=3600))
    dispatcher = Dispatcher(outbox, PLANNER, [channel], CONFIG, clock)
    dispatcher.start()
    dispatcher.submit(new(an_incident()))
    assert wait_until(lambda: not channel.outcomes, 5)
    wait_until(lambda: (outbox.next_due("mqtt") or clock()) > clock(), 5)
    dispatcher.hurry("mqtt")
    assert wait_until(lambda: len(channel.sent) == 1, 5)
    dispatcher.stop()


def test_a_clock_that_jumps_a_day_delays_no_message(
    outbox: Outbox, clock: SteppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    channel = FakeChannel("sms")
    dispatcher = Dispatcher(outbox, PLANNER, [channel], CONFIG, clock)
    dispatcher.submit(new(an_incident()))
    clock.step(-86_400)
    dispatcher.start()
    assert wait_until(lambda: channel.names == ["김철수"], 5)
    dispatcher.stop()
    assert "the clock was set" in caplog.text
    assert not channel.sent[0][0].late
