"""The CNNs and their training: the table's size, any length, an export that equals torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytest.importorskip("pyroomacoustics")
soundfile = pytest.importorskip("soundfile")
onnx = pytest.importorskip("onnx")

from homeguard.labels import Category  # noqa: E402 - after the skip
from homeguard.training import networks  # noqa: E402 - after the skip
from homeguard.training.cnn import CnnOptions, train_cnn  # noqa: E402 - after the skip
from homeguard.training.cnn_export import export_onnx  # noqa: E402 - after the skip
from homeguard.training.errors import DivergedError  # noqa: E402 - after the skip
from homeguard.training.losses import alarm_loss  # noqa: E402 - after the skip
from homeguard.training.pool import PoolOptions  # noqa: E402 - after the skip
from homeguard.training.sound_models import CnnModel  # noqa: E402 - after the skip

pytestmark = pytest.mark.lab


def test_the_tables_network_has_its_parameters_and_widths() -> None:
    model = networks.network("s0")
    assert networks.parameters(model) == 353_619
    mels = torch.zeros(1, 1, 80, 3000)
    assert model.maps(mels).shape == (1, 128, 5, 6)
    assert model(mels).shape == (1, 19)


@pytest.mark.parametrize("width", [1, 2, 5, 6, 16])
def test_the_adaptive_pool_equals_torchs(width: int) -> None:
    maps = torch.randn(2, 4, 5, width)
    expected = torch.nn.functional.adaptive_max_pool2d(maps, (5, 3))
    torch.testing.assert_close(networks._pool_time(maps, 3), expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("architecture", ["s0", "compact", "mobile"])
def test_the_export_equals_torch_at_any_length(
    architecture: networks.Architecture, tmp_path: Path
) -> None:
    model = networks.network(architecture)
    assert export_onnx(model, tmp_path / "model.onnx", frames=500) < 1e-4
    kinds = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert "Conv" in kinds
    assert "Pad" not in kinds  # each costs a copy of the maps
    session = CnnModel(tmp_path / "model.onnx")
    assert session.logits(np.zeros((80, 161), dtype=np.float32)).shape == (19,)


def home(folder: Path) -> Path:
    """A corpus of tones (fire) and noise (indoor)."""
    rng = np.random.default_rng(0)
    rows = ["path,category,split"]
    for split, count in (("train", 6), ("val", 3)):
        for index in range(count):
            for category in ("fire", "indoor"):
                t = np.arange(24_000) / 16_000
                tone = 0.3 * np.sin(2 * np.pi * rng.uniform(500, 2_000) * t)
                sound = tone if category == "fire" else 0.1 * rng.standard_normal(len(t))
                name = f"{split}-{category}-{index}.wav"
                soundfile.write(folder / name, sound, 16_000)
                rows.append(f"{name},{category},{split}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "manifest.csv"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CnnOptions:
    """A run of seconds, of every seed and start."""
    monkeypatch.setattr(
        "homeguard.training.cnn.simulate_rooms", lambda _cache: (np.ones(1, np.float32),)
    )
    return CnnOptions(
        manifest=home(tmp_path),
        out=tmp_path / "cnn",
        cache=tmp_path / "cache",
        architecture="s0",
        epochs=1,
        batch_size=8,
        machine_voices=0,
        precision="32-true",
        pool=PoolOptions(windows=24),
    )


@pytest.mark.filterwarnings("ignore")
def test_a_small_run_trains_exports_and_writes_what_it_did(small: CnnOptions) -> None:
    result = train_cnn(small)
    written = SimpleNamespace(**json.loads((small.out / "training.json").read_text()))
    assert result.model.is_file()
    assert result.export_difference < 1e-4
    assert written.options["seed"] == small.seed
    assert written.data["by_split"]["train"] == {"fire": 6, "indoor": 6}
    assert len(written.history) == 1


@pytest.mark.filterwarnings("ignore")
def test_a_run_goes_on_from_an_earlier_ones_weights(small: CnnOptions, tmp_path: Path) -> None:
    train_cnn(small)
    start = small.out / "checkpoints" / "best.ckpt"
    more = replace(small, out=tmp_path / "more", start=start, learning_rate=1e-9, seed=7)
    train_cnn(more)
    before, after = (
        {name: w for name, w in weights(file).items() if name.endswith("weight")}
        for file in (start, more.out / "checkpoints" / "best.ckpt")
    )
    assert before.keys() == after.keys()
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore")
def test_what_ships_can_be_trained_on(small: CnnOptions, tmp_path: Path) -> None:
    mobile = replace(small, architecture="mobile")
    first = train_cnn(mobile)
    more = replace(mobile, out=tmp_path / "more", start=first.model, learning_rate=1e-9)
    second = train_cnn(more)
    mel = np.random.default_rng(3).random((80, 500), dtype=np.float32)
    before, after = (CnnModel(model).logits(mel) for model in (first.model, second.model))
    np.testing.assert_allclose(after, before, atol=0.02)
    told = json.loads((more.out / "training.json").read_text(encoding="utf-8"))
    assert told["began_with"]["options"]["out"] == small.out.name


def test_a_mistake_among_emergencies_is_no_mistake_of_the_alarm() -> None:
    places = {category: place for place, category in enumerate(Category)}
    fire, fall, indoor = (places[c] for c in (Category.FIRE, Category.FALL, Category.INDOOR))
    logits = torch.full((1, len(Category)), -20.0)
    logits[0, fire] = 20.0
    assert float(alarm_loss(logits, torch.tensor([fall]))) < 1e-6
    assert float(alarm_loss(logits, torch.tensor([indoor]))) > 30


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_diverges_leaves_no_model(small: CnnOptions) -> None:
    with pytest.raises(DivergedError, match="no number any more; try --precision 32-true"):
        train_cnn(replace(small, learning_rate=float("nan"), epochs=2))
    assert not (small.out / "model.onnx").exists()


def weights(checkpoint: Path) -> dict[str, Any]:
    """The network's tensors by name."""
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True)["state_dict"]
    return state


def test_filters_alike_cost_and_orthogonal_ones_do_not() -> None:
    layer = torch.nn.Conv2d(1, 2, 3, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 0, 0] = layer.weight[1, 0, 2, 2] = 2.0
    assert float(networks.filter_likeness(layer).detach()) < 1e-5
    with torch.no_grad():
        layer.weight[1] = layer.weight[0]
    assert float(networks.filter_likeness(layer).detach()) == pytest.approx(4.0)
