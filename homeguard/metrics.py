"""What the daemon does, as figures for Prometheus; imported only where they are asked for.

Counters are fed by the judging thread with what flows by anyway. Everything else is read when
somebody asks: a scrape costs one query of the database, and nothing in between.
"""

from __future__ import annotations

import logging
import platform
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    MetricsHandler,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from homeguard import __version__
from homeguard.alerting.outbox import Outbox
from homeguard.capture.inbox import Inbox
from homeguard.config import Config, MetricsConfig
from homeguard.domain import AudioChunk, Change, FaultCause, IncidentState, Reason, Vote, VoteReason
from homeguard.labels import Category
from homeguard.listening import Listener
from homeguard.pipeline import Heard
from homeguard.web.bounded import IDLE_S, BoundedServer

GAP_S = 0.05  # half a block: less is rounding

_log = logging.getLogger(__name__)


class Metrics:
    """Counts what is heard and decided, in a registry of its own.

    `heard` and `judged` belong to the judging thread. `models` are the names of those in use, by
    role. `listeners`, `inbox` and `outbox` are looked at when the figures are asked for.
    """

    def __init__(
        self,
        config: Config,
        outbox: Outbox,
        listeners: Sequence[Listener],
        inbox: Inbox,
        models: Mapping[str, str],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        # A second series for every counter, which nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call] # the library left its type out
        self.registry = CollectorRegistry(auto_describe=False)
        self._monotonic = monotonic
        self._heard_until_s: dict[str, float] = {}  # stream time, by room
        self.decided_s = {room.name: monotonic() for room in config.rooms}
        self._windows = self._counter("windows", "Windows that came to a decision", "room", "gate")
        self._decisions = self._counter("decisions", "Decisions by reason", "room", "reason")
        self._votes = self._counter("votes", "What the voters said", "voter", "outcome")
        self._abstentions = self._counter(
            "abstentions", "Why voters said nothing", "voter", "reason"
        )
        self._incidents = self._counter("incidents", "Incidents raised", "room", "category")
        self._sound = self._counter("sound_seconds", "Sound taken in", "room")
        self._judging = self._counter(
            "judging_seconds", "Time spent on that sound, from gate to decision", "room"
        )
        self._gaps = self._counter("capture_gaps", "Holes in the sound, for any reason", "room")
        self._missing = self._counter("capture_gap_seconds", "Sound that the holes cost", "room")
        self._begin_at_zero(config)
        self.registry.register(_Present(self, outbox, listeners, inbox, models))
        ProcessCollector(registry=self.registry)

    def heard(self, heard: Heard) -> None:
        """Count what one window came to."""
        decision = heard.decision
        self.decided_s[decision.room] = self._monotonic()
        self._windows.labels(decision.room, _gate(active=decision.active)).inc()
        self._decisions.labels(decision.room, decision.reason.value).inc()
        for vote in decision.votes:
            self._votes.labels(vote.voter, _outcome(vote)).inc()
            if vote.emergency is None:
                self._abstentions.labels(vote.voter, vote.reason.value).inc()
        for alert in heard.alerts:
            if alert.change is Change.NEW and alert.after.state is not IncidentState.TEST:
                self._incidents.labels(alert.after.room, alert.after.category.value).inc()

    def judged(self, chunk: AudioChunk, took_s: float) -> None:
        """Count a chunk and the time it took, with that of the windows which it completed."""
        until_s = self._heard_until_s.get(chunk.room, chunk.start_s)
        self._heard_until_s[chunk.room] = chunk.end_s
        if (hole_s := chunk.start_s - until_s) > GAP_S:
            self._gaps.labels(chunk.room).inc()
            self._missing.labels(chunk.room).inc(hole_s)
        self._sound.labels(chunk.room).inc(chunk.end_s - chunk.start_s)
        self._judging.labels(chunk.room).inc(took_s)

    def decision_age_s(self, room: str) -> float:
        """Seconds since the room's last decision; since the start where there was none yet."""
        return self._monotonic() - self.decided_s[room]

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(name, words, labels, namespace="homeguard", registry=self.registry)

    def _begin_at_zero(self, config: Config) -> None:
        """A series that begins with its first event has no rate of it."""
        for room in config.rooms:
            for counter in (self._sound, self._judging, self._gaps, self._missing):
                counter.labels(room.name)
            for active in (True, False):
                self._windows.labels(room.name, _gate(active=active))
            for reason in Reason:
                self._decisions.labels(room.name, reason.value)
            for category in Category:
                if category.is_emergency:
                    self._incidents.labels(room.name, category.value)


class _Present(Collector):
    """What is so at the moment somebody asks."""

    def __init__(
        self,
        metrics: Metrics,
        outbox: Outbox,
        listeners: Sequence[Listener],
        inbox: Inbox,
        models: Mapping[str, str],
    ) -> None:
        self._metrics = metrics
        self._outbox = outbox
        self._listeners = listeners
        self._inbox = inbox
        self._models = models

    def collect(self) -> Iterator[Metric]:
        build = InfoMetricFamily("homeguard_build", "This HomeGuard")
        build.add_metric([], {"version": __version__, "python": platform.python_version()})
        yield build
        model = InfoMetricFamily("homeguard_model", "The models in use", labels=["role"])
        for role, name in sorted(self._models.items()):
            model.add_metric([role], {"model": name})
        yield model
        yield from self._rooms()
        try:
            yield from self._messages()
            yield from self._faults()
        except sqlite3.Error as exc:  # the disk fails: the rest is all the more wanted
            _log.debug("metrics: %s", exc)

    def _rooms(self) -> Iterator[Metric]:
        level = _gauge("level_dbfs", "Sound level of the last block", "room")
        audible = _gauge("room_audible", "1 while sound comes that is more than zeros", "room")
        backlog = _gauge("backlog_seconds", "Sound that waits to be judged", "room")
        age = _gauge("decision_age_seconds", "Time since the last decision", "room")
        dropped = CounterMetricFamily(
            "homeguard_capture_dropped_blocks", "Blocks lost: judging was behind", labels=["room"]
        )
        shed = CounterMetricFamily(
            "homeguard_windows_shed", "Windows left out: judging was behind", labels=["room"]
        )
        for listener in self._listeners:
            room = [listener.name]
            dropped.add_metric(room, self._inbox.dropped(listener.name))
            shed.add_metric(room, listener.windows_left_out)
            if listener.finished:  # a recording that is over: nothing is expected of it
                continue
            level.add_metric(room, listener.level_dbfs)
            audible.add_metric(room, float(listener.audible))
            backlog.add_metric(room, self._inbox.waiting_s(listener.name))
            age.add_metric(room, self._metrics.decision_age_s(listener.name))
        yield from (level, audible, backlog, age, dropped, shed)

    def _messages(self) -> Iterator[Metric]:
        due = _gauge("outbox_due", "Messages that should have left by now", "channel")
        planned = _gauge("outbox_planned", "Messages for later: escalation, repeats", "channel")
        oldest = _gauge("outbox_oldest_seconds", "How long the oldest due one waits", "channel")
        kept = _gauge("deliveries", "Messages the database remembers", "channel", "state")
        for tally in self._outbox.tallies():
            due.add_metric([tally.channel], tally.due)
            planned.add_metric([tally.channel], tally.planned)
            oldest.add_metric([tally.channel], tally.oldest_s)
            for state, count in tally.finished.items():
                kept.add_metric([tally.channel, state.value], count)
        yield from (due, planned, oldest, kept)

    def _faults(self) -> Iterator[Metric]:
        history = self._outbox.history
        found = [fault.cause for fault in history.open_faults()]
        faults = _gauge("faults", "What is wrong now; muted is meant so", "cause")
        for cause in FaultCause:
            faults.add_metric([cause.value], found.count(cause))
        running = _gauge("incidents_running", "Incidents that have not ended")
        running.add_metric([], len(history.running()))
        yield from (faults, running)


class MetricsServer(BoundedServer):
    """Answers scrapes from `start` to `stop`. Raises OSError where it cannot listen."""

    def __init__(self, config: MetricsConfig, metrics: Metrics) -> None:
        handler = type("_Handler", (_Handler,), {"registry": metrics.registry})
        super().__init__("metrics", (config.host, config.port), handler)


class _Handler(MetricsHandler):
    timeout = IDLE_S
    server_version, sys_version = "HomeGuard", ""


def _gauge(name: str, words: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"homeguard_{name}", words, labels=labels)


def _gate(*, active: bool) -> str:
    return "open" if active else "shut"


def _outcome(vote: Vote) -> str:
    if vote.emergency is None:
        return "skipped" if vote.reason is VoteReason.SKIPPED else "abstained"
    return "emergency" if vote.emergency else "normal"
