"""The model to beat on the same clips: YAMNet with a head of its own, trained as ours are.

Each recording is one row, the mean and the maximum over YAMNet's frames of its 521 scores;
logistic regression learns the categories on train, its strength is chosen on val.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from homeguard.labels import Category
from homeguard.mel import Float32
from homeguard.training.corpus import AudioCache, Clip, Split, select, summary
from homeguard.training.metrics import (
    Floats,
    auc,
    emergency_margin,
    figures,
    is_emergency,
    threshold_at,
)
from homeguard.training.teacher import FRAME_SAMPLES, Yamnet, clip_features

_CATEGORIES = tuple(Category)
_STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2)  # of the regularisation


@dataclass(frozen=True, slots=True)
class Heard:
    """What the peer makes of clips: emergency scores (n,) and categories (n,)."""

    scores: Floats
    categories: NDArray[np.int64]


def measure(
    yamnet: Path, clips: Sequence[Clip], audio: AudioCache, cache: Path, split: Split
) -> dict[str, object]:
    """Figures of the peer on `split`, with and without low-confidence labels.

    Binary accuracy is at the threshold that gives 5 % false alarms on val. What YAMNet scores is
    kept in `cache`. Raises TeacherError.
    """
    rows = _rows(yamnet, clips, audio, cache)
    train, val = (select(clips, part, ("high", "medium")) for part in ("train", "val"))
    chosen = select(clips, split)
    on_val, heard = _best(rows, train, val, chosen)
    threshold = threshold_at(on_val.scores, is_emergency(_labels(val)), 0.05)
    sure = np.array([clip.confidence != "low" for clip in chosen])
    labels = _labels(chosen)
    return {
        name: asdict(figures(heard.scores[kept], heard.categories[kept], labels[kept], threshold))
        for name, kept in (("without_low_confidence", sure), ("all", np.ones_like(sure)))
    }


def _best(
    rows: Mapping[str, Float32],
    train: Sequence[Clip],
    val: Sequence[Clip],
    chosen: Sequence[Clip],
) -> tuple[Heard, Heard]:
    """Of heads of several strengths the one with the best AUC on val: heard on val and `chosen`."""
    positive = is_emergency(_labels(val))

    def fitted(strength: float) -> tuple[Heard, Heard]:
        head = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
        head.fit(_stacked(rows, train), _labels(train))
        heard = []
        for part in (val, chosen):
            logits = np.full((len(part), len(_CATEGORIES)), -30.0, dtype=np.float32)
            logits[:, head.classes_] = head.predict_log_proba(_stacked(rows, part))
            heard.append(Heard(emergency_margin(logits), logits.argmax(axis=1)))
        return heard[0], heard[1]

    return max(map(fitted, _STRENGTHS), key=lambda heard: auc(heard[0].scores, positive))


def _rows(
    yamnet: Path, clips: Sequence[Clip], audio: AudioCache, cache: Path
) -> dict[str, Float32]:
    stored = cache / f"yamnet-{summary(clips)['sha256']!s:.16}.npy"
    if not stored.exists():
        peer = Yamnet(yamnet)
        watched = track(
            clips,
            description="YAMNet listens",
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        hop = FRAME_SAMPLES // 2
        found = [clip_features(peer.hear(audio.samples(clip), hop)[1]) for clip in watched]
        np.save(stored, np.stack(found))
    kept = np.load(stored, allow_pickle=False)
    return {str(clip.path): row for clip, row in zip(clips, kept, strict=True)}


def _stacked(rows: Mapping[str, Float32], clips: Sequence[Clip]) -> Float32:
    return np.stack([rows[str(clip.path)] for clip in clips])


def _labels(clips: Sequence[Clip]) -> NDArray[np.int64]:
    return np.array([_CATEGORIES.index(clip.category) for clip in clips], dtype=np.int64)
