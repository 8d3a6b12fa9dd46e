"""Announces us to Home Assistant over MQTT, and takes back what is gone from the configuration.

The broker is the memory: what it retains under our discovery topics is what was announced. So
a room that left the configuration is found and removed although the daemon was down meanwhile.
"""

from __future__ import annotations

import json
import logging

from homeguard.alerting.home_assistant import Payload, config_topic, devices, retired
from homeguard.alerting.mqtt_link import Message, MqttLink, Received
from homeguard.config import Config

_ROOM_STATES = ("emergency", "problem", "status/audio", "image", "last_event")

_log = logging.getLogger(__name__)


class Discovery:
    """Keeps what Home Assistant knows of us right; made before the link starts.

    It works in paho's thread. Where `mqtt.discovery` is off it only takes back what was announced.
    """

    def __init__(self, config: Config, link: MqttLink) -> None:
        self._link = link
        topics = [config_topic(config), *(config_topic(config, r.name) for r in config.rooms)]
        self._ours = frozenset(topics)
        self._devices = devices(config) if config.mqtt.discovery.enabled else {}
        # Payloads that take something back. Home Assistant keeps what vanished while it was down
        # in its registry for ever, unless it is shown it and told once more when it is back.
        self._again: list[tuple[str, Payload]] = []
        link.listen(f"{config.mqtt.discovery.prefix}/status", self._on_status)
        link.listen(config_topic(config), self._on_announced)
        link.listen(config_topic(config, "+"), self._on_announced)
        self._announce()

    def _announce(self) -> None:
        for topic, payload in self._devices.items():
            self._say(topic, payload, retain=True)

    def _on_status(self, received: Received) -> None:
        """Home Assistant's birth message: now it listens."""
        if received.payload != b"online":
            return
        for topic, payload in self._again:
            self._say(topic, payload)
        self._again.clear()
        self._announce()

    def _on_announced(self, received: Received) -> None:
        """What the broker retains from before; our own announcements come back unretained."""
        if not (received.retained and received.payload):
            return
        topic = received.topic
        current = self._devices.get(topic)
        farewell = retired(_parsed(received.payload), current)
        self._again += [(topic, payload) for payload in farewell]
        if current is None:
            _log.info("MQTT: no longer announced to Home Assistant: %s", topic)
            self._link.state(Message(topic, "", retain=True))
            self._forget_states(topic)
        elif farewell:
            self._say(topic, farewell[-1])

    def _forget_states(self, topic: str) -> None:
        """What the broker retains of a room that is gone would stay as it is for ever."""
        if topic in self._ours:
            return
        room = topic.split("/")[-2]
        for state in _ROOM_STATES:
            self._link.state(Message(self._link.topic(room, state), "", retain=True))

    def _say(self, topic: str, payload: Payload, *, retain: bool = False) -> None:
        text = json.dumps(payload, ensure_ascii=False)
        self._link.state(Message(topic, text, retain=retain))


def _parsed(payload: bytes) -> Payload:
    """What was announced; without components where that is not to be read."""
    try:
        document = json.loads(payload)
        parts = document["components"].values()
        return document if all(isinstance(p["platform"], str) for p in parts) else {}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}
