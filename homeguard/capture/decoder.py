"""A process that decodes what others recorded, within bounds: it may hang, crash or swell alone.

FFmpeg reads dozens of formats that anybody can send us. A process takes one recording after the
other; one that breaks its bounds is ended and the next recording gets a fresh one, forked from one
that has FFmpeg loaded (`capture/spawner.py`). To it: an order as JSON. Back: sound as it comes,
then JSON that says how it ended. Nothing is pickled.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import resource
import signal
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from socket import SO_RCVTIMEO, SOL_SOCKET, socket, socketpair

import numpy as np

import homeguard
from homeguard.capture.damage import Damage
from homeguard.capture.spawner import Child, Spawner, serve
from homeguard.domain import AudioChunk, SourceError

IDLE = 2  # processes that are kept for the next recording
EXTENDED_EVERY_S = 5.0  # of sound: so often the processor time is granted anew
BATCH = 16  # chunks of a file in one letter; a stream's come one by one
_END = b""  # a letter that says that the next one is the last, and JSON
_HEAD = struct.Struct("<IIIdd")  # a chunk's samples, nonfinite, clipped, start_s, offset
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one recording may take. A long one may take long: time is granted with its sound."""

    memory_mb: int = 256  # beyond what the process takes by itself
    cpu_s: float = 10.0  # to begin with
    cpu_per_s: float = 0.5  # and for each second of sound
    silent_s: float = 60.0  # without sound, an error or an end: it hangs


@dataclass(frozen=True, slots=True)
class Order:
    """What to decode: a file, a url, or a file's length; `name` is what people call it."""

    kind: str
    what: str
    name: str
    longest_s: float = math.inf
    limits: Limits = Limits()


class Decoder:
    """Our end of a process; one thread uses it at a time."""

    def __init__(self, *, retryable: bool = False) -> None:
        """Have it forked. Raises SourceError, `retryable` or not, where it cannot be."""
        ours, theirs = socketpair()
        with theirs:
            try:
                self._process = _forked(theirs)
            except (OSError, ValueError) as exc:
                ours.close()
                message = f"the process that decodes recordings does not start: {exc} (pip check)"
                raise SourceError(message, retryable=retryable) from exc
        self._connection = Connection(ours.detach())
        self._free = True

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether it can take a recording."""
        return self._free and self._process.poll() is None

    def decode(self, order: Order, room: str, damage: Damage) -> Iterator[AudioChunk]:
        """The sound of one recording or stream as it comes; fills `damage`.

        Raises SourceError with the reason: what FFmpeg says, or which bound was broken.
        """
        self._free = False
        retryable = order.kind == "url"
        self._wait_at_most(order.limits.silent_s)
        try:
            self._connection.send_bytes(json.dumps(asdict(order)).encode())
            while True:
                letter = self._connection.recv_bytes()
                if letter == _END:
                    break
                yield from _chunks(letter, room, damage)
            said = json.loads(self._connection.recv_bytes())
        except BlockingIOError as exc:
            self.close()
            message = (
                f"{order.name}: the decoder hung: nothing came for {order.limits.silent_s:g} s"
            )
            raise SourceError(message, retryable=retryable) from exc
        except (EOFError, OSError) as exc:
            raise SourceError(f"{order.name}: {self._death(order)}", retryable=retryable) from exc
        self._free = True
        for key, value in said["damage"].items():
            setattr(damage, key, value)
        if said["error"] is not None:
            raise SourceError(f"{order.name}: {said['error']}", retryable=said["retryable"])

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _wait_at_most(self, seconds: float) -> None:
        """Bound each read, that of half a letter too: it may hang in the middle of one."""
        whole = int(seconds)
        limit = struct.pack("ll", whole, int((seconds - whole) * 1e6))
        with socket(fileno=os.dup(self._connection.fileno())) as same:
            same.setsockopt(SOL_SOCKET, SO_RCVTIMEO, limit)

    def _death(self, order: Order) -> str:
        """Why the process has ended."""
        code = self._process.wait()
        if code == -signal.SIGXCPU:
            return _too_slow(order.limits)
        if code is not None and code < 0:
            return f"the decoder crashed on it ({signal.Signals(-code).name})"
        return f"the decoder ended with exit code {code}"


def _too_slow(limits: Limits) -> str:
    return (
        f"decoding took more than {limits.cpu_s:g} s of processor time and "
        f"{limits.cpu_per_s:g} s for each second of sound"
    )


_lock = threading.Lock()
_idle: list[Decoder] = []


@contextmanager
def borrowed(*, retryable: bool = False) -> Iterator[Decoder]:
    """A process for one recording, kept for the next one where nothing went wrong.

    Raises SourceError, `retryable` or not, where there is none to be had.
    """
    with _lock:
        decoder = _idle.pop() if _idle else None
    if decoder is not None and not decoder.usable:
        decoder.close()
        decoder = None
    decoder = decoder or Decoder(retryable=retryable)
    try:
        yield decoder
    finally:
        with _lock:
            kept = decoder.usable and len(_idle) < IDLE
            if kept:
                _idle.append(decoder)
        if not kept:
            decoder.close()


def prepare() -> None:
    """Load FFmpeg now, so that the first recording need not wait for it."""
    with _lock:
        _spawner()


_spawners: list[Spawner] = []  # one at most


def _spawner() -> Spawner:
    """The one that forks, made anew where it has ended; what it forked before goes on."""
    if _spawners and not _spawners[0].alive:
        _spawners.pop().close()
    if not _spawners:
        # The package as we have it, wherever that is; one thread, one arena: memory is bounded.
        # Without our secrets: what it reads may take it over.
        plain = {k: v for k, v in os.environ.items() if not k.startswith("HOMEGUARD_")}
        environment = plain | {
            "PYTHONPATH": str(Path(homeguard.__file__).parents[1]),
            "OPENBLAS_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "1",
        }
        _spawners.append(Spawner("homeguard.capture.decoder", environment))
    return _spawners[0]


def _forked(theirs: socket) -> Child:
    with _lock:
        spawner = _spawner()
    return spawner.fork(theirs)


def _close_all() -> None:
    with _lock:
        while _idle:
            _idle.pop().close()
        while _spawners:
            _spawners.pop().close()


atexit.register(_close_all)


def _chunks(letter: bytes, room: str, damage: Damage) -> Iterator[AudioChunk]:
    place = 0
    while place < len(letter):
        size, nonfinite, clipped, start_s, offset = _HEAD.unpack_from(letter, place)
        samples = np.frombuffer(letter, np.float32, size, place + _HEAD.size)
        place += _HEAD.size + samples.nbytes
        chunk = AudioChunk(room, start_s, samples, nonfinite, clipped, offset)
        damage.heard_s = chunk.end_s
        damage.nonfinite += nonfinite
        yield chunk


def _serve(connection: Connection) -> None:
    """The process's own side: one order after the other until nobody asks."""
    from homeguard.capture import decode  # noqa: PLC0415 - FFmpeg belongs here alone

    with suppress(OSError):
        Path("/proc/self/comm").write_text("decoder", encoding="ascii")
    while True:
        said = json.loads(connection.recv_bytes())
        order = Order(**said | {"limits": Limits(**said["limits"])})
        damage, error, retryable = Damage(), None, False
        try:
            _limit_memory(order.limits)
            _grant_time(order.limits, 0.0)
            if order.kind == "length":
                damage.claimed_s = decode.claimed_length_s(Path(order.what))
            elif order.kind == "file":
                sound = decode.decode_file(Path(order.what), order.longest_s, damage)
                _send(connection, sound, order.limits, BATCH)
            else:
                _send(connection, decode.decode_stream(order.what, damage), order.limits, 1)
        except SourceError as exc:
            error, retryable = str(exc), exc.retryable
        except MemoryError:
            error = f"decoding takes more than {order.limits.memory_mb} MB"
        except (EOFError, OSError):
            raise  # nobody listens any more
        except Exception as exc:  # noqa: BLE001 - carried over to the process that asks
            error = f"it cannot be decoded ({type(exc).__name__}: {exc})"
        end = {"damage": asdict(damage), "error": error, "retryable": retryable}
        connection.send_bytes(_END)
        connection.send_bytes(json.dumps(end).encode())


def _send(connection: Connection, sound: Iterator[AudioChunk], limits: Limits, batch: int) -> None:
    """Send the sound as it comes, what had come before an error too.

    The kernel ends a process that computes without end; it looks only now and then, so that one
    that computes in short bursts is held to its time here.
    """
    began_s, granted_s = time.process_time(), 0.0
    letter: list[bytes] = []
    try:
        for chunk in sound:
            if chunk.end_s >= granted_s + EXTENDED_EVERY_S:
                granted_s = chunk.end_s
                _grant_time(limits, granted_s, began_s)
            if time.process_time() - began_s > limits.cpu_s + limits.cpu_per_s * chunk.end_s:
                raise SourceError(_too_slow(limits), retryable=False)
            bad = chunk.nonfinite, chunk.clipped
            head = (len(chunk.samples), *bad, chunk.start_s, chunk.offset)
            letter.append(_HEAD.pack(*head))
            letter.append(chunk.samples.tobytes())
            if len(letter) >= 2 * batch:
                connection.send_bytes(b"".join(letter))
                letter = []
    finally:
        if letter:
            connection.send_bytes(b"".join(letter))


def _limit_memory(limits: Limits) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    size = pages * resource.getpagesize() + limits.memory_mb * _MIB
    _limit(resource.RLIMIT_AS, size)


def _grant_time(limits: Limits, heard_s: float, began_s: float | None = None) -> None:
    began_s = time.process_time() if began_s is None else began_s
    _limit(resource.RLIMIT_CPU, math.ceil(began_s + limits.cpu_s + limits.cpu_per_s * heard_s))


def _limit(what: int, value: int) -> None:
    """The soft limit alone: it must be raised again with the next sound."""
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


if __name__ == "__main__":
    from homeguard.capture import decode  # noqa: F401 - FFmpeg, once for all that are forked

    Path("/proc/self/comm").write_text("decoders", encoding="ascii")
    serve(int(sys.argv[1]), _serve)
