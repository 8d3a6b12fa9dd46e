"""Heard scenes as the PSDS library wants them: truth, and detections at many thresholds.

The library needs older numpy and pandas than the lab has, so it runs in an environment of its own
(`scripts/psds`), and this file's JSON is what passes between them.

    python -m homeguard.training.operating_points HEARD.jsonl OUT.json

A detection is a run of windows whose probability reaches the threshold. A window of 5 s that holds
an event says little about where: so it spans from the end of the run's first window, less a hop, to
the beginning of its last one and a hop, which is where all of the run's windows agree.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from homeguard.training.scene_hearing import HeardScene, load

_THRESHOLDS = 40
_HOP_S = 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """A stretch of a scene with an event in it, named as the library names its columns."""

    filename: str
    onset: float
    offset: float
    event_label: str


def operating_points(scenes: Sequence[HeardScene]) -> dict[str, object]:
    """Durations, true events and, by threshold, detections of scenes heard with every voter."""
    found = [d.probability for s in scenes for d in s.decisions if d.probability is not None]
    thresholds = np.unique(np.quantile(found, np.linspace(0.5, 0.9995, _THRESHOLDS)).round(6))
    truth = [
        Row(s.name, e.span.start_s, e.span.end_s, e.category.value)
        for s in scenes
        for e in s.events
    ]
    points = {
        f"{threshold:g}": [asdict(r) for s in scenes for r in _detections(s, float(threshold))]
        for threshold in thresholds
    }
    return {
        "durations": {scene.name: scene.duration_s for scene in scenes},
        "truth": [asdict(row) for row in truth],
        "points": points,
    }


def _detections(scene: HeardScene, threshold: float) -> Iterator[Row]:
    over_s = 0.0  # the library refuses detections of a category that overlap
    for told, run in groupby(scene.decisions, lambda d: (d.probability or 0.0) >= threshold):
        windows = list(run)
        named = [d for d in windows if d.category is not None and d.category.is_emergency]
        if not told or not named:
            continue
        surest = max(named, key=lambda d: d.probability or 0.0)
        onset_s = max(windows[0].end_s - _HOP_S, over_s)
        over_s = max(windows[-1].start_s + _HOP_S, onset_s + _HOP_S)
        yield Row(scene.name, onset_s, over_s, str(surest.category))


if __name__ == "__main__":
    heard, out = map(Path, sys.argv[1:3])
    out.write_text(json.dumps(operating_points(load(heard))) + "\n", encoding="utf-8")
