"""Decides what is worth hearing, so that silence costs nothing.

A chunk is active when it stands above the room's noise floor in any octave, is loud in itself, or
holds confirmed speech. Steady noise sinks into the floor; so that an emergency that grows slowly
cannot hide in it, a room that is louder than it was is listened to once in a while all the same.
"""

from __future__ import annotations

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
        self._open_until_s = -np.inf
        self._quiet: Float32 | None = None

    def mark(self, chunk: AudioChunk) -> Mark:
        """Say what the gate heard in a chunk. Raises ModelError if Silero is missing."""
        levels = levels_dbfs(chunk.samples)
        duration_s = chunk.end_s - chunk.start_s
        self._floor.update(levels, duration_s)
        self._follow_quiet(duration_s)
        audible = bool(levels[0] >= self._config.min_dbfs)
        speech = audible and self.hears_speech(chunk)
        if not audible:
            self._speech.skip(chunk)
        if audible and (speech or self._stands_out(levels)):
            self.listen_until(chunk.end_s + self._config.hold_s)
        elif audible and self._hides_something(chunk.start_s):
            self.listen_until(chunk.end_s + self._config.relisten_for_s)
        floor = self._floor.dbfs
        return Mark(
            chunk=chunk,
            active=chunk.start_s < self._open_until_s,
            speech=speech,
            level_dbfs=float(levels[0]),
            floor_dbfs=None if floor is None else float(floor[0]),
        )

    def listen_until(self, stream_s: float) -> None:
        """Stay open until then, whatever is heard: an incident is going on."""
        self._open_until_s = max(self._open_until_s, stream_s)

    def _stands_out(self, levels: Float32) -> bool:
        floor = self._floor.dbfs
        if floor is None or levels[0] >= self._config.open_dbfs:
            return True
        config = self._config
        above = (levels >= floor + config.margin_db) & (levels >= config.min_dbfs)
        return bool(above.any())

    def _follow_quiet(self, duration_s: float) -> None:
        floor = self._floor.dbfs
        if floor is None:
            return
        risen = floor if self._quiet is None else self._quiet + QUIET_RISE_DB_PER_S * duration_s
        self._quiet = np.minimum(floor, risen)

    def _hides_something(self, now_s: float) -> bool:
        """Whether the room has been louder than its own quiet, and unheard, for long enough."""
        floor, config = self._floor.dbfs, self._config
        if floor is None or self._quiet is None or not config.relisten_s:
            return False
        louder = bool((floor >= self._quiet + config.margin_db).any())
        return louder and now_s >= self._open_until_s + config.relisten_s
