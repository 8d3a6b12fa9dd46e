"""How long an explanation takes, by method: CPU time, which a busy machine disturbs least."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from homeguard.explain.attribution import METHODS, Explainer, Method
from homeguard.labels import Category
from homeguard.mel import N_MELS

AT_LEAST_S = 2.0


@dataclass(frozen=True, slots=True)
class Speed:
    """One method on one window: the median and the spread of its CPU seconds."""

    method: Method
    median_s: float
    low_s: float  # 10th percentile
    high_s: float  # 90th percentile
    runs: int

    @property
    def per_second(self) -> float:
        """Explained windows a CPU second."""
        return 1.0 / self.median_s


def measure(explainer: Explainer, seed: int = 1) -> tuple[Speed, ...]:
    """Every method on noise, again and again for two CPU seconds, once at least."""
    noise = np.random.default_rng(seed).normal(0.0, 0.3, (N_MELS, explainer.frames))
    mel = noise.astype(np.float32)
    return tuple(_measured(explainer, mel, method) for method in METHODS)


def _measured(explainer: Explainer, mel: np.ndarray, method: Method) -> Speed:
    explainer.explain(mel, Category.FIRE, method)  # warm
    seconds: list[float] = []
    while not seconds or sum(seconds) < AT_LEAST_S:
        began_s = time.process_time()
        explainer.explain(mel, Category.FIRE, method)
        seconds.append(time.process_time() - began_s)
    low, median, high = np.percentile(seconds, (10, 50, 90))
    return Speed(method, float(median), float(low), float(high), len(seconds))
