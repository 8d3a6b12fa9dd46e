"""Models become voters; whatever is missing is said, and the others vote."""

from __future__ import annotations

import json
import shutil

import pytest

from homeguard.config import parse
from homeguard.domain import ModelError, Span, VoteReason, Window
from homeguard.voting.load import load_panel
from homeguard.voting.registry import Registry
from tests.fakes import noise
from tests.voting.tiny_models import tiny_set


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return tiny_set(tmp_path_factory.mktemp("released"))


@pytest.fixture
def models(released, tmp_path):
    return shutil.copytree(released, tmp_path / "models")


@pytest.fixture
def loaded(models):
    panels = []

    def load(text="{}"):
        config = parse(text)
        panels.append(load_panel(config, Registry(models, models / "pulled")))
        return panels[-1]

    yield load
    for voting in panels:
        voting.panel.close()


def poll(voting, start_s=0.0, *speech):
    spans = tuple(Span(*s) for s in speech)
    window = Window("den", start_s, start_s + 5.0, noise(5.0, rms=0.1), active=True, speech=spans)
    return voting.panel.poll(voting.extractor.extract(window))


# Random weights write random words: no guard may stop them here.
CREDULOUS = "transcript: {min_logprob: -99, max_compression: 99, max_tokens: 4}"


def test_three_voters_judge_a_window(loaded):
    voting = loaded(f"voters: {{{CREDULOUS}}}")
    assert voting.missing == ()
    assert set(voting.models) == {"whisper", "head", "cnn", "text", "transcriber"}
    votes = poll(voting, 0.0, (1.0, 4.0))
    assert [vote.voter for vote in votes] == ["encoder", "transcript", "cnn"]
    assert all(vote.reason is VoteReason.HEARD for vote in votes)


@pytest.mark.parametrize(
    ("lost", "silent"),
    [
        ("whisper-home/model.bin", {"encoder", "transcript"}),
        ("encoder-head/model.onnx", {"encoder"}),
        ("cnn/model.onnx", {"cnn"}),
        ("text/model.json", set()),
    ],
)
def test_a_lost_file_silences_only_who_needs_it(loaded, models, lost, silent):
    (models / lost).unlink()
    voting = loaded(f"voters: {{{CREDULOUS}}}")
    votes = poll(voting, 0.0, (1.0, 4.0))
    missing = {vote.voter for vote in votes if vote.reason is VoteReason.MISSING}
    assert missing == silent
    assert any(lost in line for line in voting.missing)


def test_a_network_of_the_wrong_shape_is_missing_from_the_start(loaded, models):
    # The head in the CNN's place takes another input: the manifest is made to fit.
    shutil.copy(models / "encoder-head/model.onnx", models / "cnn/model.onnx")
    manifest = json.loads((models / "manifest.json").read_text())
    head = manifest["models"]["encoder-head"]["files"]["encoder-head/model.onnx"]
    manifest["models"]["cnn"]["files"]["cnn/model.onnx"] = head
    (models / "manifest.json").write_text(json.dumps(manifest))
    voting = loaded()
    assert poll(voting)[2].reason is VoteReason.MISSING
    assert "cannot judge a silent window" in voting.missing[0]


def test_a_voter_that_is_switched_off_is_no_fault(loaded):
    voting = loaded("voters: {cnn: {enabled: false}}")
    vote = poll(voting)[2]
    assert vote.emergency is None
    assert not vote.reason.is_fault
    assert voting.missing == ()


def test_a_window_longer_than_the_whisper_hears_is_said(loaded):
    voting = loaded("window: {length_s: 10}")
    assert any("window.length_s is 10" in line for line in voting.missing)


def test_another_transcriber_keeps_its_own_encoding(loaded, models):
    pulled = models / "pulled/other"
    shutil.copytree(models / "whisper-home", pulled)
    manifest = json.loads((models / "manifest.json").read_text())
    entry = manifest["models"]["whisper-home"]
    files = {name.removeprefix("whisper-home/"): file for name, file in entry["files"].items()}
    own = {"version": 1, "models": {"other": {**entry, "files": files}}}
    (pulled / "manifest.json").write_text(json.dumps(own))
    voters = CREDULOUS.replace("transcript: {", "transcript: {model: other, ")
    voting = loaded(f"voters: {{{voters}}}")
    assert voting.models["transcriber"] == "other"
    assert poll(voting, 0.0, (1.0, 4.0))[1].reason is VoteReason.HEARD


def test_an_unknown_set_is_an_error(loaded):
    with pytest.raises(ModelError, match=r"voters\.set"):
        loaded("voters: {set: fast}")
