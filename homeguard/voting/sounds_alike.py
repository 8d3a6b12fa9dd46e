"""How alike two wordings sound: symbols of speech, and a phrase's cheapest place in a sentence.

Hangul is taken by jamo as it is spoken: a final consonant before a vowel carries over ("불이야" is
"부리야"), silent ieung is none, ae and e are one. Near sounds cost half an edit, others a whole.
Source of the search: Sellers, "The theory and computation of evolutionary distances" (1980).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from homeguard.text import to_jamo

# Finals (U+11A8 to U+11C2) by the initials they sound like; ieung alone stays "ng".
_FINALS = (
    *("ᄀ", "ᄁ", "ᄀᄉ", "ᄂ", "ᄂᄌ", "ᄂᄒ", "ᄃ", "ᄅ", "ᄅᄀ"),
    *("ᄅᄆ", "ᄅᄇ", "ᄅᄉ", "ᄅᄐ", "ᄅᄑ", "ᄅᄒ", "ᄆ", "ᄇ", "ᄇᄉ"),
    *("ᄉ", "ᄊ", "\u11bc", "ᄌ", "ᄎ", "ᄏ", "ᄐ", "ᄑ", "ᄒ"),
)
_SPOKEN = {chr(0x11A8 + i): final for i, final in enumerate(_FINALS)} | {
    "\u110b": "",  # silent
    "ᅢ": "ᅦ",
    "ᅤ": "ᅦ",
    "ᅨ": "ᅦ",
    "ᅫ": "ᅬ",
    "ᅰ": "ᅬ",
}
# Sounds that are easily taken for one another.
_NEAR = (
    "ᄀᄁᄏ",
    "ᄃᄄᄐ",
    "ᄇᄈᄑ",
    "ᄉᄊ",
    "ᄌᄍᄎ",
    "ᄂᄅᄆ\u11bc",
    "ᅡᅣᅪ",
    "ᅥᅧᅩᅭᅯ",
    "ᅮᅳᅲ",
    "ᅵᅴ",
    "ᅦᅬ",
    "aeiouy",
    "ckgq",
    "sz",
    "td",
    "pb",
    "fv",
    "mn",
)
_CLASS = {symbol: group[0] for group in _NEAR for symbol in group}
NEAR_COST = 0.5
MID_WORD_COST = 0.3  # a phrase that ends inside a word: endings vary
MERGED_COST = 0.6  # one that begins inside a word: a space was not heard
SHORT = 6  # symbols; below it a phrase must begin and end with words


@dataclass(frozen=True, slots=True)
class Sounds:
    """A wording as spoken: its symbols, and before which of them a word begins (or all end)."""

    symbols: str
    starts: frozenset[int]

    @classmethod
    def of(cls, text: str) -> Sounds:
        """The symbols of any text, by its normal form."""
        symbols, starts = "", set()
        for word in to_jamo(text).split():
            starts.add(len(symbols))
            symbols += "".join(_SPOKEN.get(symbol, symbol) for symbol in word)
        starts.add(len(symbols))
        return cls(symbols, frozenset(starts))

    @property
    def words(self) -> tuple[tuple[int, int], ...]:
        """Begin and end of every word."""
        edges = sorted(self.starts)
        return tuple(pairwise(edges))

    def part(self, start: int, end: int) -> Sounds:
        """The symbols from `start` to `end`, with the words that begin or end there."""
        starts = frozenset(at - start for at in self.starts if start <= at <= end)
        return Sounds(self.symbols[start:end], starts)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a phrase was found: symbols `start` to `end`, at `cost` edits."""

    start: int
    end: int
    cost: float


def budget(symbols: int) -> float:
    """Edits that a phrase of so many symbols may differ by; short phrases hardly any."""
    if symbols < SHORT:
        return NEAR_COST if symbols == SHORT - 1 else 0.0
    return min(3.0, 0.16 * symbols)


def pairs(symbols: str) -> frozenset[str]:
    """Neighbouring symbols by class of sound: by them `may_hold` dismisses a phrase quickly."""
    classes = [_CLASS.get(symbol, symbol) for symbol in symbols]
    # One object for each pair: thousands of phrases are made of a few hundred.
    return frozenset(sys.intern(a + b) for a, b in pairwise(classes))


def may_hold(text: frozenset[str], phrase: frozenset[str], allowed: float) -> bool:
    """Whether a text with these pairs can hold the phrase at all: an edit costs it two pairs."""
    return len(text & phrase) >= len(phrase) - 2 * int(allowed)


def find(
    text: Sounds, phrase: str, allowed: float, merged_cost: float = MERGED_COST
) -> Place | None:
    """The cheapest place of `phrase` (symbols) in `text`, None above `allowed` edits.

    `merged_cost`: of beginning inside a word; a short phrase never does.
    """
    length = len(text.symbols)
    strict = len(phrase) < SHORT
    outside = float("inf") if strict else merged_cost
    # Costs and starts of the best alignments that end before each symbol of the text.
    costs = [0.0 if j in text.starts else outside for j in range(length + 1)]
    begins = list(range(length + 1))
    for wanted in phrase:
        diagonal, origin = costs[0], begins[0]
        costs[0] += 1.0
        for j in range(1, length + 1):
            heard = text.symbols[j - 1]
            if heard == wanted:
                best, start = diagonal, origin
            else:
                near = _CLASS.get(heard) == _CLASS.get(wanted, wanted)
                best, start = diagonal + (NEAR_COST if near else 1.0), origin
            if costs[j] + 1.0 < best:
                best, start = costs[j] + 1.0, begins[j]
            if costs[j - 1] + 1.0 < best:
                best, start = costs[j - 1] + 1.0, begins[j - 1]
            diagonal, origin = costs[j], begins[j]
            costs[j], begins[j] = best, start
        if min(costs) > allowed:
            return None
    ending = float("inf") if strict else MID_WORD_COST
    found = (
        min((costs[j] + (0.0 if j in text.starts else ending), j) for j in range(1, length + 1))
        if length
        else (float("inf"), 0)
    )
    cost, end = found
    return Place(begins[end], end, cost) if cost <= allowed else None


def find_all(text: Sounds, phrase: str, allowed: float) -> Iterator[tuple[int, int]]:
    """Begin and end of every place of `phrase` in `text`, the cheapest first, none overlapping."""
    place = find(text, phrase, allowed)
    if place is None or place.start == place.end:
        return
    yield place.start, place.end
    yield from find_all(text.part(0, place.start), phrase, allowed)
    for start, end in find_all(text.part(place.end, len(text.symbols)), phrase, allowed):
        yield start + place.end, end + place.end
