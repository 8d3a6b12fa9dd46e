"""What commands from MQTT do: acknowledge, mute, and raise a test alert."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from homeguard.alerting.dispatch import Dispatcher
from homeguard.alerting.drills import DrillState, drill
from homeguard.alerting.mqtt_link import MqttLink, Received
from homeguard.alerting.mute import Mute, parse_mute
from homeguard.alerting.outbox import Clock, Outbox
from homeguard.domain import HomeGuardError, Incident

_NAMES = ("ack", "mute", "test")
_MAX_BYTES = 1024
_PRESSED = frozenset({"", "PRESS", "ON", "all"})  # what buttons send: no incident in particular

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Command:
    """What came in on <node>/<name>/set: JSON {"id", "by"}, or the bare text as `value`."""

    name: str
    value: str
    incident_id: str | None = None
    by: str | None = None


class Commands:
    """Does what commands say: `listen(link, Commands(...))`. Called in paho's thread.

    `on_acknowledged` gets the incident as it is afterwards, for whoever keeps it in memory.
    """

    def __init__(
        self,
        link: MqttLink,
        outbox: Outbox,
        dispatcher: Dispatcher,
        room: str,
        now: Clock,
        mute: Mute,
        on_acknowledged: Callable[[Incident], None] | None = None,
    ) -> None:
        self._link = link
        self._outbox = outbox
        self._dispatcher = dispatcher
        self._room = room
        self._now = now
        self._mute = mute
        self._on_acknowledged = on_acknowledged

    def __call__(self, command: Command) -> None:
        """Do what a command says and tell what became of it."""
        try:
            if command.name == "ack":
                self._acknowledge(command)
            elif command.name == "test":
                self._dispatcher.submit(drill(self._room, self._now()))
                self._link.answer("test", self._outbox.drills.state.as_json())
            elif command.name == "mute":
                self._set_mute(command)
        except (HomeGuardError, sqlite3.Error) as exc:
            _log.warning("MQTT: %s command refused: %s", command.name, exc)
            self._link.answer(command.name, self._refusal(command, str(exc)))

    def _refusal(self, command: Command, error: str) -> str:
        if command.name != "test":
            return json.dumps({"error": error}, ensure_ascii=False)
        try:
            return self._outbox.drills.state.as_json(error)
        except sqlite3.Error:
            return DrillState(None, None, None).as_json(error)

    def _acknowledge(self, command: Command) -> None:
        by = command.by or "MQTT"
        for incident_id in self._meant(command):
            done = self._dispatcher.acknowledge(incident_id, by)
            answer = {"id": incident_id, "by": done.by}
            self._link.answer("ack", json.dumps(answer, ensure_ascii=False))
            if done.alert is not None and self._on_acknowledged is not None:
                self._on_acknowledged(done.alert.after)

    def _set_mute(self, command: Command) -> None:
        seconds, by = parse_mute(command.value)
        if seconds == 0.0:
            self._mute.end(self._dispatcher.submit)
        else:
            self._mute.begin(seconds, by or "MQTT", self._dispatcher.submit)
        self._link.answer("mute", self._mute.state)

    def _meant(self, command: Command) -> list[str]:
        """The incident that is named, or all that run or may still call people, and nobody took."""
        if command.incident_id is not None:
            return [command.incident_id]
        if command.value not in _PRESSED and not command.value.startswith("{"):
            return [command.value]
        now, history = self._now(), self._outbox.history
        open_ones = [*history.running(), *history.unanswered(now - timedelta(days=1), now)]
        return list(dict.fromkeys(i.id for i in open_ones if i.acknowledged_by is None))


def listen(link: MqttLink, do: Callable[[Command], None]) -> None:
    """Give `do` each command that comes in, in paho's thread; retained and long ones are not."""

    def take(received: Received) -> None:
        name = received.topic.removesuffix("/set").rpartition("/")[2]
        if received.retained:
            _log.warning("MQTT: a retained %s command is ignored: commands are not retained", name)
        elif len(received.payload) > _MAX_BYTES:
            _log.warning("MQTT: a %s command of %d bytes is ignored", name, len(received.payload))
        else:
            do(parse_command(name, received.payload))

    for name in _NAMES:
        link.listen(link.topic(name, "set"), take)


def parse_command(name: str, payload: bytes) -> Command:
    """A command of a payload: JSON {"id", "by"}, or bare text."""
    text = payload.decode("utf-8", "replace").strip()
    try:
        document = json.loads(text)
    except ValueError:
        return Command(name, text)
    if not isinstance(document, dict):
        return Command(name, text)
    incident_id, by = document.get("id"), document.get("by")
    return Command(
        name,
        text,
        incident_id if isinstance(incident_id, str) else None,
        by if isinstance(by, str) else None,
    )
