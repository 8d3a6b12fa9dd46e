"""The sounds that evaluation scenes are made of: all of one split, none of another.

Recordings by their split, spoken sentences by theirs (unheard voices and sentences), and made
sounds whose seeds belong to the split. Emergencies that are made teach; they are reported apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from homeguard.labels import Category
from homeguard.mel import Float32
from homeguard.training.corpus import AudioCache, Clip, Confidence, Split, select
from homeguard.training.sounds import RECIPES, Recipe
from homeguard.training.speech import SpeechCorpus

Origin = Literal["recorded", "spoken", "made"]
Kind = Literal["talk", "music", "appliance", "indoor", "outdoor"]

SPLIT_SEEDS: dict[Split, int] = {"train": 101, "val": 102, "test": 103}
_MUSIC = frozenset({"music", "street_music", "singing", "radio", "melody"})


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A sound that scenes are made of; `load` gives it as float32 (n,) at 16 kHz."""

    name: str
    category: Category
    origin: Origin
    group: str
    load: Callable[[], Float32]

    @property
    def kind(self) -> Kind:
        """Which part of household life it belongs to."""
        if self.name in _MUSIC:
            return "music"
        if self.category is Category.OUTDOOR:
            return "outdoor"
        if self.category is not Category.INDOOR:
            return "appliance"
        return "talk" if self.origin == "spoken" or "speech" in self.name else "indoor"


class Repertoire:
    """All sounds of one split: recordings, spoken sentences, and made ones of fixed seeds."""

    def __init__(
        self,
        split: Split,
        clips: Sequence[Clip],
        audio: AudioCache,
        speech: SpeechCorpus | None = None,
        made_per_recipe: int = 3,
    ) -> None:
        """Low-confidence clips are left out; `speech` adds spoken distress and harmless talk."""
        confidences: tuple[Confidence, ...] = ("high", "medium")
        recorded = [_recorded(c, audio) for c in select(clips, split, confidences)]
        sounds = recorded + [
            _made(recipe, split, number)
            for recipe in RECIPES
            if recipe.in_scenes
            for number in range(made_per_recipe)
        ]
        if speech is not None:
            sounds += _spoken(speech, split)
        self.split = split
        self.emergencies = tuple(s for s in sounds if s.category.is_emergency)
        self._ordinary: dict[Kind, dict[str, list[Sound]]] = defaultdict(lambda: defaultdict(list))
        for sound in sounds:
            if not sound.category.is_emergency:
                # Spoken sentences count as one source among the recorded speakers.
                source = sound.origin if sound.origin == "spoken" else sound.name
                self._ordinary[sound.kind][source].append(sound)

    def ordinary(self, kind: Kind, rng: np.random.Generator) -> Sound | None:
        """A sound of a kind, fine labels by the root of their size; None where there is none."""
        names = self._ordinary.get(kind)
        if not names:
            return None
        weights = np.sqrt([len(members) for members in names.values()])
        drawn = int(rng.choice(len(weights), p=weights / weights.sum()))
        members = list(names.values())[drawn]
        return members[int(rng.integers(len(members)))]


def _recorded(clip: Clip, audio: AudioCache) -> Sound:
    name = clip.event or clip.category.value
    if clip.is_speech and "speech" not in name:
        name = f"{name} speech"
    return Sound(name, clip.category, "recorded", clip.group, partial(audio.samples, clip))


def _made(recipe: Recipe, split: Split, number: int) -> Sound:
    seed = [SPLIT_SEEDS[split], 2, number, *recipe.name.encode()]
    samples = recipe.make(np.random.default_rng(seed)).astype(np.float16)
    name = f"{recipe.name}-{split}-{number}"
    return Sound(recipe.name, recipe.category, "made", name, partial(_widened, samples))


def _widened(samples: NDArray[np.float16]) -> Float32:
    return samples.astype(np.float32)


def _spoken(speech: SpeechCorpus, split: Split) -> list[Sound]:
    return [
        Sound(
            name=f"spoken {utterance.kind} {utterance.language}",
            category=utterance.category,
            origin="spoken",
            group=utterance.said,
            load=partial(speech.samples, utterance),
        )
        for utterance in speech.utterances
        if utterance.split == split
    ]
