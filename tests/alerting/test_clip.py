"""Clips: whole or not at all, bounded, and never in the way of an alert."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from homeguard.alerting.clip import SAMPLE_RATE, ClipWriter
from homeguard.config import ClipsConfig
from homeguard.domain import Float32

NOW = 1_700_000_000.0  # before any file that a test writes
DAY = 86_400


def a_sound(seconds: float) -> Float32:
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


def a_writer(directory: Path, **changes: float | bool) -> ClipWriter:
    return ClipWriter(ClipsConfig.model_validate(changes), directory, lambda: NOW)


def age(path: Path, days: float) -> None:
    os.utime(path, (NOW - days * DAY, NOW - days * DAY))


def test_a_clip_is_flac_that_reads_back_as_it_was(tmp_path: Path) -> None:
    clip = a_writer(tmp_path).write("abc", a_sound(2.0))
    assert clip is not None
    sound, rate = soundfile.read(clip.path, dtype="float32")
    assert rate == SAMPLE_RATE
    assert np.abs(sound - a_sound(2.0)).max() < 1e-4
    assert (clip.media_type, clip.duration_s) == ("audio/flac", 2.0)
    assert clip.sha256 == hashlib.sha256(clip.path.read_bytes()).hexdigest()
    assert clip.path.stat().st_mode & 0o077 == 0


def test_a_longer_clip_of_the_same_incident_replaces_the_first(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    first = writer.write("abc", a_sound(1.0))
    second = writer.write("abc", a_sound(3.0))
    assert first is not None
    assert second is not None
    assert first.path == second.path
    assert soundfile.info(second.path).duration == 3.0
    assert [path.name for path in tmp_path.iterdir()] == ["abc.flac"]


def test_a_clip_is_cut_to_its_bound(tmp_path: Path) -> None:
    clip = a_writer(tmp_path, max_s=2.0).write("abc", a_sound(5.0))
    assert clip is not None
    assert clip.duration_s == 2.0


def test_damaged_samples_are_written_as_sound(tmp_path: Path) -> None:
    samples = np.array([np.nan, np.inf, -np.inf, 7.0] * 100, dtype=np.float32)
    clip = a_writer(tmp_path).write("abc", samples)
    assert clip is not None
    assert np.isfinite(soundfile.read(clip.path)[0]).all()


def test_switched_off_writes_nothing(tmp_path: Path) -> None:
    assert a_writer(tmp_path / "clips", enabled=False).write("abc", a_sound(1.0)) is None
    assert not (tmp_path / "clips").exists()


def test_no_sound_gives_no_clip(tmp_path: Path) -> None:
    assert a_writer(tmp_path).write("abc", a_sound(0.0)) is None


def test_an_incident_id_never_leads_out_of_the_directory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no incident id"):
        a_writer(tmp_path).write("../abc", a_sound(1.0))


def test_old_clips_go_but_not_those_of_running_incidents(tmp_path: Path) -> None:
    writer = a_writer(tmp_path, keep_days=7)
    clips = [writer.write(name, a_sound(0.1)) for name in ("old", "running", "young")]
    for clip, days in zip(clips, (8, 8, 1), strict=True):
        assert clip is not None
        age(clip.path, days)
    assert writer.prune(running=("running",)) == 1
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["running", "young"]


def test_the_oldest_make_room_when_the_size_is_reached(tmp_path: Path) -> None:
    size = len(_flac(tmp_path))
    writer = a_writer(tmp_path / "clips", max_mb=2.5 * size / 1e6)
    for days, name in ((3, "a"), (2, "b"), (1, "c"), (0, "d")):
        clip = writer.write(name, _noise())
        assert clip is not None
        age(clip.path, days)
    assert sorted(path.stem for path in (tmp_path / "clips").iterdir()) == ["c", "d"]


def test_a_full_disk_gives_no_clip_and_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = a_writer(tmp_path)
    with monkeypatch.context() as patch, caplog.at_level(logging.INFO):
        patch.setattr(os, "fsync", full)
        assert writer.write("a", a_sound(1.0)) is None
        assert writer.write("b", a_sound(1.0)) is None
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert list(tmp_path.iterdir()) == []
    assert writer.write("c", a_sound(1.0)) is not None


def test_half_a_clip_left_by_a_crash_is_swept_at_start(tmp_path: Path) -> None:
    (tmp_path / "abc.tmp").write_bytes(b"half")
    a_writer(tmp_path)
    assert list(tmp_path.iterdir()) == []


def _noise() -> Float32:
    return np.random.default_rng(1).uniform(-0.5, 0.5, SAMPLE_RATE).astype(np.float32)


def _flac(directory: Path) -> bytes:
    clip = ClipWriter(ClipsConfig(), directory / "probe").write("probe", _noise())
    assert clip is not None
    return clip.path.read_bytes()


def test_a_picture_lies_beside_its_recording_and_goes_with_it(tmp_path: Path) -> None:
    writer = a_writer(tmp_path)
    clip = writer.write("abc", a_sound(1.0))
    picture = writer.attach("abc", b"png")
    assert clip is not None
    assert picture == tmp_path / "abc.png"
    assert picture.read_bytes() == b"png"
    assert picture.stat().st_mode & 0o077 == 0
    age(clip.path, days=30)
    assert writer.prune() == 1
    assert not list(tmp_path.iterdir())


def test_a_picture_without_a_recording_is_not_kept(tmp_path: Path) -> None:
    assert a_writer(tmp_path).attach("abc", b"png") is None
    assert not list(tmp_path.iterdir())


def test_pictures_count_towards_the_bound(tmp_path: Path) -> None:
    old, new = (a_writer(tmp_path).write(name, a_sound(0.1)) for name in ("old", "new"))
    assert old is not None
    assert new is not None
    age(old.path, days=1)
    held = old.path.stat().st_size + new.path.stat().st_size
    writer = a_writer(tmp_path, max_mb=(held + 95_000 - 1) / 1e6)
    assert writer.attach("new", bytes(95_000)) is not None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.flac", "new.png"]
