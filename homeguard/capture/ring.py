"""The last seconds of a room's sound, in RAM only, so that a clip can begin before its incident."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from homeguard.domain import AudioChunk, Float32

SAMPLE_RATE = 16_000  # Hz
FULL_SCALE = 32_767  # 16 bits, as clips are written: half the memory of float32


class Ring:
    """Holds the newest `seconds` of one room. Not for sharing between threads."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._blocks: deque[tuple[float, NDArray[np.int16]]] = deque()
        self._end_s = 0.0

    def push(self, chunk: AudioChunk) -> None:
        """Keep a chunk, forget what is older than `seconds` before its end."""
        scaled = np.clip(chunk.samples, -1.0, 1.0) * np.float32(FULL_SCALE)
        self._blocks.append((chunk.start_s, np.rint(scaled).astype(np.int16)))
        self._end_s = chunk.end_s
        oldest_s = self._end_s - self._seconds
        while self._blocks and _end_s(*self._blocks[0]) <= oldest_s:
            self._blocks.popleft()

    @property
    def start_s(self) -> float:
        """Stream time of the oldest sample; equals `end_s` while empty."""
        return self._blocks[0][0] if self._blocks else self._end_s

    @property
    def end_s(self) -> float:
        """Stream time just after the newest sample."""
        return self._end_s

    def read(self, start_s: float, end_s: float) -> Float32:
        """The sound from `start_s` to `end_s`, float32 (n,); what is not held is silence."""
        total = max(0, round((end_s - start_s) * SAMPLE_RATE))
        sound = np.zeros(total, dtype=np.float32)
        for block_s, block in self._blocks:
            offset = round((block_s - start_s) * SAMPLE_RATE)
            first, last = max(0, offset), min(total, offset + len(block))
            if first < last:
                sound[first:last] = block[first - offset : last - offset]
        sound *= np.float32(1.0 / FULL_SCALE)
        return sound


def _end_s(start_s: float, block: NDArray[np.int16]) -> float:
    return start_s + len(block) / SAMPLE_RATE
