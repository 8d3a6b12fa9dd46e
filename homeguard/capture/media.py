"""Recordings and network streams, decoded in a process of their own (`capture/decoder.py`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from homeguard.capture.damage import Damage
from homeguard.capture.decoder import Limits, Order, borrowed
from homeguard.domain import AudioChunk, SourceError

URL = re.compile(r"(https?|rtsps?)://", re.IGNORECASE)
LONGEST_S = 86_400.0  # of a recording: a few bytes may claim, or even hold, years of silence


class MediaFile:
    """A recording of any format FFmpeg reads; its stream time starts at 0.

    A damaged recording gives what can be decoded; what was wrong is in `damage` afterwards.
    """

    def __init__(self, room: str, path: Path, limits: Limits = Limits()) -> None:  # noqa: B008 frozen
        self._room = room
        self._path = path
        self._limits = limits
        self.damage = Damage()

    @property
    def duration_s(self) -> float | None:
        """The length the file claims; None where its format does not say. Raises SourceError."""
        with borrowed() as decoder:
            for _ in decoder.decode(self._order("length"), self._room, self.damage):
                pass  # a length has no sound
        return self.damage.claimed_s

    def chunks(self) -> Iterator[AudioChunk]:
        """Decode to the end. Raises SourceError, never retryable.

        That is where no sound is there at all, or more than LONGEST_S, or where decoding breaks
        its bounds or its process.
        """
        self.damage = Damage()
        with borrowed() as decoder:
            yield from decoder.decode(self._order("file"), self._room, self.damage)

    def _order(self, kind: str) -> Order:
        path = str(self._path.absolute())
        return Order(kind, path, str(self._path), LONGEST_S, self._limits)


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
        self.damage = Damage()
        order = Order("url", self._url, hide_password(self._url))
        with borrowed(retryable=True) as decoder:
            yield from decoder.decode(order, self._room, self.damage)


def hide_password(url: str) -> str:
    """The url as it may be shown: without user, password and query."""
    return re.sub(r"//[^/@]*@", "//", url).partition("?")[0]
