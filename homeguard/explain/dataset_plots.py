"""The figures of `explain --dataset`; each writes one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from homeguard.explain.figure import HERTZ, NAMES, band_of, drawing
from homeguard.explain.truth import Curve


def bands(out: Path, by_category: Mapping[str, NDArray[np.float32]]) -> None:
    """Which bands light up, a row a category, each row by its own peak."""
    names = list(by_category)
    rows = np.stack(
        [by_category[name] / max(float(by_category[name].max()), 1e-9) for name in names]
    )
    with drawing((7.5, 0.34 * len(names) + 1.3), out) as figure:
        ax = figure.subplots()
        ax.imshow(rows, aspect="auto", cmap="magma", interpolation="nearest")
        ax.set_yticks(range(len(names)), names)
        ax.set_xticks([band_of(hertz) - 0.5 for hertz in HERTZ], [str(hertz) for hertz in HERTZ])
        ax.set(xlabel="Hz", title="CNN: mean LRP heat by band, each category by its own peak")


def speech(out: Path, by_category: Mapping[str, Mapping[str, Any]]) -> None:
    """The share of the encoder's evidence that lies in speech beside the share of the time."""
    names = list(by_category)
    at = np.arange(len(names))
    with drawing((7.5, 0.4 * len(names) + 1.4), out) as figure:
        ax = figure.subplots()
        for offset, key, label, colour in (
            (-0.2, "heat_in_speech", "of the heat", "#c8102e"),
            (0.2, "time_in_speech", "of the time", "#999999"),
        ):
            values = [100 * by_category[name][key] for name in names]
            ax.barh(at + offset, values, 0.38, color=colour, label=label)
        labels = [f"{name} ({by_category[name]['recordings_with_speech']})" for name in names]
        ax.set_yticks(at, labels)
        ax.invert_yaxis()
        ax.set(
            xlabel="% in speech", xlim=(0, 100), title="encoder, occlusion over time (recordings)"
        )
        ax.legend(loc="lower right")


def sanity(out: Path, by_method: Mapping[Any, Sequence[float]]) -> None:
    """Rank correlation with the true map as layers become random, from the last to the first."""
    with drawing((6.0, 3.4), out) as figure:
        ax = figure.subplots()
        for method, values in by_method.items():
            ax.plot(range(len(values)), values, marker="o", ms=3, label=NAMES[method])
        ax.axhline(0.0, color="grey", lw=0.5)
        ax.set(xlabel="layers with random weights, the last first", ylabel="rank correlation")
        ax.set_ylim(-0.5, 1.05)
        ax.legend()


def curves(out: Path, by_method: Mapping[Any, Mapping[str, Curve]]) -> None:
    """Deletion and insertion by each method, and in a random order."""
    with drawing((9.5, 3.6), out) as figure:
        for ax, name in zip(
            figure.subplots(1, 2, sharey=True), ("deletion", "insertion"), strict=True
        ):
            for method, found in by_method.items():
                curve = found[name]
                label = f"{NAMES[method]} ({curve.area:.2f})"
                ax.plot(100 * curve.shares, curve.probabilities, label=label)
            chance = next(iter(by_method.values()))[f"random {name}"]
            ax.plot(
                100 * chance.shares,
                chance.probabilities,
                "k--",
                label=f"random ({chance.area:.2f})",
            )
            ax.set(xlabel=f"% of the cells, {name}", title=f"{name} (area)")
            ax.legend(fontsize=7)
        figure.axes[0].set_ylabel("probability of the category")
