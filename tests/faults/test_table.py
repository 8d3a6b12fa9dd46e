"""The runner of the fault table can fail, whatever a row does, and says why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.rows import ROWS
from tests.faults.table import ROOT, Outcome, Result, Row, as_markdown, check_distinct

EXAMPLES = """
import os, sys, time
from tests.faults.__main__ import main
from tests.faults.table import Outcome, Row

def good(directory): return Outcome(not list(directory.glob("*.db")), "as it should be")
def bad(directory): return Outcome(False, "not as it should be")
def raises(directory): raise RuntimeError("boom")
def dies(directory): os.abort()
def hangs(directory): time.sleep(60)

ROWS = tuple(Row(f.__name__, "f" * 100, "e", f, limit_s=20 if f is not hangs else 2)
             for f in (good, bad, raises, dies, hangs))
sys.exit(main(ROWS, "examples"))
"""

BESIDE = """
import sys, time
from pathlib import Path
from tests.faults.__main__ import main
from tests.faults.table import Outcome, Row

SEEN = Path(sys.argv[0]).parent / "seen"

def meets(directory, *, who, others):
    (SEEN / who).touch()
    ends = time.monotonic() + 10
    while not all((SEEN / other).exists() for other in others) and time.monotonic() < ends:
        time.sleep(0.01)
    there = sorted(path.name for path in SEEN.iterdir())
    if who == "alone": (SEEN / who).unlink()
    return Outcome(True, " ".join(there))

def row(who, *others, alone=False):
    return Row(who, "f", "e", lambda at: meets(at, who=who, others=others), alone=alone)

ROWS = (row("first", "second"), row("alone", alone=True), row("second", "first"))
sys.exit(main(ROWS, "examples"))
"""


def run(
    directory: Path, *arguments: str, program: str = EXAMPLES
) -> subprocess.CompletedProcess[str]:
    (directory / "examples.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-m", "examples", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={"PYTHONPATH": f"{directory}:{ROOT}", "PATH": "/usr/bin:/bin"},
    )


def test_a_row_that_passes_gives_exit_code_0(tmp_path: Path) -> None:
    done = run(tmp_path, "good")
    assert (done.returncode, "1 of 1 rows pass" in done.stdout) == (0, True), done.stderr


def test_a_row_that_fails_raises_dies_or_hangs_fails_alone(tmp_path: Path) -> None:
    done = run(tmp_path, "--json", str(tmp_path / "table.json"))
    assert done.returncode == 1, done.stderr
    results = {each["id"]: each for each in json.loads((tmp_path / "table.json").read_text())}
    assert [name for name, each in results.items() if each["passed"]] == ["good"]
    assert results["raises"]["observed"] == "RuntimeError: boom"
    assert results["dies"]["observed"].startswith("exit code -6")
    assert results["hangs"]["observed"] == "still running after 2 s"


def test_rows_run_side_by_side_but_for_those_that_need_the_machine(tmp_path: Path) -> None:
    (tmp_path / "seen").mkdir()
    table = tmp_path / "table.json"
    done = run(tmp_path, "--jobs", "2", "--json", str(table), program=BESIDE)
    assert done.returncode == 0, done.stderr
    seen = {each["id"]: each["observed"] for each in json.loads(table.read_text())}
    assert list(seen) == ["first", "alone", "second"]  # as the table has them
    assert seen == {"first": "first second", "alone": "alone", "second": "first second"}
    printed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("pass")]
    assert printed == list(seen)


def test_no_line_is_broken_in_a_file(tmp_path: Path) -> None:
    assert f"pass good  {'f' * 100}  (" in run(tmp_path, "good").stdout


def test_an_unknown_row_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, "nonsense")
    assert (done.returncode, done.stderr) == (2, "no such row: nonsense\n")


def test_two_rows_of_one_name_are_refused() -> None:
    row = Row("twice", "f", "e", lambda _: Outcome(passed=True, observed=""))
    with pytest.raises(ValueError, match="twice"):
        check_distinct([row, row])


def test_the_rows_have_distinct_names() -> None:
    check_distinct(ROWS)


def test_the_table_is_markdown_whatever_was_observed() -> None:
    table = as_markdown([Result("a", "f", "e", "x|y\nz", passed=False, took_s=1.0)])
    assert table.splitlines()[-1] == r"| a | f | e | x\|y z | **fail** |"
