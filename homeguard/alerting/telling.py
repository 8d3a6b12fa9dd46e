"""What is wrong with telling people: numbers refuse, channels are away, the disk fails."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from homeguard.alerting.courier import Broken
from homeguard.alerting.mqtt_link import MqttLink
from homeguard.alerting.outbox import Clock, Outbox
from homeguard.domain import FaultCause

LEAST_FREE_BYTES = 20_000_000
BROKER_AWAY_S = 600.0  # a broker that is updated or restarted is nobody's concern
GATEWAY_AWAY_S = 60.0
SET_ASIDE_FOR_S = 600.0
_REFUSED_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that keeps messages from people now, since a monotonic time."""

    cause: FaultCause
    subject: str  # a contact's name, a channel's; empty: all of it
    since_s: float
    detail: str


class Telling:
    """Looks at everything between an alert and people.

    `broken` gives the channels whose last message failed for now.
    """

    def __init__(
        self,
        outbox: Outbox,
        broken: Callable[[], Iterable[Broken]],
        now: Clock,
        *,
        link: MqttLink | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._broken = broken
        self._now = now
        self._link = link
        self._monotonic = monotonic
        self._disk_since_s: float | None = None

    def troubles(self) -> tuple[Trouble, ...]:
        """What is wrong now. Raises sqlite3.Error."""
        return (*self._contacts(), *self._channels(), *self._storage())

    def _contacts(self) -> Iterable[Trouble]:
        """Numbers whose last message was refused for good, or put off by a cap."""
        now = self._now()
        for refusal in self._outbox.refusals(now - _REFUSED_WITHIN):
            capped = refusal.code in {"cap", "hour"}
            since_s = self._monotonic() - max(0.0, (now - refusal.at).total_seconds())
            cause = FaultCause.CAPPED if capped else FaultCause.CONTACT
            yield Trouble(cause, refusal.name, since_s, refusal.error)

    def _channels(self) -> Iterable[Trouble]:
        now_s = self._monotonic()
        down_s = self._link.down_since_s if self._link else None
        if down_s is not None and now_s - down_s >= BROKER_AWAY_S:
            detail = "the broker cannot be reached: home automation is not told"
            yield Trouble(FaultCause.CHANNEL, "mqtt", down_s, detail)
        for broken in self._broken():
            if broken.channel != "mqtt" and now_s - broken.since_s >= GATEWAY_AWAY_S:
                yield Trouble(FaultCause.CHANNEL, broken.channel, broken.since_s, broken.detail)

    def _storage(self) -> Iterable[Trouble]:
        now_s, set_aside_s = self._monotonic(), self._outbox.set_aside_at
        directory = self._outbox.directory
        detail = ""
        if self._outbox.in_memory:
            detail = f"the disk fails: alerts are kept in memory; look after {directory}"
        elif shutil.disk_usage(directory).free < LEAST_FREE_BYTES:
            detail = f"the disk is full: make room in {directory}"
        if not detail:
            self._disk_since_s = None
        else:
            self._disk_since_s = now_s if self._disk_since_s is None else self._disk_since_s
            yield Trouble(FaultCause.DISK, "", self._disk_since_s, detail)
        if set_aside_s is not None and now_s - set_aside_s < SET_ASIDE_FOR_S:
            detail = "the database was damaged and set aside: what waited in it may be lost"
            yield Trouble(FaultCause.DATABASE, "", set_aside_s, detail)
