"""Logits become calibrated votes; thresholds come from where the user would look first."""

from __future__ import annotations

import math

import numpy as np
import pytest

from homeguard.config import parse
from homeguard.domain import ModelError, Window
from homeguard.labels import Category
from homeguard.voting.cnn import CnnVoter
from homeguard.voting.encoder import EncoderVoter
from homeguard.voting.features import Extractor
from homeguard.voting.registry import Calibration, FileEntry, ModelEntry
from homeguard.voting.sound import InvalidOutput, SoundJudge, Thresholds
from homeguard.voting.whisper import Whisper
from tests.fakes import noise
from tests.voting.tiny_models import tiny_onnx, tiny_whisper


def logits(**scores):
    values = [scores.get(category.value, 0.0) for category in Category]
    return np.array([values], np.float32)


def judge(calibration=Calibration(), default=0.5, **by_category):  # noqa: B008 - frozen
    thresholds = {Category(slug): value for slug, value in by_category.items()}
    return SoundJudge("cnn", calibration, Thresholds(default, thresholds))


def test_equal_logits_weigh_groups_by_their_size():
    assert judge().vote(logits()).probability == pytest.approx(14 / 19)


def test_calibration_scales_and_shifts_the_log_odds():
    odds = math.log(14) - math.log(5)
    expected = 1 / (1 + math.exp(-(2.0 * odds - 1.0)))
    vote = judge(Calibration(scale=2.0, bias=-1.0)).vote(logits())
    assert vote.probability == pytest.approx(expected)


def test_the_category_comes_from_the_group_that_the_vote_names():
    scores = logits(fire=3.0, indoor=4.0)
    assert judge(default=0.1).vote(scores).category is Category.FIRE
    vote = judge(default=0.9).vote(scores)
    assert vote.emergency is False
    assert vote.category is Category.INDOOR


def test_huge_logits_stay_finite():
    assert judge().vote(logits(fire=1e30)).probability == 1.0
    assert judge().vote(logits(indoor=1e30)).probability == 0.0


@pytest.mark.parametrize(
    "bad",
    [
        np.full((1, 19), np.nan, np.float32),
        np.full((1, 19), np.inf, np.float32),
        np.zeros((1, 18), np.float32),
        np.zeros((2, 19), np.float32),
        np.zeros(19, np.float32),
    ],
)
def test_nonsense_is_no_vote(bad):
    with pytest.raises(InvalidOutput):
        judge().vote(bad)


ENTRY = ModelEntry(
    kind="cnn",
    licence="CC0-1.0",
    files={"cnn/model.onnx": FileEntry(sha256="0" * 64, bytes=0)},
    threshold=0.6,
    thresholds={Category.FIRE: 0.7, Category.FALL: 0.8},
)


def thresholds(text):
    config = parse(text)
    return Thresholds.choose(config.voters.cnn, config.decision, ENTRY)


def test_the_manifest_decides_where_the_configuration_is_silent():
    chosen = thresholds("")
    assert [chosen.of(c) for c in (Category.STORM, Category.FIRE)] == [0.6, 0.7]


def test_a_voters_own_threshold_replaces_the_manifests():
    chosen = thresholds("voters: {cnn: {threshold: 0.4}}")
    assert [chosen.of(c) for c in (Category.STORM, Category.FIRE)] == [0.4, 0.4]


def test_a_threshold_by_category_wins():
    chosen = thresholds("voters: {cnn: {threshold: 0.4}}\ndecision: {thresholds: {fire: 0.9}}")
    assert [chosen.of(c) for c in (Category.STORM, Category.FIRE)] == [0.4, 0.9]


def test_cnn_and_encoder_run_their_networks(tmp_path):
    whisper = Whisper(tiny_whisper(tmp_path / "whisper"))
    features = Extractor(whisper).extract(Window("den", 0.0, 5.0, noise(5.0), active=True))
    head = tiny_onnx(tmp_path / "head.onnx", "encoding", (1, None, 16), (1,))
    cnn = tiny_onnx(tmp_path / "cnn.onnx", "log_mel", (1, 1, 80, None), (1, 3))
    for voter in (EncoderVoter(head, judge()), CnnVoter(cnn, judge())):
        vote = voter.vote(features)
        assert vote.emergency is not None
        assert vote.category is not None


@pytest.mark.parametrize("kind", [CnnVoter, EncoderVoter])
def test_a_file_that_is_no_network_is_named(tmp_path, kind):
    (tmp_path / "model.onnx").write_bytes(b"not a network")
    with pytest.raises(ModelError, match=r"model\.onnx is no ONNX model"):
        kind(tmp_path / "model.onnx", judge())
