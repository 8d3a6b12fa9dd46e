"""What the voters share: one log-mel of a window, and one encoder pass made when asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable

from homeguard.domain import Encoding, Features, Float32, ModelError, Window
from homeguard.mel import N_MELS, log_mel
from homeguard.voting.whisper import Whisper


class Extractor:
    """Makes the features of windows; `whisper` is the head's, None where there is none."""

    def __init__(self, whisper: Whisper | None) -> None:
        self._whisper = whisper

    def extract(self, window: Window) -> Features:
        """The log-mel now; the encoding once, when a voter first asks for it."""
        mel = log_mel(window.samples)
        mel.flags.writeable = False
        return self.around(window, mel)

    def around(self, window: Window, mel: Float32) -> Features:
        """The features of a window whose log-mel is there already."""
        return Features(window, mel, _Once(lambda: self._encode(window, mel)))

    def _encode(self, window: Window, mel: Float32) -> Encoding:
        if self._whisper is None:
            message = "no Whisper is loaded, so there is no encoding"
            raise ModelError(message)
        if self._whisper.n_mels == N_MELS:
            return self._whisper.encode(mel)
        return self._whisper.hear(window.samples)


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
