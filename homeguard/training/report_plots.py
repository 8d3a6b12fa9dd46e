"""The plots of the evaluation report; each writes one PNG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from homeguard.labels import Category
from homeguard.plot.fonts import korean_font
from homeguard.training.clip_scores import ClipScore, confusion

_NORMAL, _EMERGENCY = "#3b6fb6", "#c8403a"
_DPI = 110
_DANGEROUS = frozenset(category.value for category in Category if category.is_emergency)


def roc(
    rows: Sequence[ClipScore], judges: Sequence[str], names: Mapping[str, str], file: Path
) -> None:
    """Recall over false-alarm rate, the latter on a root scale: what matters is at its left."""
    figure = Figure(figsize=(6.0, 5.0))
    axes = figure.subplots()
    positive = np.array([row.category in _DANGEROUS for row in rows])
    for judge in judges:
        scores = np.array([row.scores[judge] for row in rows])
        order = np.argsort(-scores, kind="stable")
        # Only where the score changes: ties are one step.
        last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
        found = np.cumsum(positive[order])[last] / max(int(positive.sum()), 1)
        false = np.cumsum(~positive[order])[last] / max(int((~positive).sum()), 1)
        axes.step(np.append(0, false), np.append(0, found), where="post", label=names[judge])
    axes.set_xscale("function", functions=(np.sqrt, np.square))
    axes.set_xticks([0, 0.01, 0.05, 0.1, 0.25, 0.5, 1], ["0", "1", "5", "10", "25", "50", "100"])
    axes.set(xlabel="false-alarm rate, %", ylabel="recall", xlim=(0, 1), ylim=(0, 1.01))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    _write(figure, file)


def scores(rows: Sequence[ClipScore], judge: str, file: Path) -> None:
    """Histograms of a judge's scores, emergencies over ordinary clips."""
    figure = Figure(figsize=(6.0, 3.5))
    axes = figure.subplots()
    edges = np.linspace(0.0, 1.0, 41).tolist()
    for dangerous, colour, label in ((False, _NORMAL, "ordinary"), (True, _EMERGENCY, "emergency")):
        found = [r.scores[judge] for r in rows if (r.category in _DANGEROUS) is dangerous]
        weights = np.full(len(found), 100.0 / max(len(found), 1))
        axes.hist(found, edges, weights=weights, alpha=0.6, color=colour, label=label)
    axes.set(xlabel="emergency probability", ylabel="% of clips", yscale="log")
    axes.legend()
    _write(figure, file)


def confusion_matrix(rows: Sequence[ClipScore], judge: str, file: Path) -> None:
    """True (rows, with their clips) by told category (columns), in percent of the row."""
    matrix = confusion(rows, judge)
    clips = matrix.sum(axis=1)
    shares = matrix / np.maximum(clips[:, None], 1)
    with _korean_too() as names:
        figure = Figure(figsize=(12.0, 10.0))
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
        for true, told in zip(*np.nonzero(matrix), strict=True):
            share = shares[true, told]
            colour = "white" if share > 0.5 else "black"  # noqa: PLR2004 - half of the scale
            text = f"{100 * share:.0f}" if share >= 0.01 else "<1"  # noqa: PLR2004 - a percent
            axes.text(told, true, text, ha="center", va="center", color=colour)
        axes.set_xticks(range(len(names) + 1), [*names, "nothing"], rotation=60, ha="right")
        counted = [f"{name} ({count})" for name, count in zip(names, clips, strict=True)]
        axes.set_yticks(range(len(names)), counted)
        axes.set(xlabel="told, % of the row", ylabel="true (clips)")
        _write(figure, file)


@contextmanager
def _korean_too() -> Iterator[list[str]]:
    """The categories' names, Korean before English where a font can write it."""
    font = korean_font()
    family = [font, "DejaVu Sans"] if font else ["DejaVu Sans"]
    with mpl.rc_context({"font.family": family}):
        yield [
            f"{category.name_in('ko')} {category.name_in('en')}" if font else category.name_in("en")
            for category in Category
        ]


def recall_by_snr(recall: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    """Shares of events found with their intervals, by origin and SNR."""
    figure = Figure(figsize=(7.0, 3.5))
    axes = figure.subplots()
    names = sorted(recall, key=_origin_and_ratio)
    shares = np.array([[recall[n][k] for k in ("share", "low", "high")] for n in names])
    if names:
        spread = np.abs(shares[:, 1:] - shares[:, :1]).T
        axes.bar(range(len(names)), shares[:, 0], yerr=spread, color=_EMERGENCY, alpha=0.7)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set(ylabel="recall", ylim=(0, 1))
    axes.grid(axis="y", alpha=0.3)
    _write(figure, file)


def latencies(values_s: Sequence[float], file: Path) -> None:
    """Histogram of the seconds from onset to alert."""
    figure = Figure(figsize=(6.0, 3.5))
    axes = figure.subplots()
    axes.hist(
        values_s,
        bins=np.arange(0.0, max(values_s) + 1.0, 0.5).tolist(),
        color=_EMERGENCY,
        alpha=0.7,
    )
    for percent in (50, 95):
        at_s = float(np.percentile(values_s, percent))
        axes.axvline(at_s, color="black", linestyle="--")
        axes.text(at_s, axes.get_ylim()[1], f" p{percent}", va="top")
    axes.set(xlabel="s from onset to alert", ylabel="events")
    _write(figure, file)


def _origin_and_ratio(name: str) -> tuple[str, float]:
    origin, ratio, *_ = [*name.split(), "0"]
    return origin, -float(ratio)


def _write(figure: Figure, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, dpi=_DPI)
