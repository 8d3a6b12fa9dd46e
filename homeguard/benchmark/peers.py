"""What it is compared with: YAMNet as Frigate runs it, and the pipeline as first written."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from homeguard.benchmark.rounds import Case
from homeguard.benchmark.sounds import SAMPLE_RATE, machine, speech
from homeguard.domain import ModelError

YAMNET = "YAMNet, one frame"
YAMNET_FRAME_S = 0.975  # Frigate's detector takes frame after frame of so many seconds
NAIVE_S = 30.0


def yamnet(model: Path) -> Case:
    """One frame of a TFLite YAMNet on one thread. Raises ModelError."""
    if not model.is_file():
        message = f"{model}: no such file; --yamnet takes YAMNet's .tflite"
        raise ModelError(message)
    if find_spec("ai_edge_litert") is None:
        message = "--yamnet needs LiteRT: pip install ai-edge-litert (scripts/lab has it)"
        raise ModelError(message)
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - the lab's

    interpreter = Interpreter(str(model), num_threads=1)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    frame = machine()[: round(YAMNET_FRAME_S * SAMPLE_RATE)].reshape(taken["shape"])

    def run() -> object:
        interpreter.set_tensor(taken["index"], frame)
        interpreter.invoke()
        return interpreter.get_tensor(given["index"])

    return Case(YAMNET, run)


def naive_missing() -> str:
    """Why the naive pipeline cannot be run here; empty where it can."""
    missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
    return f"{' and '.join(missing)} not installed (scripts/lab makes that)" if missing else ""


def naive(shape: str, tokens: int) -> Case:
    """A window three times: Whisper's encoder, Whisper whole, a CNN; each 30 s, float32, torch.

    `tokens`: how many the decoder writes. Needs the lab's environment.
    """
    lab: Any = importlib.import_module("homeguard.training.naive")
    judge: Callable[[Any], object] = lab.Naive(shape, tokens).judge
    sound = np.zeros(round(NAIVE_S * SAMPLE_RATE), np.float32)
    window = speech()[: 5 * SAMPLE_RATE]
    sound[: len(window)] = window
    return Case(naive_name(shape), lambda: judge(sound))


def naive_name(shape: str) -> str:
    """What its case is called."""
    return f"naive {shape}: three 30 s passes in torch"
