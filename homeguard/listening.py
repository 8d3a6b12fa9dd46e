"""One room being listened to: its capture thread, and what is known of its hearing."""

from __future__ import annotations

import logging
import threading

from homeguard.alerting.mqtt_link import AudioState as Published
from homeguard.alerting.mqtt_link import MqttLink
from homeguard.capture.inbox import Inbox
from homeguard.capture.source import listen
from homeguard.config import HealthConfig, RoomConfig
from homeguard.domain import AudioChunk, SourceError
from homeguard.health import AudioState, RoomHealth

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
        self._room = room
        self._inbox = inbox
        self._health = RoomHealth(health.silent_after_s)
        self._stop = threading.Event()
        self._dropped = 0
        self._told: AudioState | None = None
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
        return self._health.state is AudioState.ONLINE

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
        self._health.heard(chunk)

    def finish(self) -> None:
        """Note that the room's last sound has been judged."""
        self.finished = True
        if self._health.state is not AudioState.OFFLINE:
            self._health.lost("the recording is over")

    def report(self, link: MqttLink | None, *, voters_down: bool) -> None:
        """Tell MQTT and the log how well the room is heard; its state only when it changes."""
        state = self._health.state
        if link is not None and state is AudioState.ONLINE:
            link.level(self.name, self._health.level_dbfs)
        if state is not self._told and state is not AudioState.STARTING:
            self._told = state
            if link is not None:
                link.audio(self.name, _PUBLISHED[state])
                link.problem(self.name, on=voters_down or state is not AudioState.ONLINE)
            if state is AudioState.SILENT:
                _log.warning("%s: %s", self.name, self._health.detail)
        if (dropped := self._inbox.dropped(self.name)) > self._dropped:
            lost = dropped - self._dropped
            _log.warning("%s: judging is behind, %d blocks of sound lost", self.name, lost)
            self._dropped = dropped

    def source_online(self, room: str) -> None:
        """The source gives sound (again)."""
        _log.info("%s: listening", room)

    def source_offline(self, room: str, reason: str) -> None:  # noqa: ARG002 - already logged
        """The source is gone."""
        self._health.lost(reason)

    def _capture(self) -> None:
        patient = self._room.file is not None
        try:
            for chunk in listen(self._room, self, stop=self._stop):
                self._inbox.put(chunk, patient=patient)
        except SourceError as exc:
            _log.error("%s: %s", self.name, exc)
            self._health.lost(str(exc))


_PUBLISHED: dict[AudioState, Published] = {
    AudioState.ONLINE: "online",
    AudioState.SILENT: "silent",
    AudioState.OFFLINE: "offline",
}
