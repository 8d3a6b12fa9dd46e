"""A recording heard as the daemon hears it, every window kept with its sound and its votes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from homeguard import runtime as _runtime  # noqa: F401 - before any native library
from homeguard.analyze import ROOM, patient
from homeguard.capture.gate import Gate
from homeguard.capture.media import MediaFile
from homeguard.capture.window import Windower
from homeguard.config import Config
from homeguard.domain import (
    AudioChunk,
    Decision,
    Float32,
    ModelError,
    SourceError,
    Span,
    Vote,
    Window,
)
from homeguard.mel import log_mel
from homeguard.voting.load import Voting, load_panel
from homeguard.voting.registry import Registry
from homeguard.voting.vote import decide


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One window and what the voters said of it."""

    window: Window
    decision: Decision

    @property
    def log_mel(self) -> Float32:
        """The window's log-mel, (80, frames)."""
        return log_mel(self.window.samples)

    def vote(self, voter: str) -> Vote | None:
        """One voter's word, None where it was not asked."""
        return next((vote for vote in self.decision.votes if vote.voter == voter), None)

    def probability(self, voter: str) -> float:
        """A voter's probability of an emergency; -1 for an abstention."""
        vote = self.vote(voter)
        return -1.0 if vote is None or vote.probability is None else vote.probability

    @property
    def speech(self) -> tuple[Span, ...]:
        """Confirmed speech within the window, in seconds from its start."""
        start_s, length_s = self.window.start_s, self.window.end_s - self.window.start_s
        cut = (
            Span(max(span.start_s - start_s, 0.0), min(span.end_s - start_s, length_s))
            for span in self.window.speech
        )
        return tuple(span for span in cut if span.end_s > span.start_s)


class Ear:
    """Hears recordings with all voters; every window is asked about, none is skipped."""

    def __init__(self, config: Config, voting: Voting) -> None:
        self._config = config
        self._voting = voting

    def hear(self, path: Path) -> Iterator[Moment]:
        """Every window of a recording, in order, silent ones too. Raises SourceError."""
        return self.listen(MediaFile(ROOM, path).chunks())

    def listen(self, chunks: Iterable[AudioChunk]) -> Iterator[Moment]:
        """The same of sound that comes as a source gives it."""
        gate = Gate(self._config.gate)
        windower = Windower(self._config.window, self._config.gate.speech_gap_s)
        for chunk in chunks:
            for window in windower.push(gate.mark(chunk)):
                yield self._judged(window)
        for window in windower.flush():
            yield self._judged(window)

    def _judged(self, window: Window) -> Moment:
        window = replace(window, active=True)
        votes = self._voting.panel.poll(self._voting.extractor.extract(window))
        return Moment(window, decide(window, votes, self._config.decision))


@contextmanager
def open_ear(config: Config) -> Iterator[Ear]:
    """Load the voters. Raises ModelError naming everything that is missing."""
    decision = config.decision.model_copy(update={"skip_settled": False})
    waiting = patient(config).model_copy(update={"decision": decision})
    voting = load_panel(waiting, Registry.open(waiting.node))
    try:
        if voting.missing:
            raise ModelError("\n".join(voting.missing))
        yield Ear(waiting, voting)
    finally:
        voting.panel.close()


def choose(moments: Iterable[Moment], at_s: float | None, voters: Sequence[str]) -> Moment:
    """The window that begins nearest to `at_s`; without one the most alarming to these voters.

    Keeps one window at a time, so a recording may be long. Raises SourceError where there is none.
    """

    def rank(moment: Moment) -> tuple[bool, float]:
        if at_s is not None:
            return False, -abs(moment.window.start_s - at_s)
        alarm = max(moment.probability(voter) for voter in voters)
        return moment.decision.emergency, alarm

    chosen = max(moments, key=rank, default=None)
    if chosen is None:
        raise SourceError("the recording holds no window of sound", retryable=False)
    return chosen


def read_sound(path: Path) -> Float32:
    """All of a recording, mono float32 at 16 kHz. Raises SourceError."""
    blocks = [chunk.samples for chunk in MediaFile(ROOM, path).chunks()]
    if not blocks:
        message = f"{path}: there is no sound in it"
        raise SourceError(message, retryable=False)
    return np.concatenate(blocks)
