"""systemd's notify protocol: readiness, watchdog and status over a datagram socket.

Source: sd_notify(3). Nothing happens where systemd does not ask for it.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


class Notifier:
    """Speaks to the service manager named by NOTIFY_SOCKET."""

    def __init__(self, environ: dict[str, str] | None = None) -> None:
        address = (environ if environ is not None else os.environ).get("NOTIFY_SOCKET", "")
        # "@" stands for the abstract namespace, which the kernel spells with a NUL.
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self, status: str) -> None:
        """The daemon does its job now."""
        self._send(f"READY=1\nSTATUS={status}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

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
