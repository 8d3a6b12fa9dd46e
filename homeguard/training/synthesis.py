"""What synthesised sounds are made of: tones, beats, noises, struck bodies, swells.

All at 16 kHz, float32, random only through the generator passed in. `sounds` composes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import butter, sosfilt

from homeguard.mel import SAMPLE_RATE, Float32

Range = tuple[float, float]
Generator = np.random.Generator

_TOP_HZ = 7_600.0


def seconds(duration_s: float) -> NDArray[np.float64]:
    """The times of the samples of a sound of `duration_s`, shape (n,)."""
    return np.arange(max(int(duration_s * SAMPLE_RATE), 1)) / SAMPLE_RATE


def log_uniform(rng: Generator, bounds: Range) -> float:
    """A number between the bounds, every octave equally likely."""
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def tone(hz: ArrayLike, duration_s: float, overtones: Sequence[float] = ()) -> Float32:
    """A tone of fixed or sample-wise frequency; overtones are the gains of partials 2, 3, ...

    Partials over 7.6 kHz are left out. Peak near 1.
    """
    course = np.broadcast_to(np.asarray(hz, dtype=np.float64), seconds(duration_s).shape)
    phase = 2.0 * np.pi * np.cumsum(course) / SAMPLE_RATE
    top_hz = float(course.max())
    turn = np.exp(1j * phase).astype(np.complex64)
    partial, sound = turn, turn.imag.copy()
    for number, gain in enumerate(overtones, start=2):
        if number * top_hz >= _TOP_HZ:
            break
        partial = partial * turn
        if gain:
            sound += np.float32(gain) * partial.imag
    return normal(sound)


def square_overtones(count: int, slope: float = 1.0) -> list[float]:
    """Gains of partials 2.. of a square wave, softened by `slope` > 1."""
    return [0.0 if number % 2 == 0 else number**-slope for number in range(2, count + 2)]


def beats(
    sound: Float32, starts_s: Sequence[float], duration_s: float, rng: Generator, uneven: float = 0
) -> Float32:
    """`sound` repeated at the given times in silence, each level changed by up to `uneven` dB."""
    track = np.zeros(len(seconds(duration_s)), dtype=np.float32)
    for start_s in starts_s:
        add(track, sound * np.float32(10 ** (rng.uniform(-uneven, 0.0) / 20.0)), start_s)
    return track


def add(track: Float32, sound: Float32, start_s: float) -> None:
    """Add a sound to a track in place; what runs over its end is cut."""
    start = int(start_s * SAMPLE_RATE)
    if 0 <= start < len(track):
        part = sound[: len(track) - start]
        track[start : start + len(part)] += part


def faded(sound: Float32, attack_s: float, release_s: float) -> Float32:
    """The sound with a linear rise and fall, so that it does not click."""
    shape = np.ones(len(sound), dtype=np.float32)
    for edge, length_s in ((slice(None), attack_s), (slice(None, None, -1), release_s)):
        count = min(int(length_s * SAMPLE_RATE), len(sound))
        if count > 0:
            shape[edge][:count] *= np.linspace(0.0, 1.0, count, dtype=np.float32)
    return sound * shape


def noise(duration_s: float, rng: Generator, band_hz: Range = (20.0, 7_900.0)) -> Float32:
    """Noise in a band, second-order slopes, peak 1."""
    sound = rng.standard_normal(len(seconds(duration_s)))
    low, high = max(band_hz[0], 20.0), min(band_hz[1], 7_900.0)
    sections = butter(2, (low, high), btype="bandpass", fs=SAMPLE_RATE, output="sos")
    return normal(sosfilt(sections, sound))


def struck(
    modes_hz: ArrayLike, decays_s: ArrayLike, gains: ArrayLike, duration_s: float, rng: Generator
) -> Float32:
    """A struck body: decaying sines of random phase, one for each mode (modal synthesis)."""
    t = seconds(duration_s)
    sound = np.zeros(len(t))
    for hz, decay_s, gain in zip(
        np.atleast_1d(modes_hz), np.atleast_1d(decays_s), np.atleast_1d(gains), strict=True
    ):
        phase = rng.uniform(0.0, 2.0 * np.pi)
        sound += gain * np.exp(-t / decay_s) * np.sin(2.0 * np.pi * hz * t + phase)
    return faded(normal(sound), 0.0005, 0.01)


def thump(rng: Generator, hz: Range, decay_s: Range, click: float, duration_s: float) -> Float32:
    """A dull blow on floor, door or wall: a few low modes and a click of gain `click`."""
    count = int(rng.integers(3, 8))
    base = log_uniform(rng, hz)
    modes = base * np.sort(1.0 + rng.exponential(1.2, size=count))
    decays = rng.uniform(*decay_s, size=count) * (base / modes) ** 0.5
    gains = (base / modes) ** rng.uniform(0.5, 1.5) * rng.uniform(0.4, 1.0, size=count)
    body = struck(modes, decays, gains, duration_s, rng)
    edge = noise(duration_s, rng, (200.0, log_uniform(rng, (1_500.0, 7_000.0))))
    t = seconds(duration_s)
    return normal(body + click * edge * np.exp(-t / rng.uniform(0.004, 0.03)))


def swell(duration_s: float, rng: Generator, rate_hz: float, depth: float) -> Float32:
    """A slow random course between 1 - depth and 1, changing about `rate_hz` times a second."""
    t = seconds(duration_s)
    knots = max(int(duration_s * rate_hz) + 2, 3)
    course = np.interp(t, np.linspace(0.0, t[-1] + 1e-6, knots), rng.random(knots))
    return (1.0 - depth + depth * course).astype(np.float32)


def pulsing(duration_s: float, rng: Generator, rate_hz: float, depth: float) -> Float32:
    """A regular swell of `rate_hz` between 1 - depth and 1, slightly unsteady."""
    t = seconds(duration_s)
    drift = np.cumsum(rng.standard_normal(len(t))) * (0.02 * rate_hz / SAMPLE_RATE**0.5)
    phase = 2.0 * np.pi * (rate_hz * t + drift) + rng.uniform(0.0, 6.3)
    return np.asarray(1.0 - depth * (0.5 + 0.5 * np.sin(phase)), dtype=np.float32)


def crackle(duration_s: float, rng: Generator, rate_hz: float, band_hz: Range) -> Float32:
    """Short clicks at random times, `rate_hz` of them a second, of very uneven strength."""
    count = len(seconds(duration_s))
    clicks = np.zeros(count)
    number = max(int(rng.poisson(rate_hz * duration_s)), 1)
    clicks[rng.integers(count, size=number)] = rng.standard_normal(number) * rng.exponential(
        1.0, size=number
    )
    sections = butter(
        2, (band_hz[0], min(band_hz[1], 7_900.0)), btype="bandpass", fs=SAMPLE_RATE, output="sos"
    )
    return normal(sosfilt(sections, clicks))


def normal(sound: ArrayLike) -> Float32:
    """Peak 1 (silence stays silence)."""
    samples = np.asarray(sound, dtype=np.float64)
    peak = float(np.abs(samples).max()) if samples.size else 0.0
    return (samples / peak if peak > 0.0 else samples).astype(np.float32)
