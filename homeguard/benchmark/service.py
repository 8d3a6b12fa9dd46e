"""The daemon itself, as `homeguard run` starts it: time to its first decision, memory, alert delay.

It listens to streams on loopback that are sent in real time, so that it is known of each alert when
the sound left. Both sound voters say yes to whatever the gate lets through (threshold 0) and one
window opens an incident: what is measured is the way, not the models' judgement. Each room has one
event, one room after the other, and is cut off then.
"""

from __future__ import annotations

import http
import http.server
import json
import os
import queue
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from homeguard.benchmark.sounds import SAMPLE_RATE, machine, room_tone
from homeguard.demo.broker import Broker, open_broker
from homeguard.demo.scene import read_scene
from homeguard.demo.subscriber import subscribed
from homeguard.domain import Float32, HomeGuardError

NODE = "benchmark"
FIRST_EVENT_S = 6.5
NEXT_EVENT_S = 1.2  # after the one before, in the next room: another place within the hop each time
EVENT_S = 1.0
AFTER_S = 3.0
PIECE_S = 0.02
START_WITHIN_S = 60.0
STOP_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Service:
    """What the daemon came to. `delays_ms`: from the end of the window to the alert's arrival."""

    first_decision_s: float  # from the start of the process, sound waiting
    resident_mib: float  # of its processes, shared pages once
    delays_ms: tuple[float, ...]
    broker: str


def measure(models_dir: Path | None, events: int) -> Service:
    """Start it twice: with a recording for the first decision, with streams for the alerts.

    Takes a second or two an event, of real time. Raises HomeGuardError where no broker starts, or
    the daemon does not.
    """
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        broker = stack.enter_context(open_broker(folder))
        node: dict[str, Any] = {"name": NODE}
        if models_dir is not None:
            node["models_dir"] = str(models_dir.resolve())
        recording = {"rooms": [{"name": "scene", "file": str(read_scene().recording)}]}
        with _daemon(folder / "start", broker, node, recording) as started:
            first_s = started.first_decision()
        delays, resident = _delays(folder / "alerts", broker, node, events)
    return Service(first_s, resident, tuple(delays), broker.name)


def _delays(
    folder: Path, broker: Broker, node: dict[str, Any], events: int
) -> tuple[list[float], float]:
    with ExitStack() as stack:
        arrived = stack.enter_context(subscribed(broker, f"homeguard/{NODE}/events"))
        studio = stack.enter_context(_studio())
        port = studio.server_address[1]
        names = [f"room{number}" for number in range(events)]
        settings = {
            "rooms": [{"name": n, "url": f"http://127.0.0.1:{port}/{n}.wav"} for n in names],
            "voters": {"encoder": {"threshold": 0.0}, "cnn": {"threshold": 0.0}},
            "gate": {"floor_settle_s": 2.0},
            "decision": {"onset_windows": 1, "onset_of": 1, "hangover_s": 1.0, "share_s": 0.0},
            "clips": {"enabled": False},
        }
        daemon = stack.enter_context(_daemon(folder, broker, node, settings))
        delays: list[float] = []
        until_s = time.monotonic() + START_WITHIN_S + _event_at_s(events)
        while len(delays) < events and time.monotonic() < until_s:
            with suppress(queue.Empty):
                message = arrived.get(timeout=1.0)
                now_s = time.monotonic()
                event = json.loads(message.text)
                if event["type"] == "new" and "category" in event["after"]:
                    delays.append(1000.0 * (now_s - studio.due_s(event["after"]["room"])))
        resident = daemon.resident_mib()
    if len(delays) < events:
        said = f"{len(delays)} alerts of {events} arrived: {daemon.said()}"
        raise HomeGuardError(said)
    return delays, resident


class _Studio(http.server.ThreadingHTTPServer):
    """Sends each room a WAV in real time: silence, a noise, and after that no more."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Player)
        self.began_s: dict[str, float] = {}

    def due_s(self, room: str) -> float:
        """When the first window that holds the room's noise had left, on time.monotonic."""
        return self.began_s[room] + float(np.ceil(_event_at_s(_number(room))))


class _Player(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        studio: Any = self.server
        room = self.path.strip("/").removesuffix(".wav")
        if room in studio.began_s:
            self.send_error(http.HTTPStatus.GONE)
            return
        pcm = (_sound(_event_at_s(_number(room))) * np.float32(32_767)).astype("<i2")
        self.send_response(http.HTTPStatus.OK)
        self.send_header("Content-Type", "audio/wav")
        self.end_headers()
        piece = round(PIECE_S * SAMPLE_RATE)
        with suppress(OSError):
            self.wfile.write(_endless_wav())
            studio.began_s[room] = began_s = time.monotonic()
            for first in range(0, len(pcm), piece):
                self.wfile.write(pcm[first : first + piece].tobytes())
                due_s = began_s + (first + piece) / SAMPLE_RATE
                time.sleep(max(0.0, due_s - time.monotonic()))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


def _number(room: str) -> int:
    return int(room.removeprefix("room"))


def _event_at_s(number: int) -> float:
    return FIRST_EVENT_S + number * NEXT_EVENT_S


def _sound(event_at_s: float) -> Float32:
    """A room below the gate's least level, then a machine for a moment."""
    size, first = round((event_at_s + AFTER_S) * SAMPLE_RATE), round(event_at_s * SAMPLE_RATE)
    sound = np.resize(room_tone(), size) * np.float32(0.05)
    sound[first : first + round(EVENT_S * SAMPLE_RATE)] = machine()[: round(EVENT_S * SAMPLE_RATE)]
    return sound


def _endless_wav() -> bytes:
    unknown = b"\xff\xff\xff\xff"
    form = (16).to_bytes(4, "little") + b"\x01\x00\x01\x00"
    rate = SAMPLE_RATE.to_bytes(4, "little") + (2 * SAMPLE_RATE).to_bytes(4, "little")
    return b"RIFF" + unknown + b"WAVEfmt " + form + rate + b"\x02\x00\x10\x00data" + unknown


@contextmanager
def _studio() -> Iterator[_Studio]:
    with _Studio() as studio:
        thread = threading.Thread(target=studio.serve_forever, name="studio", daemon=True)
        thread.start()
        try:
            yield studio
        finally:
            studio.shutdown()


class _Daemon:
    """A running daemon and its notify socket."""

    def __init__(
        self, process: subprocess.Popen[bytes], notified: socket.socket, log: Path
    ) -> None:
        self._process, self._notified, self._log = process, notified, log
        self._started_s = time.monotonic()

    def first_decision(self) -> float:
        """Seconds from the start to the first decision. Raises HomeGuardError if none comes."""
        self._notified.settimeout(1.0)
        while time.monotonic() - self._started_s < START_WITHIN_S:
            with suppress(TimeoutError):
                if b"WATCHDOG=1" in self._notified.recv(4096):
                    return time.monotonic() - self._started_s
            if self._process.poll() is not None:
                break
        message = f"the daemon decided nothing: {self.said()}"
        raise HomeGuardError(message)

    def resident_mib(self) -> float:
        """Memory of the daemon and its children; a page that several share counts once."""
        total_kib = 0
        for pid in (self._process.pid, *_descendants(self._process.pid)):
            with suppress(OSError):
                text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
                total_kib += int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1])  # type: ignore[index]
        return total_kib / 1024

    def said(self) -> str:
        """The end of its log."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-500:].strip()


@contextmanager
def _daemon(
    folder: Path, broker: Broker, node: dict[str, Any], settings: dict[str, Any]
) -> Iterator[_Daemon]:
    folder.mkdir()
    config = {
        **settings,
        "node": {**node, "state_dir": str(folder / "state")},
        "mqtt": {"host": broker.host, "port": broker.port, "version": broker.version},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    address = str(folder / "notify")
    command = [sys.executable, "-m", "homeguard", "run", "--config", str(folder / "config.yaml")]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(address)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - ourselves
                command, stderr=log, env=os.environ | {"NOTIFY_SOCKET": address}
            )
        try:
            yield _Daemon(process, notified, folder / "log")
        finally:
            process.terminate()
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text(encoding="ascii").split():
            yield int(child)
            yield from _descendants(int(child))
