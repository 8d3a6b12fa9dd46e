"""Decides what is worth hearing, so that silence costs nothing.

A chunk is active when it stands above the room's noise floor in any octave, is loud in itself, or
holds confirmed speech. Steady noise sinks into the floor; so that an emergency that grows slowly
cannot hide in it, a room that is louder than it was is listened to once in a while all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from homeguard.capture.level import NoiseFloor, levels_dbfs
from homeguard.capture.speech import SpeechDetector
from homeguard.config import GateConfig
from homeguard.domain import AudioChunk, Float32, Mark

QUIET_RISE_DB_PER_S = 3.0 / 3600.0  # how fast a louder room becomes the house's own quiet


class Gate:
    """Marks the chunks of one room, in order."""

    def __init__(
        self, config: GateConfig, hears_speech: Callable[[AudioChunk], bool] | None = None
    ) -> None:
        self._config = config
        self._floor = NoiseFloor(config.floor_window_s, config.floor_settle_s)
        self._speech = SpeechDetector(config.vad_mode, config.speech_probability)
        self.hears_speech = hears_speech or self._speech.hear
        self._open_until_s = -math.inf
        # What follows from the floor, which changes once a second.
        self._known: Float32 | None = None
        self._wanted = np.zeros(0, np.float32)  # levels that stand out of it
        self._quiet = np.zeros(0, np.float32)  # the house's own quiet when the floor last changed
        self._since_s = 0.0  # sound heard since then

    def mark(self, chunk: AudioChunk) -> Mark:
        """Say what the gate heard in a chunk. Raises ModelError if Silero is missing."""
        levels = levels_dbfs(chunk.samples)
        duration_s = chunk.end_s - chunk.start_s
        self._floor.update(levels, duration_s)
        floor = self._floor.dbfs
        if floor is not self._known and floor is not None:
            self._learn(floor, duration_s)
        else:
            self._since_s += duration_s
        level_dbfs = float(levels[0])
        audible = level_dbfs >= self._config.min_dbfs
        speech = audible and self.hears_speech(chunk)
        if not audible:
            self._speech.skip(chunk)
        if audible and (speech or self._stands_out(levels)):
            self.listen_until(chunk.end_s + self._config.hold_s)
        elif audible and self._hides_something(chunk.start_s):
            self.listen_until(chunk.end_s + self._config.relisten_for_s)
        return Mark(
            chunk=chunk,
            active=chunk.start_s < self._open_until_s,
            speech=speech,
            level_dbfs=level_dbfs,
            floor_dbfs=None if floor is None else float(floor[0]),
        )

    def listen_until(self, stream_s: float) -> None:
        """Stay open until then, whatever is heard: an incident is going on."""
        self._open_until_s = max(self._open_until_s, stream_s)

    def _learn(self, floor: Float32, duration_s: float) -> None:
        """Take a new floor, at the end of `duration_s` of sound."""
        if self._known is None:
            self._quiet = floor
        else:
            risen = self._quiet_now() + np.float32(QUIET_RISE_DB_PER_S * duration_s)
            self._quiet = np.minimum(floor, risen)
        self._known, self._since_s = floor, 0.0
        self._wanted = np.maximum(floor + self._config.margin_db, self._config.min_dbfs)

    def _quiet_now(self) -> Float32:
        """The quietest that the room has been, raised a little with time."""
        assert self._known is not None  # noqa: S101 - asked of a known floor only
        risen = self._quiet + np.float32(QUIET_RISE_DB_PER_S * self._since_s)
        quiet: Float32 = np.minimum(self._known, risen)
        return quiet

    def _stands_out(self, levels: Float32) -> bool:
        if self._known is None or levels[0] >= self._config.open_dbfs:
            return True
        return bool(np.logical_or.reduce(levels >= self._wanted))

    def _hides_something(self, now_s: float) -> bool:
        """Whether the room has been louder than its own quiet, and unheard, for long enough."""
        config = self._config
        due = config.relisten_s and now_s >= self._open_until_s + config.relisten_s
        if not due or self._known is None:
            return False
        return bool((self._known >= self._quiet_now() + config.margin_db).any())
