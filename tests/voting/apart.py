"""Three voters in other processes, of which one comes to harm; a program, no test.

The encoder, each in a process of its own; or ("shared") the transcript, in one with the encoder.
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
from homeguard.voting import apart, remote, seat
from homeguard.voting.apart import Seated
from homeguard.voting.features import Extractor
from homeguard.voting.nursery import Nursery
from homeguard.voting.panel import ORDER, Panel
from homeguard.voting.remote import Household, RemoteVoter
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


def main(how: str, *, shared: bool) -> None:
    seat.GIVE_UP_S, seat.BACKOFF_S = 1.0, (0.2, 1.0)
    remote.GROWTH_MB = 100.0
    harmed = "transcript" if shared else "encoder"
    rest = [name for name in ORDER if name != harmed and not (shared and name == "encoder")]
    harm = {harmed: WITHIN.get(how, well)}

    def load(name: str, _order: bytes) -> Seated:
        return Seated(Fragile(name, harm.get(name, well)), Extractor(None), {}, ())

    nursery = Nursery(lambda connections: apart.serve(connections, load, judged))
    together = Household(("encoder", "transcript"), nursery)
    homes = {
        name: together if shared and name != "cnn" else Household((name,), nursery)
        for name in ORDER
    }
    voters = {name: homes[name].voter(name).ready() for name in ORDER}
    first = voters[harmed].pid
    builds = {name: (lambda n=name: homes[n].voter(n).ready()) for name in ORDER}
    panel = Panel(list(voters.values()), CONFIG, builds)
    began = harmed_s = time.monotonic()
    reasons: dict[str, list[str]] = {name: [] for name in ORDER}
    decisions, troubles = set(), set()
    for number in range(WINDOWS):
        if number == HARM_S:
            harmed_s = time.monotonic()
            if how in WITHOUT:
                os.kill(first, WITHOUT[how])
        features = window(number)
        votes = panel.poll(features)
        decisions.add(decide(features.window, votes, CONFIG.decision).reason.value)
        for vote in votes:
            reasons[vote.voter].append(vote.reason.value)
        panel.tend()
        troubles |= set(panel.troubles().values())
        renewed = panel._seats[harmed]._worker.voter
        fresh = isinstance(renewed, RemoteVoter) and renewed.pid != first
        if number > HARM_S and fresh and all(said[-1] == "heard" for said in reasons.values()):
            break
        time.sleep(0.02)
    back_s = time.monotonic() - harmed_s
    pids = {seat._worker.voter.pid for seat in panel._seats.values()}  # type: ignore[union-attr] # a voter is at work
    panel.close()
    nursery.close()
    time.sleep(0.05)
    sys.stdout.write(
        json.dumps(
            {
                "before": reasons[harmed][:3],
                "after": sorted(set(reasons[harmed][3:])),
                "companion": reasons["encoder"],
                "others": sorted({said for name in rest for said in reasons[name]}),
                "decisions": sorted(decisions),
                "troubles": sorted(troubles),
                "back": all(said[-1] == "heard" for said in reasons.values()),
                "back_s": back_s,
                "took_s": time.monotonic() - began,
                "processes": len(pids),
                "first_lives": Path(f"/proc/{first}").exists(),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], shared="shared" in sys.argv[2:])
