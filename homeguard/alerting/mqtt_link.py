"""The connection to the MQTT broker by paho, with the state topics of the node and its rooms.

A message counts as delivered only when the broker has acknowledged it with success: paho itself
calls a refused one published.
"""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from homeguard.config import MqttConfig
from homeguard.domain import DeliveryError

_ACKNOWLEDGED_WITHIN_S = 10.0
_REMEMBERED = 1000  # acknowledgements that nobody has asked for yet
_PICTURE_OVERHEAD = 1024  # topic and properties, generously
_LAST_RECONNECT_S = 30
# MQTT 5, 2.4: trying again cannot help.
_PERMANENT = {
    0x87: "Not authorized: let this user write {topic} in the broker's ACL",
    0x90: "Topic name invalid: {topic}",
    0x95: "Packet too large for the broker: {topic}",
    0x99: "Payload format invalid: {topic}",
}
_FAILURE = 0x80

_log = logging.getLogger(__name__)

AudioState = Literal["online", "offline", "silent", "muted"]


@dataclass(frozen=True, slots=True)
class Message:
    """One publish. `media_type`, `expiry_s` and `correlation` travel with MQTT 5 only."""

    topic: str
    payload: str | bytes
    qos: int = 1
    retain: bool = False
    media_type: str | None = None
    expiry_s: int | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """What came in; `retained` when it is older than our subscription."""

    topic: str
    payload: bytes
    retained: bool


class MqttLink:
    """The connection to the broker: `start` once, `stop` once; for all threads.

    Retained messages are remembered and published again after every reconnect. `on_up` is called
    at every (re)connect, in paho's thread: it must return quickly, as must what `listen` is given.
    """

    def __init__(
        self,
        config: MqttConfig,
        node: str,
        rooms: Sequence[str] = (),
        password: str | None = None,
        level_every_s: float = 1.0,
    ) -> None:
        self._config = config
        self._node = node
        self.on_up: Callable[[], None] = lambda: None
        self.max_packet_bytes: int | None = None  # what the broker says it takes
        self._level_every_s = level_every_s
        self._level_at: dict[str, float] = {}
        # paho calls `_on_publish` while it holds the lock of its own queue, so `_changed` must
        # never be held while publishing. `_order` keeps an old state from overtaking a new one.
        self._order = threading.Lock()
        self._changed = threading.Condition()
        self._connected = False
        self._down_s: float | None = None
        self._broken = False
        self._codes: dict[int, ReasonCode] = {}  # by message id, until asked for
        self._waiting: dict[str, list[tuple[int, str]]] = {}  # by key: sent, not acknowledged yet
        self._states: dict[int, str] = {}  # topics by message id: sent, not acknowledged yet
        self._refused: set[str] = set()  # state topics that the broker does not let us write
        self._filters: list[str] = []
        self._retained: dict[str, Message] = {}
        self._client = self._make_client(password)
        for room in rooms:
            self._keep(self.emergency_message(room, on=False))

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us and the connection stands."""
        return self._connected

    @property
    def down_since_s(self) -> float | None:
        """Since when, by the monotonic clock, there is no connection; None where there is one."""
        return self._down_s

    def listen(self, topics: str, take: Callable[[Received], None]) -> None:
        """Subscribe to a topic, or several by a filter; before `start`. `take` must not raise."""

        def taken(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
            received = Received(message.topic, bytes(message.payload), message.retain)
            try:
                take(received)
            except Exception:  # noqa: BLE001 a defect here would end paho's thread
                _log.exception("MQTT: what came on %s could not be taken", message.topic)

        self._filters.append(topics)
        self._client.message_callback_add(topics, taken)

    def start(self) -> None:
        """Connect in the background, again and again; never waits, never raises for a broker."""
        host, port = self._config.host, self._config.port
        self._down_s = time.monotonic()
        self._client.connect_async(host, port, keepalive=self._config.keepalive_s)
        self._client.loop_start()

    def stop(self, deadline_s: float = 1.0) -> None:
        """Say offline, disconnect, end paho's thread."""
        ends = time.monotonic() + deadline_s
        if self._connected:
            said = self._publish(Message(self.topic("status"), "offline", retain=True))
            with self._changed:
                self._changed.wait_for(
                    lambda: said in self._codes or not self._connected, deadline_s / 2
                )
        self._client.disconnect()
        # loop_stop waits for a connect in progress, however long that takes.
        ender = threading.Thread(target=self._client.loop_stop, name="mqtt-stop", daemon=True)
        ender.start()
        ender.join(max(0.0, ends - time.monotonic()))

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until the broker has accepted us; whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self._connected, timeout_s)

    def topic(self, *parts: str) -> str:
        """A topic of this node."""
        return "/".join((self._config.prefix, self._node, *parts))

    def audio(self, room: str, state: AudioState) -> None:
        """Tell whether a room is heard."""
        self.state(Message(self.topic(room, "status/audio"), state, retain=True))

    def problem(self, room: str, *, on: bool) -> None:
        """Tell whether a room cannot be heard or judged."""
        self.state(Message(self.topic(room, "problem"), "ON" if on else "OFF", retain=True))

    def picture(self, room: str, png: bytes, incident_id: str, keep_days: float) -> bool:
        """Show a room's last incident, retained so long; False where the broker takes less."""
        limit = self.max_packet_bytes
        if limit is not None and len(png) + _PICTURE_OVERHEAD > limit:
            return False
        message = Message(
            self.topic(room, "image"),
            png,
            retain=True,
            media_type="image/png",
            expiry_s=int(keep_days * 86_400),
            correlation=incident_id.encode(),
        )
        self.state(message)
        return True

    def level(self, room: str, dbfs: float | None) -> None:
        """Tell a room's level, at most once every `level_every_s`; lost while disconnected.

        None, told at once: it is not known.
        """
        now = time.monotonic()
        since_s = now - self._level_at.get(room, float("-inf"))
        if dbfs is not None and since_s < self._level_every_s:
            return
        self._level_at[room] = now
        payload = json.dumps({"dbfs": None if dbfs is None else round(dbfs, 1)})
        self.state(Message(self.topic(room, "level"), payload, qos=0))

    def answer(self, command: str, state: str) -> None:
        """Tell what became of a command, on <node>/<command>/state."""
        self.state(Message(self.topic(command, "state"), state, retain=True))

    def emergency_message(self, room: str, *, on: bool) -> Message:
        """The message that a room's emergency is on, or over."""
        return Message(self.topic(room, "emergency"), "ON" if on else "OFF", retain=True)

    def state(self, message: Message) -> None:
        """Publish without waiting; a retained one after a reconnect, if there is no broker now.

        An empty retained one makes the broker forget its topic. A refusal is logged, once a topic.
        """
        with self._order:
            self._keep(message)
            if self._connected:
                self._publish_state(message)

    def deliver(self, key: str, messages: Sequence[Message]) -> None:
        """Publish in order and wait until the broker has acknowledged all with success.

        The same `key` given again after a failure waits for what is still under way rather than
        sending it twice. Raises DeliveryError.
        """
        sent = self._waiting.get(key)
        if sent is None:
            if not self._connected:
                message = f"MQTT broker {self._config.host}:{self._config.port} unreachable"
                raise DeliveryError(message, retryable=True, code="offline")
            sent = []
            with self._order:
                for each in messages:
                    self._keep(each)
                    sent.append((self._publish(each), each.topic))
            self._waiting[key] = sent
        with self._changed:
            self._changed.wait_for(
                lambda: self._all_acknowledged(sent) or not self._connected,
                _ACKNOWLEDGED_WITHIN_S,
            )
            if not self._all_acknowledged(sent):
                message = f"MQTT broker {self._config.host} has not acknowledged a message"
                raise DeliveryError(message, retryable=True, code="unacknowledged")
            del self._waiting[key]
            codes = [(self._codes.pop(mid), topic) for mid, topic in sent]
        for code, topic in codes:
            _require_success(code, topic)

    def _make_client(self, password: str | None) -> paho.Client:
        config = self._config
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=config.client_id or f"homeguard-{self._node}",
            protocol=paho.MQTTv5 if config.version == "5" else paho.MQTTv311,
        )
        if config.username:
            client.username_pw_set(config.username, password)
        if config.tls:
            client.tls_set(
                ca_certs=str(config.ca_file) if config.ca_file else None,
                cert_reqs=ssl.CERT_REQUIRED,
            )
        client.will_set(self.topic("status"), "offline", qos=1, retain=True)
        client.reconnect_delay_set(1, _LAST_RECONNECT_S)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    def _on_connect(
        self,
        client: paho.Client,
        _data: object,
        _flags: object,
        reason: ReasonCode,
        properties: object,
    ) -> None:
        if reason.is_failure:
            self._breaks(f"refuses us: {reason}; check mqtt.username and HOMEGUARD_MQTT_PASSWORD")
            return
        self.max_packet_bytes = getattr(properties, "MaximumPacketSize", None)
        if self._broken:
            _log.info("MQTT broker %s: connected again", self._config.host)
        self._broken = False
        if self._filters:
            client.subscribe([(topics, 1) for topics in self._filters])
        with self._order:
            self._publish(Message(self.topic("status"), "online", retain=True))
            for message in self._retained.values():
                self._publish_state(message)
            with self._changed:
                self._connected, self._down_s = True, None
                self._changed.notify_all()
        try:
            self.on_up()
        except Exception:  # noqa: BLE001 a defect here would end paho's thread
            _log.exception("MQTT: what follows a connect failed")

    def _on_connect_fail(self, _client: paho.Client, _data: object) -> None:
        self._breaks("cannot be reached; is it running, are mqtt.host, port and tls right?")

    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: object,
        _flags: object,
        reason: ReasonCode,
        _properties: object,
    ) -> None:
        with self._changed:
            lost, self._connected = self._connected, False
            if lost:
                self._down_s = time.monotonic()
            self._changed.notify_all()
        if lost and reason.is_failure:
            self._breaks(f"is gone: {reason}")

    def _on_publish(
        self, _client: paho.Client, _data: object, mid: int, reason: ReasonCode, _properties: object
    ) -> None:
        with self._changed:
            self._codes.pop(mid, None)
            self._codes[mid] = reason
            while len(self._codes) > _REMEMBERED:
                del self._codes[next(iter(self._codes))]
            self._changed.notify_all()
        self._note_refusal(mid)

    def _breaks(self, what: str) -> None:
        level = logging.DEBUG if self._broken else logging.WARNING
        _log.log(level, "MQTT broker %s:%d %s", self._config.host, self._config.port, what)
        self._broken = True

    def _keep(self, message: Message) -> None:
        if message.retain and message.payload:
            self._retained[message.topic] = message
        elif message.retain:
            self._retained.pop(message.topic, None)

    def _publish_state(self, message: Message) -> None:
        mid = self._publish(message)
        if message.qos:
            with self._changed:
                self._states[mid] = message.topic
            self._note_refusal(mid)  # the answer may have been faster than the line above

    def _note_refusal(self, mid: int) -> None:
        """Log that the broker refused a state, once both its topic and the answer are known."""
        with self._changed:
            topic, code = self._states.get(mid), self._codes.get(mid)
            if topic is None or code is None:
                return
            del self._states[mid], self._codes[mid]
            known = topic in self._refused
            if code.value < _FAILURE or known:
                return
            self._refused.add(topic)
        reason = _PERMANENT.get(code.value, f"{code}: {{topic}}").format(topic=topic)
        _log.warning("MQTT broker: %s", reason)

    def _publish(self, message: Message) -> int:
        """Hand one message to paho; gives its message id."""
        info = self._client.publish(
            message.topic,
            message.payload,
            qos=message.qos,
            retain=message.retain,
            properties=self._properties(message),
        )
        return info.mid

    def _properties(self, message: Message) -> Properties | None:
        if self._config.version != "5":
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if message.media_type is not None:
            properties.ContentType = message.media_type
        if message.expiry_s is not None:
            properties.MessageExpiryInterval = message.expiry_s
        if message.correlation is not None:
            properties.CorrelationData = message.correlation
        return properties

    def _all_acknowledged(self, sent: Sequence[tuple[int, str]]) -> bool:
        return all(mid in self._codes for mid, _ in sent)


def _require_success(code: ReasonCode, topic: str) -> None:
    if code.value < _FAILURE:
        return
    permanent = _PERMANENT.get(code.value)
    if permanent is not None:
        message = f"MQTT broker: {permanent.format(topic=topic)}"
        raise DeliveryError(message, retryable=False, code=f"0x{code.value:02x}")
    message = f"MQTT broker refuses {topic}: {code}"
    raise DeliveryError(message, retryable=True, code=f"0x{code.value:02x}")
