"""How loud a chunk is, and how loud the room is when nothing happens."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from homeguard.domain import Float32

SAMPLE_RATE = 16_000  # Hz
SILENCE_DBFS = -120.0
FRAME = 512  # samples: 32 ms, bins of 31.25 Hz
# Octaves: a whistle of 3 kHz stands out of its own band long before it stands out of the hum
# that fills the lower ones.
BAND_EDGES_HZ = (62.5, 250.0, 500.0, 1000.0, 2000.0, 4000.0)  # the last band ends at 8 kHz
STEADY_BANDS = 2  # of few bins, hence averaged over the chunk; of the others the loudest frame
CLICK = 32  # samples: 2 ms, the crackling of a fire
N_LEVELS = 1 + len(BAND_EDGES_HZ) + 1
_SILENCE = 10.0 ** (SILENCE_DBFS / 10.0)

BLOCK_S = 1.0  # the floor looks at medians over so long: a click is no floor
RISE_DB_PER_S = 0.5  # the floor follows a louder room only so fast


def _band_power() -> Float32:
    """Powers of the bands from the squared parts of a spectrum, re im re im ..., (514, 6)."""
    first = [2 * round(hz * FRAME / SAMPLE_RATE) for hz in BAND_EDGES_HZ]
    weights = np.zeros((FRAME + 2, len(first)), dtype=np.float32)
    for band, (begin, end) in enumerate(zip(first, [*first[1:], FRAME + 2], strict=True)):
        weights[begin:end, band] = 2.0 / FRAME**2
    return weights


_BAND_POWER = _band_power()
_CLICK_POWER = np.full(CLICK, 1.0 / CLICK, dtype=np.float32)


def levels_dbfs(samples: Float32) -> Float32:
    """Levels of a chunk in dBFS, shape (8,); -120 for digital silence.

    RMS of the whole; of each of six octaves (the loudest 32 ms of the upper four); of the loudest
    2 ms of the first difference, where clicks are. Takes mono float32 (n,), n >= 1, best a
    multiple of 512. A full-scale sine has -3 dBFS.
    """
    powers = np.empty(N_LEVELS)
    powers[0] = np.dot(samples, samples) / len(samples)
    if len(samples) % FRAME:
        samples = np.pad(samples, (0, -len(samples) % FRAME))
    spectrum = np.fft.rfft(samples.reshape(-1, FRAME)).view(np.float32)
    bands = np.square(spectrum) @ _BAND_POWER
    # The ufuncs themselves: ndarray.max and mean take as long again to find them.
    powers[1:-1] = np.maximum.reduce(bands)
    powers[1 : 1 + STEADY_BANDS] = np.add.reduce(bands[:, :STEADY_BANDS]) / len(bands)
    steps = samples[1:] - samples[:-1]
    clicks = np.square(steps[: -(CLICK - 1)]).reshape(-1, CLICK) @ _CLICK_POWER
    powers[-1] = np.maximum.reduce(clicks)
    levels: Float32 = (10.0 * np.log10(np.maximum(powers, _SILENCE))).astype(np.float32)
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
        """The floor, shape (8,); None until `settle_s` of sound were heard."""
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
