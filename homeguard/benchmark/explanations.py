"""How many windows a CPU second the CNN is explained for, by method. The lab's; needs torch."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from homeguard.benchmark.rounds import Spread
from homeguard.config import Config
from homeguard.voting.registry import Registry


def missing() -> str:
    """Why nothing can be explained here; empty where it can."""
    lacking = [name for name in ("torch", "captum") if find_spec(name) is None]
    return f"{' and '.join(lacking)} not installed (scripts/lab makes that)" if lacking else ""


def measure(config: Config) -> Mapping[str, Spread]:
    """Windows a CPU second by method, one thread; the spread is the 10th and 90th percentile.

    Raises ModelError.
    """
    torch: Any = importlib.import_module("torch")
    cost: Any = importlib.import_module("homeguard.explain.cost")
    study: Any = importlib.import_module("homeguard.explain.study")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = cost.measure(study.Models(config, Registry.open(config.node)).cnn)
    finally:
        torch.set_num_threads(threads)
    return {
        speed.method: Spread(speed.per_second, 1.0 / speed.high_s, 1.0 / speed.low_s)
        for speed in found
    }
