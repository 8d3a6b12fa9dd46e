"""Models are what their manifest says, or they are not loaded, and the message mends it."""

from __future__ import annotations

import json
import shutil

import pytest

from homeguard.config import parse
from homeguard.domain import ModelError
from homeguard.labels import Category
from homeguard.voting.registry import Registry, bundled_dir
from tests.voting.tiny_models import tiny_set


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    return tiny_set(tmp_path_factory.mktemp("released"))


@pytest.fixture
def models(released, tmp_path):
    return shutil.copytree(released, tmp_path / "models")


def change(models, edit):
    manifest = json.loads((models / "manifest.json").read_text())
    edit(manifest)
    (models / "manifest.json").write_text(json.dumps(manifest))


def registry(models):
    return Registry(models, models / "pulled")


def test_a_sound_model_is_verified_and_found(models):
    model = registry(models).verified("cnn", "cnn")
    assert model.file(".onnx") == models / "cnn/model.onnx"
    assert model.directory == models / "cnn"


def test_the_default_set_comes_first_and_is_what_an_empty_name_means(models):
    change(models, lambda m: m["sets"].update(free={"cnn": "cnn"}))
    assert registry(models).sets == ("full", "free")
    assert registry(models).choose("").head == "encoder-head"
    assert registry(models).choose("free").head == ""


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes, not"),
        (lambda path: path.write_bytes(b"x" + path.read_bytes()[1:]), "was altered"),
    ],
)
def test_a_damaged_file_is_named_with_what_mends_it(models, damage, said):
    damage(models / "cnn/model.onnx")
    with pytest.raises(ModelError, match=rf"cnn/model\.onnx .*{said}.*reinstall") as caught:
        registry(models).verified("cnn", "cnn")
    assert "homeguard models verify" in str(caught.value)


def test_a_damaged_pulled_model_is_pulled_again(models, released):
    pulled = shutil.copytree(released / "whisper-home", models / "pulled/small")
    manifest = json.loads((released / "manifest.json").read_text())
    entry = manifest["models"]["whisper-home"]
    entry["source"] = "small"
    files = {name.removeprefix("whisper-home/"): file for name, file in entry["files"].items()}
    own = {"version": 1, "models": {"small": {**entry, "files": files}}}
    (pulled / "manifest.json").write_text(json.dumps(own))
    assert registry(models).verified("small", "whisper").directory == pulled
    (pulled / "model.bin").unlink()
    with pytest.raises(ModelError, match="homeguard models pull small"):
        registry(models).verified("small", "whisper")


def test_an_unknown_model_or_set_lists_what_there_is(models):
    with pytest.raises(ModelError, match=r"whisper-home.*homeguard models pull smal"):
        registry(models).verified("smal", "whisper")
    with pytest.raises(ModelError, match=r"voters\.set.*full"):
        registry(models).choose("fast")


def test_no_models_at_all_is_said(tmp_path):
    with pytest.raises(ModelError, match="no models in"):
        Registry(tmp_path, tmp_path).choose("")


@pytest.mark.parametrize("name", ["encoder-head", "cnn"])
def test_other_labels_are_refused(models, name):
    labels = [category.value for category in Category]
    change(models, lambda m: m["models"][name].update(labels=[*labels[:-1], "robot_vacuum"]))
    kind = "cnn" if name == "cnn" else "head"
    with pytest.raises(ModelError, match="appliance_other, robot_vacuum"):
        registry(models).verified(name, kind)


def test_labels_in_another_order_are_refused(models):
    change(models, lambda m: m["models"]["cnn"]["labels"].reverse())
    with pytest.raises(ModelError, match="their order"):
        registry(models).verified("cnn", "cnn")


def test_another_mel_is_refused(models):
    change(models, lambda m: m["models"]["cnn"]["mel"].update(n_mels=64))
    with pytest.raises(ModelError, match="another mel"):
        registry(models).verified("cnn", "cnn")


def test_a_model_of_the_wrong_kind_is_refused(models):
    with pytest.raises(ModelError, match="text is a text, not a cnn"):
        registry(models).verified("text", "cnn")


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside.onnx", "cnn/../../outside.onnx"])
def test_a_file_outside_the_directory_is_refused(models, path):
    change(
        models, lambda m: m["models"]["cnn"].update(files={path: {"sha256": "0" * 64, "bytes": 0}})
    )
    with pytest.raises(ModelError, match="inside the models directory"):
        registry(models)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version": 2, "models": {}}'])
def test_a_broken_manifest_is_named(models, text):
    (models / "manifest.json").write_text(text)
    with pytest.raises(ModelError, match=r"manifest\.json: not a manifest"):
        registry(models)


def node(models_dir):
    return parse(json.dumps({"node": {"models_dir": str(models_dir)}})).node


def test_the_configured_directory_replaces_the_bundled_one_only_with_a_manifest(models, tmp_path):
    assert Registry.open(node(models)).bundled == models
    empty = tmp_path / "empty"
    empty.mkdir()
    opened = Registry.open(node(empty))
    assert opened.bundled == bundled_dir()
    assert opened.pulled == empty
