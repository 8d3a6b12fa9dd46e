"""Gas, electricity and heat going wrong, and the machines of a home that only sound so.

Each function takes the generator and gives float32 (n,) with peak 1.
"""

# ruff: noqa: PLR2004  (the numbers are the recipes)
from __future__ import annotations

import numpy as np

from homeguard.mel import Float32
from homeguard.training.synthesis import (
    Generator,
    beats,
    crackle,
    faded,
    log_uniform,
    noise,
    normal,
    pulsing,
    seconds,
    swell,
    thump,
    tone,
)


def gas_hiss(rng: Generator) -> Float32:
    """Gas escaping: a steady high hiss, sometimes whistling."""
    duration_s = rng.uniform(2.0, 8.0)
    hiss = noise(duration_s, rng, (log_uniform(rng, (900.0, 4_000.0)), 7_900.0))
    whistle = tone(rng.uniform(2_000.0, 6_500.0), duration_s) * np.float32(rng.uniform(0, 0.08))
    hiss = (hiss + whistle) * swell(duration_s, rng, 3.0, rng.uniform(0.0, 0.3))
    return normal(faded(hiss, rng.uniform(0.005, 0.5), rng.uniform(0.01, 1.0)))


def spray(rng: Generator) -> Float32:
    """A short hiss: a spray can, a tap."""
    duration_s = rng.uniform(0.2, 1.2)
    return faded(noise(duration_s, rng, (1_500.0, 7_900.0)), 0.03, 0.08)


def arcing(rng: Generator) -> Float32:
    """Sparks that come and go with the mains' 120 half-waves a second."""
    duration_s, mains_hz = rng.uniform(0.5, 6.0), rng.choice([100.0, 120.0])
    sparks = crackle(duration_s, rng, log_uniform(rng, (200.0, 4_000.0)), (700.0, 7_900.0))
    gate = np.abs(np.sin(np.pi * mains_hz * seconds(duration_s))) ** rng.uniform(1.0, 8.0)
    bursts = swell(duration_s, rng, rng.uniform(4.0, 25.0), 1.0) ** rng.uniform(1.0, 5.0)
    buzz = mains(rng, mains_hz, duration_s, 40) * np.float32(rng.uniform(0.0, 0.6))
    return normal((sparks * gate.astype(np.float32) + buzz) * bursts)


def electric_buzz(rng: Generator) -> Float32:
    """A short circuit's harsh buzz: many partials, sputtering."""
    duration_s = rng.uniform(0.6, 6.0)
    buzz = mains(rng, rng.choice([50.0, 60.0, 100.0, 120.0]), duration_s, 60)
    sputter = swell(duration_s, rng, rng.uniform(6.0, 20.0), rng.uniform(0.5, 1.0))
    sparks = crackle(duration_s, rng, rng.uniform(5.0, 200.0), (900.0, 7_900.0))
    return normal(buzz * sputter + sparks * np.float32(rng.uniform(0.1, 1.0)))


def mains(rng: Generator, hz: float, duration_s: float, partials: int) -> Float32:
    """A tone of the mains with many uneven partials."""
    slope = rng.uniform(0.2, 1.0)
    gains = rng.uniform(0.2, 1.0, size=partials) * np.arange(2, partials + 2) ** -slope
    return tone(hz, duration_s, list(gains))


def hum(rng: Generator) -> Float32:
    """A refrigerator or transformer: few partials, even, with a soft fan."""
    duration_s = rng.uniform(3.0, 8.0)
    hum = mains(rng, rng.choice([50.0, 60.0, 100.0, 120.0]), duration_s, int(rng.integers(1, 6)))
    fan = noise(duration_s, rng, (60.0, log_uniform(rng, (300.0, 3_000.0))))
    return normal(hum + fan * np.float32(rng.uniform(0.1, 2.0)))


def fan(rng: Generator) -> Float32:
    """A hair dryer, range hood or air purifier."""
    duration_s = rng.uniform(3.0, 8.0)
    air = noise(duration_s, rng, (log_uniform(rng, (60.0, 400.0)), log_uniform(rng, (1e3, 7e3))))
    blades = tone(log_uniform(rng, (80.0, 900.0)), duration_s, list(rng.uniform(0, 0.5, 5)))
    return normal(air + blades * np.float32(rng.uniform(0.0, 0.3)))


def air_conditioner(rng: Generator) -> Float32:
    """Air through slats over a compressor's hum: it rushes evenly, perhaps drips and ticks."""
    duration_s = rng.uniform(4.0, 8.0)
    rush = noise(duration_s, rng, (log_uniform(rng, (50.0, 300.0)), log_uniform(rng, (8e2, 6e3))))
    hiss = noise(duration_s, rng, (log_uniform(rng, (1e3, 4e3)), 7_900.0))
    air = (rush + hiss * np.float32(rng.uniform(0.0, 0.5))) * swell(duration_s, rng, 0.5, 0.15)
    hum = mains(rng, rng.choice([50.0, 60.0, 100.0, 120.0]), duration_s, int(rng.integers(1, 12)))
    hum = hum * pulsing(duration_s, rng, rng.uniform(0.5, 6.0), rng.uniform(0.0, 0.4))
    ticks = crackle(duration_s, rng, log_uniform(rng, (0.2, 40.0)), (600.0, 6_000.0))
    return normal(
        air
        + hum * np.float32(rng.uniform(0.0, 0.8))
        + ticks * np.float32(rng.choice([0.0, 0.0, rng.uniform(0.05, 0.5)]))
    )


def kettle(rng: Generator) -> Float32:
    """Water coming to the boil, perhaps to a whistle."""
    duration_s = rng.uniform(3.0, 8.0)
    rise = np.linspace(rng.uniform(0.1, 0.8), 1.0, len(seconds(duration_s)), dtype=np.float32)
    steam = noise(duration_s, rng, (log_uniform(rng, (200.0, 900.0)), 6_000.0)) * rise
    bubbles = crackle(duration_s, rng, rng.uniform(20.0, 150.0), (200.0, 1_500.0))
    sound = steam + bubbles * np.float32(rng.uniform(0.2, 1.5)) * rise
    if rng.random() < 0.4:
        course = rng.uniform(1_800.0, 3_000.0) * (0.9 + 0.1 * rise)
        sound = sound + tone(course, duration_s, [0.3]) * rise**3
    return normal(sound)


def vacuum(rng: Generator) -> Float32:
    """Motor, air, strokes over the floor."""
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


def washer(rng: Generator) -> Float32:
    """Sloshing back and forth over a motor's hum."""
    duration_s = rng.uniform(4.0, 8.0)
    water = noise(duration_s, rng, (log_uniform(rng, (150.0, 600.0)), log_uniform(rng, (1e3, 4e3))))
    slosh = pulsing(duration_s, rng, rng.uniform(0.4, 1.6), rng.uniform(0.6, 1.0)) ** 2
    motor = mains(rng, rng.uniform(30.0, 130.0), duration_s, 8)
    drops = crackle(duration_s, rng, rng.uniform(5.0, 80.0), (400.0, 2_500.0))
    hum = motor * np.float32(rng.uniform(0.1, 0.8)) + drops * np.float32(rng.uniform(0, 0.4))
    return normal(water * slosh + hum)


def spin_or_tumble(rng: Generator) -> Float32:
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
