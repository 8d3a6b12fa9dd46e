"""Whispers of the published shapes with random weights: their cost is known without a download.

They load as any other Whisper does; what they write is noise. Shapes: Radford et al., "Robust
Speech Recognition via Large-Scale Weak Supervision" (2022), table 1.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homeguard import runtime as _runtime  # noqa: F401 - before the native libraries

# isort: split

import numpy as np
from ctranslate2.specs import WhisperSpec
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE

N_MELS = 80
DECODER_POSITIONS = 448
SPREAD = 0.02  # standard deviation of the weights
# Where the published vocabulary has what a prompt is made of.
VOCABULARY = 51_865
SPECIALS = {
    "<|endoftext|>": 50_257,
    "<|startoftranscript|>": 50_258,
    "<|en|>": 50_259,
    "<|ko|>": 50_264,
    "<|translate|>": 50_358,
    "<|transcribe|>": 50_359,
    "<|startoflm|>": 50_360,
    "<|startofprev|>": 50_361,
    "<|nospeech|>": 50_362,
    "<|notimestamps|>": 50_363,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a Whisper is."""

    layers: int  # of the encoder and of the decoder
    heads: int
    d_model: int
    frames: int = 1500  # of the encoder's output at most
    n_mels: int = N_MELS


PUBLISHED = {
    "tiny": Shape(4, 6, 384),
    "base": Shape(6, 8, 512),
    "small": Shape(12, 12, 768),
}


def published_tokens() -> list[str]:
    """As many tokens as the published vocabulary has, the special ones in their places."""
    tokens = [f"t{number}" for number in range(VOCABULARY)]
    for token, number in SPECIALS.items():
        tokens[number] = token
    return tokens


def write_whisper(directory: Path, shape: Shape, tokens: list[str], spread: float = SPREAD) -> Path:
    """Write an int8 CTranslate2 Whisper with random weights, and its tokenizer.

    `tokens` must hold those of SPECIALS. Gives `directory`.
    """
    rng = np.random.default_rng(7)
    spec = WhisperSpec(shape.layers, shape.heads, shape.layers, shape.heads)
    _fill(_Weights(rng, spread), spec, shape, len(tokens))
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [tokens.index("<|endoftext|>")]
    spec.config.lang_ids = [tokens.index("<|en|>"), tokens.index("<|ko|>")]
    spec.config.alignment_heads = [[0, 0]]
    spec.register_vocabulary(tokens)
    spec.validate()
    spec.optimize(quantization="int8")
    directory.mkdir(parents=True, exist_ok=True)
    spec.save(str(directory))
    _tokenizer(tokens).save(str(directory / "tokenizer.json"))
    settings = {
        "feature_size": shape.n_mels,
        "nb_max_frames": 2 * shape.frames,
        "sampling_rate": 16_000,
    }
    (directory / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return directory


@dataclass(frozen=True, slots=True)
class _Weights:
    rng: np.random.Generator
    spread: float

    def normal(self, *shape: int) -> NDArray[np.float32]:
        drawn = self.rng.standard_normal(size=shape, dtype=np.float32)
        return drawn * np.float32(self.spread)

    def linear(self, layer: Any, outputs: int, inputs: int) -> None:  # noqa: ANN401 - untyped library
        layer.weight, layer.bias = self.normal(outputs, inputs), self.normal(outputs)


def _fill(weights: _Weights, spec: Any, shape: Shape, vocabulary: int) -> None:  # noqa: ANN401 - as the library types it
    width, encoder, decoder = shape.d_model, spec.encoder, spec.decoder
    for conv, inputs in ((encoder.conv1, shape.n_mels), (encoder.conv2, width)):
        conv.weight, conv.bias = weights.normal(width, inputs, 3), weights.normal(width)
    encoder.position_encodings.encodings = weights.normal(shape.frames, width)
    decoder.position_encodings.encodings = weights.normal(DECODER_POSITIONS, width)
    decoder.embeddings.weight = weights.normal(vocabulary, width)
    decoder.projection.weight = decoder.embeddings.weight
    for stack in (encoder, decoder):
        _norm(stack.layer_norm, width)
        for layer in stack.layer:
            attentions: list[tuple[Any, tuple[int, ...]]] = [
                (layer.self_attention, (3 * width, width))
            ]
            if stack is decoder:
                attentions.append((layer.attention, (width, 2 * width, width)))
            for attention, sizes in attentions:
                _norm(attention.layer_norm, width)
                for linear, size in zip(attention.linear, sizes, strict=True):
                    weights.linear(linear, size, width)
            _norm(layer.ffn.layer_norm, width)
            weights.linear(layer.ffn.linear_0, 4 * width, width)
            weights.linear(layer.ffn.linear_1, width, 4 * width)


def _norm(layer: Any, width: int) -> None:  # noqa: ANN401 - as the library types it
    layer.gamma, layer.beta = np.ones(width, np.float32), np.zeros(width, np.float32)


def _tokenizer(tokens: list[str]) -> Tokenizer:
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], unk_token=None))
    special = [AddedToken(token, special=True) for token in SPECIALS if token in vocabulary]
    tokenizer.add_special_tokens(special)
    return tokenizer
