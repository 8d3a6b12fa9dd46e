"""What the CNN looked at: Grad-CAM, LRP, LIME and occlusion over one log-mel, by captum.

Each gives a heat map over the mel, (80, frames), positive where a cell speaks for the category.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import LRP, LayerGradCam, Lime, Occlusion
from onnxruntime import InferenceSession
from torch import Tensor

from homeguard.domain import Float32
from homeguard.explain.network import Network, load_network
from homeguard.explain.relevance import attach_rules
from homeguard.labels import Category
from homeguard.runtime import ort_session
from homeguard.voting.occlusion import Patch, quiet

Method = Literal["gradcam", "lrp", "lime", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)
_CATEGORIES = tuple(Category)


@dataclass(frozen=True, slots=True)
class Effort:
    """How finely the methods look that ask the network again and again."""

    patch: Patch = field(default_factory=Patch)
    segment_bands: int = 10
    segment_frames: int = 25
    lime_samples: int = 800
    batch: int = 32
    seed: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """One method's answer."""

    method: str
    heat: Float32  # (80, frames): positive speaks for the category, negative against it
    seconds: float

    @property
    def warm(self) -> Float32:
        """What speaks for the category, scaled to 0..1; all 0 where nothing does."""
        positive = np.maximum(self.heat, 0.0)
        peak = float(positive.max(initial=0.0))
        return (positive / peak if peak > 0.0 else positive).astype(np.float32)


class Explainer:
    """Explains one network for mels of one length. Not for several threads at once."""

    def __init__(
        self,
        network: Network,
        frames: int,
        effort: Effort | None = None,
        session: InferenceSession | None = None,
    ) -> None:
        """`session`: the same network, where its answer alone is asked for; about twice as fast."""
        self.network = network
        self.frames = frames
        self._effort = effort or Effort()
        self._session = session
        self._grid: tuple[Float32, Float32] | None = None

    @classmethod
    def load(cls, path: Path, frames: int, effort: Effort | None = None) -> Explainer:
        """From an ONNX file "log_mel" to "logits". Raises ModelError."""
        return cls(load_network(path, frames), frames, effort, ort_session(path))

    def logits(self, log_mel: Float32) -> Float32:
        """The network's 19 logits."""
        result: Float32 = self._answer(_tensor(log_mel))[0].numpy()
        return result

    def explain(self, log_mel: Float32, category: Category, method: Method) -> Attribution:
        """The map of one method for the logit of `category`, over a log-mel (80, frames)."""
        target = _CATEGORIES.index(category)
        means: dict[Method, Callable[[Tensor, int], Tensor]] = {
            "gradcam": self._gradcam,
            "lrp": self._lrp,
            "lime": self._lime,
            "occlusion": self._occlusion,
        }
        began = time.perf_counter()
        heat = means[method](_tensor(log_mel), target)
        seconds = time.perf_counter() - began
        return Attribution(method, heat.detach().numpy().astype(np.float32), seconds)

    def _gradcam(self, values: Tensor, target: int) -> Tensor:
        """ReLU of the top feature maps weighted by their mean gradients, laid over the mel."""
        cam = LayerGradCam(self.network, self.network.top)
        coarse = cam.attribute(values.requires_grad_(), target, relu_attributions=True)
        bands, frames = self.grid()
        return torch.from_numpy(_laid_over(coarse[0, 0].detach().numpy(), bands, frames, values))

    def _lrp(self, values: Tensor, target: int) -> Tensor:
        """Relevance of every cell; all of them together are the logit."""
        attach_rules(self.network)
        relevance: Tensor = LRP(self.network).attribute(values.requires_grad_(), target)
        return relevance[0, 0]

    def _lime(self, values: Tensor, target: int) -> Tensor:
        """Weights of a linear model over segments of the mel, hidden at random."""
        effort = self._effort
        torch.manual_seed(effort.seed)
        lime = Lime(self._score(target), interpretable_model=SkLearnRidge(alpha=1.0))
        weights: Tensor = lime.attribute(
            values,
            baselines=quiet(values[0, 0].numpy()),
            feature_mask=_segments(values, effort.segment_bands, effort.segment_frames),
            n_samples=effort.lime_samples,
            perturbations_per_eval=effort.batch,
        )
        return weights[0, 0]

    def _occlusion(self, values: Tensor, target: int) -> Tensor:
        """How far the logit falls when a patch around the cell is hidden."""
        patch = self._effort.patch
        falls: Tensor = Occlusion(self._score(target)).attribute(
            values,
            (1, patch.bands, patch.frames),
            strides=(1, patch.band_step, patch.frame_step),
            baselines=quiet(values[0, 0].numpy()),
            perturbations_per_eval=self._effort.batch,
        )
        return falls[0, 0]

    def _score(self, target: int) -> Callable[[Tensor], Tensor]:
        def score(batch: Tensor) -> Tensor:
            return self._answer(batch)[:, target]

        return score

    def _answer(self, batch: Tensor) -> Tensor:
        """Logits (batch, 19) of log-mels (batch, 1, 80, frames)."""
        if self._session is not None:
            # One by one: the shipped graph takes a single window.
            mels = batch.numpy()
            given = [self._session.run(None, {"log_mel": mel[None]})[0] for mel in mels]
            return torch.from_numpy(np.concatenate(given))
        with torch.no_grad():
            answer: Tensor = self.network(batch)
        return answer

    def grid(self) -> tuple[Float32, Float32]:
        """The band and the frame on which each row and column of the top feature maps is centred.

        Taken from the network itself (the centre of what a cell hears), because strides and
        paddings shift the cells, and a front may bend the bands. Weights are taken without their
        signs and biases, so that no cell is deaf.
        """
        if self._grid is None:
            open_network = copy.deepcopy(self.network)
            for layer in open_network.weighted:
                layer.weight.data = layer.weight.data.abs()
                if layer.bias is not None:
                    layer.bias.data = torch.zeros_like(layer.bias)
            noise = torch.ones((1, 1, 80, self.frames)).requires_grad_()
            maps = _top_maps(open_network, noise)
            centres = []
            for axis in (2, 3):
                positions = torch.arange(noise.shape[axis], dtype=torch.float32)
                found = []
                for index in range(maps.shape[axis]):
                    row = maps.select(axis, index).sum()
                    (slope,) = torch.autograd.grad(row, noise, retain_graph=True)
                    weight = slope.abs().sum(dim=[d for d in range(4) if d != axis])
                    total = float(weight.sum())
                    centre = float((weight * positions).sum()) / total if total else np.nan
                    found.append(centre)
                centres.append(_rising(np.array(found), noise.shape[axis]))
            self._grid = (centres[0], centres[1])
        return self._grid


def _top_maps(network: Network, values: Tensor) -> Tensor:
    kept: list[Tensor] = []
    hook = network.top.register_forward_hook(lambda _m, _i, output: kept.append(output))
    try:
        network(values)
    finally:
        hook.remove()
    return kept[0]


def _tensor(log_mel: Float32) -> Tensor:
    return torch.from_numpy(np.array(log_mel, dtype=np.float32)[None, None])


def _rising(centres: np.ndarray, length: int) -> Float32:
    """The centres where they tell the cells apart, else the cells' even places.

    In deep networks a cell hears nearly all there is, and its centre is that of the whole.
    """
    step = length / len(centres)
    even = (np.arange(len(centres)) + 0.5) * step - 0.5
    apart = np.isfinite(centres).all() and bool((np.diff(centres) > step / 2).all())
    return (centres if apart else even).astype(np.float32)


def _laid_over(coarse: Float32, bands: Float32, frames: Float32, values: Tensor) -> Float32:
    """A coarse map (rows, columns) brought to the mel's size, straight lines between centres."""
    n_bands, n_frames = values.shape[2:]
    tall = np.stack([np.interp(np.arange(n_bands), bands, column) for column in coarse.T], axis=1)
    wide = [np.interp(np.arange(n_frames), frames, row) for row in tall]
    return np.stack(wide).astype(np.float32)


def _segments(values: Tensor, bands: int, frames: int) -> Tensor:
    """The number of the segment that each cell of the mel belongs to."""
    n_bands, n_frames = values.shape[2:]
    columns = -(-n_frames // frames)
    row = torch.arange(n_bands)[:, None] // bands
    column = torch.arange(n_frames)[None] // frames
    return (row * columns + column)[None, None]
