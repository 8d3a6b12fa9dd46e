"""A room's source of sound, and how it is opened again for ever when it fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from homeguard.capture.microphone import Microphone
from homeguard.config import RoomConfig
from homeguard.domain import AudioChunk, AudioSource, SourceError

FIRST_PAUSE_S = 1.0
LAST_PAUSE_S = 8.0  # with the opening itself, a source that is back is heard within 10 s

_log = logging.getLogger(__name__)


class SourceListener(Protocol):
    """Is told when a room's source comes and goes; called from the room's thread."""

    def source_online(self, room: str) -> None:
        """Sound comes again."""
        ...

    def source_offline(self, room: str, reason: str) -> None:
        """No sound comes, for this reason; said again when the reason changes."""
        ...


def open_source(room: RoomConfig, *, stop: threading.Event | None = None) -> AudioSource:
    """The source that the configuration of a room names; it opens when its chunks are asked for.

    `stop` ends a microphone's chunks within a quarter of a second. Raises SourceError for a url
    of a kind that cannot be read.
    """
    if room.file is not None or room.url is not None:
        # A process of its own with FFmpeg, which a home with microphones only can do without.
        from homeguard.capture.media import MediaFile, MediaStream  # noqa: PLC0415 - loaded only where it is needed

        if room.file is not None:
            return MediaFile(room.name, room.file)
        return MediaStream(room.name, room.url or "")
    return Microphone(room.name, room.microphone or "default", stop=stop)


def listen(
    room: RoomConfig,
    listener: SourceListener,
    *,
    stop: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[AudioChunk]:
    """All sound of a room: a recording once, a microphone or a stream until `stop` is set.

    Raises SourceError for a recording that cannot be read, and for a source that will never work.
    """
    if room.file is None:
        yield from reopening(
            lambda: open_source(room, stop=stop), room.name, listener, stop=stop, clock=clock
        )
        return
    heard = False
    for chunk in open_source(room).chunks():
        if not heard:
            listener.source_online(room.name)
            heard = True
        if stop.is_set():
            return
        yield chunk


def reopening(
    open_again: Callable[[], AudioSource],
    room: str,
    listener: SourceListener,
    *,
    stop: threading.Event,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], object] | None = None,
) -> Iterator[AudioChunk]:
    """Chunks of a source that is opened anew whenever it fails or ends, until `stop` is set.

    Stream time runs on by `clock` while the source is away, so that it jumps over the gap. `pause`
    waits so many seconds; it is `stop.wait` unless told otherwise. Raises SourceError only if it
    is not retryable and no sound ever came.
    """
    pause = pause or stop.wait
    began, now_s, ever, wait_s, said = clock(), 0.0, False, FIRST_PAUSE_S, ""
    while not stop.is_set():
        offset_s: float | None = None
        try:
            for chunk in open_again().chunks():
                if offset_s is None:
                    offset_s = max(now_s, clock() - began - chunk.end_s) - chunk.start_s
                    ever, wait_s, said = True, FIRST_PAUSE_S, ""
                    listener.source_online(room)
                moved = replace(chunk, start_s=chunk.start_s + offset_s)
                now_s = moved.end_s
                yield moved
                if stop.is_set():
                    return
            reason = "the source ended"
        except SourceError as exc:
            if not exc.retryable and not ever:
                raise
            reason = str(exc)
        if stop.is_set():
            return
        if reason != said:
            _log.warning("%s: %s", room, reason)
            listener.source_offline(room, reason)
            said = reason
        pause(wait_s)
        wait_s = min(LAST_PAUSE_S, wait_s * 2.0)
