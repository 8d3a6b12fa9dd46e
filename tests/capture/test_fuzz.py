"""Recordings that somebody tampered with: one clear error each, within bounds, and no crash."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MUTATIONS = 150  # of each format

# In a process of its own: a crash of a native library would be one of the process.
PROGRAM = """
import json, random, resource, signal, sys, time
from pathlib import Path
import numpy as np, soundfile
from homeguard.capture.media import MediaFile
from homeguard.domain import SourceError

directory, count = Path(sys.argv[1]), int(sys.argv[2])
chance = random.Random(20)
sound = np.random.default_rng(20).uniform(-0.3, 0.3, 16000)
found = {"heard": 0, "refused": 0, "slowest_s": 0.0, "longest_s": 0.0}
for form in ("WAV", "FLAC", "OGG"):
    soundfile.write(directory / "whole", sound, 16000, format=form)
    whole = (directory / "whole").read_bytes()
    for number in range(count):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 2, 8, 64))):
            data[chance.randrange(min(len(data), 300))] = chance.choice((0, 1, 127, 128, 255, 66))
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)):]
        path = directory / "mutant"
        path.write_bytes(data)
        began, heard_s = time.perf_counter(), 0.0
        signal.alarm(20)
        try:
            for chunk in MediaFile("den", path).chunks():
                assert np.isfinite(chunk.samples).all() and len(chunk.samples) <= 1536
                heard_s = chunk.end_s
            found["heard"] += 1
        except SourceError:
            found["refused"] += 1
        signal.alarm(0)
        found["slowest_s"] = max(found["slowest_s"], time.perf_counter() - began)
        found["longest_s"] = max(found["longest_s"], heard_s)
found["memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(found))
"""


def test_mutated_headers_give_sound_or_one_clear_error(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(MUTATIONS)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["heard"] + found["refused"] == 3 * MUTATIONS
    assert found["refused"] > 0
    assert found["memory_mib"] < 512, found
