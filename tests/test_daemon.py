"""`homeguard run` as a process of its own, between a real microphone, broker and SMS gateway."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from homeguard.config import Config, Secrets
from homeguard.daemon import Daemon
from homeguard.demo.gateway import Gateway
from homeguard.demo.scene import read_scene
from homeguard.domain import AudioChunk, HomeGuardError, SourceError
from tests.fakes import noise
from tests.parts.mosquitto import NODE_PASSWORD, NODE_USER, Mosquitto, Subscriber, wait_until
from tests.parts.pulse import MICROPHONE, VirtualMicrophone
from tests.parts.twilio import ACCOUNT, SENDER, TOKEN

READY_S = 30.0


def configure(directory: Path, broker: Mosquitto, gateway: Gateway, **room: str) -> Path:
    """A config.yaml for one room."""
    settings = {
        "node": {"name": "home", "state_dir": str(directory / "state")},
        "rooms": [{"name": "den", "label": "거실", **room}],
        "mqtt": {"host": "127.0.0.1", "port": broker.port, "username": NODE_USER},
        "alerts": {"contacts": [{"name": "미나", "phone": "+821012345678"}]},
        "health": {"weekly_test": ""},
        "sms": {
            "enabled": True,
            "account_sid": ACCOUNT,
            "sender": SENDER,
            "base_url": gateway.url,
        },
    }
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return path


@contextmanager
def running(config: Path, notify: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon, from ready on; what it tells systemd goes to the socket `notify`."""
    environment = os.environ | {
        "HOMEGUARD_MQTT_PASSWORD": NODE_PASSWORD,
        "HOMEGUARD_TWILIO_AUTH_TOKEN": TOKEN,
        "NOTIFY_SOCKET": str(notify),
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notify))
        manager.settimeout(READY_S)
        with (config.parent / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "homeguard", "run", "--config", str(config)],
                env=environment,
                stdout=log,
                stderr=log,
            )
        try:
            assert manager.recv(4096).startswith(b"READY=1"), (config.parent / "log").read_text()
            yield process
        finally:
            process.kill()
            process.wait(10)
            notify.unlink()


@contextmanager
def managed(notify: Path) -> Iterator[socket.socket]:
    """A service manager's socket in the place of the one that heard READY."""
    notify.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(notify))
        yield manager


def stop(process: subprocess.Popen[bytes]) -> float:
    """SIGTERM; gives the seconds until it ended, with exit code 0."""
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    return time.monotonic() - began


def smoke_alarm(path: Path) -> Path:
    """The smoke alarm of the bundled scene after 40 s of quiet."""
    scene = read_scene()
    event = next(e for e in scene.sounds if e.category == "fire")
    sound, rate = soundfile.read(scene.recording, dtype="float32")
    cut = sound[round(event.start_s * rate) : round(event.end_s * rate)]
    quiet = noise(8.0, rms=0.0005)
    soundfile.write(path, np.concatenate([quiet, cut, quiet]), rate)
    return path


@pytest.mark.models
@pytest.mark.microphone
@pytest.mark.broker
@pytest.mark.timeout(180)
def test_a_smoke_alarm_at_the_microphone_reaches_subscriber_and_caregiver(
    tmp_path: Path,
    virtual_microphone: VirtualMicrophone,
    broker: Mosquitto,
    gateway: Gateway,
) -> None:
    config = configure(tmp_path, broker, gateway, microphone=MICROPHONE)
    subscriber = Subscriber(broker)
    with running(config, tmp_path / "notify") as process:
        player = virtual_microphone.play(smoke_alarm(tmp_path / "alarm.wav"))
        # The first window may hold half a beep and be called another alarm; that is corrected.
        told = wait_until(lambda: any("화재" in m.body for m in gateway.messages), 60)
        assert told, (tmp_path / "log").read_text()
        assert player.wait(30) == 0
        took_s = stop(process)
    assert took_s < 5.0
    events = [json.loads(m.payload) for m in subscriber.on("homeguard/home/events")]
    subscriber.close()
    assert events[0]["type"] == "new"
    assert {e["after"]["room"] for e in events} == {"den"}
    assert len({e["after"]["id"] for e in events}) == 1
    assert events[-1]["after"]["category"] == "fire"
    emergency = [m.text for m in subscriber.on("homeguard/home/den/emergency")]
    assert "ON" in emergency
    assert [m.text for m in subscriber.on("homeguard/home/den/status/audio")][-1] == "online"
    assert subscriber.on("homeguard/home/status")[-1].text == "offline"
    assert {m.to for m in gateway.messages} == {"+821012345678"}
    assert all("거실" in m.body for m in gateway.messages)
    assert len(list((tmp_path / "state" / "clips").glob("*.flac"))) == 1


@pytest.mark.models
@pytest.mark.broker
@pytest.mark.timeout(120)
def test_a_microphone_that_is_not_there_is_said_and_the_daemon_stays(
    tmp_path: Path, broker: Mosquitto, gateway: Gateway
) -> None:
    config = configure(tmp_path, broker, gateway, microphone="no such microphone")
    subscriber = Subscriber(broker)
    with running(config, tmp_path / "notify") as process:
        topic = "homeguard/home/den/problem"
        assert wait_until(lambda: [m.text for m in subscriber.on(topic)][-1:] == ["ON"], 20)
        assert wait_until(lambda: bool(gateway.messages), 100)
        assert process.poll() is None
        assert stop(process) < 5.0
    assert gateway.messages[0].body.startswith("[고장] 거실 마이크 시작 안 됨")
    events = [json.loads(m.payload) for m in subscriber.on("homeguard/home/events")]
    assert [(e["type"], e["after"]["cause"]) for e in events] == [("fault", "never_started")]
    assert json.loads(subscriber.on("homeguard/home/heartbeat")[0].payload)["rooms"] == []
    subscriber.close()
    assert "no such microphone" in (tmp_path / "log").read_text()


@pytest.mark.models
@pytest.mark.timeout(120)
def test_a_home_where_nothing_can_ever_be_heard_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_args: object, **_more: object) -> Iterator[AudioChunk]:
        message = "microphone 'odd' cannot be opened at 16000 or 11025 Hz"
        raise SourceError(message, retryable=False)
        yield

    monkeypatch.setattr("homeguard.listening.listen", refuses)
    rooms = [{"name": "den", "microphone": "odd"}]
    config = Config.model_validate(
        {"node": {"state_dir": tmp_path}, "rooms": rooms, "mqtt": {"enabled": False}}
    )
    with ExitStack() as stack:
        daemon = Daemon(config, Secrets(), stack)
        with pytest.raises(HomeGuardError, match="den: microphone 'odd' cannot be opened at 16000"):
            daemon.run(threading.Event())


@pytest.mark.models
@pytest.mark.broker
@pytest.mark.timeout(120)
def test_a_second_daemon_on_the_same_state_directory_is_refused(
    tmp_path: Path, broker: Mosquitto, gateway: Gateway
) -> None:
    config = configure(tmp_path, broker, gateway, microphone="none")
    with running(config, tmp_path / "notify"):
        second = subprocess.run(
            [sys.executable, "-m", "homeguard", "run", "--config", str(config)],
            env=os.environ | {"HOMEGUARD_TWILIO_AUTH_TOKEN": TOKEN},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert second.returncode == 1
    assert "another HomeGuard" in second.stderr
    assert "Traceback" not in second.stderr


def children(pid: int) -> dict[str, int]:
    """The processes below one, by name."""
    found: dict[str, int] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found[Path(f"/proc/{child}/comm").read_text().strip()] = int(child)
            found |= children(int(child))
    return found


def fed(manager: socket.socket, seconds: float) -> int:
    """How often the watchdog is fed in so many seconds."""
    manager.settimeout(0.0)
    with suppress(BlockingIOError):
        while manager.recv(4096):
            pass
    manager.settimeout(0.2)
    count, ends = 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        with suppress(TimeoutError):
            count += manager.recv(4096) == b"WATCHDOG=1"
    return count


@pytest.mark.models
@pytest.mark.microphone
@pytest.mark.timeout(120)
def test_the_watchdog_starves_with_the_daemon_and_outlives_a_voter(
    tmp_path: Path, virtual_microphone: VirtualMicrophone, broker: Mosquitto, gateway: Gateway
) -> None:
    config = configure(tmp_path, broker, gateway, microphone=MICROPHONE)
    quiet = tmp_path / "quiet.wav"
    soundfile.write(quiet, noise(100.0, rms=0.001), 16_000)
    player = virtual_microphone.play(quiet)
    with running(config, tmp_path / "notify") as process, managed(tmp_path / "notify") as manager:
        assert fed(manager, 9.0) >= 1  # the first window takes five seconds
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        assert fed(manager, 3.0) == 0
        process.send_signal(signal.SIGCONT)
        assert fed(manager, 4.0) >= 1
        first = children(process.pid)["voter-cnn"]
        os.kill(first, signal.SIGKILL)
        assert fed(manager, 4.0) >= 1
        assert wait_until(lambda: children(process.pid).get("voter-cnn", first) != first, 30)
        family = children(process.pid)
        assert stop(process) < 5.0
        assert wait_until(lambda: not any(Path(f"/proc/{p}").exists() for p in family.values()), 5)
    player.kill()
    player.wait(10)
