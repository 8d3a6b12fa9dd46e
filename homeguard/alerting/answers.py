"""Who may answer for which incident, and which answers have been used up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from homeguard.alerting.database import Database
from homeguard.alerting.records import utc

Clock = Callable[[], datetime]

_ANSWERABLE = """
    FROM incidents i JOIN deliveries d ON d.incident_id = i.id
    WHERE d.channel = :channel AND d.state IN ('accepted', 'delivered')
    AND i.raised_at >= :after AND i.acknowledged_by IS NULL AND i.state NOT IN ('test', 'fault')
"""


class Answers:
    """Answers to messages; for all threads. Raises sqlite3.Error."""

    def __init__(self, database: Database, now: Clock) -> None:
        self._database = database
        self._now = now

    def note_visit(self, incident_id: str, name: str, what: str) -> None:
        """Keep who did what by a link; a player that fetches in pieces counts once a minute."""
        now = self._now().timestamp()
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO visits (incident_id, name, what, at) SELECT :id, :name, :what, :now"
                " WHERE NOT EXISTS (SELECT 1 FROM visits WHERE incident_id = :id AND name = :name"
                " AND what = :what AND at > :now - 60)",
                {"id": incident_id, "name": name, "what": what, "now": now},
            )

    def awaited(self, channel: str, raised_after: datetime) -> datetime | None:
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
        with self._database.transaction() as connection:
            return bool(
                connection.execute(
                    "INSERT OR IGNORE INTO replies (sid, sent_at, incident_id) VALUES (?, ?, ?)",
                    (sid, sent_at.timestamp(), incident_id),
                ).rowcount
            )

    def forget(self, before: datetime) -> None:
        """Delete the marks of replies that are too old to count again."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM replies WHERE sent_at < ?", (before.timestamp(),))
