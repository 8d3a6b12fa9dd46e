"""The corpus: what a manifest must hold, what it refuses, what the cache gives back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")

from homeguard.labels import Category  # noqa: E402 - after the skip
from homeguard.training.corpus import (  # noqa: E402 - after the skip
    Clip,
    CorpusError,
    class_weights,
    open_audio,
    read_manifest,
    select,
)

COLUMNS = "path,category,split,group,licence_class,label_confidence\n"


def write_manifest(folder: Path, rows: str, columns: str = COLUMNS) -> Path:
    manifest = folder / "manifest.csv"
    manifest.write_text(columns + rows, encoding="utf-8")
    return manifest


def write_tone(path: Path, rate: int = 16_000, channels: int = 1) -> None:
    t = np.arange(rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * t)
    soundfile.write(path, np.repeat(tone[:, None], channels, axis=1), rate)


def test_a_group_in_two_splits_is_refused_by_name(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, "a.wav,fire,train,g7,,\nb.wav,fire,test,g7,,\n")
    with pytest.raises(CorpusError, match="'g7' crosses splits: test, train"):
        read_manifest(manifest)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("a.wav,flood,train,,,\n", "category 'flood' is unknown"),
        ("a.wav,fire,dev,,,\n", "split 'dev' is unknown"),
        ("a.wav,fire,train,,mine,\n", "licence_class 'mine' is unknown"),
        ("a.wav,fire,train,,,\n", "not on the disk"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, row: str, complaint: str) -> None:
    with pytest.raises(CorpusError, match=complaint):
        read_manifest(write_manifest(tmp_path, row))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="column split is missing"):
        read_manifest(write_manifest(tmp_path, "a.wav,fire\n", "path,category\n"))


def test_restricted_and_unverified_never_come_through(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav")
    rows = "".join(
        f"a.wav,fire,train,,{licence},\n" for licence in ("free", "restricted", "unverified")
    )
    clips = read_manifest(write_manifest(tmp_path, rows), licences=("free", "restricted"))
    assert [clip.licence for clip in clips] == ["free"]


def test_audio_is_16_khz_mono_and_cached(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", rate=44_100, channels=2)
    clips = read_manifest(write_manifest(tmp_path, "a.wav,fire,train,,,\n"))
    first = open_audio(clips, tmp_path / "cache").samples(clips[0])
    (tmp_path / "cache" / "unrelated").touch()
    again = open_audio(clips, tmp_path / "cache").samples(clips[0])
    assert first.dtype == np.float32
    assert len(first) == 16_000
    assert 0.45 < float(np.abs(first).max()) < 0.55
    np.testing.assert_array_equal(first, again)


def test_a_span_cuts_its_event_out(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav")
    clip = Clip(tmp_path / "a.wav", Category.FIRE, "train", "g", span_s=(0.25, 0.75))
    assert len(open_audio([clip], tmp_path / "cache").samples(clip)) == 8_000


def test_an_undecodable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"no sound in here")
    clips = read_manifest(write_manifest(tmp_path, "a.wav,fire,train,,,\n"))
    with pytest.raises(CorpusError, match=r"a\.wav cannot be decoded"):
        open_audio(clips, tmp_path / "cache")


def test_weights_favour_the_rare_and_skip_the_absent() -> None:
    clips = [Clip(Path(f"{i}"), Category.INDOOR, "train", str(i)) for i in range(9)]
    clips.append(Clip(Path("f"), Category.FIRE, "train", "f", confidence="low"))
    weights = dict(zip(Category, class_weights(clips), strict=True))
    assert weights[Category.FIRE] == pytest.approx(3 * weights[Category.INDOOR], rel=1e-5)
    assert weights[Category.STORM] == 0
    assert len(select(clips, "train", ("high", "medium"))) == 9
