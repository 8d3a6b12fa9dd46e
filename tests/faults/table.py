"""A table of faults: each row breaks a real part and says what was expected and what was seen.

A row runs in a process of its own, in an empty directory, within a time: what hangs or dies fails
its row and no other, and everything it started dies with it. So rows can run side by side; those
whose figures another load would spoil have the machine for themselves.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
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
    """One fault. `inject` gets an empty directory, breaks the real thing and looks.

    `alone`: it measures what another row beside it would disturb.
    """

    id: str
    fault: str
    expected: str
    inject: Callable[[Path], Outcome]
    limit_s: float = 60.0
    alone: bool = False


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


async def run_all(
    rows: Sequence[Row],
    module: str = "tests.faults",
    *,
    jobs: int = 1,
    ended: Callable[[], object] = lambda: None,
) -> AsyncIterator[Result]:
    """Run every row in a process of its own: `python -m <module> --row ID --directory DIR`.

    The results come in the order of `rows`, whichever ended first; `ended` is called as each ends.
    Rows that need the machine for themselves run first, one by one, then the others, `jobs` at
    once. Who stops asking ends what runs.
    """
    turn, slots = asyncio.Semaphore(1), asyncio.Semaphore(jobs)

    async def run(row: Row, place: asyncio.Semaphore) -> Result:
        async with place:
            result = await _run(row, module)
        ended()
        return result

    async def run_beside(row: Row) -> Result:
        if alone:
            await asyncio.wait(alone.values())
        return await run(row, slots)

    alone = {row.id: asyncio.create_task(run(row, turn)) for row in rows if row.alone}
    beside = {row.id: asyncio.create_task(run_beside(row)) for row in rows if not row.alone}
    tasks = alone | beside
    try:
        for row in rows:
            yield await tasks[row.id]
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _run(row: Row, module: str) -> Result:
    with TemporaryDirectory(prefix=f"homeguard-{row.id}-") as directory:
        began_s = time.monotonic()
        outcome = await _run_apart(row, Path(directory), module)
        took_s = time.monotonic() - began_s
    return Result(row.id, row.fault, row.expected, outcome.observed, outcome.passed, took_s)


async def _run_apart(row: Row, directory: Path, module: str) -> Outcome:
    command = [sys.executable, "-m", module, "--row", row.id, "--directory", str(directory)]
    env = os.environ | {"HOMEGUARD_CONFIG": str(ROOT / "config.yaml")}  # not a developer's own
    with (directory / "log").open("w+b") as log:
        child = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, env=env, stdout=PIPE, stderr=log, start_new_session=True
        )
        try:
            said, _ = await asyncio.wait_for(child.communicate(), row.limit_s)
            return Outcome(**json.loads(said.decode().splitlines()[-1]))
        except TimeoutError:
            return Outcome(passed=False, observed=f"still running after {row.limit_s:.0f} s")
        except (IndexError, ValueError, TypeError):
            log.seek(0)
            lines = log.read().decode("utf-8", "replace").strip().splitlines()
            why = lines[-1] if lines else "it said nothing"
            return Outcome(passed=False, observed=f"exit code {child.returncode}: {why}")
        finally:
            await _end_group(child)


async def _end_group(child: Process) -> None:
    """Kill the row's process and whatever it left behind: they share a session of their own."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    await child.wait()


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
