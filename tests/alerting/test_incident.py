"""Episodes become incidents: one id each, shared between rooms, updated when there is news."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from homeguard.alerting.incident import IncidentTracker
from homeguard.config import AlertsConfig, DecisionConfig
from homeguard.domain import Change, Decision, IncidentState, Reason
from homeguard.labels import Category

NOW = datetime(2026, 3, 1, 3, 12, tzinfo=UTC)


def decision(room="den", start_s=0.0, category=Category.FIRE, level=-30.0, probability=0.9):
    return Decision(
        room=room,
        start_s=start_s,
        end_s=start_s + 5.0,
        active=True,
        emergency=True,
        category=category,
        probability=probability,
        reason=Reason.AGREED,
        level_dbfs=level,
    )


def tracker(**alerts):
    return IncidentTracker(DecisionConfig(), AlertsConfig(**alerts))


def test_one_id_from_raise_to_all_clear():
    incidents = tracker()
    new = incidents.onset((decision(), decision(start_s=1.0)), NOW)
    end = incidents.offset("den", NOW + timedelta(seconds=20))
    assert (new.change, end.change) == (Change.NEW, Change.END)
    assert new.after.id == end.after.id
    assert new.after.onset_at == NOW - timedelta(seconds=6)
    assert end.after.state is IncidentState.ENDED
    assert end.before == new.after


def test_rooms_that_hear_the_same_share_it_and_the_loudest_names_the_place():
    incidents = tracker()
    new = incidents.onset((decision("den", level=-40.0),), NOW)
    shared = incidents.onset((decision("kitchen", level=-20.0),), NOW + timedelta(seconds=2))
    assert (shared.change, shared.after.id) == (Change.UPDATE, new.after.id)
    assert (shared.after.room, shared.after.rooms) == ("kitchen", ("den", "kitchen"))
    assert incidents.offset("kitchen", NOW) is None
    assert incidents.offset("den", NOW).change is Change.END


def test_another_category_or_a_later_onset_in_another_room_is_its_own_incident():
    incidents = tracker()
    fire = incidents.onset((decision("den"),), NOW)
    glass = incidents.onset((decision("kitchen", category=Category.THEFT),), NOW)
    later = incidents.onset((decision("hall"),), NOW + timedelta(seconds=30))
    assert {glass.change, later.change} == {Change.NEW}
    assert len({fire.after.id, glass.after.id, later.after.id}) == 3


def test_updates_are_rare_unless_there_is_news():
    incidents = tracker(update_every_s=300)
    incidents.onset((decision(),), NOW)
    assert incidents.ongoing((decision(),), "den", NOW + timedelta(seconds=10)) is None
    assert incidents.ongoing((), "den", NOW + timedelta(seconds=20)) is None
    words = replace(decision(), votes=())
    update = incidents.ongoing((words,), "den", NOW + timedelta(seconds=301))
    assert update.change is Change.UPDATE
    changed = [decision(category=Category.HELP_REQUEST) for _ in range(3)]
    renamed = incidents.ongoing(tuple(changed), "den", NOW + timedelta(seconds=310))
    assert renamed.after.category is Category.HELP_REQUEST


def test_a_change_from_outside_is_told_while_the_incident_runs():
    incidents = tracker()
    new = incidents.onset((decision(),), NOW)
    acked = replace(new.after, state=IncidentState.ACKNOWLEDGED, acknowledged_by="Mina")
    assert incidents.revise(acked).before == new.after
    assert incidents.running(new.after.id) == acked
    incidents.offset("den", NOW)
    assert incidents.revise(acked) is None


def test_a_category_is_news_once_however_often_it_flips():
    incidents = tracker(update_every_s=300)
    incidents.onset((decision(), decision()), NOW)
    told = []
    for second in range(1, 120):
        category = Category.VIOLENCE if (second // 10) % 2 else Category.FIRE
        at = NOW + timedelta(seconds=second)
        told.append(incidents.ongoing((decision(category=category),), "den", at))
    assert [alert.after.category for alert in told if alert] == [Category.VIOLENCE]


def test_one_stray_window_renames_nothing():
    incidents = tracker()
    incidents.onset((decision(), decision()), NOW)
    assert incidents.ongoing((decision(category=Category.FALL),), "den", NOW) is None


def test_an_incident_is_named_by_the_window_that_holds_most_of_it():
    half_a_beep = decision(category=Category.GAS_ACCIDENT)
    new = tracker().onset((half_a_beep, half_a_beep, decision()), NOW)
    assert new.after.category is Category.FIRE
