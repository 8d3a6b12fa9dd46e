"""Whether a map tells the truth: it must depend on the weights, and its hot cells must matter."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from homeguard.domain import Float32
from homeguard.explain.attribution import Explainer, Method
from homeguard.explain.study import probability_of
from homeguard.labels import Category
from homeguard.voting.occlusion import quiet

STEPS = 20  # of a curve
_CELLS = (8, 20)  # bands and frames that are hidden together

Pair = tuple[Float32, Category]  # a log-mel and the category to explain


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """The category's mean probability as more and more cells are hidden (or shown)."""

    shares: NDArray[np.float64]  # of the cells, 0..1
    probabilities: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Under the curve, 0..1."""
        return float(np.trapezoid(self.probabilities, self.shares))


def randomised(
    explainer: Explainer, pairs: Sequence[Pair], method: Method, seed: int = 1
) -> list[float]:
    """Rank correlation of the maps with the true ones, weights shuffled from the top down.

    Shuffled within their layer: a front whose weights are positive has positive ones still.

    First value: nothing randomised (1). Then one more layer each time, the last layer first.
    """
    true = [explainer.explain(mel, category, method).heat for mel, category in pairs]
    broken = Explainer(copy.deepcopy(explainer.network), explainer.frames)
    generator = torch.Generator().manual_seed(seed)
    found = [1.0]
    for layer in reversed(broken.network.weighted):
        for part in (layer.weight, layer.bias):
            if part is not None:
                order = torch.randperm(part.numel(), generator=generator)
                part.data = part.data.flatten()[order].reshape(part.shape)
        maps = [broken.explain(mel, category, method).heat for mel, category in pairs]
        found.append(float(np.mean([_alike(a, b) for a, b in zip(true, maps, strict=True)])))
    return found


def curves(
    explainer: Explainer, pairs: Sequence[Pair], method: Method, seed: int = 1
) -> dict[str, Curve]:
    """Deletion and insertion by the map's order, and both in a random order, mean over `pairs`."""
    rng = np.random.default_rng(seed)
    names = ("deletion", "insertion", "random deletion", "random insertion")
    sums = {name: np.zeros(STEPS + 1) for name in names}
    for mel, category in pairs:
        heat = explainer.explain(mel, category, method).heat
        hottest, chance = _order(heat), rng.permutation(_blocks(mel).max() + 1)
        for name in names:
            order = chance if name.startswith("random") else hottest
            insert = name.endswith("insertion")
            sums[name] += _followed(explainer, mel, category, order, insert=insert)
    shares = np.linspace(0.0, 1.0, STEPS + 1)
    return {name: Curve(shares, total / max(len(pairs), 1)) for name, total in sums.items()}


def _followed(
    explainer: Explainer,
    mel: Float32,
    category: Category,
    order: NDArray[np.int64],
    *,
    insert: bool,
) -> NDArray[np.float64]:
    """The probability at each step, blocks hidden (or shown) in `order`."""
    blocks, silence = _blocks(mel), np.float32(quiet(mel))
    rank = np.argsort(order)[blocks]
    found = []
    for step in range(STEPS + 1):
        chosen = rank < round(len(order) * step / STEPS)
        kept = chosen if insert else ~chosen
        logits = explainer.logits(np.where(kept, mel, silence))
        found.append(probability_of(logits, category))
    return np.array(found)


def _blocks(mel: Float32) -> NDArray[np.int64]:
    """The number of the block that each cell belongs to."""
    bands, frames = _CELLS
    columns = -(-mel.shape[1] // frames)
    return np.asarray(
        np.arange(mel.shape[0])[:, None] // bands * columns + np.arange(mel.shape[1]) // frames
    )


def _order(heat: Float32) -> NDArray[np.int64]:
    """Blocks by their mean heat, hottest first."""
    blocks = _blocks(heat).ravel()
    means = np.bincount(blocks, weights=heat.ravel()) / np.bincount(blocks)
    return np.argsort(-means, kind="stable")


def _alike(a: Float32, b: Float32) -> float:
    """Spearman's rank correlation of two maps; 0 where one of them is flat."""
    if np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return 0.0
    return float(spearmanr(a.ravel(), b.ravel()).statistic)
