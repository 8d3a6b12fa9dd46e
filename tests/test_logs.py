"""Lines as journald and scripts read them; a flood of errors does not fill the disk."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest

from homeguard.logs import OncePerSecond


def a_record(message: str, *values: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("homeguard.x", level, "", 0, message, values, None)


def test_a_cause_is_written_once_a_second_and_what_was_left_out_is_counted():
    now = [0.0]
    limit = OncePerSecond(lambda: now[0])
    written = []
    for tick in range(3000):
        now[0] = tick / 1000
        record = a_record("disk full: %d", tick)
        if limit.filter(record):
            written.append(record.getMessage())
    assert written == [
        "disk full: 0",
        "disk full: 1000 (999 more like it were left out)",
        "disk full: 2000 (999 more like it were left out)",
    ]


def test_another_cause_is_written_at_once():
    limit = OncePerSecond(lambda: 0.0)
    assert limit.filter(a_record("one"))
    assert limit.filter(a_record("two"))


def test_what_matters_not_for_a_flood_is_never_left_out():
    limit = OncePerSecond(lambda: 0.0)
    assert all(limit.filter(a_record("incident", level=logging.INFO)) for _ in range(10))


def test_messages_that_all_differ_take_no_memory():
    limit = OncePerSecond(lambda: 0.0)
    for number in range(5000):
        limit.filter(a_record(f"error {number}"))
    assert len(limit._last) <= 1001


SPEAK = """
import logging, sys
from homeguard.logs import configure
configure(verbose=True, form=sys.argv[1])
log = logging.getLogger("homeguard.x")
log.debug("a"); log.info("거실", extra={"room": "den"}); log.warning("b %d", 1); log.critical("c")
logging.getLogger("library").info("not told")
try:
    raise ValueError("two\\nlines")
except ValueError:
    log.exception("d")
"""


def lines_of(form: str, *, journal: bool) -> list[str]:
    """What a process writes whose stderr is the journal, or only says so of another stream."""
    read, write = os.pipe()
    stream = os.fstat(write)
    number = stream.st_ino if journal else stream.st_ino + 1
    environment = os.environ | {"JOURNAL_STREAM": f"{stream.st_dev}:{number}"}
    with os.fdopen(read, encoding="utf-8") as log:
        with os.fdopen(write, "w") as pipe:
            command = [sys.executable, "-c", SPEAK, form]
            subprocess.run(command, stderr=pipe, env=environment, check=True)
        return log.read().splitlines()


@pytest.mark.parametrize("form", ["text", "json"])
def test_every_line_to_the_journal_carries_its_priority(form):
    lines = lines_of(form, journal=True)
    assert [line[:3] for line in lines[:4]] == ["<7>", "<6>", "<4>", "<2>"]
    assert {line[:3] for line in lines[4:]} == {"<3>"}
    assert "ValueError" in "".join(lines[4:])


def test_what_is_no_journal_gets_no_priorities():
    lines = lines_of("text", journal=False)
    assert lines[1:3] == ["level=info event=거실 room=den", 'level=warning event="b 1"']


def test_json_is_one_object_a_line_with_the_time():
    lines = [json.loads(line) for line in lines_of("json", journal=False)]
    assert [line["level"] for line in lines] == ["debug", "info", "warning", "critical", "error"]
    assert (lines[1]["event"], lines[1]["room"]) == ("거실", "den")
    assert lines[1]["time"].endswith("Z")
    assert "two\nlines" in lines[-1]["exception"]
