"""`homeguard demo`: the daemon hears a household, and the world around it says what arrived.

The daemon runs as `homeguard run` does, in a process of its own, on a recording in place of a
microphone. Broker, SMS gateway, integrator and caregivers are outside it, all on loopback.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from rich.console import Console

from homeguard.demo.broker import Broker, open_broker
from homeguard.demo.gateway import Gateway
from homeguard.demo.report import Report
from homeguard.demo.scene import Scene, Verdict, read_scene
from homeguard.demo.subscriber import Message, subscribed
from homeguard.domain import HomeGuardError, ModelError

NODE, ROOM = "demo", "living-room"
CAREGIVERS = (
    {"name": "김하나", "phone": "+821055550101", "language": "ko"},
    {"name": "Dana Kim", "phone": "+12025550102", "language": "en"},
)
_ACCOUNT, _TOKEN = "AC" + "0" * 32, "demo"  # the loopback gateway's own
_NEXT_CAREGIVER_S = 2.0
_QUIET_S = _NEXT_CAREGIVER_S + 2.0  # nothing more arrives after so long
_STOP_S = 10.0
_POLL_S = 0.1
_LOG_LINES = 15
_MODEL_MISSING = 4  # exit code of `homeguard run`


def run() -> int:
    """Play the scene; 0 when exactly the expected incidents came, 1 otherwise.

    Raises HomeGuardError when a part does not start, or the daemon fails.
    """
    scene = read_scene()
    report = Report(Console(highlight=False, soft_wrap=True), scene)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="homeguard-demo-")))
        broker = stack.enter_context(open_broker(directory))
        gateway = stack.enter_context(_gateway())
        arrived = stack.enter_context(subscribed(broker, f"homeguard/{NODE}/#"))
        report.begin(broker, gateway.url)
        config = directory / "config.yaml"
        config.write_text(_config(scene, broker, gateway, directory), encoding="utf-8")
        log = directory / "daemon.log"
        daemon = stack.enter_context(_daemon(config, log))
        _watch(daemon, arrived, gateway, report)
        code = _stop(daemon)
        _drain(arrived, gateway, report)
        if code != 0:
            raise _failure(code, log)
    return 0 if all(line.verdict is Verdict.RIGHT for line in report.end()) else 1


def _config(scene: Scene, broker: Broker, gateway: Gateway, directory: Path) -> str:
    """A config.yaml as a household would write it; what is not here keeps its default."""
    settings = {
        "node": {"name": NODE, "state_dir": str(directory / "state")},
        "home": {"name": "데모", "address": "서울시 데모로 1"},
        "rooms": [{"name": ROOM, "label": "거실", "file": str(scene.recording)}],
        "alerts": {
            "contacts": list(CAREGIVERS),
            "escalation": {
                "next_after_s": _NEXT_CAREGIVER_S,
                "all_after_s": _NEXT_CAREGIVER_S,
                "repeat_for_s": 0.0,
            },
        },
        "mqtt": {"host": broker.host, "port": broker.port, "version": broker.version},
        "sms": {
            "enabled": True,
            "account_sid": _ACCOUNT,
            "sender": "+12025550100",
            "base_url": gateway.url,
        },
    }
    return yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)


@contextmanager
def _gateway() -> Iterator[Gateway]:
    gateway = Gateway(_ACCOUNT, _TOKEN)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


@contextmanager
def _daemon(config: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`homeguard run`, untouched by what the user's environment says about another one."""
    ours = ("HOMEGUARD_", "STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    environ["HOMEGUARD_TWILIO_AUTH_TOKEN"] = _TOKEN
    command = [sys.executable, "-m", "homeguard", "run", "--config", str(config)]
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            command, stdout=out, stderr=subprocess.STDOUT, env=environ, cwd=config.parent
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _watch(
    daemon: subprocess.Popen[bytes],
    arrived: queue.SimpleQueue[Message],
    gateway: Gateway,
    report: Report,
) -> None:
    """Show what arrives until the recording is over and nothing more comes."""
    audio = f"homeguard/{NODE}/{ROOM}/status/audio"
    last = time.monotonic()
    deadline = last + 2 * report.scene.duration_s + 60.0
    over = False
    with report.waiting():
        while daemon.poll() is None and time.monotonic() < deadline:
            for topic, text in _drain(arrived, gateway, report):
                last = time.monotonic()
                over = over or (topic == audio and text == "offline")
            if over and time.monotonic() - last > _QUIET_S:
                return
            time.sleep(_POLL_S)


def _drain(
    arrived: queue.SimpleQueue[Message], gateway: Gateway, report: Report
) -> list[tuple[str, str]]:
    """Show what came since the last look; gives (topic, text), the topic empty for an SMS."""
    seen: list[tuple[str, str]] = []
    while not arrived.empty():
        message = arrived.get()
        report.publication(message)
        if not message.topic.endswith("/level"):
            seen.append((message.topic, message.text))
    for sms in gateway.messages[report.texts :]:
        report.sms(sms)
        seen.append(("", sms.body))
    return seen


def _stop(daemon: subprocess.Popen[bytes]) -> int:
    """End the daemon as systemd would; its exit code."""
    if daemon.poll() is None:
        daemon.send_signal(signal.SIGTERM)
    try:
        return daemon.wait(_STOP_S)
    except subprocess.TimeoutExpired as exc:
        message = f"the daemon did not stop within {_STOP_S:.0f} s of SIGTERM"
        raise HomeGuardError(message) from exc


def _failure(code: int, log: Path) -> HomeGuardError:
    """What the daemon itself said when it failed."""
    said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    kind = ModelError if code == _MODEL_MISSING else HomeGuardError
    return kind(f"the daemon ended with exit code {code} and said:\n" + "\n".join(said))
