"""Sound as devices give it, made fit to be judged: holes in it, offsets, channels."""

from __future__ import annotations

import numpy as np
import pytest

from homeguard.capture.intake import SAMPLE_RATE, Intake
from homeguard.domain import AudioChunk, Float32
from tests.fakes import noise


def heard(block: Float32) -> tuple[Float32, Intake]:
    """What comes out of one block (n, channels), and the intake."""
    intake = Intake("hall", SAMPLE_RATE)
    chunks = [*intake.push(block), *intake.end()]
    return np.concatenate([chunk.samples for chunk in chunks]), intake


def tone(seconds: float = 1.0, channels: int = 1) -> Float32:
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sine = (0.5 * np.sin(2 * np.pi * 440.0 * t)).astype(np.float32)
    return np.tile(sine[:, np.newaxis], (1, channels))


def test_single_samples_that_are_no_number_make_no_click() -> None:
    spoilt = tone()
    spoilt[100::500] = np.nan
    spoilt[101::1000] = np.inf
    sound, intake = heard(spoilt)
    whole, _ = heard(tone())
    assert intake.nonfinite == 32 + 16
    assert np.abs(sound - whole).max() < 0.03


def test_holes_leave_the_tone_of_a_smoke_alarm_what_it_is() -> None:
    t = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    whole = (0.5 * np.sin(2 * np.pi * 3_100.0 * t)).astype(np.float32)[:, np.newaxis]
    spoilt = whole.copy()
    spoilt[100::1000] = np.nan
    sound, _ = heard(spoilt)
    clean, _ = heard(whole)
    assert np.abs(sound - clean).max() < 0.06  # a line through the neighbours is off by 0.3


def test_a_long_gap_is_silence() -> None:
    spoilt = tone()
    spoilt[4000:8000] = np.nan
    sound, intake = heard(spoilt)
    assert intake.nonfinite == 4000
    assert np.abs(sound[4000:8000]).max() < 0.01


def test_gaps_at_the_ends_and_nothing_but_gaps_are_silence() -> None:
    spoilt = tone()
    spoilt[:10] = spoilt[-10:] = np.nan
    sound, _ = heard(spoilt)
    assert np.isfinite(sound).all()
    silent, intake = heard(np.full((1600, 2), np.nan, dtype=np.float32))
    assert not silent.any()
    assert intake.nonfinite == 3200


def test_a_gap_in_one_channel_is_bridged_in_it_alone() -> None:
    spoilt = tone(channels=2)
    spoilt[1000, 0] = -np.inf
    sound, _ = heard(spoilt)
    whole, _ = heard(tone(channels=2))
    assert np.abs(sound - whole).max() < 0.01


def taken(sound: Float32, rate: int = 16_000) -> list[AudioChunk]:
    """What comes of mono sound that arrives in blocks of 96 ms."""
    intake = Intake("den", rate)
    step = round(rate * 0.096)
    blocks = (sound[at : at + step, np.newaxis] for at in range(0, len(sound), step))
    return [chunk for block in blocks for chunk in intake.push(block)]


def test_a_constant_offset_is_removed_and_told() -> None:
    chunks = taken(noise(5.0, rms=0.01) + np.float32(0.3))
    assert chunks[-1].offset == pytest.approx(0.3, abs=0.01)
    assert abs(float(chunks[-1].samples.mean())) < 0.005


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_what_was_cut_off_is_told_wherever_its_middle_lies(rate: int) -> None:
    sound = np.clip(noise(5.0 * rate / 16_000, rms=1.0) + np.float32(0.3), -1.0, 1.0)
    share = float(np.mean(np.abs(sound) >= 1.0))
    chunks = taken(sound, rate)
    told = sum(chunk.clipped for chunk in chunks) / sum(len(chunk.samples) for chunk in chunks)
    assert told == pytest.approx(share, rel=0.05)
    assert not any(chunk.clipped for chunk in taken(noise(1.0, rms=0.1)))


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_constant_after_sound_is_digital_silence_at_once(rate: int) -> None:
    flat = np.full(3 * rate, 0.3, np.float32)
    chunks = taken(np.concatenate([noise(3.0 * rate / 16_000, rms=0.01), flat]), rate)
    assert all(chunk.samples.any() for chunk in chunks if chunk.end_s < 2.9)
    assert not any(chunk.samples.any() for chunk in chunks if chunk.start_s > 3.3)
