"""The timeline of a recording: what was heard, how each voter judged it, what was decided.

Red is emergency, blue is normal, black is silence. Needs matplotlib, an extra.
"""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from homeguard.mel import N_MELS, band_edges_hz
from homeguard.plot.fonts import korean_font
from homeguard.plot.timeline import EMERGENCY, SILENCE, VOTER_COLOURS, Timeline

COLOURS = ("black", "#2166ac", "#c8102e")
FIGURE_INCHES = (15.0, 9.0)
DPI = 110
TICKS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400)
MAX_TICKS = 14
LANES = 3  # rows of labels above one another
MARKED_WINDOWS = 60  # few enough to tell apart
LETTER_SHARE = 0.0062  # of the figure's width, about, at the labels' size
_FOREIGN = re.compile(r"[^\x00-\u024F\u2010-\u2026]+(?:\s+[^\x00-\u024F\u2010-\u2026]+)*")


def draw(timeline: Timeline, out: Path, title: str) -> None:
    """Write the picture; its kind follows the suffix of `out`."""
    font = korean_font()
    family = [font, "DejaVu Sans"] if font else ["DejaVu Sans"]
    with mpl.rc_context({"font.family": family, "font.size": 9, "svg.fonttype": "path"}):
        figure = Figure(figsize=FIGURE_INCHES, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        heights = {"incidents": 0.55, "sound": 1, "mel": 1.6, "votes": 1.4, "words": 0.55}
        heights["decision"] = 0.28
        axes = figure.subplots(
            len(heights), sharex=True, gridspec_kw={"height_ratios": list(heights.values())}
        )
        pen = _Pen(timeline, dict(zip(heights, axes, strict=True)), korean=font is not None)
        pen.draw()
        figure.suptitle(pen.text(f"{title}    {_clock(timeline.heard_s)}"), fontsize=11)
        figure.savefig(out)


class _Pen:
    """Draws one timeline on its axes."""

    def __init__(self, timeline: Timeline, axes: dict[str, Axes], *, korean: bool) -> None:
        self._timeline = timeline
        self._axes = axes
        self._korean = korean
        self._language = "ko" if korean else "en"

    def draw(self) -> None:
        spans = self._timeline.spans()
        self._incidents()
        self._sound(spans)
        self._mel()
        self._votes()
        self._words()
        self._decision(spans)
        duration_s = self._timeline.duration_s
        step_s = next((s for s in TICKS_S if duration_s / s <= MAX_TICKS), duration_s)
        for ax in self._axes.values():
            ax.set_xlim(0.0, duration_s)
            ax.set_xticks(np.arange(0.0, duration_s, step_s))
        for ax in list(self._axes.values())[1:-1]:
            for found in self._timeline.found:
                ax.axvspan(found.onset_s, found.end_s, color=COLOURS[EMERGENCY], alpha=0.08, lw=0)

    def text(self, words: str) -> str:
        """`words` as the fonts at hand can show them."""
        shown = words if self._korean else _FOREIGN.sub("(…)", words)
        return shown.replace("$", r"\$")

    def _incidents(self) -> None:
        ax = self._bare("incidents")
        labels = []
        for found in self._timeline.found:
            incident = found.incident
            name = incident.category.name_in("en")
            if self._korean:
                name = f"{incident.category.name_in('ko')} {name}"
            label = (
                f"{name} {_clock(found.onset_s)}–{_clock(found.end_s)} ({incident.confidence:.2f})"
            )
            labels.append((found.onset_s, found.end_s, label))
        self._lanes(ax, labels, COLOURS[EMERGENCY])

    def _words(self) -> None:
        ax = self._bare("words")
        if not self._korean and any(_FOREIGN.search(w) for _, w in self._timeline.words):
            ax.text(
                0.0,
                1.02,
                "Korean words need a Korean font (apt install fonts-noto-cjk)",
                transform=ax.transAxes,
                fontsize=7,
            )
        words = [(at_s, at_s, f"“{self.text(text)}”") for at_s, text in self._timeline.words]
        self._lanes(ax, words, VOTER_COLOURS["transcript"])

    def _lanes(self, ax: Axes, labels: list[tuple[float, float, str]], colour: str) -> None:
        """Labels where they belong in time, in rows so that none covers another."""
        duration_s = self._timeline.duration_s
        free_s = [0.0] * LANES
        left_out = 0
        for start_s, end_s, label in labels:
            width_s = len(label) * LETTER_SHARE * duration_s * (1.5 if self._korean else 1.0)
            text_s = min(start_s, max(0.0, duration_s - width_s))
            lane = next((n for n in range(LANES) if free_s[n] <= text_s), None)
            if lane is None:
                ax.plot([start_s], [LANES - 0.1], marker="|", color=colour)
                left_out += 1
                continue
            free_s[lane] = max(text_s + width_s, end_s)
            y = LANES - lane - 0.5
            ax.plot([start_s, max(end_s, start_s)], [y - 0.35] * 2, color=colour, lw=2.5)
            ax.plot([start_s], [y - 0.35], marker="o", color=colour, ms=3)
            ax.text(text_s, y, label, fontsize=8, va="center", clip_on=True)
        ax.set_ylim(0, LANES)
        if left_out:
            ax.text(
                1.0, 1.02, f"and {left_out} more", transform=ax.transAxes, fontsize=7, ha="right"
            )

    def _sound(self, spans: list[tuple[float, float, int]]) -> None:
        ax = self._axes["sound"]
        times_s, edges = self._timeline.envelope
        states = np.full(len(times_s), SILENCE)
        for start_s, end_s, state in spans:
            states[np.searchsorted(times_s, start_s) : np.searchsorted(times_s, end_s)] = state
        for state, colour in enumerate(COLOURS):
            # One point more, so that neighbouring colours meet.
            mine = states == state
            mine[1:] |= mine[:-1]
            high, low = (np.where(mine, edge, np.nan) for edge in edges.T)
            ax.fill_between(times_s, low, high, color=colour, lw=0.4)
        peak = float(np.abs(edges).max(initial=0.05))
        ax.set_ylim(-peak, peak)
        ax.set_ylabel("sound")

    def _mel(self) -> None:
        ax = self._axes["mel"]
        mel = self._timeline.mel
        if mel.size:
            peak = float(mel.max())
            ax.imshow(
                mel,
                origin="lower",
                aspect="auto",
                cmap="magma",
                vmin=max(peak - 7.0, float(mel.min())),
                vmax=peak,
                extent=(0.0, self._timeline.duration_s, 0.0, N_MELS),
                interpolation="nearest",
            )
        hertz = (250, 500, 1000, 2000, 4000)
        ax.set_yticks([_band_of(hz) for hz in hertz], [f"{hz / 1000:g}" for hz in hertz])
        ax.set_ylabel("mel, kHz")

    def _votes(self) -> None:
        ax = self._axes["votes"]
        centres_s = self._timeline.centres_s
        few = len(centres_s) <= MARKED_WINDOWS
        for name, curve in self._timeline.curves.items():
            if name == "decision":
                known = np.isfinite(curve)
                ax.fill_between(
                    centres_s, 0, curve, where=known, color="grey", alpha=0.25, lw=0, label=name
                )
            else:
                ax.plot(
                    centres_s, curve, color=VOTER_COLOURS[name], lw=1, alpha=0.85,
                    marker="o" if few or name == "transcript" else None, ms=3,
                    label=name,
                )  # fmt: skip
        ax.axhline(0.5, color="grey", lw=0.5, ls=":")
        ax.set_ylim(-0.03, 1.03)
        ax.set_ylabel("emergency")
        ax.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=4, fontsize=7, frameon=False)

    def _decision(self, spans: list[tuple[float, float, int]]) -> None:
        ax = self._axes["decision"]
        for state, name in enumerate(("silence", "normal", "emergency")):
            mine = [(start_s, end_s - start_s) for start_s, end_s, s in spans if s == state]
            ax.broken_barh(mine, (0, 1), facecolors=COLOURS[state], label=name)
        ax.set_yticks([])
        ax.set_ylim(0, 1)
        ax.set_ylabel("decision", rotation=0, ha="right", va="center")
        ax.xaxis.set_major_formatter(lambda x, _: _clock(x))
        ax.legend(loc="upper right", bbox_to_anchor=(1.0, -0.6), ncols=3, fontsize=7, frameon=False)
        ax.set_xlabel("time")

    def _bare(self, name: str) -> Axes:
        ax = self._axes[name]
        ax.set_ylabel(name, rotation=0, ha="right", va="center")
        ax.set_yticks([])
        ax.tick_params(bottom=False)
        for spine in ax.spines.values():
            spine.set_visible(False)
        return ax


def _band_of(hertz: float) -> float:
    """The row of the mel picture in which a frequency lies."""
    return float(np.interp(hertz, band_edges_hz()[1:-1], np.arange(N_MELS) + 0.5))


def _clock(seconds: float) -> str:
    """0:07, 0:07.5 or 1:02:03."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    fraction = f"{rest:04.1f}".removesuffix(".0")
    return f"{hours}:{minutes:02}:{fraction}" if hours else f"{minutes}:{fraction}"
