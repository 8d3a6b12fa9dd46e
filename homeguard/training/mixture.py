"""The endless stream of batches that the joint model learns from: speech with text, and sounds.

Speech is placed whole and its place is kept, for guided attention. Sounds without a voice teach the
decoder to end at once. Low-confidence labels are left out.
"""

# ruff: noqa: PLR2004  (the numbers are the recipe)
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import ctranslate2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.utils.data import IterableDataset, get_worker_info

from homeguard.labels import NORMALS, Category
from homeguard.mel import SAMPLE_RATE, Float32, log_mel
from homeguard.training import tokens
from homeguard.training.augment import Augmenter, AugmentOptions, mask_mel, simulate_rooms
from homeguard.training.corpus import (
    USABLE_LICENCES,
    AudioCache,
    Clip,
    Licence,
    open_audio,
    read_manifest,
    select,
)
from homeguard.training.sounds import RECIPES
from homeguard.training.speech import Kind, SpeechCorpus, SpeechOptions, Utterance, open_speech
from homeguard.training.vocabulary import Vocabulary

_IGNORED = -100
_LANGUAGE_DOUBT = 0.25  # share of prompts that name the wrong language, so that it stays a hint
_MOST_LETTERS = 120  # and prompt and end: 125 of the decoder's 128 places
_CALM: frozenset[Kind] = frozenset({"words", "harmless"})
_RECORDED_TALK = 0.75  # of the beds in which somebody speaks; the others are synthesised
_TEXT_START = 3  # the place in the decoder's input whose output is the first letter
_FRAME_SAMPLES = SAMPLE_RATE // 50  # one encoder frame: 20 ms
# Somebody may be heard in these, but no words to write down: the decoder is to end at once.
_BABBLE = frozenset(
    {"children_playing", "crowd", "singing", "street_music", "music", "metro_cabin"}
)
# Somebody may be speaking in these: what the decoder should write is unknown.
_VOICED = _BABBLE | {"radio"}
# Under speech whose words are known, these do not add words of their own.
_TUNES = frozenset({"music", "street_music"})
_CATEGORY_INDEX = {category: index for index, category in enumerate(Category)}


@dataclass(frozen=True, slots=True)
class MixtureOptions:
    """What the windows are made of; without a manifest the mixture is all synthetic."""

    cache_dir: Path
    manifest: Path | None = None
    licences: tuple[Licence, ...] = tuple(sorted(USABLE_LICENCES))
    speech: SpeechOptions = field(default_factory=SpeechOptions)
    speech_share: float = 0.6
    real_share: float = 0.17  # of the speech
    kinds: dict[Kind, float] = field(
        default_factory=lambda: {"words": 0.45, "distress": 0.33, "harmless": 0.22}
    )
    made_share: float = 0.35  # of the sounds
    silent_share: float = 0.04  # of the sounds
    made_per_recipe: int = 40
    talk_share: float = 0.5  # of the sounds' beds: talk, television, music
    short_share: float = 0.35  # of the batches after phase 1
    ease: float = 0.5  # share of clear speech after phase 1
    masked: float = 0.5  # share of the sounds whose mel is masked (SpecAugment)
    short_s: float = 2.56  # never 1.6 s, see homeguard.mel's callers: 80 encoder frames
    window_s: float = 5.0
    workers: int = 1
    # Of a CTranslate2 Whisper whose encoder stays as it is: it runs here, at half of torch's cost.
    encoder: Path | None = None


class Example(NamedTuple):
    """One window; `text` None where it is unknown, empty where nobody speaks."""

    samples: Float32
    label: int
    text: str | None
    language: str
    span: tuple[int, int]  # where the speech lies, samples


class Batch(NamedTuple):
    """Tensors of one step; shapes with b windows, n decoder places, m letters."""

    log_mel: Tensor  # (b, 80, frames)
    inputs: Tensor  # (b, n) decoder input ids
    targets: Tensor  # (b, n), -100 without loss
    labels: Tensor  # (b,), -100 unknown
    letters: Tensor  # (b, m) for CTC
    letter_counts: Tensor  # (b,), 0 without text
    speech_frames: Tensor  # (b, 2) first and last encoder frame of the speech
    text_start: int
    encoding: Tensor | None = None  # (b, frames / 2, d_model) where `encoder` is given


class Mixture(IterableDataset[Batch]):
    """Batches for ever; `step` counts them and may be set when training resumes."""

    def __init__(
        self,
        options: MixtureOptions,
        vocabulary: Vocabulary,
        batch_size: int,
        short_steps: int,
        seed: int,
    ) -> None:
        self._options = options
        self._vocabulary = vocabulary
        self._batch_size = batch_size
        self._short_steps = short_steps
        self._seed = seed
        self.step = 0
        self._speech = SpokenPart(options)
        self._sounds = SoundPart(options)

    def __iter__(self) -> Iterator[Batch]:
        encoder = FrozenEncoder(self._options.encoder) if self._options.encoder else None
        number, every = _place()
        self.step += number
        while True:
            rng = np.random.default_rng([self._seed, self.step])
            batch = collate(self._examples(rng), rng, self._vocabulary, self._options.masked)
            yield batch._replace(encoding=encoder(batch.log_mel)) if encoder else batch
            self.step += every

    def _examples(self, rng: np.random.Generator) -> list[Example]:
        chosen = self._options
        if self.step < self._short_steps:
            ease = 1.0 - (1.0 - chosen.ease) * self.step / self._short_steps
            return [
                self._speech.example(chosen.short_s, ease, rng)._replace(label=_IGNORED)
                for _ in range(self._batch_size)
            ]
        window_s = chosen.short_s if rng.random() < chosen.short_share else chosen.window_s
        return [
            self._speech.example(window_s, chosen.ease, rng)
            if rng.random() < chosen.speech_share
            else self._sounds.example(window_s, rng)
            for _ in range(self._batch_size)
        ]


def _place() -> tuple[int, int]:
    """Which of how many processes that make batches this one is: workers, of every DDP rank."""
    worker = get_worker_info()
    number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
    if not (distributed.is_available() and distributed.is_initialized()):
        return number, workers
    return (
        distributed.get_rank() * workers + number,
        distributed.get_world_size() * workers,
    )


class FrozenEncoder:
    """A frozen encoder, as the daemon runs it."""

    def __init__(self, folder: Path) -> None:
        self._model = ctranslate2.models.Whisper(
            str(folder), device="cpu", compute_type="int8", intra_threads=1
        )

    def __call__(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) to (batch, n_frames / 2, d_model)."""
        # One by one: larger batches leave the processor's cache and take longer.
        return torch.cat([self._encoded(mel) for mel in log_mel.split(1)])

    def _encoded(self, log_mel: Tensor) -> Tensor:
        features = ctranslate2.StorageView.from_array(np.ascontiguousarray(log_mel.numpy()))
        return torch.from_numpy(np.array(self._model.encode(features, to_cpu=True)))


class SpokenPart:
    """Windows with speech: synthetic voices and the transcribed real ones."""

    def __init__(self, options: MixtureOptions) -> None:
        self._options = options
        self._corpus: SpeechCorpus = open_speech(options.speech, options.cache_dir, options.workers)
        self._by_kind: dict[Kind, list[Utterance]] = {
            kind: [u for u in self._corpus.utterances if u.split == "train" and u.kind == kind]
            for kind in options.kinds
        }
        clips = _clips(options)
        self._real = [c for c in clips if c.transcript and not any(map(str.isdigit, c.transcript))]
        repeats = Counter(c.transcript for c in self._real)
        weights = np.array([repeats[c.transcript] ** -0.7 for c in self._real])
        self._real_weights = weights / weights.sum() if len(weights) else weights
        self._beds = [
            c for c in clips if c.category in NORMALS and (_is_wordless(c) or c.event in _TUNES)
        ]
        self._audio = open_audio(clips, options.cache_dir) if clips else None
        rooms = simulate_rooms(options.cache_dir)
        self._hard = {s: Augmenter(_speech_augment(s), rooms) for s in _lengths(options)}
        self._easy = {s: Augmenter(_easy_augment(s), rooms) for s in _lengths(options)}

    def example(self, window_s: float, ease: float, rng: np.random.Generator) -> Example:
        """A window of `window_s` with one utterance in it, clear in a share `ease` of the cases."""
        size = round(window_s * SAMPLE_RATE)
        speech, text, language, label = self._draw(size, rng)
        begin = 0 if rng.random() < 0.2 else int(rng.integers(size - len(speech) + 1))
        placed = np.zeros(size, dtype=np.float32)
        placed[begin : begin + len(speech)] = speech
        bed = None
        if self._beds and self._audio is not None:
            bed = self._audio.samples(self._beds[int(rng.integers(len(self._beds)))])
        augmenter = (self._easy if rng.random() < ease else self._hard)[window_s]
        heard = augmenter.window(placed, bed, rng, keep_whole=True)
        return Example(heard, label, text, language, (begin, begin + len(speech)))

    def _draw(self, size: int, rng: np.random.Generator) -> tuple[Float32, str, str, int]:
        while True:
            if self._real and rng.random() < self._options.real_share:
                clip = self._real[int(rng.choice(len(self._real), p=self._real_weights))]
                assert self._audio is not None and clip.transcript  # noqa: PT018, S101 - for the type checker
                found = self._audio.samples(clip), clip.transcript, clip.language or "ko"
                known = clip.confidence != "low"
                label = _CATEGORY_INDEX[clip.category] if known else _IGNORED
            else:
                kinds = self._options.kinds
                kind = list(kinds)[int(rng.choice(len(kinds), p=list(kinds.values())))]
                pool = self._by_kind[kind]
                spoken = pool[int(rng.integers(len(pool)))]
                found = self._corpus.samples(spoken), spoken.text, spoken.language
                label = _CATEGORY_INDEX[spoken.category]
            speech = _at_pace(found[0], rng.uniform(0.87, 1.14))
            if len(speech) <= size and len(tokens.text_ids(found[1])) <= _MOST_LETTERS:
                return speech, found[1], found[2], label


class SoundPart:
    """Windows without transcribed speech: recordings, made sounds, near silence."""

    def __init__(self, options: MixtureOptions) -> None:
        self._options = options
        rng = np.random.default_rng(5)
        self._made = [
            (recipe.category, recipe.make(rng).astype(np.float16))
            for recipe in RECIPES
            for _ in range(options.made_per_recipe)
        ]
        clips = [c for c in _clips(options) if c.confidence != "low"]
        self._clips = [c for c in clips if not c.transcript or c.category not in NORMALS]
        self._audio: AudioCache | None = open_audio(clips, options.cache_dir) if clips else None
        self._clip_weights = _drawing_weights([c.category for c in self._clips], 0.55)
        self._made_weights = _drawing_weights([c for c, _ in self._made], 0.8)
        normal = [c for c in clips if c.category in NORMALS]
        self._beds = [c for c in normal if _is_wordless(c)]
        self._talk = [c for c in normal if not _is_wordless(c)]
        corpus = open_speech(options.speech, options.cache_dir, options.workers)
        machine = [u for u in corpus.utterances if u.split == "train" and u.kind in _CALM]
        self._corpus, self._machine = corpus, machine
        rooms = simulate_rooms(options.cache_dir)
        self._augment = {s: Augmenter(_sound_augment(s), rooms) for s in _lengths(options)}

    def example(self, window_s: float, rng: np.random.Generator) -> Example:
        """A window of `window_s` with one sound in it and the sound's label."""
        augmenter = self._augment[window_s]
        size = round(window_s * SAMPLE_RATE)
        draw = rng.random()
        if draw < self._options.silent_share:
            quiet = rng.standard_normal(size) * 10.0 ** rng.uniform(-5.0, -2.0)
            label = _CATEGORY_INDEX[Category.INDOOR]
            return Example(quiet.astype(np.float32), label, "", "ko", (0, 0))
        made = not self._clips or draw < self._options.silent_share + self._options.made_share
        text = "" if made else None
        if made:
            category, half = self._made[int(rng.choice(len(self._made), p=self._made_weights))]
            sound = half.astype(np.float32)
        else:
            clip = self._clips[int(rng.choice(len(self._clips), p=self._clip_weights))]
            assert self._audio is not None  # noqa: S101  (there are clips)
            category, sound = clip.category, self._audio.samples(clip)
            text = "" if _is_wordless(clip) or clip.event in _BABBLE else None
        bed, talks = self._bed(rng)
        heard = augmenter.window(sound, bed, rng)
        text = None if talks else text
        language = "ko" if rng.random() < 0.5 else "en"
        return Example(heard, _CATEGORY_INDEX[category], text, language, (0, 0))

    def _bed(self, rng: np.random.Generator) -> tuple[Float32 | None, bool]:
        """Ordinary sound to lie under another, and whether somebody may be speaking in it."""
        if rng.random() < self._options.talk_share:
            if self._audio is not None and self._talk and rng.random() < _RECORDED_TALK:
                return self._audio.samples(self._talk[int(rng.integers(len(self._talk)))]), True
            if self._machine:
                spoken = self._machine[int(rng.integers(len(self._machine)))]
                return self._corpus.samples(spoken), True
        if not self._beds or self._audio is None:
            return None, False
        return self._audio.samples(self._beds[int(rng.integers(len(self._beds)))]), False


def collate(
    examples: Sequence[Example],
    rng: np.random.Generator,
    vocabulary: Vocabulary,
    masked: float = 0.0,
) -> Batch:
    """The windows as tensors; the shapes are those of `Batch`.

    A share `masked` of the windows without speech have stretches of their mel masked.
    """
    rows = [_decoder_row(example, rng, vocabulary) for example in examples]
    places = max(len(inputs) for inputs, _ in rows)
    letters = [tokens.text_ids(example.text or "") for example in examples]
    mels = [
        mask_mel(mel, rng) if not example.text and rng.random() < masked else mel
        for example, mel in ((e, log_mel(e.samples)) for e in examples)
    ]
    return Batch(
        log_mel=torch.from_numpy(np.stack(mels)),
        inputs=_padded([inputs for inputs, _ in rows], places, vocabulary.symbol(tokens.END)),
        targets=_padded([targets for _, targets in rows], places, _IGNORED),
        labels=torch.tensor([e.label for e in examples]),
        letters=_padded(letters, max(1, *(len(ids) for ids in letters)), 0),
        letter_counts=torch.tensor([len(ids) for ids in letters]),
        speech_frames=torch.tensor([e.span for e in examples]) // _FRAME_SAMPLES,
        text_start=_TEXT_START,
    )


def _decoder_row(
    example: Example, rng: np.random.Generator, vocabulary: Vocabulary
) -> tuple[list[int], list[int]]:
    """Decoder inputs and targets of one window."""
    named = example.language
    if rng.random() < _LANGUAGE_DOUBT:
        named = "en" if named == "ko" else "ko"
    begin = vocabulary.prompt(named)
    if example.text is None:
        return begin, [_IGNORED] * len(begin)
    written = vocabulary.ids(example.text)
    spoken = tokens.LANGUAGE_TOKENS[example.language] if written else tokens.NO_SPEECH
    # The language and the task that follow the start are given, not guessed.
    targets = [vocabulary.symbol(spoken), _IGNORED, _IGNORED, *written]
    return begin + written, [*targets, vocabulary.symbol(tokens.END)]


def _padded(rows: Sequence[Sequence[int]], length: int, filler: int) -> Tensor:
    return torch.tensor([[*row, *([filler] * (length - len(row)))] for row in rows])


def _clips(options: MixtureOptions) -> tuple[Clip, ...]:
    if options.manifest is None:
        return ()
    return select(read_manifest(options.manifest, options.licences), split="train")


def _is_wordless(clip: Clip) -> bool:
    return not clip.is_speech and clip.event not in _VOICED and "speech" not in clip.event


def _drawing_weights(categories: Sequence[Category], power: float) -> NDArray[np.float64]:
    counts = Counter(categories)
    weights = np.array([counts[c] ** -power for c in categories], dtype=np.float64)
    return weights / weights.sum() if len(weights) else weights


def _lengths(options: MixtureOptions) -> tuple[float, float]:
    return options.short_s, options.window_s


def _speech_augment(window_s: float) -> AugmentOptions:
    return AugmentOptions(window_s=window_s, clean=0.1, background=0.7, snr_db=(0.0, 25.0))


def _sound_augment(window_s: float) -> AugmentOptions:
    # An emergency in a home is heard over something that plays or talks.
    return AugmentOptions(window_s=window_s, clean=0.15, background=0.8, snr_db=(-5.0, 20.0))


def _easy_augment(window_s: float) -> AugmentOptions:
    hard = _speech_augment(window_s)
    return replace(
        hard, clean=0.4, background=0.3, snr_db=(15.0, 35.0), room=0.1, colour=0.2, low_pass=0.1
    )


def _at_pace(samples: Float32, factor: float) -> Float32:
    """Faster and higher by `factor`, as a tape: another throat and another pace at once."""
    places = np.arange(0.0, len(samples) - 1, factor)
    return np.asarray(np.interp(places, np.arange(len(samples)), samples), dtype=np.float32)
