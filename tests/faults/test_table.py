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

ROWS = tuple(Row(f.__name__, "f", "e", f, limit_s=20 if f is not hangs else 2)
             for f in (good, bad, raises, dies, hangs))
sys.exit(main(ROWS, "examples"))
"""


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (directory / "examples.py").write_text(EXAMPLES, encoding="utf-8")
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
