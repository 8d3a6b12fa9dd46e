"""The way of an alert as shipped, from the outbox to a real broker and the SMS gateway.

Outbox, planner, couriers, MQTT link and twilio client are the daemon's; the clock is stepped.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from homeguard.alerting.channels import make_channels, make_link
from homeguard.alerting.courier import Courier
from homeguard.alerting.desk import Desk
from homeguard.alerting.escalation import Planner
from homeguard.alerting.mqtt_link import MqttLink
from homeguard.alerting.outbox import Outbox
from homeguard.alerting.telling import Telling
from homeguard.config import Config, Secrets
from homeguard.demo.gateway import Gateway
from homeguard.domain import DeliveryState
from tests.alerting.cases import SteppedClock
from tests.parts.mosquitto import NODE_PASSWORD, NODE_USER, Mosquitto, Subscriber
from tests.parts.twilio import ACCOUNT, SENDER, TOKEN

KIM, LEE, PARK = "+821011112222", "+821033334444", "+821055556666"
CONTACTS = [
    {"name": "김철수", "phone": KIM},
    {"name": "이영희", "phone": LEE},
    {"name": "Park", "phone": PARK, "language": "en"},
]


def a_config(
    state_dir: Path, port: int | None = None, gateway: Gateway | None = None, **sections: object
) -> Config:
    """A home with three contacts; the broker on `port`, the gateway if there is one."""
    mqtt = {"enabled": port is not None, "host": "127.0.0.1", "port": port or 1883}
    sms = {"enabled": gateway is not None, "account_sid": ACCOUNT, "sender": SENDER}
    values: dict[str, object] = {
        "node": {"name": "home", "state_dir": state_dir},
        "home": {"timezone": "Asia/Seoul"},
        "rooms": [{"name": "living-room", "label": "거실", "microphone": "default"}],
        "alerts": {"contacts": CONTACTS},
        "mqtt": {**mqtt, "username": NODE_USER},
        "sms": {**sms, "timeout_s": 1.0, "base_url": gateway.url if gateway else "https://x"},
    }
    return Config.model_validate({**values, **sections})


def secrets(password: str = NODE_PASSWORD, token: str = TOKEN) -> Secrets:
    """The secrets that broker and gateway take."""
    return Secrets(mqtt_password=SecretStr(password), twilio_auth_token=SecretStr(token))


@dataclass(slots=True)
class Post:
    """Submits and delivers by hand: nothing happens between two calls."""

    outbox: Outbox
    desk: Desk
    couriers: dict[str, Courier]
    link: MqttLink | None
    clock: SteppedClock
    telling: Telling

    def troubles(self) -> list[str]:
        """What the daemon would tell of the way to people: cause and subject."""
        return [f"{t.cause} {t.subject}".rstrip() for t in self.telling.troubles()]

    def deliver(self) -> None:
        """What is due now, on every channel."""
        for courier in self.couriers.values():
            try:
                courier.deliver_due()
            except sqlite3.Error as exc:  # as the dispatcher does
                self.outbox.mend(exc)
                courier.deliver_due()

    def run(self, seconds: float, step_s: float = 1.0) -> None:
        """So much time passes, and what becomes due is delivered."""
        for _ in range(round(seconds / step_s)):
            self.deliver()
            self.clock.step(step_s)
        self.deliver()

    def states(self, incident_id: str) -> Counter[str]:
        """How many of an incident's messages are in which state."""
        record = self.outbox.history.show(incident_id)
        return Counter(d.state.value for d in record.deliveries) if record else Counter()

    def codes(self, incident_id: str) -> dict[str, str | None]:
        """Of an incident's failed messages: to whom, and the carrier's code."""
        record = self.outbox.history.show(incident_id)
        failed = [d for d in record.deliveries if d.state is DeliveryState.FAILED] if record else []
        return {d.recipient.name if d.recipient else d.channel: d.code for d in failed}


@contextmanager
def opened(
    config: Config, clock: SteppedClock, held: Secrets | None = None, *, muted: bool = False
) -> Iterator[Post]:
    """The post of a configuration; its link is started but not waited for."""
    held = held or secrets()
    outbox = Outbox(config.node.state_dir, clock)
    link = make_link(config, held)
    channels = make_channels(config, held, link, outbox, clock)
    couriers = {
        c.name: Courier(c, outbox, config.alerts, clock, clock.since_boot) for c in channels
    }
    desk = Desk(outbox, Planner.of(config), clock, lambda: muted)
    with ExitStack() as stack:
        stack.callback(outbox.close)
        if link is not None:
            link.start()
            stack.callback(link.stop)
        telling = Telling(
            outbox,
            lambda: [c.broken for c in couriers.values() if c.broken],
            clock,
            link=link,
            monotonic=clock.since_boot,
        )
        yield Post(outbox, desk, couriers, link, clock, telling)


@contextmanager
def a_broker(directory: Path, extra: Sequence[str] = ()) -> Iterator[Mosquitto]:
    """A mosquitto that is configured and not started; killed in the end."""
    folder = directory / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(folder)
    broker.configure()
    conf = folder / "mosquitto.conf"
    conf.write_text(conf.read_text() + "".join(f"{line}\n" for line in extra), encoding="utf-8")
    try:
        yield broker
    finally:
        broker.kill()


@contextmanager
def a_gateway() -> Iterator[Gateway]:
    """A running SMS gateway."""
    gateway = Gateway(ACCOUNT, TOKEN)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


@contextmanager
def a_subscriber(broker: Mosquitto) -> Iterator[Subscriber]:
    """An integrator's client."""
    client = Subscriber(broker)
    try:
        yield client
    finally:
        client.close()


def first_time(true: Callable[[], bool], post: Post, within_s: float, step_s: float = 1.0) -> float:
    """Stepped seconds until `true`, delivering meanwhile; infinite if it never is."""
    passed_s = 0.0
    while passed_s <= within_s:
        post.deliver()
        if true():
            return passed_s
        post.clock.step(step_s)
        passed_s += step_s
    return float("inf")
