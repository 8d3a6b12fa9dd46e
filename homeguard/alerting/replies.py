"""Acknowledgement by SMS: "1" or "확인" from a contact that was told.

A reply takes one incident: the newest that nobody has taken and that this number had been told of
when it answered. Each reply counts once, a restart included; all others are ignored and logged.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from homeguard.alerting.courier import masked
from homeguard.alerting.outbox import Clock, Outbox
from homeguard.domain import DeliveryError, HomeGuardError

EVERY_S = 10.0
ANSWERABLE = timedelta(days=1)  # an older message is answered by nobody
_CLOCKS_DIFFER = timedelta(minutes=2)
_WORDS = frozenset({"1", "확인"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """A text that came to our number."""

    sid: str
    address: str
    body: str
    sent_at: datetime


Read = Callable[[datetime], Sequence[Reply]]  # the texts since then; raises DeliveryError


class Replies:
    """Reads replies on a thread of its own, while an answer is awaited."""

    def __init__(
        self, read: Read, outbox: Outbox, acknowledge: Callable[[str, str], object], now: Clock
    ) -> None:
        self._read = read
        self._outbox = outbox
        self._acknowledge = acknowledge
        self._now = now
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sms-replies", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self, deadline_s: float = 1.0) -> None:
        """End the thread; one that waits for the gateway is left behind after the deadline."""
        self._stop.set()
        self._thread.join(deadline_s)

    def look(self) -> None:
        """Read once, if anybody could answer. Raises DeliveryError, sqlite3.Error."""
        since = self._outbox.answers.awaited("sms", self._now() - ANSWERABLE)
        if since is None:
            return
        for reply in sorted(self._read(since - _CLOCKS_DIFFER), key=lambda each: each.sent_at):
            self._take(reply)

    def _take(self, reply: Reply) -> None:
        incident_id, name, why = None, "", ""
        now = self._now()
        if reply.body.strip().strip(".!") not in _WORDS:
            why = "it is no acknowledgement"
        elif not now - ANSWERABLE <= reply.sent_at <= now + _CLOCKS_DIFFER:
            why = "it is too old, or from the future"
        else:
            told_by = reply.sent_at + _CLOCKS_DIFFER
            meant = self._outbox.answers.answerable("sms", reply.address, now - ANSWERABLE, told_by)
            if meant is None:
                why = "nothing that this number was told is open"
            else:
                incident_id, name = meant
        # Used up before it counts: after a crash it must not take another incident.
        if not self._outbox.answers.use_reply(reply.sid, reply.sent_at, incident_id):
            return
        if incident_id is None:
            _log.warning("SMS from %s ignored: %s", masked(reply.address), why)
            return
        self._acknowledge(incident_id, name)
        _log.info("incident %s acknowledged by SMS", incident_id)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self.look()
            except (DeliveryError, HomeGuardError, sqlite3.Error) as exc:
                level = logging.DEBUG if self._failing else logging.WARNING
                _log.log(level, "SMS replies cannot be read: %s", exc)
                self._failing = True
            else:
                self._failing = False
