"""Maps made audible: an open mask gives the sound back, a closed one takes it away."""

import numpy as np
import pytest

pytest.importorskip("scipy")
pytestmark = pytest.mark.lab

from homeguard.explain.listen import by_spectrum, by_time, masked, soft_mask, unmel  # noqa: E402 - after the skip
from tests.fakes import noise, tone  # noqa: E402 - after the skip


def test_an_open_mask_gives_the_sound_back():
    sound = noise(5.0, 0.1) + tone(5.0)
    again = masked(sound, np.ones((201, 500), np.float32))
    error = np.square(again - sound).sum() / np.square(sound).sum()
    assert error < 1e-10


def test_by_spectrum_keeps_what_is_hot_and_drops_the_rest():
    low, high = tone(5.0, 500.0), tone(5.0, 3000.0)
    warm = np.zeros((80, 500), np.float32)
    warm[50:64] = 1.0  # around 3 kHz
    kept = by_spectrum(low + high, warm)
    spectrum = np.abs(np.fft.rfft(kept.samples))
    assert spectrum[3000 * 5] > 0.9 * np.abs(np.fft.rfft(high)).max()
    assert spectrum[500 * 5] < 0.02 * spectrum[3000 * 5]
    assert kept.kept == pytest.approx(0.5, abs=0.03)
    assert kept.dropped == pytest.approx(0.5, abs=0.03)


def test_by_time_keeps_the_hot_moment():
    warm = np.zeros((80, 500), np.float32)
    warm[:, 200:300] = 1.0
    kept = by_time(tone(5.0), warm)
    power = np.square(kept.samples).reshape(50, -1).sum(axis=1)
    assert power[22:28].min() > 0.9 * power.max()
    assert power[:18].max() < 1e-6
    assert kept.kept == pytest.approx(0.2, abs=0.03)


def test_the_mask_opens_above_the_75th_percentile():
    heat = np.linspace(0.0, 1.0, 1000, dtype=np.float32).reshape(10, 100)
    mask = soft_mask(heat)
    assert mask.ravel()[740] < 0.5 < mask.ravel()[760]
    assert mask.mean() == pytest.approx(0.25, abs=0.01)


def test_bands_become_the_bins_that_they_hear():
    heat = np.zeros((80, 4), np.float32)
    heat[27] = 1.0
    spread = unmel(heat)
    assert spread.shape == (201, 4)
    assert 1000.0 <= int(spread[:, 0].argmax()) * 40.0 <= 1300.0
    assert unmel(np.ones((80, 4), np.float32)) == pytest.approx(1.0)
