"""A table of faults: each row breaks a real part and says what was expected and what was seen.

A row runs in a process of its own, in an empty directory, within a time: what hangs or dies fails
its row and no other, and everything it started dies with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a row observed, and whether it is what was expected."""

    passed: bool
    observed: str


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. `inject` gets an empty directory, breaks the real thing and looks."""

    id: str
    fault: str
    expected: str
    inject: Callable[[Path], Outcome]
    limit_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Result:
    """A row that was run."""

    id: str
    fault: str
    expected: str
    observed: str
    passed: bool
    took_s: float


def check_distinct(rows: Iterable[Row]) -> None:
    """Raises ValueError where two rows share an id."""
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            message = f"two rows are called {row.id}"
            raise ValueError(message)
        seen.add(row.id)


def run_here(row: Row, directory: Path) -> Outcome:
    """Inject one fault in this process; an exception is an outcome too."""
    try:
        return row.inject(directory)
    except Exception as exc:  # noqa: BLE001 whatever went wrong is what was observed
        return Outcome(passed=False, observed=f"{type(exc).__name__}: {exc}")


def run_all(rows: Sequence[Row], module: str = "tests.faults") -> Iterator[Result]:
    """Run every row in a process of its own: `python -m <module> --row ID --directory DIR`."""
    for row in rows:
        with TemporaryDirectory(prefix=f"homeguard-{row.id}-") as directory:
            began_s = time.monotonic()
            outcome = _run_apart(row, Path(directory), module)
            took_s = time.monotonic() - began_s
        yield Result(row.id, row.fault, row.expected, outcome.observed, outcome.passed, took_s)


def _run_apart(row: Row, directory: Path, module: str) -> Outcome:
    command = [sys.executable, "-m", module, "--row", row.id, "--directory", str(directory)]
    with (directory / "log").open("w+b") as log:
        child = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        try:
            said, _ = child.communicate(timeout=row.limit_s)
            last = said.decode().splitlines()[-1]
            return Outcome(**json.loads(last))
        except subprocess.TimeoutExpired:
            return Outcome(passed=False, observed=f"still running after {row.limit_s:.0f} s")
        except (IndexError, ValueError, TypeError):
            log.seek(0)
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
            why = lines[-1] if lines else "it said nothing"
            return Outcome(passed=False, observed=f"exit code {child.returncode}: {why}")
        finally:
            _end_group(child)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """Kill the row's process and whatever it left behind: they share a session of their own."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait(10)
    if child.stdout is not None:
        child.stdout.close()


def as_markdown(results: Sequence[Result]) -> str:
    """The table as docs/reliability.md holds it."""
    lines = ["| | fault | expected | observed | |", "|---|---|---|---|---|"]
    for each in results:
        cells = (each.id, each.fault, each.expected, each.observed)
        verdict = "pass" if each.passed else "**fail**"
        escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        lines.append("| " + " | ".join((*escaped, verdict)) + " |")
    return "\n".join(lines) + "\n"


def as_json(results: Sequence[Result]) -> str:
    """The table for programs."""
    return json.dumps([asdict(each) for each in results], ensure_ascii=False, indent=2) + "\n"
