"""Three voters in three processes: whoever comes to harm is alone in it, and soon back."""

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


def observe(how: str) -> dict[str, Any]:
    """What tests/voting/apart.py saw; in an interpreter that has no threads yet."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.voting.apart", how],
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


def test_a_nursery_is_refused_where_there_are_threads():
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    with pytest.raises(RuntimeError, match="before the first thread"):
        Nursery(lambda _connection: None)
    release.set()
    thread.join()
