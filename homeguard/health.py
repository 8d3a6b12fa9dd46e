"""Whether the home is heard and judged: pure state from what sources, sound and voters say.

Symptoms are what is wrong now, in monotonic time; a fault is one that lasted, and is told once.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from homeguard.domain import AudioChunk, Change, Fault, FaultAlert, FaultCause, Vote, VoteReason

FAULT_LASTS_S = 20.0  # a symptom of this age is a fault: told well within 100 s
RECOVERED_S = 30.0  # without the symptom for so long: the fault is over
STARTS_WITHIN_S = 25.0  # less than RECOVERED_S: a restart must not look like a recovery
FROZEN_S = 15.0
CLIPPED_SHARE = 0.1
CLIPPED_S = 60.0
_TALLY_S = 5.0
OFFSET = 0.1  # of full scale
OFFSET_S = 20.0
GARBLED_S = 30.0
BEHIND_S = 60.0
BAD_VOTES = 5
TOLD_AGAIN_S = 3600.0


class AudioState(StrEnum):
    """What a room's microphone is worth at the moment."""

    STARTING = "starting"
    ONLINE = "online"
    SILENT = "silent"  # sound comes, but nothing is in it: a dead or muted microphone
    OFFLINE = "offline"
    OVER = "over"  # a recording has come to its end


@dataclass(frozen=True, slots=True)
class Symptom:
    """Something that is wrong now, since a monotonic time."""

    cause: FaultCause
    subject: str  # the room or the voter; empty: the whole home
    since_s: float
    detail: str


class RoomHealth:
    """One room's hearing. Times are monotonic seconds; `began_s` is when listening began."""

    def __init__(self, room: str, silent_after_s: float, began_s: float) -> None:
        self._room = room
        self._silent_after_s = silent_after_s
        self._began_s = began_s
        self._heard_s: float | None = None  # when the last chunk came
        self._lost: tuple[float, str] | None = None
        self._zero_s = 0.0
        self._clipping = _Lasting(CLIPPED_SHARE)
        self._offset = _Lasting(0.5)
        self._garbled = _Lasting(0.0)
        self._shed: tuple[float, float] | None = None  # first and last loss by slowness
        self._over = False
        self.level_dbfs = -120.0

    def heard(self, chunk: AudioChunk, now_s: float) -> None:
        """Take the room's next chunk."""
        self._heard_s = now_s
        duration_s = chunk.end_s - chunk.start_s
        samples = len(chunk.samples)
        self._clipping.add(chunk.clipped, samples, duration_s)
        self._garbled.add(chunk.nonfinite, samples, duration_s)
        sounds = bool(chunk.samples.any())
        off = sounds and abs(chunk.offset) >= OFFSET  # a constant alone is silence
        self._offset.add(samples if off else 0, samples, duration_s)
        if sounds:
            self._zero_s = 0.0
            rms = float(np.sqrt(np.mean(np.square(chunk.samples))))
            self.level_dbfs = max(-120.0, 20.0 * float(np.log10(max(rms, 1e-6))))
        else:
            self._zero_s += duration_s
            self.level_dbfs = -120.0

    def back(self) -> None:
        """The source gives sound (again)."""
        self._lost, self._zero_s = None, 0.0

    def lost(self, detail: str, now_s: float) -> None:
        """The source is gone; `detail` says why."""
        self._lost = (self._lost[0] if self._lost else now_s, detail)

    def shed(self, now_s: float) -> None:
        """Sound was lost because judging is behind."""
        going_on = self._shed is not None and now_s - self._shed[1] < BEHIND_S
        self._shed = (self._shed[0] if self._shed and going_on else now_s, now_s)

    def finished(self) -> None:
        """The recording is over: as it should be."""
        self._over = True

    def state(self, now_s: float) -> AudioState:
        """What the microphone is worth now."""
        if self._over:
            return AudioState.OVER
        deaf = self._deaf(now_s)
        if deaf is not None:
            return AudioState.SILENT if deaf.cause is FaultCause.SILENT else AudioState.OFFLINE
        return AudioState.STARTING if self._heard_s is None else AudioState.ONLINE

    def symptoms(self, now_s: float) -> tuple[Symptom, ...]:
        """What is wrong with the room now."""
        if self._over:
            return ()
        found = []
        if (deaf := self._deaf(now_s)) is not None:
            found.append(deaf)
        if self._clipping.lasted_s >= CLIPPED_S:
            since_s = now_s - self._clipping.lasted_s
            detail = "its loudest parts are cut off: turn its level down"
            found.append(Symptom(FaultCause.CLIPPED, self._room, since_s, detail))
        if self._offset.lasted_s >= OFFSET_S:
            since_s = now_s - self._offset.lasted_s
            detail = (
                "its sound lies off the middle, so that loud parts may be cut off: is the sound "
                "card or its cable broken?"
            )
            found.append(Symptom(FaultCause.OFFSET, self._room, since_s, detail))
        if self._garbled.lasted_s >= GARBLED_S:
            since_s = now_s - self._garbled.lasted_s
            detail = (
                f"{self._garbled.count} samples were no number: is the driver or the camera broken?"
            )
            found.append(Symptom(FaultCause.GARBLED, self._room, since_s, detail))
        if self._shed is not None and now_s - self._shed[1] < BEHIND_S:
            detail = "judging is behind: the machine is too slow or too busy"
            found.append(Symptom(FaultCause.BEHIND, self._room, self._shed[0], detail))
        return tuple(found)

    def _deaf(self, now_s: float) -> Symptom | None:
        last_s = self._heard_s
        if self._lost is not None:
            cause = FaultCause.NEVER_STARTED if last_s is None else FaultCause.OFFLINE
            return Symptom(cause, self._room, *self._lost)
        if last_s is None:
            if now_s - self._began_s < STARTS_WITHIN_S:
                return None
            detail = "no sound has come since the start"
            return Symptom(FaultCause.NEVER_STARTED, self._room, self._began_s, detail)
        if now_s - last_s >= FROZEN_S:
            return Symptom(FaultCause.FROZEN, self._room, last_s, "no sound comes any more")
        if self._zero_s >= self._silent_after_s:
            detail = "only zeros come from the microphone: is it muted?"
            return Symptom(FaultCause.SILENT, self._room, now_s - self._zero_s, detail)
        return None


@dataclass(slots=True)
class _Lasting:
    """For how long more than a share of the samples have been bad, and how many were in all."""

    share: float
    lasted_s: float = 0.0
    count: int = 0
    _bad: int = 0
    _samples: int = 0
    _tally_s: float = 0.0

    def add(self, bad: int, samples: int, duration_s: float) -> None:
        self.count += bad
        self._bad += bad
        self._samples += samples
        self._tally_s += duration_s
        if self._tally_s >= _TALLY_S:
            over = self._bad > self.share * self._samples
            self.lasted_s = self.lasted_s + self._tally_s if over else 0.0
            self._bad, self._samples, self._tally_s = 0, 0, 0.0


class VoterHealth:
    """Which voters are down: BAD_VOTES in a row that are faults, or not there to be asked.

    `voters` are those that are switched on; when all are down, nothing is judged.
    """

    def __init__(self, voters: Iterable[str]) -> None:
        self._voters = frozenset(voters)
        self._bad: dict[str, tuple[int, float, str]] = {}  # votes, since when, the last detail
        self._away: dict[str, tuple[float, str]] = {}  # since when, why

    def heard(self, votes: Iterable[Vote], now_s: float) -> None:
        """Take the votes on one window. A skipped one says nothing."""
        for vote in votes:
            if vote.reason.is_fault:
                count, since_s, _ = self._bad.get(vote.voter, (0, now_s, ""))
                self._bad[vote.voter] = (count + 1, since_s, vote.detail or vote.reason.value)
            elif vote.reason is not VoteReason.SKIPPED:
                self._bad.pop(vote.voter, None)

    def seen(self, troubles: Mapping[str, str], now_s: float) -> None:
        """Take what is wrong with the voters now, whether or not a window asks for them."""
        for voter in self._voters - set(troubles):
            self._away.pop(voter, None)
        for voter, why in troubles.items():
            since_s, _ = self._away.get(voter, (now_s, ""))
            self._away[voter] = (since_s, why)

    def symptoms(self) -> tuple[Symptom, ...]:
        """The voters that are down now."""
        down = {
            voter: (since_s, detail)
            for voter, (count, since_s, detail) in self._bad.items()
            if count >= BAD_VOTES
        } | self._away
        found = [Symptom(FaultCause.VOTER, voter, *down[voter]) for voter in sorted(down)]
        left = len(self._voters - set(down))
        if found and left < 2:  # noqa: PLR2004 a decision takes two
            since_s = max(symptom.since_s for symptom in found)
            if left == 0:
                found.append(Symptom(FaultCause.UNJUDGED, "", since_s, "no voter is left"))
            else:
                detail = "only one voter is left: what it hears is raised as unconfirmed"
                found.append(Symptom(FaultCause.ONE_VOTER, "", since_s, detail))
        return tuple(found)


class FaultWatch:
    """Makes faults of symptoms that last, and ends them when they stay away.

    One fault per room for whatever keeps us from hearing it, one for each other cause and subject:
    a dead microphone that is unplugged next has not recovered. `open_faults` are those that a
    restart left.
    """

    def __init__(self, open_faults: Iterable[Fault] = ()) -> None:
        self._open = {_aspect(f.cause, f.subject): f for f in open_faults}
        self._well_since_s: dict[tuple[str, str], float] = {}
        self._told_s: dict[tuple[str, str], float] = {}  # those that are told again every hour

    def update(
        self, symptoms: Iterable[Symptom], now_s: float, at: datetime
    ) -> tuple[FaultAlert, ...]:
        """What is to be told, from all symptoms at the monotonic time `now_s`, which is `at`."""
        present = {_aspect(s.cause, s.subject): s for s in symptoms}
        alerts = []
        for key, symptom in present.items():
            self._well_since_s.pop(key, None)
            if key not in self._open and now_s - symptom.since_s >= FAULT_LASTS_S:
                alerts.append(self._begin(key, symptom, now_s, at))
            elif key in self._open and symptom.cause.repeats:
                alerts += self._again(key, symptom, now_s, at)
        for key in [key for key in self._open if key not in present]:
            well_s = now_s - self._well_since_s.setdefault(key, now_s)
            if well_s >= RECOVERED_S:
                alerts.append(self._end(key, at, at - timedelta(seconds=well_s)))
        return tuple(alerts)

    def _begin(
        self, key: tuple[str, str], symptom: Symptom, now_s: float, at: datetime
    ) -> FaultAlert:
        fault = Fault(
            id=uuid.uuid4().hex[:16],
            cause=symptom.cause,
            subject=symptom.subject,
            raised_at=at - timedelta(seconds=now_s - symptom.since_s),
            updated_at=at,
            detail=symptom.detail,
        )
        self._open[key] = fault
        return FaultAlert(Change.NEW, None, fault)

    def _again(
        self, key: tuple[str, str], symptom: Symptom, now_s: float, at: datetime
    ) -> list[FaultAlert]:
        """Tell of it once more, an hour after it was told last."""
        if now_s - self._told_s.setdefault(key, now_s) < TOLD_AGAIN_S:
            return []
        self._told_s[key] = now_s
        before = self._open[key]
        self._open[key] = replace(before, updated_at=at, detail=symptom.detail)
        return [FaultAlert(Change.UPDATE, before, self._open[key])]

    def _end(self, key: tuple[str, str], at: datetime, ended_at: datetime) -> FaultAlert:
        fault = self._open.pop(key)
        del self._well_since_s[key]
        self._told_s.pop(key, None)
        ended_at = max(ended_at, fault.raised_at)
        return FaultAlert(Change.END, fault, replace(fault, updated_at=at, ended_at=ended_at))


def _aspect(cause: FaultCause, subject: str) -> tuple[str, str]:
    return ("hearing" if cause.is_deaf else cause.value, subject)
