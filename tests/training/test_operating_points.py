"""What is handed to the PSDS library: truth, and detections that do not overlap."""

from __future__ import annotations

import itertools

import pytest

from homeguard.domain import Decision, Reason, Span
from homeguard.labels import Category

pytest.importorskip("scipy", reason="the lab's environment")

from homeguard.training.operating_points import operating_points
from homeguard.training.scene_hearing import HeardScene
from homeguard.training.scenes import Event


def window(end_s: float, probability: float) -> Decision:
    return Decision(
        room="scene",
        start_s=end_s - 5.0,
        end_s=end_s,
        active=True,
        emergency=probability > 0.5,
        category=Category.FIRE if probability > 0.1 else Category.INDOOR,
        probability=probability,
        reason=Reason.AGREED,
    )


def scene() -> HeardScene:
    """A fire from 20 s to 22 s; the windows that hold it end at 21 s to 27 s."""
    decisions = [window(float(t), 0.9 if 21 <= t <= 27 else 0.05) for t in range(5, 60)]
    event = Event(Span(20.0, 22.0), Category.FIRE, "fire", "recorded", "g", 10.0)
    return HeardScene("scene", 60.0, (event,), (), tuple(decisions), (), 1.0, 1.0)


def test_a_detection_lies_where_all_of_its_windows_agree() -> None:
    given = operating_points([scene()])
    points = given["points"]
    assert isinstance(points, dict)
    (row,) = points["0.9"]
    assert (row["onset"], row["offset"], row["event_label"]) == (20.0, 23.0, "fire")


def test_detections_of_a_scene_do_not_overlap() -> None:
    flapping = scene()
    decisions = tuple(window(float(t), 0.9 if t % 2 else 0.05) for t in range(5, 60))
    flapping = HeardScene("scene", 60.0, flapping.events, (), decisions, (), 1.0, 1.0)
    points = operating_points([flapping])["points"]
    assert isinstance(points, dict)
    rows = points["0.9"]
    assert len(rows) > 10
    assert all(a["offset"] <= b["onset"] for a, b in itertools.pairwise(rows))
