"""Heat maps tell the truth: a burst that makes the class is where the heat is, by every method."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("captum")
pytest.importorskip("lightning")

from homeguard.demo.scene import read_scene  # noqa: E402 - after the skip
from homeguard.explain.attribution import METHODS, Effort, Explainer, Method  # noqa: E402 - after the skip
from homeguard.explain.hearing import read_sound  # noqa: E402 - after the skip
from homeguard.explain.truth import curves, randomised  # noqa: E402 - after the skip
from homeguard.labels import Category  # noqa: E402 - after the skip
from homeguard.mel import Float32, log_mel  # noqa: E402 - after the skip
from homeguard.training import networks  # noqa: E402 - after the skip
from homeguard.training.cnn_export import export_onnx  # noqa: E402 - after the skip
from homeguard.training.shrink import store_int8  # noqa: E402 - after the skip
from homeguard.voting.registry import bundled_dir  # noqa: E402 - after the skip

pytestmark = [pytest.mark.lab, pytest.mark.filterwarnings("ignore")]
FRAMES = 300
BURST_S, BURST_HZ = (1.2, 1.6), 2000.0
BANDS, TIMES = slice(36, 56), slice(100, 180)  # the burst with room for the maps' own width


class Listener(torch.nn.Module):  # type: ignore[name-defined]
    """Hears loud places: two averaging convolutions, of which the second has a threshold."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        self.body = nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(2, 1, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(1, len(Category))
        for layer, bias in ((self.body[0], 0.0), (self.body[2], -0.75)):
            nn.init.constant_(layer.weight, 1.0 / layer.weight[0].numel())
            nn.init.constant_(layer.bias, bias)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.head.weight.data[list(Category).index(Category.FIRE)] = 100.0

    def forward(self, values):
        """Logits; fire for what is loud somewhere."""
        return self.head(self.body(values).mean(dim=(2, 3)))


def burst() -> Float32:
    """The log-mel of a short tone in noise."""
    t = np.arange(FRAMES * 160) / 16_000
    sound = 0.003 * np.random.default_rng(1).standard_normal(len(t))
    sound += np.where(
        (t >= BURST_S[0]) & (t < BURST_S[1]), 0.5 * np.sin(2 * np.pi * BURST_HZ * t), 0
    )
    return log_mel(sound.astype(np.float32))


@pytest.fixture(scope="module")
def explainer(tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    export_onnx(Listener().eval(), path, frames=FRAMES)  # type: ignore[arg-type]
    return Explainer.load(path, FRAMES, Effort(lime_samples=300))


@pytest.mark.parametrize("method", METHODS)
def test_most_of_the_heat_lies_on_the_burst(explainer: Explainer, method: Method) -> None:
    warm = explainer.explain(burst(), Category.FIRE, method).warm
    assert warm[BANDS, TIMES].sum() > 0.6 * warm.sum()


def test_relevance_is_conserved(explainer: Explainer) -> None:
    heat = explainer.explain(burst(), Category.FIRE, "lrp").heat
    logit = explainer.logits(burst())[list(Category).index(Category.FIRE)]
    assert heat.sum() == pytest.approx(logit, rel=0.01)


class Fronted(Listener):  # type: ignore[misc]
    """As networks that came from elsewhere: bands made anew in front, one-sided paddings."""

    def __init__(self) -> None:
        super().__init__()
        self.front = torch.nn.Parameter(torch.eye(80)[::2] * 0.6 + torch.eye(80)[1::2] * 0.4)
        self.body[2].padding = (0, 0)
        torch.nn.init.constant_(self.body[2].bias, -0.4)

    def forward(self, values):
        hidden = self.body[1](self.body[0](self.front @ values))
        padded = torch.nn.functional.pad(hidden, (0, 1, 0, 1))
        return self.head(self.body[3](self.body[2](padded)).mean(dim=(2, 3)))


@pytest.mark.parametrize("method", ["gradcam", "lrp"])
def test_a_network_with_a_front_and_one_sided_paddings_is_explained(
    method: Method, tmp_path: Path
) -> None:
    export_onnx(Fronted().eval(), tmp_path / "model.onnx", frames=FRAMES)  # type: ignore[arg-type]
    found = Explainer.load(tmp_path / "model.onnx", FRAMES)
    answer = found.explain(burst(), Category.FIRE, method)
    assert answer.warm[BANDS, TIMES].sum() > 0.6 * answer.warm.sum()
    if method == "lrp":
        logit = found.logits(burst())[list(Category).index(Category.FIRE)]
        assert answer.heat.sum() == pytest.approx(logit, rel=0.01)


@pytest.mark.parametrize("name", ["shipped", "s0", "mobile"])
@pytest.mark.models
def test_relevance_is_conserved_by_real_networks(name: str, tmp_path: Path) -> None:
    path = bundled_dir() / "cnn" / "model.onnx"
    if name != "shipped":
        path = tmp_path / "model.onnx"
        model = networks.network("s0" if name == "s0" else "mobile")
        torch.manual_seed(1)
        for layer in model.modules():
            if isinstance(layer, torch.nn.Conv2d):  # so that sound reaches the last layer
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                torch.nn.init.normal_(layer.bias, 0.0, 0.1)
        export_onnx(model, path, frames=500)
        store_int8(path)
    found = Explainer.load(path, 500)
    mel = np.random.default_rng(3).normal(0.0, 0.4, (80, 500)).astype(np.float32)
    logits = found.logits(mel)
    category = list(Category)[int(logits.argmax())]
    heat = found.explain(mel, category, "lrp").heat
    assert heat.sum() == pytest.approx(float(logits.max()), rel=0.01)


def test_explaining_leaves_the_network_as_it_was(explainer: Explainer) -> None:
    mel = torch.from_numpy(burst()[None, None])
    before = explainer.network(mel)
    for method in METHODS:
        explainer.explain(burst(), Category.FIRE, method)
    torch.testing.assert_close(explainer.network(mel), before, rtol=0.0, atol=0.0)


@pytest.mark.models
def test_the_network_that_is_explained_answers_as_the_one_that_votes() -> None:
    found = Explainer.load(bundled_dir() / "cnn" / "model.onnx", FRAMES)
    explained = found.network(torch.from_numpy(burst()[None, None]))[0]
    np.testing.assert_allclose(explained.detach().numpy(), found.logits(burst()), atol=1e-4)


@pytest.mark.parametrize("method", ["gradcam", "lrp"])
@pytest.mark.models
def test_random_weights_change_the_maps(method: Method) -> None:
    found = Explainer.load(bundled_dir() / "cnn" / "model.onnx", 500)
    sound = read_sound(read_scene().recording)
    pairs = [
        (log_mel(sound[start_s * 16_000 : (start_s + 5) * 16_000]), Category.FIRE)
        for start_s in (14, 63, 87)
    ]
    correlation = randomised(found, pairs, method)
    assert correlation[0] == 1.0
    assert abs(correlation[-1]) < 0.5


def test_hiding_the_hottest_cells_first_costs_most(explainer: Explainer) -> None:
    found = curves(explainer, [(burst(), Category.FIRE)], "occlusion")
    assert found["deletion"].area < found["random deletion"].area
    assert found["insertion"].area > found["random insertion"].area
