"""Random Whispers have the published shapes and load like any other."""

from __future__ import annotations

import numpy as np

from homeguard.benchmark.shapes import PUBLISHED, SPECIALS, Shape, published_tokens, write_whisper
from homeguard.voting.whisper import Whisper
from tests.fakes import noise


def test_a_random_whisper_hears_and_writes(tmp_path):
    shape = Shape(layers=1, heads=2, d_model=32)
    whisper = Whisper(write_whisper(tmp_path / "own", shape, published_tokens()))
    encoding = whisper.hear(noise(5.0, rms=0.05))
    assert encoding.array.shape == (250, 32)
    assert np.isfinite(encoding.array).all()
    assert whisper.max_s == 30.0
    assert len(whisper.decode(encoding, max_tokens=16).tokens) > 0


def test_the_special_tokens_lie_where_the_published_ones_do():
    tokens = published_tokens()
    assert len(tokens) == len(set(tokens)) == 51_865
    assert all(tokens[number] == token for token, number in SPECIALS.items())
    assert {name: shape.d_model for name, shape in PUBLISHED.items()} == {
        "tiny": 384,
        "base": 512,
        "small": 768,
    }
