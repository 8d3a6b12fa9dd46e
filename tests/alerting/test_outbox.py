"""The outbox: stored before sent, claimed once, sent again after a crash."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from homeguard.alerting.escalation import Kind, Planner
from homeguard.alerting.outbox import Outbox
from homeguard.alerting.records import record_to_json
from homeguard.config import EscalationConfig
from homeguard.domain import Alert, Change, Clip, DeliveryState, HomeGuardError, IncidentState
from tests.alerting.cases import KIM, LEE, START, SteppedClock, an_incident, end, new, update

PLANNER = Planner((KIM, LEE), EscalationConfig(), None)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def outbox(tmp_path: Path, clock: SteppedClock) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path, clock)
    yield outbox
    outbox.close()


def submit(outbox: Outbox, alert: Alert, clock: SteppedClock) -> Alert:
    return outbox.record(alert, PLANNER.plan(alert, clock(), outbox.told(alert.after.id)))


def claimed(outbox: Outbox, channel: str) -> list[tuple[int, str | None, Change]]:
    found = []
    while (parcel := outbox.claim(channel)) is not None:
        name = parcel.recipient.name if parcel.recipient else None
        found.append((parcel.id, name, parcel.alert.change))
        outbox.delivered(parcel.id)
    return found


def test_an_alert_comes_back_as_it_was_stored(outbox: Outbox, clock: SteppedClock) -> None:
    clip = Clip(Path("/clips/a.flac"), "audio/flac", 12.5, "ab" * 32)
    alert = update(an_incident(), clip=clip)
    submit(outbox, alert, clock)
    parcel = outbox.claim("mqtt")
    assert parcel is not None
    assert parcel.alert == alert
    assert (parcel.attempts, parcel.due_at) == (1, START)


def test_a_row_is_claimed_once(outbox: Outbox, clock: SteppedClock) -> None:
    submit(outbox, new(an_incident()), clock)
    assert outbox.claim("mqtt") is not None
    assert outbox.claim("mqtt") is None


def test_rows_become_due_as_time_passes(outbox: Outbox, clock: SteppedClock) -> None:
    submit(outbox, new(an_incident()), clock)
    assert [name for _, name, _ in claimed(outbox, "sms")] == ["김철수"]
    assert outbox.next_due("sms") == START + timedelta(seconds=60)
    clock.step(60)
    assert [name for _, name, _ in claimed(outbox, "sms")] == ["이영희"]


def test_an_incident_keeps_its_order_while_its_first_row_waits(
    outbox: Outbox, clock: SteppedClock
) -> None:
    incident = an_incident()
    for alert in (new(incident), update(incident), end(incident)):
        submit(outbox, alert, clock)
    first = outbox.claim("mqtt")
    assert first is not None
    assert outbox.claim("mqtt") is None
    outbox.retry(first.id, clock() + timedelta(seconds=5), "down")
    assert outbox.claim("mqtt") is None
    clock.step(5)
    assert [c for _, _, c in claimed(outbox, "mqtt")] == [Change.NEW, Change.UPDATE, Change.END]


def test_what_waits_in_line_is_not_due(outbox: Outbox, clock: SteppedClock) -> None:
    """Else the dispatcher asks for it again and again, as fast as the processor can."""
    incident = an_incident()
    submit(outbox, new(incident), clock)
    submit(outbox, update(incident), clock)
    first = outbox.claim("mqtt")
    assert first is not None
    outbox.retry(first.id, clock() + timedelta(seconds=60), "down")
    assert outbox.claim("mqtt") is None
    assert outbox.next_due("mqtt") == clock() + timedelta(seconds=60)
    clock.step(60)
    assert len(claimed(outbox, "mqtt")) == 2
    assert outbox.next_due("mqtt") is None


def test_another_incident_does_not_wait(outbox: Outbox, clock: SteppedClock) -> None:
    submit(outbox, new(an_incident("one")), clock)
    submit(outbox, new(an_incident("two")), clock)
    first = outbox.claim("mqtt")
    second = outbox.claim("mqtt")
    assert first is not None
    assert second is not None
    assert (first.alert.after.id, second.alert.after.id) == ("one", "two")


def test_what_a_crash_left_claimed_is_sent_again(tmp_path: Path, clock: SteppedClock) -> None:
    outbox = Outbox(tmp_path, clock)
    submit(outbox, new(an_incident()), clock)
    sent = outbox.claim("mqtt")
    outbox.close()  # crashed between sending and marking
    again = Outbox(tmp_path, clock).claim("mqtt")
    assert sent is not None
    assert again is not None
    assert (again.id, again.alert) == (sent.id, sent.alert)
    assert again.attempts == 2


def test_an_acknowledgement_cancels_the_calls_and_not_the_notices(
    outbox: Outbox, clock: SteppedClock
) -> None:
    incident = an_incident()
    submit(outbox, new(incident), clock)
    taken = update(incident, state=IncidentState.ACKNOWLEDGED, acknowledged_by="CLI")
    submit(outbox, taken, clock)
    clock.step(7200)
    assert claimed(outbox, "sms") == []
    assert [change for _, _, change in claimed(outbox, "mqtt")] == [Change.NEW, Change.UPDATE]
    record = outbox.history.show(incident.id)
    assert record is not None
    assert record.incident.acknowledged_by == "CLI"
    assert record.acknowledged_at == START


def test_the_end_stops_the_repeats_but_each_contact_is_still_called(
    outbox: Outbox, clock: SteppedClock
) -> None:
    incident = an_incident()
    submit(outbox, new(incident), clock)
    assert len(claimed(outbox, "sms")) == 1
    clock.step(20)
    submit(outbox, end(incident, 20), clock)
    clock.step(7200)
    told = [(name, change) for _, name, change in claimed(outbox, "sms")]
    assert told == [("김철수", Change.END), ("이영희", Change.NEW)]


def test_a_later_alert_keeps_the_acknowledgement(outbox: Outbox, clock: SteppedClock) -> None:
    incident = an_incident()
    submit(outbox, new(incident), clock)
    taken = update(incident, state=IncidentState.ACKNOWLEDGED, acknowledged_by="김철수")
    submit(outbox, taken, clock)
    stored = submit(outbox, update(incident, 60), clock)
    assert stored.after.acknowledged_by == "김철수"
    assert stored.after.state is IncidentState.ACKNOWLEDGED
    ended = submit(outbox, end(incident), clock)
    assert (ended.after.acknowledged_by, ended.after.state) == ("김철수", IncidentState.ENDED)


def test_a_permanent_failure_calls_the_next_contact_now(
    outbox: Outbox, clock: SteppedClock
) -> None:
    submit(outbox, new(an_incident()), clock)
    first = outbox.claim("sms")
    assert first is not None
    outbox.failed(first.id, "no valid number", "21211")
    assert [name for _, name, _ in claimed(outbox, "sms")] == ["이영희"]
    clock.step(7200)
    assert {name for _, name, _ in claimed(outbox, "sms")} == {"이영희"}


def test_after_an_outage_one_message_stands_for_the_repeats(
    outbox: Outbox, clock: SteppedClock
) -> None:
    submit(outbox, new(an_incident()), clock)
    clock.step(7200)
    assert [name for _, name, _ in claimed(outbox, "sms")] == ["김철수", "이영희"]


def test_a_call_that_was_on_its_way_is_not_repeated_once_acknowledged(
    outbox: Outbox, clock: SteppedClock
) -> None:
    incident = an_incident()
    submit(outbox, new(incident), clock)
    on_its_way = outbox.claim("sms")
    assert on_its_way is not None
    taken = update(incident, state=IncidentState.ACKNOWLEDGED, acknowledged_by="CLI")
    submit(outbox, taken, clock)
    outbox.retry(on_its_way.id, clock(), "busy")
    assert [change for _, _, change in claimed(outbox, "sms")] == [Change.UPDATE]


def test_a_clock_that_was_set_moves_waiting_rows_along(outbox: Outbox, clock: SteppedClock) -> None:
    submit(outbox, new(an_incident()), clock)
    claimed(outbox, "sms")
    clock.step(-86_400)
    outbox.shift(-86_400)
    assert outbox.next_due("sms") == clock() + timedelta(seconds=60)


def test_a_clock_set_back_over_a_restart_delays_nothing(tmp_path: Path) -> None:
    clock = SteppedClock()
    first = Outbox(tmp_path, clock)
    submit(first, new(an_incident()), clock)
    first.close()
    clock.step(-86_400)
    assert Outbox(tmp_path, clock).claim("mqtt") is not None


def test_sent_messages_are_counted_by_number_and_day(outbox: Outbox, clock: SteppedClock) -> None:
    submit(outbox, new(an_incident("one")), clock)
    claimed(outbox, "sms")
    clock.step(3600)
    since = START + timedelta(seconds=1)
    assert [s.incident_id for s in outbox.sent_to("sms", KIM.phone, START)] == ["one"]
    assert outbox.sent_to("sms", KIM.phone, since) == ()


def test_a_second_daemon_on_the_directory_is_refused(
    outbox: Outbox, tmp_path: Path, clock: SteppedClock
) -> None:
    with pytest.raises(HomeGuardError, match="another HomeGuard"):
        Outbox(tmp_path, clock)


def test_the_command_line_reads_beside_the_daemon(
    outbox: Outbox, tmp_path: Path, clock: SteppedClock
) -> None:
    submit(outbox, new(an_incident()), clock)
    sent = outbox.claim("mqtt")
    beside = Outbox(tmp_path, clock, exclusive=False)
    assert [i.id for i in beside.history.incidents()] == [an_incident().id]
    assert beside.history.incident("a1b2") == an_incident()
    assert beside.claim("mqtt") is None, "what the daemon is sending stays its own"
    beside.close()
    assert sent is not None


def test_export_is_one_json_object_an_incident(outbox: Outbox, clock: SteppedClock) -> None:
    submit(outbox, new(an_incident("one")), clock)
    submit(outbox, new(an_incident("two", raised_at=START + timedelta(1))), clock)
    lines = [json.loads(record_to_json(record)) for record in outbox.history.export()]
    assert [line["incident"]["id"] for line in lines] == ["one", "two"]
    assert lines[0]["deliveries"][0]["channel"] == "mqtt"


def test_incidents_that_nobody_ended_are_found_after_a_restart(
    outbox: Outbox, clock: SteppedClock
) -> None:
    submit(outbox, new(an_incident("one")), clock)
    submit(outbox, new(an_incident("two")), clock)
    submit(outbox, end(an_incident("two")), clock)
    submit(outbox, new(an_incident("drill", state=IncidentState.TEST)), clock)
    assert [i.id for i in outbox.history.running()] == ["one"]


def test_threads_share_the_outbox_and_no_row_is_claimed_twice(
    outbox: Outbox, clock: SteppedClock
) -> None:
    taken: list[int] = []

    def take() -> None:
        while (parcel := outbox.claim("mqtt")) is not None:
            taken.append(parcel.id)

    for number in range(40):
        submit(outbox, new(an_incident(f"i{number}")), clock)
    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(taken) == len(set(taken)) == 40


def test_old_incidents_are_forgotten_once_nothing_waits(
    outbox: Outbox, clock: SteppedClock
) -> None:
    submit(outbox, new(an_incident("done", state=IncidentState.TEST)), clock)
    claimed(outbox, "mqtt")
    claimed(outbox, "sms")
    submit(outbox, new(an_incident("waits")), clock)
    assert outbox.forget(START) == 0
    assert outbox.forget(START + timedelta(1)) == 1
    assert [incident.id for incident in outbox.history.incidents()] == ["waits"]


def test_a_row_in_hand_shows_as_pending(outbox: Outbox, clock: SteppedClock) -> None:
    submit(outbox, new(an_incident()), clock)
    outbox.claim("mqtt")
    record = outbox.history.show(an_incident().id)
    assert record is not None
    first = record.deliveries[0]
    assert (first.channel, first.kind, first.state) == (
        "mqtt",
        Kind.NOTICE,
        DeliveryState.PENDING,
    )
