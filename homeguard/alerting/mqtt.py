"""Alerts on MQTT: emergency, event, events and, where shared so, the clip."""

from __future__ import annotations

import logging

from homeguard.alerting.mqtt_link import Message, MqttLink
from homeguard.alerting.schema import EventWriter
from homeguard.config import ClipsConfig
from homeguard.domain import (
    Alert,
    Change,
    Clip,
    Contact,
    DeliveryError,
    DeliveryState,
    FaultAlert,
    Incident,
    IncidentState,
    Outgoing,
    Receipt,
)

_PACKET_OVERHEAD = 1024  # topic and properties, generously

_log = logging.getLogger(__name__)


class MqttChannel:
    """The alert channel on a link; called by one thread."""

    name = "mqtt"

    def __init__(self, link: MqttLink, events: EventWriter, clips: ClipsConfig) -> None:
        self._link = link
        self._events = events
        self._clips = clips
        self._open: dict[str, str] = {}  # running incident -> the room that names the place
        self._shared: dict[str, str] = {}  # incident -> SHA-256 of the clip that was published

    def send(self, alert: Outgoing, recipient: Contact | None) -> Receipt:
        """Publish one alert; DELIVERED when the broker has acknowledged all of it."""
        del recipient  # everyone who subscribes
        if isinstance(alert, FaultAlert):
            message = Message(self._link.topic("events"), self._events.event(alert))
            at = alert.after.updated_at.isoformat()
            self._link.deliver(f"{alert.after.id}/{alert.change}/{at}", [message])
            return Receipt(DeliveryState.DELIVERED)
        after = alert.after
        key = f"{after.id}/{alert.change}/{after.state}/{after.updated_at.isoformat()}"
        self._link.deliver(key, self._messages(alert))
        self._share(after)
        if alert.change is Change.END:
            self._shared.pop(after.id, None)
        return Receipt(DeliveryState.DELIVERED)

    def poll(self, reference: str) -> Receipt:
        """Nothing is ever left to ask for."""
        return Receipt(DeliveryState.DELIVERED, reference)

    def _states(self, alert: Alert) -> list[Message]:
        """The emergency topics that this alert changes; a test changes none."""
        after = alert.after
        if after.state is IncidentState.TEST:
            return []
        rooms = {after.room, self._open.get(after.id, after.room)}
        if after.ended_at is None:
            self._open[after.id] = after.room
        else:
            self._open.pop(after.id, None)
        on = set(self._open.values())
        return [self._link.emergency_message(room, on=room in on) for room in sorted(rooms)]

    def _messages(self, alert: Alert) -> list[Message]:
        """What it was comes before that it is: who sees `emergency` go ON knows of what kind."""
        after, before = alert.after, alert.before
        events = Message(self._link.topic("events"), self._events.event(alert))
        known = before is not None and (before.category, before.room) == (
            after.category,
            after.room,
        )
        if after.state is IncidentState.TEST or alert.change is Change.END or known:
            return [*self._states(alert), events]
        signal = self._events.signal(alert)
        last = Message(
            self._link.topic(after.room, "last_event"),
            signal,
            retain=True,
            expiry_s=self._events.keep_s,
        )
        event = Message(self._link.topic(after.room, "event"), signal)
        return [last, *self._states(alert), event, events]

    def _share(self, incident: Incident) -> None:
        """Publish the recording, once for every version of it; its failure fails no alert."""
        clip = incident.clip
        if clip is None or self._clips.share != "mqtt":
            return
        if self._shared.get(incident.id) == clip.sha256:
            return
        try:
            message = self._recording(incident, clip)
            self._link.deliver(f"{incident.id}/clip/{clip.sha256}", [message])
        except (OSError, DeliveryError) as exc:
            _log.warning("the clip of incident %s is not shared: %s", incident.id, exc)
        else:
            self._shared[incident.id] = clip.sha256

    def _recording(self, incident: Incident, clip: Clip) -> Message:
        sound = clip.path.read_bytes()
        limit = self._link.max_packet_bytes
        if limit is not None and len(sound) + _PACKET_OVERHEAD > limit:
            # A broker hangs up on a packet past its limit, again and again.
            message = f"{len(sound)} bytes are more than the broker takes ({limit})"
            raise DeliveryError(message, retryable=False)
        return Message(
            self._events.clip_topic(incident),
            sound,
            media_type=clip.media_type,
            expiry_s=int(self._clips.keep_days * 86_400),
            correlation=incident.id.encode(),
        )
