"""Processes forked from one that has loaded what they need, so that they share its memory.

A decoder by itself takes about 25 MiB, nearly all of it Python and libraries. The one that all are
forked from is an interpreter of its own and never has a second thread: nothing that this process
holds, or has locked, is in a fork. To it: JSON and, to fork, the socket that the child is to serve.
Each child is watched and ended by a descriptor of its own (pidfd): never another one by its number.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection

STARTS_WITHIN_S = 60.0  # a small machine, busy with its own start
_ENDS_WITHIN_S = 2.0
_LETTER = 256  # bytes
_UNKNOWN = 255  # exit code of a child that nobody is left to ask about


class Spawner:
    """The process that forks, as the others see it. Thread-safe."""

    def __init__(self, module: str, environment: Mapping[str, str]) -> None:
        """Start `python -m module FD`, which is to call `serve`; does not wait for it."""
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(STARTS_WITHIN_S)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - ourselves
                [sys.executable, "-m", module, str(theirs.fileno())],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    @property
    def alive(self) -> bool:
        """Whether it can still fork."""
        return self._process.poll() is None

    def fork(self, theirs: socket.socket) -> Child:
        """A process that serves `theirs`. Raises OSError where there is none to be had."""
        said = self._ask({"fork": True}, theirs.fileno())
        return Child(int(said["pid"]), self)

    def code_of(self, pid: int) -> int:
        """How a child that has ended did so, as `subprocess` has it; to be asked once."""
        with suppress(OSError, ValueError):
            return int(self._ask({"reap": pid})["code"])
        return _UNKNOWN

    def close(self) -> None:
        """End it, and all that it forked."""
        self._control.close()
        try:
            self._process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, letter: Mapping[str, int], *fds: int) -> dict[str, int]:
        with self._lock:
            try:
                socket.send_fds(self._control, [json.dumps(letter).encode()], fds)
                answer = self._control.recv(_LETTER)
            except TimeoutError:  # a later answer must not be taken for the next one's
                self._process.kill()
                raise
        if not answer:
            message = "the process that forks has ended"
            raise BrokenPipeError(message)
        said: dict[str, int] = json.loads(answer)
        if "error" in said:
            raise OSError(said["error"], os.strerror(said["error"]))
        return said


class Child:
    """A process that a spawner forked. One thread uses it."""

    def __init__(self, pid: int, spawner: Spawner) -> None:
        self.pid = pid
        self._spawner = spawner
        self._handle = os.pidfd_open(pid)
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative a signal's number; None while it runs."""
        return self._ended(0)

    def wait(self, timeout_s: float | None = None) -> int | None:
        """As `poll`, at the end or after `timeout_s`."""
        return self._ended(timeout_s)

    def kill(self) -> None:
        """End it, whatever it is doing."""
        if self._code is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def _ended(self, within_s: float | None) -> int | None:
        if self._code is None:
            watch = select.poll()
            watch.register(self._handle, select.POLLIN)
            if watch.poll(None if within_s is None else round(1000 * within_s)):
                self._code = self._spawner.code_of(self.pid)
                os.close(self._handle)
        return self._code


def serve(number: int, work: Callable[[Connection], None]) -> None:
    """Fork children that do `work` until nobody asks for more, then end them.

    Call it where all is loaded and no thread was ever started.
    """
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # who asks decides when we end
    gc.collect()
    gc.freeze()  # a collection in a child must not touch, and so copy, what it inherited
    children: set[int] = set()
    with socket.socket(fileno=number) as control:
        while True:
            try:
                letter, fds, _, _ = socket.recv_fds(control, _LETTER, 1)
            except OSError:
                break
            if not letter:
                break
            asked = json.loads(letter)
            if "reap" in asked:
                children.discard(asked["reap"])
                _, status = os.waitpid(asked["reap"], 0)
                answer = {"code": os.waitstatus_to_exitcode(status)}
            else:
                answer = _forked(control, fds[0], work)
                children |= {answer["pid"]} if "pid" in answer else set()
            with suppress(OSError):
                control.send(json.dumps(answer).encode())
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _forked(
    control: socket.socket, theirs: int, work: Callable[[Connection], None]
) -> dict[str, int]:
    with Connection(theirs) as connection:
        try:
            pid = os.fork()
        except OSError as exc:
            return {"error": exc.errno or 0}
        if pid == 0:
            control.close()
            _do(work, connection)
    return {"pid": pid}


def _do(work: Callable[[Connection], None], connection: Connection) -> None:
    """In the child: nothing of the parent's is to be unwound."""
    code = 1
    try:
        work(connection)
    except (EOFError, OSError):
        code = 0  # nobody asks any more
    finally:
        os._exit(code)
