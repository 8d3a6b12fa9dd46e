"""The bounded queue between the rooms' capture threads and the one thread that judges."""

from __future__ import annotations

import threading
from collections import Counter, deque

from homeguard.domain import BLOCK_SAMPLES, AudioChunk

CHUNK_S = BLOCK_SAMPLES / 16_000
BEHIND_S = 6.0  # a stall of 5 s is caught up with; more than this is shed
FRESH_S = 2.0


class Inbox:
    """Chunks of all rooms in the order of their arrival, at most `per_room` of each.

    A live room that overflows loses its oldest chunks, counted in `dropped`: late sound is worth
    less than fresh. A patient room (a recording) waits for space instead.
    """

    def __init__(self, per_room: int) -> None:
        self._per_room = per_room
        self._queue: deque[AudioChunk] = deque()
        self._held: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, chunk: AudioChunk, *, patient: bool = False) -> None:
        """Add a chunk. A patient caller waits while its room is full; after close, it is lost."""
        with self._changed:
            while patient and self._held[chunk.room] >= self._per_room and not self._closed:
                self._changed.wait()
            if self._closed:
                return
            if self._held[chunk.room] >= self._per_room:
                self._drop_oldest(chunk.room)
            self._queue.append(chunk)
            self._held[chunk.room] += 1
            self._changed.notify_all()

    def get(self, timeout_s: float) -> AudioChunk | None:
        """The oldest chunk, or None when none came within `timeout_s` or the inbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed, timeout_s)
            if not self._queue:
                return None
            chunk = self._queue.popleft()
            self._held[chunk.room] -= 1
            self._changed.notify_all()
            return chunk

    def close(self) -> None:
        """Take nothing more and wake everyone who waits; what is held can still be had."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def is_empty(self, room: str) -> bool:
        """Whether nothing of the room waits."""
        with self._changed:
            return self._held[room] == 0

    def waiting_s(self, room: str) -> float:
        """How much sound of the room waits: so far judging is behind."""
        with self._changed:
            return self._held[room] * CHUNK_S

    def dropped(self, room: str) -> int:
        """How many chunks of the room were lost so far."""
        with self._changed:
            return self._dropped[room]

    def _drop_oldest(self, room: str) -> None:
        oldest = next(i for i, held in enumerate(self._queue) if held.room == room)
        del self._queue[oldest]
        self._held[room] -= 1
        self._dropped[room] += 1


class Backlog:
    """Whether a room's windows are to be shed: from BEHIND_S of waiting sound until FRESH_S.

    Inference that is slower than sound would otherwise judge what is half a minute old.
    """

    def __init__(self) -> None:
        self._shedding = False

    def sheds(self, waiting_s: float) -> bool:
        """Say it, from how much sound waits now."""
        self._shedding = waiting_s > (FRESH_S if self._shedding else BEHIND_S)
        return self._shedding
