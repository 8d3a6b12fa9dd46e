"""The JSON on MQTT: as documented, with everything the contract names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from homeguard.alerting.schema import EventModel, EventWriter, json_schema
from homeguard.domain import Alert, Clip, FaultCause
from tests.alerting.cases import a_config, an_incident, end, new, update

DOCS = Path(__file__).parents[2] / "docs"
CLIP = Clip(Path("/clips/a.flac"), "audio/flac", 12.5, "ab" * 32)
AFTER = (
    *("id", "node", "room", "location", "category", "category_ko", "priority", "state"),
    *("confidence", "votes", "transcript", "raised_at", "updated_at", "ended_at", "clip", "late"),
)


def event(alert: Alert, **sections: object) -> dict[str, object]:
    document = json.loads(EventWriter(a_config(**sections)).event(alert))
    assert isinstance(document, dict)
    return document


def after(alert: Alert, **sections: object) -> dict[str, object]:
    document = event(alert, **sections)["after"]
    assert isinstance(document, dict)
    return document


def test_the_published_schema_is_current() -> None:
    published = (DOCS / "mqtt-event.schema.json").read_text(encoding="utf-8")
    assert published == json_schema(), (
        "run: python -m homeguard.alerting.schema > docs/mqtt-event.schema.json"
    )


def test_every_field_of_an_event_is_documented() -> None:
    text = (DOCS / "mqtt.md").read_text(encoding="utf-8")
    fields = {
        name
        for model in json.loads(json_schema())["$defs"].values()
        for name in model.get("properties", {})
    }
    assert [name for name in sorted(fields) if f"`{name}`" not in text] == []


def test_every_cause_of_a_fault_is_documented() -> None:
    text = (DOCS / "mqtt.md").read_text(encoding="utf-8")
    assert [cause for cause in FaultCause if f"`{cause}`" not in text] == []


def test_after_holds_what_the_contract_names() -> None:
    found = after(new(an_incident()))
    assert [name for name in AFTER if name not in found] == []
    assert found["category_ko"] == "화재"
    assert found["priority"] == "critical"
    assert found["raised_at"] == "2026-11-20T12:12:00+09:00"
    assert found["location"] == {
        "name": "할머니댁",
        "address": "서울시 동대문구",
        "latitude": None,
        "longitude": None,
    }


def test_an_abstention_is_null_and_says_why() -> None:
    votes = after(new(an_incident()))["votes"]
    assert isinstance(votes, list)
    assert (votes[2]["emergency"], votes[2]["reason"]) == (None, "late")


def test_a_change_shows_before_and_after() -> None:
    document = event(end(an_incident()))
    assert document["type"] == "end"
    assert EventModel.model_validate(document).before is not None
    assert event(new(an_incident()))["before"] is None


@pytest.mark.parametrize(
    ("share", "topic"), [("none", None), ("mqtt", "homeguard/home/incidents/a1b2c3d4e5f60718/clip")]
)
def test_a_clip_names_its_topic_only_where_it_is_shared(share: str, topic: str | None) -> None:
    clip = after(update(an_incident(), clip=CLIP), clips={"share": share})["clip"]
    assert clip == {
        "url": None,
        "topic": topic,
        "media_type": "audio/flac",
        "duration_s": 12.5,
        "sha256": "ab" * 32,
    }


def test_a_clip_shared_by_link_carries_its_url() -> None:
    config = a_config(clips={"share": "link"})
    writer = EventWriter(config, lambda incident: f"https://home.example/{incident.id}")
    document = json.loads(writer.event(update(an_incident(), clip=CLIP)))
    assert document["after"]["clip"]["url"] == "https://home.example/a1b2c3d4e5f60718"
