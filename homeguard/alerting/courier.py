"""Delivers what is due on one channel until it has arrived: all backoff is here."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from random import SystemRandom

from homeguard.alerting.outbox import Clock, Outbox
from homeguard.alerting.records import GIVEN_UP, Parcel
from homeguard.config import AlertsConfig
from homeguard.domain import AlertChannel, DeliveryError, DeliveryState, Receipt

_FIRST_BACKOFF_S = 1.0
_LAST_BACKOFF_S = 60.0
_FIRST_POLL_S = 2.0

_random = SystemRandom()


def backoff_s(attempts: int, jitter: Callable[[], float] = _random.random) -> float:
    """Pause after the n-th failure: 1, 2, 4 ... 60 s, each up to a quarter more or less."""
    pause_s = min(_LAST_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** min(attempts - 1, 10))
    return float(min(_LAST_BACKOFF_S, pause_s * (0.75 + 0.5 * jitter())))


def masked(address: str) -> str:
    """A phone number as it may appear in a log."""
    return f"{address[:3]}…{address[-2:]}"


@dataclass(frozen=True, slots=True)
class Broken:
    """A channel whose last message failed for now, since a monotonic time."""

    channel: str
    since_s: float
    detail: str


class Courier:
    """Delivers what is due on one channel; its thread alone calls it."""

    def __init__(
        self,
        channel: AlertChannel,
        outbox: Outbox,
        config: AlertsConfig,
        now: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.channel = channel
        # One a channel: a flood of one must not hide another's line (logs.OncePerSecond).
        self._log = logging.getLogger(f"{__name__}.{channel.name}")
        self._outbox = outbox
        self._config = config
        self._now = now
        self._monotonic = monotonic
        self.broken: Broken | None = None
        self._unmarked: list[Callable[[], None]] = []  # sent, but the disk refused to note it

    def deliver_due(self, until_s: float = float("inf")) -> float:
        """Send and poll everything due, until the monotonic time `until_s`.

        Gives the seconds until something is due again. Raises sqlite3.Error.
        """
        self._mark_left_over()
        while self._monotonic() < until_s:
            parcel = self._outbox.claim(self.channel.name)
            if parcel is None:
                break
            self._send(parcel)
        for parcel in self._outbox.to_poll(self.channel.name):
            if self._monotonic() >= until_s:
                break
            self._poll(parcel)
        due = self._outbox.next_due(self.channel.name)
        return max(0.0, (due - self._now()).total_seconds()) if due else float("inf")

    def _send(self, parcel: Parcel) -> None:
        late = self._now() - parcel.due_at > timedelta(seconds=self._config.late_after_s)
        try:
            receipt = self.channel.send(replace(parcel.alert, late=late), parcel.recipient)
        except DeliveryError as exc:
            self._not_sent(parcel, exc)
        except Exception as exc:  # noqa: BLE001 a defect of a channel must not end its thread
            defect = f"defect in the channel: {type(exc).__name__}"
            self._log.debug("%s: %s", self.channel.name, defect, exc_info=True)
            self._not_sent(parcel, DeliveryError(defect, retryable=True))
        else:
            self._works()
            self._received(parcel, receipt)

    def _not_sent(self, parcel: Parcel, error: DeliveryError) -> None:
        if not error.retryable:
            self._mark(lambda: self._outbox.failed(parcel.id, str(error), error.code))
            self._log.warning("%s: %s gets no message: %s", self.channel.name, _who(parcel), error)
            return
        self._log.log(
            logging.DEBUG if self.broken else logging.WARNING,
            "%s: %s; trying again (attempt %d)",
            self.channel.name,
            error,
            parcel.attempts,
        )
        if error.code != "hour":  # a cap is a matter of the number, not of the channel
            since_s = self.broken.since_s if self.broken else self._monotonic()
            self.broken = Broken(self.channel.name, since_s, str(error))
        age = self._now() - parcel.due_at
        if age > timedelta(seconds=self._config.give_up_after_s):
            reason = f"given up after {age.total_seconds() / 3600:.1f} h: {error}"
            self._mark(lambda: self._outbox.failed(parcel.id, reason, GIVEN_UP))
            self._log.error("%s: %s: %s", self.channel.name, _who(parcel), reason)
            return
        pause_s = max(backoff_s(parcel.attempts), error.retry_after_s or 0.0)
        at = self._now() + timedelta(seconds=pause_s)
        self._mark(lambda: self._outbox.retry(parcel.id, at, str(error), error.code))

    def _received(self, parcel: Parcel, receipt: Receipt) -> None:
        """Note what the carrier says; a message that it dropped calls the next contact."""
        reference = receipt.reference or parcel.reference
        if receipt.state is DeliveryState.DELIVERED:
            self._mark(lambda: self._outbox.delivered(parcel.id, reference))
        elif receipt.state is DeliveryState.FAILED:
            why = receipt.detail or "the carrier could not deliver it"
            self._mark(lambda: self._outbox.failed(parcel.id, why, for_good=False))
            self._log.warning("%s: %s did not get it: %s", self.channel.name, _who(parcel), why)
        else:
            at = self._now() + timedelta(seconds=_FIRST_POLL_S)
            self._mark(lambda: self._outbox.accepted(parcel.id, reference, at))

    def _poll(self, parcel: Parcel) -> None:
        error = None
        try:
            receipt = self.channel.poll(parcel.reference or "")
        except DeliveryError as exc:
            self._log.debug("%s: no word on a message: %s", self.channel.name, exc)
            receipt, error = Receipt(DeliveryState.ACCEPTED), str(exc)
        if receipt.state is not DeliveryState.ACCEPTED:
            self._received(parcel, receipt)
            return
        pause = timedelta(seconds=min(_LAST_BACKOFF_S, _FIRST_POLL_S * 2.0 ** min(parcel.polls, 8)))
        late = self._now() - parcel.due_at > timedelta(seconds=self._config.give_up_after_s)
        at = None if late else self._now() + pause
        self._mark(lambda: self._outbox.poll_again(parcel.id, at, error))

    def _mark(self, note: Callable[[], None]) -> None:
        """Note an outcome; what the disk refuses is kept and noted before anything else is sent.

        The row stays claimed meanwhile, so that a full disk cannot send a message twice.
        """
        try:
            note()
        except sqlite3.Error:
            self._unmarked.append(note)
            raise

    def _mark_left_over(self) -> None:
        while self._unmarked:
            self._unmarked[0]()
            self._unmarked.pop(0)

    def _works(self) -> None:
        if self.broken:
            self._log.info("%s: works again", self.channel.name)
        self.broken = None


def _who(parcel: Parcel) -> str:
    to = parcel.recipient
    return f"{to.name} ({masked(to.address)})" if to else "everyone"
