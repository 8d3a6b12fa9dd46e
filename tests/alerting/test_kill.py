"""Kill -9 at random moments loses no alert that was committed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KILLS = 20


def test_no_committed_alert_is_lost_to_kill_9(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.alerting.kill_loop",
        str(tmp_path / "state"),
        str(KILLS),
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["committed"] > 0
    assert found["lost"] == found["out_of_order"] == found["broken_clips"] == 0
    assert found["copies"] <= KILLS
