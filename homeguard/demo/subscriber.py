"""An MQTT client that knows nothing of the daemon: what an integrator would receive."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from homeguard.demo.broker import Broker
from homeguard.domain import HomeGuardError

_CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class Message:
    """A publication as it arrived."""

    topic: str
    text: str


@contextmanager
def subscribed(broker: Broker, topic: str) -> Iterator[queue.SimpleQueue[Message]]:
    """What is published on the topic (wildcards allowed) until the block ends.

    Raises HomeGuardError when the broker does not take the subscription.
    """
    version = MQTTProtocolVersion.MQTTv5 if broker.version == "5" else MQTTProtocolVersion.MQTTv311
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "demo-integrator", protocol=version)
    arrived: queue.SimpleQueue[Message] = queue.SimpleQueue()
    ready = threading.Event()

    def on_connect(*_: object) -> None:
        client.subscribe(topic, qos=1)

    def on_message(_client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        text = message.payload.decode("utf-8", errors="replace")
        arrived.put(Message(message.topic, text))

    client.on_connect = on_connect
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = on_message
    try:
        client.connect(broker.host, broker.port)
        client.loop_start()
        if not ready.wait(_CONNECT_S):
            message = f"{broker.name} does not answer on {broker.host}:{broker.port}"
            raise HomeGuardError(message)
        yield arrived
    finally:
        client.disconnect()
        client.loop_stop()
