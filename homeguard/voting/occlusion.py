"""Which part of a window a verdict rests on: hide it, and see how far the score falls.

Needs nothing but the scores, so it serves any model, in the daemon too.
Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from homeguard.domain import Float32

Score = Callable[[Float32], float]
_QUIET_PERCENTILE = 5.0


@dataclass(frozen=True, slots=True)
class Patch:
    """What is hidden at a time, and how far it moves: bands and frames of the log-mel."""

    bands: int = 16
    frames: int = 40
    band_step: int = 8
    frame_step: int = 20

    def places(self, n_bands: int, n_frames: int) -> Iterator[tuple[slice, slice]]:
        """Every place of the patch on a mel; the last of a row or column is cut at the edge."""
        for band in _starts(n_bands, self.bands, self.band_step):
            for frame in _starts(n_frames, self.frames, self.frame_step):
                yield slice(band, band + self.bands), slice(frame, frame + self.frames)


def over_time(n_bands: int, frames: int = 40, step: int = 20) -> Patch:
    """A patch over all bands: what matters is when."""
    return Patch(n_bands, frames, n_bands, step)


def quiet(log_mel: Float32) -> float:
    """The value that hides a cell: what the quietest cells of this window have."""
    return float(np.percentile(log_mel, _QUIET_PERCENTILE))


def occlusion(score: Score, log_mel: Float32, patch: Patch | None = None) -> Float32:
    """How far `score` falls with each cell hidden, the mean over the patches that hid it.

    Takes a log-mel (n_bands, n_frames); gives the same shape, positive where a cell supports the
    score. Costs one score a place of the patch.
    """
    patch = patch or Patch()
    whole = score(log_mel)
    falls = np.zeros(log_mel.shape, dtype=np.float64)
    times = np.zeros(log_mel.shape, dtype=np.int64)
    silence = quiet(log_mel)
    for bands, frames in patch.places(*log_mel.shape):
        hidden = log_mel.copy()
        hidden[bands, frames] = silence
        falls[bands, frames] += whole - score(hidden)
        times[bands, frames] += 1
    return (falls / np.maximum(times, 1)).astype(np.float32)


def _starts(length: int, size: int, step: int) -> range:
    """Where patches begin so that every cell is hidden at least once."""
    return range(0, max(length - size, 0) + step, step)
