"""What the voters share: one log-mel of a window, and one encoder pass made when asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from homeguard.domain import Encoding, Features, Float32, ModelError, Window
from homeguard.mel import N_MELS, SAMPLE_RATE, RollingLogMel
from homeguard.voting.whisper import Whisper


class Extractor:
    """Makes the features of windows; `whisper` is the head's, None where there is none.

    What overlapping windows of a room have in common is computed once: one thread asks `extract`.
    """

    def __init__(self, whisper: Whisper | None) -> None:
        self._whisper = whisper
        self._rooms: dict[str, _Stream] = {}
        self._lock = threading.Lock()
        self._last: tuple[Float32, _Once] | None = None

    def extract(self, window: Window) -> Features:
        """The log-mel now; the encoding once, when a voter first asks for it."""
        mel = self._rooms.setdefault(window.room, _Stream()).log_mel(window)
        mel.flags.writeable = False
        return self.around(window, mel)

    def around(self, window: Window, mel: Float32) -> Features:
        """The features of a window whose log-mel is there already; from whichever thread.

        Voters of one process are handed the same window one after the other: one pass serves both.
        """
        with self._lock:
            if self._last is None or not np.array_equal(self._last[0], window.samples):
                self._last = (window.samples, _Once(lambda: self._encode(window, mel)))
            return Features(window, mel, self._last[1])

    def _encode(self, window: Window, mel: Float32) -> Encoding:
        if self._whisper is None:
            message = "no Whisper is loaded, so there is no encoding"
            raise ModelError(message)
        if self._whisper.n_mels == N_MELS:
            return self._whisper.encode(mel)
        return self._whisper.hear(window.samples)


class _Stream:
    """The log-mels of one room's windows."""

    def __init__(self) -> None:
        self._rolling = RollingLogMel()
        self._start_s = 0.0

    def log_mel(self, window: Window) -> Float32:
        advance = round((window.start_s - self._start_s) * SAMPLE_RATE)
        self._start_s = window.start_s
        return self._rolling.log_mel(window.samples, advance)


class _Once:
    """Calls `make` at the first call, from whichever thread; the outcome is the same ever after."""

    def __init__(self, make: Callable[[], Encoding]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: Encoding | None = None
        self._error: Exception | None = None

    def __call__(self) -> Encoding:
        with self._lock:
            if self._made is None and self._error is None:
                try:
                    self._made = self._make()
                except Exception as exc:  # noqa: BLE001 - kept for every voter that asks
                    self._error = exc
        if self._made is None:
            assert self._error is not None  # noqa: S101 - one of the two is set
            raise self._error
        return self._made
