"""Scenes: labels where the sound is, the SNR that is stated, one split, the same again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("soundfile")
pytest.importorskip("scipy")
import soundfile

from homeguard.domain import BLOCK_SAMPLES
from homeguard.labels import Category
from homeguard.training.corpus import Clip, Split, open_audio
from homeguard.training.repertoire import Repertoire
from homeguard.training.scenes import (
    EventPlan,
    Scene,
    event_scenes,
    ordinary_scene,
)

RATE = 16_000


def home(folder: Path, split: Split = "val") -> Repertoire:
    rng = np.random.default_rng(3)
    clips: list[Clip] = []
    for where in ("train", "val", "test"):
        for category, event in (
            (Category.FIRE, "crackling"),
            (Category.STORM, "wind"),
            (Category.INDOOR, "speech"),
            (Category.APPLIANCE_OTHER, "fridge"),
            (Category.OUTDOOR, "rain"),
        ):
            path = folder / f"{where}-{event}.wav"
            soundfile.write(path, 0.2 * rng.standard_normal(3 * RATE), RATE)
            clips.append(Clip(path, category, where, f"{where}-{event}", event))  # type: ignore[arg-type]
    clips.append(Clip(clips[0].path, Category.FIRE, split, "doubtful", "x", confidence="low"))
    return Repertoire(split, clips, open_audio(clips, folder / "cache"), made_per_recipe=1)


def heard(scene: Scene) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in scene.chunks()])


def test_every_emergency_comes_once_at_each_snr_where_its_label_says(tmp_path: Path) -> None:
    plan = EventPlan(made=0, events_per_scene=4)
    scenes = event_scenes(home(tmp_path), plan)
    events = [event for scene in scenes for event in scene.events]
    assert sorted((e.name, e.snr_db) for e in events) == [
        (name, snr) for name in ("crackling", "wind") for snr in (0.0, 5.0, 10.0)
    ]
    for scene in scenes:
        assert scene.events[0].span.start_s >= plan.lead_s
        for event, following in zip(scene.events, scene.events[1:], strict=False):
            assert following.span.start_s - event.span.end_s >= plan.gap_s
        assert scene.duration_s >= scene.events[-1].span.end_s + plan.gap_s


@pytest.mark.parametrize("snr_db", [10.0, 0.0])
def test_an_event_stands_at_its_snr_over_what_else_sounds(tmp_path: Path, snr_db: float) -> None:
    plan = EventPlan(snrs_db=(snr_db,), made=0)
    (scene,) = event_scenes(home(tmp_path), plan)
    for event in scene.events:
        first, last = (round(s * RATE) for s in (event.span.start_s, event.span.end_s))
        alone = [p for p in scene.placements if p.sound.category.is_emergency]
        rest = [p for p in scene.placements if not p.sound.category.is_emergency]
        parts = [
            heard(Scene("s", scene.duration_s, tuple(some), (), -100.0, 1))[first:last]
            for some in (alone, rest)
        ]
        event_power, rest_power = (float(np.square(part).mean()) for part in parts)
        assert 10 * np.log10(event_power / rest_power) == pytest.approx(snr_db, abs=0.5)


def test_the_same_seed_gives_the_same_sound_in_whole_blocks(tmp_path: Path) -> None:
    repertoire = home(tmp_path)
    scene = ordinary_scene(repertoire, seed=4, duration_s=61.0)
    chunks = list(scene.chunks())
    assert {len(chunk.samples) for chunk in chunks[:-1]} == {BLOCK_SAMPLES}
    assert chunks[-1].end_s == pytest.approx(61.0)
    np.testing.assert_array_equal(
        heard(scene), heard(ordinary_scene(repertoire, seed=4, duration_s=61.0))
    )
    other = heard(ordinary_scene(repertoire, seed=5, duration_s=61.0))
    assert not np.array_equal(heard(scene), other)
    assert float(np.abs(heard(scene)).max()) <= 1.0


def test_an_ordinary_scene_holds_no_emergency_and_only_its_split(tmp_path: Path) -> None:
    repertoire = home(tmp_path, "test")
    scene = ordinary_scene(repertoire, seed=0, duration_s=900.0)
    assert scene.events == ()
    assert not any(p.sound.category.is_emergency for p in scene.placements)
    groups = {p.sound.group for p in scene.placements if p.sound.origin == "recorded"}
    assert groups == {"test-speech", "test-fridge", "test-rain"}


def test_doubtful_labels_are_no_events(tmp_path: Path) -> None:
    emergencies = home(tmp_path).emergencies
    assert "doubtful" not in {sound.group for sound in emergencies}


def test_made_emergencies_are_told_apart_and_differ_between_splits(tmp_path: Path) -> None:
    plan = EventPlan(snrs_db=(5.0,), recorded=0, made=20)
    (scene, *_) = event_scenes(home(tmp_path), plan)
    assert {event.origin for event in scene.events} == {"made"}
    one, other = (
        next(s for s in home(tmp_path, split).emergencies if s.origin == "made").load()
        for split in ("val", "test")
    )
    assert not np.array_equal(one[:1_000], other[:1_000])
