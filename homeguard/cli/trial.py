"""A test incident through the real channels: by the running daemon, or by channels of our own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from homeguard.alerting.dispatch import Desk, Dispatcher
from homeguard.alerting.escalation import Planner
from homeguard.alerting.message import Texter
from homeguard.alerting.mqtt import MqttChannel
from homeguard.alerting.mqtt_link import MqttLink
from homeguard.alerting.outbox import Outbox
from homeguard.alerting.records import DeliveryRecord
from homeguard.alerting.schema import EventWriter
from homeguard.alerting.sms import SmsChannel
from homeguard.config import Config, ConfigError, Secrets
from homeguard.domain import (
    Alert,
    AlertChannel,
    Change,
    DeliveryState,
    HomeGuardError,
    Incident,
    IncidentState,
)
from homeguard.labels import Category

LOOK_S = 0.2
CONNECT_S = 5.0
FINAL = frozenset({DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.CANCELLED})


class Trial:
    """Sends one test and follows its messages; use it inside `opened`."""

    def __init__(
        self, outbox: Outbox, submit: Callable[[Alert], Alert], *, by_daemon: bool
    ) -> None:
        self._outbox = outbox
        self._submit = submit
        self.by_daemon = by_daemon

    def send(self, room: str) -> str:
        """Store the test, as every alert is; gives its id. Raises HomeGuardError."""
        now = utc_now()
        incident = Incident(
            id=uuid.uuid4().hex[:16],
            room=room,
            category=Category.HELP_REQUEST,
            state=IncidentState.TEST,
            confidence=1.0,
            raised_at=now,
            updated_at=now,
            onset_at=now,
            ended_at=now,
            rooms=(room,),
        )
        self._submit(Alert(Change.NEW, None, incident))
        if not self.deliveries(incident.id):
            message = "nobody would be told: enable mqtt, or sms with alerts.contacts"
            raise HomeGuardError(message)
        return incident.id

    def deliveries(self, identity: str) -> tuple[DeliveryRecord, ...]:
        """The test's messages as they are now."""
        record = self._outbox.show(identity)
        return record.deliveries if record else ()

    def follow(self, identity: str, timeout_s: float) -> Iterator[DeliveryRecord]:
        """Each message once its fate is known; at the end those still under way, as they are."""
        ends = time.monotonic() + timeout_s
        done: set[int] = set()
        while True:
            deliveries = self.deliveries(identity)
            last = time.monotonic() >= ends
            for number, delivery in enumerate(deliveries):
                if number not in done and (delivery.state in FINAL or last):
                    done.add(number)
                    yield delivery
            if len(done) == len(deliveries):
                return
            time.sleep(LOOK_S)


@contextmanager
def opened(config: Config, secrets: Secrets, directory: Path) -> Iterator[Trial]:
    """A trial on this state directory. Raises HomeGuardError."""
    planner = Planner.of(config)
    with ExitStack() as stack:
        try:
            outbox = Outbox(directory, utc_now)
        except HomeGuardError:
            # The daemon holds the directory: it finds what is stored and sends it.
            outbox = Outbox(directory, utc_now, exclusive=False)
            stack.callback(outbox.close)
            yield Trial(outbox, Desk(outbox, planner, utc_now).submit, by_daemon=True)
            return
        stack.callback(outbox.close)
        channels = list(_channels(config, secrets, outbox, stack))
        dispatcher = Dispatcher(outbox, planner, channels, config.alerts, utc_now)
        dispatcher.start()
        stack.callback(dispatcher.stop, 1.0)
        yield Trial(outbox, dispatcher.submit, by_daemon=False)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def _channels(
    config: Config, secrets: Secrets, outbox: Outbox, stack: ExitStack
) -> Iterator[AlertChannel]:
    if config.mqtt.enabled:
        password = secrets.mqtt_password.get_secret_value() if secrets.mqtt_password else None
        link = MqttLink(config.mqtt, config.node.name, password=password)
        link.start()
        stack.callback(link.stop)
        link.wait_connected(CONNECT_S)
        yield MqttChannel(link, EventWriter(config), config.clips)
    if config.sms.enabled:
        if secrets.twilio_auth_token is None:
            message = "sms.enabled needs the environment variable HOMEGUARD_TWILIO_AUTH_TOKEN"
            source = "config"
            raise ConfigError(source, [message])
        yield SmsChannel(
            config.sms,
            secrets.twilio_auth_token.get_secret_value(),
            Texter(config),
            lambda address, since: outbox.sent_to("sms", address, since),
            utc_now,
        )
