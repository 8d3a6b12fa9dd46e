"""What was measured, as JSON for scripts and as tables for people."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from homeguard.benchmark.rounds import Spread, Timing
from homeguard.benchmark.service import Service

LIBRARIES = (
    *("numpy", "onnxruntime", "ctranslate2", "webrtcvad-wheels"),
    *("torch", "transformers", "ai-edge-litert"),
)
SEOUL_LRP = "about 100"


@dataclass(frozen=True, slots=True)
class Compared:
    """One ratio of CPU times, the median of the rounds' ratios."""

    name: str
    times: Spread


@dataclass(slots=True)
class Report:
    """Everything one run measured; parts that were not asked for stay empty."""

    command: str
    rounds: int
    timings: Mapping[str, Timing] = field(default_factory=dict)
    compared: Sequence[Compared] = ()
    counts: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    service: Service | None = None
    explanations: Mapping[str, Spread] = field(default_factory=dict)  # windows a CPU second
    left_out: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Milliseconds, ratios, MiB; spreads are median and quartiles."""
        return {
            "machine": machine(),
            "versions": versions(),
            "command": self.command,
            "rounds": self.rounds,
            "timings": {
                name: {
                    "cpu_ms": asdict(timing.cpu),
                    "wall_ms": asdict(timing.wall),
                    "cpu_per_wall": asdict(timing.cpu_per_wall),
                }
                for name, timing in self.timings.items()
            },
            "ratios": {each.name: asdict(each.times) for each in self.compared},
            "counts": dict(self.counts),
            "memory_mib": {name: dict(parts) for name, parts in self.memory.items()},
            "service": asdict(self.service) if self.service else None,
            "explanations_per_second": {
                method: asdict(speed) for method, speed in self.explanations.items()
            },
            "left_out": self.left_out,
        }

    def as_text(self) -> str:
        """Markdown."""
        return "\n\n".join(section for section in self._sections() if section)

    def _sections(self) -> Iterator[str]:
        yield f"`{self.command}`"
        libraries = ", ".join(f"{name} {version}" for name, version in versions().items())
        yield f"{machine()}; {libraries}. {self.rounds} rounds; median (quartiles)."
        yield "\n".join(f"Left out: {line}." for line in self.left_out)
        if self.timings:
            yield _table(
                ("", "CPU ms", "wall ms", "CPU : wall", "audio s per CPU s"),
                (
                    (
                        name,
                        _spread(t.cpu),
                        _spread(t.wall),
                        f"{t.cpu_per_wall.median:.2f}",
                        _speed(name, t),
                    )
                    for name, t in self.timings.items()
                ),
            )
        if self.compared or self.counts:
            rows = [(each.name, _times(each.times)) for each in self.compared]
            rows += [(name, f"{value:.2f}") for name, value in self.counts.items()]
            yield _table(("ratio of CPU times, round by round", ""), rows)
        for name, parts in self.memory.items():
            yield _table(
                (f"resident memory, {name}", "MiB"),
                ((part, f"{mib:.0f}") for part, mib in parts.items()),
            )
        if self.service:
            yield _table(("the daemon as a process", ""), _service_rows(self.service))
        if self.explanations:
            rows = [(method, _spread(speed)) for method, speed in self.explanations.items()]
            rows.append(("LRP, University of Seoul (a second, hardware not named)", SEOUL_LRP))
            yield _table(("CNN explained, one thread", "windows a CPU second (10–90 %)"), rows)


def machine() -> str:
    """The processor and how many of its cores we may use."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith(("model name", "Model")):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


def versions() -> dict[str, str]:
    """Of the libraries that do the work, where they are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _service_rows(service: Service) -> Iterator[tuple[str, str]]:
    ordered = sorted(service.delays_ms)
    late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    yield "start to first decision", f"{service.first_decision_s:.1f} s"
    yield "memory of all its processes", f"{service.resident_mib:.0f} MiB"
    yield (
        f"end of the window to the MQTT alert ({len(ordered)} events, {service.broker})",
        f"median {ordered[len(ordered) // 2]:.0f} ms, p95 {late:.0f} ms, most {ordered[-1]:.0f} ms",
    )


def _table(head: Sequence[str], rows: Any) -> str:  # noqa: ANN401 - rows of str
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spread(spread: Spread) -> str:
    return f"{_short(spread.median)} ({_short(spread.low)}–{_short(spread.high)})"


def _times(spread: Spread) -> str:
    return f"{_short(spread.median)}x ({_short(spread.low)}–{_short(spread.high)})"


def _speed(name: str, timing: Timing) -> str:
    # Whole windows and the gate are given for a second of sound; parts alone are not.
    is_flow = any(word in name for word in ("silence", "speech", "gate", "Silero", "webrtcvad"))
    return f"{1000.0 / timing.cpu.median:.0f}" if is_flow and "naive" not in name else ""


def _short(value: float) -> str:
    digits = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0  # noqa: PLR2004 - the number says itself
    return f"{value:.{digits}f}"
