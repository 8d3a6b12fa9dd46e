"""Sounds that are made where recordings are missing, dangerous ones and their harmless doubles.

Each `Recipe` makes one kind of sound, varied widely at every call. Alarms follow their standards:
temporal-three for smoke (ISO 8201: three pulses of 0.5 s, then 1.5 s rest) at 520 Hz (NFPA 72, for
sleepers) or about 3.1 kHz (piezo), temporal-four for carbon monoxide (NFPA 720: four pulses of
0.1 s, then 5 s rest), Korean gas detectors as beeps about one a second. Every emergency has normal
doubles from the same primitives (microwave beeps, knocks, clinking dishes, fans), so that no
artefact of synthesis tells a class. They teach; they never count in a score.
"""

# ruff: noqa: PLR2004  (the numbers are the recipes)
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from homeguard.labels import Category
from homeguard.mel import SAMPLE_RATE, Float32
from homeguard.training.synthesis import (
    Generator,
    add,
    beats,
    crackle,
    faded,
    log_uniform,
    noise,
    normal,
    pulsing,
    seconds,
    square_overtones,
    struck,
    swell,
    thump,
    tone,
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one kind of sound is made; `make` gives float32 (n,) with peak 1, 0.2 to 9 s long."""

    name: str
    category: Category
    make: Callable[[Generator], Float32]


def babble(voices: Sequence[Float32], rng: Generator) -> Float32:
    """A television or a party: two to five voices at a time over each other, 5 to 8 s, peak 1."""
    track = np.zeros(len(seconds(rng.uniform(5.0, 8.0))), dtype=np.float32)
    for _ in range(int(rng.integers(2, 6))):
        level = np.float32(rng.uniform(0.2, 1.0))
        position_s = rng.uniform(0.0, 2.0)
        while position_s * SAMPLE_RATE < len(track):
            voice = voices[int(rng.integers(len(voices)))]
            add(track, normal(voice) * level, position_s)
            position_s += len(voice) / SAMPLE_RATE + rng.exponential(0.4)
    return normal(track)


# -- alarms and their doubles -------------------------------------------------------------------


def _beep(rng: Generator, hz: float, length_s: float) -> Float32:
    """One beep of a piezo, a horn or a loudspeaker."""
    kind = rng.random()
    if kind < 0.4:
        overtones = square_overtones(14, rng.uniform(1.0, 2.0))
    elif kind < 0.7:
        overtones = list(rng.uniform(0.0, 0.4, size=4))
    else:
        overtones = []
    course = hz * (1.0 + rng.uniform(0.0, 0.004) * np.sin(2 * np.pi * 9.0 * seconds(length_s)))
    return faded(
        tone(course, length_s, overtones), rng.uniform(0.001, 0.02), rng.uniform(0.002, 0.05)
    )


def _pattern(
    rng: Generator, beep: Float32, count: int, period_s: float, rest_s: float, total_s: float
) -> Float32:
    """Groups of `count` beeps, one every `period_s`, the next group `rest_s` after the last."""
    group_s = (count - 1) * period_s + len(beep) / SAMPLE_RATE + rest_s
    starts, group_at_s = [], 0.0
    while group_at_s < total_s:
        starts += [group_at_s + number * period_s for number in range(count)]
        group_at_s += group_s
    return beats(beep, starts, total_s, rng)


def _smoke_alarm(rng: Generator) -> Float32:
    hz = rng.normal(520.0, 12.0) if rng.random() < 0.4 else rng.uniform(2_800.0, 3_500.0)
    tempo = rng.uniform(0.9, 1.1)
    on_s = 0.5 * tempo * rng.uniform(0.9, 1.05)
    return _pattern(rng, _beep(rng, hz, on_s), 3, tempo, 1.5 * tempo, rng.uniform(5.0, 9.0))


def _fast_smoke_alarm(rng: Generator) -> Float32:
    """Older and cheaper alarms: quick beeps or a shrill sweep without a rest."""
    hz = rng.uniform(2_600.0, 3_600.0)
    total_s = rng.uniform(3.0, 8.0)
    if rng.random() < 0.5:
        on_s = rng.uniform(0.06, 0.25)
        period_s = on_s * rng.uniform(1.3, 2.2)
        return _pattern(rng, _beep(rng, hz, on_s), 1, period_s, period_s - on_s, total_s)
    sweep = (seconds(total_s) * rng.uniform(2.0, 8.0)) % 1.0
    return tone(hz * (0.75 + 0.25 * sweep), total_s, list(rng.uniform(0.0, 0.3, size=2)))


def _co_alarm(rng: Generator) -> Float32:
    tempo = rng.uniform(0.9, 1.15)
    beep = _beep(rng, rng.uniform(2_800.0, 3_500.0), 0.1 * tempo)
    return _pattern(rng, beep, 4, 0.2 * tempo, 5.0 * tempo, rng.uniform(1.0, 9.0))


def _gas_alarm(rng: Generator) -> Float32:
    on_s, period_s = rng.uniform(0.2, 0.6), rng.uniform(0.7, 1.3)
    total_s, hz = rng.uniform(4.0, 9.0), rng.uniform(2_300.0, 3_400.0)
    if rng.random() < 0.3:  # two-tone
        first, second = _beep(rng, hz, on_s), _beep(rng, hz * rng.uniform(0.7, 0.9), on_s)
        return _pattern(rng, np.concatenate([first, second]), 1, on_s, 0.02, total_s)
    return _pattern(rng, _beep(rng, hz, on_s), 1, on_s, period_s - on_s, total_s)


def _appliance_beeps(rng: Generator) -> Float32:
    """A microwave, rice cooker or washer that has finished: a few beeps and no more."""
    count = int(rng.integers(1, 6))
    on_s, hz = rng.uniform(0.08, 1.0), rng.uniform(900.0, 2_500.0)
    off_s = rng.uniform(0.1, 1.0)
    total_s = count * (on_s + off_s)
    return _pattern(rng, _beep(rng, hz, on_s), count, on_s + off_s, total_s, total_s)


def _melody(rng: Generator) -> Float32:
    """A finished washer's tune, a ring tone, a door phone."""
    base, total_s = rng.uniform(350.0, 1_400.0), rng.uniform(1.5, 6.0)
    step_s = rng.uniform(0.08, 0.4)
    track = np.zeros(len(seconds(total_s)), dtype=np.float32)
    for index in range(int(total_s / step_s)):
        hz = base * 2.0 ** (rng.choice([-5, -3, 0, 2, 4, 5, 7, 9, 12]) / 12.0)
        if rng.random() < 0.5:
            decay_s = rng.uniform(0.1, 0.6)
            note = struck([hz, 2 * hz, 3 * hz], [decay_s] * 3, [1, 0.4, 0.2], 3 * decay_s, rng)
        else:
            note = _beep(rng, hz, step_s * rng.uniform(0.6, 1.0))
        add(track, note, index * step_s)
    return normal(track)


def _doorbell(rng: Generator) -> Float32:
    high, ratio = rng.uniform(500.0, 1_000.0), rng.uniform(0.75, 0.85)
    track = np.zeros(len(seconds(rng.uniform(2.0, 4.0))), dtype=np.float32)
    for index, hz in enumerate((high, high * ratio) * int(rng.integers(1, 3))):
        modes = hz * np.array([1.0, 2.0, 2.76, 5.4])
        chime = struck(modes, rng.uniform(0.1, 0.6, 4), [1, 0.5, 0.4, 0.2], 1.5, rng)
        add(track, chime, index * rng.uniform(0.4, 0.8))
    return normal(track)


def _telephone(rng: Generator) -> Float32:
    """An old bell or its electronic imitation: a trill of 1 to 2 s, a rest of 2 to 4."""
    ring_s, hz = rng.uniform(0.8, 2.0), rng.uniform(400.0, 1_800.0)
    flip = np.sign(np.sin(2 * np.pi * rng.uniform(10.0, 25.0) * seconds(ring_s)))
    ring = faded(tone(hz * (1.0 + 0.12 * flip), ring_s, [0.4, 0.2]), 0.01, 0.1)
    return _pattern(rng, ring, 1, ring_s, rng.uniform(1.5, 4.0), rng.uniform(3.0, 8.0))


def _alarm_clock(rng: Generator) -> Float32:
    on_s = rng.uniform(0.04, 0.09)
    beep = _beep(rng, rng.uniform(1_500.0, 2_600.0), on_s)
    rest_s = rng.uniform(0.35, 0.7)
    count = int(rng.integers(2, 5))
    return _pattern(rng, beep, count, on_s * rng.uniform(1.6, 2.2), rest_s, rng.uniform(3.0, 7.0))


def _reversing_lorry(rng: Generator) -> Float32:
    on_s = rng.uniform(0.4, 0.6)
    beep = _beep(rng, rng.uniform(900.0, 1_400.0), on_s)
    engine = noise(6.0, rng, (40.0, 400.0)) * np.float32(rng.uniform(0.1, 1.0))
    return normal(engine + _pattern(rng, beep, 1, on_s, on_s * rng.uniform(0.8, 1.2), 6.0))


# -- gas, electricity, heat and their doubles ---------------------------------------------------


def _gas_hiss(rng: Generator) -> Float32:
    duration_s = rng.uniform(2.0, 8.0)
    hiss = noise(duration_s, rng, (log_uniform(rng, (900.0, 4_000.0)), 7_900.0))
    whistle = tone(rng.uniform(2_000.0, 6_500.0), duration_s) * np.float32(rng.uniform(0, 0.08))
    hiss = (hiss + whistle) * swell(duration_s, rng, 3.0, rng.uniform(0.0, 0.3))
    return normal(faded(hiss, rng.uniform(0.005, 0.5), rng.uniform(0.01, 1.0)))


def _spray(rng: Generator) -> Float32:
    duration_s = rng.uniform(0.2, 1.2)
    return faded(noise(duration_s, rng, (1_500.0, 7_900.0)), 0.03, 0.08)


def _arcing(rng: Generator) -> Float32:
    """Sparks that come and go with the mains' 120 half-waves a second."""
    duration_s, mains_hz = rng.uniform(0.5, 6.0), rng.choice([100.0, 120.0])
    sparks = crackle(duration_s, rng, log_uniform(rng, (200.0, 4_000.0)), (700.0, 7_900.0))
    gate = np.abs(np.sin(np.pi * mains_hz * seconds(duration_s))) ** rng.uniform(1.0, 8.0)
    bursts = swell(duration_s, rng, rng.uniform(4.0, 25.0), 1.0) ** rng.uniform(1.0, 5.0)
    buzz = _mains(rng, mains_hz, duration_s, 40) * np.float32(rng.uniform(0.0, 0.6))
    return normal((sparks * gate.astype(np.float32) + buzz) * bursts)


def _electric_buzz(rng: Generator) -> Float32:
    """A short circuit's harsh buzz: many partials, sputtering."""
    duration_s = rng.uniform(0.6, 6.0)
    buzz = _mains(rng, rng.choice([50.0, 60.0, 100.0, 120.0]), duration_s, 60)
    sputter = swell(duration_s, rng, rng.uniform(6.0, 20.0), rng.uniform(0.5, 1.0))
    sparks = crackle(duration_s, rng, rng.uniform(5.0, 200.0), (900.0, 7_900.0))
    return normal(buzz * sputter + sparks * np.float32(rng.uniform(0.1, 1.0)))


def _mains(rng: Generator, hz: float, duration_s: float, partials: int) -> Float32:
    slope = rng.uniform(0.2, 1.0)
    gains = rng.uniform(0.2, 1.0, size=partials) * np.arange(2, partials + 2) ** -slope
    return tone(hz, duration_s, list(gains))


def _hum(rng: Generator) -> Float32:
    """A refrigerator or transformer: few partials, even, with a soft fan."""
    duration_s = rng.uniform(3.0, 8.0)
    hum = _mains(rng, rng.choice([50.0, 60.0, 100.0, 120.0]), duration_s, int(rng.integers(1, 6)))
    fan = noise(duration_s, rng, (60.0, log_uniform(rng, (300.0, 3_000.0))))
    return normal(hum + fan * np.float32(rng.uniform(0.1, 2.0)))


def _fan(rng: Generator) -> Float32:
    """A hair dryer, range hood or air purifier."""
    duration_s = rng.uniform(3.0, 8.0)
    air = noise(duration_s, rng, (log_uniform(rng, (60.0, 400.0)), log_uniform(rng, (1e3, 7e3))))
    blades = tone(log_uniform(rng, (80.0, 900.0)), duration_s, list(rng.uniform(0, 0.5, 5)))
    return normal(air + blades * np.float32(rng.uniform(0.0, 0.3)))


def _kettle(rng: Generator) -> Float32:
    duration_s = rng.uniform(3.0, 8.0)
    rise = np.linspace(rng.uniform(0.1, 0.8), 1.0, len(seconds(duration_s)), dtype=np.float32)
    steam = noise(duration_s, rng, (log_uniform(rng, (200.0, 900.0)), 6_000.0)) * rise
    bubbles = crackle(duration_s, rng, rng.uniform(20.0, 150.0), (200.0, 1_500.0))
    sound = steam + bubbles * np.float32(rng.uniform(0.2, 1.5)) * rise
    if rng.random() < 0.4:
        course = rng.uniform(1_800.0, 3_000.0) * (0.9 + 0.1 * rise)
        sound = sound + tone(course, duration_s, [0.3]) * rise**3
    return normal(sound)


def _vacuum(rng: Generator) -> Float32:
    duration_s = rng.uniform(3.0, 8.0)
    course = log_uniform(rng, (180.0, 900.0)) * swell(duration_s, rng, 1.0, rng.uniform(0, 0.08))
    if rng.random() < 0.35:  # switched on or off
        ramp = np.minimum(seconds(duration_s) / rng.uniform(0.5, 1.5), 1.0)
        course = course * (0.3 + 0.7 * (ramp if rng.random() < 0.5 else ramp[::-1]))
    motor = tone(course, duration_s, list(rng.uniform(0.1, 0.9, 12)))
    air = noise(duration_s, rng, (log_uniform(rng, (100.0, 500.0)), log_uniform(rng, (3e3, 7.8e3))))
    strokes = pulsing(duration_s, rng, rng.uniform(0.3, 1.2), rng.uniform(0.0, 0.6))
    level = np.float32(rng.uniform(0.05, 0.7))
    rattle = crackle(duration_s, rng, rng.uniform(0.0, 30.0), (500.0, 5_000.0))
    return normal((motor * level + air) * strokes + rattle * np.float32(rng.uniform(0, 0.5)))


def _washer(rng: Generator) -> Float32:
    """Sloshing back and forth over a motor's hum."""
    duration_s = rng.uniform(4.0, 8.0)
    water = noise(duration_s, rng, (log_uniform(rng, (150.0, 600.0)), log_uniform(rng, (1e3, 4e3))))
    slosh = pulsing(duration_s, rng, rng.uniform(0.4, 1.6), rng.uniform(0.6, 1.0)) ** 2
    motor = _mains(rng, rng.uniform(30.0, 130.0), duration_s, 8)
    drops = crackle(duration_s, rng, rng.uniform(5.0, 80.0), (400.0, 2_500.0))
    hum = motor * np.float32(rng.uniform(0.1, 0.8)) + drops * np.float32(rng.uniform(0, 0.4))
    return normal(water * slosh + hum)


def _spin_or_tumble(rng: Generator) -> Float32:
    """A spinning drum (throbbing, whining) or a dryer in which clothes fall and buttons tick."""
    duration_s = rng.uniform(4.0, 8.0)
    turns_hz = rng.uniform(0.7, 1.2) if rng.random() < 0.5 else rng.uniform(8.0, 22.0)
    roar = noise(duration_s, rng, (40.0, log_uniform(rng, (500.0, 5_000.0))))
    roar = roar * pulsing(duration_s, rng, turns_hz, rng.uniform(0.3, 0.9))
    whine = tone(log_uniform(rng, (150.0, 1_500.0)), duration_s, list(rng.uniform(0, 0.5, 4)))
    sound = roar + whine * np.float32(rng.uniform(0.0, 0.3))
    if turns_hz < 2.0:
        blow = thump(rng, (60.0, 200.0), (0.03, 0.08), rng.uniform(0.0, 0.4), 0.3)
        times = np.arange(0.0, duration_s, 1.0 / turns_hz) + rng.normal(0, 0.03)
        sound = sound + beats(blow, list(times), duration_s, rng, uneven=9.0)
    return normal(sound)


# -- blows, breaking, shaking and their doubles -------------------------------------------------


def _fall(rng: Generator) -> Float32:
    """A body meets the floor: two to four heavy soft blows within a second, things after it."""
    track = np.zeros(len(seconds(rng.uniform(0.8, 2.5))), dtype=np.float32)
    at_s = 0.01
    for index in range(int(rng.integers(2, 5))):
        blow = thump(rng, (35.0, 110.0), (0.04, 0.16), rng.uniform(0.1, 0.6), 0.6)
        add(track, blow * np.float32(rng.uniform(0.4, 1.0) if index else 1.0), at_s)
        at_s += rng.uniform(0.06, 0.35)
    if rng.random() < 0.4:
        add(track, _clinks(rng, int(rng.integers(1, 5)), 0.8) * np.float32(0.4), at_s)
    return normal(track)


def _footsteps(rng: Generator) -> Float32:
    duration_s, period_s = rng.uniform(2.0, 6.0), rng.uniform(0.35, 0.75)
    step = thump(rng, (70.0, 250.0), (0.01, 0.05), rng.uniform(0.2, 1.2), 0.2)
    times = np.arange(0.0, duration_s, period_s)
    times = np.abs(times + rng.normal(0.0, 0.02, size=len(times)))
    return normal(beats(step, list(times), duration_s, rng, uneven=8.0))


def _knock(rng: Generator) -> Float32:
    """Somebody knocks: two to five light quick knocks."""
    count, period_s = int(rng.integers(2, 6)), rng.uniform(0.12, 0.3)
    knock = thump(rng, (130.0, 450.0), (0.008, 0.04), rng.uniform(0.2, 1.0), 0.2)
    return normal(
        beats(knock, [index * period_s for index in range(count)], count * period_s + 0.4, rng, 6.0)
    )


def _banging(rng: Generator) -> Float32:
    """Somebody locked in beats on a door for as long as the sound lasts."""
    duration_s, rate_hz = rng.uniform(3.0, 8.0), rng.uniform(1.5, 5.0)
    blow = thump(rng, (60.0, 220.0), (0.02, 0.09), rng.uniform(0.2, 1.0), 0.5)
    rattle = crackle(0.5, rng, 60.0, (400.0, 5_000.0)) * np.exp(-seconds(0.5) / 0.08)
    blow = normal(blow + np.float32(rng.uniform(0.0, 0.4)) * rattle.astype(np.float32))
    gaps = rng.gamma(12.0, 1.0 / (12.0 * rate_hz), size=int(duration_s * rate_hz) + 4)
    return normal(beats(blow, list(np.cumsum(gaps)), duration_s, rng, uneven=5.0))


def _door(rng: Generator) -> Float32:
    """A door or drawer shuts: latch, one blow."""
    track = np.zeros(len(seconds(rng.uniform(0.6, 1.5))), dtype=np.float32)
    add(track, _clinks(rng, 1, 0.1) * np.float32(rng.uniform(0.05, 0.4)), 0.0)
    blow = thump(rng, (70.0, 250.0), (0.015, 0.07), rng.uniform(0.3, 1.0), 0.4)
    add(track, blow, rng.uniform(0.02, 0.4))
    return normal(track)


def _clinks(rng: Generator, count: int, duration_s: float) -> Float32:
    """Small hard things: cups, cutlery, keys, shards."""
    track = np.zeros(len(seconds(duration_s)), dtype=np.float32)
    for _ in range(count):
        modes = rng.uniform(1_200.0, 7_500.0, size=int(rng.integers(2, 6)))
        decays = log_uniform(rng, (0.005, 0.12)) * rng.uniform(0.5, 1.5, size=len(modes))
        clink = struck(modes, decays, rng.uniform(0.2, 1.0, len(modes)), 0.4, rng)
        add(track, clink * np.float32(rng.exponential(0.4)), rng.uniform(0.0, duration_s * 0.9))
    return normal(track)


def _dishes(rng: Generator) -> Float32:
    duration_s = rng.uniform(0.5, 5.0)
    return _clinks(rng, 1 + int(rng.poisson(1.5 * duration_s)), duration_s)


def _glass_break(rng: Generator) -> Float32:
    """A pane goes: a blow, a burst of short high modes, shards that fall for a second."""
    duration_s = rng.uniform(0.8, 2.5)
    track = np.zeros(len(seconds(duration_s)), dtype=np.float32)
    add(track, thump(rng, (120.0, 500.0), (0.01, 0.05), 1.0, 0.3) * np.float32(rng.random()), 0.0)
    modes = rng.uniform(1_500.0, 7_800.0, size=int(rng.integers(25, 60)))
    decays = log_uniform(rng, (0.02, 0.12)) * rng.uniform(0.3, 1.5, size=len(modes))
    add(track, struck(modes, decays, rng.uniform(0.2, 1, len(modes)), 0.5, rng), 0.005)
    burst = noise(0.4, rng, (2_000.0, 7_900.0)) * np.exp(-seconds(0.4) / rng.uniform(0.02, 0.1))
    add(track, burst.astype(np.float32), 0.003)
    shards = _clinks(rng, int(rng.integers(15, 60)), duration_s * 0.8)
    fall = np.exp(-np.arange(len(shards)) / SAMPLE_RATE / rng.uniform(0.2, 0.7))
    add(track, normal(shards * fall) * np.float32(rng.uniform(0.4, 1.0)), 0.08)
    return normal(track)


def _collapse(rng: Generator) -> Float32:
    """Part of a building comes down: a crash, blows, a long roar of rubble."""
    duration_s = rng.uniform(2.0, 7.0)
    t, decay_s = seconds(duration_s), rng.uniform(0.6, 2.5)
    roar = noise(duration_s, rng, (25.0, log_uniform(rng, (800.0, 5_000.0))))
    track = (roar * np.minimum(t / 0.05, 1.0) * np.exp(-t / decay_s)).astype(np.float32)
    for at_s in rng.exponential(decay_s, size=int(rng.integers(8, 40))):
        blow = thump(rng, (40.0, 400.0), (0.02, 0.12), rng.uniform(0.3, 1.5), 0.5)
        add(track, blow * np.float32(rng.uniform(0.1, 0.7) * np.exp(-at_s / (2 * decay_s))), at_s)
    return normal(track)


def _earthquake(rng: Generator) -> Float32:
    """The ground growls, windows, doors and dishes rattle with it, harder and then less."""
    duration_s = rng.uniform(4.0, 9.0)
    rumble = noise(duration_s, rng, (20.0, rng.uniform(50.0, 140.0)))
    shaking = pulsing(duration_s, rng, rng.uniform(2.0, 8.0), rng.uniform(0.4, 1.0))
    course = swell(duration_s, rng, 0.7, rng.uniform(0.3, 0.9))
    rattle = crackle(duration_s, rng, rng.uniform(30.0, 300.0), (300.0, 6_000.0)) * shaking
    dishes = _clinks(rng, int(rng.integers(5, 60)), duration_s) * shaking
    things = rattle * np.float32(rng.uniform(0.1, 0.8)) + dishes * np.float32(rng.uniform(0, 0.6))
    return normal((rumble * (0.4 + 0.6 * shaking) + things) * course)


def _strong_wind(rng: Generator) -> Float32:
    duration_s = rng.uniform(4.0, 9.0)
    gusts = swell(duration_s, rng, rng.uniform(0.4, 2.0), rng.uniform(0.5, 0.95)) ** 2
    roar = noise(duration_s, rng, (25.0, log_uniform(rng, (250.0, 1_500.0))))
    howl_hz = rng.uniform(250.0, 900.0) * (0.7 + 0.5 * gusts)
    wobble = noise(duration_s, rng, (20.0, 60.0)) * np.float32(60.0)
    howl = tone(np.maximum(howl_hz + wobble, 60.0), duration_s) * gusts
    return normal((roar + howl * np.float32(rng.uniform(0.0, 0.6))) * gusts)


# -- ordinary quiet and company -----------------------------------------------------------------


def _clicks(rng: Generator) -> Float32:
    """Typing, a mouse, a switch, a clock."""
    duration_s = rng.uniform(0.3, 5.0)
    return crackle(duration_s, rng, rng.uniform(1.0, 9.0), (rng.uniform(300.0, 2_000.0), 7_500.0))


def _quiet(rng: Generator) -> Float32:
    """A room in which nothing happens: the microphone's noise, some mains hum."""
    duration_s = rng.uniform(4.0, 8.0)
    hiss = noise(duration_s, rng, (log_uniform(rng, (20.0, 400.0)), log_uniform(rng, (600, 7.9e3))))
    return normal(hiss + np.resize(_hum(rng), len(hiss)) * np.float32(rng.uniform(0.0, 0.5)))


def _music(rng: Generator) -> Float32:
    """Chords and a beat, as from a radio."""
    duration_s, step_s = rng.uniform(5.0, 8.0), rng.uniform(0.25, 0.8)
    track = np.zeros(len(seconds(duration_s)), dtype=np.float32)
    root = rng.uniform(90.0, 260.0)
    kick = thump(rng, (50.0, 120.0), (0.03, 0.1), rng.uniform(0.0, 0.5), 0.4)
    for index in range(int(duration_s / step_s)):
        chord = root * 2.0 ** ((rng.choice([0, 5, 7, 9]) + np.array([0, 4, 7, 12])) / 12.0)
        modes = np.concatenate([chord * partial for partial in (1.0, 2.0, 3.0, 4.0)])
        gains = rng.uniform(0.2, 1.0, len(modes)) * np.repeat([1.0, 0.6, 0.4, 0.25], len(chord))
        decays = rng.uniform(0.2, 1.0, len(modes))
        add(track, struck(modes, decays, gains, 1.5, rng), index * step_s)
        if rng.random() < 0.6:
            add(track, kick * np.float32(rng.uniform(0.2, 1.0)), index * step_s)
    return normal(track)


RECIPES: tuple[Recipe, ...] = (
    Recipe("smoke_alarm_t3", Category.FIRE, _smoke_alarm),
    Recipe("smoke_alarm_fast", Category.FIRE, _fast_smoke_alarm),
    Recipe("co_alarm_t4", Category.GAS_ACCIDENT, _co_alarm),
    Recipe("gas_alarm", Category.GAS_ACCIDENT, _gas_alarm),
    Recipe("gas_hiss", Category.GAS_ACCIDENT, _gas_hiss),
    Recipe("arcing", Category.ELECTRICAL_ACCIDENT, _arcing),
    Recipe("electric_buzz", Category.ELECTRICAL_ACCIDENT, _electric_buzz),
    Recipe("body_fall", Category.FALL, _fall),
    Recipe("glass_break", Category.THEFT, _glass_break),
    Recipe("banging", Category.TRAPPED, _banging),
    Recipe("collapse", Category.COLLAPSE, _collapse),
    Recipe("earthquake", Category.EARTHQUAKE, _earthquake),
    Recipe("strong_wind", Category.STORM, _strong_wind),
    Recipe("vacuum", Category.APPLIANCE_VACUUM, _vacuum),
    Recipe("washer", Category.APPLIANCE_WASHER_DRYER, _washer),
    Recipe("spin_or_tumble", Category.APPLIANCE_WASHER_DRYER, _spin_or_tumble),
    Recipe("appliance_beeps", Category.APPLIANCE_OTHER, _appliance_beeps),
    Recipe("kettle", Category.APPLIANCE_OTHER, _kettle),
    Recipe("hum", Category.APPLIANCE_OTHER, _hum),
    Recipe("fan", Category.APPLIANCE_OTHER, _fan),
    Recipe("melody", Category.INDOOR, _melody),
    Recipe("doorbell", Category.INDOOR, _doorbell),
    Recipe("telephone", Category.INDOOR, _telephone),
    Recipe("alarm_clock", Category.INDOOR, _alarm_clock),
    Recipe("spray", Category.INDOOR, _spray),
    Recipe("footsteps", Category.INDOOR, _footsteps),
    Recipe("knock", Category.INDOOR, _knock),
    Recipe("door", Category.INDOOR, _door),
    Recipe("dishes", Category.INDOOR, _dishes),
    Recipe("clicks", Category.INDOOR, _clicks),
    Recipe("quiet", Category.INDOOR, _quiet),
    Recipe("music", Category.INDOOR, _music),
    Recipe("reversing_lorry", Category.OUTDOOR, _reversing_lorry),
)
