"""The daemon: start order, the loop that judges, and the stop in reverse.

Threads: one a room for capture, this one for judging, one a voter, one a channel, paho's own,
one for pictures. Processes: those of the voters (voting.load), and the nursery that makes them.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from homeguard.alerting.channels import (
    make_audience,
    make_channels,
    make_link,
    make_links,
    make_sms,
)
from homeguard.alerting.clip import ClipWriter
from homeguard.alerting.commands import Commands, listen
from homeguard.alerting.discovery import Discovery
from homeguard.alerting.dispatch import Dispatcher
from homeguard.alerting.escalation import Planner
from homeguard.alerting.incident import IncidentTracker
from homeguard.alerting.links import Links
from homeguard.alerting.mqtt_link import MqttLink
from homeguard.alerting.mute import Mute
from homeguard.alerting.outbox import Outbox
from homeguard.alerting.replies import ANSWERABLE, Replies
from homeguard.capture.inbox import Inbox
from homeguard.config import Config, RoomConfig, Secrets
from homeguard.domain import (
    Alert,
    AudioChunk,
    Change,
    HomeGuardError,
    IncidentState,
    ModelError,
)
from homeguard.illustrator import Illustration, Illustrator
from homeguard.listening import Listener
from homeguard.notify import Notifier
from homeguard.pipeline import At, Heard, Home, Room, stream_clock
from homeguard.supervision import Supervisor
from homeguard.voting.load import Voting, load_panel, load_panel_apart
from homeguard.voting.nursery import Nursery
from homeguard.voting.registry import Registry

if TYPE_CHECKING:
    from homeguard.metrics import Metrics

INBOX_CHUNKS = 300  # a room may lag about 29 s behind before it loses sound
TICK_S = 1.0
PRUNE_EVERY_S = 3600.0
DRAIN_S = 2.5  # with all else an end within 5 s, as systemd is promised

_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Daemon:
    """Everything that lives as long as the daemon; `stack` ends it in reverse order.

    Without a nursery the voters are threads of this process, as the demo has them.
    """

    def __init__(
        self,
        config: Config,
        secrets: Secrets,
        stack: ExitStack,
        *,
        nursery: Nursery | None = None,
        now: Callable[[], datetime] = utc_now,
        notifier: Notifier | None = None,
    ) -> None:
        self._config = config
        self._nursery = nursery
        self._now = now
        self._notifier = notifier or Notifier()
        self._on_decision: list[Callable[[Heard], None]] = []
        state_dir = config.node.state_dir
        self._outbox = Outbox(state_dir, now)
        stack.callback(self._outbox.close)
        self._link = make_link(config, secrets)
        audience = make_audience(config, secrets)
        links = make_links(config, now, audience)
        self._mute = Mute(self._outbox, now)
        self._dispatcher = Dispatcher(
            self._outbox,
            Planner.of(config, audience),
            make_channels(config, secrets, self._link, self._outbox, now, links),
            config.alerts,
            now,
            muted=lambda: self._mute.on,
        )
        self._supervisor = Supervisor(
            config, self._outbox, self._dispatcher, self._mute, now, link=self._link
        )
        self._supervisor.start()
        stack.callback(self._supervisor.stop)
        if self._link is not None:
            self._start_link(self._link, stack)
        self._dispatcher.start()
        stack.callback(self._dispatcher.stop, DRAIN_S)
        self._read_replies(secrets, stack)
        if links is not None:
            self._open_page(links, stack)
        self._end_what_a_restart_left()
        self._voting = self._load_voting()
        stack.callback(self._voting.panel.close)
        self._clips = ClipWriter(config.clips, state_dir / "clips")
        self._tracker = IncidentTracker(config.decision, config.alerts)
        self._home = Home(self._rooms(), self._tracker, self._dispatcher.submit, self._clips)
        self._illustrate(stack)
        self._inbox = Inbox(INBOX_CHUNKS)
        self._listeners = [Listener(r, self._inbox, config.health) for r in config.rooms]
        stack.callback(self._stop_listening)
        self._metrics = self._count(stack)

    def run(self, stop: threading.Event) -> None:
        """Judge sound until `stop`."""
        for listener in self._listeners:
            listener.start()
        self._notifier.ready(self._summary())
        _log.info("listening", extra={"rooms": [r.name for r in self._config.rooms]})
        tick_at = prune_at = time.monotonic()
        while not stop.is_set():
            chunk = self._inbox.get(TICK_S / 2)
            if chunk is not None:
                self._hear(chunk)
            self._finish_ended()
            if time.monotonic() >= tick_at:
                tick_at = time.monotonic() + TICK_S
                self._tick()
            if time.monotonic() >= prune_at:
                prune_at = time.monotonic() + PRUNE_EVERY_S
                self._forget()
        _log.info("stopping")
        self._notifier.loading()  # on a small machine a reload takes longer than the watchdog waits

    def _hear(self, chunk: AudioChunk) -> None:
        began_s = time.perf_counter()
        listener = self._listener(chunk.room)
        listener.heard(chunk)
        self._take(self._home.hear(chunk, shed=listener.sheds()))
        listener.left_out(self._home.windows_shed(chunk.room))
        if self._metrics is not None:
            self._metrics.judged(chunk, time.perf_counter() - began_s)

    def watch(self, on_decision: Callable[[Heard], None]) -> None:
        """Call `on_decision` with everything heard, in the judging thread."""
        self._on_decision.append(on_decision)

    def _take(self, heard: Iterator[Heard]) -> None:
        for each in heard:
            # Only a decision on fresh sound shows that the whole chain works.
            self._notifier.alive()
            self._supervisor.heard(each.decision)
            for told in self._on_decision:
                told(each)
            for alert in each.alerts:
                _log.info("incident", extra=_facts(alert))

    def _forget(self) -> None:
        """Delete what is past its time: clips, and incidents with what was said in them."""
        self._clips.prune(self._tracker.running_ids())
        try:
            kept = self._now() - timedelta(days=self._config.alerts.keep_days)
            self._outbox.forget(kept)
            self._outbox.drills.forget(kept)
            self._outbox.answers.forget(self._now() - 2 * ANSWERABLE)
        except sqlite3.Error as exc:
            _log.warning("old incidents could not be deleted: %s", exc)

    def _finish_ended(self) -> None:
        """Finish rooms whose recording has been judged to its end."""
        for listener in self._listeners:
            if listener.ended and not listener.finished and self._inbox.is_empty(listener.name):
                self._take(self._home.finish(listener.name))
                listener.finish()

    def _tick(self) -> None:
        if all(listener.hopeless for listener in self._listeners):
            reasons = "; ".join(f"{li.name}: {li.hopeless}" for li in self._listeners)
            message = f"nothing can be heard, now or later: {reasons}"
            raise HomeGuardError(message)
        panel = self._voting.panel
        panel.tend()
        troubles = panel.troubles()
        if troubles and self._nursery is not None and not self._nursery.alive:
            message = "the process that makes voters has ended: HomeGuard must be started anew"
            raise HomeGuardError(message)
        missing = bool(self._voting.missing)
        self._supervisor.tick(self._listeners, troubles, missing=missing)
        if not any(listener.audible for listener in self._listeners):
            # Deaf, but known to be so and told: a restart would not bring the microphone back.
            self._notifier.alive()

    def _load_voting(self) -> Voting:
        if self._nursery is None:
            voting = load_panel(self._config, Registry.open(self._config.node))
        else:
            voting = load_panel_apart(self._config, self._nursery)
        for line in voting.missing:
            _log.error("a voter is missing: %s", line)
        if not any(name in voting.models for name in ("head", "cnn", "transcriber")):
            message = "no voter could be loaded; run `homeguard models verify`"
            raise ModelError(message)
        return voting

    def _rooms(self) -> dict[str, Room]:
        config, voting = self._config, self._voting
        return {
            room.name: Room(
                config, voting.extractor, voting.panel, self._tracker, self._clock_of(room)
            )
            for room in config.rooms
        }

    def _clock_of(self, room: RoomConfig) -> At:
        """A recording has its own time, as if it began now; live sound happens when it is heard."""
        return stream_clock(self._now()) if room.file else lambda _end_s: self._now()

    def _start_link(self, link: MqttLink, stack: ExitStack) -> None:
        room = self._config.rooms[0].name
        listen(
            link,
            Commands(link, self._outbox, self._dispatcher, room, self._now, self._mute),
        )
        Discovery(self._config, link)
        link.on_up = lambda: self._dispatcher.hurry("mqtt")
        link.start()
        stack.callback(link.stop)

    def _read_replies(self, secrets: Secrets, stack: ExitStack) -> None:
        if not (self._config.sms.enabled and self._config.sms.replies):
            return
        # A client of its own: a channel is called by one thread.
        reader = make_sms(self._config, secrets, self._outbox, self._now)
        replies = Replies(reader.replies, self._outbox, self._dispatcher.acknowledge, self._now)
        replies.start()
        stack.callback(replies.stop)

    def _open_page(self, links: Links, stack: ExitStack) -> None:
        from homeguard.web.server import Site, WebServer  # noqa: PLC0415 only where it is wanted

        site = Site(self._config, self._outbox, links, self._dispatcher.acknowledge)
        server = WebServer(self._config.web.host, self._config.web.port, site)
        server.start()
        stack.callback(server.stop)

    def _count(self, stack: ExitStack) -> Metrics | None:
        """Serve figures; where that cannot be, the home is guarded without."""
        if not self._config.metrics.enabled:
            return None
        # 4 MiB that only a home with Prometheus needs.
        from homeguard.metrics import Metrics, MetricsServer  # noqa: PLC0415 - loaded only where it is needed

        place = self._config.metrics
        metrics = Metrics(
            self._config, self._outbox, self._listeners, self._inbox, self._voting.models
        )
        try:
            server = MetricsServer(place, metrics)
        except OSError as exc:
            where = f"{place.host}:{place.port}"
            _log.error("metrics: cannot listen on %s: %s; change metrics.port", where, exc.strerror)
            return None
        self.watch(metrics.heard)
        server.start()
        stack.callback(server.stop)
        return metrics

    def _illustrate(self, stack: ExitStack) -> None:
        """Draw incidents, behind everything else."""
        if self._config.clips.picture == "none" or not self._config.clips.enabled:
            return
        illustrator = Illustrator(self._config, self._cnn_file, self._keep_picture)
        self.watch(illustrator.see)
        illustrator.start()
        stack.callback(illustrator.stop)

    def _cnn_file(self) -> Path | None:
        name = self._voting.models.get("cnn")
        if name is None:
            return None
        return Registry.open(self._config.node).verified(name, "cnn").file(".onnx")

    def _keep_picture(self, picture: Illustration) -> None:
        """In the illustrator's thread."""
        incident, clips = picture.incident, self._config.clips
        self._clips.attach(incident.id, picture.png)
        if self._link is None or clips.picture != "mqtt":
            return
        if not self._link.picture(incident.room, picture.png, incident.id, clips.keep_days):
            _log.warning("the picture of incident %s is too big for the broker", incident.id)

    def _end_what_a_restart_left(self) -> None:
        """Incidents that ran when we stopped have nobody to end them: they end now."""
        for incident in self._outbox.history.running():
            now = self._now()
            after = replace(incident, state=IncidentState.ENDED, ended_at=now, updated_at=now)
            self._dispatcher.submit(Alert(Change.END, incident, after))

    def _listener(self, room: str) -> Listener:
        return next(listener for listener in self._listeners if listener.name == room)

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.stop()
        self._inbox.close()
        for listener in self._listeners:
            listener.join()

    def _summary(self) -> str:
        rooms = ", ".join(room.label or room.name for room in self._config.rooms)
        missing = f"; {len(self._voting.missing)} model(s) missing" if self._voting.missing else ""
        return f"listening in {rooms}{missing}"


def _facts(alert: Alert) -> dict[str, str]:
    """What the log may say of an alert: neither words nor sound."""
    after = alert.after
    return {
        "change": alert.change.value,
        "id": after.id,
        "room": after.room,
        "category": after.category.value,
        "confidence": f"{after.confidence:.2f}",
    }
