"""Alerts on disk before they are sent, and how far each message got.

A fault takes the same way as an incident: its row stands among the incidents with the state FAULT.

A row is claimed, sent, and marked. A crash between sending and marking sends it once more after
the restart, with the same incident id: at least once, never not at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from homeguard.alerting.answers import Answers
from homeguard.alerting.database import Database
from homeguard.alerting.drills import Drills
from homeguard.alerting.escalation import Delivery
from homeguard.alerting.history import History
from homeguard.alerting.records import (
    CLAIMED,
    GIVEN_UP,
    Parcel,
    Refusal,
    Sent,
    Tally,
    parcel,
    to_json,
    utc,
)
from homeguard.alerting.rows import (
    cancel,
    cancel_repeats,
    cancel_superfluous,
    keep_stored,
    put_delivery,
    put_fault,
    put_incident,
)
from homeguard.domain import Alert, AnyAlert, DeliveryState, Fault

Clock = Callable[[], datetime]

# An incident's messages to one address leave in their order: a later one waits for an earlier.
_NEXT_IN_LINE = """
    d.channel = :channel AND d.state = 'pending' AND NOT EXISTS (
        SELECT 1 FROM deliveries e
        WHERE e.incident_id = d.incident_id AND e.channel = d.channel
        AND e.address IS d.address AND e.id < d.id
        AND e.state IN ('pending', 'claimed') AND e.due_at <= :now)
"""
_CLAIM = f"""
    UPDATE deliveries SET state = 'claimed', attempts = attempts + 1, sent_at = :now
    WHERE id = (
        SELECT d.id FROM deliveries d WHERE d.next_attempt_at <= :now AND {_NEXT_IN_LINE}
        ORDER BY (SELECT i.state = 'fault' FROM incidents i WHERE i.id = d.incident_id),
            d.due_at, d.id LIMIT 1)
    RETURNING *
"""  # noqa: S608 - of constants
# Without those that wait in line: what they wait for has a time of its own.
_NEXT_DUE = f"""
    SELECT min(at) AS at FROM (
        SELECT min(next_attempt_at) AS at FROM deliveries
        WHERE channel = :channel AND state = 'accepted'
        UNION ALL
        SELECT min(d.next_attempt_at) FROM deliveries d WHERE {_NEXT_IN_LINE})
"""  # noqa: S608 - of constants


_UNSENT = (DeliveryState.PENDING, CLAIMED)
_TALLY = """
    SELECT channel, state, count(*) AS number, sum(due_at <= :now) AS due, min(due_at) AS oldest
    FROM deliveries GROUP BY channel, state
"""


class Outbox:
    """The outgoing messages of a state directory, and how far they got; for all threads.

    `history` reads incidents, `answers` keeps who may acknowledge what, `drills` what became of
    tests.
    `exclusive` is for the daemon, which alone sends: it takes back what a crash left claimed.
    Raises HomeGuardError where the directory cannot be used; sqlite3.Error from any call that
    finds the disk failing.
    """

    def __init__(self, directory: Path, now: Clock, *, exclusive: bool = True) -> None:
        self.directory = directory
        self._database = Database(directory, exclusive=exclusive)
        self._now = now
        self.history = History(self._database)
        self.answers = Answers(self._database, now)
        self.drills = Drills(self._database, now)
        if exclusive:
            self._recover()

    def close(self) -> None:
        """Let go of the directory."""
        self._database.close()

    def record(
        self, alert: AnyAlert, deliveries: Sequence[Delivery], *, held: bool = False
    ) -> AnyAlert:
        """Put an alert and its deliveries on disk, whole; cancel what it makes superfluous.

        `held`: it has none because the home is muted.

        Gives the alert as stored: an acknowledgement made meanwhile is kept.
        """
        now = self._epoch()
        with self._transaction() as connection:
            if isinstance(alert, Alert):
                alert = replace(alert, after=keep_stored(connection, alert.after))
            after = alert.after
            snapshot = to_json(after)
            if isinstance(after, Fault):
                put_fault(connection, after, snapshot)
            else:
                put_incident(connection, after, snapshot, now)
            before = to_json(alert.before) if alert.before else None
            alert_id = connection.execute(
                "INSERT INTO alerts (incident_id, change, before, after, created_at, held)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (after.id, alert.change, before, snapshot, now, held),
            ).lastrowid
            cancel(connection, after, now)
            for delivery in deliveries:
                put_delivery(connection, delivery, alert_id, after.id, now)
        return alert

    def mend(self, error: sqlite3.Error) -> bool:
        """Do what helps against `error`, which a call raised; whether trying again makes sense."""
        return self._database.mend(error)

    def settle(self) -> None:
        """Go back from memory to a disk that works again, and lay the reserve by."""
        self._database.settle()

    @property
    def in_memory(self) -> bool:
        """Whether the disk fails, so that what is stored now does not outlive the process."""
        return self._database.in_memory

    @property
    def set_aside_at(self) -> float | None:
        """When a corrupt database was last set aside, by the monotonic clock."""
        return self._database.set_aside_at

    def claim(self, channel: str) -> Parcel | None:
        """Take the next due row of a channel: the oldest, an incident's in their order.

        A fault's waits for all that is due of incidents.
        """
        with self._transaction() as connection:
            row = connection.execute(_CLAIM, {"channel": channel, "now": self._epoch()}).fetchone()
        return self._parcel(row) if row else None

    def accepted(self, parcel_id: int, reference: str | None, poll_at: datetime) -> None:
        """The carrier has it; ask how far it got from `poll_at`."""
        self._sent(parcel_id, DeliveryState.ACCEPTED, reference, poll_at)

    def delivered(self, parcel_id: int, reference: str | None = None) -> None:
        """It has arrived."""
        self._sent(parcel_id, DeliveryState.DELIVERED, reference, None)

    def retry(self, parcel_id: int, at: datetime, error: str, code: str | None = None) -> None:
        """It could not be sent; try again from `at`, unless it became superfluous meanwhile."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET state = 'pending', next_attempt_at = ?, error = ?, code = ?"
                " WHERE id = ?",
                (at.timestamp(), error, code, parcel_id),
            )
            cancel_superfluous(connection, parcel_id, self._epoch())

    def failed(
        self, parcel_id: int, error: str, code: str | None = None, *, for_good: bool = True
    ) -> None:
        """It never will arrive: the contact next in line is called now.

        `for_good`: nor will its repeats, which are cancelled.
        """
        now = self._epoch()
        with self._transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET state = 'failed', finished_at = ?, error = ?, code = ?"
                " WHERE id = ?",
                (now, error, code, parcel_id),
            )
            connection.execute(
                """UPDATE deliveries SET due_at = :now, next_attempt_at = :now
                WHERE due_at > :now AND id = (
                    SELECT n.id FROM deliveries n JOIN deliveries f ON f.id = :id
                    WHERE f.kind = 'first' AND n.kind = 'first' AND n.state = 'pending'
                    AND n.incident_id = f.incident_id AND n.channel = f.channel
                    ORDER BY n.due_at, n.id LIMIT 1)""",
                {"now": now, "id": parcel_id},
            )
            if for_good:
                cancel_repeats(connection, parcel_id, now, due_before=None)

    def to_poll(self, channel: str) -> list[Parcel]:
        """Accepted rows whose fate is due to be asked for."""
        rows = self._database.rows(
            "SELECT * FROM deliveries WHERE channel = ? AND state = 'accepted'"
            " AND next_attempt_at <= ? ORDER BY next_attempt_at LIMIT 20",
            channel,
            self._epoch(),
        )
        return [self._parcel(row) for row in rows]

    def poll_again(self, parcel_id: int, at: datetime | None, error: str | None = None) -> None:
        """Ask again from `at`; None: nobody knows, and we stop asking. `error`: no word came."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET polls = polls + 1, next_attempt_at = ?, error = ?"
                " WHERE id = ?",
                (at.timestamp() if at else None, error, parcel_id),
            )

    def next_due(self, channel: str) -> datetime | None:
        """When the next row of a channel is to be sent or asked for."""
        (row,) = self._database.rows(_NEXT_DUE, channel=channel, now=self._epoch())
        return utc(row["at"])

    def hurry(self, channel: str) -> None:
        """The channel works again: what waits for its next attempt is due now."""
        now = self._epoch()
        with self._transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET next_attempt_at = ? WHERE channel = ?"
                " AND state = 'pending' AND attempts > 0 AND next_attempt_at > ?",
                (now, channel, now),
            )

    def shift(self, step_s: float) -> None:
        """The clock was set: move the times of unfinished rows along."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET due_at = due_at + :s, created_at = created_at + :s,"
                " next_attempt_at = next_attempt_at + :s, sent_at = sent_at + :s"
                " WHERE state IN ('pending', 'claimed', 'accepted')",
                {"s": step_s},
            )

    def forget(self, before: datetime) -> int:
        """Delete incidents raised before then, unless a message of theirs waits; how many."""
        with self._transaction() as connection:
            return connection.execute(
                "DELETE FROM incidents WHERE raised_at < ? AND NOT EXISTS (SELECT 1 FROM deliveries"
                " WHERE incident_id = incidents.id AND state IN ('pending', 'claimed'))"
                " AND NOT (state = 'fault' AND ended_at IS NULL)",
                (before.timestamp(),),
            ).rowcount

    def told(self, incident_id: str) -> frozenset[str]:
        """Addresses to which this incident has been sent, or is being sent."""
        rows = self._database.rows(
            "SELECT DISTINCT address FROM deliveries WHERE incident_id = ? AND address IS NOT NULL"
            " AND state IN ('claimed', 'accepted', 'delivered')",
            incident_id,
        )
        return frozenset(row["address"] for row in rows)

    def expecting(self, identity: str) -> frozenset[str]:
        """Addresses to which it has been sent, or will be as soon as the channel works."""
        rows = self._database.rows(
            "SELECT DISTINCT address FROM deliveries WHERE incident_id = ? AND address IS NOT NULL"
            " AND (state IN ('claimed', 'accepted', 'delivered')"
            " OR (state = 'pending' AND due_at <= ?))",
            identity,
            self._epoch(),
        )
        return frozenset(row["address"] for row in rows)

    def sent_to(self, channel: str, address: str, since: datetime) -> tuple[Sent, ...]:
        """The messages that were sent to an address since then."""
        rows = self._database.rows(
            "SELECT d.incident_id, i.category, i.room FROM deliveries d"
            " JOIN incidents i ON i.id = d.incident_id WHERE d.channel = ? AND d.address = ?"
            " AND d.sent_at >= ? AND (d.state IN ('accepted', 'delivered')"
            " OR (d.state = 'failed' AND d.reference IS NOT NULL)) ORDER BY d.id",
            channel,
            address,
            since.timestamp(),
        )
        return tuple(Sent(row["incident_id"], (row["category"], row["room"])) for row in rows)

    def refusals(self, since: datetime) -> list[Refusal]:
        """The contacts whose last message since then was refused, or waits for its cap."""
        rows = self._database.rows(
            "SELECT name, state, code, error, max(sent_at) AS at FROM deliveries"
            " WHERE address IS NOT NULL AND sent_at >= ? AND state != 'claimed'"
            " GROUP BY channel, address",
            since.timestamp(),
        )
        return [
            Refusal(row["name"], row["code"], row["error"], datetime.fromtimestamp(row["at"], UTC))
            for row in rows
            if row["code"] == "hour"
            or (row["state"] == "failed" and row["code"] not in {None, GIVEN_UP})
        ]

    def tallies(self) -> list[Tally]:
        """The messages of each channel, counted."""
        now = self._epoch()
        tallies: dict[str, Tally] = {}
        for row in self._database.rows(_TALLY, now=now):
            name = row["channel"]
            tally = tallies.setdefault(name, Tally(name, 0, 0, 0.0, {}))
            if row["state"] not in _UNSENT:
                tally.finished[DeliveryState(row["state"])] = row["number"]
                continue
            tallies[name] = replace(
                tally,
                due=tally.due + row["due"],
                planned=tally.planned + row["number"] - row["due"],
                oldest_s=max(tally.oldest_s, now - row["oldest"]),
            )
        return list(tallies.values())

    def _sent(
        self, parcel_id: int, state: DeliveryState, reference: str | None, poll_at: datetime | None
    ) -> None:
        now = self._epoch()
        finished = now if state is DeliveryState.DELIVERED else None
        with self._transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET state = ?, finished_at = ?, next_attempt_at = ?,"
                " reference = coalesce(?, reference), error = NULL, code = NULL WHERE id = ?",
                (state, finished, poll_at.timestamp() if poll_at else None, reference, parcel_id),
            )
            # After an outage the repeats of an hour are due at once: one message says it all.
            cancel_repeats(connection, parcel_id, now, due_before=now)

    def _recover(self) -> None:
        """Take back what a crash left claimed, and undo a clock that ran ahead when we stopped."""
        now = self._epoch()
        (row,) = self._database.rows("SELECT max(created_at) FROM alerts")
        if row[0] is not None and row[0] > now:
            self.shift(now - row[0])
        with self._transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET state = 'pending', next_attempt_at = min(?, due_at)"
                " WHERE state = 'claimed' OR (state = 'pending' AND attempts > 0)",
                (now,),
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._database.transaction() as connection:
            yield connection

    def _parcel(self, row: sqlite3.Row) -> Parcel:
        (alert,) = self._database.rows(
            "SELECT a.change, a.before, a.after, i.state FROM alerts a"
            " JOIN incidents i ON i.id = a.incident_id WHERE a.id = ?",
            row["alert_id"],
        )
        return parcel(row, alert)

    def _epoch(self) -> float:
        return self._now().timestamp()
