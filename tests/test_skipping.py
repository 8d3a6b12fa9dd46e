"""Skipping what is settled changes no decision and no incident, over recordings and real models."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from homeguard import analyze as pipeline
from homeguard.cli.hearing import hearing
from homeguard.config import Config, DecisionConfig
from homeguard.demo.scene import read_scene
from homeguard.domain import Decision, Vote, VoteReason
from homeguard.voting.registry import bundled_dir

BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
HOME_SOUNDS = Path(os.environ.get("HOMEGUARD_DATA", BESIDE)) / "home-sounds"
EVERY = 60  # one of so many recordings of the validation split

pytestmark = [
    pytest.mark.models,
    pytest.mark.skipif(
        not (bundled_dir() / "manifest.json").is_file(), reason="models/ holds no manifest"
    ),
]


def records(paths: list[Path], *, skipping: bool) -> list[pipeline.Record]:
    config = Config(decision=DecisionConfig(skip_settled=skipping))
    with hearing(config) as open_room:
        return [record for path in paths for record in pipeline.analyze(path, open_room())]


def same_whether_skipped_or_not(paths: list[Path]) -> int:
    """Checks it; gives how many encoder votes were saved."""
    skipped, asked = records(paths, skipping=True), records(paths, skipping=False)
    saved = 0
    for one, other in zip(skipped, asked, strict=True):
        assert type(one) is type(other)
        if isinstance(one, Decision) and isinstance(other, Decision):
            assert one.emergency == other.emergency
            if one.emergency:
                assert [voted(vote) for vote in one.votes] == [voted(v) for v in other.votes]
            saved += any(vote.reason is VoteReason.SKIPPED for vote in one.votes)
        elif isinstance(one, pipeline.Found) and isinstance(other, pipeline.Found):
            assert (one.onset_s, one.detected_s, one.end_s) == (
                other.onset_s,
                other.detected_s,
                other.end_s,
            )
            assert one.incident.category == other.incident.category
    return saved


def voted(vote: Vote) -> tuple[str, bool | None, float | None]:
    # Frames that are kept from the window before differ in the last bit.
    return (
        vote.voter,
        vote.emergency,
        None if vote.probability is None else round(vote.probability, 3),
    )


def test_a_household_scene_comes_out_the_same():
    assert same_whether_skipped_or_not([read_scene().recording]) > 20


@pytest.mark.data
@pytest.mark.skipif(not HOME_SOUNDS.is_dir(), reason="home-sounds is not beside the checkout")
def test_recordings_of_emergencies_and_of_life_come_out_the_same():
    with (HOME_SOUNDS / "manifest.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    assert same_whether_skipped_or_not([HOME_SOUNDS / r["path"] for r in rows[::EVERY]]) > 10
