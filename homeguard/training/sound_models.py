"""The two sound voters as the lab sees them: a window's log-mel in, 19 logits out.

They run on the shipped files (ONNX, CTranslate2), so that what is measured is what is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime

from homeguard.mel import Float32


class SoundModel(Protocol):
    """Something that tells categories from a mel."""

    def logits(self, log_mel: Float32) -> Float32:
        """Logits (19,) of one window's log-mel (80, t)."""
        ...


class CnnModel:
    """The CNN's ONNX file on one thread."""

    def __init__(self, model: Path) -> None:
        self._session = open_onnx(model)

    def logits(self, log_mel: Float32) -> Float32:
        """Logits (19,) of one window's log-mel (80, t)."""
        (logits,) = self._session.run(["logits"], {"log_mel": log_mel[None, None]})
        return np.asarray(logits[0], dtype=np.float32)


class Encoder:
    """A CTranslate2 Whisper's encoder in int8 on one thread."""

    def __init__(self, whisper: Path) -> None:
        import ctranslate2  # noqa: PLC0415  (loads torch where that is installed)

        self._ctranslate2 = ctranslate2
        self._whisper = ctranslate2.models.Whisper(
            str(whisper), device="cpu", compute_type="int8", intra_threads=1
        )

    def encode(self, log_mel: Float32) -> Float32:
        """Encoding (t / 2, d_model) of one window's log-mel (80, t)."""
        mel = np.ascontiguousarray(log_mel[None], dtype=np.float32)
        storage = self._ctranslate2.StorageView.from_array(mel)
        # A copy: the storage behind the array is freed with it.
        return np.array(self._whisper.encode(storage, to_cpu=True), dtype=np.float32)[0]


class EncoderModel:
    """A CTranslate2 Whisper's encoder with a head in ONNX, on one thread."""

    def __init__(self, whisper: Path, head: Path) -> None:
        self._encoder = Encoder(whisper)
        self._head = open_onnx(head)

    def logits(self, log_mel: Float32) -> Float32:
        """Logits (19,) of one window's log-mel (80, t)."""
        encoding = self._encoder.encode(log_mel)[None]
        (logits,) = self._head.run(["logits"], {"encoding": encoding})
        return np.asarray(logits[0], dtype=np.float32)


def open_onnx(model: Path) -> onnxruntime.InferenceSession:
    """A session on one thread of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(
        str(model), sess_options=options, providers=["CPUExecutionProvider"]
    )
