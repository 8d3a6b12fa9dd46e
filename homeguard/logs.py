"""Structured logs: one event a line, readable on a terminal, key=value or JSON elsewhere."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Literal

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


class JournalFormatter(structlog.stdlib.ProcessorFormatter):
    """Puts the priority before each line, as journald reads it: `journalctl -p warning` finds them.

    Source: sd-daemon(3).
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record's lines, each with its priority: journald takes them one by one."""
        priority = next(p for level, p in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


_PRIORITIES = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (0, 7),
)


def configure(*, verbose: bool = False, form: Literal["text", "json"] = "text") -> None:
    """Send the log of HomeGuard and of its libraries to stderr.

    journald adds the time itself, so lines of text carry it on a terminal only. Libraries speak up
    from WARNING.
    """
    terminal = sys.stderr.isatty() and form == "text"
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
    ]
    renderer: structlog.typing.Processor
    if terminal:
        shared.append(structlog.processors.TimeStamper(fmt="%H:%M:%S"))
        renderer = structlog.dev.ConsoleRenderer()
    elif form == "json":
        shared.append(structlog.processors.TimeStamper(fmt="iso", key="time"))
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    else:
        renderer = structlog.processors.LogfmtRenderer(key_order=["level", "event"])
    made = JournalFormatter if _is_journal() else structlog.stdlib.ProcessorFormatter
    formatter = made(
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


def _is_journal() -> bool:
    """Whether stderr goes to journald: systemd names the stream; we may have been redirected."""
    try:
        stream = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):  # no stderr, or one without a descriptor
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"
