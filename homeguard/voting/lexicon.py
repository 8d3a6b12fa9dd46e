"""Words of distress, found in what a decoder wrote although it misheard some of them.

The phrases lie in lexicon.yaml, by category: `calls` are explicit wherever they stand, `alone` when
hardly anything else is said, `signs` point to an emergency without calling for help. `harmless`
wordings that explain the same sounds better take a phrase back.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

from homeguard.labels import Category
from homeguard.voting.sounds_alike import (
    MERGED_COST,
    Place,
    Sounds,
    budget,
    find,
    find_all,
    may_hold,
    pairs,
)

Manner = Literal["calls", "alone", "signs"]
_WEIGHTS: dict[Manner, float] = {"calls": 0.97, "alone": 0.97, "signs": 0.8}
_HINT = 0.3  # an `alone` phrase among other words
_DECAY = 1.6  # confidence lost by a phrase that is all wrong; at most 0.16 of it may be
_CALL = 0.8  # from here on a call for help is confident
_REST = 0.15  # share of an utterance that may be other words around an `alone` phrase
_CONTEXT = 0.15  # edits that a harmless wording may have more, by symbol that it explains more
_ALTERNATIVES = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True, slots=True)
class Finding:
    """The strongest phrase of distress in a text."""

    confidence: float  # 0..1
    category: Category
    phrase: str
    call: bool  # an explicit and confident call for help
    coverage: float  # share of the text that phrases of distress and fillers make up


@dataclass(frozen=True, slots=True)
class _Phrase:
    text: str
    symbols: str
    pairs: frozenset[str]
    category: Category
    manner: Manner

    @classmethod
    def of(cls, text: str, category: Category, manner: Manner) -> _Phrase:
        symbols = Sounds.of(text).symbols
        return cls(text, symbols, pairs(symbols), category, manner)


class Lexicon:
    """Finds phrases of distress. Immutable."""

    def __init__(
        self, phrases: Sequence[_Phrase], harmless: Sequence[_Phrase], fillers: frozenset[str]
    ) -> None:
        self._phrases = tuple(phrases)
        self._harmless = tuple(harmless)
        self._fillers = fillers

    @classmethod
    def load(cls, extra_phrases: Iterable[str] = ()) -> Lexicon:
        """The shipped lexicon; `extra_phrases` are calls for help wherever they stand."""
        phrases, harmless, fillers = _shipped()
        extra = [
            _Phrase.of(text, Category.HELP_REQUEST, "calls")
            for text in extra_phrases
            if Sounds.of(text).symbols
        ]
        return cls((*extra, *phrases), harmless, fillers)

    def search(self, text: str) -> Finding | None:
        """The strongest phrase in a text, None where there is none. Cost: milliseconds."""
        sounds = Sounds.of(text)
        found = list(self._places(sounds))
        if not found:
            return None
        coverage = self._coverage(sounds, [phrase for phrase, _ in found])
        return max(
            (_finding(phrase, place, coverage) for phrase, place in found),
            key=lambda finding: finding.confidence,
        )

    def _places(self, sounds: Sounds) -> Iterator[tuple[_Phrase, Place]]:
        heard = pairs(sounds.symbols)
        found = list(_found(self._phrases, sounds, heard))
        if not found:
            return
        harmless = [p for _, p in _found(self._harmless, sounds, heard, merged_cost=math.inf)]
        for phrase, place in found:
            if not any(_explains(other, place) for other in harmless):
                yield phrase, place

    def _coverage(self, sounds: Sounds, phrases: Sequence[_Phrase]) -> float:
        covered: set[int] = set()
        for phrase in phrases:
            for start, end in find_all(sounds, phrase.symbols, budget(len(phrase.symbols))):
                covered.update(range(start, end))
        for start, end in sounds.words:
            if sounds.symbols[start:end] in self._fillers:
                covered.update(range(start, end))
        return len(covered) / len(sounds.symbols)


def _found(
    phrases: Iterable[_Phrase],
    sounds: Sounds,
    heard: frozenset[str],
    merged_cost: float = MERGED_COST,
) -> Iterator[tuple[_Phrase, Place]]:
    """Every phrase that a text holds, at its best place."""
    for phrase in phrases:
        allowed = budget(len(phrase.symbols))
        if may_hold(heard, phrase.pairs, allowed):
            place = find(sounds, phrase.symbols, allowed, merged_cost)
            if place is not None:
                yield phrase, place


def _explains(harmless: Place, place: Place) -> bool:
    """Whether a harmless wording explains the sounds of `place` better than the phrase there.

    What it leaves unexplained counts against it; a tie is the phrase's, unless it is an exact one.
    """
    shared = min(place.end, harmless.end) - max(place.start, harmless.start)
    if shared <= 0:
        return False
    cost = harmless.cost + (place.end - place.start - shared)
    slack = _CONTEXT * (harmless.end - harmless.start - shared)
    return cost == 0.0 or cost < place.cost + slack


def _finding(phrase: _Phrase, place: Place, coverage: float) -> Finding:
    confidence = _WEIGHTS[phrase.manner] * (1.0 - _DECAY * place.cost / len(phrase.symbols))
    if phrase.manner == "alone" and coverage < 1.0 - _REST:
        confidence = min(confidence, _HINT)
    call = phrase.manner != "signs" and confidence >= _CALL
    return Finding(confidence, phrase.category, phrase.text, call, coverage)


@cache
def _shipped() -> tuple[tuple[_Phrase, ...], tuple[_Phrase, ...], frozenset[str]]:
    source = resources.files("homeguard.voting").joinpath("lexicon.yaml")
    raw: dict[str, Any] = yaml.safe_load(source.read_text(encoding="utf-8"))
    phrases = [
        _Phrase.of(text, Category(category), manner)
        for category, manners in raw["distress"].items()
        for manner, patterns in manners.items()
        for text in expand(patterns)
    ]
    harmless = [_Phrase.of(text, Category.INDOOR, "signs") for text in expand(raw["harmless"])]
    fillers = frozenset(Sounds.of(str(word)).symbols for word in raw["fillers"])
    return tuple(phrases), tuple(harmless), fillers


def expand(patterns: Iterable[object]) -> Iterator[str]:
    """Every wording of patterns with (a|b) alternatives, in order."""
    for pattern in patterns:
        parts = _ALTERNATIVES.split(str(pattern))
        choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
        yield from ("".join(choice) for choice in itertools.product(*choices))
