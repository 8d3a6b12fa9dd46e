"""Who is told what and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from homeguard.alerting.escalation import Delivery, Kind, Planner, home_zone
from homeguard.config import ConfigError, ContactConfig, EscalationConfig
from homeguard.domain import Clip, Contact, IncidentState, Outgoing
from homeguard.labels import Category
from tests.alerting.cases import KIM, LEE, PARK, START, a_config, an_incident, end, new, update

SEOUL = ZoneInfo("Asia/Seoul")


def a_planner(*contacts: ContactConfig, **escalation: float) -> Planner:
    return Planner(contacts, EscalationConfig.model_validate(escalation), SEOUL)


def names(deliveries: tuple[Delivery, ...], kind: Kind) -> list[tuple[str, float]]:
    return [
        (d.recipient.name, (d.due_at - START).total_seconds())
        for d in deliveries
        if d.recipient and d.kind is kind
    ]


def test_contacts_are_called_in_order_until_all_are() -> None:
    plan = a_planner(KIM, LEE, PARK).plan(new(an_incident()), START)
    assert names(plan, Kind.FIRST) == [("김철수", 0), ("이영희", 60), ("Park", 180)]


def test_mqtt_is_told_at_once_and_once() -> None:
    plan = a_planner(KIM).plan(new(an_incident()), START)
    assert [(d.kind, d.due_at) for d in plan if d.channel == "mqtt"] == [(Kind.NOTICE, START)]


def test_repeats_come_every_five_minutes_within_the_hour() -> None:
    plan = a_planner(KIM).plan(new(an_incident()), START)
    assert [at for _, at in names(plan, Kind.REPEAT)] == [480 + 300 * n for n in range(11)]


def test_contacts_off_duty_are_skipped() -> None:
    # START is a Friday, 12:12 in Seoul.
    nights = KIM.model_copy(update={"hours": "22:00-06:00"})
    weekend = LEE.model_copy(update={"days": ("sat", "sun")})
    plan = a_planner(nights, weekend, PARK).plan(new(an_incident()), START)
    assert names(plan, Kind.FIRST) == [("Park", 0)]


def test_a_repeat_goes_to_whoever_is_on_duty_by_then() -> None:
    # START is 12:12 in Seoul; the shift changes at 12:30, 1,080 s later.
    mornings = KIM.model_copy(update={"hours": "06:00-12:30"})
    afternoons = LEE.model_copy(update={"hours": "12:30-22:00"})
    repeats = names(a_planner(mornings, afternoons).plan(new(an_incident()), START), Kind.REPEAT)
    assert [name for name, _ in repeats] == ["김철수"] * 2 + ["이영희"] * 9


def test_everybody_is_called_when_nobody_is_on_duty() -> None:
    nights = [c.model_copy(update={"hours": "22:00-06:00"}) for c in (KIM, LEE)]
    plan = a_planner(*nights).plan(new(an_incident()), START)
    assert names(plan, Kind.FIRST) == [("김철수", 0), ("이영희", 60)]


@pytest.mark.parametrize(
    ("local", "on_duty"),
    [
        (datetime(2026, 11, 20, 23, 0, tzinfo=SEOUL), True),  # Friday night
        (datetime(2026, 11, 21, 5, 59, tzinfo=SEOUL), True),  # Friday's shift goes on
        (datetime(2026, 11, 21, 6, 0, tzinfo=SEOUL), False),
        (datetime(2026, 11, 20, 5, 0, tzinfo=SEOUL), False),  # Thursday's shift: not his
        (datetime(2026, 11, 21, 23, 0, tzinfo=SEOUL), False),
    ],
)
def test_a_shift_over_midnight_belongs_to_the_day_it_begins(
    local: datetime,
    on_duty: bool,  # noqa: FBT001 - as it is passed on
) -> None:
    friday = KIM.model_copy(update={"days": ("fri",), "hours": "22:00-06:00"})
    always = LEE
    assert (friday in a_planner(friday, always).on_duty(local.astimezone(UTC))) is on_duty


def test_a_test_reaches_everyone_once_and_at_once() -> None:
    plan = a_planner(KIM, LEE).plan(new(an_incident(state=IncidentState.TEST)), START)
    assert names(plan, Kind.NOTICE) == [("김철수", 0), ("이영희", 0)]
    assert names(plan, Kind.FIRST) == names(plan, Kind.REPEAT) == []


def test_a_plain_update_goes_to_mqtt_alone() -> None:
    alert = update(an_incident(), confidence=0.99)
    plan = a_planner(KIM, LEE).plan(alert, START, told={KIM.phone})
    assert [d.channel for d in plan] == ["mqtt"]


def test_another_category_is_told_to_those_who_know_of_it() -> None:
    alert = update(an_incident(), category=Category.GAS_ACCIDENT)
    plan = a_planner(KIM, LEE).plan(alert, START, told={KIM.phone})
    assert names(plan, Kind.NOTICE) == [("김철수", 0)]


def test_an_acknowledgement_is_told_to_the_others() -> None:
    alert = update(an_incident(), acknowledged_by="김철수", state=IncidentState.ACKNOWLEDGED)
    plan = a_planner(KIM, LEE, PARK).plan(alert, START, told={KIM.phone, LEE.phone})
    assert names(plan, Kind.NOTICE) == [("이영희", 0)]


def test_the_end_is_told_to_those_who_had_been_told() -> None:
    plan = a_planner(KIM, LEE).plan(end(an_incident()), START, told={LEE.phone})
    assert names(plan, Kind.NOTICE) == [("이영희", 0)]


def test_channels_that_are_off_get_nothing() -> None:
    config = a_config(mqtt={"enabled": False}, alerts={"contacts": [KIM.model_dump()]})
    assert Planner.of(config).plan(new(an_incident()), START) == ()


NTFY = Contact("ntfy", "ntfy/0a1b2c3d")


def pushed(planner: Planner, alert: Outgoing, **known: object) -> list[tuple[Kind, float]]:
    plan = planner.plan(alert, START, **known)  # type: ignore[arg-type] # as a test gives them
    return [(d.kind, (d.due_at - START).total_seconds()) for d in plan if d.recipient == NTFY]


def test_the_audience_is_called_at_once_and_again_like_everybody() -> None:
    planner = Planner((KIM,), EscalationConfig(), None, audience=(NTFY,))
    calls = pushed(planner, new(an_incident()))
    assert calls[:3] == [(Kind.FIRST, 0), (Kind.REPEAT, 480), (Kind.REPEAT, 780)]
    follows = START - timedelta(seconds=100)
    assert pushed(planner, new(an_incident()), follows=follows)[0] == (Kind.REPEAT, 200)


def test_the_audience_hears_of_changes_that_matter_once_it_is_to_hear_of_the_incident() -> None:
    planner = Planner((), EscalationConfig(), None, audience=(NTFY,))
    known = {"expecting": {NTFY.address}}
    assert pushed(planner, end(an_incident()), **known) == [(Kind.NOTICE, 0)]
    assert pushed(planner, update(an_incident()), **known) == []
    assert pushed(planner, end(an_incident())) == []


def test_a_recording_is_news_where_it_is_wanted() -> None:
    clip = Clip(Path("x.flac"), "audio/flac", 5.0, "0" * 64)
    alert, known = update(an_incident(), clip=clip), {"expecting": {NTFY.address}}
    for wanted, told in ((True, [(Kind.NOTICE, 0)]), (False, [])):
        planner = Planner((), EscalationConfig(), None, audience=(NTFY,), recordings=wanted)
        assert pushed(planner, alert, **known) == told


def test_an_unknown_timezone_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="Asia/Seoul"):
        home_zone("Korea/Busan")
    assert home_zone("") is None
    later = replace(an_incident(), raised_at=START + timedelta(seconds=1))
    assert later.raised_at > START
