"""What a timeline shows, collected: the sound, each voter's judgement, what was decided.

Everything is reduced while it comes in, so that a day takes no more memory than a minute.
"""

from __future__ import annotations

from array import array
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from homeguard.analyze import Found, Record, Summary
from homeguard.domain import AudioChunk, Decision, Float32, Vote
from homeguard.mel import FRAMES_PER_SECOND, HOP_LENGTH, N_MELS, SAMPLE_RATE, log_power

SILENCE, NORMAL, EMERGENCY = 0, 1, 2
MAX_COLUMNS = 2000  # of the drawn waveform and mel
VOTER_COLOURS = {"encoder": "#7b3294", "transcript": "#e08214", "cnn": "#1b7837"}


class Reduced:
    """Rows of a growing series, of which neighbours are merged (maximum) as it grows.

    Keeps between `limit` and 2 * `limit` rows of `width` once there are that many; each stands
    for `step` of the rows given.
    """

    def __init__(self, width: int, limit: int = MAX_COLUMNS) -> None:
        self._rows = np.empty((2 * limit, width), dtype=np.float32)
        self._count = 0
        self._pending = np.empty((0, width), dtype=np.float32)
        self.step = 1

    def add(self, rows: Float32) -> None:
        """Append rows, shape (n, width)."""
        self._pending = np.concatenate([self._pending, rows])
        while len(self._pending) >= self.step:
            if self._count == len(self._rows):
                self._halve()
                continue
            space = len(self._rows) - self._count
            whole = min(space, len(self._pending) // self.step)
            taken, self._pending = np.split(self._pending, [whole * self.step])
            merged = taken.reshape(whole, self.step, -1).max(axis=1)
            self._rows[self._count : self._count + whole] = merged
            self._count += whole

    @property
    def rows(self) -> Float32:
        """What is kept, shape (n, width); a last part that fills no step is left out."""
        return self._rows[: self._count]

    def _halve(self) -> None:
        half = self._count // 2
        self._rows[:half] = self._rows.reshape(half, 2, -1).max(axis=1)
        self._count = half
        self.step *= 2


class Timeline:
    """Collects a recording's sound and records; `drawing.draw` shows them."""

    def __init__(self) -> None:
        self._sound = np.empty(0, dtype=np.float32)
        self._envelope = Reduced(2)  # highest and minus lowest sample of each 10 ms
        self._mel = Reduced(N_MELS)
        self._context = np.empty(0, dtype=np.float32)
        self._heard_s = 0.0
        self._starts = array("d")
        self._ends = array("d")
        self._states = array("b")
        self._scores = array("f")
        self._votes: defaultdict[str, array[float]] = defaultdict(lambda: array("f"))
        self._words: list[tuple[float, str]] = []
        self._found: list[Found] = []

    def hear(self, chunk: AudioChunk) -> None:
        """Take the sound in order."""
        self._heard_s = chunk.end_s
        self._sound = np.concatenate([self._sound, chunk.samples])
        if len(self._sound) >= SAMPLE_RATE:
            self._reduce()

    def note(self, record: Record) -> None:
        """Take what came of it."""
        match record:
            case Decision():
                self._note_decision(record)
            case Found():
                self._found.append(record)
            case Summary():
                self._reduce()

    def _note_decision(self, decision: Decision) -> None:
        state = EMERGENCY if decision.emergency else NORMAL if decision.active else SILENCE
        self._starts.append(decision.start_s)
        self._ends.append(decision.end_s)
        self._states.append(state)
        self._scores.append(np.nan if decision.probability is None else decision.probability)
        votes = {vote.voter: vote for vote in decision.votes}
        for voter in VOTER_COLOURS:
            vote = votes.get(voter)
            heard = None if vote is None else vote.probability
            self._votes[voter].append(np.nan if heard is None else heard)
            if vote is not None and vote.transcript:
                self._note_words(vote, decision.start_s)

    def _note_words(self, vote: Vote, start_s: float) -> None:
        """Each stretch of speech once, although several windows hold it."""
        at_s = vote.spoken.start_s if vote.spoken else start_s
        words = vote.transcript or ""
        if self._words and (abs(self._words[-1][0] - at_s) < 1.0 or self._words[-1][1] == words):
            return
        self._words.append((at_s, words))

    def _reduce(self) -> None:
        """Bring whole 10 ms of the waiting sound into the envelope and the mel."""
        whole = len(self._sound) - len(self._sound) % HOP_LENGTH
        sound, self._sound = np.split(self._sound, [whole])
        if not whole:
            return
        frames = sound.reshape(-1, HOP_LENGTH)
        self._envelope.add(np.stack([frames.max(axis=1), -frames.min(axis=1)], axis=1))
        # The three frames before are computed along: what is reflected at the edge is dropped.
        known = len(self._context) // HOP_LENGTH
        together = np.concatenate([self._context, sound])
        if len(together) > 2 * HOP_LENGTH:
            self._mel.add(log_power(together).T[known:])
        self._context = together[-3 * HOP_LENGTH :]

    @property
    def heard_s(self) -> float:
        """How much was heard."""
        return self._heard_s

    @property
    def duration_s(self) -> float:
        """How much was heard; never 0."""
        return max(self._heard_s, 0.01)

    @property
    def words(self) -> list[tuple[float, str]]:
        """When and what was said."""
        return self._words

    @property
    def found(self) -> list[Found]:
        """The incidents."""
        return self._found

    @property
    def envelope(self) -> tuple[NDArray[np.float64], Float32]:
        """Times (n,) and highest and lowest sample (n, 2)."""
        rows = self._envelope.rows
        times_s = np.arange(len(rows)) * self._envelope.step / FRAMES_PER_SECOND
        return times_s, rows * np.array([1.0, -1.0], dtype=np.float32)

    @property
    def mel(self) -> Float32:
        """Mel power in decades, (80, n), evenly over the duration."""
        return self._mel.rows.T

    @property
    def curves(self) -> dict[str, NDArray[np.float32]]:
        """Probability by voter, and of the decision, one value a window; NaN where none."""
        voters = {name: np.array(values, np.float32) for name, values in self._votes.items()}
        return {"decision": np.array(self._scores, np.float32), **voters}

    @property
    def centres_s(self) -> NDArray[np.float64]:
        """The middle of each window."""
        centres_s: NDArray[np.float64] = (np.array(self._starts) + np.array(self._ends)) / 2
        return centres_s

    def spans(self) -> list[tuple[float, float, int]]:
        """The whole duration cut into stretches of one state.

        Windows overlap: a moment belongs to the window in whose middle it lies most nearly.
        """
        if not self._states:
            return []
        centres = self.centres_s
        edges = [0.0, *((centres[1:] + centres[:-1]) / 2), self.duration_s]
        spans: list[tuple[float, float, int]] = []
        for index, state in enumerate(self._states):
            if spans and spans[-1][2] == state:
                spans[-1] = (spans[-1][0], edges[index + 1], state)
            else:
                spans.append((edges[index], edges[index + 1], state))
        return spans
