"""Models small enough to be made in a test: real file formats, random weights.

A CTranslate2 Whisper from ctranslate2's own spec classes, an ONNX network written as protobuf by
hand: neither needs torch, transformers or onnx, which the daemon's environment has not.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import WhisperSpec
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE

from homeguard.labels import Category
from homeguard.text import to_jamo

SPECIALS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|ko|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz 살려주세요도와불이야")


def tiny_whisper(directory: Path, *, n_mels: int = 80, frames: int = 250, width: int = 16) -> Path:
    """Write a CTranslate2 Whisper of one encoder and one decoder layer into `directory`."""
    rng = np.random.default_rng(7)
    tokens = [*LETTERS, *SPECIALS]
    spec = WhisperSpec(1, 2, 1, 2)
    encoder, decoder = spec.encoder, spec.decoder
    for conv, inputs in ((encoder.conv1, n_mels), (encoder.conv2, width)):
        conv.weight, conv.bias = _normal(rng, width, inputs, 3), _normal(rng, width)
    encoder.position_encodings.encodings = _normal(rng, frames, width)
    decoder.position_encodings.encodings = _normal(rng, 448, width)
    decoder.embeddings.weight = _normal(rng, len(tokens), width)
    decoder.projection.weight = _normal(rng, len(tokens), width)
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
                    _linear(rng, linear, size, width)
            _norm(layer.ffn.layer_norm, width)
            _linear(rng, layer.ffn.linear_0, 2 * width, width)
            _linear(rng, layer.ffn.linear_1, width, 2 * width)
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], [0]
    spec.config.lang_ids = [tokens.index("<|en|>"), tokens.index("<|ko|>")]
    spec.config.alignment_heads = [[0, 0]]
    spec.register_vocabulary(tokens)
    spec.validate()
    spec.optimize(quantization="int8")
    directory.mkdir(parents=True, exist_ok=True)
    spec.save(str(directory))
    _tokenizer(tokens).save(str(directory / "tokenizer.json"))
    settings = {"feature_size": n_mels, "nb_max_frames": 2 * frames, "sampling_rate": 16_000}
    (directory / "preprocessor_config.json").write_text(json.dumps(settings))
    return directory


def tiny_onnx(path: Path, name: str, shape: tuple[int | None, ...], axes: tuple[int, ...]) -> Path:
    """Write a network that means its input over `axes` and projects the rest to 19 logits.

    `shape` is the input's, None where it is free; what is left after `axes` is (1, width).
    """
    rng = np.random.default_rng(11)
    (width,) = [n for i, n in enumerate(shape) if i not in axes and i > 0 and n is not None]
    weight = rng.normal(size=(width, len(Category))).astype(np.float32)
    graph = b"".join(
        (
            _field(1, _node("ReduceMean", (name, "axes"), "pooled", keepdims=0)),
            _field(1, _node("MatMul", ("pooled", "weight"), "logits")),
            _field(2, b"g"),
            _field(5, _tensor("axes", np.asarray(axes, dtype=np.int64), 7)),
            _field(5, _tensor("weight", weight, 1)),
            _field(11, _value(name, shape)),
            _field(12, _value("logits", (1, len(Category)))),
        )
    )
    model = _number(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _number(2, 18))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model)
    return path


def tiny_set(root: Path) -> Path:
    """A whole models directory: Whisper, head, CNN, text classifier and their manifest."""
    tiny_whisper(root / "whisper-home")
    tiny_onnx(root / "encoder-head/model.onnx", "encoding", (1, None, 16), (1,))
    tiny_onnx(root / "cnn/model.onnx", "log_mel", (1, 1, 80, None), (1, 3))
    (root / "text").mkdir(exist_ok=True)
    (root / "text/model.json").write_text(json.dumps(tiny_text()))
    models = {
        "whisper-home": _entry(root, "whisper", "whisper-home"),
        "encoder-head": _entry(root, "head", "encoder-head"),
        "cnn": _entry(root, "cnn", "cnn"),
        "text": _entry(root, "text", "text"),
    }
    write_manifest(root, models)
    return root


def write_manifest(root: Path, models: dict[str, Any]) -> None:
    """Write `models` as the manifest of `root`, with one set of all of them."""
    chosen = {"whisper": "whisper-home", "head": "encoder-head", "cnn": "cnn", "text": "text"}
    manifest = {"version": 1, "default_set": "full", "sets": {"full": chosen}, "models": models}
    (root / "manifest.json").write_text(json.dumps(manifest))


def tiny_text() -> dict[str, Any]:
    """A text classifier that knows one word of distress."""
    return {
        "labels": ["normal", "help_request", "fire"],
        "sizes": [3],
        "ngrams": {to_jamo("사람")[:3]: [-2.0, 2.0, 0.0], "help": [0.0, 0.0, 0.0]},
        "bias": [1.0, 0.0, 0.0],
    }


def _entry(root: Path, kind: str, folder: str) -> dict[str, Any]:
    files = sorted(path for path in (root / folder).rglob("*") if path.is_file())
    labels = [category.value for category in Category]
    return {
        "kind": kind,
        "licence": "CC0-1.0",
        "commercial_use": True,
        "files": {
            path.relative_to(root).as_posix(): {
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "bytes": path.stat().st_size,
            }
            for path in files
        },
        "labels": labels if kind in {"head", "cnn"} else [],
        "mel": {"sample_rate": 16_000, "n_fft": 400, "hop_length": 160, "n_mels": 80},
        "window_s": 5.0,
        "data": "random",
    }


def _tokenizer(tokens: list[str]) -> Tokenizer:
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], unk_token=None))
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in SPECIALS])
    return tokenizer


def _normal(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return (rng.normal(size=shape) * 0.5).astype(np.float32)


def _norm(layer: Any, width: int) -> None:
    layer.gamma, layer.beta = np.ones(width, np.float32), np.zeros(width, np.float32)


def _linear(rng: np.random.Generator, layer: Any, outputs: int, inputs: int) -> None:
    layer.weight, layer.bias = _normal(rng, outputs, inputs), _normal(rng, outputs)


# Just enough of protobuf's wire format (varint 0, length-delimited 2) for onnx.proto.


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _node(kind: str, inputs: tuple[str, ...], output: str, **attributes: int) -> bytes:
    node = b"".join(_field(1, name.encode()) for name in inputs) + _field(2, output.encode())
    node += _field(4, kind.encode())
    for name, value in attributes.items():
        node += _field(5, _field(1, name.encode()) + _number(3, value) + _number(20, 2))
    return node


def _tensor(name: str, array: NDArray[Any], kind: int) -> bytes:
    dims = b"".join(_number(1, n) for n in array.shape)
    return dims + _number(2, kind) + _field(8, name.encode()) + _field(9, array.tobytes())


def _value(name: str, shape: tuple[int | None, ...]) -> bytes:
    dims = b"".join(_field(1, _field(2, b"t") if n is None else _number(1, n)) for n in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, 1) + _field(2, dims)))
