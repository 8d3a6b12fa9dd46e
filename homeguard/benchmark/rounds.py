"""Timing that survives a busy machine: all cases in turn, shuffled, round after round.

What disturbs one case disturbs its neighbours of the same round, so ratios are taken within a
round and their median counts. CPU time of the whole process, all its threads, is the main figure;
wall time stands beside it.
"""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

MIN_SAMPLE_S = 0.01  # short cases are repeated until a sample is at least so long
MAX_REPEATS = 500


@dataclass(frozen=True, slots=True)
class Case:
    """Something to be timed; `run` does `parts` of it at once (windows, seconds of sound)."""

    name: str
    run: Callable[[], object]
    parts: float = 1.0


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        low, median, high = (
            statistics.quantiles(values, n=4, method="inclusive")
            if len(values) > 1
            else (values[0], values[0], values[0])
        )
        return cls(median, low, high)

    def times(self, factor: float) -> Spread:
        """All three multiplied, factor > 0."""
        return Spread(self.median * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds for one part, a value a round."""

    cpu_ms: tuple[float, ...]
    wall_ms: tuple[float, ...]

    @property
    def cpu(self) -> Spread:
        """Of the process's CPU time, in milliseconds."""
        return Spread.of(self.cpu_ms)

    @property
    def wall(self) -> Spread:
        """Of the time that passed, in milliseconds."""
        return Spread.of(self.wall_ms)

    @property
    def cpu_per_wall(self) -> Spread:
        """How many cores it kept busy."""
        return Spread.of([c / w for c, w in zip(self.cpu_ms, self.wall_ms, strict=True)])


def ratio(of: Timing, to: Timing) -> Spread:
    """How many times more CPU time `of` takes than `to`, round by round."""
    return Spread.of([a / b for a, b in zip(of.cpu_ms, to.cpu_ms, strict=True)])


def measure(
    cases: Sequence[Case],
    rounds: int,
    told: Callable[[int], None] = lambda _: None,
    seed: int = 20261124,
) -> Mapping[str, Timing]:
    """Time every case once a round, in a new order each round; `told` hears of each round's end.

    Each case runs once before, to warm up and to learn how often it must be repeated to be
    measurable. Takes rounds >= 1 and cases of different names.
    """
    repeats = {case.name: _repeats(case) for case in cases}
    samples: dict[str, tuple[list[float], list[float]]] = {c.name: ([], []) for c in cases}
    order = list(cases)
    shuffle = random.Random(seed).shuffle  # noqa: S311 - an order, not a secret
    for number in range(rounds):
        shuffle(order)
        for case in order:
            gc.collect()
            cpu_s, wall_s = _timed(case.run, repeats[case.name])
            parts = case.parts * repeats[case.name]
            samples[case.name][0].append(1000.0 * cpu_s / parts)
            samples[case.name][1].append(1000.0 * wall_s / parts)
        told(number + 1)
    return {name: Timing(tuple(cpu), tuple(wall)) for name, (cpu, wall) in samples.items()}


def _repeats(case: Case) -> int:
    case.run()
    _, once_s = _timed(case.run, 1)
    return max(1, min(MAX_REPEATS, math.ceil(MIN_SAMPLE_S / max(once_s, 1e-6))))


def _timed(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        run()
    return time.process_time() - cpu_s, time.perf_counter() - wall_s
