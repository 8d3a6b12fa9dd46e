"""The picture of an incident: what was heard, where in it the alarm lay, who said so, and when.

Drawn by Pillow, which is loaded with the first incident and not before. Words are Korean where a
font with Hangul is installed, else English.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from homeguard.domain import Decision, Float32
from homeguard.labels import Category
from homeguard.mel import FRAMES_PER_SECOND, N_MELS, band_edges_hz, log_power

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

MEDIA_TYPE = "image/png"
SIZE = (960, 480)  # pixels
_LEFT, _RIGHT = 92, 16  # beside the plots
_MEL_TOP, _MEL_BOTTOM = 62, 318
_ROW, _ROWS_TOP = 26, 346
_DECADES = 7.0  # of power, under the loudest
_HERTZ = (250, 500, 1000, 2000, 4000)
_STEPS_S = (0.5, 1, 2, 5, 10, 20, 30)
_MOST_TICKS = 12
_VOTERS = ("cnn", "encoder", "transcript")
_PAPER, _INK, _GREY = (255, 255, 255), (20, 20, 20), (150, 150, 150)
_RED, _BLUE = (200, 16, 46), (33, 102, 172)
# Black over violet and orange to pale yellow.
_COLOURS = np.array([(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)])
_FONTS = (
    "truetype/nanum/NanumGothic.ttf",
    "opentype/noto/NotoSansCJK-Regular.ttc",
    "opentype/noto/NotoSansKR-Regular.otf",
    "truetype/unfonts-core/UnDotum.ttf",
    "truetype/baekmuk/dotum.ttf",
)
_FONT_PLACES = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"))


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """Where in a window the alarm lay: (80, frames) from `start_s` on, positive speaks for it."""

    start_s: float
    map: Float32


@dataclass(frozen=True, slots=True, eq=False)
class Sketch:
    """What a picture shows. Times are stream time."""

    category: Category
    place: str
    when: str
    samples: Float32  # mono at 16 kHz, from `start_s` on
    start_s: float
    decisions: Sequence[Decision] = ()
    heat: Heat | None = None
    language: str = "ko"

    @property
    def end_s(self) -> float:
        """Where the sound ends."""
        return self.start_s + len(self.samples) / 16_000


def draw(sketch: Sketch) -> bytes:
    """The picture as PNG, about 960 x 480 and at most some hundred kB."""
    from PIL import Image, ImageDraw  # noqa: PLC0415 - 4 MiB that wait for the first incident

    image = Image.new("RGB", SIZE, _PAPER)
    mel = Image.fromarray(_mel_pixels(sketch), "RGB")
    image.paste(mel, (_LEFT, _MEL_TOP))
    _Pen(sketch, ImageDraw.Draw(image)).draw()
    data = io.BytesIO()
    image.quantize(128).save(data, "PNG", optimize=True)
    return data.getvalue()


@cache
def hangul_font() -> Path | None:
    """A font with Hangul, None where none of the usual ones is installed."""
    places = (place / name for place in _FONT_PLACES for name in _FONTS)
    return next((path for path in places if path.is_file()), None)


class _Pen:
    """Draws everything around the mel."""

    def __init__(self, sketch: Sketch, canvas: ImageDraw) -> None:
        self._sketch = sketch
        self._canvas = canvas
        self._korean = hangul_font() is not None
        self._language = sketch.language if self._korean else "en"
        self._scale = (SIZE[0] - _LEFT - _RIGHT) / max(sketch.end_s - sketch.start_s, 0.01)

    def draw(self) -> None:
        sketch = self._sketch
        title = f"{sketch.category.name_in(self._language)} · {sketch.place} · {sketch.when}"
        self._write((16, 12), title, 24, _RED)
        self._hertz()
        self._seconds()
        self._votes()
        self._words()

    def _hertz(self) -> None:
        for hertz in _HERTZ:
            y = _MEL_BOTTOM - _row_of(hertz)
            self._canvas.line([(_LEFT - 5, y), (_LEFT, y)], fill=_INK)
            self._write((8, y - 9), f"{hertz / 1000:g} kHz", 14, _INK)

    def _seconds(self) -> None:
        """Ticks, and a frame around the window that the heat is of."""
        sketch = self._sketch
        length_s = sketch.end_s - sketch.start_s
        step_s = next((s for s in _STEPS_S if length_s / s <= _MOST_TICKS), _STEPS_S[-1])
        for at_s in np.arange(0.0, max(length_s - step_s / 4, 0.01), step_s):
            x = self._x(sketch.start_s + float(at_s))
            self._canvas.line([(x, _MEL_BOTTOM), (x, _MEL_BOTTOM + 5)], fill=_INK)
            label = f"{at_s:g} s"
            most_x = SIZE[0] - 2 - self._canvas.textlength(label, font=_font(13))
            self._write((min(x - 4, most_x), _MEL_BOTTOM + 6), label, 13, _INK)
        if sketch.heat is not None:
            first_s = sketch.heat.start_s
            last_s = first_s + sketch.heat.map.shape[1] / FRAMES_PER_SECOND
            box = (self._x(first_s), _MEL_TOP - 3, self._x(last_s), _MEL_BOTTOM)
            self._canvas.rectangle(box, outline=_RED, width=2)

    def _votes(self) -> None:
        """A row a voter: red yes, blue no, the higher the surer; as its nearest window had it."""
        for row, voter in enumerate(_VOTERS):
            top = _ROWS_TOP + row * _ROW
            self._write((8, top + 2), voter, 14, _INK)
            right = SIZE[0] - _RIGHT
            self._canvas.line([(_LEFT, top + _ROW - 4), (right, top + _ROW - 4)], fill=_GREY)
            for first_s, last_s, decision in _spans(self._sketch):
                vote = next((v for v in decision.votes if v.voter == voter), None)
                if vote is None or vote.emergency is None or vote.probability is None:
                    continue
                height = max(2, round((_ROW - 6) * vote.probability))
                bottom = top + _ROW - 5
                box = (self._x(first_s), bottom - height, self._x(last_s) - 1, bottom)
                if box[2] > box[0]:
                    self._canvas.rectangle(box, fill=_RED if vote.emergency else _BLUE)

    def _words(self) -> None:
        """What was said, where it was said; later words make room for earlier ones."""
        top = _ROWS_TOP + len(_VOTERS) * _ROW + 4
        free_x = float(_LEFT)
        for at_s, text in _said(self._sketch.decisions):
            shown = f"“{text}”" if self._korean or text.isascii() else "“(…)”"
            x = max(self._x(at_s), _LEFT)
            font = _font(16)
            width = self._canvas.textlength(shown, font=font)
            x = min(x, max(float(_LEFT), SIZE[0] - _RIGHT - width))
            if x < free_x:
                continue
            self._write((x, top), shown, 16, _INK)
            free_x = x + width + 8

    def _x(self, at_s: float) -> float:
        x = _LEFT + (at_s - self._sketch.start_s) * self._scale
        return float(min(max(x, _LEFT), SIZE[0] - _RIGHT))

    def _write(
        self, at: tuple[float, float], text: str, size: int, colour: tuple[int, int, int]
    ) -> None:
        shown = text if self._korean else text.encode("latin-1", "replace").decode("latin-1")
        self._canvas.text(at, shown, font=_font(size), fill=colour)


@cache
def _font(size: int) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont  # noqa: PLC0415 - as above

    path = hangul_font()
    return ImageFont.truetype(str(path), size) if path else ImageFont.load_default(size)


def _mel_pixels(sketch: Sketch) -> NDArray[np.uint8]:
    """The mel of the whole sound, red where the heat is; (height, width, 3), high sounds on top."""
    width, height = SIZE[0] - _LEFT - _RIGHT, _MEL_BOTTOM - _MEL_TOP
    power = log_power(sketch.samples)
    peak = float(power.max())
    level = np.clip((power - peak) / _DECADES + 1.0, 0.0, 1.0)
    at = np.linspace(0.0, 1.0, len(_COLOURS))
    colours = np.stack([np.interp(level, at, channel) for channel in _COLOURS.T], axis=-1)
    if sketch.heat is not None:
        warmth = np.zeros(power.shape, dtype=np.float32)
        first = round((sketch.heat.start_s - sketch.start_s) * FRAMES_PER_SECOND)
        warm = np.maximum(sketch.heat.map, 0.0)
        warm = warm / max(float(warm.max()), 1e-9)
        begin, end = max(first, 0), min(first + warm.shape[1], power.shape[1])
        if begin < end:
            warmth[:, begin:end] = warm[:, begin - first : end - first]
        opacity = 0.65 * warmth[..., None]
        colours = colours * (1.0 - opacity) + np.array((255, 40, 40)) * opacity
    columns = np.linspace(0, power.shape[1] - 1, width).round().astype(np.int64)
    rows = np.linspace(N_MELS - 1, 0, height).round().astype(np.int64)
    return colours[rows][:, columns].astype(np.uint8)


def _row_of(hertz: float) -> float:
    """How many pixels above the mel's lower edge a frequency lies."""
    band = float(np.interp(hertz, band_edges_hz()[1:-1], np.arange(N_MELS)))
    return band / (N_MELS - 1) * (_MEL_BOTTOM - _MEL_TOP)


def _spans(sketch: Sketch) -> Iterator[tuple[float, float, Decision]]:
    """Each decision with the moments that lie nearest to its window's middle."""
    decisions = sorted(sketch.decisions, key=lambda decision: decision.start_s)
    middles = [(each.start_s + each.end_s) / 2 for each in decisions]
    for index, decision in enumerate(decisions):
        before_s = middles[index - 1] if index else decision.start_s
        after_s = middles[index + 1] if index + 1 < len(middles) else decision.end_s
        first_s = (before_s + middles[index]) / 2 if index else decision.start_s
        last_s = (middles[index] + after_s) / 2 if index + 1 < len(middles) else decision.end_s
        yield first_s, last_s, decision


def _said(decisions: Sequence[Decision]) -> Iterator[tuple[float, str]]:
    """Each stretch of speech once, with when it began."""
    told: set[float] = set()
    for decision in decisions:
        for vote in decision.votes:
            at_s = vote.spoken.start_s if vote.spoken else decision.start_s
            if vote.transcript and at_s not in told:
                told.add(at_s)
                yield at_s, vote.transcript
