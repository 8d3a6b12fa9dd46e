"""All rows of the fault table, in the order of printing. A new group of rows is added here."""

from __future__ import annotations

from tests.faults import broker, hearing, sms, storage, voters
from tests.faults.table import Row

ROWS: tuple[Row, ...] = (*hearing.ROWS, *voters.ROWS, *broker.ROWS, *sms.ROWS, *storage.ROWS)
