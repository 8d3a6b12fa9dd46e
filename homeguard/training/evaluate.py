"""Clip-level figures of the sound voters on a split, with YAMNet beside them.

A clip is heard as the daemon hears a recording: windows of 5 s every second, a short one padded.
It scores the highest emergency margin of its windows; its category is that of the mean posterior.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from homeguard.labels import Category
from homeguard.mel import SAMPLE_RATE, Float32, log_mel
from homeguard.training.augment import pad
from homeguard.training.corpus import (
    USABLE_LICENCES,
    AudioCache,
    Clip,
    Split,
    file_name,
    open_audio,
    read_manifest,
    select,
    summary,
)
from homeguard.training.metrics import (
    Figures,
    Floats,
    auc,
    emergency_margin,
    figures,
    is_emergency,
    threshold_at,
)
from homeguard.training.sound_models import SoundModel
from homeguard.training.teacher import FRAME_SAMPLES, Yamnet, clip_features

_CATEGORIES = tuple(Category)
_PEER_STRENGTHS = (3e-4, 1e-3, 3e-3, 1e-2)  # of the peer's regularisation, chosen on val


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """One evaluation; `out` is the JSON that is written."""

    manifest: Path
    cache: Path
    out: Path
    split: Split = "test"
    window_s: float = 5.0
    hop_s: float = 1.0
    peer: Path | None = None  # yamnet.tflite


@dataclass(frozen=True, slots=True)
class Heard:
    """What a model made of clips: emergency scores (n,) and categories (n,)."""

    scores: Floats
    categories: NDArray[np.int64]


def evaluate(models: Mapping[str, SoundModel], options: EvaluateOptions) -> dict[str, object]:
    """Figures of each model (and the peer), with and without low-confidence labels, as written.

    Binary accuracy is at the threshold that gives 5 % false alarms on val.
    """
    clips = read_manifest(options.manifest, USABLE_LICENCES)
    audio = open_audio(clips, options.cache)
    chosen = select(clips, options.split)
    val = select(clips, "val", ("high", "medium"))
    found: dict[str, object] = {}
    for name, model in models.items():
        on_val, on_split = (hear(model, part, audio, options) for part in (val, chosen))
        found[name] = _both(on_split, chosen, _threshold(on_val, val))
    if options.peer is not None:
        on_val, on_split = _peer(options.peer, clips, audio, (val, chosen), options)
        found["yamnet_logistic"] = _both(on_split, chosen, _threshold(on_val, val))
    record: dict[str, object] = {
        "options": asdict(options),
        "figures": found,
        "data": summary(chosen),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1, default=file_name, ensure_ascii=False)
    options.out.write_text(text + "\n", encoding="utf-8")
    return record


def hear(
    model: SoundModel, clips: Sequence[Clip], audio: AudioCache, options: EvaluateOptions
) -> Heard:
    """Run a model over all windows of clips."""
    scores, categories = [], []
    for clip in _progress(clips, "listening"):
        logits = np.stack(
            [model.logits(log_mel(window)) for window in windows(audio.samples(clip), options)]
        )
        scores.append(float(emergency_margin(logits).max()))
        posterior = np.exp(logits - logits.max(axis=1, keepdims=True))
        posterior /= posterior.sum(axis=1, keepdims=True)
        categories.append(int(posterior.mean(axis=0).argmax()))
    return Heard(np.array(scores), np.array(categories, dtype=np.int64))


def windows(samples: Float32, options: EvaluateOptions) -> Iterator[Float32]:
    """The windows of a recording; one that is shorter than a window gives one, padded."""
    size, hop = round(options.window_s * SAMPLE_RATE), round(options.hop_s * SAMPLE_RATE)
    for start in range(0, max(len(samples) - size, 0) + 1, hop):
        yield pad(samples[start : start + size], size)


def labels_of(clips: Sequence[Clip]) -> NDArray[np.int64]:
    """Positions of the clips' categories, (n,)."""
    return np.array([_CATEGORIES.index(clip.category) for clip in clips], dtype=np.int64)


def _both(heard: Heard, clips: Sequence[Clip], threshold: float) -> dict[str, object]:
    sure = np.array([clip.confidence != "low" for clip in clips])
    labels = labels_of(clips)
    return {
        "without_low_confidence": asdict(_figures(heard, labels, sure, threshold)),
        "all": asdict(_figures(heard, labels, np.ones_like(sure), threshold)),
        "by_category": _by_category(heard, labels, sure, threshold),
    }


def _figures(
    heard: Heard, labels: NDArray[np.int64], kept: NDArray[np.bool_], threshold: float
) -> Figures:
    return figures(heard.scores[kept], heard.categories[kept], labels[kept], threshold)


def _by_category(
    heard: Heard, labels: NDArray[np.int64], kept: NDArray[np.bool_], threshold: float
) -> dict[str, dict[str, float]]:
    """Share told rightly and share called an emergency, per category that occurs."""
    return {
        _CATEGORIES[label].value: {
            "clips": int((inside := kept & (labels == label)).sum()),
            "told": float((heard.categories[inside] == label).mean()),
            "alarmed": float((heard.scores[inside] > threshold).mean()),
        }
        for label in np.unique(labels[kept])
    }


def _threshold(heard: Heard, clips: Sequence[Clip]) -> float:
    return threshold_at(heard.scores, is_emergency(labels_of(clips)), 0.05)


def _peer(
    peer: Path,
    clips: Sequence[Clip],
    audio: AudioCache,
    parts: tuple[Sequence[Clip], Sequence[Clip]],
    options: EvaluateOptions,
) -> tuple[Heard, Heard]:
    """YAMNet with a logistic regression trained on train and chosen on val."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415  (extra `train`)
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 - loaded only where it is needed
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415 - loaded only where it is needed

    rows = _peer_rows(peer, clips, audio, options.cache)
    train = select(clips, "train", ("high", "medium"))
    val = parts[0]
    positive = is_emergency(labels_of(val))
    best: tuple[float, tuple[Heard, Heard]] | None = None
    for strength in _PEER_STRENGTHS:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
        model.fit(np.stack([rows[str(clip.path)] for clip in train]), labels_of(train))
        heard = []
        for part in parts:
            known = model.predict_log_proba(np.stack([rows[str(clip.path)] for clip in part]))
            logits = np.full((len(part), len(_CATEGORIES)), -30.0, dtype=np.float32)
            logits[:, model.classes_] = known
            heard.append(Heard(emergency_margin(logits), logits.argmax(axis=1)))
        score = auc(heard[0].scores, positive)
        if best is None or score > best[0]:
            best = (score, (heard[0], heard[1]))
    if best is None:
        raise ValueError(_PEER_STRENGTHS)
    return best[1]


def _peer_rows(
    peer: Path, clips: Sequence[Clip], audio: AudioCache, cache: Path
) -> dict[str, Float32]:
    stored = cache / f"yamnet-{summary(clips)['sha256']!s:.16}.npy"
    if not stored.exists():
        yamnet = Yamnet(peer)
        found = [
            clip_features(yamnet.hear(audio.samples(clip), hop=FRAME_SAMPLES // 2)[1])
            for clip in _progress(clips, "the peer listens")
        ]
        np.save(stored, np.stack(found))
    rows = np.load(stored, allow_pickle=False)
    return {str(clip.path): row for clip, row in zip(clips, rows, strict=True)}


def _progress(clips: Sequence[Clip], what: str) -> Iterator[Clip]:
    return iter(
        track(
            clips,
            description=what,
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
    )
