"""A broker on loopback for as long as the demo lasts: mosquitto where it is installed, else amqtt.

amqtt speaks MQTT 3.1.1 only; `Broker.version` says which version clients may speak.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from homeguard.domain import HomeGuardError

HOST = "127.0.0.1"
_START_S = 10.0
_STOP_S = 5.0
_TRIES = 3  # the free port may be taken before the broker binds it
_SBIN = "/usr/sbin:/usr/local/sbin"  # not on everyone's PATH; Debian's mosquitto lies there


@dataclass(frozen=True, slots=True)
class Broker:
    """A running broker that lets anyone on this machine in."""

    name: str
    port: int
    version: Literal["5", "3.1.1"]
    host: str = HOST


@contextmanager
def open_broker(directory: Path, *, embedded: bool = False) -> Iterator[Broker]:
    """Run a broker until the block ends; its files lie in `directory`.

    `embedded` takes amqtt even where mosquitto is installed. Raises HomeGuardError when no broker
    starts.
    """
    binary = None if embedded else _mosquitto()
    with _mosquitto_at(binary, directory) if binary else _amqtt() as broker:
        yield broker


def _mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=_SBIN)


@contextmanager
def _mosquitto_at(binary: str, directory: Path) -> Iterator[Broker]:
    conf, log = directory / "mosquitto.conf", directory / "mosquitto.log"
    for _ in range(_TRIES):
        port = _free_port()
        conf.write_text(
            f"listener {port} {HOST}\nallow_anonymous true\npersistence false\nlog_dest stderr\n",
            encoding="utf-8",
        )
        with log.open("wb") as out:
            process = subprocess.Popen([binary, "-c", str(conf)], stderr=out)  # noqa: S603 - as found
        try:
            if _answers(port, process):
                yield Broker("mosquitto", port, "5")
                return
        finally:
            _end(process)
    said = log.read_text(encoding="utf-8", errors="replace").strip()
    message = f"mosquitto does not start: {said or 'it says nothing'}"
    raise HomeGuardError(message)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _amqtt() -> Iterator[Broker]:
    try:
        from amqtt.broker import Broker as Amqtt  # noqa: PLC0415  (the extra `demo` only)
    except ImportError as exc:
        message = "no broker for the demo: apt install mosquitto, or pip install homeguard[demo]"
        raise HomeGuardError(message) from exc
    for noisy in ("amqtt", "transitions"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    port = _free_port()
    anyone = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    listen = {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}}
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        broker = Amqtt({"listeners": listen, "plugins": anyone})
        await broker.start()
        started.set()
        await asyncio.to_thread(stop.wait)
        await broker.shutdown()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), name="broker", daemon=True)
    thread.start()
    try:
        if not started.wait(_START_S):
            message = f"the embedded broker does not start on {HOST}:{port}"
            raise HomeGuardError(message)
        yield Broker("amqtt", port, "3.1.1")
    finally:
        stop.set()
        thread.join(_STOP_S)


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Whether the process listens on the port before it ends, or patience does."""
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
            return True
        time.sleep(0.02)
    return False
