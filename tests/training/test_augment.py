"""Augmentation: sizes, levels, the audibility rule, and that the seed decides everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")

from homeguard.mel import log_mel, log_power
from homeguard.training.augment import (
    UNTOUCHED,
    Augmenter,
    AugmentOptions,
    active_frames,
    coloured_noise,
    mask_mel,
    mix_mels,
    simulate_rooms,
)

SIZE = 80_000
ALWAYS_MIXED = AugmentOptions(
    clean=0.0, background=1.0, colour=0.0, low_pass=0.0, microphone_noise=0.0, overdrive=0.0
)


def burst(seconds: float, hz: float = 1000.0) -> np.ndarray:
    t = np.arange(int(seconds * 16_000)) / 16_000
    return np.sin(2 * np.pi * hz * t).astype(np.float32)


def tone_power(window: np.ndarray, hz: float) -> float:
    return float(np.abs(np.fft.rfft(window))[round(hz * len(window) / 16_000)] ** 2)


def test_an_untouched_window_is_the_recording_and_zeros() -> None:
    event = burst(1.0)
    window = Augmenter(UNTOUCHED).window(event, None, np.random.default_rng(0))
    np.testing.assert_array_equal(window[:16_000], event)
    assert not window[16_000:].any()


@pytest.mark.parametrize("seconds", [0.4, 3.0, 9.0])
def test_the_event_is_in_every_window(seconds: float) -> None:
    rng = np.random.default_rng(1)
    augmenter = Augmenter(ALWAYS_MIXED)
    for _ in range(20):
        window = augmenter.window(burst(seconds), coloured_noise(SIZE, 0.0, rng), rng)
        assert window.shape == (SIZE,)
        assert np.abs(window).max() <= 1.0
        share = tone_power(window, 1000.0) / tone_power(window, 3000.0)
        assert share > 10.0


def test_whole_speech_stays_whole() -> None:
    options = AugmentOptions(clean=0.0, background=0.0, colour=0, low_pass=0, microphone_noise=0)
    rng = np.random.default_rng(2)
    for _ in range(10):
        window = Augmenter(options).window(burst(4.0), None, rng, keep_whole=True)
        assert np.count_nonzero(active_frames(window)) >= 159


def test_the_seed_decides() -> None:
    noise = coloured_noise(SIZE, 1.0, np.random.default_rng(3))
    augmenter = Augmenter(AugmentOptions())
    first, again = (augmenter.window(burst(1.0), noise, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_masks_touch_a_copy_only() -> None:
    mel = np.random.default_rng(5).standard_normal((80, 500)).astype(np.float32)
    before = mel.copy()
    masked = mask_mel(mel, np.random.default_rng(6))
    np.testing.assert_array_equal(mel, before)
    assert (masked != mel).any()


def test_mixing_mels_is_close_to_mixing_samples() -> None:
    noise = coloured_noise(SIZE, 0.0, np.random.default_rng(7)) * np.float32(0.1)
    other = coloured_noise(SIZE, 1.0, np.random.default_rng(8)) * np.float32(0.1)
    powers = [float((10.0 ** log_power(samples)).mean()) for samples in (noise, other)]
    snr_db = np.array([10.0 * np.log10(powers[0] / powers[1])], dtype=np.float32)
    mixed = mix_mels(log_mel(noise)[None], log_mel(other)[None], snr_db)[0]
    assert np.abs(mixed - log_mel(noise + other)).mean() < 0.05


def test_rooms_begin_with_the_direct_sound(tmp_path: Path) -> None:
    pytest.importorskip("pyroomacoustics")
    rooms = simulate_rooms(tmp_path, count=3, seed=1)
    assert len(rooms) == 3
    for room in rooms:
        assert np.abs(room[:64]).max() == pytest.approx(1.0)
    again = simulate_rooms(tmp_path, count=3, seed=1)
    np.testing.assert_array_equal(rooms[0], again[0])
