"""The SQLite file of a state directory: every commit on disk, migrated, one daemon at a time."""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from homeguard.domain import HomeGuardError

FILE = "homeguard.db"
_LOCK = "homeguard.lock"
_RESERVE = "reserve"  # given back to the outbox when the disk is full
_RESERVE_BYTES = 1 << 20
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_log = logging.getLogger(__name__)

# One script a version; a released script is never changed, only followed.
_MIGRATIONS = (
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
)


class Database:
    """One connection for all threads, behind a lock.

    `exclusive` is for the daemon: it refuses a second one, keeps a reserve for a full disk, and
    sets a corrupt file aside. Without it (command line) a corrupt file is an error.
    Raises HomeGuardError.
    """

    def __init__(self, directory: Path, *, exclusive: bool = True) -> None:
        self._directory = directory
        self._exclusive = exclusive
        self._mutex = threading.RLock()
        self._lock_fd: int | None = None
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if exclusive:
            self._lock_fd = _lock(directory)
            self._keep_reserve()
        try:
            self._connection = self._open()
        except BaseException:
            self._unlock()
            raise

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction: on disk when it ends, undone where it raises."""
        with self._mutex:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *values: object, **named: object) -> list[sqlite3.Row]:
        """What a SELECT finds; its parameters are all by place, or all by name."""
        with self._mutex:
            return self._connection.execute(sql, named or values).fetchall()

    def mend(self, error: sqlite3.Error) -> bool:
        """Do what helps against `error`; whether trying again makes sense."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if not self._exclusive:
            return False
        if code == sqlite3.SQLITE_FULL:
            reserve = self._directory / _RESERVE
            if not reserve.exists():
                return False
            reserve.unlink()
            _log.error("disk full: freed the reserve for alerts; make room in %s", self._directory)
            return True
        if code in _CORRUPT:
            with self._mutex:
                self._connection.close()
                self._set_aside(error)
                self._connection = self._connect()
            return True
        return False

    def close(self) -> None:
        """Close the file and let another daemon have it."""
        with self._mutex:
            self._connection.close()
            self._unlock()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as exc:
            if (getattr(exc, "sqlite_errorcode", 0) & 0xFF) not in _CORRUPT:
                message = f"{self._directory / FILE} cannot be used: {exc}; check space and rights"
                raise HomeGuardError(message) from exc
            if not self._exclusive:
                message = f"{self._directory / FILE} is corrupt: {exc}; start the daemon to mend it"
                raise HomeGuardError(message) from exc
            self._set_aside(exc)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._directory / FILE, timeout=5.0, isolation_level=None, check_same_thread=False
        )
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            _check(connection)
            _migrate(connection)
        except BaseException:
            connection.close()
            raise
        (self._directory / FILE).chmod(0o600)
        return connection

    def _set_aside(self, error: Exception) -> None:
        target = self._directory / f"{FILE}.corrupt-{time.time_ns()}"
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self._directory / FILE}{suffix}").rename(f"{target}{suffix}")
        _log.error("database corrupt (%s): set aside as %s, starting afresh", error, target.name)

    def _keep_reserve(self) -> None:
        reserve = self._directory / _RESERVE
        if reserve.exists():
            return
        try:
            with reserve.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, _RESERVE_BYTES)
        except OSError as exc:
            reserve.unlink(missing_ok=True)
            _log.warning("no room for a reserve of 1 MiB in %s: %s", self._directory, exc)

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


def _check(connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        error = sqlite3.DatabaseError(found)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to the last version, each step whole or not at all."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(_MIGRATIONS):
        message = f"the database is of a newer HomeGuard (version {version}): upgrade this one"
        raise HomeGuardError(message)
    for number, script in enumerate(_MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in script.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _lock(directory: Path) -> int:
    path = directory / _LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        holder = path.read_text(encoding="ascii", errors="replace").strip() or "unknown"
        os.close(descriptor)
        message = (
            f"another HomeGuard (process {holder}) already runs on {directory}: stop it, "
            "or give this one a state directory of its own (node.state_dir)"
        )
        raise HomeGuardError(message) from exc
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor
