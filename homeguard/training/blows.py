"""Blows, breaking and shaking, and the doors, steps and dishes that only sound so.

Each function takes the generator and gives float32 (n,) with peak 1; without recordings at hand,
bodies are modal (decaying sines) and rubble is noise and many blows.
"""

# ruff: noqa: PLR2004  (the numbers are the recipes)
from __future__ import annotations

import numpy as np

from homeguard.mel import SAMPLE_RATE, Float32
from homeguard.training.synthesis import (
    Generator,
    add,
    beats,
    crackle,
    log_uniform,
    noise,
    normal,
    pulsing,
    seconds,
    struck,
    swell,
    thump,
    tone,
)


def fall(rng: Generator) -> Float32:
    """A body meets the floor: two to four heavy soft blows within a second, things after it."""
    track = np.zeros(len(seconds(rng.uniform(0.8, 2.5))), dtype=np.float32)
    at_s = 0.01
    for index in range(int(rng.integers(2, 5))):
        blow = thump(rng, (35.0, 110.0), (0.04, 0.16), rng.uniform(0.1, 0.6), 0.6)
        add(track, blow * np.float32(rng.uniform(0.4, 1.0) if index else 1.0), at_s)
        at_s += rng.uniform(0.06, 0.35)
    if rng.random() < 0.4:
        add(track, clinks(rng, int(rng.integers(1, 5)), 0.8) * np.float32(0.4), at_s)
    return normal(track)


def footsteps(rng: Generator) -> Float32:
    """Even light steps."""
    duration_s, period_s = rng.uniform(2.0, 6.0), rng.uniform(0.35, 0.75)
    step = thump(rng, (70.0, 250.0), (0.01, 0.05), rng.uniform(0.2, 1.2), 0.2)
    times = np.arange(0.0, duration_s, period_s)
    times = np.abs(times + rng.normal(0.0, 0.02, size=len(times)))
    return normal(beats(step, list(times), duration_s, rng, uneven=8.0))


def knock(rng: Generator) -> Float32:
    """Somebody knocks: two to five light quick knocks."""
    count, period_s = int(rng.integers(2, 6)), rng.uniform(0.12, 0.3)
    knock = thump(rng, (130.0, 450.0), (0.008, 0.04), rng.uniform(0.2, 1.0), 0.2)
    return normal(
        beats(knock, [index * period_s for index in range(count)], count * period_s + 0.4, rng, 6.0)
    )


def banging(rng: Generator) -> Float32:
    """Somebody locked in beats on a door for as long as the sound lasts."""
    duration_s, rate_hz = rng.uniform(3.0, 8.0), rng.uniform(1.5, 5.0)
    blow = thump(rng, (60.0, 220.0), (0.02, 0.09), rng.uniform(0.2, 1.0), 0.5)
    rattle = crackle(0.5, rng, 60.0, (400.0, 5_000.0)) * np.exp(-seconds(0.5) / 0.08)
    blow = normal(blow + np.float32(rng.uniform(0.0, 0.4)) * rattle.astype(np.float32))
    gaps = rng.gamma(12.0, 1.0 / (12.0 * rate_hz), size=int(duration_s * rate_hz) + 4)
    return normal(beats(blow, list(np.cumsum(gaps)), duration_s, rng, uneven=5.0))


def door(rng: Generator) -> Float32:
    """A door or drawer shuts: latch, one blow."""
    track = np.zeros(len(seconds(rng.uniform(0.6, 1.5))), dtype=np.float32)
    add(track, clinks(rng, 1, 0.1) * np.float32(rng.uniform(0.05, 0.4)), 0.0)
    blow = thump(rng, (70.0, 250.0), (0.015, 0.07), rng.uniform(0.3, 1.0), 0.4)
    add(track, blow, rng.uniform(0.02, 0.4))
    return normal(track)


def clinks(rng: Generator, count: int, duration_s: float) -> Float32:
    """Small hard things: cups, cutlery, keys, shards."""
    track = np.zeros(len(seconds(duration_s)), dtype=np.float32)
    for _ in range(count):
        modes = rng.uniform(1_200.0, 7_500.0, size=int(rng.integers(2, 6)))
        decays = log_uniform(rng, (0.005, 0.12)) * rng.uniform(0.5, 1.5, size=len(modes))
        clink = struck(modes, decays, rng.uniform(0.2, 1.0, len(modes)), 0.4, rng)
        add(track, clink * np.float32(rng.exponential(0.4)), rng.uniform(0.0, duration_s * 0.9))
    return normal(track)


def dishes(rng: Generator) -> Float32:
    """A few cups and plates touch."""
    duration_s = rng.uniform(0.5, 5.0)
    return clinks(rng, 1 + int(rng.poisson(1.5 * duration_s)), duration_s)


def glass_break(rng: Generator) -> Float32:
    """A pane goes: a blow, a burst of short high modes, shards that fall for a second."""
    duration_s = rng.uniform(0.8, 2.5)
    track = np.zeros(len(seconds(duration_s)), dtype=np.float32)
    add(track, thump(rng, (120.0, 500.0), (0.01, 0.05), 1.0, 0.3) * np.float32(rng.random()), 0.0)
    modes = rng.uniform(1_500.0, 7_800.0, size=int(rng.integers(25, 60)))
    decays = log_uniform(rng, (0.02, 0.12)) * rng.uniform(0.3, 1.5, size=len(modes))
    add(track, struck(modes, decays, rng.uniform(0.2, 1, len(modes)), 0.5, rng), 0.005)
    burst = noise(0.4, rng, (2_000.0, 7_900.0)) * np.exp(-seconds(0.4) / rng.uniform(0.02, 0.1))
    add(track, burst.astype(np.float32), 0.003)
    shards = clinks(rng, int(rng.integers(15, 60)), duration_s * 0.8)
    fall = np.exp(-np.arange(len(shards)) / SAMPLE_RATE / rng.uniform(0.2, 0.7))
    add(track, normal(shards * fall) * np.float32(rng.uniform(0.4, 1.0)), 0.08)
    return normal(track)


def collapse(rng: Generator) -> Float32:
    """Part of a building comes down: a crash, blows, a long roar of rubble."""
    duration_s = rng.uniform(2.0, 7.0)
    t, decay_s = seconds(duration_s), rng.uniform(0.6, 2.5)
    roar = noise(duration_s, rng, (25.0, log_uniform(rng, (800.0, 5_000.0))))
    track = (roar * np.minimum(t / 0.05, 1.0) * np.exp(-t / decay_s)).astype(np.float32)
    for at_s in rng.exponential(decay_s, size=int(rng.integers(8, 40))):
        blow = thump(rng, (40.0, 400.0), (0.02, 0.12), rng.uniform(0.3, 1.5), 0.5)
        add(track, blow * np.float32(rng.uniform(0.1, 0.7) * np.exp(-at_s / (2 * decay_s))), at_s)
    return normal(track)


def earthquake(rng: Generator) -> Float32:
    """The ground growls, windows, doors and dishes rattle with it, harder and then less."""
    duration_s = rng.uniform(4.0, 9.0)
    rumble = noise(duration_s, rng, (20.0, rng.uniform(50.0, 140.0)))
    shaking = pulsing(duration_s, rng, rng.uniform(2.0, 8.0), rng.uniform(0.4, 1.0))
    course = swell(duration_s, rng, 0.7, rng.uniform(0.3, 0.9))
    rattle = crackle(duration_s, rng, rng.uniform(30.0, 300.0), (300.0, 6_000.0)) * shaking
    dishes = clinks(rng, int(rng.integers(5, 60)), duration_s) * shaking
    things = rattle * np.float32(rng.uniform(0.1, 0.8)) + dishes * np.float32(rng.uniform(0, 0.6))
    return normal((rumble * (0.4 + 0.6 * shaking) + things) * course)


def strong_wind(rng: Generator) -> Float32:
    """Gusts that roar and perhaps howl."""
    duration_s = rng.uniform(4.0, 9.0)
    gusts = swell(duration_s, rng, rng.uniform(0.4, 2.0), rng.uniform(0.5, 0.95)) ** 2
    roar = noise(duration_s, rng, (25.0, log_uniform(rng, (250.0, 1_500.0))))
    howl_hz = rng.uniform(250.0, 900.0) * (0.7 + 0.5 * gusts)
    wobble = noise(duration_s, rng, (20.0, 60.0)) * np.float32(60.0)
    howl = tone(np.maximum(howl_hz + wobble, 60.0), duration_s) * gusts
    return normal((roar + howl * np.float32(rng.uniform(0.0, 0.6))) * gusts)
