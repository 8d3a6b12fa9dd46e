"""The CNN voter: a convolutional network over the log-mel, independent of Whisper.

Source: University of Seoul system, voter 3.
"""

from __future__ import annotations

from pathlib import Path

from homeguard.domain import Features, Vote
from homeguard.runtime import ort_session
from homeguard.voting.sound import SoundJudge


class CnnVoter:
    """An ONNX network: "log_mel" float32 (1, 1, 80, n_frames) to "logits" (1, 19)."""

    name = "cnn"

    def __init__(self, path: Path, judge: SoundJudge, threads: int = 1) -> None:
        """Load the network. Raises ModelError."""
        self._session = ort_session(path, threads)
        self._judge = judge

    def vote(self, features: Features) -> Vote:
        """Judge the window by its log-mel. Raises InvalidOutput and what the model raises."""
        (logits,) = self._session.run(["logits"], {"log_mel": features.log_mel[None, None]})
        return self._judge.vote(logits)
