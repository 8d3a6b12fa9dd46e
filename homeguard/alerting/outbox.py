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
from datetime import datetime
from pathlib import Path

from homeguard.alerting.database import Database
from homeguard.alerting.escalation import (
    CANCELLED_BY_ACKNOWLEDGEMENT,
    CANCELLED_BY_END,
    Delivery,
    Kind,
)
from homeguard.alerting.records import (
    FAULT,
    IncidentRecord,
    Parcel,
    delivery_record,
    fault_of,
    incident_of,
    parcel,
    to_json,
    utc,
)
from homeguard.domain import (
    Alert,
    AnyAlert,
    DeliveryState,
    Fault,
    Incident,
    IncidentState,
)

Clock = Callable[[], datetime]

_CLAIM = """
    UPDATE deliveries SET state = 'claimed', attempts = attempts + 1, sent_at = :now
    WHERE id = (
        SELECT d.id FROM deliveries d
        WHERE d.channel = :channel AND d.state = 'pending' AND d.next_attempt_at <= :now
        AND NOT EXISTS (
            SELECT 1 FROM deliveries e
            WHERE e.incident_id = d.incident_id AND e.channel = d.channel
            AND e.address IS d.address AND e.id < d.id
            AND e.state IN ('pending', 'claimed') AND e.due_at <= :now)
        ORDER BY (SELECT i.state = 'fault' FROM incidents i WHERE i.id = d.incident_id),
            d.due_at, d.id LIMIT 1)
    RETURNING *
"""

_ANSWERABLE = """
    FROM incidents i JOIN deliveries d ON d.incident_id = i.id
    WHERE d.channel = :channel AND d.state IN ('accepted', 'delivered')
    AND i.raised_at >= :after AND i.acknowledged_by IS NULL AND i.state NOT IN ('test', 'fault')
"""


class Outbox:
    """The incidents and outgoing messages of a state directory; for all threads.

    `exclusive` is for the daemon, which alone sends: it takes back what a crash left claimed.
    Raises HomeGuardError where the directory cannot be used; sqlite3.Error from any call that
    finds the disk failing.
    """

    def __init__(self, directory: Path, now: Clock, *, exclusive: bool = True) -> None:
        self._database = Database(directory, exclusive=exclusive)
        self._now = now
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
        try:
            return self._record(alert, deliveries, held=held)
        except sqlite3.Error as exc:
            if not self._database.mend(exc):
                raise
        return self._record(alert, deliveries, held=held)

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
            _cancel_superfluous(connection, parcel_id, self._epoch())

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
                _cancel_repeats(connection, parcel_id, now, due_before=None)

    def to_poll(self, channel: str) -> list[Parcel]:
        """Accepted rows whose fate is due to be asked for."""
        rows = self._database.rows(
            "SELECT * FROM deliveries WHERE channel = ? AND state = 'accepted'"
            " AND next_attempt_at <= ? ORDER BY next_attempt_at LIMIT 20",
            channel,
            self._epoch(),
        )
        return [self._parcel(row) for row in rows]

    def poll_again(self, parcel_id: int, at: datetime | None) -> None:
        """Ask again from `at`; None: nobody knows, and we stop asking."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET polls = polls + 1, next_attempt_at = ? WHERE id = ?",
                (at.timestamp() if at else None, parcel_id),
            )

    def next_due(self, channel: str) -> datetime | None:
        """When the next row of a channel is to be sent or asked for."""
        (row,) = self._database.rows(
            "SELECT min(next_attempt_at) FROM deliveries"
            " WHERE channel = ? AND state IN ('pending', 'accepted')",
            channel,
        )
        return utc(row[0])

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

    def forget_replies(self, before: datetime) -> None:
        """Delete the marks of replies that are too old to count again."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM replies WHERE sent_at < ?", (before.timestamp(),))

    def told(self, incident_id: str) -> frozenset[str]:
        """Addresses to which this incident has been sent, or is being sent."""
        rows = self._database.rows(
            "SELECT DISTINCT address FROM deliveries WHERE incident_id = ? AND address IS NOT NULL"
            " AND state IN ('claimed', 'accepted', 'delivered')",
            incident_id,
        )
        return frozenset(row["address"] for row in rows)

    def expecting(self, fault_id: str) -> frozenset[str]:
        """Addresses to which this fault has been sent, or will be as soon as the channel works."""
        rows = self._database.rows(
            "SELECT DISTINCT address FROM deliveries WHERE incident_id = ? AND address IS NOT NULL"
            " AND (state IN ('claimed', 'accepted', 'delivered')"
            " OR (state = 'pending' AND due_at <= ?))",
            fault_id,
            self._epoch(),
        )
        return frozenset(row["address"] for row in rows)

    def open_faults(self) -> list[Fault]:
        """Faults that have not ended, oldest first."""
        rows = self._database.rows(
            "SELECT snapshot FROM incidents WHERE state = 'fault' AND ended_at IS NULL"
            " ORDER BY raised_at"
        )
        return [fault_of(row["snapshot"]) for row in rows]

    def held(self) -> list[Incident]:
        """Running incidents that a mute kept from everybody."""
        rows = self._database.rows(
            "SELECT i.snapshot FROM incidents i WHERE i.ended_at IS NULL"
            " AND i.acknowledged_by IS NULL AND i.state = 'raised' AND EXISTS"
            " (SELECT 1 FROM alerts a WHERE a.incident_id = i.id AND a.held)"
            " AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.incident_id = i.id)"
            " ORDER BY i.raised_at"
        )
        return [incident_of(row["snapshot"]) for row in rows]

    def is_held(self, incident_id: str) -> bool:
        """Whether a mute has kept this incident from everybody so far."""
        return bool(
            self._database.rows(
                "SELECT 1 FROM alerts WHERE incident_id = ?1 AND held AND NOT EXISTS"
                " (SELECT 1 FROM deliveries WHERE incident_id = ?1) LIMIT 1",
                incident_id,
            )
        )

    def unanswered(self, raised_after: datetime, raised_before: datetime) -> list[Incident]:
        """Incidents raised in that time that nobody acknowledged and nobody has marked so."""
        rows = self._database.rows(
            "SELECT snapshot FROM incidents WHERE raised_at > ? AND raised_at <= ?"
            " AND acknowledged_by IS NULL AND state NOT IN ('test', 'fault')"
            " AND json_extract(snapshot, '$.unanswered_at') IS NULL ORDER BY raised_at",
            raised_after.timestamp(),
            raised_before.timestamp(),
        )
        return [incident_of(row["snapshot"]) for row in rows]

    def awaits_reply(self, channel: str, raised_after: datetime) -> datetime | None:
        """When the oldest incident was raised to which an answer may come; None without one."""
        (row,) = self._database.rows(
            f"SELECT min(i.raised_at) {_ANSWERABLE}",
            channel=channel,
            after=raised_after.timestamp(),
        )
        return utc(row[0])

    def answerable(
        self, channel: str, address: str, raised_after: datetime, told_by: datetime
    ) -> tuple[str, str] | None:
        """The newest incident that nobody took and of which an address had been told by then.

        Gives its id and the contact's name.
        """
        rows = self._database.rows(
            f"SELECT i.id, d.name {_ANSWERABLE} AND d.address = :address"
            " AND d.sent_at <= :told_by ORDER BY i.raised_at DESC LIMIT 1",
            channel=channel,
            after=raised_after.timestamp(),
            address=address,
            told_by=told_by.timestamp(),
        )
        return (rows[0]["id"], rows[0]["name"]) if rows else None

    def use_reply(self, sid: str, sent_at: datetime, incident_id: str | None) -> bool:
        """Use up a reply; False: it had been used before."""
        with self._transaction() as connection:
            return bool(
                connection.execute(
                    "INSERT OR IGNORE INTO replies (sid, sent_at, incident_id) VALUES (?, ?, ?)",
                    (sid, sent_at.timestamp(), incident_id),
                ).rowcount
            )

    def sent_to(self, channel: str, address: str, since: datetime) -> tuple[str, ...]:
        """The incident of each message that was sent to an address since then."""
        rows = self._database.rows(
            "SELECT incident_id FROM deliveries WHERE channel = ? AND address = ?"
            " AND sent_at >= ? AND (state IN ('accepted', 'delivered')"
            " OR (state = 'failed' AND reference IS NOT NULL)) ORDER BY id",
            channel,
            address,
            since.timestamp(),
        )
        return tuple(row["incident_id"] for row in rows)

    def incident(self, incident_id: str) -> Incident | None:
        """An incident as it is now; also by the first letters of its id where they suffice."""
        rows = self._database.rows(
            "SELECT snapshot FROM incidents WHERE state != 'fault'"
            " AND (id = ?1 OR substr(id, 1, length(?1)) = ?1) ORDER BY id = ?1 DESC LIMIT 2",
            incident_id,
        )
        found = [incident_of(row["snapshot"]) for row in rows]
        if len(found) == 1 or (found and found[0].id == incident_id):
            return found[0]
        return None

    def incidents(self, limit: int = 50) -> list[Incident]:
        """The last incidents, newest first."""
        rows = self._database.rows(
            "SELECT snapshot FROM incidents WHERE state != 'fault'"
            " ORDER BY raised_at DESC, id LIMIT ?",
            limit,
        )
        return [incident_of(row["snapshot"]) for row in rows]

    def running(self) -> list[Incident]:
        """Incidents that have not ended, oldest first; after a restart nobody else ends them."""
        rows = self._database.rows(
            "SELECT snapshot FROM incidents WHERE ended_at IS NULL"
            " AND state NOT IN ('test', 'fault')"
            " ORDER BY raised_at"
        )
        return [incident_of(row["snapshot"]) for row in rows]

    def show(self, incident_id: str) -> IncidentRecord | None:
        """An incident with all its messages."""
        incident = self.incident(incident_id)
        if incident is None:
            return None
        rows = self._database.rows(
            "SELECT d.*, a.change FROM deliveries d JOIN alerts a ON a.id = d.alert_id"
            " WHERE d.incident_id = ? ORDER BY d.id",
            incident.id,
        )
        (row,) = self._database.rows(
            "SELECT acknowledged_at FROM incidents WHERE id = ?", incident.id
        )
        return IncidentRecord(incident, utc(row[0]), tuple(delivery_record(row) for row in rows))

    def export(self) -> Iterator[IncidentRecord]:
        """Every incident with its messages, oldest first."""
        for row in self._database.rows(
            "SELECT id FROM incidents WHERE state != 'fault' ORDER BY raised_at, id"
        ):
            record = self.show(row["id"])
            if record is not None:
                yield record

    def _record(self, alert: AnyAlert, deliveries: Sequence[Delivery], *, held: bool) -> AnyAlert:
        now = self._epoch()
        with self._transaction() as connection:
            if isinstance(alert, Alert):
                alert = replace(alert, after=_keep_stored(connection, alert.after))
            after = alert.after
            snapshot = to_json(after)
            if isinstance(after, Fault):
                _put_fault(connection, after, snapshot)
            else:
                _put_incident(connection, after, snapshot, now)
            before = to_json(alert.before) if alert.before else None
            alert_id = connection.execute(
                "INSERT INTO alerts (incident_id, change, before, after, created_at, held)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (after.id, alert.change, before, snapshot, now, held),
            ).lastrowid
            _cancel(connection, after, now)
            for delivery in deliveries:
                _put_delivery(connection, delivery, alert_id, after.id, now)
        return alert

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
            _cancel_repeats(connection, parcel_id, now, due_before=now)

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


def _cancelled(after: Incident) -> tuple[Kind, ...]:
    if after.acknowledged_by is not None:
        return CANCELLED_BY_ACKNOWLEDGEMENT
    return CANCELLED_BY_END if after.ended_at is not None else ()


def _put_delivery(
    connection: sqlite3.Connection,
    delivery: Delivery,
    alert_id: int | None,
    incident_id: str,
    now: float,
) -> None:
    to, due = delivery.recipient, delivery.due_at.timestamp()
    connection.execute(
        "INSERT INTO deliveries (alert_id, incident_id, channel, name, address,"
        " language, kind, created_at, due_at, next_attempt_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            alert_id,
            incident_id,
            delivery.channel,
            *((to.name, to.address, to.language) if to else (None, None, None)),
            delivery.kind,
            now,
            due,
            due,
        ),
    )


def _cancel(connection: sqlite3.Connection, after: Incident | Fault, now: float) -> None:
    """Cancel what waits and is no longer needed."""
    if isinstance(after, Fault):
        # Whoever was to hear of it by now learns from when to when it lasted; nobody else does.
        if after.ended_at is not None:
            connection.execute(
                "UPDATE deliveries SET state = 'cancelled', finished_at = :now"
                " WHERE incident_id = :id AND state = 'pending' AND due_at > :now",
                {"now": now, "id": after.id},
            )
        return
    for kind in _cancelled(after):
        connection.execute(
            "UPDATE deliveries SET state = 'cancelled', finished_at = ?"
            " WHERE incident_id = ? AND kind = ? AND state = 'pending'",
            (now, after.id, kind),
        )


def _cancel_superfluous(connection: sqlite3.Connection, parcel_id: int, now: float) -> None:
    """Cancel a row that waits again although its incident was acknowledged or ended meanwhile."""
    row = connection.execute(
        "SELECT i.state, i.snapshot FROM incidents i JOIN deliveries d ON d.incident_id = i.id"
        " WHERE d.id = ?",
        (parcel_id,),
    ).fetchone()
    if row["state"] == FAULT:
        return
    for kind in _cancelled(incident_of(row["snapshot"])):
        connection.execute(
            "UPDATE deliveries SET state = 'cancelled', finished_at = ? WHERE id = ? AND kind = ?",
            (now, parcel_id, kind),
        )


def _cancel_repeats(
    connection: sqlite3.Connection, parcel_id: int, now: float, due_before: float | None
) -> None:
    """Cancel waiting repeats for the same recipient and incident; None: however late they are."""
    connection.execute(
        """UPDATE deliveries SET state = 'cancelled', finished_at = :now
        WHERE kind = 'repeat' AND state = 'pending' AND (:before IS NULL OR due_at <= :before)
        AND id IN (
            SELECT r.id FROM deliveries r JOIN deliveries s ON s.id = :id
            WHERE r.incident_id = s.incident_id AND r.channel = s.channel
            AND r.address IS s.address)""",
        {"now": now, "id": parcel_id, "before": due_before},
    )


def _keep_stored(connection: sqlite3.Connection, after: Incident) -> Incident:
    """`after` with what is stored and its maker did not know: acknowledged, unanswered."""
    row = connection.execute("SELECT snapshot FROM incidents WHERE id = ?", (after.id,)).fetchone()
    if row is None:
        return after
    stored = incident_of(row["snapshot"])
    after = replace(after, unanswered_at=after.unanswered_at or stored.unanswered_at)
    by = stored.acknowledged_by
    if by is None or after.acknowledged_by is not None:
        return after
    raised = after.state is IncidentState.RAISED
    state = IncidentState.ACKNOWLEDGED if raised else after.state
    return replace(after, acknowledged_by=by, state=state)


def _put_fault(connection: sqlite3.Connection, fault: Fault, snapshot: str) -> None:
    connection.execute(
        """INSERT INTO incidents (id, room, category, state, raised_at, ended_at, snapshot)
        VALUES (:id, :subject, :cause, 'fault', :raised, :ended, :snapshot)
        ON CONFLICT (id) DO UPDATE SET ended_at = :ended, snapshot = :snapshot""",
        {
            "id": fault.id,
            "subject": fault.subject,
            "cause": fault.cause,
            "raised": fault.raised_at.timestamp(),
            "ended": fault.ended_at.timestamp() if fault.ended_at else None,
            "snapshot": snapshot,
        },
    )


def _put_incident(
    connection: sqlite3.Connection, incident: Incident, snapshot: str, now: float
) -> None:
    connection.execute(
        """INSERT INTO incidents
        (id, room, category, state, raised_at, ended_at, acknowledged_by, acknowledged_at, snapshot)
        VALUES (:id, :room, :category, :state, :raised, :ended, :by,
            CASE WHEN :by IS NULL THEN NULL ELSE :now END, :snapshot)
        ON CONFLICT (id) DO UPDATE SET room = :room, category = :category, state = :state,
            ended_at = :ended, acknowledged_by = :by,
            acknowledged_at = coalesce(acknowledged_at, excluded.acknowledged_at),
            snapshot = :snapshot""",
        {
            "id": incident.id,
            "room": incident.room,
            "category": incident.category,
            "state": incident.state,
            "raised": incident.raised_at.timestamp(),
            "ended": incident.ended_at.timestamp() if incident.ended_at else None,
            "by": incident.acknowledged_by,
            "now": now,
            "snapshot": snapshot,
        },
    )
