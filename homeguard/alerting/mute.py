"""Mute: for an hour at most, new incidents below critical are recorded but told to nobody.

What is muted and why is docs/decisions/0006-faults.md. A mute is a fault that is meant: it takes
the same way to people, and the database keeps it over a restart.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from homeguard.alerting.dispatch import boot_time
from homeguard.alerting.outbox import Clock, Outbox
from homeguard.domain import Change, Fault, FaultAlert, FaultCause, HomeGuardError

LONGEST_S = 3600.0

_log = logging.getLogger(__name__)

Submit = Callable[[FaultAlert], object]


class Mute:
    """The home's mute; for all threads. `since_boot` is a clock that nobody can set."""

    def __init__(
        self, outbox: Outbox, now: Clock, since_boot: Callable[[], float] = boot_time
    ) -> None:
        self._now = now
        self._since_boot = since_boot
        self._lock = threading.Lock()
        left = [f for f in outbox.history.open_faults() if f.cause is FaultCause.MUTED]
        self._fault: Fault | None = left[-1] if left else None
        self._ends_s = since_boot() + self._remaining_s()

    @property
    def on(self) -> bool:
        """Whether new incidents are held back."""
        return self._fault is not None and self._since_boot() < self._ends_s

    @property
    def state(self) -> str:
        """The state as `mute/state` gives it: JSON."""
        fault = self._fault
        if fault is None or fault.until is None or not self.on:
            return json.dumps({"state": "OFF"})
        told = {"state": "ON", "until": fault.until.isoformat(), "by": fault.detail}
        return json.dumps(told, ensure_ascii=False)

    def begin(self, seconds: float, by: str, submit: Submit) -> None:
        """Mute from now on; one that lasts is given the new end. Raises HomeGuardError."""
        if not 0.0 < seconds <= LONGEST_S:
            message = f"a mute lasts 1 to {LONGEST_S:.0f} seconds; OFF ends it"
            raise HomeGuardError(message)
        now = self._now()
        with self._lock:
            before = self._fault
            fault = before or Fault(uuid.uuid4().hex[:16], FaultCause.MUTED, "", now, now)
            until = now + timedelta(seconds=seconds)
            fault = replace(fault, updated_at=now, detail=by, until=until)
            # Told first: nothing is held back of which nobody knows.
            submit(FaultAlert(Change.UPDATE if before else Change.NEW, before, fault))
            self._fault, self._ends_s = fault, self._since_boot() + seconds
        _log.warning("muted for %.0f s by %s", seconds, by)

    def end(self, submit: Submit) -> bool:
        """End a mute now; whether there was one."""
        with self._lock:
            before = self._fault
            if before is None:
                return False
            self._ends_s = self._since_boot()
            now = self._now()
            submit(FaultAlert(Change.END, before, replace(before, updated_at=now, ended_at=now)))
            self._fault = None
        _log.info("the mute is over")
        return True

    def expire(self, submit: Submit) -> bool:
        """End a mute whose time is over; whether one ended."""
        if self._fault is None or self.on:
            return False
        return self.end(submit)

    def _remaining_s(self) -> float:
        if self._fault is None or self._fault.until is None:
            return 0.0
        # A clock that was set back while we were off must not make a mute longer.
        return min(LONGEST_S, (self._fault.until - self._now()).total_seconds())


def parse_mute(value: str) -> tuple[float, str | None]:
    """Seconds and by whom, from "600", "OFF" or {"seconds": 600, "by": "Kim"}; 0 ends a mute.

    Raises HomeGuardError.
    """
    try:
        document = json.loads(value) if value.startswith("{") else {"seconds": value}
        seconds, by = document["seconds"], document.get("by")
        ends = isinstance(seconds, str) and seconds.strip().upper() == "OFF"
        return (0.0 if ends else float(seconds)), (by if isinstance(by, str) else None)
    except (ValueError, TypeError, KeyError) as exc:
        message = 'write seconds (at most 3600), "OFF", or {"seconds": 600, "by": "Kim"}'
        raise HomeGuardError(message) from exc
