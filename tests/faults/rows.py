"""All rows of the fault table, in the order of printing. A new group of rows is added here."""

from __future__ import annotations

from tests.faults import (
    broker,
    crash,
    daemon,
    decoder,
    drills,
    hearing,
    power,
    sms,
    storage,
    storm,
    voters,
    web,
)
from tests.faults.table import Row

ROWS: tuple[Row, ...] = (
    *hearing.ROWS,
    *voters.ROWS,
    *decoder.ROWS,
    *broker.ROWS,
    *sms.ROWS,
    *drills.ROWS,
    *storage.ROWS,
    *crash.ROWS,
    *power.ROWS,
    *storm.ROWS,
    *daemon.ROWS,
    *web.ROWS,
)
