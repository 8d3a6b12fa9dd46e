"""Pictures of incidents, made behind the alerts' back: after them, on a thread that yields to all.

A picture needs some hundred runs of the CNN. It is made from the sound of the clip, in a thread of
the lowest priority, a moment after the alert went out; while one is drawn a few more may wait,
and what is past that is dropped and counted. Nothing here can delay or fail an alert.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homeguard.alerting.picture import Heat, Sketch, draw
from homeguard.config import Config
from homeguard.domain import Decision, Float32, HomeGuardError, Incident
from homeguard.labels import Category
from homeguard.mel import SAMPLE_RATE, log_mel
from homeguard.pipeline import Heard, Recording
from homeguard.runtime import ort_session, release_memory
from homeguard.voting.occlusion import occlusion

WAITING = 4  # pictures
AFTER_S = 3.0  # the alert's messages go first
_LOWEST_PRIORITY = 19  # nice
_IS_EMERGENCY = np.array([category.is_emergency for category in Category])

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Illustration:
    """A finished picture."""

    incident: Incident
    png: bytes


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    incident: Incident
    recording: Recording
    decisions: tuple[Decision, ...]


class Stopped(Exception):  # noqa: N818 - no error: the daemon ends
    """The picture in progress is given up."""


class Illustrator:
    """Sees what is heard, draws each incident's picture, hands it to `done` in its own thread.

    `cnn` gives the CNN's file for each picture, None where there is none: the picture then
    shows no heat. `start` once, `stop` once.
    """

    def __init__(
        self,
        config: Config,
        cnn: Callable[[], Path | None],
        done: Callable[[Illustration], None],
        after_s: float = AFTER_S,
    ) -> None:
        self._config = config
        self._cnn = cnn
        self._done = done
        self._after_s = after_s
        hop_s, clip_s = config.window.hop_s, config.clips.max_s + config.window.length_s
        self._kept = round(clip_s / hop_s) + 1
        self._decisions: defaultdict[str, deque[Decision]] = defaultdict(self._memory)
        self._incidents: dict[str, Incident] = {}
        self._jobs: queue.Queue[_Job] = queue.Queue(WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="illustrator", daemon=True)
        self.dropped = 0  # pictures never made because others were in the way
        self.drawn = 0

    def start(self) -> None:
        """Wait for incidents."""
        self._thread.start()

    def stop(self, deadline_s: float = 1.0) -> None:
        """Give up what is not drawn yet."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(deadline_s)

    def see(self, heard: Heard) -> None:
        """Take what came of a window; never waits. Called by the judging thread alone."""
        decision = heard.decision
        self._decisions[decision.room].append(decision)
        for alert in heard.alerts:
            self._incidents[alert.after.id] = alert.after
        recording = heard.recording
        incident = self._incidents.get(recording.incident_id) if recording else None
        if recording is not None and incident is not None:
            self._put(_Job(incident, recording, tuple(self._decisions[decision.room])))
        for alert in heard.alerts:
            if alert.after.ended_at is not None:
                self._incidents.pop(alert.after.id, None)

    def _put(self, job: _Job) -> None:
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            if not self.dropped:
                _log.warning("pictures come too slowly: that of an incident is left out")
            self.dropped += 1

    def _memory(self) -> deque[Decision]:
        return deque(maxlen=self._kept)

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # a system without priorities by thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        while not self._stop.is_set():
            try:
                job = self._jobs.get(timeout=0.5)
            except queue.Empty:
                continue
            if self._stop.wait(self._after_s):
                return
            try:
                self._done(Illustration(job.incident, draw(self._sketch(job))))
                self.drawn += 1
            except Stopped:
                return
            except Exception:  # noqa: BLE001 - whatever it is, the next incident has a picture
                _log.warning("no picture of incident %s", job.incident.id, exc_info=True)
            release_memory()

    def _sketch(self, job: _Job) -> Sketch:
        config, incident, recording = self._config, job.incident, job.recording
        end_s = recording.start_s + len(recording.samples) / SAMPLE_RATE
        seen = [d for d in job.decisions if d.end_s > recording.start_s and d.start_s < end_s]
        labels = {room.name: room.label for room in config.rooms}
        return Sketch(
            category=incident.category,
            place=labels.get(incident.room) or incident.room,
            when=incident.onset_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            samples=recording.samples,
            start_s=recording.start_s,
            decisions=seen,
            heat=self._heat(recording, seen),
            language=config.home.language,
        )

    def _heat(self, recording: Recording, decisions: list[Decision]) -> Heat | None:
        """The occlusion map of the most alarming window that the recording holds whole."""
        score = self._scorer()
        size = round(self._config.window.length_s * SAMPLE_RATE)
        whole = [d for d in decisions if d.start_s >= recording.start_s and d.active]
        if score is None or not whole:
            return None
        chosen = max(whole, key=_alarm)
        first = round((chosen.start_s - recording.start_s) * SAMPLE_RATE)
        samples = recording.samples[first : first + size]
        samples = np.pad(samples, (0, size - len(samples)))
        return Heat(chosen.start_s, occlusion(score, log_mel(samples)))

    def _scorer(self) -> Callable[[Float32], float] | None:
        """The CNN's log-odds of an emergency; it runs in this thread, at its priority.

        Loaded for each picture: between incidents it would hold tens of MiB for nothing.
        """
        try:
            path = self._cnn()
            session = None if path is None else ort_session(path)
        except HomeGuardError as exc:
            _log.warning("a picture without heat: %s", exc)
            return None
        if session is None:
            return None

        def score(mel: Float32) -> float:
            if self._stop.is_set():
                raise Stopped
            (logits,) = session.run(["logits"], {"log_mel": mel[None, None]})
            scores = logits[0].astype(np.float64)
            alarm = np.logaddexp.reduce(scores[_IS_EMERGENCY])
            return float(alarm - np.logaddexp.reduce(scores[~_IS_EMERGENCY]))

        return score


def _alarm(decision: Decision) -> tuple[bool, float]:
    """How alarming a window was, to the CNN first."""
    cnn = next((vote.probability for vote in decision.votes if vote.voter == "cnn"), None)
    return decision.emergency, cnn if cnn is not None else (decision.probability or 0.0)
