"""Rows about recordings that others made: the process that decodes them comes to harm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from tests.faults.table import Outcome, Row
from tests.parts.mosquitto import wait_until

RATE = 16_000


def decoder_of(pid: int) -> int | None:
    """The process that decodes for another one: a child of its "decoders"."""
    for name in ("decoders", "decoder"):
        try:
            below = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
            names = {Path(f"/proc/{each}/comm").read_text().strip(): int(each) for each in below}
            pid = names[name]
        except (OSError, KeyError):
            return None
    return pid


def analyzed(directory: Path, *, harm: Callable[[int], None]) -> Outcome:
    """`homeguard analyze` over a long recording and a short one; the first one's decoder is hit."""
    sound = np.random.default_rng(1).normal(0.0, 0.05, 60 * RATE).astype(np.float32)
    long, short = directory / "long.wav", directory / "short.wav"
    soundfile.write(long, np.tile(sound, 60), RATE)
    soundfile.write(short, sound[: 5 * RATE], RATE)
    command = [sys.executable, "-m", "homeguard", "analyze", str(long), str(short), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the first window: it is under way
        found = wait_until(lambda: decoder_of(process.pid) is not None, 10)
        pid = decoder_of(process.pid)
        if found and pid is not None:
            harm(pid)
        out, errors = process.communicate(timeout=400)
    said = errors.decode().strip().splitlines()
    heard = str(short).encode() in out
    passed = process.returncode == 3 and len(said) == 1 and str(long) in said[0] and heard
    line = said[0].replace(str(directory), "") if said else ""
    return Outcome(passed, f"exit code {process.returncode}; {line!r}; the next one heard: {heard}")


def spin(pid: int) -> None:
    """As the kernel does with one that computes without end."""
    os.kill(pid, signal.SIGXCPU)


_ONE_LINE = "one clear line, exit code 3, the next recording is heard"

ROWS = (
    Row(
        "decoder-crash",
        "the decoder crashes on a recording (SIGSEGV)",
        _ONE_LINE,
        partial(analyzed, harm=lambda pid: os.kill(pid, signal.SIGSEGV)),
        limit_s=400.0,
    ),
    Row(
        "decoder-hang",
        "the decoder hangs on a recording (SIGSTOP)",
        _ONE_LINE,
        partial(analyzed, harm=lambda pid: os.kill(pid, signal.SIGSTOP)),
        limit_s=400.0,
    ),
    Row(
        "decoder-bomb",
        "the decoder is out of processor time on a recording (SIGXCPU)",
        _ONE_LINE,
        partial(analyzed, harm=spin),
        limit_s=400.0,
    ),
)
