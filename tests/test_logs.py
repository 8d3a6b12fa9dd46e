"""A flood of errors does not fill the disk."""

from __future__ import annotations

import logging

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
