"""The model to beat, measured: a head on stored features, chosen on val, told apart on test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("sklearn")
pytest.importorskip("scipy")

from homeguard.training.corpus import open_audio, read_manifest, summary  # noqa: E402 - after the skip
from homeguard.training.peer import measure  # noqa: E402 - after the skip
from homeguard.training.teacher import TeacherError  # noqa: E402 - after the skip


def corpus(folder: Path) -> Path:
    rows = ["path,category,split,label_confidence"]
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 6), ("test", 6)):
        for index in range(count):
            for category in ("fire", "indoor"):
                name = f"{split}-{category}-{index}.wav"
                soundfile.write(folder / name, 0.1 * rng.standard_normal(8_000), 16_000)
                confidence = "low" if split == "test" and index == 0 else "high"
                rows.append(f"{name},{category},{split},{confidence}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "manifest.csv"


def test_the_peer_is_measured_with_and_without_low_confidence(tmp_path: Path) -> None:
    clips = read_manifest(corpus(tmp_path))
    audio = open_audio(clips, tmp_path / "cache")
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((len(clips), 8)).astype(np.float32)
    rows[[clip.category.is_emergency for clip in clips], 0] += 6.0
    np.save(tmp_path / "cache" / f"yamnet-{summary(clips)['sha256']!s:.16}.npy", rows)

    found = measure(tmp_path / "yamnet.tflite", clips, audio, tmp_path / "cache", "test")

    sure, everything = found["without_low_confidence"], found["all"]
    assert isinstance(sure, dict)
    assert isinstance(everything, dict)
    assert (sure["clips"], everything["clips"]) == (10, 12)
    assert sure["auc"] == pytest.approx(1.0)


def test_without_yamnet_it_says_so(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    clips = read_manifest(corpus(tmp_path))
    audio = open_audio(clips, tmp_path / "cache")
    with pytest.raises(TeacherError, match=r"yamnet\.tflite is missing"):
        measure(tmp_path / "yamnet.tflite", clips, audio, tmp_path / "cache", "test")
