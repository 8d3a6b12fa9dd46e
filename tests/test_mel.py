"""The log-mel is Whisper's: checked against faster-whisper's own feature extractor."""

from __future__ import annotations

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor
from hypothesis import given, settings
from hypothesis import strategies as st

from homeguard.mel import RollingLogMel, band_edges_hz, log_mel, mel_filterbank


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


STREAM = np.random.default_rng(3).normal(0, 0.1, 200_000).astype(np.float32)
STREAM[60_000:90_000] *= np.linspace(1.0, 0.0, 30_000, dtype=np.float32) ** 4
ROUNDING = 1e-6


@settings(deadline=None, derandomize=True)
@given(
    length=st.integers(201, 40_000),
    advances=st.lists(
        st.integers(0, 40_000) | st.integers(0, 250).map(lambda hops: 160 * hops), max_size=6
    ),
)
def test_rolling_over_a_stream_gives_what_each_window_gives_alone(length, advances):
    rolling, begin = RollingLogMel(), 0
    for advance in (0, *advances):
        begin = (begin + advance) % (len(STREAM) - length)
        window = STREAM[begin : begin + length]
        rolled = rolling.log_mel(window, advance)
        assert rolled.shape == (80, length // 160)
        assert np.abs(rolled - log_mel(window)).max(initial=0.0) < ROUNDING


@pytest.mark.parametrize("other", [STREAM[16_000:96_000] * 0.5, np.zeros(80_000, np.float32)])
def test_a_stream_that_does_not_go_on_as_told_is_computed_anew(other):
    rolling = RollingLogMel()
    rolling.log_mel(STREAM[:80_000], 0)
    rolled = rolling.log_mel(other, 16_000)
    assert np.allclose(rolled, log_mel(other), rtol=0.0, atol=ROUNDING)


def test_a_window_given_out_stays_as_it_was():
    rolling = RollingLogMel()
    first = rolling.log_mel(STREAM[:80_000], 0)
    before = first.copy()
    rolling.log_mel(STREAM[16_000:96_000], 16_000)
    assert np.array_equal(first, before)
