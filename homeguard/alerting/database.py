"""The SQLite file of a state directory: every commit on disk, migrated, one daemon at a time.

Where the disk takes nothing any more the daemon goes on in memory: an alert must leave the house.
"""

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

from homeguard.alerting.migrations import migrate
from homeguard.domain import HomeGuardError

FILE = "homeguard.db"
_LOCK = "homeguard.lock"
_RESERVE = "reserve"  # given back to the outbox when the disk is full
_RESERVE_BYTES = 1 << 20
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_DISK_FAILS = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
)
_SALVAGED = (
    "incidents",
    "alerts",
    "deliveries",
    "replies",
    "visits",
    "drills",
)  # a table after those it refers to

_log = logging.getLogger(__name__)


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
        self.in_memory = False  # the disk fails; what is stored now does not outlive the process
        self.set_aside_at: float | None = None  # when a corrupt file was, by the monotonic clock
        self._no_room = False  # for the reserve, and that was said
        self._whole = False  # whether memory holds all that was on disk
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
        with self._mutex:
            if code == sqlite3.SQLITE_FULL and self._free_reserve():
                return True
            if code in _CORRUPT:
                self._connection.close()
                self._set_aside(error)
                self._connection = self._afresh()
                return True
            if code in _DISK_FAILS and not self.in_memory:
                self._go_to_memory(error)
                return True
        return False

    def settle(self) -> bool:
        """Leave memory for the disk, and lay the reserve by again; whether the disk takes it."""
        with self._mutex:
            if self.in_memory and not self._return_to_disk():
                return False
        self._keep_reserve()
        return (self._directory / _RESERVE).exists()

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
            return self._afresh()

    def _afresh(self) -> sqlite3.Connection:
        """A new file with what can still be read of the one that was set aside."""
        connection = self._connect()
        _number_from_now(connection)
        old = max(self._directory.glob(f"{FILE}.corrupt-*[0-9]"), key=lambda p: p.stat().st_ctime)
        try:
            _salvage(connection, old)
        except sqlite3.Error as exc:
            _log.error("nothing could be saved of %s: %s", old.name, exc)
        return connection

    def _go_to_memory(self, error: sqlite3.Error) -> None:
        memory = _in_memory()
        try:
            self._connection.backup(memory)
            self._whole = True
        except sqlite3.Error:
            memory.close()
            memory = _in_memory()
            self._whole = False
        memory.execute("PRAGMA foreign_keys = ON")
        migrate(memory)
        if not self._whole:
            _number_from_now(memory)
        self._connection.close()
        self._connection, self.in_memory = memory, True
        _log.critical(
            "the disk takes no alert (%s): going on in memory, %s; look after %s",
            error,
            "with all that was stored" if self._whole else "without what was stored",
            self._directory,
        )

    def _return_to_disk(self) -> bool:
        if not self._whole:
            return False  # the file holds what memory does not
        try:
            connection = self._connect()
        except (sqlite3.Error, OSError):
            return False
        try:
            self._connection.backup(connection)
            _check(connection)
        except sqlite3.Error:
            connection.close()
            return False
        self._connection.close()
        self._connection, self.in_memory = connection, False
        _log.warning("the disk takes alerts again: back from memory")
        return True

    def _free_reserve(self) -> bool:
        reserve = self._directory / _RESERVE
        if not reserve.exists():
            return False
        try:
            reserve.unlink()
        except OSError:
            return False
        _log.error("disk full: freed the reserve for alerts; make room in %s", self._directory)
        return True

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
            migrate(connection)
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
        self.set_aside_at = time.monotonic()
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
            level = logging.DEBUG if self._no_room else logging.WARNING
            _log.log(level, "no room for a reserve of 1 MiB in %s: %s", self._directory, exc)
            self._no_room = True
        else:
            self._no_room = False

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


def _in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def _number_from_now(connection: sqlite3.Connection) -> None:
    """Let messages have numbers that the file before never gave: one of its may be on its way."""
    connection.execute(
        "INSERT INTO sqlite_sequence (name, seq) VALUES ('deliveries', ?)", (int(time.time()),)
    )


def _salvage(connection: sqlite3.Connection, old: Path) -> None:
    """Copy what a damaged file still gives, whole or not at all. Raises sqlite3.Error."""
    connection.execute("ATTACH ? AS old", (str(old),))
    try:
        (version,) = connection.execute("PRAGMA old.user_version").fetchone()
        if version != connection.execute("PRAGMA main.user_version").fetchone()[0]:
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            for table in _SALVAGED:
                # NOT INDEXED: a damaged index must not hide rows that are there.
                copy = f"INSERT INTO {table} SELECT * FROM old.{table} NOT INDEXED"  # noqa: S608 our names
                connection.execute(copy)
            connection.execute("COMMIT")
        except sqlite3.Error:
            connection.execute("ROLLBACK")
            raise
    finally:
        connection.execute("DETACH old")
    _log.warning("what could be read of %s was saved: waiting messages go out", old.name)


def _check(connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        error = sqlite3.DatabaseError(found)
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error


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
