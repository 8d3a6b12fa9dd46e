"""The ring: the last seconds, lost sound as silence, bounded memory."""

from __future__ import annotations

import numpy as np
import pytest

from homeguard.capture.ring import Ring
from homeguard.domain import AudioChunk

RATE = 16_000


def chunk(start_s: float, value: float, seconds: float = 0.1) -> AudioChunk:
    return AudioChunk("hall", start_s, np.full(round(seconds * RATE), value, dtype=np.float32))


def filled(seconds: float, count: int) -> Ring:
    ring = Ring(seconds)
    for index in range(count):
        ring.push(chunk(index * 0.1, 0.01 * index))
    return ring


def test_what_was_pushed_is_read_back_to_16_bits():
    sound = filled(5.0, 20).read(0.5, 1.5)
    assert sound.dtype == np.float32
    expected = np.repeat(0.01 * np.arange(5, 15), 1600)
    assert sound == pytest.approx(expected, abs=1 / 65_000)


def test_only_the_newest_seconds_are_kept():
    ring = filled(1.0, 50)
    assert ring.end_s == pytest.approx(5.0)
    assert ring.start_s == pytest.approx(4.0, abs=0.11)
    assert not ring.read(0.0, 3.5).any()


def test_sound_that_was_lost_or_has_not_come_yet_reads_as_silence():
    ring = Ring(10.0)
    ring.push(chunk(0.0, 0.5))
    ring.push(chunk(1.0, 0.5))
    sound = ring.read(-0.1, 1.2)
    assert len(sound) == round(1.3 * RATE)
    assert np.flatnonzero(sound).tolist() == [*range(1600, 3200), *range(17_600, 19_200)]


def test_a_stretch_of_no_length_is_empty():
    assert len(filled(1.0, 5).read(0.2, 0.2)) == 0
    assert len(filled(1.0, 5).read(0.3, 0.2)) == 0


def test_loud_samples_are_clipped_not_wrapped():
    ring = Ring(1.0)
    ring.push(chunk(0.0, 1.7))
    assert ring.read(0.0, 0.1) == pytest.approx(1.0)


def test_an_empty_ring_reads_as_silence():
    assert not Ring(3.0).read(0.0, 1.0).any()
