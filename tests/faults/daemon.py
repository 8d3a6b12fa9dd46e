"""Rows about the daemon as a process: `homeguard run` with a real broker and SMS gateway."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from homeguard.demo.gateway import Fault
from tests.faults.post import a_broker, a_gateway, a_subscriber
from tests.faults.table import Outcome, Row
from tests.parts.mosquitto import wait_until
from tests.parts.services import PushService
from tests.parts.twilio import TOKEN
from tests.test_daemon import configure, running, stop

TEST = "homeguard/home/test/set"
NOTICED_WITHIN_S = 180.0
NOWHERE = "no such microphone"  # the daemon runs, tells that it is deaf, and takes commands


def terminated(directory: Path) -> Outcome:
    """SIGTERM while the gateway sits on a message."""
    with a_broker(directory) as broker, a_gateway() as gateway:
        broker.start()
        config = configure(directory, broker, gateway, microphone=NOWHERE)
        gateway.script(Fault(hang_s=60.0))
        with a_subscriber(broker) as subscriber:
            with running(config, directory / "notify") as process:
                wait_until(lambda: bool(subscriber.on("homeguard/home/status")), 10)
                subscriber.publish(TEST, "PRESS")
                wait_until(lambda: gateway.posts == 1, 10)
                took_s = stop(process)
            early = len(gateway.messages)
            began = time.monotonic()
            with running(config, directory / "notify"):
                wait_until(lambda: bool(gateway.messages), 30)
                after_s = time.monotonic() - began
                texts = sum("시험" in m.body for m in gateway.messages)
    passed = took_s <= 5.0 and early == 0 and texts == 1
    return Outcome(
        passed, f"ended in {took_s:.1f} s; the rest sent {texts} time, {after_s:.0f} s later"
    )


def reloaded(directory: Path) -> Outcome:
    """SIGHUP with a typo, then with another contact."""
    with a_broker(directory) as broker, a_gateway() as gateway:
        broker.start()
        config = configure(directory, broker, gateway, microphone=NOWHERE)
        good = config.read_text(encoding="utf-8")
        log = directory / "log"
        with (
            a_subscriber(broker) as subscriber,
            running(config, directory / "notify") as process,
        ):
            config.write_text(good.replace("contacts:", "contcats:"), encoding="utf-8")
            process.send_signal(signal.SIGHUP)
            said = wait_until(lambda: "the old one stays in force" in log.read_text(), 10)
            hint = "did you mean" in log.read_text()
            subscriber.publish(TEST, "PRESS")
            old = wait_until(lambda: [m.to for m in gateway.messages] == ["+821012345678"], 20)
            config.write_text(good.replace("+821012345678", "+821087654321"), encoding="utf-8")
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: log.read_text().count("stopping") == 1, 10)
            wait_until(lambda: log.read_text().count("listening") >= 2, 30)
            subscriber.publish(TEST, "PRESS")
            new = wait_until(lambda: gateway.messages[-1].to == "+821087654321", 20)
            alive = process.poll() is None
    passed = said and hint and old and new and alive
    return Outcome(
        passed,
        f"typo refused: {said}, with a suggestion: {hint}, old contact still told: {old}; "
        f"a good one taken: {new}; same process: {alive}",
    )


def secrets_in_sight(directory: Path) -> Outcome:
    """A canary in every secret: it must be in nothing but the daemon's own environment."""
    canaries = (TOKEN, "node-secret", "apprise-secret")
    with (
        a_broker(directory) as broker,
        a_gateway() as gateway,
        closing(PushService()) as service,
    ):
        broker.start()
        gateway.script(Fault(401, 20003))
        service.statuses = [401]
        os.environ["HOMEGUARD_APPRISE_URLS"] = f"json://user:apprise-secret@{service.place}"
        config = configure(directory, broker, gateway, microphone=NOWHERE)
        with config.open("a", encoding="utf-8") as file:
            file.write("apprise: {enabled: true}\n")
        with (
            a_subscriber(broker) as subscriber,
            running(config, directory / "notify") as process,
        ):
            wait_until(lambda: bool(subscriber.on("homeguard/home/status")), 10)
            subscriber.publish(TEST, "PRESS")
            wait_until(lambda: bool(gateway.messages) and bool(service.requests), 20)
            line = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()
            stop(process)
        places = {"process list": line, "log": (directory / "log").read_text()}
        for path in (directory / "state").rglob("*"):
            if path.is_file():
                places[path.name] = path.read_bytes().decode("latin-1")
        places["config"] = config.read_text()
    found = [name for name, text in places.items() if any(c in text for c in canaries)]
    told = bool(gateway.messages) and bool(service.requests)
    return Outcome(
        told and not found, f"looked in {len(places)} places, found in: {found or 'none'}"
    )


def dead(directory: Path) -> Outcome:
    """Nothing of ours runs any more and no connection is closed, as when the power is cut."""
    status = "homeguard/home/status"
    with a_broker(directory) as broker, a_gateway() as gateway:
        broker.start()
        config = configure(directory, broker, gateway, microphone=NOWHERE)
        with a_subscriber(broker) as subscriber, running(config, directory / "notify") as process:
            wait_until(lambda: bool(subscriber.on(status)), 10)
            process.send_signal(signal.SIGSTOP)
            began_s = time.monotonic()
            wait_until(lambda: subscriber.on(status)[-1].text == "offline", NOTICED_WITHIN_S)
            took_s = time.monotonic() - began_s
            said = subscriber.on(status)[-1].text
    return Outcome(said == "offline", f"the broker says {said!r} after {took_s:.0f} s")


def second(directory: Path) -> Outcome:
    with a_broker(directory) as broker, a_gateway() as gateway:
        broker.start()
        config = configure(directory, broker, gateway, microphone=NOWHERE)
        with running(config, directory / "notify") as process:
            other = subprocess.run(
                [sys.executable, "-m", "homeguard", "run", "--config", str(config)],
                env=os.environ | {"HOMEGUARD_TWILIO_AUTH_TOKEN": TOKEN},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            alive = process.poll() is None
    passed = other.returncode == 1 and "another HomeGuard" in other.stderr and alive
    return Outcome(passed, f"exit code {other.returncode} with the reason; the first goes on")


ROWS = (
    Row(
        "sigterm",
        "SIGTERM while the gateway sits on a message",
        "ended within 5 s; sent once after the next start",
        terminated,
        limit_s=120.0,
        alone=True,
    ),
    Row(
        "sighup",
        "config typo on reload, then a good one",
        "the old one is kept and the error said; the good one is taken",
        reloaded,
        limit_s=120.0,
    ),
    Row(
        "second-daemon",
        "a second `homeguard run` on the same state directory",
        "exit code 1 with the reason; the first goes on",
        second,
        limit_s=90.0,
    ),
    Row(
        "box-dead",
        "the box is dead, its connections are not closed",
        "who listens to the broker hears of it within 180 s",
        dead,
        limit_s=240.0,
    ),
    Row(
        "canary",
        "a canary in the secrets",
        "in no log, database, config or process list",
        secrets_in_sight,
        limit_s=90.0,
    ),
)
