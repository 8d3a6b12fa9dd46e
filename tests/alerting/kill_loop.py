"""Kill -9 at random moments around decide, commit, send, mark and the writing of clips.

`python -m tests.alerting.kill_loop DIRECTORY KILLS [SEED]` prints one JSON object: alerts that were
committed, lost, and sent more than once, and clips that do not read back.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from homeguard.alerting.clip import ClipWriter
from homeguard.alerting.courier import Courier
from homeguard.alerting.desk import Desk
from homeguard.alerting.escalation import Planner
from homeguard.alerting.outbox import Outbox
from homeguard.config import AlertsConfig, ClipsConfig, EscalationConfig
from homeguard.domain import Contact, DeliveryState, Outgoing, Receipt
from tests.alerting.cases import an_incident, end, new

LATEST_KILL_S = 0.12
EARLY_KILLS = 0.2  # the share that may strike while the outbox is being opened


class Note:
    """Appends lines to a file; a line once written survives the writer's death."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __call__(self, line: str) -> None:
        os.write(self._descriptor, f"{line}\n".encode())


class NotedChannel:
    """Sends by noting the alert."""

    name = "noted"

    def __init__(self, note: Note) -> None:
        self._note = note

    def send(self, alert: Outgoing, recipient: Contact | None) -> Receipt:
        self._note(f"{alert.after.id} {alert.change}")
        return Receipt(DeliveryState.DELIVERED)

    def poll(self, reference: str) -> Receipt:
        return Receipt(DeliveryState.DELIVERED, reference)


def victim(directory: Path, alerts: float, ready: Callable[[], object] = int) -> None:
    """Decide, commit, send and mark for so many alerts; `ready` is called before the first."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731
    outbox = Outbox(directory, clock)
    planner = Planner((), EscalationConfig(), None, broadcast=("noted",))
    desk = Desk(outbox, planner, clock)
    courier = Courier(NotedChannel(Note(directory / "sent")), outbox, AlertsConfig(), clock)
    committed = Note(directory / "committed")
    clips = ClipWriter(ClipsConfig(), directory / "clips")
    sound = np.random.default_rng(7).uniform(-0.5, 0.5, 8000).astype(np.float32)
    ready()
    while alerts > 0:
        incident = an_incident(uuid.uuid4().hex[:16])
        for alert in (new(incident), end(incident)):
            desk.submit(alert)
            committed(f"{incident.id} {alert.change}")
            alerts -= 1
        clips.write(incident.id, sound)
        courier.deliver_due()
    courier.deliver_due()
    outbox.close()


def main(directory: Path, kills: int, seed: int) -> dict[str, int]:
    """Kill so many victims, let a last one finish, count."""
    moments = random.Random(seed)
    for _ in range(kills):
        waiting, ready = os.pipe()
        child = os.fork()
        if child == 0:
            victim(directory, float("inf"), partial(os.write, ready, b"."))
        if moments.random() > EARLY_KILLS:
            os.read(waiting, 1)
        time.sleep(moments.uniform(0, LATEST_KILL_S))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(waiting)
        os.close(ready)
    victim(directory, 0)
    committed = _lines(directory / "committed")
    sent = Counter(_lines(directory / "sent"))
    broken = 0
    for clip in (directory / "clips").glob("*.flac"):
        broken += len(soundfile.read(clip)[0]) != 8000
    return {
        "kills": kills,
        "committed": len(committed),
        "lost": len(set(committed) - set(sent)),
        "copies": sum(count - 1 for count in sent.values()),
        "out_of_order": _out_of_order(_lines(directory / "sent")),
        "broken_clips": broken,
    }


def _out_of_order(sent: list[str]) -> int:
    place = {line: number for number, line in reversed(list(enumerate(sent)))}
    ends = [line for line in place if line.endswith(" end")]
    return sum(place[line] < place.get(line.replace(" end", " new"), -1) for line in ends)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").split("\n")[:-1] if path.exists() else []


if __name__ == "__main__":
    folder, number, *rest = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    print(json.dumps(main(Path(folder), int(number), int(rest[0]) if rest else 1)))  # noqa: T201 - the output of a command
