"""What a trained CNN leaves: ONNX, checked against torch, its figures on val, a record.

The weights go out in eight bits, the paddings folded (`shrink`); the record says what decided them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from homeguard.mel import N_MELS, Float32
from homeguard.training.corpus import file_name
from homeguard.training.metrics import auc, emergency_margin, is_emergency
from homeguard.training.networks import CompactCnn, MobileCnn, S0Cnn, parameters
from homeguard.training.pool import Windows
from homeguard.training.shrink import fold_pads, store_int8

Network: TypeAlias = S0Cnn | CompactCnn | MobileCnn


@dataclass(frozen=True, slots=True)
class CnnResult:
    """What a run gave; also in training.json beside the model."""

    model: Path
    parameters: int
    val_auc_clean: float
    val_auc_mixed: float
    val_accuracy: float
    export_difference: float  # largest, between the ONNX and the torch logits, before rounding
    seconds: float


def deliver(model: Network, out: Path, held_out: Windows, started: float) -> CnnResult:
    """Export a model into `out` and judge it; `started` is when its training began (monotonic)."""
    path = out / "model.onnx"
    difference = export_onnx(model, path, frames=held_out.mels.shape[2])
    store_int8(path)
    scores = judge(_logits(model, held_out.mels), held_out)
    return CnnResult(
        path,
        parameters(model),
        scores["auc_clean"],
        scores["auc_mixed"],
        scores["accuracy"],
        difference,
        round(time.monotonic() - started, 1),
    )


def judge(logits: Float32, held_out: Windows) -> dict[str, float]:
    """AUC of the windows as they are and in a home, accuracy, and what an epoch is chosen by."""
    positive, margin = is_emergency(held_out.labels), emergency_margin(logits)
    clean, mixed = ~held_out.mixed, held_out.mixed
    found = {
        "auc_clean": auc(margin[clean], positive[clean]),
        "auc_mixed": auc(margin[mixed], positive[mixed]),
        "accuracy": float((logits.argmax(axis=1) == held_out.labels).mean()),
    }
    # What an epoch is chosen by: both AUCs, and a little of the categories.
    found["score"] = found["auc_clean"] + found["auc_mixed"] + 0.25 * found["accuracy"]
    return found


def write_record(out: Path, record: Mapping[str, object]) -> None:
    """Write training.json beside the model, without the folders of whoever ran it."""
    text = json.dumps(record, indent=1, default=file_name, ensure_ascii=False)
    (out / "training.json").write_text(text + "\n", encoding="utf-8")


def export_onnx(model: Network, path: Path, frames: int) -> float:
    """Write the model as ONNX with free length; gives the largest difference of its logits.

    Takes input `log_mel` (1, 1, 80, t), gives `logits` (1, 19). The difference is measured on
    random mels of one window's and twice that length.
    """
    model = model.eval().float().to(memory_format=torch.contiguous_format)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, N_MELS, frames),),
        str(path),
        input_names=["log_mel"],
        output_names=["logits"],
        dynamic_axes={"log_mel": {3: "frames"}},
        opset_version=17,
        dynamo=False,  # the scripted exporter keeps the length free without guards
    )
    fold_pads(path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    difference = 0.0
    for length in (frames, 2 * frames):
        mel = torch.randn(1, 1, N_MELS, length, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            expected = model(mel).numpy()
        (given,) = session.run(["logits"], {"log_mel": mel.numpy()})
        difference = max(difference, float(np.abs(given - expected).max()))
    return difference


def _logits(model: Network, mels: NDArray[np.float16]) -> Float32:
    model.eval()
    with torch.inference_mode():
        parts = [
            model(torch.from_numpy(mels[start : start + 64, None].astype(np.float32))).numpy()
            for start in range(0, len(mels), 64)
        ]
    return np.concatenate(parts)
