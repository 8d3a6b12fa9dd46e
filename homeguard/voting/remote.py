"""A voter in a process of its own, and the few bytes that go to and fro.

To the voter: once what it is to be; then for each window a JSON header, its samples, its log-mel.
Back: the vote as JSON. Nothing is pickled; 480 kB a window cost a millisecond or two
(docs/decisions/0010-voters-apart.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from homeguard.domain import Features, HomeGuardError, ModelError, Span, Vote, Voter, Window
from homeguard.runtime import release_memory
from homeguard.voting.features import Extractor
from homeguard.voting.nursery import Nursery

STARTS_WITHIN_S = 60.0
GROWTH_MB = 200.0  # beyond what it had after its first vote: it leaks
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
_VOTE: TypeAdapter[Vote] = TypeAdapter(Vote)


@dataclass(frozen=True, slots=True)
class Seated:
    """A voter that was loaded: what it needs and what it said about its models."""

    voter: Voter
    extractor: Extractor
    models: Mapping[str, str]
    missing: tuple[str, ...]


class RemoteVoter:
    """Looks like the voter; the real one sits in a process. One thread asks it."""

    def __init__(self, name: str, nursery: Nursery, order: bytes = b"") -> None:
        """Have its process made and given the `order`; it loads at once.

        Raises HomeGuardError.
        """
        self.name = name
        self.models: Mapping[str, str] = {}
        self.missing: tuple[str, ...] = ()
        self._nursery = nursery
        self.pid, self._connection = nursery.make(name)
        self._first_mb: float | None = None
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
        if self._first_mb is None:
            self._first_mb = self._resident_mb()
        return vote

    @property
    def ailment(self) -> str | None:
        """Why it must be replaced, None while it is well; one that leaks is ended at once."""
        if self._ailment is None:
            self._examine()
        return self._ailment

    def close(self) -> None:
        """End its process, whatever it is doing."""
        self._ailment = self._ailment or "closed"
        self._nursery.end(self.pid)

    def _examine(self) -> None:
        resident_mb = self._resident_mb()
        if resident_mb is None:
            self._ailment = str(self._died())
        elif self._first_mb is not None and resident_mb - self._first_mb > GROWTH_MB:
            self._ailment = f"grew from {self._first_mb:.0f} to {resident_mb:.0f} MB"
            self.close()

    def _resident_mb(self) -> float | None:
        """Memory of the process, None when it has ended (a zombie has no memory)."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        except (OSError, IndexError, ValueError):
            return None
        return pages * _PAGE_MB or None

    def _died(self) -> HomeGuardError:
        return HomeGuardError(f"the process of the {self.name} has ended")


def serve(
    connection: Connection,
    load: Callable[[str, bytes], Seated],
    judge: Callable[[Voter, Features], Vote],
) -> None:
    """A voter's process: load what is ordered, say so, then vote until nobody asks.

    `judge` turns whatever goes wrong into an abstention.
    """
    name, order = json.loads(connection.recv_bytes()), connection.recv_bytes()
    try:
        seated = load(name, order)
    except Exception as exc:  # noqa: BLE001 - whatever it is, the daemon is to know
        ours = isinstance(exc, HomeGuardError)
        broken = str(exc) if ours else f"{name} cannot be loaded: {exc!r}"
        connection.send_bytes(json.dumps({"broken": broken}).encode())
        return
    release_memory()
    ready = {"models": dict(seated.models), "missing": seated.missing}
    connection.send_bytes(json.dumps(ready).encode())
    while True:
        vote = judge(seated.voter, _received(connection, seated.extractor))
        connection.send_bytes(_VOTE.dump_json(vote))


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


def _received(connection: Connection, extractor: Extractor) -> Features:
    """The next window, as the voter takes it. Raises EOFError when the daemon is gone."""
    said = json.loads(connection.recv_bytes())
    bands = said.pop("bands")
    speech = tuple(Span(**span) for span in said.pop("speech"))
    samples = np.frombuffer(connection.recv_bytes(), np.float32)
    mel = np.frombuffer(connection.recv_bytes(), np.float32).reshape(bands, -1)
    return extractor.around(Window(samples=samples, speech=speech, **said), mel)
