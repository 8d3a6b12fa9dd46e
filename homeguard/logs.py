"""Structured logs: one event a line, readable on a terminal, key=value for journald."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable

import structlog

_CAUSES = 1000  # remembered at most: a message may hold its values


class OncePerSecond(logging.Filter):
    """From WARNING on lets one line a second through of each cause; the next says how many more.

    A cause is a logger and its message, whatever the values in it.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str], tuple[float, int]] = {}  # said at, left out since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record may be written."""
        if record.levelno < logging.WARNING:
            return True
        key, now_s = (record.name, str(record.msg)), self._monotonic()
        with self._lock:
            said_s, left_out = self._last.get(key, (float("-inf"), 0))
            if now_s - said_s < 1.0:
                self._last[key] = (said_s, left_out + 1)
                return False
            if len(self._last) > _CAUSES:
                self._last.clear()
            self._last[key] = (now_s, 0)
        if left_out:
            record.msg = f"{record.msg} ({left_out} more like it were left out)"
        return True


def configure(*, verbose: bool = False) -> None:
    """Send the log of HomeGuard and of its libraries to stderr.

    journald adds the time itself, so lines carry it on a terminal only. Libraries speak up from
    WARNING.
    """
    terminal = sys.stderr.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
    ]
    if terminal:
        shared.append(structlog.processors.TimeStamper(fmt="%H:%M:%S"))
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if terminal
        else structlog.processors.LogfmtRenderer(key_order=["level", "event"])
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(OncePerSecond())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("homeguard").setLevel(logging.DEBUG if verbose else logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
