"""`./test faults`: break things on purpose, and show what came of it.

./test faults [ID ...] [--jobs N] [--markdown FILE] [--json FILE] [--list]

Exit code 0 only if every row that was run passes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from tests.faults.rows import ROWS
from tests.faults.table import Result, Row, as_json, as_markdown, check_distinct, run_all, run_here


def main(rows: Sequence[Row] = ROWS, module: str = "tests.faults") -> int:
    """The command; gives its exit code."""
    options = _parser().parse_args()
    check_distinct(rows)
    wanted = [row for row in rows if not options.ids or row.id in options.ids]
    if unknown := set(options.ids) - {row.id for row in rows}:
        print(f"no such row: {', '.join(sorted(unknown))}", file=sys.stderr)  # noqa: T201 - the output of a command
        return 2
    if options.row:
        (row,) = (row for row in rows if row.id == options.row)
        print(json.dumps(asdict(run_here(row, options.directory))), flush=True)  # noqa: T201 - the output of a command
        return 0
    if options.list:
        for row in wanted:
            print(f"{row.id:16} {row.fault}: {row.expected}")  # noqa: T201 - the output of a command
        return 0
    results = asyncio.run(_show(wanted, module, options.jobs))
    if options.markdown:
        options.markdown.write_text(as_markdown(results), encoding="utf-8")
    if options.json:
        options.json.write_text(as_json(results), encoding="utf-8")
    return 0 if all(result.passed for result in results) else 1


async def _show(rows: Sequence[Row], module: str, jobs: int) -> list[Result]:
    console = Console(highlight=False, soft_wrap=True)
    results, began_s = [], time.monotonic()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows", total=len(rows))
        async for result in run_all(rows, module, jobs=jobs, ended=lambda: progress.advance(task)):
            results.append(result)
            mark = "[green]pass[/]" if result.passed else "[red]FAIL[/]"
            console.print(f"{mark} [bold]{result.id}[/]  {result.fault}  ({result.took_s:.1f} s)")
            console.print(f"     expected: {result.expected}", markup=False)
            console.print(f"     observed: {result.observed}", markup=False)
    failed = [result.id for result in results if not result.passed]
    took_s = time.monotonic() - began_s
    end = f"{len(results) - len(failed)} of {len(results)} rows pass, in {took_s:.0f} s"
    console.print(end + (f"; failing: {', '.join(failed)}" if failed else ""), markup=False)
    return results


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="./test faults", description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="ID", help="only these rows")
    parser.add_argument("--jobs", type=_some, default=2, help="rows side by side (default 2)")
    parser.add_argument("--markdown", type=Path, help="also write the table there")
    parser.add_argument("--json", type=Path, help="also write the table there")
    parser.add_argument("--list", action="store_true", help="name the rows, break nothing")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    return parser


def _some(text: str) -> int:
    number = int(text)
    if number < 1:
        message = "at least 1"
        raise argparse.ArgumentTypeError(message)
    return number


if __name__ == "__main__":
    sys.exit(main())
