"""Rows about the state directory: full, failing, locked, corrupt, of an older release, in use."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from homeguard.alerting.clip import ClipWriter
from homeguard.alerting.database import FILE
from homeguard.alerting.incident import IncidentTracker
from homeguard.alerting.migrations import MIGRATIONS
from homeguard.alerting.outbox import Outbox
from homeguard.config import ClipsConfig, Config
from homeguard.domain import Decision, Reason
from homeguard.pipeline import Heard, Home
from homeguard.voting.smoothing import Phase
from tests.alerting.cases import SteppedClock, an_incident, new
from tests.faults.post import KIM, a_config, a_gateway, opened
from tests.faults.sms import to
from tests.faults.table import Outcome, Row
from tests.parts.mosquitto import wait_until

SOUND = np.random.default_rng(7).uniform(-0.5, 0.5, 160_000).astype(np.float32)


@contextmanager
def a_small_disk(directory: Path, megabytes: int = 16) -> Iterator[tuple[Path, str]]:
    """A file system of its own where root may mount one, else a limit on the size of files."""
    place = directory / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        yield place, "a limit of 256 KiB a file (no right to mount)"
        return
    try:
        yield place, f"a tmpfs of {megabytes} MiB"
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take every byte that is left; where the size of files is limited, set that limit."""
    if not os.path.ismount(place):
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, hard))
        return place / "filler"
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    return filler


def make_room(filler: Path) -> None:
    filler.unlink(missing_ok=True)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def generous(config: Config) -> Config:
    """Without the caps of a number, which are another row's matter."""
    sms = config.sms.model_copy(update={"max_per_day": 5000, "max_per_hour": 5000})
    return config.model_copy(update={"sms": sms})


def disk_full(directory: Path) -> Outcome:
    count = 150
    with (
        a_small_disk(directory) as (place, how),
        a_gateway() as gateway,
        opened(generous(a_config(place / "state", None, gateway)), SteppedClock()) as post,
    ):
        filler = fill(place)
        clips = ClipWriter(ClipsConfig(), place / "state" / "clips")
        clip = clips.write("a" * 16, SOUND)
        for number in range(count):
            post.desk.submit(new(an_incident(f"{number:016x}", room=f"room{number}")))
            post.clock.step(1)
            post.deliver()
        texts = to(gateway, KIM)
        fault = post.troubles()
        make_room(filler)
        post.outbox.settle()
        post.desk.submit(new(an_incident("b" * 16)))
        back = not post.outbox.in_memory
        stored = len(post.outbox.history.incidents(1000))
    passed = clip is None and texts >= count and "disk" in fault and back and stored == count + 1
    return Outcome(
        passed,
        f"{how}: {texts} messages for {count} incidents went out, no clip: {clip is None}, fault: "
        f"{fault}; with room again on disk: {back}, {stored} of {count + 1} incidents kept",
    )


def locked(directory: Path) -> Outcome:
    """Another process holds the file for 7 s, longer than SQLite waits."""
    program = (
        "import sqlite3, sys, time\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); time.sleep(7)\n"
    )
    with (
        a_gateway() as gateway,
        opened(a_config(directory / "state", None, gateway), SteppedClock()) as post,
    ):
        config = a_config(directory / "state", None, gateway)
        tracker = IncidentTracker(config.decision, config.alerts)
        home = Home({}, tracker, post.desk.submit, ClipWriter(config.clips, directory / "clips"))
        holder = subprocess.Popen(
            [sys.executable, "-c", program, directory / "state" / FILE], stdout=subprocess.PIPE
        )
        assert holder.stdout is not None
        holder.stdout.readline()
        began = time.monotonic()
        quiet = Decision(
            "den",
            0,
            5,
            active=False,
            emergency=False,
            category=None,
            probability=None,
            reason=Reason.SILENT,
        )
        home._deliver(Heard(quiet, Phase.ONSET, (new(an_incident()),), None))
        while home._refused and time.monotonic() - began < 30:
            home._deliver(Heard(quiet, Phase.QUIET, (), None))
        took_s = time.monotonic() - began
        post.deliver()
        texts = to(gateway, KIM)
        holder.wait(10)
    return Outcome(texts == 1 and 5 < took_s < 20, f"stored after {took_s:.0f} s, {texts} SMS")


def damage(state: Path) -> None:
    """Overwrite the middle of the database file, all but its first page."""
    with (state / FILE).open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(4096)
        file.write(os.urandom(max(0, size - 4096)))


def corrupt_at_start(directory: Path) -> Outcome:
    clock = SteppedClock()
    with a_gateway() as gateway:
        config = a_config(directory / "state", None, gateway)
        with opened(config, clock) as post:
            post.desk.submit(new(an_incident("a" * 16)))
        damage(directory / "state")
        with opened(config, clock) as post:
            post.desk.submit(new(an_incident("b" * 16, room="kitchen")))
            post.deliver()
            texts, fault = to(gateway, KIM), post.troubles()
    aside = [p.name for p in (directory / "state").glob("*.corrupt-*")]
    passed = texts >= 1 and "database" in fault and bool(aside)
    return Outcome(passed, f"set aside: {bool(aside)}, new alert sent: {texts}, fault: {fault}")


def corrupt_while_running(directory: Path) -> Outcome:
    """The file is destroyed under the daemon; an alert is just being decided."""
    clock = SteppedClock()
    state = directory / "state"
    with a_gateway() as gateway, opened(a_config(state, None, gateway), clock) as post:
        post.desk.submit(new(an_incident("a" * 16)))
        connection = post.outbox._database._connection
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        damage(state)
        connection.execute("PRAGMA shrink_memory")  # else SQLite would not look at the file
        post.desk.submit(new(an_incident("b" * 16, room="kitchen")))
        post.deliver()
        texts = [message.body for message in gateway.messages if message.to == KIM]
        fault = post.troubles()
    new_one = sum("kitchen" in text for text in texts)
    passed = new_one == 1 and "database" in fault
    return Outcome(
        passed,
        f"the alert being decided was sent: {new_one}, the one that had waited: "
        f"{len(texts) - new_one} (lost with the file), fault: {fault}",
    )


def old_release(directory: Path) -> Outcome:
    """Rows of the first schema wait; the new release migrates and sends them once."""
    clock, state = SteppedClock(), directory / "state"
    with a_gateway() as gateway:
        config = a_config(state, None, gateway)
        with opened(a_config(directory / "new", None, gateway), clock) as post:
            post.desk.submit(new(an_incident()))
        state.mkdir()
        old = sqlite3.connect(state / FILE, isolation_level=None)
        old.executescript(MIGRATIONS[0])
        old.execute("PRAGMA user_version = 1")
        old.execute("ATTACH ? AS new", (str(directory / "new" / FILE),))
        for table in ("incidents", "alerts", "deliveries"):
            names = ", ".join(r[1] for r in old.execute(f"PRAGMA main.table_info({table})"))
            old.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM new.{table}")
        old.close()
        for _ in range(2):
            with opened(config, clock) as post:
                post.deliver()
        texts = to(gateway, KIM)
    version = sqlite3.connect(state / FILE).execute("PRAGMA user_version").fetchone()[0]
    passed = texts == 1 and version == len(MIGRATIONS)
    return Outcome(passed, f"version 1 became {version}; sent {texts} time over two starts")


def two_threads_and_a_reader(directory: Path) -> Outcome:
    """The command line reads and acknowledges beside the daemon."""
    with (
        a_gateway() as gateway,
        opened(a_config(directory / "state", None, gateway), SteppedClock()) as post,
    ):
        names = [f"{number:016x}" for number in range(50)]
        found: set[str] = set()

        def read() -> None:
            beside = Outbox(directory / "state", SteppedClock(), exclusive=False)
            wait_until(lambda: len(beside.history.incidents(100)) == len(names), 20)
            found.update(i.id for i in beside.history.incidents(100))
            beside.close()

        reader = threading.Thread(target=read)
        reader.start()
        for name in names:
            post.desk.submit(new(an_incident(name)))
        reader.join(30)
    return Outcome(found == set(names), f"{len(found)} of {len(names)} incidents read meanwhile")


ROWS = (
    Row(
        "disk-full",
        "disk full for 150 incidents, then room again",
        "alerts go out without clips, a fault; nothing lost, back on disk when there is room",
        disk_full,
        limit_s=120.0,
    ),
    Row(
        "db-locked",
        "another process locks the database for 7 s",
        "the alert waits in memory and is sent within 20 s",
        locked,
    ),
    Row(
        "db-corrupt-start",
        "database corrupt at start",
        "set aside, the daemon goes on, a fault",
        corrupt_at_start,
    ),
    Row(
        "db-corrupt",
        "database destroyed while running",
        "the alert being decided is sent from memory, a fault",
        corrupt_while_running,
    ),
    Row(
        "db-upgrade",
        "upgrade of the first schema with rows pending",
        "migrated, sent once",
        old_release,
    ),
    Row(
        "db-reader",
        "the command line reads beside a writing daemon",
        "neither disturbs the other",
        two_threads_and_a_reader,
    ),
)
