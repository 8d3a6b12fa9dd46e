"""How loud a chunk is, and how loud the room is when nothing happens."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from homeguard.domain import Float32

SAMPLE_RATE = 16_000  # Hz
SILENCE_DBFS = -120.0
FRAME = 512  # samples: bins of 31.25 Hz
# Octaves: a whistle of 3 kHz stands out of its own band long before it stands out of the hum
# that fills the lower ones.
BAND_EDGES_HZ = (62.5, 250.0, 500.0, 1000.0, 2000.0, 4000.0)  # the last band ends at 8 kHz
_FIRST_BINS = np.array([round(hz * FRAME / SAMPLE_RATE) for hz in BAND_EDGES_HZ])

BLOCK_S = 1.0  # the floor looks at medians over so long: a click is no floor
RISE_DB_PER_S = 0.5  # the floor follows a louder room only so fast


def levels_dbfs(samples: Float32) -> Float32:
    """RMS in dBFS of the whole and of each octave band, shape (7,); -120 for digital silence.

    Takes mono float32 (n,), n >= 1. A full-scale sine has -3 dBFS.
    """
    whole = float(np.dot(samples, samples)) / len(samples)
    frames = max(1, len(samples) // FRAME)
    sound = samples[: frames * FRAME]
    if len(sound) < FRAME:
        sound = np.pad(sound, (0, FRAME - len(sound)))
    spectrum = np.fft.rfft(sound.reshape(frames, FRAME), axis=1)
    power = (np.square(spectrum.real) + np.square(spectrum.imag)).sum(axis=0)
    bands = np.add.reduceat(power, _FIRST_BINS) * (2.0 / (FRAME * FRAME * frames))
    powers = np.concatenate([[whole], bands])
    levels: Float32 = (10.0 * np.log10(np.maximum(powers, 1e-12))).astype(np.float32)
    return levels


class NoiseFloor:
    """The level that a room falls back to, for each value of `levels_dbfs`.

    Minimum statistics (after Martin, "Noise power spectral density estimation based on optimal
    smoothing and minimum statistics", 2001, simplified): the quietest second of the last
    `window_s`; it falls at once and rises at RISE_DB_PER_S at most, so that an alarm that goes on
    for minutes stands out for most of them.
    """

    def __init__(self, window_s: float, settle_s: float) -> None:
        self._settle_s = settle_s
        self._blocks: deque[NDArray[np.float32]] = deque(maxlen=max(1, round(window_s / BLOCK_S)))
        self._levels: list[Float32] = []
        self._block_s = 0.0
        self._heard_s = 0.0
        self._floor: Float32 | None = None

    @property
    def dbfs(self) -> Float32 | None:
        """The floor, shape (7,); None until `settle_s` of sound were heard."""
        return self._floor if self._heard_s >= self._settle_s else None

    def update(self, levels: Float32, duration_s: float) -> None:
        """Take the levels of `duration_s` of sound. Digital silence is no room and not counted."""
        if levels[0] <= SILENCE_DBFS:
            return
        self._levels.append(levels)
        self._block_s += duration_s
        self._heard_s += duration_s
        if self._block_s < BLOCK_S:
            return
        self._blocks.append(np.median(np.stack(self._levels), axis=0))
        quietest = np.min(np.stack(self._blocks), axis=0)
        if self._floor is None:
            self._floor = quietest
        else:
            self._floor = np.minimum(quietest, self._floor + RISE_DB_PER_S * self._block_s)
        self._levels.clear()
        self._block_s = 0.0
