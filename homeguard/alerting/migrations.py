"""The schema of the database, as the steps that lead to it: they carry waiting messages along."""

from __future__ import annotations

import sqlite3

from homeguard.domain import HomeGuardError

# One script a version; a released script is never changed, only followed.
MIGRATIONS = (
    """
    CREATE TABLE incidents (
        id TEXT PRIMARY KEY,
        room TEXT NOT NULL,
        category TEXT NOT NULL,
        state TEXT NOT NULL,
        raised_at REAL NOT NULL,
        ended_at REAL,
        acknowledged_by TEXT,
        acknowledged_at REAL,
        snapshot TEXT NOT NULL
    );
    CREATE INDEX incidents_raised ON incidents (raised_at);
    CREATE TABLE alerts (
        id INTEGER PRIMARY KEY,
        incident_id TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
        change TEXT NOT NULL,
        before TEXT,
        after TEXT NOT NULL,
        created_at REAL NOT NULL
    );
    CREATE INDEX alerts_incident ON alerts (incident_id);
    CREATE TABLE deliveries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        alert_id INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
        incident_id TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
        channel TEXT NOT NULL,
        name TEXT,
        address TEXT,
        language TEXT,
        kind TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending',
        created_at REAL NOT NULL,
        due_at REAL NOT NULL,
        next_attempt_at REAL,
        attempts INTEGER NOT NULL DEFAULT 0,
        polls INTEGER NOT NULL DEFAULT 0,
        sent_at REAL,
        finished_at REAL,
        reference TEXT,
        error TEXT,
        code TEXT
    );
    CREATE INDEX deliveries_due ON deliveries (channel, state, next_attempt_at);
    CREATE INDEX deliveries_incident ON deliveries (incident_id, channel, address);
    CREATE INDEX deliveries_alert ON deliveries (alert_id);
    """,
    """
    CREATE TABLE replies (
        sid TEXT PRIMARY KEY,
        sent_at REAL NOT NULL,
        incident_id TEXT
    );
    ALTER TABLE alerts ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE visits (
        id INTEGER PRIMARY KEY,
        incident_id TEXT NOT NULL REFERENCES incidents (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        what TEXT NOT NULL,
        at REAL NOT NULL
    );
    CREATE INDEX visits_incident ON visits (incident_id);
    """,
    """
    CREATE TABLE drills (
        id TEXT PRIMARY KEY,
        sent_at REAL NOT NULL,
        passed_at REAL,
        failure TEXT
    );
    """,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to the last version, each step whole or not at all.

    Raises HomeGuardError for a file of a newer HomeGuard.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        message = f"the database is of a newer HomeGuard (version {version}): upgrade this one"
        raise HomeGuardError(message)
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in script.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
