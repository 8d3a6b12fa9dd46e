"""Which emergency, if any, a sentence speaks of: logistic regression over jamo, words and pairs.

Small, and forgiving of misheard syllables: most n-grams of a sentence survive a wrong vowel.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homeguard.domain import Float32, ModelError
from homeguard.labels import Category
from homeguard.text import features, to_jamo

NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sentence was taken for: probability of any emergency, and the likeliest one."""

    probability: float
    category: Category


class TextClassifier:
    """Softmax over "normal" and emergencies; features are rarity x (1 + ln(count)), of length one.

    model.json: `labels`, "normal" first; `sizes` and `reach` as in `homeguard.text.features`;
    `ngrams`, each feature with its weights by label in steps of `step`; `rarity`, a number for
    each feature in steps of `rarity_step`, 1 where it is missing; `bias` by label; `temperature`,
    by which all scores are divided.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        sizes: tuple[int, ...],
        reach: int,
        ngrams: Sequence[str],
        weights: Float32,
        rarity: Float32,
        bias: NDArray[np.float64],
    ) -> None:
        """`weights` is (len(ngrams), len(labels)), `rarity` (len(ngrams),), `bias` by label."""
        self._categories = tuple(Category(label) for label in labels[1:])
        self._sizes = sizes
        self._reach = reach
        # Their hashes stand for them: the strings would take 3 MiB more, and an unknown feature
        # is taken for one of 25,000 with a probability of 10^-15.
        hashes = _hashes(ngrams)
        order = np.argsort(hashes)
        self._hashes = hashes[order]
        self._weights = weights[order]
        self._rarity = rarity[order]
        self._bias = bias

    @classmethod
    def load(cls, path: Path) -> TextClassifier:
        """Read model.json. Raises ModelError."""
        try:
            return cls._parse(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as exc:
            message = f"{path} is no text classifier: {exc!r}; run `homeguard models verify`"
            raise ModelError(message) from exc

    @classmethod
    def _parse(cls, raw: dict[str, Any]) -> TextClassifier:
        labels = tuple(raw["labels"])
        temperature = float(raw.get("temperature", 1.0))
        step = float(raw.get("step", 1.0)) / temperature
        rows = list(raw["ngrams"].values())
        weights = (np.array(rows, np.float64).reshape(len(rows), -1) * step).astype(np.float32)
        bias = np.asarray(raw["bias"], np.float64) / temperature
        steps = np.array(raw.get("rarity", [1.0] * len(rows)), np.float64)
        rarity = (steps * float(raw.get("rarity_step", 1.0))).astype(np.float32)
        wanted = (len(labels),)
        if rarity.shape != (len(rows),):
            message = "needs a rarity for every n-gram"
            raise ValueError(message)
        if labels[0] != NORMAL or bias.shape != wanted or (rows and weights.shape[1:] != wanted):
            message = f"needs {NORMAL!r} first and a weight for every label"
            raise ValueError(message)
        return cls(
            labels,
            tuple(raw["sizes"]),
            int(raw.get("reach", 0)),
            tuple(raw["ngrams"]),
            weights.reshape(-1, len(labels)),
            rarity,
            bias,
        )

    def read(self, text: str) -> Reading:
        """Judge a sentence as it was written down; empty text is normal by its bias."""
        scores = self._bias + self._evidence(text)
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        best = int(shares[1:].argmax())
        return Reading(float(1.0 - shares[0]), self._categories[best])

    def shares(self, text: str) -> NDArray[np.float64]:
        """What each symbol of `to_jamo(text)`, a space put before and after, adds to the score.

        The score is the likeliest emergency's over "normal"; with the biases the shares sum up
        to it. A feature's part is shared evenly among its symbols.
        """
        shares = np.zeros(len(to_jamo(text)) + 2)
        best = 1 + self._categories.index(self.read(text).category)
        counts = self._counts(text)
        parts = self._values(counts) * (
            self._weights[list(counts)] @ _over_normal(best, self._bias)
        )
        part_of = dict(zip(counts, parts / list(counts.values()), strict=True))
        located = _located(text, self._sizes, self._reach)
        places = self._places([feature for feature, _ in located])
        for place, (_, symbols) in zip(places, located, strict=True):
            if place is not None:
                shares[symbols] += part_of[place] / len(symbols)
        return shares

    def _evidence(self, text: str) -> NDArray[np.float64]:
        counts = self._counts(text)
        return np.asarray(self._values(counts) @ self._weights[list(counts)], np.float64)

    def _counts(self, text: str) -> Counter[int]:
        places = self._places(features(text, self._sizes, self._reach))
        return Counter(place for place in places if place is not None)

    def _places(self, found: Sequence[str]) -> list[int | None]:
        """Where the weights of each feature are, None where it has none."""
        if not len(self._hashes):
            return [None] * len(found)
        wanted = _hashes(found)
        places = np.searchsorted(self._hashes, wanted).clip(max=len(self._hashes) - 1)
        known = self._hashes[places] == wanted
        return [int(p) if k else None for p, k in zip(places, known, strict=True)]

    def _values(self, counts: Counter[int]) -> NDArray[np.float64]:
        values = 1.0 + np.log(np.array(list(counts.values()), np.float64))
        values *= self._rarity[list(counts)]
        return np.asarray(values / max(float(np.linalg.norm(values)), 1e-12), np.float64)


def _hashes(names: Sequence[str]) -> NDArray[np.int64]:
    return np.array([hash(name) for name in names], np.int64)


def _over_normal(label: int, bias: NDArray[np.float64]) -> NDArray[np.float64]:
    """What turns weights by label into "this label rather than normal"."""
    sides = np.zeros_like(bias)
    sides[label], sides[0] = 1.0, -1.0
    return sides


def _located(text: str, sizes: tuple[int, ...], reach: int) -> list[tuple[str, list[int]]]:
    """The features of a text, in their order, with the symbols of ` jamo ` that each is made of."""
    jamo = f" {to_jamo(text)} "
    spans: list[list[int]] = []
    for size in sizes:
        spans += [list(range(i, i + size)) for i in range(len(jamo) - size + 1)]
    words = [list(range(m.start(), m.end())) for m in re.finditer(r"[^ ]+", jamo)]
    if words and reach > 0:
        spans += words
        ends: list[list[int]] = [[], *words, []]
        for apart in range(1, reach + 1):
            spans += [a + b for a, b in zip(ends, ends[apart:], strict=False)]
    # The pair of both ends has no symbol: the whole text stands in.
    whole = list(range(len(jamo)))
    found = features(text, sizes, reach)
    return [(name, span or whole) for name, span in zip(found, spans, strict=True)]
