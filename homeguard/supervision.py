"""Watches the watch: tells what is wrong with it, and shows others that it is alive."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from homeguard.alerting.dispatch import Dispatcher
from homeguard.alerting.drills import DrillState, WeeklyDrill
from homeguard.alerting.escalation import home_zone
from homeguard.alerting.mqtt_link import Message, MqttLink
from homeguard.alerting.mute import Mute
from homeguard.alerting.outbox import Clock, Outbox
from homeguard.alerting.telling import Telling
from homeguard.config import Config
from homeguard.domain import Alert, Change, Decision, FaultAlert, FaultCause
from homeguard.health import FaultWatch, Symptom, VoterHealth
from homeguard.listening import Listener
from homeguard.ping import Ping
from homeguard.voting.panel import ORDER

HEARTBEAT_S = 60.0
UNANSWERED_EVERY_S = 10.0
STALE_S = 60.0  # a room that is heard, and no decision for so long: all is not well

_log = logging.getLogger(__name__)


class Supervisor:
    """Called by the judging thread alone: `heard` with each decision, `tick` every second."""

    def __init__(
        self,
        config: Config,
        outbox: Outbox,
        dispatcher: Dispatcher,
        mute: Mute,
        now: Clock,
        *,
        link: MqttLink | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._outbox = outbox
        self._dispatcher = dispatcher
        self._mute = mute
        self._now = now
        self._link = link
        self._telling = Telling(outbox, dispatcher.broken, now, link=link, monotonic=monotonic)
        self._weekly = self._weekly_drill(monotonic)
        self._drilled: DrillState | None = None  # as it was published last
        self._troubles: list[Symptom] = []
        self._ping = Ping(config.health.ping_url) if config.health.ping_url else None
        self._monotonic = monotonic
        self._voters = VoterHealth(name for name in ORDER if getattr(config.voters, name).enabled)
        left = [f for f in outbox.history.open_faults() if f.cause is not FaultCause.MUTED]
        self._watch = FaultWatch(left)
        self._refused: deque[FaultAlert] = deque()
        self._decided_s: float | None = None
        self._heartbeat_s = self._unanswered_s = monotonic()
        self._failing = False

    def start(self) -> None:
        """Say whether we are muted; be ready to ask the watcher's url."""
        self._tell_mute()
        if self._ping is not None:
            self._ping.start()

    def stop(self) -> None:
        """End the thread that asks the url."""
        if self._ping is not None:
            self._ping.stop()

    def heard(self, decision: Decision) -> None:
        """Note a decision on fresh sound."""
        self._decided_s = self._monotonic()
        self._voters.heard(decision.votes, self._decided_s)

    def tick(
        self,
        listeners: Sequence[Listener],
        troubles: Mapping[str, str] | None = None,
        *,
        missing: bool = False,
    ) -> None:
        """Look at everything. Never raises for a disk.

        `troubles`: voters that cannot vote, and why; `missing`: a model could not be loaded.
        """
        now_s = self._monotonic()
        self._voters.seen(troubles or {}, now_s)
        voters = self._voters.symptoms()
        rooms = [symptom for listener in listeners for symptom in listener.symptoms()]
        for alert in self._watch.update([*rooms, *voters, *self._troubles], now_s, self._now()):
            self._log(alert)
            self._refused.append(alert)
        beats = now_s >= self._heartbeat_s
        for listener in listeners:
            down = missing or bool(voters)
            listener.report(self._link, voters_down=down, muted=self._mute.on, again=beats)
        try:
            self._tell()
            if now_s >= self._unanswered_s:
                self._unanswered_s = now_s + UNANSWERED_EVERY_S
                self._outbox.settle()
                self._test_weekly()
                self._troubles = list(self._telling_symptoms())
                self._note_unanswered()
        except sqlite3.Error as exc:
            level = logging.DEBUG if self._failing else logging.ERROR
            _log.log(level, "supervision: %s; what is to be told waits in memory", exc)
            self._failing = True
        else:
            self._failing = False
        if beats:
            self._heartbeat_s = now_s + HEARTBEAT_S
            self._beat([listener.name for listener in listeners if listener.audible], now_s)

    def _weekly_drill(self, monotonic: Callable[[], float]) -> WeeklyDrill:
        config, zone = self._config, home_zone(self._config.home.timezone)
        reachable = config.mqtt.enabled or (config.sms.enabled and bool(config.alerts.contacts))
        return WeeklyDrill(
            self._outbox.drills,
            config.health.weekly_test if reachable else "",
            config.rooms[0].name,
            lambda at: at.astimezone(zone),
            self._dispatcher.submit,
            self._now,
            monotonic,
        )

    def _test_weekly(self) -> None:
        state = self._weekly.look(busy=bool(self._outbox.history.running()))
        if self._link is not None and state != self._drilled:
            self._drilled = state
            self._link.answer("test", state.as_json())

    def _telling_symptoms(self) -> Iterator[Symptom]:
        """What keeps messages from people, or is said to by the last test."""
        for trouble in self._telling.troubles():
            yield Symptom(trouble.cause, trouble.subject, trouble.since_s, trouble.detail)
        if (failing := self._weekly.failing) is not None:
            yield Symptom(FaultCause.TEST, "", *failing)

    def _tell(self) -> None:
        while self._refused:
            self._dispatcher.submit(self._refused[0])
            self._refused.popleft()
        if self._mute.expire(self._dispatcher.submit):
            self._tell_mute()
        if not self._mute.on:
            for incident in self._outbox.history.held():
                self._dispatcher.submit(Alert(Change.UPDATE, incident, incident))

    def _tell_mute(self) -> None:
        if self._link is not None:
            self._link.answer("mute", self._mute.state)

    def _note_unanswered(self) -> None:
        """Mark incidents whose repeats have ended and that nobody took."""
        times = self._config.alerts.escalation
        ended = self._now() - timedelta(seconds=max(times.repeat_for_s, times.all_after_s))
        oldest = ended - timedelta(seconds=self._config.alerts.give_up_after_s)
        for before in self._outbox.history.unanswered(oldest, ended):
            now = self._now()
            after = replace(before, unanswered_at=now, updated_at=now)
            self._dispatcher.submit(Alert(Change.UPDATE, before, after))
            _log.warning("incident %s is unanswered: nobody has acknowledged it", before.id)

    def _beat(self, rooms: list[str], now_s: float) -> None:
        age_s = None if self._decided_s is None else round(now_s - self._decided_s, 1)
        if self._link is not None:
            beat = {"at": self._now().isoformat(), "rooms": rooms, "decision_age_s": age_s}
            self._link.state(Message(self._link.topic("heartbeat"), json.dumps(beat)))
        stale = bool(rooms) and (age_s is None or age_s > STALE_S)
        if self._ping is not None and not stale:
            self._ping.send()

    def _log(self, alert: FaultAlert) -> None:
        fault = alert.after
        if alert.change is Change.END:
            _log.info("fault over: %s %s", fault.cause, fault.subject)
        else:
            _log.warning("fault: %s %s: %s", fault.cause, fault.subject, fault.detail)
