"""A published Whisper is fetched on command, whole or not at all, and known by its hashes."""

from __future__ import annotations

import json

import pytest
from huggingface_hub import constants

from homeguard import runtime
from homeguard.domain import ModelError
from homeguard.voting.pull import pull
from homeguard.voting.registry import Registry
from homeguard.voting.whisper import Whisper
from tests.voting.hub import hub
from tests.voting.tiny_models import tiny_whisper

REPOSITORY = "somebody/tiny-whisper"


@pytest.fixture
def published(tmp_path):
    folder = tiny_whisper(tmp_path / "published", n_mels=128)
    (folder / "README.md").write_text("not wanted")
    return folder


def test_a_pulled_whisper_is_listed_verified_and_loads(published, tmp_path):
    with hub(REPOSITORY, published) as endpoint:
        model = pull(REPOSITORY, tmp_path / "models", endpoint=endpoint)
    registry = Registry(tmp_path / "none", tmp_path / "models")
    assert registry.models["tiny-whisper"].entry == model.entry
    assert registry.verified("tiny-whisper", "whisper").entry.licence == "mit"
    assert not (model.directory / "README.md").exists()
    assert Whisper(model.directory).n_mels == 128


def test_the_network_stays_forbidden_outside_a_pull(published, tmp_path):
    assert runtime.ENVIRONMENT["HF_HUB_OFFLINE"] == "1"
    before = constants.HF_HUB_OFFLINE
    with hub(REPOSITORY, published) as endpoint:
        pull(REPOSITORY, tmp_path / "models", endpoint=endpoint)
    assert before == constants.HF_HUB_OFFLINE


def test_a_download_that_breaks_off_goes_on(published, tmp_path):
    models = tmp_path / "models"
    with hub(REPOSITORY, published, break_off="model.bin") as endpoint:
        pull(REPOSITORY, models, endpoint=endpoint)
    assert Registry(tmp_path / "none", models).verified("tiny-whisper", "whisper")


def test_a_download_that_fails_leaves_nothing_half_and_can_be_repeated(published, tmp_path):
    models = tmp_path / "models"
    with (
        hub(REPOSITORY, published, refuse="model.bin") as endpoint,
        pytest.raises(ModelError, match="run the command again"),
    ):
        pull(REPOSITORY, models, endpoint=endpoint)
    assert not Registry(tmp_path / "none", models).models
    with hub(REPOSITORY, published) as endpoint:
        pull(REPOSITORY, models, endpoint=endpoint)
    assert Registry(tmp_path / "none", models).verified("tiny-whisper", "whisper")


def test_an_unknown_repository_is_named(published, tmp_path):
    with (
        hub(REPOSITORY, published) as endpoint,
        pytest.raises(ModelError, match="cannot fetch somebody/else"),
    ):
        pull("somebody/else", tmp_path / "models", endpoint=endpoint)


def test_an_unknown_size_lists_the_known_ones(tmp_path):
    with pytest.raises(ModelError, match="tiny, base, small"):
        pull("smal", tmp_path)


def test_a_repository_without_a_whisper_is_refused(published, tmp_path):
    (published / "model.bin").unlink()
    with (
        hub(REPOSITORY, published) as endpoint,
        pytest.raises(ModelError, match=r"lacks model\.bin"),
    ):
        pull(REPOSITORY, tmp_path / "models", endpoint=endpoint)
    assert not Registry(tmp_path / "none", tmp_path / "models").models


def test_a_directory_is_copied_and_replaces_an_older_copy(published, tmp_path):
    pull(str(published), tmp_path / "models")
    (published / "config.json").write_text(json.dumps({"newer": True}))
    model = pull(str(published), tmp_path / "models")
    model.verify()
    assert json.loads((model.directory / "config.json").read_text()) == {"newer": True}
    assert [p.name for p in (tmp_path / "models").iterdir()] == ["published"]
