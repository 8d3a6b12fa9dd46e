"""What the gate misses, and how much of an ordinary day it is open, measured on a manifest.

    python -m homeguard.training.gate_report MANIFEST [--out REPORT.json]

Emergencies: every emergency clip after 40 s of room tone (white noise, -60 dBFS RMS), as recorded
and with its peak at -40 dBFS; missed when no chunk of it opens the gate. Ordinary hours: normal
clips drawn at random, peaks spread evenly over -40 to -10 dBFS, pauses drawn from an exponential
distribution, over the same room tone. Steady noise: five minutes made of the middle two seconds of
a clip of a steady event, repeated with cross-fades, at -35 dBFS RMS; share of the last four
minutes that the gate is open, with and without listening again.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from homeguard.capture.gate import Gate
from homeguard.capture.speech import SpeechDetector
from homeguard.config import GateConfig
from homeguard.domain import BLOCK_SAMPLES, AudioChunk, Float32, Mark
from homeguard.mel import SAMPLE_RATE
from homeguard.training.corpus import AudioCache, Clip, open_audio, read_manifest

SEED = 20_261
ROOM_TONE_DBFS = -60.0
LEAD_S = 40.0  # of room tone, so that the gate knows its floor
QUIET_PEAK_DBFS = -40.0
PEAKS_DBFS = (-40.0, -10.0)
STEADY_EVENTS = ("rain", "air_conditioner", "dishwasher", "fridge", "vacuum", "fan", "washing")
STEADY_DBFS = -35.0
STEADY_S = 300.0
STEADY_CLIPS = 3  # of one event, each of another recording


@dataclass(frozen=True, slots=True)
class Missed:
    """How many emergency clips the gate did not open for."""

    clips: int
    missed: int
    heard_share: float  # of the clips' time
    names: tuple[str, ...]

    @property
    def share(self) -> float:
        """Missed clips over all."""
        return self.missed / max(1, self.clips)


def stream(samples: Float32, start_s: float = 0.0) -> Iterator[AudioChunk]:
    """A recording as a source would give it."""
    for first in range(0, len(samples), BLOCK_SAMPLES):
        block = samples[first : first + BLOCK_SAMPLES]
        yield AudioChunk("report", start_s + first / SAMPLE_RATE, block)


def room_tone(duration_s: float, rng: np.random.Generator) -> Float32:
    """White noise at ROOM_TONE_DBFS."""
    noise = rng.standard_normal(round(duration_s * SAMPLE_RATE), dtype=np.float32)
    return noise * np.float32(10.0 ** (ROOM_TONE_DBFS / 20.0))


def at_peak(samples: Float32, dbfs: float) -> Float32:
    """The sound scaled to this peak."""
    peak = max(float(np.abs(samples).max()), 1e-9)
    return samples * np.float32(10.0 ** (dbfs / 20.0) / peak)


def missed_emergencies(
    clips: Sequence[Clip], audio: AudioCache, config: GateConfig, peak_dbfs: float | None
) -> Missed:
    """Play each clip into a quiet room; `peak_dbfs` None leaves it as loud as it is."""
    rng = np.random.default_rng(SEED)
    rested = _Rested(config)
    missed, heard = [], []
    for clip in _tracked(clips, "emergencies"):
        sound = audio.samples(clip)
        if peak_dbfs is not None:
            sound = at_peak(sound, peak_dbfs)
        sound = sound + room_tone(len(sound) / SAMPLE_RATE, rng)[: len(sound)]
        marks = [mark.active for mark in rested.marks(sound)]
        heard.append(np.mean(marks))
        if not any(marks):
            missed.append(clip.path.name)
    return Missed(len(clips), len(missed), float(np.mean(heard)), tuple(missed))


def ordinary_hours(
    clips: Sequence[Clip], audio: AudioCache, config: GateConfig, hours: float, pause_s: float
) -> dict[str, float]:
    """Share of the time the gate is open, and finds speech, in made-up ordinary hours."""
    rng = np.random.default_rng(SEED)
    gate, now_s = Gate(config), 0.0
    open_chunks = speech_chunks = chunks = 0
    sounding_s = 0.0
    while now_s < hours * 3600.0:
        clip = clips[int(rng.integers(len(clips)))]
        sound = at_peak(audio.samples(clip), rng.uniform(*PEAKS_DBFS))
        room = room_tone(len(sound) / SAMPLE_RATE + rng.exponential(pause_s), rng)
        room[: len(sound)] += sound
        room = room[: len(room) - len(room) % BLOCK_SAMPLES]
        sounding_s += len(sound) / SAMPLE_RATE
        for chunk in stream(room, now_s):
            mark = gate.mark(chunk)
            chunks += 1
            open_chunks += mark.active
            speech_chunks += mark.speech
        now_s += len(room) / SAMPLE_RATE
    return {
        "hours": now_s / 3600.0,
        "sounding": sounding_s / now_s,
        "open": open_chunks / chunks,
        "speech": speech_chunks / chunks,
    }


def steady_noise(clips: Iterable[Clip], audio: AudioCache, config: GateConfig) -> dict[str, float]:
    """Share of the last four of five minutes that the gate is open, by event."""
    shares: dict[str, list[float]] = {}
    rested = _Rested(config)
    for clip in _tracked(_one_a_group(clips), "steady noise"):
        noise = _steady(audio.samples(clip))
        if len(noise) == 0:
            continue
        room = noise + room_tone(STEADY_S, np.random.default_rng(SEED))
        late = [m.active for m in rested.marks(room) if m.chunk.start_s > LEAD_S + 60.0]
        shares.setdefault(clip.event, []).append(float(np.mean(late)))
    return {event: float(np.mean(found)) for event, found in sorted(shares.items())}


def _one_a_group(clips: Iterable[Clip]) -> list[Clip]:
    """At most STEADY_CLIPS of each event, of different recordings."""
    chosen: dict[str, dict[str, Clip]] = {}
    for clip in clips:
        groups = chosen.setdefault(clip.event, {})
        if len(groups) < STEADY_CLIPS:
            groups.setdefault(clip.group, clip)
    return [clip for groups in chosen.values() for clip in groups.values()]


def _tracked(clips: Sequence[Clip], description: str) -> Iterable[Clip]:
    return track(clips, description, console=Console(stderr=True), transient=True)


class _Rested:
    """A gate that has heard LEAD_S of room tone, fresh for every sound."""

    def __init__(self, config: GateConfig) -> None:
        self._config = config
        self._lead = list(stream(room_tone(LEAD_S, np.random.default_rng(SEED))))
        self._gate = Gate(config, lambda _: False)
        for chunk in self._lead:
            self._gate.mark(chunk)

    def marks(self, sound: Float32) -> Iterator[Mark]:
        """What the gate makes of a sound that follows the room tone."""
        detector = SpeechDetector(self._config.vad_mode, self._config.speech_probability)
        for chunk in self._lead[-20:]:
            detector.hear(chunk)
        gate = copy.deepcopy(self._gate)
        gate.hears_speech = detector.hear
        return (gate.mark(chunk) for chunk in stream(sound, self._lead[-1].end_s))


def _steady(samples: Float32) -> Float32:
    """STEADY_S of the clip's middle two seconds, repeated with cross-fades of half a second."""
    fade, size = SAMPLE_RATE // 2, 2 * SAMPLE_RATE
    if len(samples) < size:
        return np.zeros(0, dtype=np.float32)
    middle = samples[(len(samples) - size) // 2 :][:size].copy()
    ramp = np.sqrt(np.linspace(0.0, 1.0, fade, dtype=np.float32))
    middle[:fade] *= ramp
    middle[-fade:] *= ramp[::-1]
    total = round(STEADY_S * SAMPLE_RATE)
    noise = np.zeros(total + size, dtype=np.float32)
    for first in range(0, total, size - fade):
        noise[first : first + size] += middle
    noise = noise[:total]
    rms = max(float(np.sqrt(np.mean(np.square(noise)))), 1e-9)
    return noise * np.float32(10.0 ** (STEADY_DBFS / 20.0) / rms)


def report(manifest: Path, cache_dir: Path, config: GateConfig, hours: float) -> dict[str, object]:
    """All measurements, as one JSON object."""
    clips = read_manifest(manifest)
    audio = open_audio(clips, cache_dir)
    emergencies = [c for c in clips if c.category.is_emergency]
    normal = [c for c in clips if not c.category.is_emergency]
    steady = [c for c in normal if c.event and c.event.startswith(STEADY_EVENTS)]
    found: dict[str, object] = {"config": config.model_dump()}
    for name, peak in (("as_recorded", None), ("peak_-40_dbfs", QUIET_PEAK_DBFS)):
        missed = missed_emergencies(emergencies, audio, config, peak)
        found[f"missed_{name}"] = asdict(missed) | {"share": missed.share}
        _tell(found, f"missed_{name}")
    for name, pause_s in (("busy_hours_pause_5s", 5.0), ("quiet_hours_pause_60s", 60.0)):
        found[name] = ordinary_hours(normal, audio, config, hours, pause_s)
        _tell(found, name)
    found["steady_noise_open"] = steady_noise(steady, audio, config)
    _tell(found, "steady_noise_open")
    deaf = config.model_copy(update={"relisten_s": 0.0})
    found["steady_noise_open_without_relisten"] = steady_noise(steady, audio, deaf)
    return found


def _tell(found: dict[str, object], name: str) -> None:
    print(f"{name}: {json.dumps(found[name])}", file=sys.stderr, flush=True)  # noqa: T201 - the output of a command


def main() -> None:
    """Print the report as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = json.dumps(
        report(options.manifest, options.cache, GateConfig(), options.hours), indent=2
    )
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    print(text)  # noqa: T201 - this is its output


if __name__ == "__main__":
    main()
