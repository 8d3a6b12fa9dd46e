"""The SQL of single rows: incidents, faults and messages go in, the superfluous is cancelled.

Every function works inside the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace

from homeguard.alerting.escalation import (
    CANCELLED_BY_ACKNOWLEDGEMENT,
    CANCELLED_BY_END,
    Delivery,
    Kind,
)
from homeguard.alerting.records import FAULT, incident_of
from homeguard.domain import Fault, Incident, IncidentState


def _cancelled(after: Incident) -> tuple[Kind, ...]:
    if after.acknowledged_by is not None:
        return CANCELLED_BY_ACKNOWLEDGEMENT
    return CANCELLED_BY_END if after.ended_at is not None else ()


def put_delivery(
    connection: sqlite3.Connection,
    delivery: Delivery,
    alert_id: int | None,
    incident_id: str,
    now: float,
) -> None:
    """Put in one message that is to be sent."""
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


def cancel(connection: sqlite3.Connection, after: Incident | Fault, now: float) -> None:
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


def cancel_superfluous(connection: sqlite3.Connection, parcel_id: int, now: float) -> None:
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


def cancel_repeats(
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


def keep_stored(connection: sqlite3.Connection, after: Incident) -> Incident:
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


def put_fault(connection: sqlite3.Connection, fault: Fault, snapshot: str) -> None:
    """Put in a fault, or what is new of it."""
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


def put_incident(
    connection: sqlite3.Connection, incident: Incident, snapshot: str, now: float
) -> None:
    """Put in an incident, or what is new of it."""
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
    if incident.state is IncidentState.TEST:
        connection.execute(
            "INSERT OR IGNORE INTO drills (id, sent_at) VALUES (?, ?)", (incident.id, now)
        )
