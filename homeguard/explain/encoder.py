"""When the encoder voter heard it: heat over time, from the shipped encoder and head.

The encoder runs in CTranslate2, which has no gradients: occlusion hides sound from the whole voter,
Grad-CAM and attention look at what the head makes of the encoding (every frame of which has seen
the whole window, so they say where the head reads, not where the sound is).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from homeguard.domain import Float32, ModelError
from homeguard.explain.attribution import Attribution
from homeguard.explain.layers import Attention
from homeguard.explain.network import load_network
from homeguard.labels import Category
from homeguard.runtime import ort_session
from homeguard.voting.occlusion import occlusion, over_time
from homeguard.voting.whisper import Whisper

EncoderMethod = Literal["occlusion", "gradcam", "attention"]
ENCODER_METHODS: tuple[EncoderMethod, ...] = get_args(EncoderMethod)
_CATEGORIES = tuple(Category)


class EncoderExplainer:
    """Explains the encoder voter: a Whisper and its head."""

    def __init__(self, whisper: Whisper, head: Path) -> None:
        self._whisper = whisper
        self._head = head
        self._session = ort_session(head)

    def logits(self, log_mel: Float32) -> Float32:
        """The head's 19 logits for a log-mel (n_mels, frames)."""
        encoding = self._whisper.encode(log_mel).array[None]
        (logits,) = self._session.run(["logits"], {"encoding": encoding})
        return np.asarray(logits[0], dtype=np.float32)

    def explain(self, log_mel: Float32, category: Category, method: EncoderMethod) -> Attribution:
        """Heat over time, (1, frames), for the logit of `category`. Raises ModelError."""
        target = _CATEGORIES.index(category)
        began = time.perf_counter()
        if method == "occlusion":
            patch = over_time(log_mel.shape[0])
            heat = occlusion(lambda mel: float(self.logits(mel)[target]), log_mel, patch)[:1]
        else:
            heat = self._of_encoding(log_mel, target, method)
        return Attribution(method, heat, time.perf_counter() - began)

    def _of_encoding(self, log_mel: Float32, target: int, method: EncoderMethod) -> Float32:
        encoding = torch.tensor(self._whisper.encode(log_mel).array[None]).requires_grad_()
        network = load_network(self._head, encoding.shape[1])
        attention: list[Tensor] = []
        hooks = [
            layer.register_forward_hook(lambda _m, _i, output: attention.append(output))
            for layer in network.modules()
            if isinstance(layer, Attention)
        ]
        try:
            logit = network(encoding)[0, target]
        finally:
            for hook in hooks:
                hook.remove()
        if method == "attention":
            if not attention:
                message = f"{self._head}: this head has no attention; use occlusion or gradcam"
                raise ModelError(message)
            coarse = attention[0][0].detach().mean(dim=-1)
        else:
            (slope,) = torch.autograd.grad(logit, encoding)
            # As in Grad-CAM: channels weighted by their mean gradient over the frames.
            coarse = torch.relu((encoding * slope.mean(dim=1, keepdim=True)).sum(dim=2))[0].detach()
        frames = log_mel.shape[1]
        at = (np.arange(len(coarse)) + 0.5) * frames / len(coarse) - 0.5
        fine = np.interp(np.arange(frames), at, coarse.numpy())
        return fine[None].astype(np.float32)
