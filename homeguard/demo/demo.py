"""`homeguard demo`: the daemon hears a household, and the world around it says what arrived.

The daemon is the one of `homeguard run`, on a recording in place of a microphone, as fast as it
can judge. Broker, SMS gateway, integrator and caregivers are outside it, all on loopback.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr
from rich.console import Console

from homeguard.config import Config, Secrets
from homeguard.daemon import Daemon
from homeguard.demo.broker import Broker, open_broker
from homeguard.demo.gateway import Gateway
from homeguard.demo.report import Report
from homeguard.demo.scene import Scene, Verdict, read_scene
from homeguard.demo.subscriber import Message, subscribed
from homeguard.logs import configure
from homeguard.pipeline import Heard

NODE, ROOM = "demo", "living-room"
CAREGIVERS = (
    {"name": "김하나", "phone": "+821055550101", "language": "ko"},
    {"name": "Dana Kim", "phone": "+12025550102", "language": "en"},
)
_ACCOUNT, _TOKEN = "AC" + "0" * 32, "demo"  # the loopback gateway's own
_POLL_S = 0.05


def run() -> int:
    """Play the scene; 0 when exactly the expected incidents came, 1 otherwise.

    Raises HomeGuardError when a part does not start, or the daemon fails.
    """
    configure()
    logging.getLogger("homeguard").setLevel(logging.WARNING)
    scene = read_scene()
    report = Report(Console(highlight=False, soft_wrap=True), scene, len(CAREGIVERS))
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="homeguard-demo-")))
        broker = stack.enter_context(open_broker(directory))
        gateway = stack.enter_context(_gateway())
        arrived = stack.enter_context(subscribed(broker, f"homeguard/{NODE}/#"))
        config = configuration(scene, broker, gateway.url, directory / "state")
        report.begin(broker, gateway.url)
        heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        with report.waiting(), _listening(config, heard) as (daemon, stop):
            while not daemon.done():
                _show(report, heard, arrived, gateway, wait_s=_POLL_S)
                if report.is_over:
                    stop.set()
            daemon.result()
        _show(report, heard, arrived, gateway)
    return 0 if all(line.verdict is Verdict.RIGHT for line in report.end()) else 1


def configuration(scene: Scene, broker: Broker, gateway_url: str, state_dir: Path) -> Config:
    """What the household's config.yaml says; all that is not here keeps its default.

    Both caregivers are called at once: nobody waits a minute for the second in a demo.
    """
    return Config.model_validate(
        {
            "node": {"name": NODE, "state_dir": state_dir},
            "home": {"name": "데모", "address": "서울시 데모로 1"},
            "rooms": [{"name": ROOM, "label": "거실", "file": scene.recording}],
            "alerts": {
                "contacts": CAREGIVERS,
                "escalation": {"next_after_s": 0.0, "all_after_s": 0.0, "repeat_for_s": 0.0},
            },
            "health": {"weekly_test": ""},
            "mqtt": {"host": broker.host, "port": broker.port, "version": broker.version},
            "sms": {
                "enabled": True,
                "account_sid": _ACCOUNT,
                "sender": "+12025550100",
                "base_url": gateway_url,
            },
        }
    )


@contextmanager
def _gateway() -> Iterator[Gateway]:
    gateway = Gateway(_ACCOUNT, _TOKEN)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


@contextmanager
def _listening(
    config: Config, heard: queue.SimpleQueue[Heard]
) -> Iterator[tuple[Future[None], threading.Event]]:
    """The daemon on a thread of its own until the event is set, or the block ends."""
    stop = threading.Event()
    secrets = Secrets(twilio_auth_token=SecretStr(_TOKEN), mqtt_password=None)

    def listen() -> None:
        with ExitStack() as stack:
            daemon = Daemon(config, secrets, stack)
            daemon.watch(heard.put)
            daemon.run(stop)

    with ThreadPoolExecutor(1, thread_name_prefix="daemon") as pool:
        try:
            yield pool.submit(listen), stop
        finally:
            stop.set()


def _show(
    report: Report,
    heard: queue.SimpleQueue[Heard],
    arrived: queue.SimpleQueue[Message],
    gateway: Gateway,
    wait_s: float = 0.0,
) -> None:
    """Show what came since the last look, and wait so long for the first of it."""
    while not heard.empty():
        report.heard(heard.get())
    try:
        report.publication(arrived.get(timeout=wait_s))
        while True:
            report.publication(arrived.get_nowait())
    except queue.Empty:
        pass
    for sms in gateway.messages[report.texts :]:
        report.sms(sms)
