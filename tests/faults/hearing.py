"""Rows about microphones: a real sound server, PortAudio, the daemon's listener and its faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from homeguard.capture.inbox import Inbox
from homeguard.capture.media import MediaFile
from homeguard.config import HealthConfig, RoomConfig
from homeguard.demo.scene import read_scene
from homeguard.domain import Change, FaultAlert, FaultCause
from homeguard.health import FaultWatch, RoomHealth, Symptom
from homeguard.listening import Listener
from tests.faults.table import Outcome, Row
from tests.parts.pulse import MICROPHONE, VirtualMicrophone

TOLD_WITHIN_S = 100.0
BACK_WITHIN_S = 10.0
FLAGGED_WITHIN_S = 30.0
SILENT_WITHIN_S = FLAGGED_WITHIN_S + 3.0  # of exact zeros, once they come
RATE = 16_000
Harm = Callable[[VirtualMicrophone], None]


class Ear:
    """The daemon's listener on the virtual microphone, and the faults that come of it."""

    def __init__(self) -> None:
        self._inbox = Inbox(300)
        self._listener = Listener(
            RoomConfig(name="den", microphone=MICROPHONE), self._inbox, HealthConfig()
        )
        self._watch = FaultWatch()
        self._over = threading.Event()
        self.stall_s = 0.0  # what judging stands still for, once
        self.told: list[tuple[float, FaultAlert]] = []
        self.heard_s = 0.0  # when a chunk was judged last
        self.lag_s = self.worst_s = 0.0  # how old it was, and the oldest one
        self._began_s = time.monotonic()
        self._thread = threading.Thread(target=self._judge, daemon=True)

    @property
    def dropped(self) -> int:
        return self._inbox.dropped("den")

    @property
    def audible(self) -> bool:
        return self._listener.audible

    @property
    def level_dbfs(self) -> float:
        return self._listener.level_dbfs

    def start(self) -> None:
        self._listener.start()
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._listener.stop()

    def wait(self, condition: Callable[[], bool], seconds: float) -> float | None:
        """Seconds until it holds, None where it does not in time."""
        began_s = time.monotonic()
        while not condition():
            if time.monotonic() - began_s > seconds:
                return None
            time.sleep(0.1)
        return time.monotonic() - began_s

    @property
    def symptoms(self) -> tuple[Symptom, ...]:
        return self._listener.symptoms()

    def causes(self, change: Change = Change.NEW) -> list[FaultCause]:
        return [alert.after.cause for _, alert in self.told if alert.change is change]

    def _judge(self) -> None:
        tick_s = 0.0
        while not self._over.is_set():
            if self.stall_s:
                time.sleep(self.stall_s)
                self.stall_s = 0.0
            chunk = self._inbox.get(0.5)
            if chunk is not None:
                self._listener.heard(chunk)
                self.heard_s = time.monotonic()
                self.lag_s = self.heard_s - self._began_s - chunk.end_s
                self.worst_s = max(self.worst_s, self.lag_s)
            if time.monotonic() >= tick_s:
                tick_s = time.monotonic() + 1.0
                alerts = self._watch.update(
                    self._listener.symptoms(), time.monotonic(), datetime.now(UTC)
                )
                self.told += [(time.monotonic(), alert) for alert in alerts]


@contextmanager
def heard(directory: Path, *, rms: float = 0.001) -> Iterator[tuple[VirtualMicrophone, Ear]]:
    """A microphone in a room with a little noise, and the ear at it."""
    pulse = directory / "pulse"
    pulse.mkdir(mode=0o700)
    microphone = VirtualMicrophone(pulse)
    os.environ.update(microphone.environment)
    microphone.start()
    ear = Ear()
    if rms:
        microphone.play(room_tone(directory / "tone.wav", rms))
    ear.start()
    ear.wait(lambda: ear.heard_s > 0, 10.0)
    try:
        yield microphone, ear
    finally:
        ear.stop()
        microphone.kill()  # and with it whoever plays


def room_tone(path: Path, rms: float) -> Path:
    sound = np.random.default_rng(1).normal(0.0, rms, 180 * RATE)
    soundfile.write(path, np.clip(sound, -1.0, 1.0), RATE)
    return path


def lost_and_back(
    directory: Path, *, harm: Harm, mend: Harm, causes: frozenset[FaultCause]
) -> Outcome:
    """What takes the sound away is flagged and told, and so long nothing else is judged.

    Mended, it is heard again.
    """
    with heard(directory) as (microphone, ear):
        harm(microphone)
        harmed_s = time.monotonic()
        flagged_s = ear.wait(lambda: bool(ear.symptoms), FLAGGED_WITHIN_S)
        flagged_at_s = time.monotonic()
        ear.wait(lambda: bool(ear.told), TOLD_WITHIN_S)
        before_s = time.monotonic()
        told_s = before_s - harmed_s
        judged_s = ear.heard_s - flagged_at_s  # the last sound, whosesoever it was
        mend(microphone)
        microphone.play(directory / "tone.wav")
        back_s = ear.wait(lambda: ear.audible and ear.heard_s > before_s, 30.0)
        over_s = ear.wait(lambda: bool(ear.causes(Change.END)), 60.0)
        named = ear.causes()
    passed = (
        flagged_s is not None
        and told_s <= TOLD_WITHIN_S
        and judged_s < 1.0
        and back_s is not None
        and back_s <= BACK_WITHIN_S
        and over_s is not None
        and bool(named)
        and set(named) <= causes
    )
    return Outcome(
        passed,
        f"flagged after {_s(flagged_s)}, nothing judged since: {judged_s < 1.0}; fault "
        f"{[c.value for c in named]} after {told_s:.0f} s; heard again {_s(back_s)} after its "
        f"return; recovery told after {_s(over_s)} more",
    )


def told_of(
    directory: Path, sound: np.ndarray | None, cause: FaultCause, flagged_within_s: float
) -> Outcome:
    """Something is wrong with the sound itself: blocks flow, and that is told all the same."""
    with heard(directory, rms=0.0) as (microphone, ear):
        began_s = time.monotonic()
        if sound is not None:
            path = directory / "sound.wav"
            soundfile.write(path, np.clip(sound, -1.0, 1.0), RATE)
            microphone.play(path)
        flagged_s = ear.wait(lambda: bool(ear.symptoms), flagged_within_s)
        ear.wait(lambda: bool(ear.told), TOLD_WITHIN_S)
        told_s = time.monotonic() - began_s
        flows = time.monotonic() - ear.heard_s < 1.0
        judged, named = ear.audible, ear.causes()
    meant = judged == (cause is not FaultCause.SILENT)
    passed = flagged_s is not None and told_s <= TOLD_WITHIN_S and flows and named == [cause]
    return Outcome(
        passed and meant,
        f"blocks flow: {flows}, still judged: {judged}; flagged after {_s(flagged_s)}, fault "
        f"{[c.value for c in named]} after {told_s:.0f} s",
    )


def never_started(directory: Path) -> Outcome:
    """No sound server runs when listening begins."""
    pulse = directory / "pulse"
    pulse.mkdir(mode=0o700)
    microphone = VirtualMicrophone(pulse)
    os.environ.update(microphone.environment)
    ear = Ear()
    began_s = time.monotonic()
    ear.start()
    flagged_s = ear.wait(lambda: bool(ear.symptoms), TOLD_WITHIN_S)
    told_s = ear.wait(lambda: bool(ear.told), TOLD_WITHIN_S)
    told_s = None if told_s is None else time.monotonic() - began_s
    named = ear.causes()
    microphone.start()
    microphone.play(room_tone(directory / "tone.wav", 0.001))
    back_s = ear.wait(lambda: ear.audible, 30.0)
    over_s = ear.wait(lambda: bool(ear.causes(Change.END)), 60.0)
    ear.stop()
    microphone.kill()
    passed = (
        flagged_s is not None
        and flagged_s <= FLAGGED_WITHIN_S
        and told_s is not None
        and told_s <= TOLD_WITHIN_S
        and back_s is not None
        and back_s <= BACK_WITHIN_S
        and over_s is not None
        and named == [FaultCause.NEVER_STARTED]
    )
    return Outcome(
        passed,
        f"flagged after {_s(flagged_s)}; fault {[c.value for c in named]} after {_s(told_s)}; "
        f"heard {_s(back_s)} after the server came; recovery told after {_s(over_s)} more",
    )


def garbled(directory: Path) -> Outcome:
    """A camera's stream holds samples that are no number, for a minute and a half."""
    sound = np.random.default_rng(1).normal(0.0, 0.01, 90 * RATE).astype(np.float32)
    path = directory / "garbled.wav"
    soundfile.write(path, holed(sound), RATE, subtype="FLOAT")
    health, watch, told = RoomHealth("den", 30.0, 0.0), FaultWatch(), []
    worst, now_s, begun = 0.0, 0.0, datetime.now(UTC)
    for chunk in MediaFile("den", path).chunks():
        now_s = chunk.end_s
        health.heard(chunk, now_s)
        worst = max(worst, float(np.abs(chunk.samples).max()))
        at = begun + timedelta(seconds=now_s)
        told += [(now_s, a.after) for a in watch.update(health.symptoms(now_s), now_s, at)]
    causes = [fault.cause for _, fault in told]
    passed = causes == [FaultCause.GARBLED] and np.isfinite(worst) and told[0][0] <= TOLD_WITHIN_S
    said = f"fault {[c.value for c in causes]} after {told[0][0]:.0f} s: {told[0][1].detail}"
    return Outcome(bool(passed), said if told else "no fault")


def moved(directory: Path) -> Outcome:
    def back(microphone: VirtualMicrophone) -> None:
        microphone.bring_back()

    return lost_and_back(
        directory,
        harm=VirtualMicrophone.take_away,
        mend=back,
        causes=frozenset({FaultCause.OFFLINE}),
    )


def stall(directory: Path) -> Outcome:
    with heard(directory) as (_, ear):
        ear.wait(lambda: False, 3.0)
        usual_s = ear.lag_s
        ear.stall_s = 5.0
        ear.wait(lambda: ear.stall_s == 0.0, 10.0)
        back_s = ear.wait(lambda: ear.lag_s < usual_s + 0.5, 30.0)
        late_s, lost = ear.worst_s - usual_s, ear.dropped
    passed = late_s > 4.0 and back_s is not None and back_s <= BACK_WITHIN_S and lost == 0
    return Outcome(
        passed, f"{late_s:.1f} s late; as before after {_s(back_s)}; blocks lost: {lost}"
    )


def overrun(directory: Path) -> Outcome:
    """Everything of ours stands still; the sound server does not wait."""
    program = (
        "import os, signal, sys, time\n"
        "os.kill(int(sys.argv[1]), signal.SIGSTOP); time.sleep(5)\n"
        "os.kill(int(sys.argv[1]), signal.SIGCONT)\n"
    )
    loud = directory / "loud.wav"
    soundfile.write(loud, np.clip(300.0 * TONE, -1.0, 1.0), RATE)
    with heard(directory) as (microphone, ear):
        ear.wait(lambda: False, 3.0)
        subprocess.run([sys.executable, "-c", program, str(os.getpid())], check=True, timeout=60)
        ear.wait(lambda: time.monotonic() - ear.heard_s < 1.0, BACK_WITHIN_S)
        microphone.play(loud)
        heard_s = ear.wait(lambda: ear.level_dbfs > -20.0, 2 * BACK_WITHIN_S)  # the room is at -60
    passed = heard_s is not None and heard_s <= BACK_WITHIN_S and not ear.told
    return Outcome(passed, f"what is played then is heard {_s(heard_s)} later; no fault of it")


def incidents(recording: Path) -> list[tuple[str, float]]:
    """What `homeguard analyze` makes of a recording."""
    done = subprocess.run(
        [sys.executable, "-m", "homeguard", "analyze", str(recording), "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [(i["category"], round(i["onset_s"])) for i in lines if i["kind"] == "incident"]


def spoilt(directory: Path, *, spoil: Callable[[np.ndarray], np.ndarray]) -> Outcome:
    """The bundled household, as it is and spoilt: the same incidents."""
    sound, rate = soundfile.read(read_scene().recording, dtype="float32")
    path = directory / "spoilt.wav"
    soundfile.write(path, spoil(sound), rate, subtype="FLOAT")
    as_it_is, then = incidents(read_scene().recording), incidents(path)
    passed = [c for c, _ in as_it_is] == [c for c, _ in then] and bool(then)
    return Outcome(passed, f"incidents {then}; without {as_it_is}")


def offset(sound: np.ndarray) -> np.ndarray:
    return np.clip(sound + 0.3, -1.0, 1.0)


def holed(sound: np.ndarray) -> np.ndarray:
    """One sample in a thousand is no number, or endless."""
    spoilt = sound.copy()
    spoilt[::1000] = np.nan
    spoilt[500::2000] = np.inf
    return spoilt


def _s(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s"


GONE = frozenset({FaultCause.OFFLINE, FaultCause.FROZEN, FaultCause.NEVER_STARTED})
FLAT = np.full(180 * RATE, 0.3, np.float32)
TONE = np.random.default_rng(1).normal(0.0, 0.001, 180 * RATE).astype(np.float32)
TOLD = "flagged within 30 s, a fault within 100 s, heard within 10 s of its return, recovery told"
SPOILT = "flagged within 30 s, a fault within 100 s, though blocks flow"

ROWS = (
    Row(
        "mic-unplugged",
        "microphone unplugged, then replugged",
        TOLD,
        partial(
            lost_and_back, harm=VirtualMicrophone.unplug, mend=VirtualMicrophone.plug, causes=GONE
        ),
        limit_s=240.0,
    ),
    Row(
        "mic-moved",
        "microphone away, the server moves the stream to another source",
        TOLD + "; the other source is not listened to",
        moved,
        limit_s=240.0,
    ),
    Row(
        "server-stopped",
        "sound server stopped (SIGSTOP), then going on",
        TOLD,
        partial(
            lost_and_back,
            harm=VirtualMicrophone.stop,
            mend=partial(VirtualMicrophone.stop, stopped=False),
            causes=GONE,
        ),
        limit_s=240.0,
    ),
    Row(
        "server-killed",
        "sound server killed, then started",
        TOLD,
        partial(
            lost_and_back, harm=VirtualMicrophone.kill, mend=VirtualMicrophone.start, causes=GONE
        ),
        limit_s=240.0,
    ),
    Row(
        "server-absent",
        "no sound server runs at the start; one comes later",
        "flagged within 30 s, a fault within 100 s; heard within 10 s of its coming",
        never_started,
        limit_s=240.0,
    ),
    Row(
        "mic-flat",
        "only a constant comes",
        SPOILT,
        partial(told_of, sound=FLAT, cause=FaultCause.SILENT, flagged_within_s=SILENT_WITHIN_S),
        limit_s=150.0,
    ),
    Row(
        "mic-offset",
        "a constant offset of 0.3 under the sound",
        SPOILT,
        partial(
            told_of, sound=FLAT + TONE, cause=FaultCause.OFFSET, flagged_within_s=FLAGGED_WITHIN_S
        ),
        limit_s=150.0,
    ),
    Row(
        "mic-garbled",
        "samples that are no number keep coming",
        "counted; a fault within 100 s of sound",
        garbled,
    ),
    Row(
        "mic-zero",
        "only zeros come",
        SPOILT,
        partial(told_of, sound=None, cause=FaultCause.SILENT, flagged_within_s=SILENT_WITHIN_S),
        limit_s=150.0,
    ),
    Row(
        "mic-clipped",
        "all is cut off",
        "flagged after 60 s, a fault within 100 s; still judged",
        partial(told_of, sound=3000.0 * TONE, cause=FaultCause.CLIPPED, flagged_within_s=70.0),
        limit_s=150.0,
    ),
    Row(
        "mic-dc",
        "a constant offset of 0.3",
        "the same incidents",
        partial(spoilt, spoil=offset),
        limit_s=240.0,
    ),
    Row(
        "mic-nan",
        "samples that are no number",
        "the same incidents",
        partial(spoilt, spoil=holed),
        limit_s=240.0,
    ),
    Row(
        "stall",
        "judging stands still for 5 s",
        "nothing is lost, as fresh as before within 10 s",
        stall,
        limit_s=90.0,
        alone=True,
    ),
    Row(
        "overrun",
        "the whole process stands still for 5 s (SIGSTOP)",
        "what is played then is heard within 10 s",
        overrun,
        limit_s=90.0,
        alone=True,
    ),
)
