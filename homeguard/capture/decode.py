"""Recordings and network streams, decoded by PyAV (FFmpeg) a frame at a time.

For the decoder's process alone (`capture/decoder.py`): what comes from outside is decoded here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from homeguard.capture.damage import Damage
from homeguard.capture.intake import Intake
from homeguard.domain import AudioChunk, SourceError

ROOM = ""  # whose sound it is, the process that asks knows
OPEN_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 5.0
# What FFmpeg may open in turn: a playlist must not lead a file to the network, or a url to a file.
FILE_PROTOCOLS = "file"
URL_PROTOCOLS = "http,https,rtsp,rtsps,rtp,udp,tcp,tls,crypto,httpproxy,hls"
# Full scale of FFmpeg's integer sample formats, packed or planar.
FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}


def decode_file(path: Path, longest_s: float, damage: Damage) -> Iterator[AudioChunk]:
    """A recording to its end; what was wrong with it is noted in `damage`.

    Raises SourceError, never retryable, with the reason: there is no sound at all, or more than
    `longest_s`.
    """
    with _opened(path) as container:
        damage.claimed_s = _claimed_s(container, _missing(path))
        _check_length(_claimed_s(container, 1.0) or 0.0, longest_s)
        for chunk in _decoded(container, damage):
            damage.heard_s = chunk.end_s
            _check_length(chunk.end_s, longest_s)
            yield chunk
    if damage.heard_s == 0.0:
        raise SourceError(damage.stopped or "it holds no sound", retryable=False)


def claimed_length_s(path: Path) -> float | None:
    """The length a file claims; None where its format does not say. Raises SourceError."""
    with _opened(path) as container:
        return _claimed_s(container, 1.0)


def decode_stream(url: str, damage: Damage) -> Iterator[AudioChunk]:
    """A stream until it fails. Raises SourceError, retryable, with the reason, however it ends."""
    options = {"protocol_whitelist": URL_PROTOCOLS}
    if url.lower().startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    try:
        container = av.open(url, options=options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S))
    except (av.error.FFmpegError, OSError, ValueError) as exc:
        message = f"cannot be opened ({_reason(exc)})"
        raise SourceError(message) from exc
    with container:
        if not container.streams.audio:
            message = "the stream carries no audio; switch it on in the camera"
            raise SourceError(message)
        yield from _decoded(container, damage)
    raise SourceError(damage.stopped or "the stream ended")


def _check_length(length_s: float, longest_s: float) -> None:
    if length_s > longest_s:
        message = f"longer than {longest_s / 3600:.0f} h: cut it into pieces"
        raise SourceError(message, retryable=False)


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    if not path.is_file():
        reason = "is a directory" if path.is_dir() else "no such file"
        raise SourceError(reason, retryable=False)
    # "file:" keeps FFmpeg from reading a protocol out of the name.
    options = {"protocol_whitelist": FILE_PROTOCOLS}
    try:
        if path.stat().st_size == 0:
            message = "the file is empty"
            raise SourceError(message, retryable=False)
        container = av.open(f"file:{path}", options=options)
    except OSError as exc:  # PyAV's errors of the system are the system's
        raise SourceError(_reason(exc), retryable=False) from exc
    except (av.error.FFmpegError, ValueError) as exc:
        message = f"not a recording that can be read ({_reason(exc)})"
        raise SourceError(message, retryable=False) from exc
    with container:
        if not container.streams.audio:
            message = "holds no audio stream"
            raise SourceError(message, retryable=False)
        yield container


def _decoded(container: InputContainer, damage: Damage) -> Iterator[AudioChunk]:
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
            intake, shape = Intake(ROOM, rate, heard_s), (rate, block.shape[1])
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
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":  # noqa: PLR2004 - the number says itself
        return 1.0
    claimed = int.from_bytes(head[4:8], "little") + 8
    unknown = claimed in (8, 2**32 + 7)  # written by a program that could not seek back
    return 1.0 if unknown else max(1.0, claimed / path.stat().st_size)


def _reason(exc: Exception) -> str:
    return getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
