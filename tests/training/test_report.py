"""The report: both forms, every plot, peers beside it, nothing loaded from elsewhere."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("scipy", reason="needs the extra train")
pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

from homeguard.training.clip_scores import record
from homeguard.training.report import main, write_report
from homeguard.training.scene_scores import score
from tests.training.test_clip_scores import rows_of
from tests.training.test_scene_scores import detection, event, heard

PLOTS = {"roc", "scores", "confusion-encoder", "confusion-cnn", "recall", "latency"}


def results() -> tuple[dict[str, Any], ...]:
    clips = {"about": "Heard by <test>.", **record(rows_of(), draws=20)}
    eventful = heard((event(100.0, 103.0),), (detection(104.0),))
    scenes = {"scores": asdict(score([eventful, heard(detections=(detection(50.0),))]))}
    one = clips["without_low_confidence"]["cnn"]
    flat = {k: v["value"] for k, v in one.items() if isinstance(v, dict) and "value" in v}
    flat["recall"] = {k: v["value"] for k, v in one["recall"].items()}
    sounds = {"figures": {"yamnet_logistic": {"without_low_confidence": flat}}}
    return tuple(json.loads(json.dumps(part)) for part in (clips, scenes, sounds))


def test_a_report_has_both_forms_with_every_plot(tmp_path: Path) -> None:
    markdown, page = write_report(tmp_path, *results())
    text, markup = markdown.read_text("utf-8"), page.read_text("utf-8")
    assert {path.stem for path in tmp_path.glob("*.png")} == PLOTS
    for said in ("0.932", "99.93 %", "recorded 5 dB", "vacuum", "yamnet_logistic"):
        assert said in text
        assert said in markup
    assert markup.count("data:image/png;base64,") == len(PLOTS)
    assert 'src="http' not in markup
    assert "&lt;test&gt;" in markup


def test_a_report_of_clips_alone_leaves_scenes_out(tmp_path: Path) -> None:
    clips, _, _ = results()
    (tmp_path / "clips.json").write_text(json.dumps(clips), "utf-8")
    assert main([str(tmp_path / "out"), "--clips", str(tmp_path / "clips.json")]) == 0
    assert "## Scenes" not in (tmp_path / "out" / "report.md").read_text("utf-8")
