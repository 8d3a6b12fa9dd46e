"""A microphone's level, shown while somebody speaks, and what it comes to."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from homeguard.capture.level import SILENCE_DBFS
from homeguard.capture.microphone import Microphone

LISTEN_S = 8.0
BOTTOM_DBFS = -80.0  # the bar's left end; no microphone that is open is so quiet
MIN_RISE_DB = 10.0  # a voice that the gate (6 dB above the room) hears with some to spare
CLIPPED_SHARE = 0.01
FULL_SCALE = 0.999
QUIET_PERCENTILE, LOUD_PERCENTILE = 10.0, 95.0


@dataclass(frozen=True, slots=True)
class Loudness:
    """What some seconds of a microphone were like; levels in dBFS, -120 for digital silence."""

    quiet_dbfs: float
    loud_dbfs: float
    clipped: bool

    @property
    def rise_db(self) -> float:
        """How far the loud moments stand out."""
        return self.loud_dbfs - self.quiet_dbfs

    @property
    def verdict(self) -> str:
        """The key of `words.WORDS` that says it: silent, clipped, faint or heard."""
        if self.loud_dbfs < BOTTOM_DBFS:
            return "silent"
        if self.clipped:
            return "clipped"
        return "heard" if self.rise_db >= MIN_RISE_DB else "faint"


class Meter:
    """Takes blocks of sound, gives the level of each, and their summary."""

    def __init__(self) -> None:
        self._levels: list[float] = []
        self._clipped = 0
        self._samples = 0

    def add(self, samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> float:
        """The RMS level of some mono samples in dBFS; they are counted in."""
        power = float(np.mean(np.square(samples, dtype=np.float64)))
        level = 10.0 * float(np.log10(max(power, 10.0 ** (SILENCE_DBFS / 10.0))))
        self._levels.append(level)
        self._clipped += int(np.count_nonzero(np.abs(samples) > FULL_SCALE))
        self._samples += len(samples)
        return level

    def loudness(self) -> Loudness:
        """Of all that was added; of nothing it is silence."""
        levels = self._levels or [SILENCE_DBFS]
        quiet, loud = np.percentile(levels, (QUIET_PERCENTILE, LOUD_PERCENTILE))
        clipped = self._clipped > CLIPPED_SHARE * max(1, self._samples)
        return Loudness(float(quiet), float(loud), clipped)


def watch(microphone: str, invitation: str, seconds: float = LISTEN_S) -> Loudness:
    """Show the level on stderr for some seconds; nothing of the sound is kept.

    Raises SourceError where the microphone cannot be opened or stops.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn

    meter, stop = Meter(), threading.Event()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        TextColumn("{task.fields[level]:>4.0f} dBFS"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(escape(invitation), total=-BOTTOM_DBFS, level=BOTTOM_DBFS)
        for chunk in Microphone("init", microphone, stop=stop).chunks():
            level = meter.add(chunk.samples)
            shown = min(max(level, BOTTOM_DBFS), 0.0)
            progress.update(task, completed=shown - BOTTOM_DBFS, level=level)
            if chunk.end_s >= seconds:
                stop.set()
    return meter.loudness()
