"""A pool of windows to learn from: mels, labels and what the teacher heard, made once, on disk.

Each window is drawn category first, so that rare emergencies are not drowned; then it is a
recording or, where recordings are few, a synthesised sound; then `augment` puts it in a home.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from homeguard.labels import Category
from homeguard.mel import FRAMES_PER_SECOND, N_MELS, SAMPLE_RATE, Float32, log_mel
from homeguard.training.augment import Augmenter, AugmentOptions, pad
from homeguard.training.corpus import AudioCache, Clip, summary
from homeguard.training.selection import SelectionOptions, select_corpus
from homeguard.training.sounds import RECIPES, babble
from homeguard.training.teacher import EMBEDDING_SIZE, FRAME_SAMPLES, Yamnet

Generator = np.random.Generator

_CATEGORIES = tuple(Category)
_SHARD = 1_000  # windows written and committed at a time


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """What a pool holds."""

    windows: int = 24_000
    seed: int = 1
    emergency_share: float = 0.42
    rarity: float = 0.5  # a category's share grows with its groups to this power
    synthesis_groups: float = 12.0  # so many groups of recordings: half of a category is made
    synthetic_normal: float = 0.12  # share of made sounds in normal categories with recordings
    machine_voice: float = 0.15  # share of indoor windows and backgrounds: synthesised speech
    babble: float = 0.06  # share of backgrounds: several voices at once
    quiet: float = 0.2  # share of events without a background
    selection: SelectionOptions | None = None  # drop what is foreign in recordings (GDS)
    augment: AugmentOptions = field(
        default_factory=lambda: AugmentOptions(clean=0.2, background=1.0, snr_db=(-5.0, 20.0))
    )

    @property
    def frames(self) -> int:
        """Mel frames of a window."""
        return round(self.augment.window_s * FRAMES_PER_SECOND)

    @property
    def teacher_frames(self) -> int:
        """Teacher's frames of a window, one a second."""
        return max(-(-(self.augment.window_samples - FRAME_SAMPLES // 2) // SAMPLE_RATE), 1)


class WindowPool:
    """Windows on disk; `mels` (n, 80, t) float16, `labels` (n,), `embeddings` (n, k, 1024)."""

    def __init__(self, folder: Path) -> None:
        self.mels: NDArray[np.float16] = np.load(folder / "mels.npy", mmap_mode="r")
        self.labels: NDArray[np.int64] = np.load(folder / "labels.npy").astype(np.int64)
        self.embeddings: NDArray[np.float16] = np.load(folder / "embeddings.npy", mmap_mode="r")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Held-out windows: `mels` (n, 80, t) float16, `labels` (n,), `mixed` (n,): with background."""

    mels: NDArray[np.float16]
    labels: NDArray[np.int64]
    mixed: NDArray[np.bool_]


class Drawer:
    """Draws a labelled sound, or a background, from clips, recipes and machine voices."""

    def __init__(
        self,
        options: PoolOptions,
        clips: Sequence[Clip],
        audio: AudioCache,
        machine_voices: Sequence[Float32] = (),
    ) -> None:
        self._options = options
        self._audio = (
            select_corpus(clips, audio, options.selection)[0] if options.selection else audio
        )
        self._machine = machine_voices
        self._speech = [clip for clip in clips if clip.is_speech]
        by_group: dict[Category, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
        for clip in clips:
            by_group[clip.category][clip.group].append(clip)
        self._groups = {
            category: [tuple(group) for group in groups.values()]
            for category, groups in by_group.items()
        }
        self._recipes = {
            category: [recipe for recipe in RECIPES if recipe.category is category]
            for category in Category
        }
        self._shares = self._category_shares()
        names = json.dumps([summary(clips)["sha256"], [recipe.name for recipe in RECIPES]])
        self.fingerprint = f"{names} {len(machine_voices)} voices"

    def event(self, rng: Generator) -> tuple[Float32, Category]:
        """A sound (n,) and its category."""
        category = _CATEGORIES[rng.choice(len(_CATEGORIES), p=self._shares)]
        return self._sound(category, rng), category

    def background(self, rng: Generator) -> Float32:
        """Ordinary household sound to put under an event."""
        normal = np.array([0.0 if c.is_emergency else 1.0 for c in _CATEGORIES]) * self._shares
        if self._speech and rng.random() < self._options.babble:
            voices = [self._audio.samples(self._speech[i]) for i in _some(rng, len(self._speech))]
            return babble(voices, rng)
        return self._sound(_CATEGORIES[rng.choice(len(normal), p=normal / normal.sum())], rng)

    def _sound(self, category: Category, rng: Generator) -> Float32:
        chosen = self._options
        if category is Category.INDOOR and self._machine and rng.random() < chosen.machine_voice:
            return self._machine[int(rng.integers(len(self._machine)))]
        groups, recipes = self._groups.get(category, []), self._recipes[category]
        made = 0.0
        if recipes:
            made = chosen.synthesis_groups / (chosen.synthesis_groups + len(groups))
            made = made if category.is_emergency or not groups else chosen.synthetic_normal
        if rng.random() < made:
            return recipes[int(rng.integers(len(recipes)))].make(rng)
        # Large groups are one source in many pieces: drawn by the root of their size.
        sizes = np.sqrt([len(group) for group in groups])
        group = groups[rng.choice(len(groups), p=sizes / sizes.sum())]
        return self._audio.samples(group[int(rng.integers(len(group)))])

    def _category_shares(self) -> NDArray[np.float64]:
        weights = np.array(
            [
                (len(self._groups.get(c, ())) + 6.0 * len(self._recipes[c])) ** self._options.rarity
                for c in _CATEGORIES
            ]
        )
        dangerous = np.array([c.is_emergency for c in _CATEGORIES])
        share = self._options.emergency_share
        weights[dangerous] *= share / max(weights[dangerous].sum(), 1e-9)
        weights[~dangerous] *= (1.0 - share) / max(weights[~dangerous].sum(), 1e-9)
        return np.asarray(weights / weights.sum(), dtype=np.float64)


def build_pool(
    options: PoolOptions,
    drawer: Drawer,
    rooms: Sequence[Float32],
    teacher: Yamnet | None,
    cache_dir: Path,
) -> WindowPool:
    """The pool of these options and clips, made or continued where it stopped.

    Without a teacher the embeddings are zeros.
    """
    decided_by = [asdict(options), drawer.fingerprint, teacher is not None]
    key = hashlib.sha256(json.dumps(decided_by, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_dir / f"pool-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "pool.json"
    done = json.loads(state.read_text())["shards"] if state.exists() else 0
    arrays = _open_arrays(folder, options, fresh=not done)
    augmenter = Augmenter(options.augment, rooms)
    for shard in track(
        range(done, -(-options.windows // _SHARD)),
        description="making windows",
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    ):
        rng = np.random.default_rng([options.seed, shard])
        for index in range(shard * _SHARD, min((shard + 1) * _SHARD, options.windows)):
            event, category = drawer.event(rng)
            background = None if rng.random() < options.quiet else drawer.background(rng)
            samples = augmenter.window(event, background, rng)
            arrays["mels"][index] = log_mel(samples)
            arrays["labels"][index] = _CATEGORIES.index(category)
            if teacher is not None:
                arrays["embeddings"][index] = teacher.hear(samples)[0][: options.teacher_frames]
        for array in arrays.values():
            array.flush()
        state.write_text(json.dumps({"shards": shard + 1}))
    return WindowPool(folder)


def _open_arrays(
    folder: Path, options: PoolOptions, *, fresh: bool
) -> dict[str, np.memmap[Any, Any]]:
    shapes: dict[str, tuple[type, tuple[int, ...]]] = {
        "mels": (np.float16, (options.windows, N_MELS, options.frames)),
        "labels": (np.int8, (options.windows,)),
        "embeddings": (np.float16, (options.windows, options.teacher_frames, EMBEDDING_SIZE)),
    }
    return {
        name: np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="w+" if fresh else "r+", dtype=kind, shape=shape
        )
        for name, (kind, shape) in shapes.items()
    }


def held_out_windows(
    options: PoolOptions,
    clips: Sequence[Clip],
    audio: AudioCache,
    rooms: Sequence[Float32],
    mixed: int = 3,
    seed: int = 5,
) -> Windows:
    """Of every clip one window as it is (its beginning) and `mixed` in a home; no made events.

    The backgrounds are of the same clips and recipes: give one split only.
    """
    drawer = Drawer(options, clips, audio)
    homely = Augmenter(replace(options.augment, clean=0.0, background=1.0), rooms)
    size = options.augment.window_samples
    mels, labels = [], []
    for index, clip in enumerate(clips):
        rng = np.random.default_rng([seed, index])
        event = audio.samples(clip)
        heard = [pad(event, size)]
        heard += [homely.window(event, drawer.background(rng), rng) for _ in range(mixed)]
        mels += [log_mel(samples).astype(np.float16) for samples in heard]
        labels += [_CATEGORIES.index(clip.category)] * len(heard)
    kinds = np.tile([False] + [True] * mixed, len(clips))
    return Windows(np.stack(mels), np.array(labels, dtype=np.int64), kinds)


def _some(rng: Generator, count: int) -> list[int]:
    return [int(index) for index in rng.integers(count, size=8)]
