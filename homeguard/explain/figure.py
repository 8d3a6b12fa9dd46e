"""Explanations drawn: every method over the same mel, with seconds and hertz at its edges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from homeguard.domain import Float32, Span
from homeguard.explain.attribution import Attribution
from homeguard.mel import FRAMES_PER_SECOND, N_MELS, band_edges_hz
from homeguard.plot.fonts import korean_font

DPI = 90
HERTZ = (250, 500, 1000, 2000, 4000)
NAMES = {
    "gradcam": "Grad-CAM",
    "lrp": "LRP",
    "lime": "LIME",
    "occlusion": "occlusion",
    "attention": "attention",
}
_COLUMNS = 3
_SPEECH = "#00c2d1"


def draw_maps(
    out: Path, log_mel: Float32, attributions: Sequence[Attribution], title: str, start_s: float
) -> None:
    """The mel, then each method's map over it, side by side; one PNG."""
    panels = 1 + len(attributions)
    columns = min(panels, _COLUMNS)
    rows = -(-panels // columns)
    with drawing((4.6 * columns, 2.9 * rows + 0.4), out) as figure:
        axes = np.atleast_2d(
            figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        )
        cells = list(axes.flat)
        draw_mel(cells[0], log_mel, start_s)
        cells[0].set_title("mel")
        for cell, attribution in zip(cells[1:], attributions, strict=False):
            draw_mel(cell, log_mel, start_s, cmap="Greys")
            _draw_heat(cell, attribution, log_mel.shape[1], start_s)
            cell.set_title(f"{NAMES[attribution.method]}  ({_duration(attribution.seconds)})")
        for cell in cells[panels:]:
            cell.set_axis_off()
        if attributions and len(cells) > panels:
            _explain_colours(cells[-1])
        for cell in axes[:, 0]:
            cell.set_ylabel("Hz")
        for cell in cells[max(0, panels - columns) : panels]:
            cell.set_xlabel("s")
            cell.tick_params(labelbottom=True)
        figure.suptitle(plain(title))


def draw_times(
    out: Path,
    log_mel: Float32,
    attributions: Sequence[Attribution],
    speech: Iterable[Span],
    title: str,
    start_s: float,
) -> None:
    """The mel, and under it each method's heat over time with the speech marked; one PNG."""
    heights = [2.2, *([1.0] * len(attributions))]
    with drawing((8.0, 1.1 * sum(heights) + 0.6), out) as figure:
        axes = figure.subplots(len(heights), sharex=True, height_ratios=heights, squeeze=False)
        cells = list(axes[:, 0])
        draw_mel(cells[0], log_mel, start_s)
        cells[0].set_ylabel("Hz")
        spans = list(speech)
        for cell, attribution in zip(cells[1:], attributions, strict=True):
            heat = attribution.heat.mean(axis=0)
            at_s = start_s + (np.arange(len(heat)) + 0.5) / FRAMES_PER_SECOND
            cell.fill_between(at_s, np.maximum(heat, 0.0), color="#c8102e", lw=0, alpha=0.8)
            cell.fill_between(at_s, np.minimum(heat, 0.0), color="#2166ac", lw=0, alpha=0.8)
            cell.set_yticks([])
            cell.set_ylabel(NAMES[attribution.method], rotation=0, ha="right", va="center")
            for span in spans:
                cell.axvspan(
                    start_s + span.start_s, start_s + span.end_s, color=_SPEECH, alpha=0.25, lw=0
                )
        cells[-1].set_xlabel("s (speech shaded)" if spans else "s (no speech)")
        figure.suptitle(plain(title))


def draw_mel(ax: Axes, log_mel: Float32, start_s: float, cmap: str = "magma") -> None:
    """A log-mel (80, frames) with seconds below and hertz at its side."""
    length_s = log_mel.shape[1] / FRAMES_PER_SECOND
    ax.imshow(
        log_mel,
        origin="lower",
        aspect="auto",
        cmap=cmap,
        extent=(start_s, start_s + length_s, 0.0, N_MELS),
        interpolation="nearest",
        rasterized=True,
    )
    ax.set_yticks([band_of(hertz) for hertz in HERTZ], [str(hertz) for hertz in HERTZ])


def band_of(hertz: float) -> float:
    """Where a frequency lies on an axis of 80 bands."""
    return float(np.interp(hertz, band_edges_hz()[1:-1], np.arange(N_MELS) + 0.5))


def plain(text: str) -> str:
    """Text that matplotlib does not take for a formula."""
    return text.replace("$", r"\$")


@contextmanager
def drawing(inches: tuple[float, float], out: Path) -> Iterator[Figure]:
    """A figure that is written to `out`, in a font that can write Korean where there is one."""
    font = korean_font()
    family = [font, "DejaVu Sans"] if font else ["DejaVu Sans"]
    with mpl.rc_context({"font.family": family, "font.size": 9}):
        figure = Figure(figsize=inches, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(out, pil_kwargs={"optimize": True} if out.suffix == ".png" else None)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds * 1000:.0f} ms"  # noqa: PLR2004 - digits


def _explain_colours(ax: Axes) -> None:
    for y, colour, text in ((0.6, "red", "for the category"), (0.45, "blue", "against it")):
        ax.plot([0.1], [y], "s", color=colour, ms=10, transform=ax.transAxes)
        ax.text(0.16, y, f"speaks {text}", va="center", transform=ax.transAxes)


def _draw_heat(ax: Axes, attribution: Attribution, frames: int, start_s: float) -> None:
    """Red speaks for the category, blue against it; cold cells stay clear."""
    heat = np.broadcast_to(attribution.heat, (N_MELS, frames))
    scale = float(np.percentile(np.abs(heat), 99.5)) or 1.0
    level = np.clip(heat / scale, -1.0, 1.0)
    colours = mpl.colormaps["bwr"](0.5 + level / 2)
    colours[..., 3] = np.abs(level) ** 0.7 * 0.85
    ax.imshow(
        colours,
        origin="lower",
        aspect="auto",
        extent=(start_s, start_s + frames / FRAMES_PER_SECOND, 0.0, N_MELS),
        interpolation="nearest",
    )
