"""The picture of an incident: drawn from what there is, in words that the fonts can write."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from homeguard.alerting import picture
from homeguard.alerting.picture import SIZE, Heat, Sketch, draw
from homeguard.domain import Decision, Reason, Span, Vote, VoteReason
from homeguard.labels import Category
from tests.fakes import noise, tone


def decision(start_s, *, emergency):
    return Decision(
        room="den",
        start_s=start_s,
        end_s=start_s + 5.0,
        active=True,
        emergency=emergency,
        category=Category.FIRE,
        probability=0.9,
        reason=Reason.AGREED,
        votes=(
            Vote("encoder", emergency, 0.8, Category.FIRE),
            Vote("transcript", emergency, 0.9, transcript="불이야", spoken=Span(7.0, 8.0)),
            Vote.abstain("cnn", VoteReason.LATE),
        ),
    )


def sketch(**changes):
    sound = np.concatenate([noise(5.0), tone(5.0, peak=0.5)])
    heat = np.zeros((80, 500), np.float32)
    heat[20:40, 100:200] = 1.0
    values: dict[str, Any] = {
        "category": Category.FIRE,
        "place": "거실",
        "when": "2026-01-02 03:04:05",
        "samples": sound,
        "start_s": 2.0,
        "decisions": [decision(4.0, emergency=False), decision(5.0, emergency=True)],
        "heat": Heat(5.0, heat),
    }
    return Sketch(**(values | changes))


def pixels(png):
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    assert image.size == SIZE
    return np.asarray(image.convert("RGB")).astype(int)


def reddest_column(image):
    """Where the mel differs most from the same picture without heat."""
    plain = pixels(draw(sketch(heat=None)))
    differs = np.abs(image - plain)[picture._MEL_TOP + 5 : picture._MEL_BOTTOM - 5].sum(axis=(0, 2))
    frame = picture._LEFT + np.array([3.0, 8.0]) / 10.0 * (SIZE[0] - picture._LEFT - picture._RIGHT)
    inside = np.arange(int(frame[0]) + 5, int(frame[1]) - 5)
    return int(inside[differs[inside].argmax()])


def test_the_heat_is_drawn_where_and_when_it_lies():
    width = SIZE[0] - picture._LEFT - picture._RIGHT
    at = picture._LEFT + (3.0 + np.array([1.0, 2.0])) / 10.0 * width  # 1 to 2 s into the window
    assert at[0] - 5 <= reddest_column(pixels(draw(sketch()))) <= at[1] + 5


def test_yes_is_red_and_no_is_blue():
    image = pixels(draw(sketch(heat=None)))
    rows = image[picture._ROWS_TOP : picture._ROWS_TOP + 3 * picture._ROW, picture._LEFT :]
    red = (rows[..., 0] > 150) & (rows[..., 2] < 90)
    blue = (rows[..., 2] > 120) & (rows[..., 0] < 90)
    assert red.any()
    assert blue.any()
    assert np.argwhere(red)[:, 1].mean() > np.argwhere(blue)[:, 1].mean()


@pytest.mark.parametrize("samples", [noise(0.1), np.zeros(16_000, np.float32), noise(30.0)])
def test_it_draws_any_sound(samples):
    pixels(draw(sketch(samples=samples, heat=None, decisions=())))


def test_without_a_korean_font_it_is_drawn_in_english(monkeypatch):
    monkeypatch.setattr(picture, "hangul_font", lambda: None)
    picture._font.cache_clear()
    try:
        pixels(draw(sketch(place="den")))
    finally:
        picture._font.cache_clear()


def test_it_is_small_enough_to_send():
    assert len(draw(sketch(samples=noise(30.0, rms=0.1)))) < 300_000
