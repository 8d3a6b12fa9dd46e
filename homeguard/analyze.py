"""Recordings through the daemon's own pipeline, faster than real time, a record at a time.

Memory does not grow with the length of a recording: sound is streamed, records are handed out as
they come.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from homeguard.alerting.incident import IncidentTracker
from homeguard.capture.media import MediaFile
from homeguard.config import Config
from homeguard.domain import AudioChunk, Change, Decision, Incident, SourceError, Vote
from homeguard.pipeline import Heard, Room, stream_clock
from homeguard.voting.features import Extractor
from homeguard.voting.panel import Panel

ROOM = "recording"
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # stream time 0; only differences to it are used
AUDIO_SUFFIXES = frozenset(
    f".{name}"
    for names in (
        "wav flac ogg oga opus mp3 m4a aac wma aif aiff au amr 3gp caf mka w64",
        "mp4 mkv webm mov avi ts",
    )
    for name in names.split()
)


PATIENT_MS = 60_000  # a recording does not run away: nobody abstains because the machine is busy


class Hearing(Protocol):
    """What listens to one recording from beginning to end: a pipeline's Room."""

    def hear(self, chunk: AudioChunk) -> Iterator[Heard]:
        """Take the next sound, give what came of it."""
        ...

    def finish(self) -> Iterator[Heard]:
        """The recording has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """An incident of a recording; times in seconds from its start."""

    incident: Incident
    onset_s: float
    detected_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A recording when it has been heard."""

    duration_s: float
    audio_seconds_per_second: float
    incidents: int
    damage: str = ""  # what was wrong with the recording, if anything
    emergency_windows: int = 0  # judged an emergency, whether an incident came of it or not


Record = Decision | Found | Summary


def patient(config: Config) -> Config:
    """The configuration with deadlines that a busy machine keeps."""
    voters = config.voters
    waiting = {
        name: voter.model_copy(update={"deadline_ms": max(voter.deadline_ms, PATIENT_MS)})
        for name, voter in (
            ("encoder", voters.encoder),
            ("transcript", voters.transcript),
            ("cnn", voters.cnn),
        )
    }
    return config.model_copy(update={"voters": voters.model_copy(update=waiting)})


def room_opener(config: Config, extractor: Extractor, panel: Panel) -> Callable[[], Hearing]:
    """Gives a function that makes a fresh room for each recording; the models are shared."""

    def open_room() -> Hearing:
        tracker = IncidentTracker(config.decision, config.alerts)
        return Room(config, extractor, panel, tracker, stream_clock(EPOCH))

    return open_room


def analyze(
    path: Path,
    hearing: Hearing,
    watch: Callable[[AudioChunk], None] | None = None,
) -> Iterator[Record]:
    """Hear one recording: its decisions and incidents as they come, last its summary.

    `watch` sees every chunk first. Raises SourceError for a recording that cannot be read.
    """
    started = time.perf_counter()
    recording = MediaFile(ROOM, path)
    diary = _Diary()
    for chunk in recording.chunks():
        if watch is not None:
            watch(chunk)
        yield from diary.records(hearing.hear(chunk))
    yield from diary.records(hearing.finish())
    duration_s = recording.damage.heard_s
    yield from diary.close(duration_s)
    elapsed_s = max(time.perf_counter() - started, 1e-9)
    yield Summary(
        duration_s,
        duration_s / elapsed_s,
        diary.incidents,
        str(recording.damage),
        diary.emergency_windows,
    )


class _Diary:
    """Turns what was heard into records, each window and each incident once."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[Incident, float]] = {}  # id -> as last told, detected_s
        self._decided_s = -math.inf
        self.incidents = 0
        self.emergency_windows = 0

    def records(self, heard: Iterable[Heard]) -> Iterator[Record]:
        for event in heard:
            # The end of the sound may end an incident without deciding anything anew.
            if event.decision.start_s > self._decided_s:
                self._decided_s = event.decision.start_s
                self.emergency_windows += event.decision.emergency
                yield event.decision
            for alert in event.alerts:
                incident = alert.after
                detected_s = self._running.get(incident.id, (None, event.decision.end_s))[1]
                self._running[incident.id] = (incident, detected_s)
                if alert.change is Change.END:
                    yield self._found(incident.id, _stream_s(incident.ended_at))

    def close(self, duration_s: float) -> Iterator[Found]:
        for identity in list(self._running):
            yield self._found(identity, duration_s)

    def _found(self, identity: str, end_s: float) -> Found:
        incident, detected_s = self._running.pop(identity)
        self.incidents += 1
        onset_s = max(0.0, _stream_s(incident.onset_at))
        return Found(incident, onset_s, detected_s, max(end_s, detected_s))


def _stream_s(at: datetime | None) -> float:
    return (at - EPOCH).total_seconds() if at is not None else 0.0


@contextmanager
def standard_input() -> Iterator[Path]:
    """A path under which what comes on stdin can be read like a file; it stays in RAM."""
    descriptor = os.memfd_create("homeguard-stdin")
    try:
        with open(descriptor, "wb", closefd=False) as memory:
            while block := sys.stdin.buffer.read(1 << 20):
                memory.write(block)
        yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")  # for the decoder's process too
    finally:
        os.close(descriptor)


def expand(argument: Path) -> list[Path]:
    """A file as it is; a directory's recordings, sorted. Raises SourceError where it has none."""
    if not argument.is_dir():
        return [argument]
    found = sorted(
        path
        for path in argument.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(argument).parts)
    )
    if not found:
        message = f"{argument}: the directory holds no recordings"
        raise SourceError(message, retryable=False)
    return found


def as_json(record: Record, file: str) -> str:
    """One line for scripts; keys and their order are a contract."""
    match record:
        case Decision():
            value = _window(record, file)
        case Found():
            value = _incident(record, file)
        case Summary():
            value = {
                "kind": "summary",
                "file": file,
                "duration_s": _seconds(record.duration_s),
                "audio_seconds_per_second": round(record.audio_seconds_per_second, 1),
                "incidents": record.incidents,
            }
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _window(decision: Decision, file: str) -> dict[str, Any]:
    return {
        "kind": "window",
        "file": file,
        "start_s": _seconds(decision.start_s),
        "end_s": _seconds(decision.end_s),
        "active": decision.active,
        "emergency": decision.emergency,
        "category": decision.category,
        "probability": _probability(decision.probability),
        "reason": decision.reason,
        "votes": [_vote(vote) for vote in decision.votes],
    }


def _vote(vote: Vote) -> dict[str, Any]:
    value = {
        "voter": vote.voter,
        "emergency": vote.emergency,
        "probability": _probability(vote.probability),
        "category": vote.category,
    }
    if vote.voter == "transcript":
        value["transcript"] = vote.transcript
    return value


def _incident(found: Found, file: str) -> dict[str, Any]:
    incident = found.incident
    return {
        "kind": "incident",
        "file": file,
        "id": incident.id,
        "category": incident.category,
        "category_ko": incident.category.name_in("ko"),
        "onset_s": _seconds(found.onset_s),
        "detected_s": _seconds(found.detected_s),
        "end_s": _seconds(found.end_s),
        "confidence": _probability(incident.confidence),
        "transcript": incident.transcript,
    }


def _seconds(value: float) -> float:
    return round(float(value), 3)


def _probability(value: float | None) -> float | None:
    """Six digits, so that curves drawn from the output keep their order."""
    return None if value is None else round(float(value), 6)
