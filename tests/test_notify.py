"""What systemd would receive, on a real datagram socket."""

from __future__ import annotations

import socket

from homeguard.notify import Notifier


def test_messages_reach_the_service_manager(tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": path})
        notifier.ready("listening in 1 room")
        notifier.alive()
        notifier.stopping()
        received = [manager.recv(1024) for _ in range(3)]
    assert received == [b"READY=1\nSTATUS=listening in 1 room", b"WATCHDOG=1", b"STOPPING=1"]


def test_nothing_is_sent_where_no_manager_asks():
    Notifier({}).alive()


def test_a_manager_that_does_not_read_holds_nobody_up(tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        notifier = Notifier({"NOTIFY_SOCKET": path})
        for _ in range(5000):
            notifier.alive()
        assert manager.recv(1024) == b"WATCHDOG=1"
