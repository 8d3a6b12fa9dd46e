"""The database when the disk is full, read-only or damaged: alerts still leave the house."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeguard.alerting.database import FILE
from homeguard.alerting.escalation import Delivery, Kind
from homeguard.alerting.migrations import MIGRATIONS
from homeguard.alerting.outbox import Outbox
from homeguard.domain import Alert, HomeGuardError
from tests.alerting.cases import SteppedClock, an_incident, new


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path, SteppedClock())
    yield outbox
    outbox.close()


def an_error(code: int, words: str = "it fails") -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(words)
    error.sqlite_errorcode = code
    return error


def submit(outbox: Outbox, alert: Alert) -> None:
    outbox.record(alert, [Delivery("mqtt", None, Kind.NOTICE, outbox._now())])


def names(outbox: Outbox) -> list[str]:
    return sorted(incident.id for incident in outbox.history.incidents())


def test_a_corrupt_file_is_set_aside_and_a_fresh_one_begun(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all" * 1000)
    with caplog.at_level(logging.ERROR):
        outbox = Outbox(tmp_path, SteppedClock())
    submit(outbox, new(an_incident()))
    assert outbox.claim("mqtt") is not None
    assert "set aside" in caplog.text
    assert len(list(tmp_path.glob("*.corrupt-*"))) == 1
    assert outbox.set_aside_at is not None
    outbox.close()


def test_what_can_be_read_of_a_corrupt_file_is_carried_over(outbox: Outbox, tmp_path: Path) -> None:
    submit(outbox, new(an_incident("one")))
    assert outbox.mend(an_error(sqlite3.SQLITE_CORRUPT))
    submit(outbox, new(an_incident("two")))
    assert names(outbox) == ["one", "two"]
    assert {outbox.claim("mqtt").alert.after.id for _ in range(2)} == {"one", "two"}  # type: ignore[union-attr]
    assert list(tmp_path.glob("*.corrupt-*"))


def test_a_message_in_hand_is_not_taken_for_another_after_a_fresh_start(
    outbox: Outbox, tmp_path: Path
) -> None:
    """Its number must not be given again: marking it would lose the new message."""
    submit(outbox, new(an_incident("one")))
    in_hand = outbox.claim("mqtt")
    assert in_hand is not None
    (tmp_path / FILE).write_bytes(b"destroyed" * 1000)
    (tmp_path / f"{FILE}-wal").write_bytes(b"")
    assert outbox.mend(an_error(sqlite3.SQLITE_CORRUPT))
    submit(outbox, new(an_incident("two")))
    outbox.delivered(in_hand.id)
    waiting = outbox.claim("mqtt")
    assert waiting is not None
    assert waiting.alert.after.id == "two"


def test_a_full_disk_takes_the_reserve_first_and_then_memory(
    outbox: Outbox, tmp_path: Path
) -> None:
    assert (tmp_path / "reserve").stat().st_size == 1 << 20
    assert outbox.mend(an_error(sqlite3.SQLITE_FULL))
    assert not (tmp_path / "reserve").exists()
    assert not outbox.in_memory
    assert outbox.mend(an_error(sqlite3.SQLITE_FULL))
    assert outbox.in_memory


@pytest.mark.parametrize("code", [sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR_WRITE])
def test_a_failing_disk_is_left_for_memory_with_all_that_waits(outbox: Outbox, code: int) -> None:
    submit(outbox, new(an_incident("before")))
    assert outbox.mend(an_error(code))
    submit(outbox, new(an_incident("after")))
    assert {outbox.claim("mqtt").alert.after.id for _ in range(2)} == {"before", "after"}  # type: ignore[union-attr]


def test_what_memory_holds_goes_to_disk_when_it_works_again(outbox: Outbox, tmp_path: Path) -> None:
    submit(outbox, new(an_incident("before")))
    outbox.mend(an_error(sqlite3.SQLITE_READONLY))
    submit(outbox, new(an_incident("during")))
    outbox.settle()
    assert not outbox.in_memory
    with sqlite3.connect(tmp_path / FILE) as disk:
        stored = [row[0] for row in disk.execute("SELECT id FROM incidents ORDER BY id")]
    disk.close()
    assert stored == ["before", "during"]


def test_the_reserve_is_laid_by_again(outbox: Outbox, tmp_path: Path) -> None:
    outbox.mend(an_error(sqlite3.SQLITE_FULL))
    outbox.settle()
    assert (tmp_path / "reserve").stat().st_size == 1 << 20


def test_a_lock_held_by_another_is_only_waited_for(outbox: Outbox) -> None:
    assert not outbox.mend(an_error(sqlite3.SQLITE_BUSY))
    assert not outbox.in_memory


def test_the_command_line_mends_nothing(outbox: Outbox, tmp_path: Path) -> None:
    beside = Outbox(tmp_path, SteppedClock(), exclusive=False)
    assert not beside.mend(an_error(sqlite3.SQLITE_CORRUPT))
    beside.close()


def test_a_database_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(HomeGuardError, match="newer HomeGuard"):
        Outbox(tmp_path, SteppedClock())


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_an_upgrade_carries_waiting_messages_along(tmp_path: Path, version: int) -> None:
    connection = sqlite3.connect(tmp_path / FILE)
    for script in MIGRATIONS[:version]:
        connection.executescript(script)
    connection.execute(f"PRAGMA user_version = {version}")
    current = tmp_path / "current"
    source = Outbox(current, SteppedClock())
    submit(source, new(an_incident("old")))
    source.close()
    connection.execute("ATTACH ? AS new", (str(current / FILE),))
    for table in ("incidents", "alerts", "deliveries"):
        known = [row[1] for row in connection.execute(f"PRAGMA main.table_info({table})")]
        columns = ", ".join(known)
        connection.execute(f"INSERT INTO {table} SELECT {columns} FROM new.{table}")
    connection.commit()
    connection.close()
    outbox = Outbox(tmp_path, SteppedClock())
    waiting = outbox.claim("mqtt")
    assert waiting is not None
    assert waiting.alert == new(an_incident("old"))
    assert outbox.claim("mqtt") is None
    outbox.close()
