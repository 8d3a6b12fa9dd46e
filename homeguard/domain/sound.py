"""From the source to what the voters judge. Times are seconds since the room's stream began."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

BLOCK_SAMPLES = 1536  # samples a chunk: 96 ms at 16 kHz, three frames of Silero


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of stream time in seconds, `start_s` <= `end_s`."""

    start_s: float
    end_s: float

    def overlaps(self, other: Span) -> bool:
        """Whether the two share more than a point."""
        return self.start_s < other.end_s and other.start_s < self.end_s


@dataclass(frozen=True, slots=True, eq=False)
class AudioChunk:
    """Consecutive sound of one room: mono float32 at 16 kHz, -1..1, shape (n,), n <= BLOCK_SAMPLES.

    Sources give BLOCK_SAMPLES a chunk; only the last before a gap or the end is shorter. A source
    that lost sound (overrun, reopened device) lets `start_s` jump.
    """

    room: str
    start_s: float
    samples: Float32
    nonfinite: int = 0  # samples in or just before it that were no number
    clipped: int = 0  # samples in or just before it that were cut off at full scale
    offset: float = 0.0  # the constant that was removed from it, -1..1

    @property
    def end_s(self) -> float:
        """Stream time just after the last sample."""
        return self.start_s + len(self.samples) / 16_000


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A chunk with what the gate heard in it."""

    chunk: AudioChunk
    active: bool  # worth hearing: above the noise floor, or confirmed speech
    speech: bool  # speech that Silero confirmed
    level_dbfs: float  # RMS of the chunk; -120 for digital silence
    floor_dbfs: float | None  # adaptive noise floor, None until it is known


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The sound that one decision is about, zero-padded to the full window length at the end.

    `end_s` is where real sound ends. `speech` lists the confirmed stretches of speech that overlap
    it, in stream time, uncut (a stretch may begin before the window); `speech_open` says that the
    last of them had not ended when the window did.
    """

    room: str
    start_s: float
    end_s: float
    samples: Float32
    active: bool
    speech: tuple[Span, ...] = ()
    speech_open: bool = False
    level_dbfs: float = -120.0  # loudest chunk


class Encoding(Protocol):
    """One Whisper encoder pass: `array` (n_frames, d_model) float32 and the handle for decoding."""

    @property
    def array(self) -> Float32:
        """Encoder output, (n_frames, d_model)."""
        ...

    @property
    def storage(self) -> object:
        """The same output as the decoder takes it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """One log-mel (80, n_frames) of a window, and one encoder pass, made when first asked for.

    `encode` runs the pass at the first call, from whichever thread, and gives the same result ever
    after; it raises what the model raises.
    """

    window: Window
    log_mel: Float32
    encode: Callable[[], Encoding]


class AudioSource(Protocol):
    """Where a room's sound comes from."""

    def chunks(self) -> Iterator[AudioChunk]:
        """Open, yield chunks until the end, close. Raises SourceError."""
        ...
