"""Rows about the process dying at one exact moment, and about clocks that are set."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from homeguard.alerting.clip import ClipWriter
from homeguard.alerting.dispatch import _ClockWatch
from homeguard.config import ClipsConfig
from homeguard.demo.gateway import Gateway
from homeguard.domain import Contact, Outgoing, Receipt
from tests.alerting.cases import START, SteppedClock, an_incident, new
from tests.faults.post import KIM, LEE, Post, a_config, a_gateway, first_time, opened
from tests.faults.sms import to
from tests.faults.table import ROOT, Outcome, Row

SOUND = np.random.default_rng(7).uniform(-0.5, 0.5, 160_000).astype(np.float32)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(work: Callable[[], object]) -> int:
    """Run `work` in a process that is to die of SIGKILL; the signal that ended it."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def before_commit(state: Path, gateway: Gateway) -> None:
    with opened(a_config(state, None, gateway), SteppedClock()) as post:
        connection = post.outbox._database._connection
        connection.set_trace_callback(lambda sql: die() if sql == "COMMIT" else None)
        post.desk.submit(new(an_incident()))


def after_commit(state: Path, gateway: Gateway) -> None:
    with opened(a_config(state, None, gateway), SteppedClock()) as post:
        post.desk.submit(new(an_incident()))
        die()


def after_send(state: Path, gateway: Gateway) -> None:
    with opened(a_config(state, None, gateway), SteppedClock()) as post:
        channel = post.couriers["sms"].channel

        class Deadly:
            """The channel itself; the process dies when it has sent."""

            name = "sms"

            def send(self, alert: Outgoing, recipient: Contact | None) -> Receipt:
                receipt = channel.send(alert, recipient)
                die()
                return receipt

            def poll(self, reference: str) -> Receipt:
                return channel.poll(reference)

        post.couriers["sms"].channel = Deadly()
        post.desk.submit(new(an_incident()))
        post.deliver()


def crash(
    moment: Callable[[Path, Gateway], None], wanted: tuple[int, ...], directory: Path
) -> Outcome:
    """Die at the moment, start again, count what arrived."""
    state = directory / "state"
    with a_gateway() as gateway:
        ended_by = killed(partial(moment, state, gateway))
        began = time.monotonic()
        with opened(a_config(state, None, gateway), SteppedClock()) as post:
            stored = post.outbox.history.incident(an_incident().id) is not None
            post.deliver()
            took_s = time.monotonic() - began
            post.desk.submit(new(an_incident("b" * 16, room="kitchen")))
            post.deliver()
        bodies = [m.body for m in gateway.messages if m.to == KIM]
    copies, after = (sum(f"#{tag}" in body for body in bodies) for tag in ("a1b2", "bbbb"))
    passed = ended_by == signal.SIGKILL and copies in wanted and after == 1 and took_s < 20
    return Outcome(
        passed,
        f"killed; stored: {stored}; {copies} SMS of it, all with one id, {took_s:.1f} s after the "
        f"start; the next alert: {after} SMS",
    )


def in_a_clip(directory: Path) -> Outcome:
    state = directory / "state"
    clips = state / "clips"
    with a_gateway() as gateway:

        def work() -> None:
            with opened(a_config(state, None, gateway), SteppedClock()) as post:
                post.desk.submit(new(an_incident()))
                # Just before the finished file would get its name.
                sys.addaudithook(lambda event, _: die() if event == "os.rename" else None)
                ClipWriter(ClipsConfig(), clips).write(an_incident().id, SOUND)

        ended_by = killed(work)
        halves = len(list(clips.glob("*.tmp")))
        writer = ClipWriter(ClipsConfig(), clips)
        left = len(list(clips.glob("*")))
        with opened(a_config(state, None, gateway), SteppedClock()) as post:
            post.deliver()
        clip = writer.write("c" * 16, SOUND)
        whole = clip is not None and len(soundfile.read(clip.path)[0]) == len(SOUND)
        texts = to(gateway, KIM)
    passed = (ended_by, halves, left, texts, whole) == (signal.SIGKILL, 1, 0, 1, True)
    seen = f"half a clip left: {halves}, after the start: {left}; alert sent: {texts}"
    return Outcome(passed, f"{seen}; the next clip whole: {whole}")


def kill_loop(directory: Path) -> Outcome:
    command = [sys.executable, "-m", "tests.alerting.kill_loop", str(directory / "state"), "100"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    passed = found["lost"] == found["out_of_order"] == found["broken_clips"] == 0
    passed = passed and found["committed"] > 0 and found["copies"] <= found["kills"]
    return Outcome(passed, ", ".join(f"{value} {name}" for name, value in found.items()))


class SettableClock(SteppedClock):
    """A wall clock that can be set; `since_boot` does not notice."""

    def __init__(self) -> None:
        super().__init__()
        self.set_by_s = 0.0

    def set(self, seconds: float) -> None:
        self.step(seconds)
        self.set_by_s += seconds

    def since_boot(self) -> float:
        return (self.at - START).total_seconds() - self.set_by_s


def jumps(seconds: float, directory: Path) -> Outcome:
    """The clock is set while the second contact waits for his turn after 60 s."""
    clock = SettableClock()
    with (
        a_gateway() as gateway,
        opened(a_config(directory / "state", None, gateway), clock) as post,
    ):
        watch = _ClockWatch(post.outbox, clock, clock.since_boot)
        post.desk.submit(new(an_incident()))
        post.run(30)
        clock.set(seconds)
        watch.check()
        took_s = 30 + first_time(lambda: to(gateway, LEE) > 0, post, 120)
        counts = {number: to(gateway, number) for number in (KIM, LEE)}
    passed = abs(took_s - 60) <= 1 and counts == {KIM: 1, LEE: 1}
    return Outcome(passed, f"next contact after {took_s:.0f} s; SMS {list(counts.values())}")


def boot_at_1970(directory: Path) -> Outcome:
    """No battery: the box starts in 1970, an alert comes, then NTP sets the clock."""
    clock = SettableClock()
    clock.at = START.replace(year=1970, month=1, day=1)
    real_s = (START - clock.at).total_seconds()
    with a_gateway() as gateway:
        config = a_config(directory / "state", None, gateway)

        def raised(post: Post, name: str, room: str) -> None:
            at = clock()
            incident = an_incident(name, room=room, raised_at=at, updated_at=at, onset_at=at)
            post.desk.submit(new(incident))

        with opened(config, clock) as post:
            watch = _ClockWatch(post.outbox, clock, clock.since_boot)
            raised(post, "a" * 16, "living-room")
            post.run(30)
            clock.set(real_s)
            watch.check()
            took_s = 30 + first_time(lambda: to(gateway, LEE) > 0, post, 120)
            raised(post, "b" * 16, "kitchen")
            post.deliver()
            states = post.states("a" * 16)
        texts = to(gateway, KIM)
    passed = abs(took_s - 60) <= 1 and texts == 2 and states["failed"] == 0
    return Outcome(
        passed,
        f"sent at once; clock set by 56 years: next contact after {took_s:.0f} s, "
        f"{states['failed']} given up; the next alert: {texts - 1} SMS",
    )


ROWS = (
    Row(
        "kill-commit",
        "kill -9 between decide and commit",
        "the second that was being decided is lost (documented); the next alert goes out",
        partial(crash, before_commit, (0,)),
    ),
    Row(
        "kill-send",
        "kill -9 between commit and send",
        "sent once within 20 s of the start",
        partial(crash, after_commit, (1,)),
    ),
    Row(
        "kill-mark",
        "kill -9 between send and mark",
        "at most one copy, with the same id",
        partial(crash, after_send, (1, 2)),
    ),
    Row(
        "kill-clip",
        "kill -9 inside a clip write",
        "no half clip is left, the alert is sent",
        in_a_clip,
    ),
    Row(
        "kill-loop",
        "100 kill -9 at random moments",
        "0 lost, none out of order, no broken clip; copies have the same id",
        kill_loop,
        limit_s=240.0,
    ),
    Row(
        "clock-forward",
        "the clock jumps 24 h ahead",
        "waiting messages move by 1 s at most, nothing twice",
        partial(jumps, 86_400.0),
    ),
    Row(
        "clock-back",
        "the clock jumps 24 h back",
        "waiting messages move by 1 s at most, nothing twice",
        partial(jumps, -86_400.0),
    ),
    Row(
        "clock-1970",
        "boot at 1970, then the clock is set",
        "alerts go out before and after; nothing is given up for its age",
        boot_at_1970,
    ),
)
