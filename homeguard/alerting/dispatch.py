"""From the outbox to the channels, a thread each: one that hangs or fails delays no other."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence

from homeguard.alerting.courier import Broken, Courier
from homeguard.alerting.desk import Acknowledgement, Desk
from homeguard.alerting.escalation import Planner
from homeguard.alerting.outbox import Clock, Outbox
from homeguard.config import AlertsConfig
from homeguard.domain import AlertChannel, AnyAlert, HomeGuardError

_LOOK_S = 5.0  # an acknowledgement by another process is found within this
_STEP_S = 1.0  # a clock that moved by more than this against the monotonic one was set

_log = logging.getLogger(__name__)


def boot_time() -> float:
    """Seconds since the machine started, sleep included: what the wall clock is held against."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


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
