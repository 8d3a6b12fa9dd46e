"""Takes alerts in: plans the messages, stores them, acknowledges. Nothing is sent here."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from homeguard.alerting.escalation import Planner
from homeguard.alerting.outbox import Clock, Outbox
from homeguard.domain import Alert, AnyAlert, Change, HomeGuardError, Incident, IncidentState

_MENDS = 3  # the reserve, a fresh file, memory

_log = logging.getLogger(__name__)


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
        expecting = self._outbox.expecting(after.id)
        plan = self._planner.plan(alert, now, told, follows, expecting)
        stored = self._outbox.record(alert, plan)
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
