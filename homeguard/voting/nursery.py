"""Makes the voters' processes: by fork from one that never had a thread, so they share its memory.

Native code that hangs, crashes or leaks then costs the voters of its process only. The nursery is
forked off before the daemon's first thread, with all libraries imported and no model loaded; it
forks processes when asked and ends those that must go. Measured:
docs/decisions/0010-voters-apart.md.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import homeguard.runtime  # noqa: F401 - before the native libraries
from homeguard.domain import HomeGuardError

# What a process does until its connections, one a voter, have ended.
Work = Callable[[Sequence[Connection]], None]

ANSWERS_WITHIN_S = 5.0
MOST_VOTERS = 3  # in one process
_REAP_EVERY_S = 1.0
_LETTER = 256  # bytes
# The kernel, short of memory, shall take a voter before it takes the daemon.
_OOM_SCORE = "500"

_log = logging.getLogger(__name__)


class Nursery:
    """Forks the voters' processes; ended by `close`, and by itself when this process dies."""

    def __init__(self, work: Work) -> None:
        """Fork it off; `work` is what each process does that it makes.

        Raises RuntimeError where this process has threads already: what they hold locked would
        stay locked in the fork for ever.
        """
        if threading.active_count() > 1:
            message = "the nursery must be forked before the first thread is started"
            raise RuntimeError(message)
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(ANSWERS_WITHIN_S)
        import onnxruntime  # noqa: F401, PLC0415 - once here, not once in every voter

        gc.collect()
        gc.freeze()  # a collection, here or in a fork, must not touch and so copy what they share
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            self._control.close()
            _apart("nursery", lambda: _Matron(theirs, work).serve())
        theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it can still make voters."""
        with suppress(ChildProcessError):
            return os.waitpid(self._pid, os.WNOHANG) == (0, 0)
        return False

    def make(self, names: Sequence[str]) -> tuple[int, tuple[Connection, ...]]:
        """A process for these voters: its id and our end of each one's connection.

        Raises HomeGuardError when the nursery does not answer.
        """
        title = "+".join(names)
        pipes = [Pipe() for _ in names]
        try:
            with self._lock, ExitStack() as stack:
                theirs = [stack.enter_context(end).fileno() for _, end in pipes]
                socket.send_fds(self._control, [_letter(make=title)], theirs)
                pid = int(json.loads(self._control.recv(_LETTER))["pid"])
        except (OSError, ValueError, KeyError) as exc:
            for ours, _ in pipes:
                ours.close()
            message = f"no process for the voter {title}: {type(exc).__name__} from the nursery"
            raise HomeGuardError(message) from exc
        return pid, tuple(ours for ours, _ in pipes)

    def end(self, pid: int) -> None:
        """Kill a process, whatever it is doing. Its connections end with it."""
        with self._lock, suppress(OSError):
            self._control.send(_letter(end=pid))

    def close(self) -> None:
        """End all voters and the nursery."""
        self._control.close()
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


class _Matron:
    """The nursery's own side: it alone waits for the voters, so a process id is never another's."""

    def __init__(self, control: socket.socket, work: Work) -> None:
        self._control = control
        self._work = work
        self._children: set[int] = set()

    def serve(self) -> None:
        """Do what is asked until the daemon is gone; then nobody stays."""
        while True:
            self._reap()
            if not select.select([self._control], [], [], _REAP_EVERY_S)[0]:
                continue
            letter, fds, _, _ = socket.recv_fds(self._control, _LETTER, MOST_VOTERS)
            if not letter:
                break
            asked = json.loads(letter)
            if "make" in asked:
                pid = self._make(asked["make"], [Connection(fd) for fd in fds])
                self._control.send(_letter(pid=pid))
            elif asked["end"] in self._children:
                os.kill(asked["end"], signal.SIGKILL)
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _make(self, title: str, connections: Sequence[Connection]) -> int:
        with ExitStack() as stack:
            for connection in connections:
                stack.enter_context(connection)
            pid = os.fork()
            if pid == 0:
                self._control.close()
                _apart(f"voter-{title}", lambda: self._work(connections))
        self._children.add(pid)
        return pid

    def _reap(self) -> None:
        self._children -= {pid for pid in self._children if os.waitpid(pid, os.WNOHANG) != (0, 0)}


def _letter(**said: str | int) -> bytes:
    return json.dumps(said).encode()


def _apart(title: str, work: Callable[[], None]) -> None:
    """Do `work` and end the process, which shares nothing with its parent but memory and logs."""
    # Who started us decides when we end: by closing our connection, or by SIGKILL.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        Path("/proc/self/comm").write_text(title, encoding="ascii")
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    status = 0
    try:
        work()
    except (EOFError, OSError):
        pass  # the other side is gone
    except Exception:  # noqa: BLE001 - logged here, or nowhere: the process ends
        _log.exception("%s failed", title)
        status = 1
    finally:
        logging.shutdown()
        os._exit(status)
