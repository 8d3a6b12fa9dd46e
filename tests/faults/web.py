"""Rows about the page behind the links: it is attacked while an alert goes out."""

from __future__ import annotations

import http.client
import secrets
import socket
import statistics
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from homeguard.alerting.links import Links
from homeguard.config import parse
from homeguard.domain import Contact, Window
from homeguard.voting.load import load_panel_apart, serve
from homeguard.voting.nursery import Nursery
from homeguard.web.bounded import CONNECTIONS
from homeguard.web.server import Site, WebServer
from tests.alerting.cases import SteppedClock, an_incident, new
from tests.faults.post import KIM, a_config, a_gateway, opened
from tests.faults.sms import to
from tests.faults.table import Outcome, Row
from tests.faults.voters import MODELS

SLOWER_S = 0.3


class Judge:
    """The daemon's voters, and how long they take for a window."""

    def __init__(self, directory: Path) -> None:
        self._nursery = Nursery(serve)  # before there are threads
        self._voting = load_panel_apart(
            parse(f"node: {{models_dir: {MODELS}, state_dir: {directory}}}"), self._nursery
        )
        self._sound = np.random.default_rng(1).normal(0.0, 0.05, 80_000).astype(np.float32)

    def median_s(self) -> float:
        """Of twenty windows."""
        took = []
        for _ in range(20):
            began_s = time.monotonic()
            window = Window("den", 0.0, 5.0, self._sound, active=True)
            self._voting.panel.poll(self._voting.extractor.extract(window))
            took.append(time.monotonic() - began_s)
        return statistics.median(took)

    def close(self) -> None:
        self._voting.panel.close()
        self._nursery.close()


def attacked(directory: Path) -> Outcome:
    """Slow clients, guessed links and uploads at once; windows are judged, then an alert comes."""
    judge = Judge(directory)
    before_s = judge.median_s()
    clock = SteppedClock()
    with a_gateway() as gateway:
        config = a_config(directory / "state", None, gateway, clips={"share": "link"})
        with opened(config, clock) as post:
            contact = Contact("김철수", KIM)
            links = Links(secrets.token_bytes(32), "http://127.0.0.1", [contact], clock)
            server = WebServer(
                "127.0.0.1", 0, Site(config, post.outbox, links, post.desk.acknowledge)
            )
            server.start()
            ends, answers, lock = time.monotonic() + 8.0, list[int](), threading.Lock()
            post.desk.submit(new(an_incident("b" * 16, room="kitchen")))
            good = (links.url("b" * 16, contact) or "").removeprefix("http://127.0.0.1")

            def guess() -> None:
                paths = (f"/i/{secrets.token_urlsafe(32)[:43]}/ack", f"{good}/../../etc/passwd")
                while time.monotonic() < ends:
                    for path in paths:
                        web = http.client.HTTPConnection("127.0.0.1", server.port, timeout=2)
                        with suppress(OSError, http.client.HTTPException):
                            web.request("POST", path, headers={"Content-Length": "1000000000"})
                            status = web.getresponse().status
                            with lock:
                                answers.append(status)
                        web.close()

            slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(12)]
            for each in slow:
                each.sendall(b"GET /i/")
            threads = [threading.Thread(target=guess) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.5)
            busy = threading.active_count()
            during_s = judge.median_s()
            began = time.monotonic()
            post.desk.submit(new(an_incident()))
            post.deliver()
            took_s = time.monotonic() - began
            texts = to(gateway, KIM)
            for thread in threads:
                thread.join()
            for each in slow:
                each.close()
            server.stop()
            judge.close()
            taken = post.outbox.history.incident("b" * 16)
    passed = texts == 2 and took_s < 2.0 and set(answers) == {404} and busy < 3 * CONNECTIONS
    passed = passed and during_s - before_s <= SLOWER_S
    passed = passed and taken is not None and taken.acknowledged_by is None
    return Outcome(
        passed,
        f"{len(answers)} guesses and uploads, all answered {sorted(set(answers))}; the alert was "
        f"stored and sent in {took_s:.2f} s meanwhile; a window judged in {during_s * 1000:.0f} "
        f"ms, {before_s * 1000:.0f} ms before; nothing acknowledged",
    )


ROWS = (
    Row(
        "web-attack",
        "slow clients, guessed links, `../` and 1 GB uploads at the page",
        "refused unread; an alert goes out within 2 s meanwhile, windows are judged 0.3 s later at "
        "most (a tenth of the 3 s that an incident takes to open)",
        attacked,
        limit_s=120.0,
        alone=True,
    ),
)
