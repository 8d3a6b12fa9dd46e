"""One room being listened to: its capture thread, and what is known of its hearing."""

from __future__ import annotations

import logging
import threading
import time

from homeguard.alerting.mqtt_link import AudioState as Published
from homeguard.alerting.mqtt_link import MqttLink
from homeguard.capture.inbox import Backlog, Inbox
from homeguard.capture.source import listen
from homeguard.config import HealthConfig, RoomConfig
from homeguard.domain import AudioChunk, SourceError
from homeguard.health import AudioState, RoomHealth, Symptom

JOIN_S = 2.0

_log = logging.getLogger(__name__)


class Listener:
    """Captures one room into the inbox on a thread of its own.

    `start` once, then `stop` and `join`. `heard`, `finish` and `report` belong to the judging
    thread.
    """

    def __init__(self, room: RoomConfig, inbox: Inbox, health: HealthConfig) -> None:
        self.name = room.name
        self.finished = False
        self._unreadable = False
        self.hopeless: str | None = None  # why a live source will never give sound
        self._room = room
        self._inbox = inbox
        self._health = RoomHealth(room.name, health.silent_after_s, time.monotonic())
        self._stop = threading.Event()
        self._dropped = self.windows_left_out = 0
        self._backlog = Backlog()
        self._told: tuple[Published, bool] | None = None
        self._thread = threading.Thread(
            target=self._capture, name=f"capture-{room.name}", daemon=True
        )

    @property
    def ended(self) -> bool:
        """Whether no more sound will come: the recording is over, or can never be read."""
        return not self._thread.is_alive()

    @property
    def audible(self) -> bool:
        """Whether sound comes in that is more than zeros."""
        return self._health.state(time.monotonic()) is AudioState.ONLINE

    @property
    def level_dbfs(self) -> float:
        """How loud the last sound was; -120 for digital silence."""
        return self._health.level_dbfs

    def start(self) -> None:
        """Begin to capture."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop.set()

    def join(self) -> None:
        """Wait for the thread, JOIN_S at most; one that hangs in a driver is left behind."""
        if self._thread.ident is not None:
            self._thread.join(JOIN_S)

    def heard(self, chunk: AudioChunk) -> None:
        """Note that the room's next chunk is being judged."""
        self._health.heard(chunk, time.monotonic())

    def sheds(self) -> bool:
        """Whether windows are to be left out now; a recording waits, so its never are."""
        waiting_s = self._inbox.waiting_s(self.name)
        return self._room.file is None and self._backlog.sheds(waiting_s)

    def left_out(self, windows: int) -> None:
        """Note how many windows have been left out so far."""
        if windows > self.windows_left_out:
            self._health.shed(time.monotonic())
            _log.warning("%s: judging is behind, %d windows left out", self.name, windows)
            self.windows_left_out = windows

    def finish(self) -> None:
        """Note that the room's last sound has been judged."""
        self.finished = True
        if not self._unreadable:
            self._health.finished()

    def symptoms(self) -> tuple[Symptom, ...]:
        """What is wrong with the room now."""
        if (dropped := self._inbox.dropped(self.name)) > self._dropped:
            self._health.shed(time.monotonic())
            lost = dropped - self._dropped
            _log.warning("%s: judging is behind, %d blocks of sound lost", self.name, lost)
            self._dropped = dropped
        return self._health.symptoms(time.monotonic())

    def report(
        self,
        link: MqttLink | None,
        *,
        voters_down: bool,
        muted: bool = False,
        again: bool = False,
    ) -> None:
        """Tell MQTT how well the room is heard; its state when it changes, or `again`."""
        state = self._health.state(time.monotonic())
        if link is None:
            return
        if state is AudioState.STARTING:
            # What the broker retains from before would be believed. A recording is never away.
            if self._told is None and self._room.file is None:
                self._told = ("offline", False)
                link.audio(self.name, "offline")
            return
        if state is AudioState.ONLINE:
            link.level(self.name, self._health.level_dbfs)
        problem = voters_down or state is not AudioState.ONLINE or bool(self.symptoms())
        audio: Published = "muted" if muted and state is AudioState.ONLINE else _PUBLISHED[state]
        if (audio, problem) != self._told or again:
            self._told = (audio, problem)
            if state is not AudioState.ONLINE:
                link.level(self.name, None)
            link.audio(self.name, audio)
            link.problem(self.name, on=problem)

    def source_online(self, room: str) -> None:
        """The source gives sound (again)."""
        self._health.back()
        _log.info("%s: listening", room)

    def source_offline(self, room: str, reason: str) -> None:  # noqa: ARG002 - already logged
        """The source is gone."""
        self._health.lost(reason, time.monotonic())

    def _capture(self) -> None:
        patient = self._room.file is not None
        try:
            for chunk in listen(self._room, self, stop=self._stop):
                self._inbox.put(chunk, patient=patient)
        except SourceError as exc:
            _log.error("%s: %s", self.name, exc)
            self._unreadable = True
            if not patient:
                self.hopeless = str(exc)
            self._health.lost(str(exc), time.monotonic())


_PUBLISHED: dict[AudioState, Published] = {
    AudioState.ONLINE: "online",
    AudioState.SILENT: "silent",
    AudioState.OFFLINE: "offline",
    AudioState.OVER: "offline",
}
