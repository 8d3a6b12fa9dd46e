"""One voter's seat: its thread, its deadline, and a fresh voter when it is not fit to vote.

A voter may live in a process of its own (voting.remote): that one is ended when it is replaced.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from homeguard.domain import Features, HomeGuardError, Vote, Voter, VoteReason
from homeguard.voting.sound import InvalidOutput

Build = Callable[[], Voter]
Clock = Callable[[], float]

GIVE_UP_S = 10.0  # a window that takes longer: the voter hangs
BUILD_S = 120.0  # loading a voter that takes longer hangs too
CRASHES = 3  # failures in a row after which the voter is made anew
BACKOFF_S = (1.0, 15.0)  # pause before a voter is made anew, doubling from the first to the last

_log = logging.getLogger(__name__)


@runtime_checkable
class Mortal(Protocol):
    """A voter that can die or fall ill between votes, and that must be ended."""

    @property
    def ailment(self) -> str | None:
        """Why it must be replaced, None while it is well."""
        ...

    def close(self) -> None:
        """End it, whatever it is doing."""
        ...


@dataclass(slots=True, eq=False)
class _Job:
    """One window on a voter's desk."""

    features: Features
    asked_s: float
    done: threading.Event = field(default_factory=threading.Event)
    vote: Vote | None = None
    done_s: float = math.inf


class _Worker:
    """A thread that makes its voter if need be, then judges window after window."""

    def __init__(self, name: str, voter: Voter | None, build: Build | None, now: Clock) -> None:
        self.ready = voter is not None
        self.broken: str | None = None  # why the voter could not be made
        self.crashes = 0  # in a row
        self.since_s = now()  # start of the job in hand, or of the making
        self.job: _Job | None = None
        self.voter = voter
        self._name, self._build, self._now = name, build, now
        self._inbox: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"voter-{name}", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        return self.job is not None and not self.job.done.is_set()

    def take(self, job: _Job) -> None:
        self.job, self.since_s = job, job.asked_s
        self._inbox.put(job)

    @property
    def ailment(self) -> str | None:
        return self.voter.ailment if isinstance(self.voter, Mortal) else None

    def stop(self) -> None:
        self._inbox.put(None)
        if isinstance(self.voter, Mortal):
            self.voter.close()

    def join(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        self.voter = voter = self.voter or self._make()
        if voter is None:
            return
        self.ready = True
        while (job := self._inbox.get()) is not None:
            try:
                job.vote = vote = judged(voter, job.features)
                crashed = vote.reason in {VoteReason.FAILED, VoteReason.INVALID}
                self.crashes = self.crashes + 1 if crashed else 0
            finally:
                job.done_s = self._now()
                job.done.set()

    def _make(self) -> Voter | None:
        assert self._build is not None  # noqa: S101 - only seats that can build make empty workers
        try:
            return self._build()
        except Exception as exc:  # noqa: BLE001 - whatever it is, the seat tries again later
            self.broken = _told(exc)
            return None


class Seat:
    """Where one voter sits. Not thread-safe: the panel asks under its lock."""

    def __init__(self, voter: Voter, deadline_s: float, build: Build | None, now: Clock) -> None:
        """Take a loaded voter; `build` makes its successor when it must be replaced."""
        self.name = voter.name
        self._deadline_s = deadline_s
        self._build = build
        self._now = now
        self._worker = _Worker(voter.name, voter, build, now)
        self._pause_s = BACKOFF_S[0]
        self._again_s: float | None = None  # when a worker that broke is replaced

    def ask(self, features: Features) -> Callable[[], Vote]:
        """Hand over a window. The answer, once called, waits until the deadline at most."""
        self.tend()
        worker, asked_s = self._worker, self._now()
        if not worker.ready:
            return self._abstain(VoteReason.FAILED, worker.broken or "being made anew")
        if worker.busy:
            return self._abstain(VoteReason.LATE, "still busy with an earlier window")
        job = _Job(features, asked_s)
        worker.take(job)
        return lambda: self._collect(job)

    def tend(self) -> None:
        """Replace a voter that hangs, that crashed too often, or that could not be made."""
        if self._build is None or not self._unfit():
            return
        now_s = self._now()
        if self._again_s is None:
            self._again_s = now_s + self._pause_s
            extra = {"voter": self.name, "why": self.trouble or "keeps failing"}
            _log.warning("voter is replaced", extra=extra)
        if now_s >= self._again_s:
            self._pause_s = min(2 * self._pause_s, BACKOFF_S[1])
            self._again_s = None
            self._worker.stop()
            self._worker = _Worker(self.name, None, self._build, self._now)

    @property
    def trouble(self) -> str | None:
        """Why it cannot vote at the moment, None while it can, asked or not."""
        worker = self._worker
        if not worker.ready:
            return worker.broken or "being made anew"
        if worker.busy and self._now() - worker.since_s >= GIVE_UP_S:
            return f"hangs: no answer for {GIVE_UP_S:.0f} s"
        return worker.ailment

    def stop(self) -> None:
        """Let the thread end after the window in hand."""
        self._worker.stop()

    def join(self, timeout_s: float) -> bool:
        """Whether the thread ended within `timeout_s`."""
        return self._worker.join(timeout_s)

    def _unfit(self) -> bool:
        worker, now_s = self._worker, self._now()
        if worker.busy:
            return now_s - worker.since_s >= GIVE_UP_S
        if not worker.ready:
            return worker.broken is not None or now_s - worker.since_s >= BUILD_S
        return worker.crashes >= CRASHES or worker.ailment is not None

    def _collect(self, job: _Job) -> Vote:
        due_s = job.asked_s + self._deadline_s
        job.done.wait(max(0.0, due_s - self._now()))
        if not job.done.is_set() or job.done_s > due_s:
            late = f"no answer within {self._deadline_s * 1000:.0f} ms"
            return Vote.abstain(self.name, VoteReason.LATE, late)
        if job.vote is None:
            return Vote.abstain(self.name, VoteReason.FAILED, "its thread died")
        if not job.vote.reason.is_fault:
            self._pause_s = BACKOFF_S[0]
        return job.vote

    def _abstain(self, reason: VoteReason, detail: str) -> Callable[[], Vote]:
        vote = Vote.abstain(self.name, reason, detail)
        return lambda: vote


def judged(voter: Voter, features: Features) -> Vote:
    """Its vote; whatever goes wrong is an abstention with its reason. Never raises."""
    try:
        return _checked(voter.vote(features), voter.name)
    except InvalidOutput as exc:
        return Vote.abstain(voter.name, VoteReason.INVALID, str(exc))
    except Exception as exc:  # noqa: BLE001 - a crash of any kind is an abstention
        return Vote.abstain(voter.name, VoteReason.FAILED, _told(exc))


def _checked(vote: Vote, name: str) -> Vote:
    """The vote if it is one that may count. Raises InvalidOutput."""
    if vote.emergency is None:
        return vote
    p = vote.probability
    if p is None or not 0.0 <= p <= 1.0 or vote.voter != name:
        message = f"a vote of {vote.voter} with probability {p}"
        raise InvalidOutput(message)
    return vote


def _told(exc: BaseException) -> str:
    # Our own errors are written for people; others may quote what they were given.
    return str(exc) if isinstance(exc, HomeGuardError) else type(exc).__name__
