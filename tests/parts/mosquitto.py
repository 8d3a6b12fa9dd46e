"""A real mosquitto with passwords and an ACL on a free loopback port."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

NODE_USER, NODE_PASSWORD = "homeguard", "node-secret"
READER_USER, READER_PASSWORD = "caregiver", "reader-secret"
MUTED_USER, MUTED_PASSWORD = "muted", "muted-secret"
HOME_ASSISTANT_USER, HOME_ASSISTANT_PASSWORD = "homeassistant", "ha-secret"

_ACL = f"""\
user {NODE_USER}
topic readwrite homeguard/#
topic read homeassistant/status
topic readwrite homeassistant/device/#

user {READER_USER}
topic read homeguard/#
topic write homeguard/+/ack/set
topic write homeguard/+/test/set
topic read homeassistant/#

user {HOME_ASSISTANT_USER}
topic read homeguard/#
topic write homeguard/+/ack/set
topic write homeguard/+/mute/set
topic write homeguard/+/test/set
topic readwrite homeassistant/#

user {MUTED_USER}
topic readwrite homeguard/+/status
"""


def free_port() -> int:
    """A TCP port on loopback that nobody listens on.

    Below those that the kernel gives to connections: it may stay unused for a while.
    """
    while True:
        port = 15_000 + secrets.randbelow(17_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_until(true: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    """Look every few milliseconds until `true`, or the time is over."""
    ends = time.monotonic() + timeout_s
    while time.monotonic() < ends:
        if true():
            return True
        time.sleep(0.01)
    return true()


def make_certificate(directory: Path) -> None:
    """ca.pem, a certificate for 127.0.0.1 that signs itself, and key.pem."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: apt install openssl")
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=homeguard-test"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", directory / "key.pem", "-out", directory / "ca.pem"),
        ],
        check=True,
        capture_output=True,
    )


@dataclass(slots=True)
class Mosquitto:
    """The broker; `kill` it with -9 and `start` it again on the same port."""

    directory: Path
    port: int = field(default_factory=free_port)
    tls: bool = False
    _process: subprocess.Popen[bytes] | None = None

    def configure(self) -> None:
        passwords = self.directory / "passwords"
        tool = shutil.which("mosquitto_passwd") or "mosquitto_passwd"
        flag = "-c"
        for user, password in (
            (NODE_USER, NODE_PASSWORD),
            (READER_USER, READER_PASSWORD),
            (MUTED_USER, MUTED_PASSWORD),
            (HOME_ASSISTANT_USER, HOME_ASSISTANT_PASSWORD),
        ):
            subprocess.run(
                [tool, "-b", *([flag] if flag else []), passwords, user, password], check=True
            )
            flag = ""
        (self.directory / "acl").write_text(_ACL, encoding="utf-8")
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous false",
            f"password_file {passwords}",
            f"acl_file {self.directory / 'acl'}",
            "persistence true",
            f"persistence_location {self.directory}/",
            "autosave_interval 1",
            "autosave_on_changes true",
            "log_dest none",
            *(["user root"] if os.geteuid() == 0 else []),
        ]
        if self.tls:
            make_certificate(self.directory)
            lines += [
                f"certfile {self.directory / 'ca.pem'}",
                f"keyfile {self.directory / 'key.pem'}",
            ]
        (self.directory / "mosquitto.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        binary = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
        assert binary is not None
        self._process = subprocess.Popen(
            [binary, "-c", str(self.directory / "mosquitto.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert wait_until(self._listens), "mosquitto does not listen"

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 0.2).close()
        except OSError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Received:
    """A message as a subscriber got it."""

    topic: str
    payload: bytes
    retain: bool
    content_type: str | None
    expiry_s: int | None
    correlation: bytes | None

    @property
    def text(self) -> str:
        return self.payload.decode()


class Subscriber:
    """An independent MQTT 5 client that keeps what it gets."""

    def __init__(
        self,
        broker: Mosquitto,
        topic: str = "homeguard/#",
        user: tuple[str, str] = (READER_USER, READER_PASSWORD),
    ) -> None:
        self.messages: list[Received] = []
        self._topic = topic
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.username_pw_set(*user)
        self._client.on_connect = self._subscribe
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._keep
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._ready.wait(10), "the subscriber does not get through"

    def on(self, topic: str) -> list[Received]:
        """What came on a topic, in order."""
        return [message for message in list(self.messages) if message.topic == topic]

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, 1, retain).wait_for_publish(5)

    def await_reconnect(self) -> None:
        assert self._ready.wait(10)

    def forget(self) -> None:
        """From now on `await_reconnect` waits for the next subscription."""
        self._ready.clear()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _subscribe(self, client: paho.Client, *_: object) -> None:
        client.subscribe(self._topic, 1)

    def _keep(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        properties = message.properties
        self.messages.append(
            Received(
                message.topic,
                bytes(message.payload),
                message.retain,
                getattr(properties, "ContentType", None),
                getattr(properties, "MessageExpiryInterval", None),
                getattr(properties, "CorrelationData", None),
            )
        )


def mosquitto_or_skip() -> None:
    """Skip on a user's machine without mosquitto; fail in CI."""
    if shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        return
    reason = "mosquitto is not installed: apt install mosquitto"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running broker, its files in a directory of the test's own."""
    mosquitto_or_skip()
    directory = tmp_path / "mosquitto"
    directory.mkdir()
    mosquitto = Mosquitto(directory)
    mosquitto.configure()
    mosquitto.start()
    yield mosquitto
    mosquitto.kill()


@pytest.fixture
def tls_broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that speaks TLS only, with a certificate that nobody but ca.pem vouches for."""
    mosquitto_or_skip()
    directory = tmp_path / "mosquitto-tls"
    directory.mkdir()
    mosquitto = Mosquitto(directory, tls=True)
    mosquitto.configure()
    mosquitto.start()
    yield mosquitto
    mosquitto.kill()


@pytest.fixture
def subscriber(broker: Mosquitto) -> Iterator[Subscriber]:
    """A caregiver's client that hears everything of every node."""
    client = Subscriber(broker)
    yield client
    client.close()
