"""A published Whisper as a start: read from a CTranslate2 or a transformers folder, cut to our use.

`homeguard models pull base` leaves a CTranslate2 folder; its float16 weights are the published ones
rounded. Eight-bit weights are read too, so that whisper-home as it ships can be trained on. Cut are
the encoder's places beyond the window (they are sinusoids), decoder layers (first and last stay, as
in Gandhi et al. 2023, "Distil-Whisper") and pieces of text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import WhisperConfig, WhisperForConditionalGeneration

from homeguard.training import tokens
from homeguard.training.errors import LabError
from homeguard.training.vocabulary import Vocabulary, published, rows

_HEAD_WIDTH = 64  # channels of an attention head in every published Whisper
_DTYPES: dict[int, type] = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_VERSION = 6


class PublishedError(LabError):
    """The folder holds no Whisper that training can start from; the message says why."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What of a published Whisper is kept."""

    pieces: int = 8_000  # of text in the vocabulary, about
    decoder_layers: int = 2
    window_s: float = 5.0


def load(
    folder: Path, cut: Cut, kept: Vocabulary | None = None
) -> tuple[WhisperForConditionalGeneration, Vocabulary]:
    """The Whisper of `folder`, cut, and what it writes with: `kept`, where a run has begun with it.

    Raises PublishedError.
    """
    vocabulary = kept or published(folder, cut.pieces)
    old = rows(folder, vocabulary)
    if (folder / "model.bin").is_file():
        whole = _from_ctranslate2(folder / "model.bin")
    else:
        whole = WhisperForConditionalGeneration.from_pretrained(folder, local_files_only=True)
    return _cut(whole, cut, old, vocabulary), vocabulary


def _cut(
    whole: WhisperForConditionalGeneration, cut: Cut, old: Sequence[int], vocabulary: Vocabulary
) -> WhisperForConditionalGeneration:
    config = whole.config
    frames, places = round(50 * cut.window_s), 128
    layers = _spread(config.decoder_layers, cut.decoder_layers)
    end = vocabulary.symbol(tokens.END)
    kept = WhisperConfig(
        **{
            **config.to_diff_dict(),
            "vocab_size": vocabulary.size,
            "decoder_layers": len(layers),
            "max_source_positions": frames,
            "max_target_positions": places,
            "pad_token_id": end,
            "bos_token_id": end,
            "eos_token_id": end,
            "decoder_start_token_id": vocabulary.symbol(tokens.START),
            "begin_suppress_tokens": None,
            "suppress_tokens": None,
        },
    )
    model = WhisperForConditionalGeneration(kept)
    state: dict[str, Tensor] = {}
    for name, value in whole.state_dict().items():
        parts = name.split(".")
        if name.startswith("model.decoder.layers."):
            if int(parts[3]) not in layers:
                continue
            parts[3] = str(layers.index(int(parts[3])))
        state[".".join(parts)] = value
    kept_rows = torch.tensor(list(old))
    for name in ("model.decoder.embed_tokens.weight", "proj_out.weight"):
        state[name] = state[name][kept_rows]
    for name, count in (
        ("model.encoder.embed_positions.weight", frames),
        ("model.decoder.embed_positions.weight", places),
    ):
        state[name] = state[name][:count]
    model.load_state_dict(state)
    return model


def _spread(count: int, kept: int) -> list[int]:
    """`kept` of `count` layers, the first and the last among them, evenly apart."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(kept, count))})


def _from_ctranslate2(file: Path) -> WhisperForConditionalGeneration:
    weights = _variables(file)
    width = weights["encoder/conv2/weight"].shape[0]
    vocabulary = weights["decoder/embeddings/weight"].shape[0]
    sides = {side: _layers(weights, side) for side in ("encoder", "decoder")}
    config = WhisperConfig(
        vocab_size=vocabulary,
        num_mel_bins=weights["encoder/conv1/weight"].shape[1],
        d_model=width,
        encoder_layers=sides["encoder"],
        decoder_layers=sides["decoder"],
        encoder_attention_heads=width // _HEAD_WIDTH,
        decoder_attention_heads=width // _HEAD_WIDTH,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        max_source_positions=weights["encoder/position_encodings/encodings"].shape[0],
        max_target_positions=weights["decoder/position_encodings/encodings"].shape[0],
        # The file does not say them, and the whole model is only a step on the way.
        **dict.fromkeys(
            ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0
        ),
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config)
    model.load_state_dict(dict(_renamed(weights, sides)))
    return model


def _layers(weights: dict[str, NDArray[Any]], side: str) -> int:
    numbers = {n.split("/")[1] for n in weights if n.startswith(f"{side}/layer_")}
    return len(numbers - {"layer_norm"})


def _renamed(
    weights: dict[str, NDArray[Any]], sides: dict[str, int]
) -> Iterator[tuple[str, Tensor]]:
    """CTranslate2's variables by transformers' names, fused projections taken apart."""

    def linear(ours: str, theirs: str, names: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
        matrices = np.split(weights[f"{ours}/weight"], len(names))
        biases = np.split(weights[f"{ours}/bias"], len(names))
        for name, matrix, bias in zip(names, matrices, biases, strict=True):
            yield f"{theirs}.{name}.weight", _tensor(matrix)
            if name != "k_proj":  # keys have none
                yield f"{theirs}.{name}.bias", _tensor(bias)

    def norm(ours: str, theirs: str) -> Iterator[tuple[str, Tensor]]:
        yield f"{theirs}.weight", _tensor(weights[f"{ours}/gamma"])
        yield f"{theirs}.bias", _tensor(weights[f"{ours}/beta"])

    for side, count in sides.items():
        for number in range(count):
            ours, theirs = f"{side}/layer_{number}", f"model.{side}.layers.{number}"
            yield from linear(
                f"{ours}/self_attention/linear_0",
                f"{theirs}.self_attn",
                ("q_proj", "k_proj", "v_proj"),
            )
            yield from linear(
                f"{ours}/self_attention/linear_1", f"{theirs}.self_attn", ("out_proj",)
            )
            yield from norm(f"{ours}/self_attention/layer_norm", f"{theirs}.self_attn_layer_norm")
            if side == "decoder":
                crossed = f"{theirs}.encoder_attn"
                yield from linear(f"{ours}/attention/linear_0", crossed, ("q_proj",))
                yield from linear(f"{ours}/attention/linear_1", crossed, ("k_proj", "v_proj"))
                yield from linear(f"{ours}/attention/linear_2", crossed, ("out_proj",))
                yield from norm(f"{ours}/attention/layer_norm", f"{crossed}_layer_norm")
            yield from linear(f"{ours}/ffn/linear_0", theirs, ("fc1",))
            yield from linear(f"{ours}/ffn/linear_1", theirs, ("fc2",))
            yield from norm(f"{ours}/ffn/layer_norm", f"{theirs}.final_layer_norm")
        places = weights[f"{side}/position_encodings/encodings"]
        yield f"model.{side}.embed_positions.weight", _tensor(places)
        yield from norm(f"{side}/layer_norm", f"model.{side}.layer_norm")
    for conv in ("conv1", "conv2"):
        yield f"model.encoder.{conv}.weight", _tensor(weights[f"encoder/{conv}/weight"])
        yield f"model.encoder.{conv}.bias", _tensor(weights[f"encoder/{conv}/bias"])
    embeddings = _tensor(weights["decoder/embeddings/weight"])
    yield "model.decoder.embed_tokens.weight", embeddings
    yield "proj_out.weight", embeddings


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _variables(file: Path) -> dict[str, NDArray[Any]]:
    """Values by name of a CTranslate2 model.bin (version 6); raises PublishedError."""
    found: dict[str, NDArray[Any]] = {}
    with file.open("rb") as stream:
        try:
            (version,) = _unpack(stream, "I")
            name = _text(stream)
            _revision, count = _unpack(stream, "II")
            if version != _VERSION or name != "WhisperSpec":
                message = f"{file} is {name} of version {version}, not WhisperSpec of {_VERSION}"
                raise PublishedError(message)
            for _ in range(count):
                label = _text(stream)
                (rank,) = _unpack(stream, "B")
                shape = _unpack(stream, "I" * rank)
                kind, size = _unpack(stream, "BI")
                values: NDArray[Any] = np.frombuffer(stream.read(size), dtype=_DTYPES[kind])
                found[label] = values.reshape(shape)
            # Equal variables are stored once and named twice.
            (count,) = _unpack(stream, "I")
            for _ in range(count):
                alias, label = _text(stream), _text(stream)
                found[alias] = found[label]
        except (struct.error, KeyError, ValueError, UnicodeDecodeError) as exc:
            message = f"{file} is no CTranslate2 model that can be read here: {exc}"
            raise PublishedError(message) from exc
    return _widened(found)


def _widened(found: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Eight-bit weights as float32: each row has a scale that it was multiplied by."""
    for label in [label for label in found if label.endswith("_scale")]:
        scale, name = found.pop(label), label.removesuffix("_scale")
        if name in found:
            rows_first = scale.reshape(-1, *[1] * (found[name].ndim - 1))
            found[name] = found[name].astype(np.float32) / rows_first
    return found


def _text(stream: BinaryIO) -> str:
    (length,) = _unpack(stream, "H")
    return stream.read(length)[:-1].decode()


def _unpack(stream: BinaryIO, layout: str) -> tuple[int, ...]:
    layout = f"<{layout}"
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))
