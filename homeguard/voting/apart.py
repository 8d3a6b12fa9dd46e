"""What a voter's process does: load what is ordered, then vote until nobody asks.

The other side of voting.remote, which says what goes to and fro.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection

import numpy as np
from pydantic import TypeAdapter

from homeguard.domain import Features, HomeGuardError, Span, Vote, Voter, Window
from homeguard.runtime import release_memory
from homeguard.voting.features import Extractor

IDLE_S = 10.0  # without a window: what the last ones needed goes back to the system
_VOTE: TypeAdapter[Vote] = TypeAdapter(Vote)


@dataclass(frozen=True, slots=True)
class Seated:
    """A voter that was loaded: what it needs and what it said about its models."""

    voter: Voter
    extractor: Extractor
    models: Mapping[str, str]
    missing: tuple[str, ...]


Load = Callable[[str, bytes], Seated]  # called by one thread at a time
Judge = Callable[[Voter, Features], Vote]  # turns whatever goes wrong into an abstention


def serve(connections: Sequence[Connection], load: Load, judge: Judge) -> None:
    """Serve a voter a connection, each on a thread of its own, until all have ended.

    A voter that hangs outside what they share does not keep the others from voting.
    """
    one_at_a_time = threading.Lock()

    def attend(connection: Connection) -> None:
        with connection, suppress(EOFError, OSError):  # the daemon is gone
            _attend(connection, load, judge, one_at_a_time)

    first, *others = connections
    threads = [threading.Thread(target=attend, args=(each,)) for each in others]
    for thread in threads:
        thread.start()
    attend(first)
    for thread in threads:
        thread.join()


def _attend(connection: Connection, load: Load, judge: Judge, lock: threading.Lock) -> None:
    seated = None
    while seated is None:  # one that could not be loaded may be ordered again
        seated = _seated(connection, load, lock)
    while True:
        if not connection.poll(IDLE_S):
            release_memory()
        vote = judge(seated.voter, _received(connection, seated.extractor))
        connection.send_bytes(_VOTE.dump_json(vote))


def _seated(connection: Connection, load: Load, lock: threading.Lock) -> Seated | None:
    """The voter that is ordered, loaded; None, and the daemon knows why, where it cannot be."""
    name, order = json.loads(connection.recv_bytes()), connection.recv_bytes()
    try:
        with lock:
            seated = load(name, order)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the daemon is to know
        ours = isinstance(exc, HomeGuardError)
        broken = str(exc) if ours else f"{name} cannot be loaded: {exc!r}"
        connection.send_bytes(json.dumps({"broken": broken}).encode())
        return None
    release_memory()
    ready = {"models": dict(seated.models), "missing": seated.missing}
    connection.send_bytes(json.dumps(ready).encode())
    return seated


def _received(connection: Connection, extractor: Extractor) -> Features:
    """The next window, as the voter takes it. Raises EOFError when the daemon is gone."""
    said = json.loads(connection.recv_bytes())
    bands = said.pop("bands")
    speech = tuple(Span(**span) for span in said.pop("speech"))
    samples = np.frombuffer(connection.recv_bytes(), np.float32)
    mel = np.frombuffer(connection.recv_bytes(), np.float32).reshape(bands, -1)
    return extractor.around(Window(samples=samples, speech=speech, **said), mel)
