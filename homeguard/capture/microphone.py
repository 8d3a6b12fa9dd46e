"""Microphones by stable name, through PortAudio.

PortAudio's callback runs on a thread of its own and only copies into a bounded queue; why a
callback and not blocking reads is docs/decisions/0003-microphone.md.
"""

from __future__ import annotations

import difflib
import logging
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homeguard.capture.identity import CHECK_EVERY_S, Identity
from homeguard.capture.intake import Intake
from homeguard.domain import AudioChunk, SourceError

SAMPLE_RATE = 16_000  # Hz
BLOCK_S = 0.096  # few wake-ups: 30 ms blocks cost twice the CPU time
QUEUE_BLOCKS = 104  # 10 s
STALL_S = 5.0  # PortAudio raises nothing when a microphone freezes
POLL_S = 0.25
LISTED_S = 15.0
MAX_CHANNELS = 8
DEFAULT = "default"
_INVALID_RATE = -9997  # PortAudio's
CARDS = Path("/proc/asound/cards")

_HARDWARE = re.compile(r"\s*\(hw:\d+,\d+\)$")  # numbers that change with the order of plugging in
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Device:
    """A microphone as PortAudio knows it; `name` is what config.yaml takes."""

    name: str
    channels: int
    sample_rate: int  # Hz, the one it prefers
    host_api: str

    def __str__(self) -> str:
        return f"{self.name}  ({self.channels} ch, {self.sample_rate} Hz, {self.host_api})"


@dataclass(frozen=True, slots=True)
class _Found:
    """A device of the present list; the index is good until the list is renewed."""

    index: int
    full_name: str
    channels: int
    sample_rate: int
    host_api: str

    @property
    def stable_name(self) -> str:
        return _HARDWARE.sub("", self.full_name)


class Microphone:
    """A room's microphone; its stream time starts at 0 whenever it is opened."""

    def __init__(
        self,
        room: str,
        name: str,
        *,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._room = room
        self._name = name
        self._stop = stop or threading.Event()
        self._clock = clock
        self._blocks: queue.Queue[tuple[int, NDArray[np.float32]]] = queue.Queue(QUEUE_BLOCKS)
        self._finished = threading.Event()
        self._captured = 0  # frames PortAudio gave us since it was opened
        self._overruns = 0
        self._identity = Identity(room, name)

    @property
    def overruns(self) -> int:
        """How many times sound was lost because nobody fetched it, by us or by PortAudio."""
        return self._overruns

    def chunks(self) -> Iterator[AudioChunk]:
        """Open, then chunks until `stop` is set; lost sound makes `start_s` jump.

        Raises SourceError when the microphone is not there, cannot be opened, ends or freezes.
        """
        library = _sounddevice()
        with _portaudio.using(library, self._name):
            try:
                found = find(_inputs(library), self._name)
                rate, channels = _form(library, found)
                with self._identity.opening():
                    stream = self._opened(library, found, rate, channels)
            except SourceError:
                _portaudio.outdated = True
                raise
            try:
                yield from self._heard(rate)
            finally:
                stream.close()

    def _opened(self, library: ModuleType, found: _Found, rate: int, channels: int) -> Any:  # noqa: ANN401 - as the library types it
        self._blocks = queue.Queue(QUEUE_BLOCKS)
        self._finished.clear()
        self._captured = 0
        try:
            stream = library.InputStream(
                device=found.index,
                samplerate=rate,
                channels=channels,
                dtype="float32",
                blocksize=round(rate * BLOCK_S),
                callback=self._take,
                finished_callback=self._finished.set,
            )
            stream.start()
        except library.PortAudioError as exc:
            message = f"microphone {self._name!r} cannot be opened: {exc}"
            raise SourceError(message) from exc
        return stream

    def _take(self, block: NDArray[np.float32], frames: int, _time: object, status: Any) -> None:  # noqa: ANN401 - as the library types it
        # PortAudio reuses the block once we return: copy before queueing.
        item = (self._captured, block.copy())
        self._captured += frames
        self._overruns += bool(status.input_overflow)
        try:
            self._blocks.put_nowait(item)
        except queue.Full:
            self._overruns += 1
            self._blocks.get_nowait()  # late sound is worth less than fresh
            self._blocks.put_nowait(item)

    def _heard(self, rate: int) -> Iterator[AudioChunk]:
        intake = Intake(self._room, rate)
        expected = 0
        for position, block in self._arriving():
            if position != expected:
                lost_s = (position - expected) / rate
                _log.warning("%s: %.1f s of sound lost to an overrun", self._room, lost_s)
                yield from intake.end()
                intake = Intake(self._room, rate, position / rate)
            expected = position + len(block)
            yield from intake.push(block)

    def _arriving(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        last = self._clock()
        check_s = last
        while not self._stop.is_set():
            if self._clock() >= check_s:
                self._identity.check()
                check_s = self._clock() + CHECK_EVERY_S
            try:
                item = self._blocks.get(timeout=POLL_S)
            except queue.Empty:
                self._refuse_death(self._clock() - last)
                continue
            last = self._clock()
            yield item

    def _refuse_death(self, silent_s: float) -> None:
        if self._finished.is_set():
            message = f"microphone {self._name!r} is gone: unplugged, or the sound server stopped"
            raise SourceError(message)
        if silent_s >= STALL_S:
            message = f"microphone {self._name!r} is frozen: no sound came for {silent_s:.0f} s"
            raise SourceError(message)
        if _portaudio.renewal_wanted:
            message = f"microphone {self._name!r} is opened anew: sound cards came or went"
            raise SourceError(message)


def list_microphones() -> tuple[Device, ...]:
    """What can be recorded from, by name. Raises SourceError without PortAudio."""
    library = _sounddevice()
    _portaudio.outdated = True
    _portaudio.renew(library)
    inputs = _inputs(library)
    stable = [found.stable_name for found in inputs]
    return tuple(
        Device(
            found.stable_name if stable.count(found.stable_name) == 1 else found.full_name,
            found.channels,
            found.sample_rate,
            found.host_api,
        )
        for found in inputs
    )


def find(inputs: tuple[_Found, ...], name: str) -> _Found:
    """The one input called `name`. Raises SourceError naming the nearest, or the ambiguity."""
    for key in ("full_name", "stable_name"):
        matches = [found for found in inputs if getattr(found, key) == name]
        if len(matches) == 1:
            return matches[0]
        if matches:
            choice = ", ".join(repr(found.full_name) for found in matches)
            message = f"{len(matches)} microphones are called {name!r}: choose one of {choice}"
            raise SourceError(message)
    names = sorted({found.stable_name for found in inputs})
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names
    there = f"there are: {', '.join(near)}" if near else "there is none at all"
    message = f"no microphone is called {name!r}; {there} (homeguard devices lists them)"
    raise SourceError(message)


def _cards() -> str:
    try:
        return CARDS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


class _PortAudio:
    """The process's one PortAudio: it lists devices once, and anew only while none is open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._cards = _cards()
        self.outdated = False  # a device was not found or did not open: perhaps it is new
        self.renewal_wanted = False  # those who use it are to let go for a moment

    @contextmanager
    def using(self, library: ModuleType, name: str) -> Iterator[None]:
        """While inside, the list of devices stays as it is."""
        self.renew(library)
        with self._lock:
            if self.renewal_wanted:
                message = f"microphone {name!r} waits for the others: sound cards came or went"
                raise SourceError(message)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1

    def renew(self, library: ModuleType) -> None:
        """List the devices anew if need be; if some are open, only when sound cards changed."""
        with self._lock:
            cards = _cards()
            if not self.outdated and cards == self._cards:
                return
            if self._users:
                self.renewal_wanted = self.renewal_wanted or cards != self._cards
                return
            _refuse_abort()
            # sounddevice has no public way to list devices that were plugged in later.
            library._terminate()  # noqa: SLF001 - the library has no public way
            library._initialize()  # noqa: SLF001 - the library has no public way
            self._cards, self.outdated, self.renewal_wanted = cards, False, False


_portaudio = _PortAudio()


def _refuse_abort() -> None:
    """Let another process list the devices first. Raises SourceError where that kills it.

    PortAudio 19.6 aborts (an assertion in its ALSA part) where it finds no device at all, as before
    the sound server has come: that must not end the daemon, which is to tell of it.
    """
    command = [sys.executable, "-c", "import sounddevice"]
    nowhere = subprocess.DEVNULL
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            command, stdin=nowhere, stdout=nowhere, stderr=nowhere, timeout=LISTED_S, check=False
        )
    except subprocess.TimeoutExpired as exc:
        message = f"sound devices cannot be listed: no answer within {LISTED_S:.0f} s"
        raise SourceError(message) from exc
    if done.returncode < 0:
        message = "there is no sound device at all: no sound card, or the sound server is away"
        raise SourceError(message)


def _sounddevice() -> ModuleType:
    if "sounddevice" not in sys.modules:
        _refuse_abort()
    try:
        import sounddevice  # noqa: PLC0415 - needs a library that files and cameras do without
    except OSError as exc:
        message = "microphones need PortAudio: apt install libportaudio2"
        raise SourceError(message, retryable=False) from exc
    return sounddevice  # type: ignore[no-any-return]


def _inputs(library: ModuleType) -> tuple[_Found, ...]:
    apis = [api["name"] for api in library.query_hostapis()]
    return tuple(
        _Found(
            index=index,
            full_name=device["name"],
            channels=device["max_input_channels"],
            sample_rate=round(device["default_samplerate"]),
            host_api=apis[device["hostapi"]],
        )
        for index, device in enumerate(library.query_devices())
        if device["max_input_channels"] > 0
    )


def _form(library: ModuleType, found: _Found) -> tuple[int, int]:
    """Sample rate and channels to open with: 16 kHz mono if it can, else what it prefers."""
    several = min(found.channels, MAX_CHANNELS)
    wishes = [(SAMPLE_RATE, 1), (found.sample_rate, 1), (found.sample_rate, several)]
    refusal: Exception | None = None
    for rate, channels in wishes:
        try:
            library.check_input_settings(
                device=found.index, samplerate=rate, channels=channels, dtype="float32"
            )
        except (library.PortAudioError, ValueError) as exc:
            refusal = exc
        else:
            return rate, channels
    message = (
        f"microphone {found.stable_name!r} cannot be opened at {SAMPLE_RATE} or "
        f"{found.sample_rate} Hz: {refusal}"
    )
    # A device that is busy or gone may come back; one that knows no such rate never will.
    retryable = _INVALID_RATE not in getattr(refusal, "args", ())
    raise SourceError(message, retryable=retryable) from refusal
