"""The JSON of `homeguard/<node>/events`: its models, its making, its JSON Schema.

`python -m homeguard.alerting.schema` prints the schema that docs/mqtt-event.schema.json holds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel

from homeguard.alerting.escalation import home_zone
from homeguard.config import Config
from homeguard.domain import (
    Alert,
    Change,
    Clip,
    Fault,
    FaultAlert,
    FaultCause,
    Incident,
    IncidentState,
    Outgoing,
    Reason,
    VoteReason,
)
from homeguard.labels import Category, Priority


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_serialization_defaults_required=True
    )


class LocationModel(_Model):
    """Where help must come to."""

    name: str
    address: str
    latitude: float | None
    longitude: float | None


class VoteModel(_Model):
    """One voter's word; `emergency` null is an abstention, and `reason` says why."""

    voter: str
    emergency: bool | None
    probability: float | None
    category: Category | None
    reason: VoteReason


class ClipModel(_Model):
    """The recording; `url` and `topic` are null unless clips are shared that way."""

    url: str | None
    topic: str | None
    media_type: str
    duration_s: float
    sha256: str


class IncidentModel(_Model):
    """An incident at one moment. `id` stays the same from `new` to `end` and in every copy."""

    id: str
    node: str
    room: str = Field(description="the room that hears it loudest")
    rooms: list[str]
    location: LocationModel
    category: Category
    category_ko: str
    category_en: str
    priority: Priority
    state: IncidentState
    reason: Reason
    confidence: float = Field(ge=0, le=1)
    votes: list[VoteModel]
    transcript: str | None
    onset_at: AwareDatetime
    raised_at: AwareDatetime
    updated_at: AwareDatetime
    ended_at: AwareDatetime | None
    acknowledged_by: str | None
    unanswered_at: AwareDatetime | None = Field(
        description="when the repeats ended and nobody had acknowledged"
    )
    clip: ClipModel | None
    late: bool = Field(description="delivered long after it happened")


class EventModel(_Model):
    """A change of an incident, as published on `homeguard/<node>/events`."""

    type: Literal["new", "update", "end"]
    before: IncidentModel | None
    after: IncidentModel


class FaultModel(_Model):
    """What keeps the node from hearing, judging or telling; `id` is the same to its end."""

    id: str
    node: str
    cause: FaultCause
    subject: str = Field(description="the room or the voter; empty: the whole home")
    state: Literal["raised", "ended"]
    detail: str
    raised_at: AwareDatetime
    ended_at: AwareDatetime | None
    until: AwareDatetime | None = Field(description="when a mute ends by itself")
    late: bool = Field(description="delivered long after it happened")


class FaultEventModel(_Model):
    """A fault began, or ended; on the same topic as the incidents' events."""

    type: Literal["fault"]
    before: FaultModel | None
    after: FaultModel


class AnyEvent(RootModel[EventModel | FaultEventModel]):
    """What is published on `homeguard/<node>/events`: `type` tells them apart."""


class EventWriter:
    """Makes events of alerts. `link` gives a clip's url for an incident, None without one."""

    def __init__(
        self, config: Config, link: Callable[[Incident], str | None] | None = None
    ) -> None:
        self._config = config
        self._zone = home_zone(config.home.timezone)
        self._link = link if config.clips.share == "link" else None

    def event(self, alert: Outgoing) -> str:
        """The event as JSON text; times carry the home's offset."""
        if isinstance(alert, FaultAlert):
            said = self._fault(alert.before, late=alert.late) if alert.before else None
            told = self._fault(alert.after, late=alert.late)
            return FaultEventModel(type="fault", before=said, after=told).model_dump_json()
        before = self._incident(alert.before, late=alert.late) if alert.before else None
        after = self._incident(alert.after, late=alert.late)
        return EventModel(type=_type(alert.change), before=before, after=after).model_dump_json()

    def signal(self, alert: Alert) -> str:
        """An incident in short, as `<room>/event` and `<room>/last_event` give it: JSON text."""
        after = alert.after
        said = {
            "event_type": after.category.value,
            "category_name": after.category.name_in(self._config.home.language),
            "priority": after.category.info.priority,
            "id": after.id,
            "at": self._local(after.updated_at).isoformat(),
            "late": alert.late,
        }
        return json.dumps(said, ensure_ascii=False)

    @property
    def keep_s(self) -> int:
        """How long the broker may keep what happened."""
        return round(self._config.alerts.keep_days * 86_400)

    def clip_topic(self, incident: Incident) -> str:
        """Where the incident's recording is published."""
        prefix, node = self._config.mqtt.prefix, self._config.node.name
        return f"{prefix}/{node}/incidents/{incident.id}/clip"

    def _fault(self, fault: Fault, *, late: bool) -> FaultModel:
        return FaultModel(
            id=fault.id,
            node=self._config.node.name,
            cause=fault.cause,
            subject=fault.subject,
            state="ended" if fault.ended_at else "raised",
            detail=fault.detail,
            raised_at=self._local(fault.raised_at),
            ended_at=self._local(fault.ended_at) if fault.ended_at else None,
            until=self._local(fault.until) if fault.until else None,
            late=late,
        )

    def _incident(self, incident: Incident, *, late: bool) -> IncidentModel:
        home, info = self._config.home, incident.category.info
        return IncidentModel(
            id=incident.id,
            node=self._config.node.name,
            room=incident.room,
            rooms=list(incident.rooms or (incident.room,)),
            location=LocationModel(
                name=home.name,
                address=home.address,
                latitude=home.latitude,
                longitude=home.longitude,
            ),
            category=incident.category,
            category_ko=info.korean,
            category_en=info.english,
            priority=info.priority or "medium",
            state=incident.state,
            reason=incident.reason,
            confidence=min(1.0, max(0.0, incident.confidence)),
            votes=[
                VoteModel(
                    voter=vote.voter,
                    emergency=vote.emergency,
                    probability=vote.probability,
                    category=vote.category,
                    reason=vote.reason,
                )
                for vote in incident.votes
            ],
            transcript=incident.transcript,
            onset_at=self._local(incident.onset_at),
            raised_at=self._local(incident.raised_at),
            updated_at=self._local(incident.updated_at),
            ended_at=self._local(incident.ended_at) if incident.ended_at else None,
            acknowledged_by=incident.acknowledged_by,
            unanswered_at=self._local(incident.unanswered_at) if incident.unanswered_at else None,
            clip=self._clip(incident, incident.clip) if incident.clip else None,
            late=late,
        )

    def _clip(self, incident: Incident, clip: Clip) -> ClipModel:
        topic = self.clip_topic(incident) if self._config.clips.share == "mqtt" else None
        return ClipModel(
            url=self._link(incident) if self._link else None,
            topic=topic,
            media_type=clip.media_type,
            duration_s=clip.duration_s,
            sha256=clip.sha256,
        )

    def _local(self, at: datetime) -> datetime:
        return at.astimezone(self._zone)


def json_schema() -> str:
    """The JSON Schema of an event, as docs/mqtt-event.schema.json holds it."""
    schema = AnyEvent.model_json_schema(mode="serialization")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "HomeGuard event"
    return json.dumps(schema, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def _type(change: Change) -> Literal["new", "update", "end"]:
    return "new" if change is Change.NEW else "update" if change is Change.UPDATE else "end"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
