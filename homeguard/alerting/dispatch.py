"""From the outbox to the channels: one thread each, retried with backoff until delivered.

The only place with backoff. A channel that hangs or fails delays no other.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import SystemRandom

from homeguard.alerting.escalation import Planner
from homeguard.alerting.outbox import Clock, Outbox
from homeguard.alerting.records import GIVEN_UP, Parcel
from homeguard.config import AlertsConfig
from homeguard.domain import (
    Alert,
    AlertChannel,
    AnyAlert,
    Change,
    DeliveryError,
    DeliveryState,
    HomeGuardError,
    Incident,
    IncidentState,
    Receipt,
)

_FIRST_BACKOFF_S = 1.0
_LAST_BACKOFF_S = 60.0
_FIRST_POLL_S = 2.0
_LOOK_S = 5.0  # an acknowledgement by another process is found within this
_MENDS = 3  # the reserve, a fresh file, memory
_STEP_S = 1.0  # a clock that moved by more than this against the monotonic one was set

_log = logging.getLogger(__name__)
_random = SystemRandom()


def boot_time() -> float:
    """Seconds since the machine started, sleep included: what the wall clock is held against."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def backoff_s(attempts: int, jitter: Callable[[], float] = _random.random) -> float:
    """Pause after the n-th failure: 1, 2, 4 ... 60 s, each up to a quarter more or less."""
    pause_s = min(_LAST_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** min(attempts - 1, 10))
    return float(min(_LAST_BACKOFF_S, pause_s * (0.75 + 0.5 * jitter())))


def masked(address: str) -> str:
    """A phone number as it may appear in a log."""
    return f"{address[:3]}…{address[-2:]}"


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What came of acknowledging: the alert that tells of it, None where somebody had before."""

    alert: Alert | None
    by: str


class Desk:
    """Takes alerts in: plans, stores, and acknowledges. For the daemon and the command line."""

    def __init__(
        self,
        outbox: Outbox,
        planner: Planner,
        now: Clock,
        muted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._outbox = outbox
        self._planner = planner
        self._now = now
        self._muted = muted

    def submit(self, alert: AnyAlert) -> AnyAlert:
        """Put an alert and its deliveries on disk. Gives it as stored.

        What a mute held back is told as new with the first alert after it, if it still runs.
        Raises sqlite3.Error where neither mending nor memory helps.
        """
        for _ in range(_MENDS):
            try:
                return self._submit(alert)
            except sqlite3.Error as exc:
                if not self._outbox.mend(exc):
                    raise
        return self._submit(alert)

    def _submit(self, alert: AnyAlert) -> AnyAlert:
        if isinstance(alert, Alert):
            held = alert.change is not Change.NEW and self._outbox.history.is_held(alert.after.id)
            if held and not _is_open(alert.after):
                return self._outbox.record(alert, ())
            if self._holds(alert.after) and (held or alert.change is Change.NEW):
                return self._outbox.record(alert, (), held=True)
            if held:
                alert = Alert(Change.NEW, None, alert.after)
        if isinstance(alert, Alert):
            return self._submit_incident(alert)
        told = self._outbox.expecting(alert.after.id)
        return self._outbox.record(alert, self._planner.plan(alert, self._now(), told))

    def _submit_incident(self, alert: Alert) -> Alert:
        """Plan the calls; one like another that people were just called for follows that one."""
        now, after = self._now(), alert.after
        follows = None
        if alert.change is Change.NEW and after.state is not IncidentState.TEST:
            follows = self._lead(after, now)
        told = self._outbox.told(after.id)
        stored = self._outbox.record(alert, self._planner.plan(alert, now, told, follows))
        if _is_renamed(alert) and _is_open(stored.after) and self._outbox.history.follows(after.id):
            # What it is now, or where, nobody has been called for.
            news = Alert(Change.NEW, None, stored.after)
            calls = self._planner.plan(news, now, follows=self._lead(after, now))
            self._outbox.record(news, [d for d in calls if d.recipient is not None])
        return stored

    def _lead(self, incident: Incident, now: datetime) -> datetime | None:
        window = timedelta(seconds=self._planner.escalation.repeat_every_s)
        lead = self._outbox.history.lead(incident, now - window, now + window)
        if lead is not None:
            _log.info("incident %s follows another of its kind: no call of its own", incident.id)
        return lead

    def _holds(self, incident: Incident) -> bool:
        """Whether a mute keeps this one back: all but what is critical, and tests."""
        critical = incident.category.info.priority == "critical"
        return self._muted() and not critical and incident.state is not IncidentState.TEST

    def acknowledge(self, incident_id: str, by: str) -> Acknowledgement:
        """Somebody takes care: nobody further is called, the others learn who it is.

        A second acknowledgement changes nothing. Raises HomeGuardError for an unknown incident.
        """
        before = self._outbox.history.incident(incident_id)
        if before is None:
            message = f"no incident {incident_id!r}: `homeguard incidents list` shows them"
            raise HomeGuardError(message)
        if before.acknowledged_by is not None:
            return Acknowledgement(None, before.acknowledged_by)
        return Acknowledgement(self.submit(_acknowledged(before, by, self._now)), by)


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
            _log.debug("%s: %s", self.channel.name, defect, exc_info=True)
            self._not_sent(parcel, DeliveryError(defect, retryable=True))
        else:
            self._works()
            self._received(parcel, receipt)

    def _not_sent(self, parcel: Parcel, error: DeliveryError) -> None:
        if not error.retryable:
            self._mark(lambda: self._outbox.failed(parcel.id, str(error), error.code))
            _log.warning("%s: %s gets no message: %s", self.channel.name, _who(parcel), error)
            return
        _log.log(
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
            _log.error("%s: %s: %s", self.channel.name, _who(parcel), reason)
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
            _log.warning("%s: %s did not get it: %s", self.channel.name, _who(parcel), why)
        else:
            at = self._now() + timedelta(seconds=_FIRST_POLL_S)
            self._mark(lambda: self._outbox.accepted(parcel.id, reference, at))

    def _poll(self, parcel: Parcel) -> None:
        try:
            receipt = self.channel.poll(parcel.reference or "")
        except DeliveryError as exc:
            _log.debug("%s: no word on a message: %s", self.channel.name, exc)
            receipt = Receipt(DeliveryState.ACCEPTED)
        if receipt.state is not DeliveryState.ACCEPTED:
            self._received(parcel, receipt)
            return
        pause = timedelta(seconds=min(_LAST_BACKOFF_S, _FIRST_POLL_S * 2.0 ** min(parcel.polls, 8)))
        late = self._now() - parcel.due_at > timedelta(seconds=self._config.give_up_after_s)
        at = None if late else self._now() + pause
        self._mark(lambda: self._outbox.poll_again(parcel.id, at))

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
            _log.info("%s: works again", self.channel.name)
        self.broken = None


class Dispatcher:
    """Runs a courier a channel; `submit` and `acknowledge` wake them.

    `start` once, then `stop`: within its deadline what is due is still tried, the rest stays in
    the outbox for the next start.
    """

    def __init__(
        self,
        outbox: Outbox,
        planner: Planner,
        channels: Sequence[AlertChannel],
        config: AlertsConfig,
        now: Clock,
        since_boot: Callable[[], float] = boot_time,
        *,
        muted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._outbox = outbox
        self._desk = Desk(outbox, planner, now, muted)
        self._couriers = [Courier(channel, outbox, config, now) for channel in channels]
        self._watch = _ClockWatch(outbox, now, since_boot)
        self._wakes = {channel.name: threading.Event() for channel in channels}
        self._threads: list[threading.Thread] = []
        self._until_s = float("inf")
        self._stopping = threading.Event()

    def start(self) -> None:
        """Start the channels' threads."""
        for courier in self._couriers:
            name = courier.channel.name
            thread = threading.Thread(
                target=self._run, args=(courier,), name=f"dispatch-{name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def stop(self, deadline_s: float = 5.0) -> None:
        """Try once more what is due, and end the threads within the deadline."""
        self._until_s = time.monotonic() + deadline_s
        self._stopping.set()
        self._wake()
        for thread in self._threads:
            thread.join(max(0.0, self._until_s - time.monotonic()))
            if thread.is_alive():
                _log.warning("%s has not ended in time; its messages stay stored", thread.name)
        self._threads.clear()

    def broken(self) -> list[Broken]:
        """The channels whose last message failed for now."""
        return [broken for courier in self._couriers if (broken := courier.broken) is not None]

    def submit(self, alert: AnyAlert) -> AnyAlert:
        """Store an alert and its deliveries, then wake the channels. Raises sqlite3.Error."""
        stored = self._desk.submit(alert)
        self._wake()
        return stored

    def acknowledge(self, incident_id: str, by: str) -> Acknowledgement:
        """As `Desk.acknowledge`, and the channels are woken."""
        acknowledgement = self._desk.acknowledge(incident_id, by)
        self._wake()
        return acknowledgement

    def hurry(self, channel: str) -> None:
        """A channel is back: send at once what waits for its next attempt."""
        try:
            self._outbox.hurry(channel)
        except sqlite3.Error as exc:
            _log.debug("outbox: %s", exc)
        if channel in self._wakes:
            self._wakes[channel].set()

    def _run(self, courier: Courier) -> None:
        wake = self._wakes[courier.channel.name]
        failing = False
        while True:
            last = self._stopping.is_set()
            try:
                self._watch.check()
                pause_s = min(courier.deliver_due(self._until_s), _LOOK_S)
                failing = False
            except (sqlite3.Error, HomeGuardError) as exc:
                _log.log(
                    logging.DEBUG if failing else logging.ERROR,
                    "outbox: %s; messages wait: check disk space and rights",
                    exc,
                )
                failing, pause_s = True, _LOOK_S
                if isinstance(exc, sqlite3.Error) and self._outbox.mend(exc):
                    pause_s = 0.0
            if last:
                return
            wake.wait(pause_s)
            wake.clear()

    def _wake(self) -> None:
        for wake in self._wakes.values():
            wake.set()


class _ClockWatch:
    """Notices that the clock was set, and moves waiting rows along: they wait in real seconds."""

    def __init__(self, outbox: Outbox, now: Clock, since_boot: Callable[[], float]) -> None:
        self._outbox = outbox
        self._now = now
        self._since_boot = since_boot
        self._lock = threading.Lock()
        self._offset_s = self._measure()

    def check(self) -> None:
        with self._lock:
            offset_s = self._measure()
            step_s, self._offset_s = offset_s - self._offset_s, offset_s
            if abs(step_s) > _STEP_S:
                _log.warning("the clock was set by %+.1f s: waiting messages move along", step_s)
                self._outbox.shift(step_s)

    def _measure(self) -> float:
        return self._now().timestamp() - self._since_boot()


def _acknowledged(before: Incident, by: str, now: Clock) -> Alert:
    ended = before.ended_at is not None
    state = before.state if ended else IncidentState.ACKNOWLEDGED
    after = replace(before, state=state, acknowledged_by=by, updated_at=now())
    return Alert(Change.UPDATE, before, after)


def _is_renamed(alert: Alert) -> bool:
    before, after = alert.before, alert.after
    return before is not None and (before.category, before.room) != (after.category, after.room)


def _is_open(incident: Incident) -> bool:
    return incident.ended_at is None and incident.acknowledged_by is None


def _who(parcel: Parcel) -> str:
    to = parcel.recipient
    return f"{to.name} ({masked(to.address)})" if to else "everyone"
