"""Whether a room can be heard: pure state from what its source and its sound say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from homeguard.domain import AudioChunk


class AudioState(StrEnum):
    """What a room's microphone is worth at the moment."""

    STARTING = "starting"
    ONLINE = "online"
    SILENT = "silent"  # sound comes, but nothing is in it: a dead or muted microphone
    OFFLINE = "offline"


@dataclass(slots=True)
class RoomHealth:
    """One room's state. Digital silence for `silent_after_s` of sound means SILENT."""

    silent_after_s: float
    state: AudioState = AudioState.STARTING
    detail: str = ""
    level_dbfs: float = -120.0
    _zero_s: float = 0.0

    def heard(self, chunk: AudioChunk) -> None:
        """Take the room's next chunk."""
        peak = float(np.abs(chunk.samples).max(initial=0.0))
        if peak > 0.0:
            self._zero_s = 0.0
            rms = float(np.sqrt(np.mean(np.square(chunk.samples))))
            self.level_dbfs = max(-120.0, 20.0 * float(np.log10(max(rms, 1e-6))))
        else:
            self._zero_s += chunk.end_s - chunk.start_s
            self.level_dbfs = -120.0
        silent = self._zero_s >= self.silent_after_s
        self.state = AudioState.SILENT if silent else AudioState.ONLINE
        self.detail = "only zeros come from the microphone: is it muted?" if silent else ""

    def lost(self, detail: str) -> None:
        """The source is gone; `detail` says why."""
        self.state, self.detail = AudioState.OFFLINE, detail
        self._zero_s = 0.0
