"""The shipped models are whole, fit together, and share one encoder pass a window."""

from __future__ import annotations

import pytest

from homeguard.config import parse
from homeguard.domain import Span, VoteReason, Window
from homeguard.voting.load import load_panel
from homeguard.voting.registry import Registry, bundled_dir
from homeguard.voting.whisper import Whisper
from tests.fakes import noise

pytestmark = [
    pytest.mark.models,
    pytest.mark.skipif(
        not (bundled_dir() / "manifest.json").is_file(), reason="models/ holds no manifest"
    ),
]


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    return Registry(bundled_dir(), tmp_path_factory.mktemp("pulled"))


def test_every_shipped_model_is_what_its_manifest_says(registry):
    assert registry.models
    for model in registry.models.values():
        model.require(model.entry.kind)
        model.verify()


def test_the_shipped_models_stay_under_40_mb(registry):
    files = [file for model in registry.models.values() for file in model.entry.files.values()]
    assert sum(file.bytes for file in files) <= 40_000_000


@pytest.fixture
def voting(registry):
    made = load_panel(
        parse("{voters: {transcript: {min_logprob: -99}}, decision: {skip_settled: false}}"),
        registry,
    )
    yield made
    made.panel.close()


def test_the_default_set_seats_all_three_voters(voting):
    assert voting.missing == ()


def test_a_spoken_window_costs_one_encoder_pass(voting, monkeypatch):
    passes = []
    encode = Whisper.encode

    def counted(whisper, mel):
        passes.append(mel.shape)
        return encode(whisper, mel)

    monkeypatch.setattr(Whisper, "encode", counted)
    speech = (Span(1.0, 3.0),)
    window = Window("den", 0.0, 5.0, noise(5.0, rms=0.05), active=True, speech=speech)
    encoder, transcript, _ = voting.panel.poll(voting.extractor.extract(window))
    assert passes == [(80, 500)]
    assert encoder.reason is VoteReason.HEARD
    assert transcript.reason in {VoteReason.HEARD, VoteReason.UNSURE}
