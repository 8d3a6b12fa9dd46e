"""Tests through the real channels: what became of the last one, and one every week by itself.

A test has passed when each of its messages is delivered: to the broker, and to every contact. It
takes the way of an alert, so what would keep an alert from people keeps the test from them too.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from homeguard.alerting.database import Database
from homeguard.alerting.records import utc
from homeguard.domain import Alert, Change, Incident, IncidentState, Reason
from homeguard.hours import last_weekly
from homeguard.labels import Category

ARRIVES_WITHIN = timedelta(hours=1)
OVERDUE = timedelta(days=8)
CATCH_UP = timedelta(hours=1)  # a missed test is made up for within this after the time of day
UP_S = 25 * 3600.0  # after so long in service the time of day has come at least once
_FIRST_START = ""  # the id of the row that says since when there are tests

_log = logging.getLogger(__name__)

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class DrillState:
    """The last test, and when one passed last; `failure` says why the last one has not."""

    sent_at: datetime | None
    passed_at: datetime | None
    failure: str | None

    def as_json(self, error: str | None = None) -> str:
        """As `<node>/test/state` gives it; `error`: a test could not even be raised."""
        told = {
            "passed_at": self.passed_at.isoformat() if self.passed_at else None,
            "sent_at": self.sent_at.isoformat() if self.sent_at else None,
            "failure": error or self.failure,
        }
        return json.dumps(told, ensure_ascii=False)


class Drills:
    """What is stored of tests; for all threads. Raises sqlite3.Error."""

    def __init__(self, database: Database, now: Clock) -> None:
        self._database = database
        self._now = now

    @property
    def state(self) -> DrillState:
        """As it was judged last."""
        rows = self._database.rows("SELECT * FROM drills WHERE id != ?", _FIRST_START)
        if not rows:
            return DrillState(None, None, None)
        last = max(rows, key=lambda row: float(row["sent_at"]))
        passed = [row["passed_at"] for row in rows if row["passed_at"] is not None]
        return DrillState(
            utc(last["sent_at"]), utc(max(passed, default=None)), last["failure"] or None
        )

    def since(self) -> datetime:
        """When the last test was sent; before the first one, when tests were begun with."""
        now = self._now()
        rows = self._database.rows("SELECT max(sent_at) FROM drills")
        if rows[0][0] is None:
            with self._database.transaction() as connection:
                connection.execute(
                    "INSERT INTO drills (id, sent_at) VALUES (?, ?)",
                    (_FIRST_START, now.timestamp()),
                )
        return utc(rows[0][0]) or now

    def judge(self) -> DrillState:
        """See how far the last test got, note it, and give the state."""
        rows = self._database.rows(
            "SELECT d.*, t.failure FROM drills t JOIN deliveries d ON d.incident_id = t.id"
            " WHERE t.id = (SELECT id FROM drills ORDER BY sent_at DESC LIMIT 1)"
            " AND t.passed_at IS NULL"
        )
        if rows:
            passed_at, failure = _verdict(rows, self._now())
            if passed_at is not None or failure != rows[0]["failure"]:
                with self._database.transaction() as connection:
                    connection.execute(
                        "UPDATE drills SET passed_at = ?, failure = ? WHERE id = ?",
                        (passed_at, failure, rows[0]["incident_id"]),
                    )
        return self.state

    def forget(self, before: datetime) -> None:
        """Delete old tests, but the last that passed."""
        with self._database.transaction() as connection:
            connection.execute(
                "DELETE FROM drills WHERE sent_at < ? AND id NOT IN (SELECT id FROM drills"
                " WHERE passed_at IS NOT NULL ORDER BY passed_at DESC LIMIT 1)",
                (before.timestamp(),),
            )


class WeeklyDrill:
    """Sends the test of the week when it is due; `look` every few seconds, from one thread.

    `moment` is a day and a time such as "mon 10:00", empty for never; `local` gives a time in the
    home's zone; `submit` stores an alert.
    """

    def __init__(
        self,
        drills: Drills,
        moment: str,
        room: str,
        local: Callable[[datetime], datetime],
        submit: Callable[[Alert], Alert],
        now: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._drills = drills
        self._moment = moment
        self._room = room
        self._local = local
        self._submit = submit
        self._now = now
        self._monotonic = monotonic
        self._began_s = monotonic()
        self._failing: tuple[float, str] | None = None

    @property
    def failing(self) -> tuple[float, str] | None:
        """Since when, by the monotonic clock, tests do not arrive, and why; None: they do."""
        return self._failing

    def look(self, *, busy: bool = False) -> DrillState:
        """Judge the last test; send one if it is due and no emergency keeps people `busy`.

        Gives the state. Raises sqlite3.Error.
        """
        state = self._drills.judge()
        if not busy and self._is_due():
            alert = self._submit(drill(self._room, self._now()))
            _log.info("the weekly test is sent", extra={"id": alert.after.id})
            state = self._drills.state
        failure = self._failure(state) if self._moment else None
        since_s = self._failing[0] if self._failing else self._monotonic()
        self._failing = (since_s, failure) if failure else None
        return state

    def _is_due(self) -> bool:
        if not self._moment:
            return False
        local, last = self._local(self._now()), self._local(self._drills.since())
        slot = last_weekly(self._moment, local)
        return last < slot and (local - slot) % timedelta(days=1) < CATCH_UP

    def _failure(self, state: DrillState) -> str | None:
        if state.failure or state.passed_at is None:
            return state.failure
        long_up = self._monotonic() - self._began_s > UP_S
        if long_up and self._now() - state.passed_at > OVERDUE:
            return f"no test has passed since {self._local(state.passed_at):%Y-%m-%d %H:%M}"
        return None


def drill(room: str, at: datetime) -> Alert:
    """A test alert: goes the way of a real one, says that it is a test, switches nothing on."""
    incident = Incident(
        id=uuid.uuid4().hex[:16],
        room=room,
        category=Category.HELP_REQUEST,
        state=IncidentState.TEST,
        confidence=1.0,
        raised_at=at,
        updated_at=at,
        onset_at=at,
        reason=Reason.AGREED,
        rooms=(room,),
    )
    return Alert(Change.NEW, None, incident)


def _verdict(messages: list[sqlite3.Row], now: datetime) -> tuple[float | None, str | None]:
    """When a test has passed, or why it has failed; neither while it may still arrive."""
    away = [message for message in messages if message["state"] != "delivered"]
    if not away:
        return max(float(message["finished_at"]) for message in messages), None
    late = now.timestamp() - min(m["created_at"] for m in away) > ARRIVES_WITHIN.total_seconds()
    said: dict[tuple[str, str], list[str]] = {}
    for message in away:
        if late or message["state"] == "failed":
            said.setdefault((message["channel"], _why(message)), []).append(message["name"] or "")
    reasons = []
    for (channel, why), names in said.items():
        to = ", ".join(filter(None, names))
        reasons.append(f"{channel} to {to}: {why}" if to else f"{channel}: {why}")
    return None, "; ".join(reasons) or None


def _why(message: sqlite3.Row) -> str:
    if message["error"]:
        return str(message["error"])
    if message["state"] == "accepted":
        return "taken by the gateway, and no word since that it was delivered"
    return "not delivered within an hour"
