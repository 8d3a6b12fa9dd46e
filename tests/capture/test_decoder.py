"""What others recorded is decoded apart: a bomb, a hang or a crash costs its own recording only."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from homeguard.capture.decoder import Decoder, Limits, _close_all, borrowed
from homeguard.capture.media import MediaFile
from homeguard.domain import AudioChunk, SourceError
from tests.fakes import noise

RATE = 16_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(60.0, 0.05), RATE)
    return path


def process_of_the_next() -> int:
    with borrowed() as decoder:
        return decoder.pid


@contextmanager
def open_process(pid: int) -> Iterator[int]:
    """A descriptor that can be read once the process has ended."""
    handle = os.pidfd_open(pid)
    yield handle
    os.close(handle)


def harmed(recording: Path, number: signal.Signals, limits: Limits) -> str:
    """What is said when the process gets a signal after the first sound."""
    pid = process_of_the_next()
    chunks = MediaFile("den", recording, limits).chunks()
    assert next(chunks).samples.any()
    os.kill(pid, number)
    with pytest.raises(SourceError) as caught:
        list(chunks)
    assert not caught.value.retryable
    assert not Path(f"/proc/{pid}").exists()
    return str(caught.value)


def test_the_process_that_decodes_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMEGUARD_TWILIO_AUTH_TOKEN", "hush")
    _close_all()  # what earlier tests started knows nothing of it anyway
    decoder = Decoder()
    known = Path(f"/proc/{decoder.pid}/environ").read_bytes()
    decoder.close()
    assert b"PYTHONPATH=" in known
    assert b"hush" not in known


def test_a_crash_is_one_clear_line_and_the_next_recording_is_heard(recording: Path) -> None:
    said = harmed(recording, signal.SIGSEGV, Limits())
    assert said == f"{recording}: the decoder crashed on it (SIGSEGV)"
    assert sum(len(c.samples) for c in MediaFile("den", recording).chunks()) == 60 * RATE


def test_a_hang_is_ended(recording: Path) -> None:
    said = harmed(recording, signal.SIGSTOP, Limits(silent_s=0.5))
    assert said == f"{recording}: the decoder hung: nothing came for 0.5 s"


def test_a_bomb_is_ended_by_the_kernel_and_named(recording: Path) -> None:
    said = harmed(recording, signal.SIGXCPU, Limits())
    assert "took more than 10 s of processor time and 0.5 s for each second of sound" in said


def test_processor_time_is_bounded_by_the_length_of_the_sound(recording: Path) -> None:
    with pytest.raises(SourceError, match="more than 0 s of processor time") as caught:
        list(MediaFile("den", recording, Limits(cpu_s=0.0, cpu_per_s=1e-5)).chunks())
    assert str(recording) in str(caught.value)
    paced = MediaFile("den", recording, Limits(cpu_s=1.0, cpu_per_s=0.1)).chunks()
    assert sum(len(chunk.samples) for chunk in paced) == 60 * RATE


def test_memory_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "big.flac"
    soundfile.write(path, noise(5.0), RATE)
    os.kill(process_of_the_next(), signal.SIGKILL)  # a used one has room that it was given before
    with pytest.raises(SourceError) as caught:
        list(MediaFile("den", path, Limits(memory_mb=0)).chunks())
    assert str(path) in str(caught.value)
    assert len(list(MediaFile("den", path).chunks())) == 53


def test_one_process_takes_many_recordings(recording: Path, tmp_path: Path) -> None:
    short = tmp_path / "b.wav"
    soundfile.write(short, noise(1.0), RATE)
    pids = set()
    for _ in range(5):
        pids.add(process_of_the_next())
        list(MediaFile("den", short).chunks())
        with pytest.raises(SourceError):
            list(MediaFile("den", tmp_path / "gone.wav").chunks())
    assert len(pids) == 1


def test_a_recording_that_is_left_leaves_no_process(recording: Path) -> None:
    pid = process_of_the_next()
    chunks: Iterator[AudioChunk] = MediaFile("den", recording).chunks()
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]  # a generator
    assert not Path(f"/proc/{pid}").exists()


def test_an_idle_process_that_died_is_replaced(recording: Path) -> None:
    pid = process_of_the_next()
    with open_process(pid) as handle:
        os.kill(pid, signal.SIGKILL)
        select.select([handle], [], [], 10.0)
    assert MediaFile("den", recording).duration_s == 60.0


def test_two_recordings_at_a_time_have_a_process_each(recording: Path) -> None:
    first, second = (MediaFile("den", recording).chunks() for _ in range(2))
    assert np.array_equal(next(first).samples, next(second).samples)
    threads = [threading.Thread(target=list, args=(chunks,)) for chunks in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert not any(thread.is_alive() for thread in threads)


def test_the_process_ends_with_the_one_that_asks() -> None:
    decoder = Decoder()
    decoder._connection.close()
    assert decoder._process.wait(10) == 0


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])


def test_decoders_are_forked_from_one_and_end_with_it(recording: Path) -> None:
    first, second = Decoder(), Decoder()
    assert parent_of(first.pid) == parent_of(second.pid) != os.getpid()
    os.kill(parent_of(first.pid), signal.SIGKILL)
    first._connection.close()
    assert first._process.wait(10) is not None
    second.close()  # by its own descriptor, though nobody is left to ask
    assert MediaFile("den", recording).duration_s == 60.0


def test_samples_that_are_no_number_are_told_with_their_chunk(tmp_path: Path) -> None:
    sound = noise(1.0)
    sound[100:200] = np.nan
    path = tmp_path / "nan.wav"
    soundfile.write(path, sound, RATE, subtype="FLOAT")
    chunks = list(MediaFile("den", path).chunks())
    assert [chunk.nonfinite for chunk in chunks[:2]] == [100, 0]
