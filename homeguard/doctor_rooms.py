"""A room's source, listened to for a moment by `doctor`; nothing of what is heard is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from homeguard.checkup import Check, State
from homeguard.config import RoomConfig
from homeguard.domain import AudioChunk, HomeGuardError

SOURCE_START_S = 12.0  # a camera may take as long before its first sound
QUIET_DBFS = -75.0  # below this a microphone hears no room
CLIPPED_SHARE = 0.01


def room_examination(
    room: RoomConfig, listen_s: float
) -> tuple[str, Callable[[], Iterable[Check]]]:
    """The name of a room's check, and what makes it."""
    name = f"room {room.name}"
    return name, lambda: (_room(name, room, listen_s),)


def _room(name: str, room: RoomConfig, listen_s: float) -> Check:
    from homeguard.capture.source import open_source  # noqa: PLC0415 - PortAudio may be missing

    listener = _Listener(lambda: open_source(room).chunks(), listen_s)
    try:
        samples = listener.listen()
    except HomeGuardError as error:
        return Check(name, State.FAIL, str(error), _remedy(room))
    if samples is None:
        found = f"no sound came within {listen_s + SOURCE_START_S:.0f} s"
        return Check(name, State.FAIL, found, _remedy(room))
    return judge(name, samples, _remedy(room))


def judge(name: str, samples: np.ndarray[tuple[int], np.dtype[np.float32]], remedy: str) -> Check:
    """What some seconds of a room's sound say about its source."""
    peak = float(np.abs(samples).max(initial=0.0))
    seconds = len(samples) / 16_000
    if peak == 0.0:
        found = f"{seconds:.1f} s of perfect silence: muted, or not the device that is meant"
        return Check(name, State.FAIL, found, remedy)
    dbfs = 10.0 * np.log10(float(np.mean(np.square(samples, dtype=np.float64))) + 1e-12)
    found = f"heard {seconds:.1f} s at {dbfs:.0f} dBFS"
    if dbfs < QUIET_DBFS:
        return Check(name, State.WARN, f"{found}: hardly a room's sound", remedy)
    if float(np.mean(np.abs(samples) > 0.999)) > CLIPPED_SHARE:  # noqa: PLR2004 - full scale
        return Check(name, State.WARN, f"{found}: distorted", "turn the microphone's gain down")
    return Check(name, State.OK, found)


def _remedy(room: RoomConfig) -> str:
    if room.microphone is not None:
        return (
            "homeguard devices lists the microphones; check the plug, the mute switch and "
            "alsamixer or pavucontrol, and that no other program holds it"
        )
    if room.url is not None:
        return "open the url with ffplay or VLC on this machine; does the camera send audio?"
    return "check the path; homeguard analyze reads the same file"


class _Listener:
    """Listens on a thread of its own: a source that hangs must not hang the doctor."""

    def __init__(self, opened: Callable[[], Iterator[AudioChunk]], seconds: float) -> None:
        self._opened = opened
        self._seconds = seconds
        self._chunks: list[AudioChunk] = []
        self._error: HomeGuardError | None = None

    def listen(self) -> np.ndarray[tuple[int], np.dtype[np.float32]] | None:
        """The sound, None if none came. Raises what the source raised."""
        thread = threading.Thread(target=self._run, name="doctor-listen", daemon=True)
        thread.start()
        thread.join(self._seconds + SOURCE_START_S)
        if self._error is not None and not self._chunks:
            raise self._error
        chunks = list(self._chunks)
        return np.concatenate([chunk.samples for chunk in chunks]) if chunks else None

    def _run(self) -> None:
        heard_s = 0.0
        try:
            for chunk in self._opened():
                self._chunks.append(chunk)
                heard_s += len(chunk.samples) / 16_000
                if heard_s >= self._seconds:
                    return
        except HomeGuardError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - carried over to the thread that asks
            self._error = HomeGuardError(f"{type(error).__name__}: {error}")
