"""Recordings: every form FFmpeg reads comes out as 16 kHz mono, every fault as one clear line."""

from __future__ import annotations

import http.server
import itertools
import os
import threading
import wave
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from homeguard.capture.media import MediaFile, MediaStream, hide_password
from homeguard.domain import BLOCK_SAMPLES, AudioChunk, SourceError

RATE = 16_000


def tone(seconds: float, rate: int, channels: int = 1, hz: float = 1000.0) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return np.repeat(0.5 * np.sin(2 * np.pi * hz * t)[:, None], channels, axis=1)


def heard(path: Path) -> np.ndarray:
    return np.concatenate([c.samples for c in MediaFile("hall", path).chunks()])


def loudest_hz(sound: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(sound))) * RATE / len(sound))


@pytest.mark.parametrize(
    ("name", "rate", "channels", "subtype"),
    [
        ("plain.wav", 16_000, 1, "PCM_16"),
        ("eight_bit.wav", 8_000, 1, "PCM_U8"),
        ("studio.wav", 192_000, 2, "PCM_24"),
        ("surround.wav", 48_000, 6, "FLOAT"),
        ("double.wav", 44_100, 2, "DOUBLE"),
        ("long.flac", 44_100, 2, "PCM_24"),
        ("lossy.ogg", 22_050, 1, "VORBIS"),
        ("small.opus", 48_000, 1, "OPUS"),
        ("music.mp3", 44_100, 2, "MPEG_LAYER_III"),
        ("phone.au", 8_000, 1, "ULAW"),
    ],
)
def test_any_form_comes_out_as_16_khz_mono(tmp_path, name, rate, channels, subtype):
    path = tmp_path / name
    soundfile.write(path, tone(2.0, rate, channels), rate, subtype=subtype, format=_format(name))
    sound = heard(path)
    assert len(sound) == pytest.approx(2.0 * RATE, rel=0.05)
    assert loudest_hz(sound) == pytest.approx(1000.0, abs=2.0)
    middle = sound[RATE // 2 : -RATE // 2]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    assert MediaFile("hall", path).duration_s == pytest.approx(2.0, abs=0.1)


def _format(name: str) -> str | None:
    return {"opus": "OGG"}.get(name.rpartition(".")[2])


def test_chunks_are_whole_blocks_in_stream_time_and_read_only(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1.0, 44_100, 2), 44_100)
    chunks = list(MediaFile("hall", path).chunks())
    assert {len(c.samples) for c in chunks[:-1]} == {BLOCK_SAMPLES}
    assert [c.start_s for c in chunks] == pytest.approx(np.arange(len(chunks)) * 0.096)
    assert all(c.room == "hall" and not c.samples.flags.writeable for c in chunks)
    assert sum(len(c.samples) for c in chunks) == RATE


def test_samples_that_are_no_number_become_silence_and_are_counted(tmp_path):
    sound = tone(1.0, RATE).astype(np.float32)
    sound[100:200] = np.nan
    sound[300] = np.inf
    path = tmp_path / "nan.wav"
    soundfile.write(path, sound, RATE, subtype="FLOAT")
    media = MediaFile("hall", path)
    assert all(np.isfinite(c.samples).all() for c in media.chunks())
    assert media.damage.nonfinite == 101
    assert str(media.damage) == "101 samples were not numbers"


def test_a_constant_offset_is_removed(tmp_path):
    path = tmp_path / "offset.wav"
    soundfile.write(path, tone(2.0, RATE) * 0.1 + 0.3, RATE)
    assert abs(heard(path)[RATE // 2 :].mean()) < 0.002


def test_a_truncated_recording_gives_what_is_there_and_says_so(tmp_path):
    path = tmp_path / "cut.wav"
    soundfile.write(path, tone(4.0, RATE), RATE)
    path.write_bytes(path.read_bytes()[: 44 + 2 * RATE])
    media = MediaFile("hall", path)
    assert sum(len(c.samples) for c in media.chunks()) == RATE
    assert "cut short: 1.0 s of 4.0 s" in str(media.damage)


def test_a_truncated_flac_gives_what_is_there_and_says_so(tmp_path):
    path = tmp_path / "cut.flac"
    rng = np.random.default_rng(1)
    soundfile.write(path, 0.1 * rng.standard_normal(4 * RATE), RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    media = MediaFile("hall", path)
    assert 1.5 * RATE < sum(len(c.samples) for c in media.chunks()) < 2.5 * RATE
    assert str(media.damage)


def test_a_whole_recording_has_no_damage(tmp_path):
    path = tmp_path / "a.ogg"
    soundfile.write(path, tone(3.0, 48_000, 2), 48_000)
    media = MediaFile("hall", path)
    list(media.chunks())
    assert not str(media.damage)


def _wav_without_sound(path: Path) -> None:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)


def _picture(path: Path) -> None:
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), dtype=np.uint8), "rgb24")
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_text("dear diary " * 100), "not a recording that can be read"),
        (lambda path: path.write_bytes(b"RIFF\x24\x00\x00\x00WAVE"), "read|sound|stream"),
        (_wav_without_sound, "it holds no sound"),
        (_picture, "holds no audio stream"),
    ],
)
def test_an_unusable_file_is_named_with_the_reason(tmp_path, make, reason):
    path = tmp_path / "bad: input.wav"
    make(path)
    with pytest.raises(SourceError, match=reason) as caught:
        list(MediaFile("hall", path).chunks())
    assert str(path) in str(caught.value)
    assert not caught.value.retryable


def test_a_playlist_is_not_followed(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1.0, RATE), RATE)
    path = tmp_path / "list.m3u8"
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(SourceError):
        list(MediaFile("hall", path).chunks())


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_memory_stays_flat_over_a_long_recording(tmp_path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 8_000, 1, "PCM_U8") as out:
        for _ in range(10):
            out.write(np.zeros(8_000 * 60))  # ten minutes are 38 MB as 16 kHz float32
    sizes = [
        resident_mb() for _ in itertools.islice(MediaFile("hall", path).chunks(), 0, None, 999)
    ]
    assert len(sizes) == 7
    assert sizes[-1] < sizes[1] + 5.0


@pytest.fixture
def web(tmp_path):
    """A loopback web server over tmp_path; gives its url."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="web")
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(5.0)
    server.server_close()


def test_a_stream_by_http_is_heard_and_its_end_may_be_retried(tmp_path, web):
    soundfile.write(tmp_path / "live.ogg", tone(2.0, 44_100, 2), 44_100)
    chunks: list[AudioChunk] = []
    with pytest.raises(SourceError, match="the stream ended") as caught:
        chunks.extend(MediaStream("hall", f"{web}/live.ogg?token=secret").chunks())
    assert caught.value.retryable
    assert "secret" not in str(caught.value)


def test_a_stream_yields_before_it_ends(tmp_path, web):
    soundfile.write(tmp_path / "live.ogg", tone(2.0, 44_100, 2), 44_100)
    chunks = MediaStream("hall", f"{web}/live.ogg").chunks()
    assert len(next(iter(chunks)).samples) == BLOCK_SAMPLES


@pytest.mark.parametrize("path", ["/missing.ogg", "/empty.ogg"])
def test_a_stream_that_cannot_be_opened_may_be_retried(tmp_path, web, path):
    (tmp_path / "empty.ogg").touch()
    with pytest.raises(SourceError, match="cannot be opened") as caught:
        list(MediaStream("hall", web + path).chunks())
    assert caught.value.retryable


def test_an_unreachable_camera_may_be_retried():
    with pytest.raises(SourceError, match=r"rtsp://127\.0\.0\.1:9/a: cannot be opened") as caught:
        list(MediaStream("hall", "rtsp://user:secret@127.0.0.1:9/a").chunks())
    assert caught.value.retryable
    assert "secret" not in str(caught.value)


def test_a_url_of_another_kind_is_refused():
    with pytest.raises(SourceError, match="must begin with rtsp://") as caught:
        MediaStream("hall", "file:///etc/passwd")
    assert not caught.value.retryable


def test_a_password_is_never_shown():
    assert hide_password("rtsp://u:p@cam.local/s?key=1") == "rtsp://cam.local/s"


@pytest.mark.parametrize("claims", [True, False])
def test_a_recording_without_end_is_refused(tmp_path, monkeypatch, claims):
    monkeypatch.setattr("homeguard.capture.media.LONGEST_S", 2.0)
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(16_000 * 5, np.float32), 16_000, subtype="PCM_16")
    if not claims:  # as a program writes it that could not seek back
        head = bytearray(path.read_bytes())
        head[4:8] = head[40:44] = b"\xff\xff\xff\xff"
        path.write_bytes(head)
    recording = MediaFile("den", path)
    with pytest.raises(SourceError, match="cut it into pieces") as caught:
        list(recording.chunks())
    assert not caught.value.retryable
    assert recording.damage.heard_s <= 2.1
