"""Native libraries start with one thread, without telemetry and without a network."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import homeguard
from homeguard import runtime

NATIVE = {"onnxruntime", "ctranslate2", "faster_whisper"}
PACKAGE = Path(homeguard.__file__).parent
DAEMON = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if not {"training", "explain"} & set(path.relative_to(PACKAGE).parts)
]


def test_the_environment_is_set_by_importing_it_and_a_user_may_set_it_otherwise():
    probe = "import os, homeguard.runtime as r; print([os.environ[n] for n in r.ENVIRONMENT])"
    clean = {k: v for k, v in os.environ.items() if k not in runtime.ENVIRONMENT}
    found = [
        subprocess.run(
            [sys.executable, "-c", probe],
            env=clean | own,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for own in ({}, {"OMP_NUM_THREADS": "4"})
    ]
    assert found[0] == str(list(runtime.ENVIRONMENT.values()))
    assert found[1] == str(list((runtime.ENVIRONMENT | {"OMP_NUM_THREADS": "4"}).values()))


def imported(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", DAEMON, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_whoever_imports_a_native_library_imports_runtime_as_well(path: Path):
    names = imported(ast.parse(path.read_text(encoding="utf-8")))
    if path.name != "runtime.py" and {name.partition(".")[0] for name in names} & NATIVE:
        assert {"homeguard.runtime"} & names


def test_what_only_some_homes_need_is_not_loaded_with_the_daemon():
    code = """
import sys, homeguard.daemon
heavy = {"av", "twilio", "requests", "onnxruntime", "sounddevice", "webrtcvad", "faster_whisper"}
heavy |= {"apprise", "prometheus_client"}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


LEAVING = """
import sys, threading, time
import numpy as np
from homeguard.runtime import leave, ort_session
session = ort_session(sys.argv[1])
mel = np.zeros((1, 1, 80, 500), np.float32)
def work():
    while True:
        session.run(None, {"log_mel": mel})
threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
print("done")
leave()
"""


@pytest.mark.models
def test_a_thread_at_work_in_a_native_library_does_not_abort_the_end():
    model = Path(homeguard.__file__).parent.parent / "models/cnn/model.onnx"
    ended = subprocess.run(
        [sys.executable, "-c", LEAVING, str(model)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")
