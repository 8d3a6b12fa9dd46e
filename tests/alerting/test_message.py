"""What an SMS says."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from homeguard.alerting.message import GSM7_SEGMENT, UCS2_SEGMENT, Texter, segments
from homeguard.domain import Alert, Contact, IncidentState, Reason
from homeguard.labels import EMERGENCIES, Category
from tests.alerting.cases import a_config, an_incident, end, new, update

KOREAN = Contact("김철수", "+821011112222", "ko")
ENGLISH = Contact("Park", "+821055556666", "en")
TEXT = Texter(a_config())


def late(alert: Alert) -> Alert:
    return Alert(alert.change, alert.before, alert.after, late=True)


def test_korean_says_what_where_when_first() -> None:
    assert TEXT(new(an_incident()), KOREAN) == "[긴급] 화재 거실 12:12 #a1b2 할머니댁"


def test_english_says_it_in_english() -> None:
    config = a_config(
        home={"name": "Grandma", "timezone": "Asia/Seoul"},
        rooms=[{"name": "living-room", "label": "Living room", "microphone": "default"}],
    )
    text = Texter(config)(new(an_incident()), ENGLISH)
    assert text == "[EMERGENCY] Fire Living room 12:12 #a1b2 Grandma"
    assert segments(text) == 1


@pytest.mark.parametrize(
    ("alert", "head"),
    [
        (new(an_incident(reason=Reason.UNCONFIRMED)), "[긴급·미확인]"),
        (update(an_incident(), category=Category.GAS_ACCIDENT), "[변경]"),
        (update(an_incident(), acknowledged_by="이영희"), "[확인됨]"),
        (end(an_incident()), "[소리 그침]"),
        (new(an_incident(state=IncidentState.TEST)), "[시험]"),
        (late(new(an_incident())), "[긴급·지연]"),
    ],
)
def test_the_head_says_what_kind_of_message_it_is(alert: Alert, head: str) -> None:
    assert TEXT(alert, KOREAN).startswith(head)


def test_an_acknowledgement_names_who_took_it() -> None:
    assert "이영희" in TEXT(update(an_incident(), acknowledged_by="이영희"), KOREAN)


def test_a_late_message_says_the_day() -> None:
    assert "11/20 12:12" in TEXT(late(new(an_incident())), KOREAN)
    assert "20 Nov 12:12" in TEXT(late(new(an_incident())), ENGLISH)


def test_the_time_is_the_homes() -> None:
    text = Texter(a_config(home={"timezone": "Europe/Berlin"}))(new(an_incident()), KOREAN)
    assert "04:12" in text


def test_the_link_comes_last_and_always() -> None:
    link = "https://home.example/i/" + "x" * 60
    text = Texter(a_config(), lambda _alert, _contact: link)(new(an_incident()), KOREAN)
    assert text.endswith(" " + link)
    assert segments(text.removesuffix(link)) == 1


@pytest.mark.parametrize("category", EMERGENCIES)
def test_every_korean_text_is_one_segment(category: Category) -> None:
    config = a_config(
        home={"name": "서울시 동대문구 이문동 할머니댁 " * 3, "timezone": "Asia/Seoul"},
        rooms=[{"name": "living-room", "label": "아주 긴 이름의 방 " * 9, "microphone": "default"}],
    )
    incident = an_incident(category=category, updated_at=an_incident().raised_at + timedelta(1))
    text = Texter(config)(late(new(incident)), KOREAN)
    assert len(text) <= UCS2_SEGMENT
    assert category.name_in("ko") in text
    assert re.search(r"11/20 12:12", text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("가" * 70, 1),
        ("가" * 71, 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
    ],
)
def test_segments_are_counted_as_the_carrier_does(text: str, count: int) -> None:
    assert segments(text) == count


def test_words_heard_are_never_in_an_sms() -> None:
    assert "불이야" not in TEXT(new(an_incident()), KOREAN)
    assert GSM7_SEGMENT == 160
