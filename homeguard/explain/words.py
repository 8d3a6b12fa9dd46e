"""Which words made the transcript voter say so, and when they were said.

Exact, not sampled: the lexicon names the sounds that it took for a phrase of distress, and the text
classifier is linear in its n-grams, so that each symbol has a share of the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from homeguard.domain import Float32, Span
from homeguard.mel import SAMPLE_RATE
from homeguard.text import normalise, to_jamo
from homeguard.voting.lexicon import Finding, Lexicon
from homeguard.voting.sounds_alike import Sounds, budget, find
from homeguard.voting.text_classifier import TextClassifier
from homeguard.voting.whisper import Whisper

_MARGIN_S = 0.2  # as the transcript voter cuts speech out

Timing = Literal["aligned", "by length"]


@dataclass(frozen=True, slots=True)
class Word:
    """A word of what was said, as the judges read it."""

    text: str
    span: Span
    phrase: bool  # part of the phrase that the lexicon found
    share: float  # of the classifier's score; positive speaks for an emergency


@dataclass(frozen=True, slots=True)
class Reading:
    """What was said in one stretch of speech, and what the judges made of it."""

    words: tuple[Word, ...]
    timing: Timing  # by the decoder's attention, or in proportion to the words' length
    finding: Finding | None
    probability: float | None  # the classifier's
    category: str | None

    @property
    def judge(self) -> str:
        """Who decided, as the transcript voter chooses: the surer of the two."""
        if self.finding and self.finding.confidence >= (self.probability or 0.0):
            return "lexicon"
        return "classifier"


def read(text: str, span: Span, lexicon: Lexicon, classifier: TextClassifier | None) -> Reading:
    """Explain a text that was said during `span`; words are timed by their length."""
    words = normalise(text).split()
    finding = lexicon.search(text) if words else None
    inside = _inside(text, finding) if finding else [False] * len(words)
    reading = classifier.read(text) if classifier and words else None
    shares = _shares(text, classifier) if classifier else [0.0] * len(words)
    return Reading(
        words=tuple(
            Word(word, when, phrase, share)
            for word, when, phrase, share in zip(
                words, _by_length(words, span), inside, shares, strict=True
            )
        ),
        timing="by length",
        finding=finding,
        probability=reading.probability if reading else None,
        category=reading.category.value if reading else None,
    )


def aligned(reading: Reading, sound: Float32, text: str, span: Span, whisper: Whisper) -> Reading:
    """The reading with its words at the decoder's own times, where it writes the text again.

    `sound` is the whole recording, `span` the stretch that was decoded, in its seconds.
    """
    first = max(0, round((span.start_s - _MARGIN_S) * SAMPLE_RATE))
    piece = sound[first : round((span.end_s + _MARGIN_S) * SAMPLE_RATE)]
    samples = np.zeros(round(whisper.max_s * SAMPLE_RATE), np.float32)
    samples[: len(piece)] = piece[: len(samples)]
    encoding = whisper.hear(samples)
    decoded = whisper.decode(encoding, beam_size=4)
    if normalise(decoded.text) != normalise(text):
        return reading
    try:
        found = whisper.words(encoding, decoded)
    except (RuntimeError, ValueError):  # a Whisper without alignment heads
        return reading
    begins = [
        first / SAMPLE_RATE + begin_s for word, begin_s in found for _ in normalise(word).split()
    ]
    if len(begins) != len(reading.words):
        return reading
    edges = [*np.clip(begins, span.start_s, span.end_s).tolist(), span.end_s]
    words = (
        replace(word, span=Span(edges[i], max(edges[i], edges[i + 1])))
        for i, word in enumerate(reading.words)
    )
    return replace(reading, words=tuple(words), timing="aligned")


def _inside(text: str, finding: Finding) -> list[bool]:
    """Which words hold sounds of the phrase that was found."""
    sounds = Sounds.of(text)
    phrase = Sounds.of(finding.phrase).symbols
    place = find(sounds, phrase, budget(len(phrase)))
    words = sounds.words
    if place is None:
        return [False] * len(words)
    return [start < place.end and place.start < end for start, end in words]


def _shares(text: str, classifier: TextClassifier) -> list[float]:
    """The classifier's score by word; a space belongs half to each neighbour."""
    shares = classifier.shares(text)
    totals, at = [], 1
    for word in to_jamo(text).split():
        end = at + len(word)
        totals.append(float(shares[at:end].sum() + (shares[at - 1] + shares[end]) / 2))
        at = end + 1
    if totals:
        totals[0] += float(shares[0]) / 2
        totals[-1] += float(shares[-1]) / 2
    return totals


def _by_length(words: Sequence[str], span: Span) -> list[Span]:
    lengths = np.array([0, *(len(to_jamo(word)) for word in words)], dtype=np.float64)
    edges = span.start_s + (span.end_s - span.start_s) * np.cumsum(lengths) / max(lengths.sum(), 1)
    return [Span(float(a), float(b)) for a, b in pairwise(edges)]
