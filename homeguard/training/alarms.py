"""Alarms as their standards shape them, and the beeps of a home that are none.

Temporal-three for smoke (ISO 8201: three pulses of 0.5 s, then 1.5 s rest) at 520 Hz (NFPA 72, for
sleepers) or about 3.1 kHz (piezo), temporal-four for carbon monoxide (NFPA 720: four pulses of
0.1 s, then 5 s rest), Korean gas detectors as beeps about one a second. Each function takes the
generator and gives float32 (n,) with peak 1.
"""

# ruff: noqa: PLR2004  (the numbers are the recipes)
from __future__ import annotations

import numpy as np

from homeguard.mel import SAMPLE_RATE, Float32
from homeguard.training.synthesis import (
    Generator,
    add,
    beats,
    faded,
    noise,
    normal,
    seconds,
    square_overtones,
    struck,
    tone,
)


def beep(rng: Generator, hz: float, length_s: float) -> Float32:
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


def pattern(
    rng: Generator, beep: Float32, count: int, period_s: float, rest_s: float, total_s: float
) -> Float32:
    """Groups of `count` beeps, one every `period_s`, the next group `rest_s` after the last."""
    group_s = (count - 1) * period_s + len(beep) / SAMPLE_RATE + rest_s
    starts, group_at_s = [], 0.0
    while group_at_s < total_s:
        starts += [group_at_s + number * period_s for number in range(count)]
        group_at_s += group_s
    return beats(beep, starts, total_s, rng)


def smoke_alarm(rng: Generator) -> Float32:
    """Temporal-three at 520 Hz or about 3.1 kHz."""
    hz = rng.normal(520.0, 12.0) if rng.random() < 0.4 else rng.uniform(2_800.0, 3_500.0)
    tempo = rng.uniform(0.9, 1.1)
    on_s = 0.5 * tempo * rng.uniform(0.9, 1.05)
    return pattern(rng, beep(rng, hz, on_s), 3, tempo, 1.5 * tempo, rng.uniform(5.0, 9.0))


def fast_smoke_alarm(rng: Generator) -> Float32:
    """Older and cheaper alarms: quick beeps or a shrill sweep without a rest."""
    hz = rng.uniform(2_600.0, 3_600.0)
    total_s = rng.uniform(3.0, 8.0)
    if rng.random() < 0.5:
        on_s = rng.uniform(0.06, 0.25)
        period_s = on_s * rng.uniform(1.3, 2.2)
        return pattern(rng, beep(rng, hz, on_s), 1, period_s, period_s - on_s, total_s)
    sweep = (seconds(total_s) * rng.uniform(2.0, 8.0)) % 1.0
    return tone(hz * (0.75 + 0.25 * sweep), total_s, list(rng.uniform(0.0, 0.3, size=2)))


def co_alarm(rng: Generator) -> Float32:
    """Temporal-four."""
    tempo = rng.uniform(0.9, 1.15)
    pulse = beep(rng, rng.uniform(2_800.0, 3_500.0), 0.1 * tempo)
    return pattern(rng, pulse, 4, 0.2 * tempo, 5.0 * tempo, rng.uniform(1.0, 9.0))


def gas_alarm(rng: Generator) -> Float32:
    """Beeps about one a second, one or two tones."""
    on_s, period_s = rng.uniform(0.2, 0.6), rng.uniform(0.7, 1.3)
    total_s, hz = rng.uniform(4.0, 9.0), rng.uniform(2_300.0, 3_400.0)
    if rng.random() < 0.3:  # two-tone
        first, second = beep(rng, hz, on_s), beep(rng, hz * rng.uniform(0.7, 0.9), on_s)
        return pattern(rng, np.concatenate([first, second]), 1, on_s, 0.02, total_s)
    return pattern(rng, beep(rng, hz, on_s), 1, on_s, period_s - on_s, total_s)


def appliance_beeps(rng: Generator) -> Float32:
    """A microwave, rice cooker or washer that has finished: a few beeps and no more."""
    count = int(rng.integers(1, 6))
    on_s, hz = rng.uniform(0.08, 1.0), rng.uniform(900.0, 2_500.0)
    off_s = rng.uniform(0.1, 1.0)
    total_s = count * (on_s + off_s)
    return pattern(rng, beep(rng, hz, on_s), count, on_s + off_s, total_s, total_s)


def melody(rng: Generator) -> Float32:
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
            note = beep(rng, hz, step_s * rng.uniform(0.6, 1.0))
        add(track, note, index * step_s)
    return normal(track)


def doorbell(rng: Generator) -> Float32:
    """Ding-dong, once or twice."""
    high, ratio = rng.uniform(500.0, 1_000.0), rng.uniform(0.75, 0.85)
    track = np.zeros(len(seconds(rng.uniform(2.0, 4.0))), dtype=np.float32)
    for index, hz in enumerate((high, high * ratio) * int(rng.integers(1, 3))):
        modes = hz * np.array([1.0, 2.0, 2.76, 5.4])
        chime = struck(modes, rng.uniform(0.1, 0.6, 4), [1, 0.5, 0.4, 0.2], 1.5, rng)
        add(track, chime, index * rng.uniform(0.4, 0.8))
    return normal(track)


def telephone(rng: Generator) -> Float32:
    """An old bell or its electronic imitation: a trill of 1 to 2 s, a rest of 2 to 4."""
    ring_s, hz = rng.uniform(0.8, 2.0), rng.uniform(400.0, 1_800.0)
    flip = np.sign(np.sin(2 * np.pi * rng.uniform(10.0, 25.0) * seconds(ring_s)))
    ring = faded(tone(hz * (1.0 + 0.12 * flip), ring_s, [0.4, 0.2]), 0.01, 0.1)
    return pattern(rng, ring, 1, ring_s, rng.uniform(1.5, 4.0), rng.uniform(3.0, 8.0))


def alarm_clock(rng: Generator) -> Float32:
    """Quick groups of two to four beeps."""
    on_s = rng.uniform(0.04, 0.09)
    pulse = beep(rng, rng.uniform(1_500.0, 2_600.0), on_s)
    rest_s = rng.uniform(0.35, 0.7)
    count = int(rng.integers(2, 5))
    return pattern(rng, pulse, count, on_s * rng.uniform(1.6, 2.2), rest_s, rng.uniform(3.0, 7.0))


def reversing_lorry(rng: Generator) -> Float32:
    """Even beeps about 1 kHz over an engine."""
    on_s = rng.uniform(0.4, 0.6)
    pulse = beep(rng, rng.uniform(900.0, 1_400.0), on_s)
    engine = noise(6.0, rng, (40.0, 400.0)) * np.float32(rng.uniform(0.1, 1.0))
    return normal(engine + pattern(rng, pulse, 1, on_s, on_s * rng.uniform(0.8, 1.2), 6.0))
