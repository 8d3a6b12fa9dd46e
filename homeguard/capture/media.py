"""Recordings and network streams, decoded by PyAV (FFmpeg) a frame at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from homeguard.capture.intake import Intake
from homeguard.domain import AudioChunk, SourceError

URL = re.compile(r"(https?|rtsps?)://", re.IGNORECASE)
OPEN_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 5.0
# What FFmpeg may open in turn: a playlist must not lead a file to the network, or a url to a file.
FILE_PROTOCOLS = "file"
URL_PROTOCOLS = "http,https,rtsp,rtsps,rtp,udp,tcp,tls,crypto,httpproxy,hls"
LONGEST_S = 86_400.0  # of a recording: a few bytes may claim, or even hold, years of silence
SHORTFALL = 0.95  # of the length a file claims; holding less than this is worth a warning
# Full scale of FFmpeg's integer sample formats, packed or planar.
FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}


@dataclass(slots=True)
class Damage:
    """What was wrong with a recording that could still be read."""

    packets: int = 0  # skipped because they do not decode
    nonfinite: int = 0  # samples that were no number, zeroed
    claimed_s: float | None = None  # length by the header
    heard_s: float = 0.0  # length decoded
    stopped: str | None = None  # why reading ended before the end

    def __str__(self) -> str:
        said = []
        if self.stopped:
            said.append(f"reading stopped after {self.heard_s:.1f} s: {self.stopped}")
        elif self.claimed_s and self.heard_s < SHORTFALL * self.claimed_s:
            said.append(f"cut short: {self.heard_s:.1f} s of {self.claimed_s:.1f} s are there")
        if self.packets:
            said.append(f"{self.packets} damaged packets skipped")
        if self.nonfinite:
            said.append(f"{self.nonfinite} samples were not numbers and became silence")
        return "; ".join(said)


class MediaFile:
    """A recording of any format FFmpeg reads; its stream time starts at 0.

    A damaged recording gives what can be decoded; what was wrong is in `damage` afterwards.
    """

    def __init__(self, room: str, path: Path) -> None:
        self._room = room
        self._path = path
        self.damage = Damage()

    @property
    def duration_s(self) -> float | None:
        """The length the file claims; None where its format does not say. Raises SourceError."""
        with self._opened() as container:
            return _claimed_s(container, 1.0)

    def chunks(self) -> Iterator[AudioChunk]:
        """Decode to the end. Raises SourceError, never retryable.

        That is where no sound is there at all, or more than LONGEST_S.
        """
        self.damage = damage = Damage()
        with self._opened() as container:
            damage.claimed_s = _claimed_s(container, _missing(self._path))
            self._check_length(_claimed_s(container, 1.0) or 0.0)
            for chunk in _decoded(container, self._room, damage):
                damage.heard_s = chunk.end_s
                self._check_length(chunk.end_s)
                yield chunk
        if damage.heard_s == 0.0:
            reason = damage.stopped or "it holds no sound"
            message = f"{self._path}: {reason}"
            raise SourceError(message, retryable=False)

    def _check_length(self, length_s: float) -> None:
        if length_s > LONGEST_S:
            message = f"{self._path}: longer than {LONGEST_S / 3600:.0f} h: cut it into pieces"
            raise SourceError(message, retryable=False)

    @contextmanager
    def _opened(self) -> Iterator[InputContainer]:
        path = self._path
        if not path.is_file():
            reason = "is a directory" if path.is_dir() else "no such file"
            message = f"{path}: {reason}"
            raise SourceError(message, retryable=False)
        # "file:" keeps FFmpeg from reading a protocol out of the name.
        options = {"protocol_whitelist": FILE_PROTOCOLS}
        try:
            if path.stat().st_size == 0:
                message = f"{path}: the file is empty"
                raise SourceError(message, retryable=False)
            container = av.open(f"file:{path.absolute()}", options=options)
        except OSError as exc:  # PyAV's errors of the system are the system's
            message = f"{path}: {_reason(exc)}"
            raise SourceError(message, retryable=False) from exc
        except (av.error.FFmpegError, ValueError) as exc:
            message = f"{path}: not a recording that can be read ({_reason(exc)})"
            raise SourceError(message, retryable=False) from exc
        with container:
            if not container.streams.audio:
                message = f"{path}: holds no audio stream"
                raise SourceError(message, retryable=False)
            yield container


class MediaStream:
    """An RTSP or HTTP stream; its stream time starts at 0 whenever it is opened."""

    def __init__(self, room: str, url: str) -> None:
        if not URL.match(url):
            message = f"{hide_password(url)}: the url must begin with rtsp://, http:// or https://"
            raise SourceError(message, retryable=False)
        self._room = room
        self._url = url
        self.damage = Damage()

    def chunks(self) -> Iterator[AudioChunk]:
        """Decode until the stream fails. Raises SourceError, retryable, however it ends."""
        name = hide_password(self._url)
        self.damage = damage = Damage()
        options = {"protocol_whitelist": URL_PROTOCOLS}
        if self._url.lower().startswith("rtsp"):
            options["rtsp_transport"] = "tcp"
        try:
            container = av.open(
                self._url, options=options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S)
            )
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            message = f"{name}: cannot be opened ({_reason(exc)})"
            raise SourceError(message) from exc
        with container:
            if not container.streams.audio:
                message = f"{name}: the stream carries no audio; switch it on in the camera"
                raise SourceError(message)
            yield from _decoded(container, self._room, damage)
        message = f"{name}: {damage.stopped or 'the stream ended'}"
        raise SourceError(message)


def hide_password(url: str) -> str:
    """The url as it may be shown: without user, password and query."""
    return re.sub(r"//[^/@]*@", "//", url).partition("?")[0]


def _decoded(container: InputContainer, room: str, damage: Damage) -> Iterator[AudioChunk]:
    """Chunks of the first audio stream; what goes wrong on the way is noted in `damage`."""
    intake: Intake | None = None
    shape: tuple[int, int] | None = None  # rate, channels
    heard_s = 0.0
    for block, rate in _blocks(container, damage):
        if intake is None or (rate, block.shape[1]) != shape:
            # Chained streams may change their form: end the one, go on with the other.
            if intake is not None:
                for chunk in intake.end():
                    heard_s = chunk.end_s
                    yield chunk
            intake, shape = Intake(room, rate, heard_s), (rate, block.shape[1])
        before = intake.nonfinite
        for chunk in intake.push(block):
            heard_s = chunk.end_s
            yield chunk
        damage.nonfinite += intake.nonfinite - before
    if intake is not None:
        yield from intake.end()


def _blocks(container: InputContainer, damage: Damage) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Decoded frames as float32 (n, channels) with their rate, skipping damaged packets."""
    packets = container.demux(container.streams.audio[0])
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.EOFError):
            return
        except (av.error.FFmpegError, OSError) as exc:
            damage.stopped = _reason(exc)
            return
        try:
            frames = packet.decode()
        except av.error.EOFError:
            return
        except (av.error.FFmpegError, ValueError):
            damage.packets += 1
            continue
        for frame in frames:
            if frame.samples and frame.sample_rate:
                yield _samples(frame), frame.sample_rate


def _samples(frame: av.AudioFrame) -> NDArray[np.float32]:
    """A frame as float32 (n, channels), full scale 1."""
    raw = frame.to_ndarray()
    sound = raw.T if frame.format.is_planar else raw.reshape(-1, len(frame.layout.channels))
    scale = FULL_SCALE.get(frame.format.packed.name)
    if scale is None:
        return sound.astype(np.float32)
    if raw.dtype == np.uint8:
        return sound.astype(np.float32) / np.float32(scale) - np.float32(1.0)
    return (sound / scale).astype(np.float32)


def _claimed_s(container: InputContainer, missing: float) -> float | None:
    stream = container.streams.audio[0]
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base) * missing
    return container.duration / av.time_base * missing if container.duration else None


def _missing(path: Path) -> float:
    """How many times longer a WAV says it is than the file; 1 for other formats.

    FFmpeg reports the length that is there instead of the length that was meant.
    """
    with path.open("rb") as file:
        head = file.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":  # noqa: PLR2004
        return 1.0
    claimed = int.from_bytes(head[4:8], "little") + 8
    unknown = claimed in (8, 2**32 + 7)  # written by a program that could not seek back
    return 1.0 if unknown else max(1.0, claimed / path.stat().st_size)


def _reason(exc: Exception) -> str:
    return getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
