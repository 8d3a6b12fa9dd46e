"""YAMNet as a teacher and as a peer: its embeddings and scores of windows.

YAMNet (Google, Apache-2.0; MobileNet v1 trained on AudioSet) hears 0.975 s frames. Its file is
given by the caller; the project learns from it and does not ship it.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from homeguard.mel import SAMPLE_RATE, Float32
from homeguard.training.errors import LabError

FRAME_SAMPLES = 15_600
EMBEDDING_SIZE = 1_024
SCORES = 521


class TeacherError(LabError):
    """The teacher's file cannot be used; the message says why."""


class Yamnet:
    """YAMNet by LiteRT on one thread; not to be shared between threads."""

    def __init__(self, model: Path) -> None:
        self._interpreter = interpreter(model)
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._scores = self._interpreter.get_output_details()[0]["index"]
        self._embedding = next(
            tensor["index"]
            for tensor in self._interpreter.get_tensor_details()
            if "global_average_pooling2d/Mean" in tensor["name"]
            and tuple(tensor["shape"]) == (1, EMBEDDING_SIZE)  # not the indices of that mean
        )

    def hear(self, samples: Float32, hop: int = SAMPLE_RATE) -> tuple[Float32, Float32]:
        """Embeddings (k, 1024) and scores 0..1 (k, 521) of the frames that start every `hop`.

        Samples are mono at 16 kHz; a last frame at least half full is filled with zeros.
        """
        starts = range(0, max(len(samples) - FRAME_SAMPLES // 2, 1), hop)
        embeddings = np.zeros((len(starts), EMBEDDING_SIZE), dtype=np.float32)
        scores = np.zeros((len(starts), SCORES), dtype=np.float32)
        for index, start in enumerate(starts):
            frame = np.zeros(FRAME_SAMPLES, dtype=np.float32)
            part = samples[start : start + FRAME_SAMPLES]
            frame[: len(part)] = part
            self._interpreter.set_tensor(self._input, frame)
            self._interpreter.invoke()
            embeddings[index] = self._interpreter.get_tensor(self._embedding)[0]
            scores[index] = self._interpreter.get_tensor(self._scores)[0]
        return embeddings, scores


def clip_features(scores: Float32) -> Float32:
    """One row for a recording: mean and max over frames of the log scores (k, 521); (1042,)."""
    log_scores = np.log(scores + 1e-4)
    return np.concatenate([log_scores.mean(axis=0), log_scores.max(axis=0)], dtype=np.float32)


def interpreter(model: Path) -> Any:  # noqa: ANN401  (LiteRT ships no types)
    """LiteRT's interpreter of a file on one thread, all its tensors kept. Raises TeacherError."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415  (extra `train`)

    if not model.is_file():
        raise TeacherError(f"{model} is missing: give the path of yamnet.tflite, or none")
    with warnings.catch_warnings():
        # The embedding is no output of the file, so its tensors have to be kept.
        warnings.simplefilter("ignore", UserWarning)
        made = Interpreter(str(model), num_threads=1, experimental_preserve_all_tensors=True)
    made.allocate_tensors()
    return made
