"""The windower: overlapping windows that cover every sample, never span a gap."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeguard.capture.window import Windower
from homeguard.config import WindowConfig
from homeguard.domain import AudioChunk, Mark, Span, Window

RATE = 16_000


def mark(start: int, size: int, *, active=False, speech=False, level=-60.0) -> Mark:
    """A chunk of `size` samples at sample `start`, whose samples are their own positions."""
    samples = np.arange(start, start + size, dtype=np.float32)
    chunk = AudioChunk("kitchen", start / RATE, samples)
    return Mark(chunk, active=active, speech=speech, level_dbfs=level, floor_dbfs=None)


def run(marks: Iterable[Mark], length_s=5.0, hop_s=1.0, speech_gap_s=0.4) -> list[Window]:
    windower = Windower(WindowConfig(length_s=length_s, hop_s=hop_s), speech_gap_s)
    windows = [window for m in marks for window in windower.push(m)]
    return windows + list(windower.flush())


def stretch(seconds: float, start_s: float = 0.0, **kinds) -> list[Mark]:
    first, size = round(start_s * RATE), 1600
    return [mark(first + at, size, **kinds) for at in range(0, round(seconds * RATE), size)]


def test_the_first_window_comes_when_it_is_full_and_then_one_every_hop():
    windower = Windower(WindowConfig(), 0.4)
    seen = [(m.chunk.end_s, [w.start_s for w in windower.push(m)]) for m in stretch(8.0)]
    assert [(round(now, 6), starts) for now, starts in seen if starts] == [
        (5.0, [0.0]),
        (6.0, [1.0]),
        (7.0, [2.0]),
        (8.0, [3.0]),
    ]
    assert list(windower.flush()) == []


def test_a_window_holds_its_own_samples_and_cannot_be_written_to():
    windows = run(stretch(7.0))
    for window in windows:
        first = round(window.start_s * RATE)
        assert np.array_equal(window.samples, np.arange(first, first + 5 * RATE))
        assert not window.samples.flags.writeable


def test_a_short_recording_gives_one_padded_window():
    (window,) = run(stretch(1.3))
    assert window.start_s == 0.0
    assert window.end_s == pytest.approx(1.3)
    assert window.samples.shape == (5 * RATE,)
    assert not window.samples[round(1.3 * RATE) :].any()


def test_the_tail_of_a_recording_gets_a_padded_window_of_its_own():
    windows = run(stretch(5.5))
    assert [(w.start_s, w.end_s) for w in windows] == [(0.0, 5.0), (1.0, 5.5)]
    assert windows[1].samples[-1] == 0.0


def test_nothing_heard_gives_no_window():
    assert run([]) == []


def test_no_window_spans_a_gap():
    windows = run(stretch(6.0) + stretch(5.0, start_s=16.0))
    assert [(w.start_s, w.end_s) for w in windows] == [(0.0, 5.0), (1.0, 6.0), (16.0, 21.0)]


def test_sound_before_a_gap_that_no_window_held_is_flushed():
    windows = run(stretch(2.0) + stretch(5.0, start_s=9.0))
    assert [(w.start_s, w.end_s) for w in windows] == [(0.0, 2.0), (9.0, 14.0)]


def test_a_window_is_active_if_any_of_its_chunks_is():
    marks = stretch(12.0)
    marks[55] = mark(55 * 1600, 1600, active=True, level=-20.0)  # at 5.5 s
    windows = run(marks)
    assert [w.start_s for w in windows if w.active] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert {w.start_s: w.level_dbfs for w in windows}[1.0] == -20.0
    assert {w.start_s: w.level_dbfs for w in windows}[0.0] == -60.0


def speaking(seconds: float, *stretches: tuple[float, float]) -> list[Mark]:
    return [
        mark(at, 1600, speech=any(a <= at / RATE < b for a, b in stretches))
        for at in range(0, round(seconds * RATE), 1600)
    ]


def rounded(spans: tuple[Span, ...]) -> list[tuple[float, float]]:
    return [(round(s.start_s, 3), round(s.end_s, 3)) for s in spans]


def test_short_pauses_join_stretches_of_speech_and_long_ones_do_not():
    window = run(speaking(5.0, (1.0, 1.5), (1.8, 2.2), (3.2, 3.5)))[0]
    assert rounded(window.speech) == [(1.0, 2.2), (3.2, 3.5)]
    assert not window.speech_open


def test_a_stretch_that_began_before_the_window_is_given_uncut():
    windows = run(speaking(9.0, (1.0, 5.0)))
    by_start = {w.start_s: w for w in windows}
    assert rounded(by_start[4.0].speech) == [(1.0, 5.0)]
    assert by_start[0.0].speech_open
    assert not by_start[1.0].speech_open


def test_the_end_of_a_recording_ends_its_speech():
    (window,) = run(speaking(2.0, (1.0, 2.0)))
    assert rounded(window.speech) == [(1.0, 2.0)]
    assert not window.speech_open


@given(
    sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=20),
    gaps=st.lists(st.integers(0, 20), max_size=20),
    length_s=st.sampled_from([2.0, 5.0]),
    hop_s=st.sampled_from([0.25, 1.0, 2.0]),
)
def test_every_sample_lies_in_a_window_whatever_the_chunks(sizes, gaps, length_s, hop_s):
    marks, at = [], 0
    for index, size in enumerate(sizes):
        at += RATE if index < len(gaps) and gaps[index] == 0 else 0
        marks.append(mark(at, size))
        at += size
    heard = np.zeros(at, dtype=bool)
    for window in run(marks, length_s, hop_s):
        first, last = round(window.start_s * RATE), round(window.end_s * RATE)
        assert np.array_equal(window.samples[: last - first], np.arange(first, last))
        assert not window.samples[last - first :].any()
        heard[first:last] = True
    for m in marks:
        first = round(m.chunk.start_s * RATE)
        assert heard[first : first + len(m.chunk.samples)].all()
