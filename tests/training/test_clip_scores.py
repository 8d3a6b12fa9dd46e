"""Clip scores: what a clip gets from the pipeline, intervals over groups, skips as the daemon's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="needs the extra train")

from homeguard.alerting.incident import IncidentTracker
from homeguard.analyze import EPOCH
from homeguard.config import Config
from homeguard.domain import Features
from homeguard.labels import Category
from homeguard.pipeline import Room, stream_clock
from homeguard.training.clip_scores import (
    JUDGES,
    ClipScore,
    confusion,
    figures,
    from_record,
    hear_clip,
    record,
)
from homeguard.training.corpus import Clip
from homeguard.training.scene_hearing import offline
from homeguard.voting.features import Extractor
from homeguard.voting.panel import Panel
from tests.fakes import FakeVoter, tone


def scored(number: int, category: Category, score: float, **changes: object) -> ClipScore:
    told = Category.FIRE if score > 0.5 else Category.INDOOR
    row = ClipScore(
        name=f"{category}/{number}.wav",
        category=category.value,
        confidence="high",
        group=f"g{number // 2}",
        event="",
        duration_s=3.0,
        raised=score > 0.5,
        scores=dict.fromkeys(JUDGES, score),
        told=dict.fromkeys(JUDGES, told.value),
    )
    return replace(row, **changes)  # type: ignore[arg-type]


def rows_of(seed: int = 0) -> list[ClipScore]:
    rng = np.random.default_rng(seed)
    fires = [scored(n, Category.FIRE, float(rng.uniform(0.4, 1.0))) for n in range(40)]
    return fires + [scored(100 + n, Category.INDOOR, float(rng.uniform(0, 0.6))) for n in range(80)]


def test_figures_lie_within_their_intervals() -> None:
    found = figures(rows_of(), "vote", draws=200)
    assert (found.clips, found.emergencies) == (120, 40)
    for interval in (found.auc, found.accuracy, found.macro_f1, *found.recall.values()):
        assert interval.low <= interval.value <= interval.high
    assert 0.9 < found.auc.value < 1.0
    assert found.accuracy.value == found.binary_accuracy.value  # two categories, both told


def test_whole_groups_are_drawn() -> None:
    rows = rows_of()
    alone = [replace(row, group=row.name) for row in rows]
    together = [replace(row, group="fire" if row.category == "fire" else "home") for row in rows]
    width = [
        (found := figures(some, "vote", draws=200).accuracy).high - found.low
        for some in (alone, together)
    ]
    assert width[0] != pytest.approx(width[1], rel=0.05)


def test_confusion_counts_true_by_told_and_untold() -> None:
    rows = [
        scored(0, Category.FIRE, 0.9),
        scored(1, Category.FIRE, 0.1),
        scored(2, Category.STORM, 0.0, told=dict.fromkeys(JUDGES)),
    ]
    matrix = confusion(rows, "vote")
    places = list(Category)
    fire, indoor, storm = (
        places.index(c) for c in (Category.FIRE, Category.INDOOR, Category.STORM)
    )
    assert matrix.shape == (19, 20)
    assert (matrix[fire, fire], matrix[fire, indoor], matrix[storm, 19]) == (1, 1, 1)


def test_a_record_goes_through_json_and_parts_low_confidence() -> None:
    rows = [*rows_of(), scored(999, Category.FIRE, 0.1, confidence="low")]
    found = json.loads(json.dumps(record(rows, draws=20)))
    assert found["without_low_confidence"]["vote"]["clips"] == 120
    assert found["all"]["vote"]["clips"] == 121
    assert from_record(found) == rows


def test_a_clip_is_heard_by_the_pipeline_and_skips_as_the_daemon_does(tmp_path: Path) -> None:
    def beeping(features: Features) -> float:
        spectrum = np.abs(np.fft.rfft(features.window.samples))
        return 0.9 if spectrum[5000] > 0.2 * spectrum.sum() else 0.1

    config = offline(Config(), skip_settled=False)
    rules = {"encoder": lambda f: 0.8, "transcript": lambda f: None, "cnn": beeping}
    panel = Panel([FakeVoter(name, rule) for name, rule in rules.items()], config)
    try:
        rooms = [
            Room(
                config,
                Extractor(None),
                panel,
                IncidentTracker(config.decision, config.alerts),
                stream_clock(EPOCH),
            )
            for _ in range(2)
        ]
        clip = Clip(tmp_path / "a.wav", Category.FIRE, "test", "g")
        alarm = hear_clip(clip, tone(8.0), rooms[0], config.decision)
        hum = hear_clip(clip, tone(3.0, hz=200.0), rooms[1], config.decision)
    finally:
        panel.close()
    assert alarm.raised
    assert alarm.scores["vote"] == alarm.scores["vote_skipping"] == 0.8
    assert (alarm.scores["cnn"], alarm.scores["transcript"]) == (0.9, 0.0)
    # The CNN says no and nobody speaks: the second surest is the CNN, with the encoder or without.
    assert hum.scores["vote"] == hum.scores["vote_skipping"] == 0.1
    assert not hum.raised
