"""Rows about power loss: what was written and not synced may be gone, in any part.

The system calls of the process that decides, commits, sends and writes clips are recorded by
strace. From the record comes what a disk may hold after the power fails at any moment: what was
synced, and of the rest any part.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import soundfile

from homeguard.alerting.outbox import Outbox
from tests.faults.table import ROOT, Outcome, Row

ALERTS, MOMENTS = 160, 400
SECTOR = 512
CALLS = "openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,unlink"
_CALL = re.compile(r"(\w+)\((.*)\)\s+= (\d+)")
_HEX = re.compile(r"\\x([0-9a-f]{2})")
_UNSTORED = ("homeguard.db-shm", "homeguard.lock", "reserve")  # made anew at each start


@dataclass(frozen=True, slots=True)
class Call:
    """A system call that changed the directory, or `told` of a commit."""

    name: str
    path: Path
    data: bytes = b""
    at: int = 0
    target: Path | None = None


@dataclass(slots=True)
class File:
    """What of a file is on disk for certain, and what was written since."""

    synced: bytes = b""
    since: list[tuple[int, bytes | None]] = field(default_factory=list)  # None: cut there

    def survives(self, luck: random.Random) -> bytes:
        """The content after the power failed: each write since is there, not, or torn."""
        content = bytearray(self.synced)
        for at, data in self.since:
            if luck.random() < 0.5:
                continue
            if data is None:
                del content[at:]
            else:
                whole = luck.random() < 0.8 or len(data) <= SECTOR
                kept = data if whole else data[: SECTOR * luck.randrange(len(data) // SECTOR)]
                _put(content, at, kept)
        return bytes(content)

    def sync(self) -> None:
        content = bytearray(self.synced)
        for at, data in self.since:
            if data is None:
                del content[at:]
            else:
                _put(content, at, data)
        self.synced, self.since = bytes(content), []

    @property
    def length(self) -> int:
        length = len(self.synced)
        for at, data in self.since:
            length = at if data is None else max(length, at + len(data))
        return length


class Disk:
    """A directory as the calls leave it; names are kept in the order in which they changed."""

    def __init__(self) -> None:
        self._names: dict[Path, File] = {}  # as the process sees them
        self._synced: dict[Path, File] = {}  # as they are on disk for certain
        self._since: list[tuple[Path, File | None]] = []  # None: gone

    def take(self, call: Call) -> None:
        match call.name:
            case "openat" if call.path not in self._names:
                self._name(call.path, File())
            case "write":
                file = self._names[call.path]
                file.since.append((file.length, call.data))
            case "pwrite64":
                self._names[call.path].since.append((call.at, call.data))
            case "ftruncate" | "cut":
                self._names[call.path].since.append((call.at, None))
            case "fsync" | "fdatasync" if call.path in self._names:
                self._names[call.path].sync()
            case "fsync" | "fdatasync":
                self._sync_names(call.path)
            case "rename" if call.target is not None:
                self._name(call.target, self._names[call.path])
                self._name(call.path, None)
            case "unlink" if call.path in self._names:
                self._name(call.path, None)

    def fails(self, luck: random.Random, directory: Path) -> None:
        """Write what survives: of the names that changed since the sync, the first few."""
        names = dict(self._synced)
        for path, file in self._since[: luck.randint(0, len(self._since))]:
            _set(names, path, file)
        for path, file in names.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(file.survives(luck))

    def _name(self, path: Path, file: File | None) -> None:
        _set(self._names, path, file)
        self._since.append((path, file))

    def _sync_names(self, folder: Path) -> None:
        for path, file in self._since:
            if path.parent == folder:
                _set(self._synced, path, file)
        self._since = [(path, file) for path, file in self._since if path.parent != folder]


def _set(names: dict[Path, File], path: Path, file: File | None) -> None:
    if file is None:
        names.pop(path, None)
    else:
        names[path] = file


def _put(content: bytearray, at: int, data: bytes) -> None:
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


def recorded(state: Path, trace: Path) -> list[Call]:
    """Run the process under strace; what it did to its directory."""
    command = ["strace", "-y", "-xx", "-s", "4000000", "-e", f"trace={CALLS}", "-o", str(trace)]
    program = (
        "import sys; from pathlib import Path; from tests.alerting.kill_loop import victim; "
        f"victim(Path(sys.argv[1]), {ALERTS})"
    )
    command += [sys.executable, "-c", program, str(state)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    with trace.open(encoding="ascii", errors="replace") as lines:
        return [call for line in lines for call in _calls(line, state)]


def _calls(line: str, state: Path) -> Iterator[Call]:
    if (found := _CALL.match(line)) is None:
        return
    name, words, _ = found.groups()
    strings = [_plain(word) for word in re.findall(r'"([^"]*)"', words)]
    opened = re.match(r"\w+<([^>]*)>", words)
    numbers = re.findall(r", (\d+)", words)
    paths = strings if name in {"openat", "rename", "unlink"} or opened is None else []
    path = Path(os.fsdecode(paths[0] if paths or opened is None else _plain(opened[1])))
    if not path.is_relative_to(state) or path.name in _UNSTORED:
        return
    path = path.relative_to(state)
    if name == "openat":
        if "O_CREAT" in words:
            yield Call(name, path)
        if "O_TRUNC" in words:
            yield Call("cut", path)
    elif name == "rename":
        yield Call(name, path, target=Path(os.fsdecode(strings[1])).relative_to(state))
    else:
        data = strings[0] if name in {"write", "pwrite64"} else b""
        yield Call(name, path, data, int(numbers[-1]) if numbers else 0)


def _plain(text: str) -> bytes:
    return bytes.fromhex("".join(_HEX.findall(text)))


def power_loss(directory: Path) -> Outcome:
    """Let the power fail at many moments; what was told of as committed must be there."""
    if shutil.which("strace") is None:
        return Outcome(passed=False, observed="strace is not installed: apt install strace")
    state = directory / "state"
    state.mkdir()
    calls = recorded(state, directory / "trace")
    luck, disk, told = random.Random(1), Disk(), list[str]()
    moments = {luck.randrange(len(calls)) for _ in range(MOMENTS)}
    lost = broken = aside = 0
    for number, call in enumerate(calls):
        if call.path.name == "committed" and call.name == "write":
            told.append(call.data.decode().strip())
        elif call.path.name not in {"committed", "sent"}:
            disk.take(call)
        if number not in moments:
            continue
        left = directory / f"left-{number}"
        left.mkdir()
        disk.fails(luck, left)
        lost += _lost(left, told)
        aside += len(list(left.glob("*.corrupt-*")))
        for clip in (left / "clips").glob("*.flac"):
            with suppress(soundfile.LibsndfileError):
                broken -= len(soundfile.read(clip)[0]) == 8000
            broken += 1
        shutil.rmtree(left)
    passed = (lost, broken, aside) == (0, 0, 0) and len(told) == ALERTS
    return Outcome(
        passed,
        f"{len(moments)} moments among {len(calls)} calls, {len(told)} alerts committed: "
        f"{lost} lost, {broken} broken clips, {aside} databases set aside",
    )


def _lost(state: Path, told: list[str]) -> int:
    """How many of the alerts that were told of as committed the outbox does not know."""
    outbox = Outbox(state, lambda: datetime.now(UTC))
    try:
        known = {i.id: i.ended_at is not None for i in outbox.history.incidents(ALERTS)}
    finally:
        outbox.close()
    kept = {line for line in told if line.split()[0] in known}
    kept -= {line for line in kept if line.endswith("end") and not known[line.split()[0]]}
    return len(set(told) - kept)


ROWS = (
    Row(
        "power-loss",
        f"power lost at {MOMENTS} moments: of what was not synced any part is gone",
        "no committed alert is lost, no clip is broken, the database is whole",
        power_loss,
        limit_s=300.0,
    ),
)
