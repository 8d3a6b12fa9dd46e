"""Figures by which voters are judged, from logits and labels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from homeguard.labels import Category
from homeguard.mel import Float32

Floats: TypeAlias = NDArray[np.float64]
FALSE_ALARM_RATES: tuple[float, ...] = (0.10, 0.05, 0.01)
_EMERGENCY = np.array([category.is_emergency for category in Category])


@dataclass(frozen=True, slots=True)
class Figures:
    """How well clips are told apart; recalls are by false-alarm rate in percent ("5")."""

    clips: int
    emergencies: int
    auc: float
    recall: dict[str, float]
    accuracy: float
    macro_f1: float
    binary_accuracy: float


def emergency_margin(logits: Float32) -> Floats:
    """Logsumexp of the emergency logits minus that of the normal ones; (n, 19) to (n,)."""
    wide = np.asarray(logits, dtype=np.float64)
    return _logsumexp(wide[:, _EMERGENCY]) - _logsumexp(wide[:, ~_EMERGENCY])


def is_emergency(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which labels (positions in `Category`) are emergencies."""
    return np.asarray(_EMERGENCY[labels])


def auc(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by ranks (ties count half); NaN when a side is empty."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    lowest = positives * (positives + 1) / 2.0
    return float((mean_rank[positive].sum() - lowest) / (positives * negatives))


def threshold_at(scores: Floats, positive: NDArray[np.bool_], false_alarm_rate: float) -> float:
    """The score that at most that share of the negatives lies above."""
    negatives = np.sort(scores[~positive])[::-1]
    return float(negatives[min(int(false_alarm_rate * len(negatives)), len(negatives) - 1)])


def recall_at(scores: Floats, positive: NDArray[np.bool_], false_alarm_rate: float) -> float:
    """Share of positives over the threshold of `threshold_at`."""
    return float((scores[positive] > threshold_at(scores, positive, false_alarm_rate)).mean())


def macro_f1(predicted: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Mean F1 over the categories that occur in `labels`."""
    scores = []
    for category in np.unique(labels):
        hits = int(((predicted == category) & (labels == category)).sum())
        total = int((predicted == category).sum() + (labels == category).sum())
        scores.append(2.0 * hits / total)
    return float(np.mean(scores))


def figures(
    scores: Floats, predicted: NDArray[np.int64], labels: NDArray[np.int64], threshold: float
) -> Figures:
    """All figures of n clips: emergency scores, categories told and true, a score threshold."""
    positive = is_emergency(labels)
    return Figures(
        clips=len(labels),
        emergencies=int(positive.sum()),
        auc=auc(scores, positive),
        recall={f"{100 * rate:g}": recall_at(scores, positive, rate) for rate in FALSE_ALARM_RATES},
        accuracy=float((predicted == labels).mean()),
        macro_f1=macro_f1(predicted, labels),
        binary_accuracy=float(((scores > threshold) == positive).mean()),
    )


def expected_calibration_error(
    probabilities: Floats, positive: NDArray[np.bool_], bins: int = 15
) -> float:
    """ECE of binary probabilities over equal bins (Guo et al. 2017, for one class)."""
    which = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    error = 0.0
    for index in range(bins):
        inside = which == index
        if inside.any():
            gap = abs(float(probabilities[inside].mean()) - float(positive[inside].mean()))
            error += gap * float(inside.mean())
    return error


def _logsumexp(values: Floats) -> Floats:
    top = values.max(axis=1, keepdims=True)
    return np.asarray(top[:, 0] + np.log(np.exp(values - top).sum(axis=1)))
