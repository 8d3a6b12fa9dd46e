"""Gaussian data selection: foreign segments go, the rest stays as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("soundfile")
import soundfile

from homeguard.labels import Category
from homeguard.training.corpus import Clip, open_audio
from homeguard.training.selection import (
    SelectionOptions,
    describe,
    resemblance,
    select_corpus,
    select_segments,
    total,
)

OPTIONS = SelectionOptions(segment_s=0.5, threshold=0.5)


def mel_of(levels: list[float], rng: np.random.Generator) -> np.ndarray:
    parts = [level + 0.3 * rng.standard_normal((80, 50)) for level in levels]
    return np.concatenate(parts, axis=1).astype(np.float32)


def test_a_segment_unlike_all_others_is_dropped() -> None:
    rng = np.random.default_rng(0)
    usual, odd = mel_of([0.5] * 8, rng), mel_of([0.5, -3.0, 0.5], rng)
    first, second = select_segments([usual, odd], OPTIONS)
    assert first.kept.all()
    assert second.kept.tolist() == [True, False, True]
    assert float(max(first.scores.max(), second.scores.max())) == pytest.approx(1.0)


def test_a_recording_keeps_its_best_segment() -> None:
    rng = np.random.default_rng(0)
    *_, foreign = select_segments([mel_of([0.5] * 20, rng), mel_of([-3.0, -3.1], rng)], OPTIONS)
    assert int(foreign.kept.sum()) == 1


def test_moments_are_those_of_every_segment() -> None:
    rng = np.random.default_rng(0)
    mel = mel_of([1.0, -1.0], rng)[:, :75]
    np.testing.assert_allclose(describe(mel, 50), [(1.0, 0.3), (-1.0, 0.3)], atol=0.03)


def test_resemblance_is_the_mean_correlation_of_the_densities() -> None:
    moments = np.array([(0.0, 1.0), (0.2, 1.0), (3.0, 0.5)])
    points = np.linspace(-3.0, 4.5, 128)
    curves = [np.exp(-0.5 * ((points - m) / s) ** 2) / s for m, s in moments]
    expected = np.maximum(np.corrcoef(curves).mean(axis=1), 0.0)
    np.testing.assert_allclose(resemblance(moments), expected / expected.max(), atol=1e-9)


def test_only_training_clips_lose_segments(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    hiss = 0.3 * rng.standard_normal(8 * 8_000)
    gap = np.concatenate([hiss[:24_000], np.zeros(16_000), hiss[40_000:]])
    clips = []
    for split in ("train", "test"):
        soundfile.write(tmp_path / f"{split}.wav", gap, 16_000)
        clips.append(Clip(tmp_path / f"{split}.wav", Category.STORM, split, split))  # type: ignore[arg-type]
    audio = open_audio(clips, tmp_path / "cache")
    selected, dropped = select_corpus(clips, audio, OPTIONS)
    assert total(dropped).dropped == dropped[Category.STORM].dropped > 0
    assert len(selected.samples(clips[0])) < len(gap)
    assert len(selected.samples(clips[1])) == len(gap)


def test_nothing_to_select_from_is_no_error() -> None:
    assert select_segments([]) == ()
    assert total({}).share == 0.0
