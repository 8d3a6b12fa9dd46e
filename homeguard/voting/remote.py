"""Voters in processes of their own, as the daemon sees them, and the few bytes that go to and fro.

To a voter: once what it is to be; then for each window a JSON header, its samples, its log-mel.
Back: the vote as JSON. Nothing is pickled; 480 kB a window cost a millisecond or two
(docs/decisions/0010-voters-apart.md). The other side is voting.apart.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from homeguard.domain import Features, HomeGuardError, ModelError, Vote
from homeguard.voting.nursery import Nursery

STARTS_WITHIN_S = 60.0
GROWTH_MB = 200.0  # beyond what it had after its first vote: it leaks
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
_VOTE: TypeAdapter[Vote] = TypeAdapter(Vote)


class Household:
    """Voters that live in one process, for what they share. Thread-safe: each seat asks it.

    What kills, hangs or fills the process takes all of them; they come back into a fresh one.
    """

    def __init__(self, names: Sequence[str], nursery: Nursery, order: bytes = b"") -> None:
        """`order` is what each voter is told to load itself by."""
        self._names, self._nursery, self._order = tuple(names), nursery, order
        self._lock = threading.Lock()
        self._process: _Process | None = None

    def voter(self, name: str) -> RemoteVoter:
        """A fresh voter, which loads at once; of the process that runs where it has one to give.

        Else of a new process: the old one ends, with everybody in it. Raises HomeGuardError.
        """
        with self._lock:
            process = self._process
            if process is None or process.ailment or name not in process.vacant:
                if process is not None:
                    process.end()
                self._process = process = _Process(self._names, self._nursery)
            return RemoteVoter(name, process, self._order)


class RemoteVoter:
    """Looks like the voter; the real one sits in a process. One thread asks it."""

    def __init__(self, name: str, process: _Process, order: bytes) -> None:
        """Take its place in the process and give the `order`. Raises HomeGuardError."""
        self.name = name
        self.models: Mapping[str, str] = {}
        self.missing: tuple[str, ...] = ()
        self._process = process
        self._connection = process.vacant.pop(name)
        self._ailment: str | None = None
        try:
            self._connection.send_bytes(json.dumps(name).encode())
            self._connection.send_bytes(order)
        except OSError as exc:
            raise self._died() from exc

    def ready(self) -> RemoteVoter:
        """Wait until the model is loaded. Raises ModelError with the reason if it cannot be."""
        try:
            if not self._connection.poll(STARTS_WITHIN_S):
                self.close()
                message = f"the {self.name} did not load within {STARTS_WITHIN_S:.0f} s"
                raise ModelError(message)
            said = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError) as exc:
            raise self._died() from exc
        if broken := said.get("broken"):
            # The process waits to be told again; the others in it need not go.
            self._process.vacant[self.name] = self._connection
            raise ModelError(broken)
        self.models, self.missing = said["models"], tuple(said["missing"])
        return self

    def vote(self, features: Features) -> Vote:
        """Ask it; waits as long as it takes. Raises HomeGuardError when its process has ended."""
        try:
            self._connection.send_bytes(_header(features))
            self._connection.send_bytes(np.ascontiguousarray(features.window.samples).data)
            self._connection.send_bytes(np.ascontiguousarray(features.log_mel).data)
            vote = _VOTE.validate_json(self._connection.recv_bytes())
        except (EOFError, OSError) as exc:
            raise self._died() from exc
        self._process.voted()
        return vote

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def ailment(self) -> str | None:
        """Why it must be replaced, None while it is well; what leaks is ended at once."""
        return self._ailment or self._process.ailment

    def close(self) -> None:
        """End its process, whatever it is doing, and whoever else lives in it."""
        self._process.end()

    def _died(self) -> HomeGuardError:
        self._ailment = self._ailment or f"the process of the {self.name} has ended"
        return HomeGuardError(self._ailment)


class _Process:
    """A process of the nursery. `vacant`: connections of its voters that nobody asks yet."""

    def __init__(self, names: Sequence[str], nursery: Nursery) -> None:
        self._nursery = nursery
        self.pid, connections = nursery.make(names)
        self.vacant: dict[str, Connection] = dict(zip(names, connections, strict=True))
        self._title = " and ".join(names)
        self._first_mb: float | None = None
        self._ailment: str | None = None

    def voted(self) -> None:
        """Note that a vote was made: what it has loaded is loaded."""
        if self._first_mb is None:
            self._first_mb = self._resident_mb()

    @property
    def ailment(self) -> str | None:
        """Why nobody can live in it, None while it is well; one that leaks is ended at once."""
        if self._ailment is None:
            self._examine()
        return self._ailment

    def end(self) -> None:
        """Kill it."""
        self._ailment = self._ailment or "closed"
        self._nursery.end(self.pid)

    def _examine(self) -> None:
        resident_mb = self._resident_mb()
        if resident_mb is None:
            self._ailment = f"the process of the {self._title} has ended"
        elif self._first_mb is not None and resident_mb - self._first_mb > GROWTH_MB:
            self._ailment = f"grew from {self._first_mb:.0f} to {resident_mb:.0f} MB"
            self.end()

    def _resident_mb(self) -> float | None:
        """Memory of the process, None when it has ended (a zombie has no memory)."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError, ValueError):
            return None
        return pages * _PAGE_MB or None


def _header(features: Features) -> bytes:
    window = features.window
    said = {
        "room": window.room,
        "start_s": window.start_s,
        "end_s": window.end_s,
        "active": window.active,
        "speech": [asdict(span) for span in window.speech],
        "speech_open": window.speech_open,
        "level_dbfs": window.level_dbfs,
        "bands": features.log_mel.shape[0],
    }
    return json.dumps(said).encode()
