"""The transcript voter: what was said, and whether it is an emergency.

Source: University of Seoul system, voter 2: the decoder's text decides. Each stretch of confirmed
speech is decoded once, when it has ended or is about to leave the window; longer speech in
consecutive pieces. What a piece came to is the vote of every window that overlaps it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from homeguard.config import TranscriptConfig, WindowConfig
from homeguard.domain import Encoding, Features, Float32, Span, Vote, VoteReason, Window
from homeguard.labels import Category
from homeguard.mel import SAMPLE_RATE
from homeguard.voting.guards import Guards
from homeguard.voting.lexicon import Finding, Lexicon
from homeguard.voting.text_classifier import TextClassifier
from homeguard.voting.whisper import Decoded, Whisper

NAME = "transcript"
_MARGIN_S = 0.2  # sound kept around a piece that is encoded by itself
_SHORTEST_S = 0.1  # what is left of a stretch after its last piece may be too short to be speech
_SURE = 0.5  # share of the allowed doubt (min_logprob) up to which a call for help is confident
_UNHEARD = 0.05  # probability of words that no classifier judged and no phrase matched
LEXICON_THRESHOLD = 0.8  # where neither configuration nor classifier says another


@dataclass(frozen=True, slots=True)
class _Piece:
    """A decoded stretch of speech and the vote it came to."""

    span: Span
    vote: Vote


@dataclass(slots=True)
class _Room:
    """What was lately said in a room, as far as windows still overlap it."""

    window_s: float = float("-inf")  # start of the last window
    decoded_s: float = float("-inf")  # speech up to here has been decoded
    pieces: list[_Piece] = field(default_factory=list)

    def advance(self, window: Window) -> None:
        """Forget what lies before the window; a stream that began anew forgets all.

        A window that starts no later than the last one is of another stream: of the next recording.
        """
        if window.start_s <= self.window_s:
            self.decoded_s = float("-inf")
            self.pieces.clear()
        self.window_s = window.start_s
        self.pieces[:] = [p for p in self.pieces if p.span.end_s > window.start_s]


class TranscriptVoter:
    """Decodes speech and judges the words. Keeps a little state by room: one thread asks it."""

    name = NAME

    def __init__(
        self,
        whisper: Whisper,
        lexicon: Lexicon,
        classifier: TextClassifier | None,
        config: TranscriptConfig,
        window: WindowConfig,
        *,
        shares_encoding: bool,
    ) -> None:
        """`shares_encoding`: `whisper` is the one whose encoding the features hold."""
        self._whisper = whisper
        self._judge = _Judge(lexicon, classifier, config)
        self._config = config
        self._hop_s = window.hop_s
        self._context_s = min(config.context_s, whisper.max_s)
        self._shares_encoding = shares_encoding and self._context_s >= window.length_s
        self._rooms: dict[str, _Room] = {}

    def vote(self, features: Features) -> Vote:
        """Judge the speech of a window. Raises what the model raises."""
        window = features.window
        room = self._rooms.setdefault(window.room, _Room())
        room.advance(window)
        if not window.speech:
            return Vote.abstain(NAME, VoteReason.NO_SPEECH)
        for span in _due(window, room.decoded_s, self._hop_s):
            for piece in _cut(span, self._context_s):
                room.decoded_s = piece.end_s
                room.pieces.append(_Piece(piece, self._decode(features, piece)))
        heard = [p.vote for p in room.pieces if p.span.overlaps(_span(window))]
        if not heard:
            return Vote.abstain(NAME, VoteReason.NO_SPEECH, "speech not yet decoded")
        calls = tuple(span for vote in heard for span in vote.calls)
        return replace(max(heard, key=_weight), calls=calls)

    def _decode(self, features: Features, piece: Span) -> Vote:
        encoding = self._encoding(features, piece)
        decoded = self._whisper.decode(
            encoding,
            self._config.language,
            beam_size=self._config.beam_size,
            max_tokens=self._config.max_tokens,
        )
        return self._judge.vote(decoded, piece)

    def _encoding(self, features: Features, piece: Span) -> Encoding:
        """The window's own encoding where the piece is all that is said in it, else the piece's."""
        window = features.window
        alone = all(
            piece.start_s <= max(span.start_s, window.start_s) and span.end_s <= piece.end_s
            for span in window.speech
        )
        if self._shares_encoding and alone:
            return features.encode()
        return self._whisper.hear(_excerpt(window, piece, self._context_s))


class _Judge:
    """From what was decoded to a vote."""

    def __init__(
        self, lexicon: Lexicon, classifier: TextClassifier | None, config: TranscriptConfig
    ) -> None:
        self._lexicon = lexicon
        self._classifier = classifier
        self._guards = Guards(config)
        self._sure = _SURE * config.min_logprob
        self._threshold = LEXICON_THRESHOLD if config.threshold is None else config.threshold

    def vote(self, decoded: Decoded, piece: Span) -> Vote:
        """A vote on the words, or UNSURE with the guard's reason."""
        finding = self._lexicon.search(decoded.text)
        coverage = finding.coverage if finding else 0.0
        doubt = self._guards.doubt(decoded, piece.end_s - piece.start_s, coverage)
        if doubt is not None:
            unsure = Vote.abstain(NAME, VoteReason.UNSURE, doubt)
            return replace(unsure, spoken=piece)
        probability, category, detail = self._weigh(decoded.text, finding)
        emergency = probability >= self._threshold
        call = finding is not None and finding.call and decoded.mean_logprob >= self._sure
        return Vote(
            NAME,
            emergency,
            probability=probability,
            category=category if emergency else Category.INDOOR,
            transcript=unicodedata.normalize("NFC", decoded.text),
            spoken=piece,
            calls=(piece,) if emergency and call else (),
            detail=detail if emergency else None,
        )

    def _weigh(self, text: str, finding: Finding | None) -> tuple[float, Category, str | None]:
        """Probability, category and what it rests on: the surer of lexicon and classifier."""
        reading = self._classifier.read(text) if self._classifier else None
        if finding is not None and (reading is None or finding.confidence >= reading.probability):
            return finding.confidence, finding.category, f"like {finding.phrase!r}"
        if reading is not None:
            return reading.probability, reading.category, "by the whole sentence"
        return _UNHEARD, Category.INDOOR, None


def _due(window: Window, decoded_s: float, hop_s: float) -> Iterator[Span]:
    """The stretches of a window that must be decoded now.

    Those that have ended, and one that goes on but whose start the next window would not hold.
    """
    for number, stretch in enumerate(window.speech, start=1):
        start_s = max(stretch.start_s, decoded_s, window.start_s)
        end_s = min(stretch.end_s, window.end_s)
        goes_on = number == len(window.speech) and window.speech_open
        leaves = start_s < window.start_s + hop_s
        if end_s - start_s >= _SHORTEST_S and (leaves or not goes_on):
            yield Span(start_s, end_s)


def _cut(span: Span, longest_s: float) -> Iterator[Span]:
    """A span in consecutive pieces of at most `longest_s`, as equal as can be."""
    length_s = span.end_s - span.start_s
    count = max(1, int(np.ceil(length_s / longest_s - 1e-6)))
    edges = [span.start_s + length_s * i / count for i in range(count + 1)]
    for start_s, end_s in pairwise(edges):
        yield Span(start_s, end_s)


def _excerpt(window: Window, piece: Span, length_s: float) -> Float32:
    """The piece's own sound with a little around it, zero-padded at the end to `length_s`."""
    spare_s = max(0.0, length_s - (piece.end_s - piece.start_s))
    margin_s = min(_MARGIN_S, spare_s / 2)
    start = max(0, round((piece.start_s - margin_s - window.start_s) * SAMPLE_RATE))
    end = max(0, round((piece.end_s + margin_s - window.start_s) * SAMPLE_RATE))
    samples = np.zeros(round(length_s * SAMPLE_RATE), np.float32)
    sound = window.samples[start:end][: len(samples)]
    samples[: len(sound)] = sound
    return samples


def _span(window: Window) -> Span:
    return Span(window.start_s, window.end_s)


def _weight(vote: Vote) -> tuple[bool, bool, float, float]:
    """Order of the votes of one window's pieces: emergencies, then votes, then the surest."""
    spoken_s = vote.spoken.end_s if vote.spoken else 0.0
    return bool(vote.emergency), vote.emergency is not None, vote.probability or 0.0, spoken_s
