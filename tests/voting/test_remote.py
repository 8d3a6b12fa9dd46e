"""Voters in other processes: who comes to harm takes its own process with it, and is soon back."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from homeguard.voting.nursery import Nursery

ROOT = Path(__file__).parents[2]
EXPECTED = {
    "killed": "failed",
    "crash": "failed",
    "raises": "failed",
    "stopped": "late",
    "hang": "late",
    "nan": "invalid",
    "wrong_shape": "invalid",
    "leak": "heard",
}


def observe(how: str, *more: str) -> dict[str, Any]:
    """What tests/voting/apart.py saw; in an interpreter that has no threads yet."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.voting.apart", how, *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("how", EXPECTED)
def test_one_in_harm_abstains_alone_and_a_fresh_one_comes(how):
    seen = observe(how)
    assert seen["before"] == ["heard"] * 3
    assert EXPECTED[how] in seen["after"]
    assert seen["others"] == ["heard"]
    assert seen["decisions"] == ["agreed"]
    assert seen["back"]
    assert seen["back_s"] < 30.0
    assert not seen["first_lives"]
    if how == "leak":
        assert any("grew from" in trouble for trouble in seen["troubles"])


@pytest.mark.parametrize("how", ["killed", "stopped", "crash", "leak"])
def test_of_two_in_one_process_both_come_back_and_the_third_goes_on(how):
    seen = observe(how, "shared")
    assert EXPECTED[how] in seen["after"]
    assert seen["others"] == ["heard"]
    assert set(seen["decisions"]) <= {"agreed", "unconfirmed"}
    assert seen["back"]
    assert seen["processes"] == 2
    assert not seen["first_lives"]


@pytest.mark.parametrize("how", ["hang", "nan"])
def test_a_voter_in_trouble_does_not_keep_its_companion_from_voting(how):
    """Until the process is ended; then it comes back with the other one."""
    companion = observe(how, "shared")["companion"]
    assert "heard" in companion[3 : companion.index("failed")]


def test_a_nursery_is_refused_where_there_are_threads():
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    with pytest.raises(RuntimeError, match="before the first thread"):
        Nursery(lambda _connections: None)
    release.set()
    thread.join()
