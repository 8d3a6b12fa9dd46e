"""Nothing phones home: onnxruntime is older than its telemetry, which is switched off besides."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata

import pytest

from tests.voting.tiny_models import tiny_onnx

# The variables count only if they are there when the libraries are first imported.
ORDER = """
import builtins, os, sys
real = builtins.__import__
def watch(name, *args, **kwargs):
    if name.split(".")[0] in {"onnxruntime", "ctranslate2", "faster_whisper", "huggingface_hub"}:
        assert os.environ.get("ORT_DISABLE_TELEMETRY") == "1", name
        assert os.environ.get("HF_HUB_OFFLINE") == "1", name
        assert os.environ.get("OMP_NUM_THREADS") == "1", name
        seen.add(name.split(".")[0])
    return real(name, *args, **kwargs)
seen = set()
builtins.__import__ = watch
import homeguard.daemon, homeguard.voting.load, homeguard.capture.gate
from homeguard.runtime import ort_session
ort_session(sys.argv[1])
assert "onnxruntime" in seen and "ctranslate2" in seen, seen
"""


@pytest.fixture
def network(tmp_path):
    return tiny_onnx(tmp_path / "model.onnx", "log_mel", (1, 1, 80, None), (1, 3))


@pytest.fixture
def clean(tmp_path, monkeypatch):
    """A home of its own, and none of our variables."""
    for name in ("ORT_DISABLE_TELEMETRY", "HF_HUB_OFFLINE", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return home


def test_onnxruntime_is_older_than_its_telemetry():
    major, minor = (int(part) for part in metadata.version("onnxruntime").split(".")[:2])
    assert (major, minor) < (1, 29)


def test_it_is_switched_off_before_the_libraries_are_imported(network, clean):
    subprocess.run([sys.executable, "-c", ORDER, str(network)], check=True, timeout=100)
    assert list(clean.rglob("*")) == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_running_a_model_opens_no_connection(network, clean, tmp_path):
    code = (
        "import sys, numpy; from homeguard.runtime import ort_session\n"
        "s = ort_session(sys.argv[1])\n"
        "s.run(None, {'log_mel': numpy.zeros((1, 1, 80, 500), numpy.float32)})\n"
    )
    log = tmp_path / "strace.log"
    watched = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(log)]
    subprocess.run([*watched, sys.executable, "-c", code, str(network)], check=True, timeout=100)
    calls = log.read_text().splitlines()
    assert [line for line in calls if "AF_INET" in line] == []
