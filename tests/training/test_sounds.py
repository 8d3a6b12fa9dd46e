"""Synthesised sounds: sound material, their standards' rhythm, and doubles for every emergency."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")

from homeguard.labels import EMERGENCIES, NORMALS, Category
from homeguard.training.augment import active_frames
from homeguard.training.sounds import RECIPES, Recipe, babble

BY_NAME = {recipe.name: recipe for recipe in RECIPES}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_recipe_makes_sound_decided_by_its_seed(recipe: Recipe) -> None:
    for seed in range(3):
        sound = recipe.make(np.random.default_rng(seed))
        assert sound.dtype == np.float32
        assert 0.15 < len(sound) / 16_000 <= 9.5
        assert np.isfinite(sound).all()
        assert 0.5 < np.abs(sound).max() <= 1.001
        np.testing.assert_array_equal(sound, recipe.make(np.random.default_rng(seed)))


def pulses(sound: np.ndarray) -> int:
    frames = active_frames(sound).astype(int)
    return int((np.diff(frames, prepend=0) == 1).sum())


def test_smoke_alarms_pulse_three_times_and_rest() -> None:
    sound = BY_NAME["smoke_alarm_t3"].make(np.random.default_rng(1))
    assert pulses(sound[: int(2.6 * 16_000)]) == 3
    assert not active_frames(sound)[128:140].any()


def test_co_alarms_pulse_four_times_in_a_second() -> None:
    sound = BY_NAME["co_alarm_t4"].make(np.random.default_rng(1))
    assert pulses(sound[:16_000]) == 4


def test_categories_without_recordings_have_recipes_except_assault() -> None:
    made = {recipe.category for recipe in RECIPES}
    assert {Category.TRAPPED, Category.APPLIANCE_VACUUM, Category.APPLIANCE_WASHER_DRYER} <= made
    assert Category.SEXUAL_ASSAULT not in made
    assert made & set(EMERGENCIES)
    assert made & set(NORMALS)


def test_babble_uses_its_voices() -> None:
    rng = np.random.default_rng(0)
    voices = [rng.standard_normal(20_000).astype(np.float32) for _ in range(3)]
    assert active_frames(babble(voices, rng)).mean() > 0.5
