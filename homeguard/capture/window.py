"""Overlapping windows out of a room's marked chunks: what one decision is about."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np

from homeguard.config import WindowConfig
from homeguard.domain import Mark, Span, Window

SAMPLE_RATE = 16_000  # Hz
GAP_S = 0.005  # a jump in stream time beyond this is lost sound, not rounding


class Windower:
    """Cuts one room's stream; windows never span a gap in stream time.

    Window k of an unbroken stretch starts k hops after it; every sample of the stretch lies in at
    least one window once `flush` was called.
    """

    def __init__(self, config: WindowConfig, speech_gap_s: float) -> None:
        self._length = round(config.length_s * SAMPLE_RATE)
        self._hop = round(config.hop_s * SAMPLE_RATE)
        self._speech_gap_s = speech_gap_s
        self._marks: deque[Mark] = deque()
        self._speech: deque[Span] = deque()
        self._begin_s = 0.0  # stream time of the stretch's first sample
        self._received = 0  # samples since then
        self._next = 0  # first sample of the next window, since then
        self._covered = 0  # samples that lie in some window, since then

    def push(self, mark: Mark) -> Iterator[Window]:
        """Take one chunk, give the windows that it completes, oldest first.

        After a gap the sound before it is flushed first.
        """
        if self._received and abs(mark.chunk.start_s - self._now_s) > GAP_S:
            yield from self.flush()
        if not self._received:
            self._begin_s = mark.chunk.start_s
        self._marks.append(mark)
        self._received += len(mark.chunk.samples)
        self._note_speech(mark)
        while self._received >= self._next + self._length:
            yield self._cut(ended=False)

    def flush(self) -> Iterator[Window]:
        """End the stretch: a padded window for the sound that no window held yet, if any."""
        if self._received > self._covered:
            yield self._cut(ended=True)
        self._marks.clear()
        self._speech.clear()
        self._received = self._next = self._covered = 0

    @property
    def _now_s(self) -> float:
        return self._time_of(self._received)

    def _time_of(self, sample: int) -> float:
        return self._begin_s + sample / SAMPLE_RATE

    def _note_speech(self, mark: Mark) -> None:
        if not mark.speech:
            return
        start_s, end_s = mark.chunk.start_s, mark.chunk.end_s
        if self._speech and start_s - self._speech[-1].end_s <= self._speech_gap_s:
            start_s = self._speech.pop().start_s
        self._speech.append(Span(start_s, end_s))

    def _cut(self, *, ended: bool) -> Window:
        """The next window; `ended` says that no more sound of this stretch will come."""
        start_s = self._time_of(self._next)
        end_s = self._time_of(min(self._next + self._length, self._received))
        self._forget_before(start_s)
        extent = Span(start_s, end_s)
        marks = [m for m in self._marks if m.chunk.start_s < end_s]
        speech = tuple(span for span in self._speech if span.overlaps(extent))
        still_open = bool(speech) and speech[-1].end_s + self._speech_gap_s >= end_s
        window = Window(
            room=marks[0].chunk.room,
            start_s=start_s,
            end_s=end_s,
            samples=self._samples(marks),
            active=any(m.active for m in marks),
            speech=speech,
            speech_open=still_open and not ended,
            level_dbfs=max(m.level_dbfs for m in marks),
        )
        self._covered = min(self._next + self._length, self._received)
        self._next += self._hop
        return window

    def _forget_before(self, start_s: float) -> None:
        # Half a sample: stream times are floats, chunk borders are whole samples.
        limit_s = start_s + 0.5 / SAMPLE_RATE
        while self._marks and self._marks[0].chunk.end_s < limit_s:
            self._marks.popleft()
        while self._speech and self._speech[0].end_s + self._speech_gap_s < start_s:
            self._speech.popleft()

    def _samples(self, marks: list[Mark]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        first = round((marks[0].chunk.start_s - self._begin_s) * SAMPLE_RATE)
        sound = np.concatenate([m.chunk.samples for m in marks])
        sound = sound[self._next - first :][: self._length]
        samples = np.zeros(self._length, dtype=np.float32)
        samples[: len(sound)] = sound
        samples.flags.writeable = False
        return samples
