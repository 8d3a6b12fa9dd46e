"""The timeline picture: what is kept of a long recording, and what is drawn."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from homeguard.analyze import EPOCH, Found, Summary
from homeguard.domain import (
    Decision,
    Incident,
    IncidentState,
    Reason,
    Span,
    Vote,
    VoteReason,
)
from homeguard.labels import Category
from homeguard.mel import log_power
from homeguard.plot.timeline import EMERGENCY, NORMAL, SILENCE, Reduced, Timeline
from tests.fakes import chunked, noise, tone


def decision(start_s, state, words=None):
    votes: tuple[Vote, ...] = ()
    if state != SILENCE:
        emergency = state == EMERGENCY
        spoken = Span(start_s + 1, start_s + 2) if words else None
        votes = (
            Vote("encoder", emergency, 0.9 if emergency else 0.1, Category.FIRE),
            Vote("transcript", emergency, 0.8, transcript=words, spoken=spoken)
            if words
            else Vote.abstain("transcript", VoteReason.NO_SPEECH),
            Vote("cnn", emergency, 0.7 if emergency else 0.2, Category.FIRE),
        )
    return Decision(
        room="den",
        start_s=start_s,
        end_s=start_s + 5,
        active=state != SILENCE,
        emergency=state == EMERGENCY,
        category=Category.FIRE if state == EMERGENCY else None,
        probability={SILENCE: None, NORMAL: 0.2, EMERGENCY: 0.7}[state],
        reason=Reason.AGREED,
        votes=votes,
    )


def found(onset_s, end_s):
    incident = Incident(
        id="a" * 16,
        room="den",
        category=Category.FIRE,
        state=IncidentState.ENDED,
        confidence=0.93,
        raised_at=EPOCH,
        updated_at=EPOCH,
        onset_at=EPOCH,
    )
    return Found(incident, onset_s, onset_s + 5, end_s)


@pytest.fixture
def timeline():
    """Twenty seconds: silence, then fire, then ordinary sound."""
    timeline = Timeline()
    for chunk in chunked(np.concatenate([noise(8), tone(6, peak=0.8), noise(6, 0.05)])):
        timeline.hear(chunk)
    for second in range(16):
        state = SILENCE if second < 6 else EMERGENCY if second < 11 else NORMAL
        words = "살려주세요" if second in {7, 8} else None
        timeline.note(decision(float(second), state, words))
    timeline.note(found(6.0, 16.0))
    timeline.note(Summary(20.0, 25.0, 1))
    return timeline


def test_reduced_keeps_peaks_within_its_bound():
    reduced = Reduced(1, limit=100)
    rows = np.zeros((12_345, 1), np.float32)
    rows[7777] = 5.0
    for block in np.array_split(rows, 1000):
        reduced.add(block)
    assert 100 <= len(reduced.rows) <= 200
    assert reduced.rows.max() == 5.0
    assert int(np.argmax(reduced.rows)) == 7777 // reduced.step


def test_a_day_takes_no_more_memory_than_its_bound():
    reduced = Reduced(2)
    block = np.zeros((6000, 2), np.float32)
    for _ in range(24 * 60):  # a minute of 10 ms rows each
        reduced.add(block)
    assert reduced._rows.nbytes < 100_000
    assert len(reduced.rows) * reduced.step == pytest.approx(24 * 360_000, rel=0.001)


def test_the_mel_has_no_seams_where_sound_came_in_pieces():
    sound = noise(4, 0.1)
    timeline = Timeline()
    for chunk in chunked(sound):
        timeline.hear(chunk)
    timeline.note(Summary(4.0, 1.0, 0))
    whole = log_power(sound)
    assert timeline.mel.shape == whole.shape
    # Only the frame at the end of a piece sees a reflection in place of what came next.
    differs = np.flatnonzero(np.abs(timeline.mel - whole).max(axis=0) > 1e-3)
    assert len(differs) <= 4


def test_every_moment_has_the_state_of_the_nearest_window(timeline):
    spans = timeline.spans()
    assert [state for _, _, state in spans] == [SILENCE, EMERGENCY, NORMAL]
    assert [start for start, _, _ in spans] == [0.0, 8.0, 13.0]
    assert spans[-1][1] == pytest.approx(20.0, abs=0.1)


def test_words_of_one_stretch_are_kept_once(timeline):
    assert timeline.words == [(8.0, "살려주세요")]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_it_draws(timeline, tmp_path, suffix):
    drawing = pytest.importorskip("homeguard.plot.drawing", reason="needs matplotlib")
    out = tmp_path / f"out{suffix}"
    drawing.draw(timeline, out, "불.wav")
    assert out.stat().st_size > 5000


def test_without_a_korean_font_names_are_english_and_nothing_is_tofu(
    timeline, tmp_path, monkeypatch
):
    drawing = pytest.importorskip("homeguard.plot.drawing", reason="needs matplotlib")
    monkeypatch.setattr(drawing, "korean_font", lambda: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a letter that its fonts lack
        drawing.draw(timeline, tmp_path / "out.svg", "불 $x$.wav")


def test_a_recording_shorter_than_a_frame_draws_too(tmp_path):
    drawing = pytest.importorskip("homeguard.plot.drawing", reason="needs matplotlib")
    timeline = Timeline()
    for chunk in chunked(noise(0.005)):
        timeline.hear(chunk)
    timeline.note(replace(decision(0.0, NORMAL), end_s=0.005))
    timeline.note(Summary(0.005, 1.0, 0))
    drawing.draw(timeline, tmp_path / "out.png", "click.wav")
    assert (tmp_path / "out.png").is_file()


def test_what_does_not_fit_is_counted(timeline, tmp_path):
    drawing = pytest.importorskip("homeguard.plot.drawing", reason="needs matplotlib")
    for _ in range(20):
        timeline.note(found(9.0, 10.0))
    drawing.draw(timeline, tmp_path / "out.svg", "many.wav")
    assert (tmp_path / "out.svg").stat().st_size > 5000
