"""The encoder voter: a small head over the shared encoding names the sound.

Source: University of Seoul system, voter 1: Whisper's encoder with an MLP over the 19 categories.
"""

from __future__ import annotations

from pathlib import Path

from homeguard.domain import Features, Vote
from homeguard.runtime import ort_session
from homeguard.voting.sound import SoundJudge


class EncoderVoter:
    """An ONNX head: "encoding" float32 (1, n_frames, d_model) to "logits" (1, 19)."""

    name = "encoder"

    def __init__(self, path: Path, judge: SoundJudge, threads: int = 1) -> None:
        """Load the head. Raises ModelError."""
        self._session = ort_session(path, threads)
        self._judge = judge

    def vote(self, features: Features) -> Vote:
        """Judge the window by its encoding. Raises InvalidOutput and what the models raise."""
        encoding = features.encode().array[None]
        (logits,) = self._session.run(["logits"], {"encoding": encoding})
        return self._judge.vote(logits)
