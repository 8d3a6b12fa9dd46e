"""Which emergency, if any, a sentence speaks of: logistic regression over n-grams of jamo.

Small, and forgiving of misheard syllables: most n-grams of a sentence survive a wrong vowel.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homeguard.domain import ModelError
from homeguard.labels import Category
from homeguard.text import char_ngrams, to_jamo

NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sentence was taken for: probability of any emergency, and the likeliest one."""

    probability: float
    category: Category


class TextClassifier:
    """Softmax over "normal" and emergencies; features are tf-idf of n-grams, of length one.

    model.json: `labels`, "normal" first; `sizes` of the n-grams; `ngrams`, each with its weights by
    label; `idf` of n-grams (1 where it says nothing); `sublinear`, whether counts are taken as
    1 + ln(count); `bias` by label; `temperature`.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        sizes: tuple[int, ...],
        weights: dict[str, NDArray[np.float64]],
        bias: NDArray[np.float64],
        *,
        idf: dict[str, float] | None = None,
        sublinear: bool = False,
        temperature: float = 1.0,
    ) -> None:
        self._categories = tuple(Category(label) for label in labels[1:])
        self._sizes = sizes
        self._weights = weights
        self._bias = bias
        self._idf = idf or {}
        self._sublinear = sublinear
        self._temperature = temperature

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
        weights = {gram: np.asarray(row, np.float64) for gram, row in raw["ngrams"].items()}
        bias = np.asarray(raw["bias"], np.float64)
        if labels[0] != NORMAL or any(
            row.shape != (len(labels),) for row in (bias, *weights.values())
        ):
            message = f"needs {NORMAL!r} first and a weight for every label"
            raise ValueError(message)
        return cls(
            labels,
            tuple(raw["sizes"]),
            weights,
            bias,
            idf=raw.get("idf"),
            sublinear=bool(raw.get("sublinear", False)),
            temperature=float(raw.get("temperature", 1.0)),
        )

    def read(self, text: str) -> Reading:
        """Judge a sentence as it was written down; empty text is normal by its bias."""
        scores = self._bias + self._evidence(text)
        scores = scores / self._temperature
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        best = int(shares[1:].argmax())
        return Reading(float(1.0 - shares[0]), self._categories[best])

    def shares(self, text: str) -> NDArray[np.float64]:
        """What each symbol of `to_jamo(text)`, a space put before and after, adds to the score.

        The score is the likeliest emergency's over "normal", before the temperature; with the
        biases the shares sum up to it. An n-gram's part is shared evenly among its symbols.
        """
        jamo = f" {to_jamo(text)} "
        best = 1 + self._categories.index(self.read(text).category)
        found = [gram for gram in char_ngrams(text, self._sizes) if gram in self._weights]
        values = dict(zip(dict.fromkeys(found), self._values(Counter(found)), strict=True))
        shares = np.zeros(len(jamo))
        for size in self._sizes:
            for start in range(len(jamo) - size + 1):
                gram = jamo[start : start + size]
                if gram in values:
                    weight = self._weights[gram][best] - self._weights[gram][0]
                    part = values[gram] * weight / found.count(gram)
                    shares[start : start + size] += part / size
        return shares

    def _evidence(self, text: str) -> NDArray[np.float64]:
        counts = Counter(gram for gram in char_ngrams(text, self._sizes) if gram in self._weights)
        if not counts:
            return np.zeros_like(self._bias)
        weights = np.stack([self._weights[gram] for gram in counts])
        evidence: NDArray[np.float64] = self._values(counts) @ weights
        return evidence

    def _values(self, counts: Counter[str]) -> NDArray[np.float64]:
        """The features of n-grams with their counts: tf-idf, of length one."""
        if not counts:
            return np.zeros(0)
        n = np.array(list(counts.values()), np.float64)
        values = (1.0 + np.log(n)) if self._sublinear else n
        values = values * np.array([self._idf.get(gram, 1.0) for gram in counts])
        length_one: NDArray[np.float64] = values / np.linalg.norm(values)
        return length_one
