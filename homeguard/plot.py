"""The timeline of a recording: what was heard, how each voter judged it, what was decided.

Red is emergency, blue is normal, black is silence. Everything is reduced while it comes in, so that
a day takes no more memory than a minute.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from homeguard.analyze import Found, Record, Summary
from homeguard.domain import AudioChunk, Decision, Float32, Vote
from homeguard.mel import FRAMES_PER_SECOND, HOP_LENGTH, N_MELS, SAMPLE_RATE, log_power

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SILENCE, NORMAL, EMERGENCY = 0, 1, 2
COLOURS = ("black", "#2166ac", "#c8102e")
MAX_COLUMNS = 2000  # of the drawn waveform and mel
FIGURE_INCHES = (15.0, 9.0)
DPI = 110
TICKS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400)
MAX_TICKS = 14
LANES = 3  # rows of labels above one another
MARKED_WINDOWS = 60  # few enough to tell apart
LETTER_SHARE = 0.0062  # of the figure's width, about, at the labels' size
VOTER_COLOURS = {"encoder": "#7b3294", "transcript": "#e08214", "cnn": "#1b7837"}
KOREAN_FONTS = (
    "Noto Sans CJK KR",
    "Noto Sans KR",
    "NanumGothic",
    "NanumBarunGothic",
    "Noto Sans CJK JP",
    "Source Han Sans KR",
    "UnDotum",
    "Baekmuk Dotum",
)
KOREAN_FILES = ("NotoSansCJK", "NotoSansKR", "NanumGothic", "NanumBarunGothic", "UnDotum", "dotum")
_FOREIGN = re.compile(r"[^\x00-\u024F\u2010-\u2026]+(?:\s+[^\x00-\u024F\u2010-\u2026]+)*")


class Reduced:
    """Rows of a growing series, of which neighbours are merged (maximum) as it grows.

    Keeps between `limit` and 2 * `limit` rows of `width` once there are that many; each stands
    for `step` of the rows given.
    """

    def __init__(self, width: int, limit: int = MAX_COLUMNS) -> None:
        self._rows = np.empty((2 * limit, width), dtype=np.float32)
        self._count = 0
        self._pending = np.empty((0, width), dtype=np.float32)
        self.step = 1

    def add(self, rows: Float32) -> None:
        """Append rows, shape (n, width)."""
        self._pending = np.concatenate([self._pending, rows])
        while len(self._pending) >= self.step:
            if self._count == len(self._rows):
                self._halve()
                continue
            space = len(self._rows) - self._count
            whole = min(space, len(self._pending) // self.step)
            taken, self._pending = np.split(self._pending, [whole * self.step])
            merged = taken.reshape(whole, self.step, -1).max(axis=1)
            self._rows[self._count : self._count + whole] = merged
            self._count += whole

    @property
    def rows(self) -> Float32:
        """What is kept, shape (n, width); a last part that fills no step is left out."""
        return self._rows[: self._count]

    def _halve(self) -> None:
        half = self._count // 2
        self._rows[:half] = self._rows.reshape(half, 2, -1).max(axis=1)
        self._count = half
        self.step *= 2


class Timeline:
    """Collects a recording's sound and records, then draws them."""

    def __init__(self) -> None:
        self._sound = np.empty(0, dtype=np.float32)
        self._envelope = Reduced(2)  # highest and minus lowest sample of each 10 ms
        self._mel = Reduced(N_MELS)
        self._context = np.empty(0, dtype=np.float32)
        self._heard_s = 0.0
        self._starts = array("d")
        self._ends = array("d")
        self._states = array("b")
        self._scores = array("f")
        self._votes: defaultdict[str, array[float]] = defaultdict(lambda: array("f"))
        self._words: list[tuple[float, str]] = []
        self._found: list[Found] = []

    def hear(self, chunk: AudioChunk) -> None:
        """Take the sound in order."""
        self._heard_s = chunk.end_s
        self._sound = np.concatenate([self._sound, chunk.samples])
        if len(self._sound) >= SAMPLE_RATE:
            self._reduce()

    def note(self, record: Record) -> None:
        """Take what came of it."""
        match record:
            case Decision():
                self._note_decision(record)
            case Found():
                self._found.append(record)
            case Summary():
                self._reduce()

    def _note_decision(self, decision: Decision) -> None:
        state = EMERGENCY if decision.emergency else NORMAL if decision.active else SILENCE
        self._starts.append(decision.start_s)
        self._ends.append(decision.end_s)
        self._states.append(state)
        self._scores.append(np.nan if decision.probability is None else decision.probability)
        votes = {vote.voter: vote for vote in decision.votes}
        for voter in VOTER_COLOURS:
            vote = votes.get(voter)
            heard = None if vote is None else vote.probability
            self._votes[voter].append(np.nan if heard is None else heard)
            if vote is not None and vote.transcript:
                self._note_words(vote, decision.start_s)

    def _note_words(self, vote: Vote, start_s: float) -> None:
        """Each stretch of speech once, although several windows hold it."""
        at_s = vote.spoken.start_s if vote.spoken else start_s
        words = vote.transcript or ""
        if self._words and (abs(self._words[-1][0] - at_s) < 1.0 or self._words[-1][1] == words):
            return
        self._words.append((at_s, words))

    def _reduce(self) -> None:
        """Bring whole 10 ms of the waiting sound into the envelope and the mel."""
        whole = len(self._sound) - len(self._sound) % HOP_LENGTH
        sound, self._sound = np.split(self._sound, [whole])
        if not whole:
            return
        frames = sound.reshape(-1, HOP_LENGTH)
        self._envelope.add(np.stack([frames.max(axis=1), -frames.min(axis=1)], axis=1))
        # The three frames before are computed along: what is reflected at the edge is dropped.
        known = len(self._context) // HOP_LENGTH
        together = np.concatenate([self._context, sound])
        if len(together) > 2 * HOP_LENGTH:
            self._mel.add(log_power(together).T[known:])
        self._context = together[-3 * HOP_LENGTH :]

    def draw(self, out: Path, title: str) -> None:
        """Write the picture; its kind follows the suffix of `out`."""
        # Only who draws needs matplotlib, an extra.
        import matplotlib as mpl  # noqa: PLC0415
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415

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
            pen = _Pen(self, dict(zip(heights, axes, strict=True)), korean=font is not None)
            pen.draw()
            figure.suptitle(pen.text(f"{title}    {_clock(self._heard_s)}"), fontsize=11)
            figure.savefig(out)

    @property
    def duration_s(self) -> float:
        """How much was heard; never 0."""
        return max(self._heard_s, 0.01)

    @property
    def words(self) -> list[tuple[float, str]]:
        """When and what was said."""
        return self._words

    @property
    def found(self) -> list[Found]:
        """The incidents."""
        return self._found

    @property
    def envelope(self) -> tuple[NDArray[np.float64], Float32]:
        """Times (n,) and highest and lowest sample (n, 2)."""
        rows = self._envelope.rows
        times_s = np.arange(len(rows)) * self._envelope.step / FRAMES_PER_SECOND
        return times_s, rows * np.array([1.0, -1.0], dtype=np.float32)

    @property
    def mel(self) -> Float32:
        """Mel power in decades, (80, n), evenly over the duration."""
        return self._mel.rows.T

    @property
    def curves(self) -> dict[str, NDArray[np.float32]]:
        """Probability by voter, and of the decision, one value a window; NaN where none."""
        voters = {name: np.array(values, np.float32) for name, values in self._votes.items()}
        return {"decision": np.array(self._scores, np.float32), **voters}

    @property
    def centres_s(self) -> NDArray[np.float64]:
        """The middle of each window."""
        centres_s: NDArray[np.float64] = (np.array(self._starts) + np.array(self._ends)) / 2
        return centres_s

    def spans(self) -> list[tuple[float, float, int]]:
        """The whole duration cut into stretches of one state.

        Windows overlap: a moment belongs to the window in whose middle it lies most nearly.
        """
        if not self._states:
            return []
        centres = self.centres_s
        edges = [0.0, *((centres[1:] + centres[:-1]) / 2), self.duration_s]
        spans: list[tuple[float, float, int]] = []
        for index, state in enumerate(self._states):
            if spans and spans[-1][2] == state:
                spans[-1] = (spans[-1][0], edges[index + 1], state)
            else:
                spans.append((edges[index], edges[index + 1], state))
        return spans


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


def korean_font() -> str | None:
    """The name of an installed font with Hangul, or None."""
    from matplotlib import font_manager  # noqa: PLC0415

    manager = font_manager.fontManager
    if not (known := {entry.name for entry in manager.ttflist}) & set(KOREAN_FONTS):
        # matplotlib's list of fonts is a file: one installed since then is not in it.
        for path in font_manager.findSystemFonts():
            if Path(path).stem.startswith(KOREAN_FILES):
                manager.addfont(path)
        known = {entry.name for entry in manager.ttflist}
    return next((name for name in KOREAN_FONTS if name in known), None)


def _band_of(hertz: float) -> float:
    """The row of the mel picture in which a frequency lies."""
    from homeguard.mel import band_edges_hz  # noqa: PLC0415

    return float(np.interp(hertz, band_edges_hz()[1:-1], np.arange(N_MELS) + 0.5))


def _clock(seconds: float) -> str:
    """0:07, 0:07.5 or 1:02:03."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    fraction = f"{rest:04.1f}".removesuffix(".0")
    return f"{hours}:{minutes:02}:{fraction}" if hours else f"{minutes}:{fraction}"
