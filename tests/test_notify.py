"""What systemd would receive, on a real datagram socket."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

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


def test_a_reload_may_take_longer_than_the_watchdog_waits(tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(5)
        notifier = Notifier({"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "30000000"})
        notifier.loading()
        notifier.ready("listening")
        received = [manager.recv(1024) for _ in range(2)]
    assert received == [
        b"WATCHDOG_USEC=120000000",
        b"READY=1\nSTATUS=listening\nWATCHDOG_USEC=30000000",
    ]


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


CHECK = Path(__file__).parents[1] / "deploy" / "homeguard-alive"


def checked(file):
    done = subprocess.run(
        [CHECK],
        env=os.environ | {"HOMEGUARD_ALIVE_FILE": str(file)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_health_check_sees_signs_of_life_in_a_file(tmp_path):
    file = tmp_path / "alive"
    file.write_text("1")  # of a process before
    notifier = Notifier({"HOMEGUARD_ALIVE_FILE": str(file)})
    assert checked(file) == (1, "not listening yet\n")
    notifier.alive()
    assert file.read_text() == str(os.getpid())
    assert checked(file)[0] == 0


def test_the_health_check_kills_what_hangs(tmp_path):
    file = tmp_path / "alive"
    with subprocess.Popen(["sleep", "60"]) as hung:
        file.write_text(str(hung.pid))
        os.utime(file, (0, 0))
        code, said = checked(file)
        assert (code, hung.wait(10)) == (1, -9)
    assert "killed" in said
