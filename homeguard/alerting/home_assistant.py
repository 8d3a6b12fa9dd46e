"""What Home Assistant is told of us: a device for the node and one for each room, as JSON objects.

Pure: settings in, payloads out. The fields are those of Home Assistant's MQTT device discovery
(2024.11 and newer); what they mean to whom is in docs/home-assistant.md, why the topics look as
they do in docs/decisions/0011-home-assistant.md.
"""

from __future__ import annotations

import json
from typing import Any

from homeguard import __version__
from homeguard.alerting.mute import LONGEST_S
from homeguard.alerting.picture import MEDIA_TYPE
from homeguard.config import Config, RoomConfig
from homeguard.labels import EMERGENCIES

EXPIRES_S = 180  # a problem sensor that nobody refreshed for so long says nothing any more
_BY = "Home Assistant"

Payload = dict[str, Any]

# Component: Korean, English.
_NAMES = {
    "emergency": ("긴급 상황", "Emergency"),
    "problem": ("청취 이상", "Listening problem"),
    "event": ("긴급 알림", "Emergency alert"),
    "category": ("마지막 긴급 상황", "Last emergency"),
    "level": ("소리 크기", "Sound level"),
    "picture": ("마지막 소리 그림", "Last sound picture"),
    "connection": ("연결", "Connection"),
    "mute": ("1시간 조용히", "Mute for an hour"),
    "test": ("알림 시험", "Test alert"),
    "acknowledge": ("확인했음", "Acknowledge"),
    "last_test": ("마지막 시험", "Last test"),
}


def devices(config: Config) -> dict[str, Payload]:
    """Payloads by their discovery topic, the node's first: the rooms name it."""
    home = _Home(config)
    found = {config_topic(config): home.node()}
    found.update({config_topic(config, r.name): home.room(r) for r in config.rooms})
    return found


def config_topic(config: Config, room: str | None = None) -> str:
    """The discovery topic of the node, or of a room; `+` for a filter of all rooms.

    Slugs hold no slash, so no two nodes and rooms share one.
    """
    base = f"{config.mqtt.discovery.prefix}/device/homeguard_{config.node.name}"
    return f"{base}/config" if room is None else f"{base}/{room}/config"


def retired(old: Payload, current: Payload | None) -> list[Payload]:
    """What removes from Home Assistant the components of `old` that `current` has not.

    First the payload that shows them once more, then the one that removes them: a component of
    which only the platform is given. Empty where nothing vanished. A component's name must
    therefore never be given to another platform.
    """
    kept = current["components"] if current else {}
    gone = {name: part for name, part in old.get("components", {}).items() if name not in kept}
    removed = {name: {"platform": part["platform"]} for name, part in gone.items()}
    base = current or old
    return [{**base, "components": {**kept, **parts}} for parts in (gone, removed) if gone]


class _Home:
    """Writes the payloads of one configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._node = config.node.name
        self._korean = config.home.language == "ko"
        self._base = f"{config.mqtt.prefix}/{self._node}"
        self._alive = {"topic": f"{self._base}/status"}

    def node(self) -> Payload:
        place = self._config.home.name or self._node
        device = {"identifiers": [self._id()], "name": f"HomeGuard {place}", "model": "HomeGuard"}
        return self._payload(device, {**self._always(), **self._while_alive()})

    def room(self, room: RoomConfig) -> Payload:
        label, base = room.label or room.name, f"{self._base}/{room.name}"
        device = {
            "identifiers": [self._id(room.name)],
            "name": label,
            "model": "HomeGuard 방" if self._korean else "HomeGuard room",
            "suggested_area": label,
            "via_device": self._id(),
        }
        return self._payload(device, {**self._now(base), **self._last(base)}, room.name)

    def _always(self) -> dict[str, Payload]:
        """These never go away: one says that the node is gone, one is for who is called."""
        base = self._base
        return {
            "connection": {
                "platform": "binary_sensor",
                "device_class": "connectivity",
                "entity_category": "diagnostic",
                "state_topic": f"{base}/status",
                "payload_on": "online",
                "payload_off": "offline",
            },
            "acknowledge": {
                "platform": "button",
                "icon": "mdi:check-bold",
                "command_topic": f"{base}/ack/set",
                "payload_press": json.dumps({"by": _BY}),
            },
            "last_test": {
                "platform": "sensor",
                "device_class": "timestamp",
                "entity_category": "diagnostic",
                "state_topic": f"{base}/test/state",
                "value_template": "{{ (value_json | default({})).passed_at | default(none) }}",
            },
        }

    def _while_alive(self) -> dict[str, Payload]:
        """Commands that only a living node can follow."""
        base, alive = self._base, {"availability": [self._alive]}
        return {
            "mute": {
                "platform": "switch",
                "icon": "mdi:bell-sleep",
                "command_topic": f"{base}/mute/set",
                "payload_on": json.dumps({"seconds": round(LONGEST_S), "by": _BY}),
                "payload_off": "OFF",
                "state_topic": f"{base}/mute/state",
                "value_template": "{{ value_json.state | default('') }}",
                "state_on": "ON",
                "state_off": "OFF",
                **alive,
            },
            "test": {
                "platform": "button",
                "icon": "mdi:bullhorn-variant",
                "command_topic": f"{base}/test/set",
                **alive,
            },
        }

    def _now(self, base: str) -> dict[str, Payload]:
        """What a room is now. Only its emergency goes away with its microphone."""
        heard = {
            "topic": f"{base}/status/audio",
            "value_template": "{{ 'online' if value in ['online', 'muted'] else 'offline' }}",
        }
        return {
            "emergency": {
                "platform": "binary_sensor",
                "device_class": "safety",
                "state_topic": f"{base}/emergency",
                "json_attributes_topic": f"{base}/last_event",
                "availability": [self._alive, heard],
                "availability_mode": "all",
            },
            "problem": {
                "platform": "binary_sensor",
                "device_class": "problem",
                "entity_category": "diagnostic",
                "state_topic": f"{base}/problem",
                "expire_after": EXPIRES_S,
                "availability": [self._alive],
            },
            "level": {
                "platform": "sensor",
                "icon": "mdi:waveform",
                "entity_category": "diagnostic",
                "state_class": "measurement",
                "unit_of_measurement": "dBFS",
                "suggested_display_precision": 0,
                "state_topic": f"{base}/level",
                # Whole decibels: a quiet room then writes little history.
                "value_template": "{{ value_json.dbfs | round(0, default=none) }}",
                "qos": 0,
                "availability": [self._alive],
            },
        }

    def _last(self, base: str) -> dict[str, Payload]:
        """What happened last in a room: it stays true while the node is away."""
        language, clips = self._config.home.language, self._config.clips
        parts: dict[str, Payload] = {
            "event": {
                "platform": "event",
                "icon": "mdi:alarm-light",
                "state_topic": f"{base}/event",
                "event_types": [category.value for category in EMERGENCIES],
            },
            "category": {
                "platform": "sensor",
                "device_class": "enum",
                "options": [category.name_in(language) for category in EMERGENCIES],
                "state_topic": f"{base}/last_event",
                "value_template": "{{ value_json.category_name }}",
                "json_attributes_topic": f"{base}/last_event",
            },
            "picture": {
                "platform": "image",
                "image_topic": f"{base}/image",
                "content_type": MEDIA_TYPE,
            },
        }
        if not clips.enabled or clips.picture != "mqtt":
            del parts["picture"]
        return parts

    def _payload(
        self, device: Payload, components: dict[str, Payload], room: str | None = None
    ) -> Payload:
        for name, component in components.items():
            slug = "_".join(["homeguard", self._node, *([room] if room else []), name])
            component["name"] = _NAMES[name][0 if self._korean else 1]
            component["unique_id"] = f"{self._id(room)}.{name}"
            component["object_id"] = slug  # until Home Assistant 2026.4
            component["default_entity_id"] = f"{component['platform']}.{slug}"
            component.setdefault("qos", 1)
        about = {"manufacturer": "HomeGuard", "sw_version": __version__}
        return {
            "device": {**device, **about},
            "origin": {"name": "HomeGuard", "sw_version": __version__},
            "components": components,
        }

    def _id(self, room: str | None = None) -> str:
        """A name that no other node or room has: slugs hold no dot."""
        return ".".join(["homeguard", self._node, *([room] if room else [])])
