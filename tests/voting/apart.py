"""Three voters in processes of their own, of which the encoder comes to harm; a program, no test.

Run in an interpreter without threads, as the nursery needs it. Prints what was observed as JSON.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from homeguard.config import parse
from homeguard.domain import Features, Vote, Window
from homeguard.labels import Category
from homeguard.voting import remote, seat
from homeguard.voting.features import Extractor
from homeguard.voting.nursery import Nursery
from homeguard.voting.panel import ORDER, Panel
from homeguard.voting.remote import RemoteVoter, Seated
from homeguard.voting.seat import judged
from homeguard.voting.sound import InvalidOutput
from homeguard.voting.vote import decide

HARM_S = 3.0  # the window that does harm
WINDOWS = 400
CONFIG = parse("voters: {encoder: {deadline_ms: 300}, transcript: {deadline_ms: 2000}}")


class Fragile:
    """Says emergency, until the window that does harm; a fresh one is well again."""

    def __init__(self, name: str, harm: Callable[[], float]) -> None:
        self.name = name
        self._harm = harm
        self._harmed = False

    def vote(self, features: Features) -> Vote:
        self._harmed |= features.window.start_s == HARM_S
        probability = self._harm() if self._harmed else 0.9
        return Vote(self.name, emergency=True, probability=probability, category=Category.FIRE)


def hang() -> float:
    time.sleep(600)
    return 0.9


def crash() -> float:
    os.kill(os.getpid(), signal.SIGSEGV)
    return 0.9


HELD: list[bytearray] = []


def leak() -> float:
    HELD.append(bytearray(b"x") * 40_000_000)
    return 0.9


def nan() -> float:
    return math.nan


def wrong_shape() -> float:
    message = "logits (1, 7), not (1, 19)"
    raise InvalidOutput(message)


def raises() -> float:
    message = "what was said must not be quoted"
    raise RuntimeError(message)


WITHIN = {f.__name__: f for f in (hang, crash, leak, nan, wrong_shape, raises)}
WITHOUT = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP}


def well() -> float:
    return 0.9


def window(number: int) -> Features:
    sound = np.full(80_000, 0.1, np.float32)
    heard = Window("den", float(number), number + 5.0, sound, active=True)
    return Extractor(None).extract(heard)


def main(how: str) -> None:
    seat.GIVE_UP_S, seat.BACKOFF_S = 1.0, (0.2, 1.0)
    remote.GROWTH_MB = 100.0
    harm = {"encoder": WITHIN.get(how, well)}

    def load(name: str, _order: bytes) -> Seated:
        return Seated(Fragile(name, harm.get(name, well)), Extractor(None), {}, ())

    nursery = Nursery(lambda connection: remote.serve(connection, load, judged))
    voters = {name: RemoteVoter(name, nursery).ready() for name in ORDER}
    first = voters["encoder"].pid
    builds = {name: (lambda n=name: RemoteVoter(n, nursery).ready()) for name in ORDER}
    panel = Panel(list(voters.values()), CONFIG, builds)
    began = harmed_s = time.monotonic()
    reasons, decisions, others, troubles = [], set(), set(), set()
    for number in range(WINDOWS):
        if number == HARM_S:
            harmed_s = time.monotonic()
            if how in WITHOUT:
                os.kill(first, WITHOUT[how])
        features = window(number)
        encoder, *rest = panel.poll(features)
        others |= {vote.reason.value for vote in rest}
        decisions.add(decide(features.window, (encoder, *rest), CONFIG.decision).reason.value)
        reasons.append(encoder.reason.value)
        panel.tend()
        troubles |= set(panel.troubles().values())
        renewed = panel._seats["encoder"]._worker.voter
        fresh = isinstance(renewed, RemoteVoter) and renewed.pid != first
        if number > HARM_S and fresh and encoder.reason.value == "heard":
            break
        time.sleep(0.02)
    back_s = time.monotonic() - harmed_s
    panel.close()
    nursery.close()
    time.sleep(0.05)
    sys.stdout.write(
        json.dumps(
            {
                "before": reasons[:3],
                "after": sorted(set(reasons[3:])),
                "others": sorted(others),
                "decisions": sorted(decisions),
                "troubles": sorted(troubles),
                "back": reasons[-1] == "heard",
                "back_s": back_s,
                "took_s": time.monotonic() - began,
                "first_lives": Path(f"/proc/{first}").exists(),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
