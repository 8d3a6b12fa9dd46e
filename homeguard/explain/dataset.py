"""The voters explained over a data set: which bands, how much speech, and are the maps true.

Bands: where the CNN's heat lies by category (Chosun University, 2024). Speech: how much of the
encoder's evidence lies in speech (University of Seoul's open question). Sanity: maps must change
when the weights are randomised layer by layer (Adebayo et al., "Sanity Checks for Saliency Maps",
2018). Curves: the probability must fall faster when the hottest cells are hidden first than in a
random order, and rise faster when they are shown first (Petsiuk et al., "RISE", 2018).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from homeguard.capture.gate import Gate
from homeguard.capture.window import Windower
from homeguard.config import Config
from homeguard.domain import BLOCK_SAMPLES, AudioChunk, Float32, Window
from homeguard.explain import dataset_plots
from homeguard.explain.attribution import METHODS, Explainer, Method
from homeguard.explain.study import Models, probability_of, speech_share
from homeguard.explain.truth import Curve, curves, randomised
from homeguard.labels import Category
from homeguard.mel import N_MELS, SAMPLE_RATE, log_mel
from homeguard.training.augment import pad
from homeguard.training.corpus import (
    Clip,
    Split,
    file_name,
    open_audio,
    read_manifest,
    select,
    summary,
)

_CATEGORIES = tuple(Category)
_SANE: tuple[Method, ...] = ("gradcam", "lrp")  # those that read the weights


@dataclass(frozen=True, slots=True)
class DatasetOptions:
    """One run over a data set; everything that decides its result."""

    manifest: Path
    out: Path
    cache: Path
    split: Split = "val"
    per_category: int = 12
    for_truth: int = 8  # windows for sanity checks and curves
    seed: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """The window of a recording that its category is surest in."""

    clip: Clip
    window: Window
    probability: float

    @property
    def log_mel(self) -> Float32:
        """Its log-mel, (80, frames)."""
        return log_mel(self.window.samples)


@dataclass(slots=True)
class _Found:
    """What the run came to."""

    bands: dict[str, list[Float32]] = field(default_factory=lambda: defaultdict(list))
    speech: dict[str, list[dict[str, float]]] = field(default_factory=lambda: defaultdict(list))


def explain_dataset(
    models: Models, options: DatasetOptions, config: Config, console: Console
) -> Path:
    """Write dataset.json and its figures into `options.out`; gives the JSON's path."""
    options.out.mkdir(parents=True, exist_ok=True)
    clips = _few_of_each(
        select(read_manifest(options.manifest), options.split, ("high", "medium")), options
    )
    audio = open_audio(clips, options.cache)
    found = _Found()
    examples: list[Example] = []
    for clip in track(clips, "explaining", console=Console(stderr=True), transient=True):
        example = _surest(models.cnn, clip, audio.samples(clip), config)
        examples.append(example)
        name = clip.category.value
        found.bands[name].append(_heat_by_band(models.cnn, example))
        if example.window.speech:
            found.speech[name].append(_encoder_speech(models, example))
    told = [each for each in examples if _told(models.cnn, each)]
    chosen = _spread(told, options)
    sanity: dict[Method, list[float]] = {
        method: randomised(models.cnn, [(e.log_mel, e.clip.category) for e in chosen], method)
        for method in _SANE
    }
    areas = {
        method: curves(models.cnn, [(e.log_mel, e.clip.category) for e in chosen], method)
        for method in METHODS
    }
    record = _record(options, clips, found, sanity, areas, len(chosen))
    path = options.out / "dataset.json"
    path.write_text(
        json.dumps(record, indent=1, default=file_name, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    dataset_plots.bands(
        options.out / "bands.png", {k: np.mean(v, axis=0) for k, v in found.bands.items()}
    )
    dataset_plots.speech(options.out / "speech.png", record["speech"])
    dataset_plots.sanity(options.out / "sanity.png", sanity)
    dataset_plots.curves(options.out / "curves.png", areas)
    console.print(f"{len(clips)} recordings explained: {path}")
    return path


def _few_of_each(clips: Sequence[Clip], options: DatasetOptions) -> list[Clip]:
    """At most so many of each category, of different groups first, the same ones each time."""
    order = np.random.default_rng(options.seed).permutation(len(clips))
    kept: dict[Category, list[Clip]] = defaultdict(list)
    seen: set[str] = set()
    for fresh in (True, False):
        for index in order:
            clip = clips[index]
            if clip in kept[clip.category] or (fresh and clip.group in seen):
                continue
            if len(kept[clip.category]) < options.per_category:
                kept[clip.category].append(clip)
                seen.add(clip.group)
    return [clip for category in Category for clip in kept[category]]


def _surest(explainer: Explainer, clip: Clip, samples: Float32, config: Config) -> Example:
    """The window in which the CNN finds the recording's own category likeliest."""
    best: Example | None = None
    for window in _windows(samples, config):
        probability = probability_of(explainer.logits(log_mel(window.samples)), clip.category)
        if best is None or probability > best.probability:
            best = Example(clip, window, probability)
    if best is None:
        message = f"{clip.path}: no window of sound"
        raise ValueError(message)
    return best


def _windows(samples: Float32, config: Config) -> Iterator[Window]:
    """The windows of a recording as the daemon cuts them, with the speech its gate confirms."""
    gate, windower = Gate(config.gate), Windower(config.window, config.gate.speech_gap_s)
    sound = pad(samples, max(len(samples), round(config.window.length_s * SAMPLE_RATE)))
    for first in range(0, len(sound), BLOCK_SAMPLES):
        chunk = AudioChunk("", first / SAMPLE_RATE, sound[first : first + BLOCK_SAMPLES])
        yield from windower.push(gate.mark(chunk))
    yield from windower.flush()


def _heat_by_band(explainer: Explainer, example: Example) -> Float32:
    """The share of the LRP heat in each band, (80,)."""
    warm = explainer.explain(example.log_mel, example.clip.category, "lrp").warm.sum(axis=1)
    return (warm / max(float(warm.sum()), 1e-12)).astype(np.float32)


def _encoder_speech(models: Models, example: Example) -> dict[str, float]:
    """How much of the encoder's evidence, by occlusion over time, lies in speech."""
    attribution = models.encoder.explain(example.log_mel, example.clip.category, "occlusion")
    start_s = example.window.start_s
    spans = [
        type(span)(max(span.start_s - start_s, 0.0), span.end_s - start_s)
        for span in example.window.speech
    ]
    return speech_share(attribution, spans)


def _told(explainer: Explainer, example: Example) -> bool:
    logits = explainer.logits(example.log_mel)
    return _CATEGORIES[int(logits.argmax())] is example.clip.category


def _spread(examples: Sequence[Example], options: DatasetOptions) -> list[Example]:
    """So many, the categories taking turns."""
    by_category: dict[Category, list[Example]] = defaultdict(list)
    for example in examples:
        by_category[example.clip.category].append(example)
    turns = max((len(found) for found in by_category.values()), default=0)
    mixed = [found[n] for n in range(turns) for found in by_category.values() if n < len(found)]
    return mixed[: options.for_truth]


def _record(
    options: DatasetOptions,
    clips: Sequence[Clip],
    found: _Found,
    sanity: dict[Method, list[float]],
    areas: dict[Method, dict[str, Curve]],
    windows: int,
) -> dict[str, Any]:
    means = {
        name: {
            "recordings_with_speech": len(shares),
            "heat_in_speech": float(np.mean([share["heat"] for share in shares])),
            "time_in_speech": float(np.mean([share["time"] for share in shares])),
        }
        for name, shares in found.speech.items()
    }
    return {
        "options": asdict(options),
        "data": summary(clips),
        "bands": {
            name: np.mean(rows, axis=0).reshape(N_MELS // 8, 8).sum(axis=1).round(4).tolist()
            for name, rows in found.bands.items()
        },
        "speech": means,
        "truth_windows": windows,
        "sanity_rank_correlation": {name: _rounded(values) for name, values in sanity.items()},
        "curves": {
            method: {name: curve.area for name, curve in pair.items()}
            for method, pair in areas.items()
        },
    }


def _rounded(values: Sequence[float] | NDArray[np.float64]) -> list[float]:
    return [round(float(value), 4) for value in values]
