"""SIGHUP: the configuration is read again; a wrong one is said, and the old one kept."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from homeguard.config import Config
from homeguard.domain import HomeGuardError

_log = logging.getLogger(__name__)


class Reload:
    """Reads the configuration when asked, on a thread of its own; `start` once, then `stop`.

    A good one is put into `config`, and `halt` is set for whoever runs the old one.
    """

    def __init__(self, read: Callable[[], Config], halt: threading.Event) -> None:
        self._read = read
        self._halt = halt
        self._asked = threading.Event()
        self._over = False
        self.config: Config | None = None
        self._thread = threading.Thread(target=self._run, name="reload", daemon=True)

    def start(self) -> None:
        """Begin to wait."""
        self._thread.start()

    def ask(self) -> None:
        """Read again; from a signal handler, so it only sets a flag."""
        self._asked.set()

    def stop(self) -> None:
        """End the thread."""
        self._over = True
        self._asked.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while self._asked.wait() and not self._over:
            self._asked.clear()
            try:
                config = self._read()
            except HomeGuardError as exc:
                _log.error("the configuration is wrong, the old one stays in force: %s", exc)
                continue
            self.config = config
            self._halt.set()
