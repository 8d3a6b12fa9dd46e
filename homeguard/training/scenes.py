"""Household scenes with timed labels, made while they are heard: what a pipeline is measured on.

Ordinary sound is strung in sessions (quiet, company, television, chores) over room tone, at levels
as a microphone on a shelf would hear them. Emergencies come at known times, each over ordinary
sound of its own at a stated SNR: mean power of the event's active frames over the mean power of
the ordinary sound while the event lasts. Everything follows from the seed; nothing is written, and
memory stays flat however long a scene is. A scene holds sounds of one split only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from homeguard.domain import BLOCK_SAMPLES, AudioChunk, Span
from homeguard.labels import Category
from homeguard.mel import SAMPLE_RATE, Float32
from homeguard.training.augment import active_frames, coloured_noise
from homeguard.training.repertoire import SPLIT_SEEDS, Kind, Origin, Repertoire, Sound

_FRAME = 400  # samples: 25 ms, augment's active frames
_FADE = 320  # samples: 20 ms
_BLOCK = 50 * BLOCK_SAMPLES  # mixed at a time: 4.8 s
_TONE_S = 20.0
_LOUDEST = 0.98
_HOST_DRAWS = 8
_HOST_LACKS_DB = 12.0  # a host so much quieter during the event than it is elsewhere is no host


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """A sound at its time and gain in a scene; `length_s` cuts it."""

    start_s: float
    length_s: float
    sound: Sound
    gain: float

    @property
    def end_s(self) -> float:
        """Stream time of its end."""
        return self.start_s + self.length_s


@dataclass(frozen=True, slots=True)
class Event:
    """An emergency of a scene: from its first to its last active frame."""

    span: Span
    category: Category
    name: str
    origin: Origin
    group: str
    snr_db: float


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A stretch of household life; `chunks` makes it an AudioSource."""

    name: str
    duration_s: float
    placements: tuple[Placement, ...]  # in the order of their starts
    events: tuple[Event, ...]
    tone_dbfs: float
    seed: int

    def chunks(self) -> Iterator[AudioChunk]:
        """The scene's sound from its start, the same at every call."""
        total = round(self.duration_s * SAMPLE_RATE)
        tone = _room_tone(self.tone_dbfs, self.seed)
        waiting, sounding = list(reversed(self.placements)), list[tuple[Placement, Float32]]()
        for start in range(0, total, _BLOCK):
            size = min(_BLOCK, total - start)
            mixed = np.take(tone, np.arange(start, start + size), mode="wrap")
            while waiting and waiting[-1].start_s * SAMPLE_RATE < start + size:
                placement = waiting.pop()
                sounding.append((placement, _shaped(placement)))
            for placement, samples in sounding:
                _add(mixed, samples, round(placement.start_s * SAMPLE_RATE) - start)
            sounding = [s for s in sounding if s[0].end_s * SAMPLE_RATE > start + size]
            np.clip(mixed, -1.0, 1.0, out=mixed)
            mixed.flags.writeable = False
            for first in range(0, size, BLOCK_SAMPLES):
                at_s = (start + first) / SAMPLE_RATE
                yield AudioChunk(self.name, at_s, mixed[first : first + BLOCK_SAMPLES])

    def ordinary_at(self, span: Span) -> tuple[Sound, ...]:
        """The ordinary sounds that overlap a stretch, the longest overlap first."""
        shared: Counter[Sound] = Counter()
        for placement in self.placements:
            overlap = min(placement.end_s, span.end_s) - max(placement.start_s, span.start_s)
            if overlap > 0 and not placement.sound.category.is_emergency:
                shared[placement.sound] += round(overlap * SAMPLE_RATE)
        return tuple(sound for sound, _ in shared.most_common())


@dataclass(frozen=True, slots=True)
class _Session:
    """Household life for some minutes: what goes on all the time, what comes now and then."""

    share: float
    bed: tuple[Kind, ...]
    pause_s: float  # mean, between foreground sounds


_SESSIONS = (
    _Session(0.30, (), 20.0),  # quiet
    _Session(0.30, (), 3.0),  # company
    _Session(0.25, ("talk", "talk", "music"), 15.0),  # television, radio
    _Session(0.15, ("appliance",), 8.0),  # chores
)
_FOREGROUND: dict[Kind, float] = {
    "talk": 0.34,
    "indoor": 0.34,
    "appliance": 0.12,
    "outdoor": 0.14,
    "music": 0.06,
}
# Mean and spread of the level in dBFS over active frames.
_LEVELS_DBFS: dict[Kind, tuple[float, float]] = {
    "talk": (-32.0, 5.0),
    "music": (-36.0, 5.0),
    "appliance": (-36.0, 6.0),
    "indoor": (-36.0, 7.0),
    "outdoor": (-44.0, 6.0),
}
_BED_QUIETER_DB = 6.0
_LEVEL_RANGE_DBFS = (-58.0, -14.0)
_TONE_RANGE_DBFS = (-68.0, -52.0)


@dataclass(frozen=True, slots=True)
class EventPlan:
    """Which emergencies come, at which SNRs, how far apart.

    `gap_s` leaves an incident time to end before the next event: a window and the hangover.
    `spoken` and `made` bound the events of those origins at each SNR, evenly over categories.
    """

    snrs_db: tuple[float, ...] = (10.0, 5.0, 0.0)
    repeats: int = 1
    recorded: int | None = None  # at most so many at each SNR; None: all
    spoken: int = 40
    made: int = 13
    lead_s: float = 34.0  # ordinary sound before the first event: the noise floor settles
    gap_s: float = 18.0
    events_per_scene: int = 12


def ordinary_scene(repertoire: Repertoire, seed: int, duration_s: float = 3600.0) -> Scene:
    """Ordinary sound alone, `duration_s` of it."""
    rng = np.random.default_rng([SPLIT_SEEDS[repertoire.split], 0, seed])
    placements = _life(repertoire, 0.0, duration_s, rng)
    return _scene(f"{repertoire.split}-ordinary-{seed}", duration_s, placements, [], rng)


def event_scenes(
    repertoire: Repertoire, plan: EventPlan | None = None, seed: int = 0
) -> tuple[Scene, ...]:
    """Scenes that hold every chosen emergency once at each SNR and repeat, in random order."""
    chosen = plan or EventPlan()
    rng = np.random.default_rng([SPLIT_SEEDS[repertoire.split], 1, seed])
    limits: dict[Origin, int | None] = {
        "recorded": chosen.recorded,
        "spoken": chosen.spoken,
        "made": chosen.made,
    }
    cast = [
        (sound, snr_db)
        for origin, limit in limits.items()
        for sound in _spread([s for s in repertoire.emergencies if s.origin == origin], limit, rng)
        for snr_db in chosen.snrs_db
        for _ in range(chosen.repeats)
    ]
    order = [cast[int(i)] for i in rng.permutation(len(cast))]
    size = chosen.events_per_scene
    return tuple(
        _event_scene(repertoire, order[first : first + size], chosen, f"{number}", rng)
        for number, first in enumerate(range(0, len(order), size))
    )


def _event_scene(
    repertoire: Repertoire,
    cast: Sequence[tuple[Sound, float]],
    plan: EventPlan,
    number: str,
    rng: np.random.Generator,
) -> Scene:
    at_s = plan.lead_s
    placements = _life(repertoire, 0.0, plan.lead_s - 1.0, rng)
    events: list[Event] = []
    for sound, snr_db in cast:
        onset_s = at_s + rng.uniform(2.0, 5.0)
        event, placed = _stage(repertoire, sound, snr_db, onset_s, rng)
        placements += placed
        events.append(event)
        at_s = max(p.end_s for p in placed) + plan.gap_s
        quiet_s = placed[0].end_s + 1.0
        placements += _life(repertoire, quiet_s, at_s - 1.0, rng)
    return _scene(f"{repertoire.split}-events-{number}", at_s, placements, events, rng)


def _stage(
    repertoire: Repertoire, sound: Sound, snr_db: float, onset_s: float, rng: np.random.Generator
) -> tuple[Event, list[Placement]]:
    """An emergency at `onset_s` over ordinary sound that begins 2 s before and outlasts it."""
    samples = sound.load()
    active = np.flatnonzero(active_frames(samples)) * _FRAME
    first, last = int(active[0]), int(active[-1]) + _FRAME
    length_s = len(samples) / SAMPLE_RATE
    before_s = 2.0
    host, under = _host(repertoire, onset_s - before_s, before_s + length_s + 1.5, rng)
    begin = round(before_s * SAMPLE_RATE)
    bed_power = float(np.square(under[begin : begin + last - first]).mean())
    event_power = _active_power(samples)
    gain = float(np.sqrt(bed_power / event_power) * 10.0 ** (snr_db / 20.0))
    # Together they must not clip: both are lowered alike.
    peak = gain * float(np.abs(samples).max()) + float(np.abs(under).max())
    scale = min(1.0, _LOUDEST / peak)
    placed = Placement(onset_s - first / SAMPLE_RATE, length_s, sound, gain * scale)
    span = Span(onset_s, onset_s + (last - first) / SAMPLE_RATE)
    event = Event(span, sound.category, sound.name, sound.origin, sound.group, snr_db)
    lowered = [replace(p, gain=p.gain * scale) for p in host]
    return event, [placed, *lowered]


def _host(
    repertoire: Repertoire, start_s: float, length_s: float, rng: np.random.Generator
) -> tuple[list[Placement], Float32]:
    """Ordinary sound without a pause for `length_s`: its placements, and the same mixed."""
    for draw in range(_HOST_DRAWS):
        kind = _one_of(_FOREGROUND, rng)
        sound = repertoire.ordinary(kind, rng)
        if sound is None:
            continue
        level_dbfs = _level(kind, rng)
        samples = sound.load()
        placements = _strung([(sound, samples)], start_s, length_s, level_dbfs)
        mixed = np.zeros(round(length_s * SAMPLE_RATE) + 1, dtype=np.float32)
        for placement in placements:
            at = round((placement.start_s - start_s) * SAMPLE_RATE)
            _add(mixed, _shaped(placement), at)
        mean_dbfs = 10.0 * np.log10(float(np.square(mixed[2 * SAMPLE_RATE :]).mean()) + 1e-12)
        if mean_dbfs >= level_dbfs - _HOST_LACKS_DB or draw == _HOST_DRAWS - 1:
            return placements, mixed
    message = f"no ordinary sound in split {repertoire.split}"
    raise ValueError(message)


def _life(
    repertoire: Repertoire, start_s: float, end_s: float, rng: np.random.Generator
) -> list[Placement]:
    """Sessions of ordinary sound from `start_s` to `end_s`."""
    placements: list[Placement] = []
    while start_s < end_s:
        session = _SESSIONS[int(rng.choice(len(_SESSIONS), p=[s.share for s in _SESSIONS]))]
        stop_s = min(start_s + rng.uniform(60.0, 600.0), end_s)
        placements += _session(repertoire, session, Span(start_s, stop_s), rng)
        start_s = stop_s
    return placements


def _session(
    repertoire: Repertoire, session: _Session, span: Span, rng: np.random.Generator
) -> list[Placement]:
    placements: list[Placement] = []
    if session.bed:
        level_dbfs = _level(session.bed[0], rng) - _BED_QUIETER_DB
        # Chores are one machine that runs on; a television changes its voices.
        count = 1 if len(session.bed) == 1 else 8
        drawn = [
            repertoire.ordinary(session.bed[int(rng.integers(len(session.bed)))], rng)
            for _ in range(count)
        ]
        bed = [(sound, sound.load()) for sound in drawn if sound is not None]
        if bed:
            placements = _strung(bed, span.start_s, span.end_s - span.start_s, level_dbfs)
    at_s = span.start_s + rng.exponential(session.pause_s)
    while at_s < span.end_s:
        kind = _one_of(_FOREGROUND, rng)
        sound = repertoire.ordinary(kind, rng)
        if sound is None:
            continue
        samples = sound.load()
        length_s = min(len(samples) / SAMPLE_RATE, span.end_s - at_s)
        gain = _gain(samples, _level(kind, rng))
        placements.append(Placement(at_s, length_s, sound, gain))
        at_s += length_s + rng.exponential(session.pause_s)
    return placements


def _strung(
    sounds: Sequence[tuple[Sound, Float32]], start_s: float, length_s: float, level_dbfs: float
) -> list[Placement]:
    """Sounds end to end, again and again, for `length_s`."""
    placements: list[Placement] = []
    at_s, end_s = start_s, start_s + length_s
    while at_s < end_s:
        sound, samples = sounds[len(placements) % len(sounds)]
        lasts_s = min(len(samples) / SAMPLE_RATE, end_s - at_s)
        placements.append(Placement(at_s, lasts_s, sound, _gain(samples, level_dbfs)))
        at_s += lasts_s
    return placements


def _scene(
    name: str,
    duration_s: float,
    placements: Sequence[Placement],
    events: Sequence[Event],
    rng: np.random.Generator,
) -> Scene:
    return Scene(
        name=name,
        duration_s=duration_s,
        placements=tuple(sorted(placements, key=lambda p: p.start_s)),
        events=tuple(events),
        tone_dbfs=float(rng.uniform(*_TONE_RANGE_DBFS)),
        seed=int(rng.integers(2**31)),
    )


def _spread(sounds: list[Sound], limit: int | None, rng: np.random.Generator) -> list[Sound]:
    """At most `limit` sounds, one of each category in turn, in random order within it."""
    if limit is None:
        return sounds
    by_category: dict[Category, list[Sound]] = defaultdict(list)
    for index in rng.permutation(len(sounds)):
        by_category[sounds[index].category].append(sounds[index])
    taken: list[Sound] = []
    while len(taken) < limit and any(by_category.values()):
        taken += [members.pop() for members in by_category.values() if members]
    return taken[:limit]


def _one_of(shares: dict[Kind, float], rng: np.random.Generator) -> Kind:
    return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]


def _level(kind: Kind, rng: np.random.Generator) -> float:
    mean, spread = _LEVELS_DBFS[kind]
    return float(np.clip(rng.normal(mean, spread), *_LEVEL_RANGE_DBFS))


def _gain(samples: Float32, level_dbfs: float) -> float:
    wanted = float(10.0 ** (level_dbfs / 20.0)) / float(np.sqrt(_active_power(samples)))
    return min(wanted, _LOUDEST / (float(np.abs(samples).max()) + 1e-9))


def _active_power(samples: Float32) -> float:
    heard = np.repeat(active_frames(samples), _FRAME)[: len(samples)]
    return float(np.square(samples[heard]).mean()) + 1e-12 if heard.any() else 1e-12


def _shaped(placement: Placement) -> Float32:
    samples = placement.sound.load()[: round(placement.length_s * SAMPLE_RATE)]
    shaped = samples * np.float32(placement.gain)
    edge = min(_FADE, len(shaped) // 2)
    if edge and not placement.sound.category.is_emergency:
        ramp = np.linspace(0.0, 1.0, edge, dtype=np.float32)
        shaped[:edge] *= ramp
        shaped[-edge:] *= ramp[::-1]
    return shaped


def _add(mixed: Float32, samples: Float32, at: int) -> None:
    first, last = max(at, 0), min(at + len(samples), len(mixed))
    if first < last:
        mixed[first:last] += samples[first - at : last - at]


def _room_tone(level_dbfs: float, seed: int) -> Float32:
    rng = np.random.default_rng(seed)
    noise = coloured_noise(round(_TONE_S * SAMPLE_RATE), rng.uniform(0.8, 1.8), rng)
    return noise * np.float32(10.0 ** (level_dbfs / 20.0))
