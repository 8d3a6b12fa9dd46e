"""Occlusion: what the score rests on is where the heat is, whatever the model."""

import numpy as np
import pytest

from homeguard.voting.occlusion import Patch, occlusion, over_time, quiet


def mel_with_burst():
    mel = np.random.default_rng(1).normal(-0.5, 0.05, (80, 300)).astype(np.float32)
    mel[40:48, 120:160] = 1.2
    return mel


def loudness_of_the_burst(mel):
    return float(mel[40:48, 120:160].mean())


def test_the_heat_lies_where_the_score_comes_from():
    heat = occlusion(loudness_of_the_burst, mel_with_burst(), Patch(8, 20, 4, 10))
    assert heat.shape == (80, 300)
    warm = np.maximum(heat, 0.0)
    assert warm[36:52, 110:170].sum() > 0.9 * warm.sum()


def test_over_time_says_when():
    heat = occlusion(loudness_of_the_burst, mel_with_burst(), over_time(80, 40, 20))
    assert np.ptp(heat, axis=0).max() == 0.0
    assert 120 <= int(heat[0].argmax()) < 160


def test_every_cell_is_hidden_at_least_once():
    for shape in ((80, 300), (80, 37), (3, 5), (16, 41)):
        seen = np.zeros(shape, bool)
        for bands, frames in Patch().places(*shape):
            seen[bands, frames] = True
        assert seen.all()


def test_what_does_not_matter_is_cold():
    assert not occlusion(lambda _: 1.0, mel_with_burst()).any()


def test_a_cell_is_hidden_by_what_is_quiet_in_its_window():
    mel = mel_with_burst()
    assert quiet(mel) == pytest.approx(-0.58, abs=0.05)
