"""Whether a sound is one of others under another name, cut, louder or coded anew.

Recordings wander from archive to archive. One that is learned from under one name and asked for
under another makes a score that means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homeguard.mel import N_MELS, Float32, log_mel

_BANDS = 8
_FRAMES = 1_024  # of 10 ms, the most that is compared
_AT_ONCE = 128
_TINY = 1e-6
_SHARED = 0.7  # of the shorter sound, at least, must lie over the other

Complex = NDArray[np.complex64]


class Twins:
    """Sounds to compare with: the envelopes of eight bands of each, ready to be correlated."""

    def __init__(self, sounds: Iterable[Float32]) -> None:
        made = [_Spectra.of(sound) for sound in sounds]
        self._groups = [
            _Spectra.stacked(made[start : start + _AT_ONCE])
            for start in range(0, len(made), _AT_ONCE)
        ]

    def likeness(self, sound: Float32) -> float:
        """The largest correlation with any of them where the two overlap, at most 1; 0 without any.

        At any shift at which they share seven tenths of the shorter. Envelopes of short sounds
        are alike by chance: see `game_sounds` for how much.
        """
        ours = _Spectra.of(sound)
        return max((float(ours.against(group).max()) for group in self._groups), default=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Spectra:
    """Of n sounds the transforms of their envelopes e, of sum e ** 2, and of where they are."""

    envelopes: Complex  # (n, 8, 1025)
    powers: Complex  # (n, 1025)
    places: Complex  # (n, 1025)
    frames: Float32  # (n,)

    @classmethod
    def of(cls, sound: Float32) -> _Spectra:
        """Those of one sound."""
        mel = np.asarray(log_mel(sound), dtype=np.float32)[:, :_FRAMES]
        bands = mel.reshape(_BANDS, N_MELS // _BANDS, -1).mean(axis=1)
        bands = bands - bands.mean(axis=1, keepdims=True)
        frames = bands.shape[1]
        return cls(
            _transform(bands)[None],
            _transform(np.square(bands).sum(axis=0))[None],
            _transform(np.ones(frames, dtype=np.float32))[None],
            np.array([frames], dtype=np.float32),
        )

    @classmethod
    def stacked(cls, several: Sequence[_Spectra]) -> _Spectra:
        """Those of all together."""
        return cls(
            np.concatenate([one.envelopes for one in several]),
            np.concatenate([one.powers for one in several]),
            np.concatenate([one.places for one in several]),
            np.concatenate([one.frames for one in several]),
        )

    def against(self, others: _Spectra) -> Float32:
        """The largest correlation of the one sound here with each of the others, (n,)."""
        crossed = _back((others.envelopes * self.envelopes.conj()).sum(axis=1))
        shared = _back(others.places * self.places.conj())
        our_power = _back(others.places * self.powers.conj())
        their_power = _back(others.powers * self.places.conj())
        scale = np.sqrt(np.maximum(our_power * their_power, _TINY))
        needed = _SHARED * np.minimum(self.frames, others.frames)[:, None]
        return np.asarray(np.where(shared >= needed, crossed / scale, 0.0).max(axis=1))


def _transform(part: Float32) -> Complex:
    return np.fft.rfft(part, 2 * _FRAMES, axis=-1).astype(np.complex64)


def _back(spectrum: Complex) -> Float32:
    return np.asarray(np.fft.irfft(spectrum, 2 * _FRAMES, axis=-1), dtype=np.float32)
