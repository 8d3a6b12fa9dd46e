"""The log-mel is Whisper's: checked against faster-whisper's own feature extractor."""

from __future__ import annotations

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from homeguard.mel import band_edges_hz, log_mel, mel_filterbank


@pytest.mark.parametrize("seconds", [0.5, 5.0, 7.3])
def test_equals_whispers_features(seconds):
    samples = np.random.default_rng(7).normal(0, 0.1, int(seconds * 16_000)).astype(np.float32)
    frames = len(samples) // 160
    reference = FeatureExtractor()(samples, padding=0)[:, :frames]
    ours = log_mel(samples)
    assert ours.shape == (80, frames)
    assert ours.dtype == np.float32
    assert np.abs(ours - reference).max() < 1e-5


def test_a_tone_lies_in_its_band():
    tone = np.sin(2 * np.pi * 3100 * np.arange(80_000) / 16_000).astype(np.float32)
    centre = band_edges_hz()[1:-1][log_mel(tone).mean(axis=1).argmax()]
    assert abs(centre - 3100) < 120


def test_digital_silence_is_finite():
    assert np.isfinite(log_mel(np.zeros(80_000, np.float32))).all()


def test_the_filterbank_is_shared_and_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        mel_filterbank()[0, 0] = 1.0
