"""From 19 logits to a sound voter's vote: calibrated probability, threshold, category.

probability = sigmoid(scale * (logsumexp(emergency logits) - logsumexp(normal logits)) + bias)
category    = argmax of softmax(logits / temperature) within the group that the vote names

Source of the temperature: Guo et al., "On Calibration of Modern Neural Networks" (2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from homeguard.config import DecisionConfig, VoterConfig
from homeguard.domain import Float32, Vote
from homeguard.labels import Category
from homeguard.voting.registry import Calibration, ModelEntry

_CATEGORIES = tuple(Category)
_IS_EMERGENCY = np.array([category.is_emergency for category in Category])


class InvalidOutput(Exception):  # noqa: N818 - an outcome that the panel names, not a fault of ours
    """A model gave NaN or a wrong shape; the panel turns it into an INVALID abstention."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a probability is an emergency: by category, else `default`."""

    default: float
    by_category: Mapping[Category, float]

    @classmethod
    def choose(cls, voter: VoterConfig, decision: DecisionConfig, entry: ModelEntry) -> Thresholds:
        """decision.thresholds, then the voter's own threshold, then the manifest's two."""
        if voter.threshold is not None:
            return cls(voter.threshold, decision.thresholds)
        return cls(entry.threshold, {**entry.thresholds, **decision.thresholds})

    def of(self, category: Category) -> float:
        """The threshold for an emergency of this category."""
        return self.by_category.get(category, self.default)


@dataclass(frozen=True, slots=True)
class SoundJudge:
    """Turns the logits of one voter's model into its votes."""

    voter: str
    calibration: Calibration
    thresholds: Thresholds

    def vote(self, logits: Float32) -> Vote:
        """Judge logits of shape (1, 19). Raises InvalidOutput."""
        if logits.shape != (1, len(_CATEGORIES)):
            message = f"logits {logits.shape}, not {(1, len(_CATEGORIES))}"
            raise InvalidOutput(message)
        scores = logits[0].astype(np.float64)
        if not np.isfinite(scores).all():
            message = "logits that are not finite"
            raise InvalidOutput(message)
        alarm = _best(scores, _IS_EMERGENCY)
        probability = self.probability(scores)
        emergency = probability >= self.thresholds.of(alarm)
        category = alarm if emergency else _best(scores, ~_IS_EMERGENCY)
        return Vote(self.voter, emergency, probability=probability, category=category)

    def probability(self, scores: NDArray[np.float64]) -> float:
        """Calibrated probability of an emergency from 19 finite logits."""
        odds = np.logaddexp.reduce(scores[_IS_EMERGENCY]) - np.logaddexp.reduce(
            scores[~_IS_EMERGENCY]
        )
        return float(_sigmoid(self.calibration.scale * odds + self.calibration.bias))


def _best(scores: NDArray[np.float64], group: NDArray[np.bool_]) -> Category:
    # The softmax keeps the order, whatever its temperature.
    return _CATEGORIES[int(np.where(group, scores, -np.inf).argmax())]


def _sigmoid(x: float) -> float:
    return float(0.5 * (1.0 + np.tanh(0.5 * x)))
