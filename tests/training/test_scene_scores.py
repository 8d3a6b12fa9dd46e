"""Scene scores: what counts as found, what as false, and a replay that equals the pipeline."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("soundfile")
pytest.importorskip("scipy")
pytest.importorskip("rich")

from homeguard.alerting.incident import IncidentTracker
from homeguard.analyze import EPOCH
from homeguard.config import Config
from homeguard.domain import Decision, Features, Reason, Span, Vote
from homeguard.labels import Category
from homeguard.pipeline import Room, stream_clock
from homeguard.training.repertoire import Sound
from homeguard.training.scene_hearing import (
    Background,
    Detection,
    HeardScene,
    hear_scene,
    load,
    offline,
    save,
)
from homeguard.training.scene_scores import match, poisson, score, wilson
from homeguard.training.scene_sweep import Setting, grid, replay, sweep
from homeguard.training.scenes import Event, Placement, Scene
from homeguard.voting.features import Extractor
from homeguard.voting.panel import Panel
from tests.fakes import FakeVoter, tone


def event(start_s: float, end_s: float, snr_db: float = 5.0) -> Event:
    return Event(Span(start_s, end_s), Category.FIRE, "alarm", "recorded", "g", snr_db)


def detection(detected_s: float, category: Category = Category.FIRE) -> Detection:
    return Detection(detected_s - 6.0, detected_s, category, Reason.AGREED)


def heard(
    events: tuple[Event, ...] = (),
    detections: tuple[Detection, ...] = (),
    decisions: tuple[Decision, ...] = (),
    duration_s: float = 3600.0,
) -> HeardScene:
    hum = Background(Span(0.0, duration_s), "vacuum", Category.APPLIANCE_VACUUM)
    return HeardScene("s", duration_s, events, (hum,), decisions, detections, 10.0, 5.0)


def judged(k: int, probability: float, threshold: float = 0.5) -> Decision:
    votes = tuple(
        Vote(name, probability >= threshold, probability, Category.FIRE)
        for name in ("encoder", "cnn")
    )
    return Decision(
        "s",
        float(k),
        k + 5.0,
        active=True,
        emergency=probability >= threshold,
        category=Category.FIRE,
        probability=probability,
        reason=Reason.AGREED if probability >= threshold else Reason.OUTVOTED,
        votes=votes,
    )


@pytest.mark.parametrize(
    ("detected_s", "is_found"), [(99.9, False), (100.0, True), (112.9, True), (113.1, False)]
)
def test_an_event_is_found_from_its_onset_to_ten_seconds_after_its_end(
    detected_s: float,
    is_found: bool,  # noqa: FBT001 - as it is passed on
) -> None:
    pairs, spurious = match([event(100.0, 103.0)], [detection(detected_s)])
    assert (pairs[0][1] is not None) is is_found
    assert bool(spurious) is not is_found


def test_one_alert_finds_one_event_and_a_second_alert_of_it_is_not_false() -> None:
    events = [event(100.0, 103.0), event(108.0, 110.0)]
    pairs, spurious = match(events, [detection(109.0)])
    assert [hit is not None for _, hit in pairs] == [True, False]
    pairs, spurious = match(events[:1], [detection(101.0), detection(105.0)])
    assert spurious == []


def test_figures_of_a_run() -> None:
    loud, soft = event(100.0, 103.0, 10.0), event(200.0, 203.0, 0.0)
    eventful = heard((loud, soft), (detection(104.0, Category.STORM), detection(400.0)))
    quiet = heard(detections=(detection(50.0),))
    scores = score([eventful, quiet])
    assert scores.recall["recorded 10 dB"].share == 1.0
    assert scores.recall["recorded 0 dB"].share == 0.0
    assert scores.named.found == 0
    assert scores.f1 == pytest.approx(2 / 4)
    assert scores.latency.p50_s == pytest.approx(4.0)
    assert scores.false_alarms.count == 1
    assert scores.false_alarms.per_day == pytest.approx(24.0)
    assert scores.false_alarms_by_sound == {"vacuum": 1}
    assert scores.false_alarms_between_events.count == 1
    assert scores.audio_seconds_per_second == pytest.approx(360.0)


def test_intervals_hold_what_they_should() -> None:
    share = wilson(18, 20)
    assert (share.low, share.high) == pytest.approx((0.699, 0.972), abs=1e-3)
    none_in_a_day = poisson(0, 24.0)
    assert none_in_a_day.low == 0.0
    assert none_in_a_day.high == pytest.approx(3.689, abs=1e-3)
    assert math.isnan(wilson(0, 0).share)


def test_a_sweep_ranks_settings_by_false_alarms_then_recall() -> None:
    click = [judged(k, 0.9 if k == 40 else 0.1) for k in range(100)]
    fire = [judged(k, 0.9 if 50 <= k <= 56 else 0.1) for k in range(100)]
    scenes = [
        heard(decisions=tuple(click)),
        heard((event(54.0, 56.0),), decisions=tuple(fire)),
    ]
    ranked = sweep(scenes, grid(onsets=((1, 1), (2, 3)), encoders=(None, 0.95)))
    best = ranked[0]
    assert (best.setting.onset_windows, best.setting.encoder) == (2, None)
    assert best.false_alarms.count == 0
    assert best.recall["5"].found == 1
    assert ranked[-1].false_alarms.count == 1


def beeping(features: Features) -> float:
    """Knows a 1 kHz tone in a window's last two seconds."""
    spectrum = np.abs(np.fft.rfft(features.window.samples[-32_000:]))
    return 0.9 if spectrum[2000] > 0.2 * spectrum.sum() else 0.1


@pytest.fixture
def scene() -> Scene:
    beep = Sound("alarm", Category.FIRE, "recorded", "g", lambda: tone(4.0))
    hum = Sound("hum", Category.APPLIANCE_OTHER, "made", "h", lambda: 0.1 * tone(20.0, hz=120.0))
    placements = (Placement(0.0, 20.0, hum, 0.5), Placement(40.0, 4.0, beep, 1.0))
    return Scene("val-events-0", 80.0, placements, (event(40.0, 44.0),), -60.0, 1)


@pytest.fixture
def heard_scene(scene: Scene):
    config = offline(Config(), skip_settled=False)
    rules = {"encoder": beeping, "transcript": lambda features: None, "cnn": beeping}
    panel = Panel([FakeVoter(name, rule) for name, rule in rules.items()], config)
    tracker = IncidentTracker(config.decision, config.alerts)
    yield hear_scene(scene, Room(config, Extractor(None), panel, tracker, stream_clock(EPOCH)))
    panel.close()


def test_the_pipeline_hears_a_scene_and_the_replay_hears_the_same(heard_scene: HeardScene) -> None:
    scores = score([heard_scene])
    assert scores.recall["recorded 5 dB"].found == 1
    assert scores.false_alarms_between_events.count == 0
    assert 0.0 < scores.latency.p50_s < 6.0
    (again,), (live,) = replay(heard_scene, Setting.of(Config().decision)), heard_scene.detections
    assert again.onset_s == pytest.approx(live.onset_s)
    assert again.detected_s == pytest.approx(live.detected_s)


def _about(**values: float) -> dict[str, Any]:
    return {name: pytest.approx(value) for name, value in values.items()}


def test_what_was_heard_can_be_put_away_and_scored_later(
    heard_scene: HeardScene, tmp_path: Path
) -> None:
    path = tmp_path / "heard.jsonl"
    assert save([heard_scene], path) == 1
    (again,) = load(path)
    assert score([again]).recall == score([heard_scene]).recall
    assert replay(again, Setting()) == tuple(
        replace(d, **_about(onset_s=d.onset_s, detected_s=d.detected_s))
        for d in replay(heard_scene, Setting())
    )
    with path.open("a") as lines:
        lines.write('{"name": "cut o')
    assert len(load(path)) == 1
