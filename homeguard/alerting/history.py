"""What the database knows of incidents and faults, for reading only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from homeguard.alerting.database import Database
from homeguard.alerting.records import (
    IncidentRecord,
    Visit,
    delivery_record,
    fault_of,
    incident_of,
    utc,
)
from homeguard.domain import Fault, Incident


class History:
    """Incidents and faults as they are stored; for all threads. Raises sqlite3.Error."""

    def __init__(self, database: Database) -> None:
        self._database = database

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

    def lead(self, incident: Incident, after: datetime, before: datetime) -> datetime | None:
        """When the last incident of the same category and room was raised that people know of.

        Looked for in that time; one that only follows another is none.
        """
        rows = self._database.rows(
            "SELECT i.raised_at FROM incidents i WHERE i.category = ? AND i.room = ? AND i.id != ?"
            " AND i.raised_at > ? AND i.raised_at <= ? AND i.state NOT IN ('test', 'fault')"
            " AND EXISTS (SELECT 1 FROM deliveries d WHERE d.incident_id = i.id"
            " AND d.kind = 'first' AND d.state IN ('pending', 'claimed', 'accepted', 'delivered'))"
            " ORDER BY i.raised_at DESC LIMIT 1",
            incident.category,
            incident.room,
            incident.id,
            after.timestamp(),
            before.timestamp(),
        )
        return utc(rows[0]["raised_at"]) if rows else None

    def follows(self, incident_id: str) -> bool:
        """Whether an incident was told as one that follows another: nobody was called for it."""
        return not self._database.rows(
            "SELECT 1 FROM deliveries WHERE incident_id = ? AND kind = 'first' LIMIT 1", incident_id
        ) and bool(
            self._database.rows(
                "SELECT 1 FROM deliveries WHERE incident_id = ? AND kind = 'repeat' LIMIT 1",
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
        visits = self._database.rows(
            "SELECT name, what, at FROM visits WHERE incident_id = ? ORDER BY id", incident.id
        )
        return IncidentRecord(
            incident,
            utc(row[0]),
            tuple(delivery_record(row) for row in rows),
            tuple(
                Visit(v["name"], v["what"], datetime.fromtimestamp(v["at"], UTC)) for v in visits
            ),
        )

    def export(self) -> Iterator[IncidentRecord]:
        """Every incident with its messages, oldest first."""
        for row in self._database.rows(
            "SELECT id FROM incidents WHERE state != 'fault' ORDER BY raised_at, id"
        ):
            record = self.show(row["id"])
            if record is not None:
                yield record
