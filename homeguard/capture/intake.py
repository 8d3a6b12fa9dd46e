"""Raw sound of any rate and channel count in, 16 kHz mono chunks out."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from homeguard.domain import BLOCK_SAMPLES, AudioChunk, Float32

SAMPLE_RATE = 16_000  # Hz
DC_TIME_S = 1.0  # offsets that change more slowly than this are removed
CLIPPED = 0.98  # of full scale: a sound server's resampling moves what was cut off at 1.0
BRIDGED_S = 0.001  # a gap as short is no silence: as zeros it would be heard as a click
# Lagrange's weights for a sample from the three before and after it: a line through the neighbours
# of one hole would chop an alarm's tone at 3.1 kHz into what sounds like another alarm.
AROUND = np.array([1.0, -6.0, 15.0, 0.0, 15.0, -6.0, 1.0], dtype=np.float32) / np.float32(20.0)
INAUDIBLE = 1e-7  # -140 dBFS: what resampling leaves of digital silence


class Intake:
    """Cleans, mixes, resamples and cuts one unbroken stretch of sound.

    Samples that are no number are counted; short gaps are bridged, long ones become 0. A constant
    offset is removed (cheap sound cards have one, and it would hold the gate open), so that a
    constant alone is digital silence; channels are averaged.
    """

    def __init__(self, room: str, rate: int, start_s: float = 0.0) -> None:
        self._room = room
        self._rate = rate
        self._resampler = (
            None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, "float32")
        )
        self._pending: list[Float32] = []
        self._pending_samples = 0
        self._emitted = 0
        self._start_s = start_s
        self._offset: float | None = None
        self.nonfinite = 0  # samples that were no number
        self._told_nonfinite = 0  # of them, those that a chunk has told of
        self._clipped = 0.0  # at 16 kHz, those that no chunk has told of yet

    def push(self, block: NDArray[np.float32]) -> Iterator[AudioChunk]:
        """Take float32 samples (n, channels), give the full chunks that they complete."""
        if len(block):
            yield from self._cut(self._resampled(self._mono(block), last=False))

    def end(self) -> Iterator[AudioChunk]:
        """Give what is left; the last chunk may be short."""
        yield from self._cut(self._resampled(np.zeros(0, dtype=np.float32), last=True))
        if self._pending_samples:
            yield self._chunk(np.concatenate(self._pending))
        self._pending, self._pending_samples = [], 0

    def _mono(self, block: NDArray[np.float32]) -> Float32:
        finite = np.isfinite(block)
        if not finite.all():
            self.nonfinite += int(finite.size - np.count_nonzero(finite))
            block = _bridged(block, finite, round(BRIDGED_S * self._rate))
        clipped = np.count_nonzero(np.abs(block).max(axis=1) >= CLIPPED)
        self._clipped += float(clipped) * SAMPLE_RATE / self._rate
        mono: Float32 = block.mean(axis=1, dtype=np.float32)
        return self._without_offset(np.clip(mono, -1.0, 1.0))

    def _without_offset(self, mono: Float32) -> Float32:
        """Subtract a running mean, ramped over the block so that no step is made."""
        if mono.min() == mono.max():
            self._offset = float(mono[0])
            return np.zeros_like(mono)  # exact: it tells a dead microphone
        mean = float(mono.mean())
        before = mean if self._offset is None else self._offset
        keep = math.exp(-len(mono) / (self._rate * DC_TIME_S))
        self._offset = keep * before + (1.0 - keep) * mean
        return mono - np.linspace(before, self._offset, len(mono), dtype=np.float32)

    def _resampled(self, mono: Float32, *, last: bool) -> Float32:
        if self._resampler is None:
            return mono
        resampled: Float32 = self._resampler.resample_chunk(mono, last=last)
        return resampled

    def _cut(self, sound: Float32) -> Iterator[AudioChunk]:
        self._pending.append(sound)
        self._pending_samples += len(sound)
        if self._pending_samples < BLOCK_SAMPLES:
            return
        sound = np.concatenate(self._pending)
        whole = len(sound) - len(sound) % BLOCK_SAMPLES
        self._pending, self._pending_samples = [sound[whole:].copy()], len(sound) - whole
        for first in range(0, whole, BLOCK_SAMPLES):
            # A copy, so that a chunk that is kept does not keep a whole decoded frame alive.
            yield self._chunk(sound[first : first + BLOCK_SAMPLES].copy())

    def _chunk(self, samples: Float32) -> AudioChunk:
        if np.abs(samples).max() < INAUDIBLE:
            samples = np.zeros_like(samples)
        samples.flags.writeable = False
        start_s = self._start_s + self._emitted / SAMPLE_RATE
        self._emitted += len(samples)
        nonfinite = self.nonfinite - self._told_nonfinite
        self._told_nonfinite = self.nonfinite
        clipped = round(self._clipped)
        self._clipped -= clipped
        return AudioChunk(
            self._room, start_s, samples, nonfinite, clipped, offset=self._offset or 0.0
        )


def _bridged(block: NDArray[np.float32], finite: NDArray[np.bool_], most: int) -> Float32:
    """Samples (n, channels) with lone holes and gaps of up to `most` bridged, longer ones zero."""
    mended = np.where(finite, block, np.float32(0.0))
    for sound, known in zip(mended.T, finite.T, strict=True):
        places = np.flatnonzero(known)
        gaps = np.flatnonzero(~known)
        after = np.searchsorted(places, gaps)
        inside = (after > 0) & (after < len(places))
        gaps, after = gaps[inside], after[inside]
        short = gaps[places[after] - places[after - 1] <= most + 1]
        if len(short):
            sound[short] = np.interp(short, places, sound[places])
        reach = len(AROUND) // 2
        near = gaps[(gaps >= reach) & (gaps < len(sound) - reach), np.newaxis]
        near = near + np.arange(-reach, reach + 1)
        alone = near[np.count_nonzero(known[near], axis=1) == 2 * reach]
        sound[alone[:, reach]] = sound[alone] @ AROUND
    return mended
