"""What a user installs: the lock, the wheel, the entry point, the unit."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
UNIT = ROOT / "systemd" / "homeguard.service"
LOCKS = ("requirements.lock", "requirements-run.lock", "requirements-train.txt")
SCRIPTS = (
    *("run", "test", ".ci/run", "scripts/setup", "scripts/lab"),
    *("deploy/install.sh", "deploy/homeguard", "deploy/homeguard-alive"),
)
SOURCES = ("pyproject.toml", "README.md", "config.yaml", "homeguard", "models")


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes_and_no_host(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    packages = re.findall(r"^[a-z0-9][a-z0-9.-]*==", text, re.MULTILINE)
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(packages) == len(blocks) > 50
    assert all("--hash=sha256:" in block for block in blocks)
    assert not re.search(r"://|--(?:extra-)?index-url|--find-links|@ ", text)


def test_the_daemon_gets_no_torch():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"^(torch|nvidia|triton|lightning|transformers)", lock, re.MULTILINE)


def test_onnxruntime_is_older_than_its_telemetry():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    versions = re.findall(r"^onnxruntime==1\.(\d+)", lock, re.MULTILINE)
    assert versions
    assert all(int(minor) < 29 for minor in versions)


def test_a_service_gets_the_versions_that_were_tested_and_no_tools_of_ours():
    tested, run = (_blocks(name) for name in LOCKS[:2])
    assert run < tested
    assert not re.search(r"^(pytest|mypy|ruff|matplotlib|hypothesis)==", "".join(run), re.MULTILINE)


def _blocks(lock):
    text = (ROOT / lock).read_text(encoding="utf-8")
    return set(re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:])


def test_the_lock_covers_every_dependency():
    check = subprocess.run(
        [sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stdout


def test_the_command_is_installed():
    (entry,) = entry_points(group="console_scripts", name="homeguard")
    assert entry.value == "homeguard.cli:main"
    assert callable(entry.load())


def test_a_wheel_holds_package_models_and_scene(tmp_path):
    source = tmp_path / "source"
    tracked = subprocess.run(
        ["git", "ls-files", "-z", *SOURCES],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--no-index", "-w", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("homeguard-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    models = {f"homeguard/{name}" for name in tracked.split("\0") if name.startswith("models/")}
    assert {
        "homeguard/config.yaml",
        "homeguard/pipeline.py",
        "homeguard/demo/scene.ogg",
        "homeguard/demo/scene.json",
    } <= names
    assert models <= names
    assert not any(name.startswith(("tests/", "docs/")) for name in names)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_executable_and_lint_clean(script):
    assert os.access(ROOT / script, os.X_OK)
    if not (shellcheck := shutil.which("shellcheck")):
        pytest.skip("apt install shellcheck")
    subprocess.run([shellcheck, ROOT / script], check=True)


@pytest.fixture
def analyze():
    if not (tool := shutil.which("systemd-analyze")):
        pytest.skip("no systemd on this machine")
    return tool


def test_the_installer_says_what_it_would_do_and_does_nothing(tmp_path):
    if not shutil.which("dpkg"):
        pytest.skip("no Debian")
    before = Path("/opt/homeguard").exists()
    installer = ROOT / "deploy" / "install.sh"
    for options in (["--dry-run"], ["--dry-run", "--uninstall", "--purge"]):
        done = subprocess.run([installer, *options], capture_output=True, text=True, check=True)
        assert "/etc/homeguard" in done.stdout
    assert Path("/opt/homeguard").exists() == before
    wrong = subprocess.run([installer, "--nope"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, "--help" in wrong.stderr) == (1, True)
    usage = subprocess.run([installer, "--help"], capture_output=True, text=True, check=True)
    assert "--uninstall" in usage.stdout


def test_systemd_understands_every_line_of_the_unit(tmp_path, analyze):
    # verify wants the binary to exist; unknown keys only show on stderr, its exit code is 0.
    text = UNIT.read_text(encoding="utf-8")
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    check = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    said = [line for line in check.stderr.splitlines() if UNIT.name in line]
    assert (check.returncode, said) == (0, [])


def test_the_sandbox_exposes_little(analyze):
    command = [analyze, "security", "--offline=true", "--threshold=20", UNIT]
    check = subprocess.run(command, capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout[-200:]


def test_the_unit_needs_no_program_that_a_small_debian_lacks():
    programs = re.findall(r"^Exec\w+=(\S+)", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert programs == ["/opt/homeguard/venv/bin/homeguard", "/bin/sh"]


def test_the_unit_is_watched_and_never_gives_up():
    lines = UNIT.read_text(encoding="utf-8").splitlines()
    for line in ("Type=notify", "Restart=always", "StartLimitIntervalSec=0"):
        assert line in lines
    assert any(line.startswith("WatchdogSec=") for line in lines)
