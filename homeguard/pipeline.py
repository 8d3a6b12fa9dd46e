"""The way of the sound: chunks of a room come in at the top, alerts leave at the bottom.

Synchronous and without clock, network or disk: `analyze` runs it over recordings, the daemon over
microphones, tests over arrays. Cost grows linearly with the rooms in which the gate is open.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from homeguard.alerting.clip import ClipWriter
from homeguard.alerting.incident import IncidentTracker
from homeguard.capture.gate import Gate
from homeguard.capture.ring import Ring
from homeguard.capture.window import Windower
from homeguard.config import Config
from homeguard.domain import Alert, AudioChunk, Change, Decision, Float32, Window
from homeguard.voting.features import Extractor
from homeguard.voting.panel import Panel
from homeguard.voting.smoothing import Calls, Phase, Smoother, Step
from homeguard.voting.vote import decide

_log = logging.getLogger(__name__)

At = Callable[[float], datetime]  # stream time of a room -> UTC


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Sound of an incident to be written, or written again longer: mono float32 at 16 kHz."""

    incident_id: str
    samples: Float32
    start_s: float  # stream time of the first sample


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What one window came to."""

    decision: Decision
    phase: Phase
    alerts: tuple[Alert, ...] = ()
    recording: Recording | None = None


class Room:
    """One room's sound to alerts.

    Rooms share the extractor, the panel and the incident tracker; the rest is the room's own.
    Not thread-safe: one thread feeds all rooms of a home.
    """

    def __init__(
        self,
        config: Config,
        extractor: Extractor,
        panel: Panel,
        tracker: IncidentTracker,
        at: At,
    ) -> None:
        self._config = config
        self._extractor = extractor
        self._panel = panel
        self._tracker = tracker
        self._at = at
        self._gate = Gate(config.gate)
        self._windower = Windower(config.window, config.gate.speech_gap_s)
        self._calls = Calls(config.decision.distress_within_s)
        self._smoother = Smoother(config.decision)
        self._recorder = _Recorder(config)
        self.windows_shed = 0

    def hear(self, chunk: AudioChunk, *, shed: bool = False) -> Iterator[Heard]:
        """Take the room's next chunk; give what each window that it completes came to.

        `shed`: judging is behind, so active windows are left out, and counted in `windows_shed`;
        gate, noise floor and recording go on.
        """
        self._recorder.push(chunk)
        for window in self._windower.push(self._gate.mark(chunk)):
            if shed and window.active:
                self.windows_shed += 1
            else:
                yield self._judge(window)

    def finish(self) -> Iterator[Heard]:
        """The sound has ended: judge what is left of it and end a running episode."""
        last: Decision | None = None
        for window in self._windower.flush():
            heard = self._judge(window)
            last = heard.decision
            yield heard
        ended = self._smoother.end()
        if ended is not None:
            yield self._alert(Step(Phase.OFFSET, last or ended))

    def _judge(self, window: Window) -> Heard:
        votes = self._panel.poll(self._extractor.extract(window)) if window.active else ()
        calls = self._calls.update(window.end_s, votes)
        decision = decide(window, votes, self._config.decision, calls)
        return self._alert(self._smoother.update(decision))

    def _alert(self, step: Step) -> Heard:
        decision = step.decision
        at = self._at(decision.end_s)
        alert: Alert | None = None
        if step.phase is Phase.ONSET:
            alert = self._tracker.onset(step.evidence, at)
            if alert.change is Change.NEW:
                self._recorder.begin(alert.after.id, step.evidence[0].start_s)
        elif step.phase is Phase.ONGOING:
            alert = self._tracker.ongoing(step.evidence, decision.room, at)
        elif step.phase is Phase.OFFSET:
            alert = self._tracker.offset(decision.room, at)
        if step.phase in {Phase.ONSET, Phase.ONGOING}:
            # A steady alarm sinks into the noise floor: hear it to its end all the same.
            self._gate.listen_until(decision.end_s + self._config.window.hop_s)
        recording = self._recorder.due(step.phase)
        return Heard(decision, step.phase, (alert,) if alert else (), recording)


class Home:
    """All rooms of a home, and where their alerts go: stored first, then the clip.

    `submit` puts an alert on disk and into delivery. What the disk refuses is kept and tried again
    with the next sound; it is never dropped.
    """

    def __init__(
        self,
        rooms: Mapping[str, Room],
        tracker: IncidentTracker,
        submit: Callable[[Alert], Alert],
        clips: ClipWriter,
    ) -> None:
        self._rooms = dict(rooms)
        self._tracker = tracker
        self._submit = submit
        self._clips = clips
        self._refused: deque[Alert] = deque()

    def hear(self, chunk: AudioChunk, *, shed: bool = False) -> Iterator[Heard]:
        """Take the next chunk of any room; alerts are on disk when their window is given.

        `shed`: leave out windows, as `Room.hear` does.
        """
        for heard in self._rooms[chunk.room].hear(chunk, shed=shed):
            self._deliver(heard)
            yield heard

    def windows_shed(self, room: str) -> int:
        """How many windows of a room were left out because judging was behind."""
        return self._rooms[room].windows_shed

    def finish(self, room: str) -> Iterator[Heard]:
        """A room's sound has ended for good."""
        for heard in self._rooms[room].finish():
            self._deliver(heard)
            yield heard

    def _deliver(self, heard: Heard) -> None:
        ends = {a.after.id: a for a in heard.alerts if a.change is Change.END}
        for alert in heard.alerts:
            if alert.change is not Change.END:
                self._store(alert)
        if (recording := heard.recording) is not None:
            self._keep(recording, ends)
        for alert in ends.values():
            self._store(alert)
        self._retry()

    def _keep(self, recording: Recording, ends: dict[str, Alert]) -> None:
        """Write the clip; tell of it with the end that is due, or by an update of its own."""
        identity = recording.incident_id
        clip = self._clips.write(identity, recording.samples, self._tracker.running_ids())
        if clip is None:
            return
        if (end := ends.get(identity)) is not None:
            ends[identity] = replace(end, after=replace(end.after, clip=clip))
        elif incident := self._tracker.running(identity):
            update = self._tracker.revise(replace(incident, clip=clip))
            if update is not None:
                self._store(update)

    def _store(self, alert: Alert) -> None:
        try:
            self._submit(alert)
        except (sqlite3.Error, OSError) as exc:
            _log.critical("an alert could not be stored and waits in memory: %s", exc)
            self._refused.append(alert)

    def _retry(self) -> None:
        for _ in range(len(self._refused)):
            self._store(self._refused.popleft())


class _Recorder:
    """Keeps the last sound in RAM and says when an incident's recording is to be written.

    At onset (pre-roll and what was heard so far), when the clip is full, and at the end.
    """

    def __init__(self, config: Config) -> None:
        self._clips = config.clips
        lookback_s = config.window.length_s + config.window.hop_s * config.decision.onset_of
        self._ring = Ring(max(config.clips.max_s, lookback_s + config.clips.pre_roll_s) + 2.0)
        self._now_s = 0.0
        self._incident_id: str | None = None
        self._start_s = 0.0
        self._first = False

    def push(self, chunk: AudioChunk) -> None:
        self._ring.push(chunk)
        self._now_s = chunk.end_s

    def begin(self, incident_id: str, onset_s: float) -> None:
        self._incident_id, self._first = incident_id, True
        self._start_s = max(0.0, onset_s - self._clips.pre_roll_s)

    def due(self, phase: Phase) -> Recording | None:
        if self._incident_id is None or not self._clips.enabled:
            return None
        end_s = min(self._now_s, self._start_s + self._clips.max_s)
        full = self._now_s >= self._start_s + self._clips.max_s
        last = full or phase is Phase.OFFSET
        if not (self._first or last):
            return None
        sound = self._ring.read(self._start_s, end_s)
        recording = Recording(self._incident_id, sound, self._start_s)
        self._first = False
        if last:
            self._incident_id = None
        return recording


def stream_clock(epoch: datetime) -> At:
    """UTC of a stream whose time 0 was at `epoch`."""
    return lambda end_s: epoch + timedelta(seconds=end_s)
