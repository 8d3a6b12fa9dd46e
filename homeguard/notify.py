"""Tells who watches us that we are alive: systemd over its socket, a container by a file.

Source: sd_notify(3). Nothing happens where nobody asks: NOTIFY_SOCKET names the socket,
HOMEGUARD_ALIVE_FILE the file, which holds our process id and is touched at every sign of life.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

LOADING_S = 120  # as TimeoutStartSec of the unit


class Notifier:
    """Speaks to the service manager or the health check that the environment names."""

    def __init__(self, environ: dict[str, str] | None = None) -> None:
        environ = environ if environ is not None else dict(os.environ)
        address = environ.get("NOTIFY_SOCKET", "")
        self._watchdog = environ.get("WATCHDOG_USEC", "")
        file = environ.get("HOMEGUARD_ALIVE_FILE", "")
        self._file = Path(file) if file else None
        if self._file is not None:
            self._file.unlink(missing_ok=True)  # of the process before us
        # "@" stands for the abstract namespace, which the kernel spells with a NUL.
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self, status: str) -> None:
        """The daemon does its job now."""
        watched = f"\nWATCHDOG_USEC={self._watchdog}" if self._watchdog else ""
        self._send(f"READY=1\nSTATUS={status}{watched}")

    def loading(self) -> None:
        """No sign of life for LOADING_S at most, then `ready`: models are loaded anew."""
        if self._watchdog:
            self._send(f"WATCHDOG_USEC={LOADING_S * 1_000_000}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")
        # A file that cannot be touched looks as if we hung: whoever watches it will say so.
        if self._file is not None:
            with suppress(OSError):
                self._file.write_text(str(os.getpid()), encoding="ascii")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """A clean stop has begun."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        # A manager that does not read must not stop us: it has the watchdog to notice that.
        with speaker, suppress(BlockingIOError):
            speaker.connect(self._address)
            speaker.send(message.encode(), socket.MSG_DONTWAIT)
