"""Calibration and figures: known answers on made logits."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("onnxruntime")
pytest.importorskip("soundfile")

from homeguard.labels import Category
from homeguard.training.calibrate import fit
from homeguard.training.metrics import (
    auc,
    emergency_margin,
    expected_calibration_error,
    figures,
    recall_at,
    threshold_at,
)
from homeguard.training.pool import Windows

FIRE = list(Category).index(Category.FIRE)
INDOOR = list(Category).index(Category.INDOOR)


def made(sharpness: float, n: int = 4_000) -> tuple[np.ndarray, Windows]:
    """Logits whose margin is `sharpness` times the true log odds."""
    rng = np.random.default_rng(0)
    log_odds = rng.normal(-1.0, 2.0, size=n)
    fire = rng.random(n) < 1.0 / (1.0 + np.exp(-log_odds))
    logits = np.full((n, 19), -40.0, dtype=np.float32)
    logits[:, FIRE], logits[:, INDOOR] = sharpness * log_odds, 0.0
    labels = np.where(fire, FIRE, INDOOR).astype(np.int64)
    mels = np.zeros((n, 1, 1), dtype=np.float16)
    return logits, Windows(mels, labels, np.arange(n) % 2 == 1)


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 4.0])
def test_overconfidence_is_undone(sharpness: float) -> None:
    logits, windows = made(sharpness)
    fitted = fit(logits, windows, 0.05)
    assert fitted.scale * sharpness == pytest.approx(1.0, abs=0.1)
    assert fitted.bias == pytest.approx(0.0, abs=0.15)
    assert fitted.temperature == pytest.approx(sharpness, rel=0.15)
    assert fitted.ece_after < 0.02


def test_the_threshold_keeps_the_false_alarm_rate() -> None:
    logits, windows = made(1.0)
    fitted = fit(logits, windows, 0.05)
    probability = 1 / (1 + np.exp(-(fitted.scale * emergency_margin(logits) + fitted.bias)))
    normal = windows.labels == INDOOR
    assert (probability[normal] > fitted.threshold).mean() == pytest.approx(0.05, abs=0.002)


def test_auc_counts_ties_half() -> None:
    scores = np.array([0.1, 0.5, 0.5, 0.9])
    assert auc(scores, np.array([False, False, True, True])) == pytest.approx(0.875)
    assert np.isnan(auc(scores, np.zeros(4, dtype=bool)))


def test_recall_is_over_the_threshold_of_the_rate() -> None:
    scores = np.arange(200, dtype=np.float64)
    positive = scores >= 150
    positive[149] = True
    assert threshold_at(scores, positive, 0.0) == 148
    assert recall_at(scores, positive, 0.01) == 1.0


def test_perfect_answers_give_perfect_figures() -> None:
    labels = np.array([FIRE, INDOOR, INDOOR])
    found = figures(np.array([3.0, -1.0, -2.0]), labels, labels, threshold=0.0)
    assert (found.auc, found.accuracy, found.macro_f1, found.binary_accuracy) == (1, 1, 1, 1)


def test_ece_of_a_lying_certainty_is_its_error() -> None:
    positive = np.array([True, False] * 50)
    assert expected_calibration_error(np.full(100, 0.99), positive) == pytest.approx(0.49)
