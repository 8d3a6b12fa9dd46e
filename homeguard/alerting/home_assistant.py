"""What Home Assistant is told of us: a device for the node and one for each room, as JSON objects.

Pure: settings in, payloads out. The fields are those of Home Assistant's MQTT device discovery
(2024.12 and newer); what they mean to whom is in docs/home-assistant.md, why the topics look as
they do in docs/decisions/0011-home-assistant.md.
"""

from __future__ import annotations

from typing import Any

from homeguard import __version__
from homeguard.alerting.mute import LONGEST_S
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
        base, alive = self._base, {"availability": [self._alive]}
        minutes = round(LONGEST_S)
        place = self._config.home.name or self._node
        device = {"identifiers": [self._id()], "name": f"HomeGuard {place}", "model": "HomeGuard"}
        components = {
            # Neither of these goes away with the node: one says that it is gone, the other is
            # what somebody who is called reaches for.
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
                "payload_press": f'{{"by": "{_BY}"}}',
            },
            "mute": {
                "platform": "switch",
                "icon": "mdi:bell-sleep",
                "command_topic": f"{base}/mute/set",
                "payload_on": f'{{"seconds": {minutes}, "by": "{_BY}"}}',
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
            "last_test": {
                "platform": "sensor",
                "device_class": "timestamp",
                "entity_category": "diagnostic",
                "state_topic": f"{base}/test/state",
                "value_template": "{{ value_json.passed_at | default(None) }}",
            },
        }
        return self._payload(device, components)

    def room(self, room: RoomConfig) -> Payload:
        base = f"{self._base}/{room.name}"
        heard = {
            "topic": f"{base}/status/audio",
            "value_template": ("{{ 'online' if value in ['online', 'muted'] else 'offline' }}"),
        }
        label = room.label or room.name
        device = {
            "identifiers": [self._id(room.name)],
            "name": label,
            "model": "HomeGuard 방" if self._korean else "HomeGuard room",
            "suggested_area": label,
            "via_device": self._id(),
        }
        emergencies = [category.name_in(self._config.home.language) for category in EMERGENCIES]
        components = {
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
            # What happened stays true while the node is away.
            "event": {
                "platform": "event",
                "icon": "mdi:alarm-light",
                "state_topic": f"{base}/event",
                "event_types": [category.value for category in EMERGENCIES],
            },
            "category": {
                "platform": "sensor",
                "device_class": "enum",
                "options": emergencies,
                "state_topic": f"{base}/last_event",
                "value_template": "{{ value_json.category_name }}",
                "json_attributes_topic": f"{base}/last_event",
            },
            "level": {
                "platform": "sensor",
                "icon": "mdi:waveform",
                "entity_category": "diagnostic",
                "state_class": "measurement",
                "unit_of_measurement": "dBFS",
                "state_topic": f"{base}/level",
                # Whole decibels: a quiet room then writes little history.
                "value_template": "{{ value_json.dbfs | round(0, default=none) }}",
                "suggested_display_precision": 0,
                "qos": 0,
                "availability": [self._alive],
            },
        }
        if self._config.clips.enabled and self._config.clips.picture == "mqtt":
            components["picture"] = {
                "platform": "image",
                "image_topic": f"{base}/image",
                "content_type": "image/png",
            }
        return self._payload(device, components, room.name)

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
