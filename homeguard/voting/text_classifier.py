"""Which emergency, if any, a sentence speaks of: logistic regression over jamo, words and pairs.

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
from homeguard.text import features

NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a sentence was taken for: probability of any emergency, and the likeliest one."""

    probability: float
    category: Category


class TextClassifier:
    """Softmax over "normal" and emergencies; features are 1 + ln(count), of length one.

    model.json: `labels`, "normal" first; `sizes` and `reach` as in `homeguard.text.features`;
    `ngrams`, each feature with its weights by label in steps of `step`; `bias` by label;
    `temperature`.
    """

    def __init__(
        self,
        labels: tuple[str, ...],
        sizes: tuple[int, ...],
        reach: int,
        weights: dict[str, NDArray[np.float64]],
        bias: NDArray[np.float64],
        temperature: float,
    ) -> None:
        """`weights` and `bias` are by label."""
        self._categories = tuple(Category(label) for label in labels[1:])
        self._sizes = sizes
        self._reach = reach
        self._places = {feature: place for place, feature in enumerate(weights)}
        self._weights = np.array(list(weights.values()), np.float32).reshape(-1, len(labels))
        self._bias = bias
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
        step = float(raw.get("step", 1.0))
        weights = {gram: np.asarray(row, np.float64) * step for gram, row in raw["ngrams"].items()}
        bias = np.asarray(raw["bias"], np.float64)
        if labels[0] != NORMAL or any(
            row.shape != (len(labels),) for row in (bias, *weights.values())
        ):
            message = f"needs {NORMAL!r} first and a weight for every label"
            raise ValueError(message)
        return cls(
            labels,
            tuple(raw["sizes"]),
            int(raw.get("reach", 0)),
            weights,
            bias,
            float(raw.get("temperature", 1.0)),
        )

    def read(self, text: str) -> Reading:
        """Judge a sentence as it was written down; empty text is normal by its bias."""
        scores = (self._bias + self._evidence(text)) / self._temperature
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        best = int(shares[1:].argmax())
        return Reading(float(1.0 - shares[0]), self._categories[best])

    def _evidence(self, text: str) -> NDArray[np.float64]:
        found = features(text, self._sizes, self._reach)
        counts = Counter(self._places[gram] for gram in found if gram in self._places)
        if not counts:
            return np.zeros_like(self._bias)
        values = 1.0 + np.log(np.array(list(counts.values()), np.float64))
        values /= np.linalg.norm(values)
        return np.asarray(values @ self._weights[list(counts)], np.float64)
