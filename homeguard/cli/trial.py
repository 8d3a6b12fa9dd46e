"""A test incident through the real channels: by the running daemon, or by channels of our own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from homeguard.alerting.channels import make_audience, make_channels, make_link
from homeguard.alerting.desk import Desk
from homeguard.alerting.dispatch import Dispatcher
from homeguard.alerting.drills import drill
from homeguard.alerting.escalation import Planner
from homeguard.alerting.outbox import Outbox
from homeguard.alerting.records import DeliveryRecord
from homeguard.config import Config, Secrets
from homeguard.domain import Alert, DeliveryState, HomeGuardError

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
        alert = self._submit(drill(room, utc_now()))
        if not self.deliveries(alert.after.id):
            message = "nobody would be told: enable mqtt, apprise, or sms with alerts.contacts"
            raise HomeGuardError(message)
        return alert.after.id

    def deliveries(self, identity: str) -> tuple[DeliveryRecord, ...]:
        """The test's messages as they are now."""
        record = self._outbox.history.show(identity)
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
    planner = Planner.of(config, make_audience(config, secrets))
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
        link = make_link(config, secrets)
        channels = make_channels(config, secrets, link, outbox, utc_now)
        if link is not None:
            link.start()
            stack.callback(link.stop)
            link.wait_connected(CONNECT_S)
        dispatcher = Dispatcher(outbox, planner, channels, config.alerts, utc_now)
        dispatcher.start()
        stack.callback(dispatcher.stop, 1.0)
        yield Trial(outbox, dispatcher.submit, by_daemon=False)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)
