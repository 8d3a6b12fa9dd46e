"""Run the daemon for hours over a synthetic household and see whether it grows.

    .venv/bin/python scripts/soak.py --hours 1                # at the speed of sound, by a stream
    .venv/bin/python scripts/soak.py --hours 24 --simulated   # as fast as it judges, by a file

The daemon is `homeguard run` as a process of its own, with a broker and an SMS gateway on loopback.
The house is quiet most of the time; somebody walks, talks, plays music, runs water; twice an hour a
smoke alarm sounds for 20 s, so that incidents, clips and messages come. Memory (the daemon with its
voters' processes, as PSS), descriptors and threads are written down every half minute.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import soundfile
import yaml
from numpy.typing import NDArray

from homeguard.demo.broker import open_broker
from homeguard.demo.gateway import Gateway

RATE = 16_000
BLOCK_S = 10.0
QUIET_RMS = 2.5e-4  # -72 dBFS
EVENT_SHARE = 0.05  # of the blocks hold a sound of the house
ALARM_EVERY_S = 1800.0
ALARM_S = 20.0
LOOK_S = 30.0
SETTLED = 1 / 6  # of the time, before memory is held to be settled
ACCOUNT, TOKEN = "AC" + "0" * 32, "soak"

Sound = NDArray[np.float32]


def household(hours: float, seed: int = 1) -> Iterator[Sound]:
    """Blocks of BLOCK_S, made on the fly."""
    rng = np.random.default_rng(seed)
    size = round(BLOCK_S * RATE)
    tone = rng.normal(0.0, QUIET_RMS, 8 * size).astype(np.float32)
    makers = (_steps, _talk, _music, _water)
    for number in range(round(hours * 3600 / BLOCK_S)):
        start = int(rng.integers(0, 7 * size))
        block = tone[start : start + size].copy()
        if (number * BLOCK_S) % ALARM_EVERY_S >= ALARM_EVERY_S - ALARM_S:
            block += _alarm(size)
        elif rng.random() < EVENT_SHARE:
            block += makers[int(rng.integers(len(makers)))](rng, size)
        yield block


def _steps(rng: np.random.Generator, size: int) -> Sound:
    sound = np.zeros(size, np.float32)
    thud = np.exp(-np.arange(2400) / 400.0) * np.sin(2 * np.pi * 90 * np.arange(2400) / RATE)
    for at in range(int(rng.integers(0, 8000)), size - 2400, int(rng.integers(7000, 12_000))):
        sound[at : at + 2400] += (0.05 * rng.random() * thud).astype(np.float32)
    return sound


def _talk(rng: np.random.Generator, size: int) -> Sound:
    """Harmonics of a voice with syllables; the gate takes it for speech now and then."""
    at = np.arange(size) / RATE
    pitch = 120.0 + 60.0 * rng.random() + 20.0 * np.sin(2 * np.pi * 0.5 * at)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    voice = np.sum([np.sin(k * phase) / k for k in range(1, 20)], axis=0)
    syllables = np.clip(np.sin(2 * np.pi * 3.5 * at), 0.0, 1.0) * (np.sin(0.9 * at) > 0)
    sound: Sound = (0.02 * voice * syllables).astype(np.float32)
    return sound


def _music(rng: np.random.Generator, size: int) -> Sound:
    at = np.arange(size) / RATE
    tones = 220.0 * 2 ** (rng.integers(0, 24, 3) / 12)
    chord = np.sum([np.sin(2 * np.pi * hz * at) for hz in tones], axis=0)
    sound: Sound = (0.01 * chord * (1.0 - (2.0 * at) % 1.0)).astype(np.float32)
    return sound


def _water(rng: np.random.Generator, size: int) -> Sound:
    return rng.normal(0.0, 0.005, size).astype(np.float32)


def _alarm(size: int) -> Sound:
    """Three beeps of half a second, then a pause: ISO 8201."""
    at = np.arange(size) / RATE
    on = (at % 4.0 < 3.0) & (at % 1.0 < 0.5)
    sound: Sound = (0.3 * np.sin(2 * np.pi * 3100.0 * at) * on).astype(np.float32)
    return sound


class Stream:
    """Serves the household as an endless WAV at the speed of sound."""

    def __init__(self, hours: float) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """One listener; it gets sound until it goes."""
                self.send_response(200)
                self.send_header("Content-Type", "audio/wav")
                self.end_headers()
                with suppress(OSError):
                    self.wfile.write(_wav_header())
                    began, sent_s = time.monotonic(), 0.0
                    for block in household(hours):
                        for piece in np.array_split(block, round(BLOCK_S * 10)):
                            pcm = (np.clip(piece, -1, 1) * 32_767).astype("<i2").tobytes()
                            self.wfile.write(pcm)
                            sent_s += len(piece) / RATE
                            time.sleep(max(0.0, began + sent_s - time.monotonic()))

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/house.wav"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


def _wav_header() -> bytes:
    head = io.BytesIO()
    soundfile.write(head, np.zeros(0, np.float32), RATE, format="WAV", subtype="PCM_16")
    raw = bytearray(head.getvalue()[:44])
    raw[4:8] = raw[40:44] = b"\xff\xff\xff\xff"  # of a length that is not known
    return bytes(raw)


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon with its processes at one moment."""

    at_s: float
    pss_mb: float
    main_rss_mb: float
    cpu_s: float
    descriptors: int
    threads: int
    processes: int
    restarts: int  # voters that were replaced, by process ids never seen before


def look(pid: int, began: float, seen: set[int]) -> Sample:
    """Read /proc."""
    family = [pid, *_children(pid)]
    seen |= set(family)
    pss = sum(_field(each, "smaps_rollup", "Pss:") for each in family)
    cpu = 0.0
    for each in family:
        stat = Path(f"/proc/{each}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        cpu += (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    return Sample(
        at_s=round(time.monotonic() - began, 1),
        pss_mb=round(pss / 1024, 1),
        main_rss_mb=round(_field(pid, "status", "VmRSS:") / 1024, 1),
        cpu_s=round(cpu, 1),
        descriptors=sum(len(list(Path(f"/proc/{each}/fd").iterdir())) for each in family),
        threads=sum(len(list(Path(f"/proc/{each}/task").iterdir())) for each in family),
        processes=len(family),
        restarts=len(seen) - len(family),
    )


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        own = [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
        found += own
        for child in own:
            found += _children(child)
    return found


def _field(pid: int, file: str, name: str) -> float:
    for line in Path(f"/proc/{pid}/{file}").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return float(line.split()[1])
    return 0.0


def summary(
    samples: list[Sample], hours: float, simulated_hours: float | None
) -> dict[str, object]:
    """What became of it: slopes after the first sixth, by least squares."""
    late = [s for s in samples if s.at_s >= SETTLED * samples[-1].at_s]
    per_hour = simulated_hours / (samples[-1].at_s / 3600) if simulated_hours else 1.0
    x = np.array([s.at_s / 3600 * per_hour for s in late])

    def slope(of: str) -> float:
        values = np.array([getattr(s, of) for s in late], float)
        return round(float(np.polyfit(x, values, 1)[0]), 3)

    last = samples[-1]
    return {
        "hours": hours,
        "took_s": last.at_s,
        "samples": len(samples),
        "pss_mb": [late[0].pss_mb, last.pss_mb, max(s.pss_mb for s in samples)],
        "main_rss_mb": [late[0].main_rss_mb, last.main_rss_mb],
        "pss_mb_per_hour": slope("pss_mb"),
        "main_rss_mb_per_hour": slope("main_rss_mb"),
        "descriptors": sorted({s.descriptors for s in late}),
        "threads": sorted({s.threads for s in late}),
        "cpu_s": last.cpu_s,
        "voters_replaced": last.restarts,
    }


def main() -> int:
    """Run it; the last line printed is the summary as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=1.0, help="of sound")
    parser.add_argument("--simulated", action="store_true", help="as fast as it judges")
    parser.add_argument("--out", type=Path, help="samples as JSON lines, and the daemon's log")
    options = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        out = options.out or directory
        out.mkdir(parents=True, exist_ok=True)
        broker = stack.enter_context(open_broker(directory))
        gateway = Gateway(ACCOUNT, TOKEN)
        gateway.start()
        stack.callback(gateway.stop)
        room: dict[str, object] = {"name": "den", "label": "거실"}
        if options.simulated:
            room["file"] = str(_recorded(directory / "house.flac", options.hours))
        else:
            room["url"] = Stream(options.hours + 1.0).url
        settings = {
            "node": {"name": "soak", "state_dir": str(directory / "state")},
            "rooms": [room],
            "mqtt": {"host": broker.host, "port": broker.port, "version": broker.version},
            "alerts": {"contacts": [{"name": "A", "phone": "+821055550101"}]},
            "sms": {
                "enabled": True,
                "account_sid": ACCOUNT,
                "sender": "+12025550100",
                "base_url": gateway.url,
            },
        }
        config = directory / "config.yaml"
        config.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
        log = stack.enter_context((out / "daemon.log").open("wb"))
        daemon = subprocess.Popen(
            [sys.executable, "-m", "homeguard", "run", "--config", str(config)],
            env=os.environ | {"HOMEGUARD_TWILIO_AUTH_TOKEN": TOKEN},
            stdout=log,
            stderr=log,
        )
        began = time.monotonic()
        samples: list[Sample] = []
        seen: set[int] = set()
        notes = stack.enter_context((out / "samples.jsonl").open("w", encoding="utf-8"))
        listening_s = 0.0  # until a recording was judged to its end
        while daemon.poll() is None:
            time.sleep(LOOK_S if samples else 10.0)
            if daemon.poll() is not None:
                break
            samples.append(look(daemon.pid, began, seen))
            notes.write(json.dumps(asdict(samples[-1])) + "\n")
            notes.flush()
            idle = len(samples) > 3 and samples[-1].cpu_s - samples[-3].cpu_s < 1.0
            if (options.simulated and idle) or samples[-1].at_s >= options.hours * 3600:
                listening_s = samples[-1].at_s
                break
        daemon.send_signal(signal.SIGTERM)
        code = daemon.wait(30)
        found = summary(samples, options.hours, options.hours if options.simulated else None)
        found |= {"exit": code, "sms": len(gateway.messages), "heard_to_the_end": listening_s > 0}
        line = json.dumps(found)
        notes.write(line + "\n")
        sys.stdout.write(line + "\n")
    return 0 if code == 0 and listening_s else 1


def _recorded(path: Path, hours: float) -> Path:
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for block in household(hours):
            file.write(block)
    return path


if __name__ == "__main__":
    sys.exit(main())
