"""Thresholds chosen on scenes: the fast replay equals the pipeline's, and a raise helps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the lab's environment")

from homeguard.domain import Decision, Reason, Span, Vote
from homeguard.labels import Category
from homeguard.training import scene_sweep
from homeguard.training.scene_hearing import HeardScene
from homeguard.training.scene_thresholds import Replayed, Setting, choose, judge, path, write
from homeguard.training.scenes import Event


def window(end_s: float, encoder: float, cnn: float, category: Category) -> Decision:
    votes = tuple(
        Vote(voter, emergency=True, probability=probability, category=category)
        for voter, probability in (("encoder", encoder), ("cnn", cnn))
    )
    return Decision(
        room="scene",
        start_s=end_s - 5.0,
        end_s=end_s,
        active=True,
        emergency=True,
        category=category,
        probability=min(encoder, cnn),
        reason=Reason.AGREED,
        votes=votes,
    )


def scene(*decisions: Decision, events: tuple[Event, ...] = ()) -> HeardScene:
    return HeardScene("scene", 600.0, events, (), decisions, (), 1.0, 1.0)


@pytest.mark.parametrize("onset", [(2, 3), (3, 5)])
@pytest.mark.parametrize("seed", range(5))
def test_the_fast_replay_gives_the_alerts_of_the_pipelines_rules(
    seed: int, onset: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    sure = rng.beta(0.7, 1.0, size=(395, 2)).tolist()
    heard = scene(*(window(5.0 + t, e, c, Category.FIRE) for t, (e, c) in enumerate(sure)))
    fast = Replayed(heard).alerts(Setting(0.3, 0.4, *onset, {}))
    slow = scene_sweep.replay(heard, scene_sweep.Setting(*onset, encoder=0.3, cnn=0.4))
    assert fast
    assert [at_s for at_s, _ in fast] == [detection.detected_s for detection in slow]


def test_the_category_that_cries_wolf_is_raised_and_the_other_is_not(tmp_path: Path) -> None:
    fire = [window(t, 0.4, 0.4, Category.FIRE) for t in (52.0, 53.0, 54.0)]
    wolf = [window(t, 0.5, 0.5, Category.TRAPPED) for t in (205.0, 206.0, 207.0)]
    event = Event(Span(50.0, 51.0), Category.FIRE, "fire", "recorded", "g", 10.0)
    scenes = [Replayed(scene(*fire, *wolf, events=(event,)))]
    start = Setting(0.3, 0.3, 2, 3, {})
    first, wrong = judge(scenes, start)
    assert (first.false, first.mean_recall, wrong) == (1, 1.0, [Category.TRAPPED])
    best = choose(list(path(scenes, start)))[0]
    assert (best.false, best.mean_recall) == (0, 1.0)
    assert best.setting.raised == {Category.TRAPPED: 0.6}

    for folder in ("encoder-head", "cnn"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "calibration.json").write_text('{"calibration": {"scale": 1.0}}')
    write(best, tmp_path)
    told = json.loads((tmp_path / "cnn/calibration.json").read_text(encoding="utf-8"))
    assert told["calibration"] == {"scale": 1.0, "threshold": 0.3, "thresholds": {"trapped": 0.6}}


def test_a_margin_counts_what_would_alarm_if_it_were_a_little_surer() -> None:
    near = [window(t, 0.25, 0.25, Category.STORM) for t in (52.0, 53.0, 54.0)]
    fire = [window(t, 0.9, 0.9, Category.FIRE) for t in (205.0, 206.0, 207.0)]
    event = Event(Span(203.0, 204.0), Category.FIRE, "fire", "recorded", "g", 10.0)
    scenes = [Replayed(scene(*near, *fire, events=(event,)))]
    setting = Setting(0.3, 0.3, 2, 3, {})
    assert judge(scenes, setting)[0].false == 0
    assert judge(scenes, setting, margin=0.2)[0].false == 0  # 0.3 becomes 0.26
    assert judge(scenes, setting, margin=0.4)[0].false == 1  # and 0.22
    last = list(path(scenes, setting, margin=0.4))[-1]
    assert (last.false, last.setting.raised) == (0, {Category.STORM: 0.4})
