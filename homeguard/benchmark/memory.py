"""Resident memory by part, in a process of its own: python -m homeguard.benchmark.memory [WHISPER].

Each step of a daemon's start, and what it added; then sound, so that what is only loaded when it
is needed counts too; then hours of it, so that a leak would show.
"""

from __future__ import annotations

from homeguard import runtime  # before the native libraries

# isort: split

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

SCENARIOS = ("non-speech, encoder asked", "speech")
SETTLE_LOOPS = 5  # a minute
LOOP_S = 12.0


def resident_mib() -> float:
    """Memory of this process that is in RAM now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def by_part(whisper_dir: Path | None, hours: float) -> dict[str, float]:
    """What a fresh process says of itself: MiB after each step, in their order.

    `hours` of simulated sound come last. Raises CalledProcessError.
    """
    arguments = [str(hours), *([str(whisper_dir)] if whisper_dir else [])]
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-m", "homeguard.benchmark.memory", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    parts: dict[str, float] = json.loads(done.stdout)
    return parts


def naive(shape: str) -> float:
    """MiB of the naive pipeline after a window. Raises CalledProcessError."""
    command = [sys.executable, "-m", "homeguard.training.naive", shape]
    done = subprocess.run(  # noqa: S603 - ourselves
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    return float(done.stdout.split()[-1])


def _steps(whisper_dir: Path | None, hours: float) -> Iterator[tuple[str, float]]:
    yield "Python", resident_mib()
    import_module("numpy")
    yield "numpy", resident_mib()
    import_module("homeguard.config")
    yield "configuration", resident_mib()
    import_module("homeguard.daemon")
    yield "the daemon's code", resident_mib()
    opened: Any = import_module("homeguard.benchmark.subject")
    stages: Any = import_module("homeguard.benchmark.stages")
    config: Any = import_module("homeguard.config")
    subject = opened.open_subject(config.Config(), 1, whisper_dir)
    runtime.release_memory()
    yield "models loaded", resident_mib()
    chosen = [s for s in stages.SCENARIOS if s.name in SCENARIOS]
    with ExitStack() as stack:
        cases = list(stages.windows(subject, stack, chosen))
        yield "all of them used", resident_mib()
        for _ in range(SETTLE_LOOPS):
            for case in cases:
                case.run()
        yield "after minutes of sound", resident_mib()
        if hours > 0:
            for _ in range(round(hours * 3600.0 / LOOP_S / len(cases))):
                for case in cases:
                    case.run()
            yield f"after {hours:g} h of sound", resident_mib()


if __name__ == "__main__":
    directory = Path(sys.argv[2]) if len(sys.argv) > 2 else None  # noqa: PLR2004 - the number says itself
    sys.stdout.write(json.dumps(dict(_steps(directory, float(sys.argv[1])))))
