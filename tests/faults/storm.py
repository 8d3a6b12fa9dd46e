"""Rows about many things at once: two incidents, one that lasts, a storm, a flood of errors."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

from homeguard.alerting.incident import IncidentTracker
from homeguard.config import AlertsConfig, DecisionConfig
from homeguard.domain import Alert, Decision, Reason
from homeguard.labels import Category
from tests.alerting.cases import START, SteppedClock, an_incident, new
from tests.faults.broker import events
from tests.faults.post import KIM, a_broker, a_config, a_gateway, a_subscriber, opened
from tests.faults.sms import to
from tests.faults.table import ROOT, Outcome, Row
from tests.parts.mosquitto import wait_until


def heard(at_s: float, category: Category, room: str = "living-room") -> Decision:
    """A window of five seconds that says emergency and ends at `at_s`."""
    return Decision(
        room,
        at_s - 5,
        at_s,
        active=True,
        emergency=True,
        category=category,
        probability=0.9,
        reason=Reason.AGREED,
        level_dbfs=-20.0,
    )


def two_at_once(directory: Path) -> Outcome:
    """Two rooms in the same second, each from a thread of its own."""
    with a_broker(directory) as broker, a_gateway() as gateway:
        broker.start()
        config = a_config(directory / "state", broker.port, gateway)
        with a_subscriber(broker) as subscriber, opened(config, SteppedClock()) as post:
            post.link.wait_connected(10)  # type: ignore[union-attr]
            both = threading.Barrier(2)

            def raise_in(room: str, name: str) -> None:
                both.wait()
                post.desk.submit(new(an_incident(name, room=room)))

            threads = [
                threading.Thread(target=raise_in, args=(room, name))
                for room, name in (("living-room", "a" * 16), ("kitchen", "b" * 16))
            ]
            began = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            post.deliver()
            wait_until(lambda: len(events(subscriber)) == 2, 5)
            took_s = time.monotonic() - began
            names = {name for name, *_ in events(subscriber)}
            times = [m.created_at for m in gateway.messages if m.to == KIM]
    apart_s = (max(times) - min(times)).total_seconds() if times else float("inf")
    passed = len(names) == 2 and len(times) == 2 and apart_s <= 1.0
    return Outcome(
        passed,
        f"{len(names)} events, {len(times)} SMS {apart_s:.2f} s apart, all in {took_s:.1f} s",
    )


def five_minutes(directory: Path) -> Outcome:
    tracker = IncidentTracker(DecisionConfig(), AlertsConfig())
    clock = SteppedClock()
    with a_broker(directory) as broker, a_gateway() as gateway:
        broker.start()
        config = a_config(directory / "state", broker.port, gateway)
        with a_subscriber(broker) as subscriber, opened(config, clock) as post:
            post.link.wait_connected(10)  # type: ignore[union-attr]
            for second in range(301):
                evidence = (heard(second + 5.0, Category.FIRE),)
                at = START + timedelta(seconds=second)
                alert: Alert | None
                if second == 0:
                    alert = tracker.onset(evidence, at)
                else:
                    alert = tracker.ongoing(evidence, "living-room", at)
                if alert is not None:
                    post.desk.submit(alert)
                post.deliver()
                clock.step(1)
            over = tracker.offset("living-room", clock())
            if over is not None:
                post.desk.submit(over)
            post.deliver()
            wait_until(lambda: any(kind == "end" for _, kind, _ in events(subscriber)), 5)
            kinds = Counter(kind for _, kind, _ in events(subscriber))
            ids = {name for name, *_ in events(subscriber)}
        texts = to(gateway, KIM)
    passed = kinds["new"] == kinds["end"] == 1 and kinds["update"] >= 1
    passed = passed and len(ids) == 1 and texts == 2
    return Outcome(passed, f"MQTT {dict(kinds)} with {len(ids)} id; first contact: {texts} SMS")


def a_thousand_a_minute(directory: Path) -> Outcome:
    """An incident begins and ends sixteen times a second; then a window breaks."""
    count, clock = 1000, SteppedClock()
    with a_gateway() as gateway:
        config = a_config(directory / "state", None, gateway)
        config = config.model_copy(
            update={"alerts": config.alerts.model_copy(update={"update_every_s": 300.0})}
        )
        with opened(config, clock) as post:
            tracker = IncidentTracker(config.decision, config.alerts)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for number in range(count):
                post.desk.submit(tracker.onset((heard(number, Category.STORM),), clock()))
                over = tracker.offset("living-room", clock())
                if over is not None:
                    post.desk.submit(over)
                clock.step(0.06)
                if number % 50 == 0:
                    post.deliver()
            post.deliver()
            during = sum(m.to == KIM and "소리 그침" not in m.body for m in gateway.messages)
            post.desk.submit(tracker.onset((heard(0, Category.ROBBERY),), clock()))
            post.deliver()
            others = sum(m.to == KIM and "강도" in m.body for m in gateway.messages)
            post.run(3600, step_s=60)
            hour = to(gateway, KIM)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            kept = len(post.outbox.history.incidents(5000))
    passed = during == 1 and others == 1 and hour <= 10 and grown < 20 and kept == count + 1
    return Outcome(
        passed,
        f"first contact: {during} SMS in the minute; a new category: {others} at once; {hour} in "
        f"the hour and minute; {kept} incidents on record; memory {grown:+.0f} MiB",
    )


def log_flood(directory: Path) -> Outcome:
    program = (
        "import logging, time\n"
        "from homeguard.logs import configure\n"
        "configure()\n"
        "log, ends = logging.getLogger('homeguard.x'), time.monotonic() + 2\n"
        "for number in range(10**9):\n"
        "    if time.monotonic() > ends: break\n"
        "    log.error('the disk refuses block %d', number)\n"
        "log.error('another cause')\n"
        "print(number)\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    flood = sum("refuses block" in line for line in lines)
    passed = int(done.stdout) > 10_000 and flood <= 3 and any("another cause" in x for x in lines)
    return Outcome(
        passed,
        f"{int(done.stdout)} errors in 2 s became {flood} lines; another cause was written at once",
    )


ROWS = (
    Row(
        "two-at-once",
        "two incidents at once",
        "two alerts on each channel, neither more than 1 s behind the other",
        two_at_once,
        alone=True,
    ),
    Row(
        "five-minutes",
        "one incident of five minutes",
        "one alert, updates, one end, one id",
        five_minutes,
    ),
    Row(
        "storm",
        "1,000 detections a minute of one kind, then one of another",
        "one SMS to a contact in the minute, the other kind at once, 10 in the hour; all recorded, "
        "memory flat",
        a_thousand_a_minute,
        limit_s=300.0,
    ),
    Row(
        "log-flood",
        "thousands of errors a second",
        "at most one line a second of each cause",
        log_flood,
        alone=True,
    ),
)
