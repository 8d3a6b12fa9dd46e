"""Music as a radio or a neighbour's wall gives it: what is rhythmic and yet no banging.

Each function takes the generator and gives float32 (n,) with peak 1.
"""

# ruff: noqa: PLR2004  (the numbers are the recipes)
from __future__ import annotations

import numpy as np

from homeguard.mel import Float32
from homeguard.training.synthesis import (
    Generator,
    add,
    faded,
    log_uniform,
    noise,
    normal,
    seconds,
    struck,
    thump,
    tone,
)

_STEPS = 16  # of a bar


def music(rng: Generator) -> Float32:
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


def drumming(rng: Generator) -> Float32:
    """Drums that keep a pattern for some bars, alone or with a bass: a song's beat, a practice pad.

    Strokes have their places in the bar, which is what tells them from somebody banging.
    """
    duration_s = rng.uniform(4.0, 8.0)
    step_s = 60.0 / rng.uniform(65.0, 175.0) / 4.0
    late_s = step_s * rng.uniform(0.0, 0.3)  # swing: every other step comes later
    track = np.zeros(len(seconds(duration_s)), dtype=np.float32)
    for stroke, share in _kit(rng):
        pattern = rng.random(_STEPS) < share
        if not pattern.any():
            pattern[int(rng.integers(_STEPS))] = True
        level = rng.uniform(0.3, 1.0)
        for index in range(int(duration_s / step_s)):
            if pattern[index % _STEPS]:
                gain = np.float32(level * rng.uniform(0.6, 1.0))
                add(track, stroke * gain, index * step_s + late_s * (index % 2))
    if rng.random() < 0.5:
        root = log_uniform(rng, (45.0, 130.0))
        for index in range(0, int(duration_s / step_s), int(rng.choice([2, 4, 8]))):
            hz = root * 2.0 ** (rng.choice([0, 3, 5, 7, 10]) / 12.0)
            note = tone(hz, rng.uniform(0.1, 0.5), list(rng.uniform(0.0, 0.7, 5)))
            add(track, faded(note, 0.01, 0.05) * np.float32(rng.uniform(0.2, 0.7)), index * step_s)
    return normal(track)


def _kit(rng: Generator) -> list[tuple[Float32, float]]:
    """Two to four instruments, and how many of the steps each is likely to take."""
    click_hz = log_uniform(rng, (700.0, 3_000.0))
    kit = [
        (thump(rng, (40.0, 110.0), (0.03, 0.12), rng.uniform(0.0, 0.6), 0.4), 0.25),
        (_snare(rng), 0.15),
        (faded(noise(rng.uniform(0.02, 0.2), rng, (4_000.0, 7_900.0)), 0.001, 0.02), 0.5),
        (thump(rng, (80.0, 260.0), (0.03, 0.1), rng.uniform(0.1, 0.8), 0.3), 0.15),
        (struck([click_hz, 1.6 * click_hz], [0.02, 0.01], [1.0, 0.5], 0.15, rng), 0.2),
    ]
    chosen = rng.permutation(len(kit))[: int(rng.integers(2, 5))]
    return [kit[int(number)] for number in chosen]


def _snare(rng: Generator) -> Float32:
    length_s = rng.uniform(0.08, 0.25)
    wires = noise(length_s, rng, (rng.uniform(300.0, 1_500.0), 7_500.0))
    wires = wires * np.exp(-seconds(length_s) / rng.uniform(0.02, 0.08))
    skin = thump(rng, (150.0, 280.0), (0.02, 0.06), 0.5, length_s)
    return normal(wires * np.float32(rng.uniform(0.3, 1.0)) + skin * np.float32(0.6))
