"""The spoken corpus: sentences and word sequences rendered by espeak-ng and flite.

Rendered once into a memory-mapped int16 file with an index beside it. Voices and sentences of val
and test are never among those of train, except that kind "core" speaks the trained distress phrases
with unheard voices: it measures whether a known call for help is understood.
"""

# ruff: noqa: PLR2004  (the numbers are the recipe)
from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from homeguard.labels import Category
from homeguard.mel import SAMPLE_RATE, Float32
from homeguard.text import normalise
from homeguard.training.corpus import SPLITS, Split
from homeguard.training.errors import LabError
from homeguard.training.sentences import (
    LANGUAGES,
    SOURCES,
    Language,
    Sentence,
    examples,
    sentences,
    spoken,
    tailed_sequence,
    urgent_form,
    word_sequence,
)

Kind = Literal["distress", "harmless", "words", "core"]
KINDS: tuple[Kind, ...] = ("distress", "harmless", "words", "core")

# espeak-ng's voice variants that still sound like a person; the list is cut by what a variant's
# name says, nobody listened to all.
_VARIANTS: dict[Split, tuple[str, ...]] = {
    "train": (
        *("", "f1", "f2", "f4", "m1", "m2", "m4", "m5", "m7", "m8", "adam", "Alex", "Alicia"),
        *("Andrea", "Andy", "Annie", "antonio", "belinda", "benjamin", "boris", "caleb", "david"),
        *("Denis", "Diogo", "ed", "edward", "Gene", "grandma", "grandpa", "Henrique", "iven"),
        *("iven2", "iven3", "Jacky", "john", "kaukovalta", "klatt", "klatt3", "Lee", "linda"),
        *("marcelo", "Mario", "max", "Michael", "miguel", "Mike", "norbert", "pablo", "paul"),
        *("pedro", "quincy", "rob", "sandro", "shelby", "steph", "steph2", "Tweaky", "travis"),
        *("victor", "whisper", "zac", "aunty", "croak"),
    ),
    "val": ("f3", "m3", "Hugo", "klatt2", "anika", "edward2"),
    "test": ("f5", "m6", "Marco", "robert", "steph3", "gustave", "Gene2", "klatt4"),
}
_ACCENTS: tuple[str, ...] = (
    *("en-us", "en-us", "en-us", "en-gb", "en-gb", "en-gb-scotland", "en-gb-x-rp"),
    *("en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"),
)
_FLITE: dict[Split, tuple[str, ...]] = {
    "train": ("awb", "rms", "kal16"),
    "val": ("kal",),
    "test": ("slt",),
}
_FLITE_SHARE = 0.2
_QUIET = 0.01  # of the peak: what is trimmed at both ends
_INT16_FULL_SCALE = 32767.0


class SpeechError(LabError):
    """The speech corpus cannot be rendered or read; the message says why."""


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How many renderings of each kind; val and test get `held_out` per kind and language.

    `wide` speaks all that is written for train, that for the text classifier too, and of the words
    half as phrases: English ones of WordNet, Korean words with particles and endings.
    """

    words: int = 20_000
    distress: int = 8_000
    harmless: int = 7_000
    held_out: int = 150
    max_s: float = 4.7
    seed: int = 11
    wide: bool = False


# For a transcriber that knows the narrow one: other sentences, no held-out ones of its own.
WIDE = SpeechOptions(words=34_000, distress=12_000, harmless=14_000, held_out=0, seed=12, wide=True)
HELD_OUT: tuple[Split, ...] = ("val", "test")


@dataclass(frozen=True, slots=True)
class Voice:
    """A synthesiser's voice and how it speaks; `gap` is the pause between words in 10 ms."""

    engine: Literal["espeak-ng", "flite"]
    name: str
    words_per_minute: int
    pitch: int
    gap: int


@dataclass(frozen=True, slots=True)
class Utterance:
    """One rendering: what the synthesiser was given; `start`/`stop` are samples in the corpus."""

    said: str
    language: Language
    category: Category
    kind: Kind
    split: Split
    voice: Voice
    start: int = 0
    stop: int = 0

    @property
    def text(self) -> str:
        """What the decoder should write: the normal form of `said`."""
        return normalise(self.said)


class SpeechCorpus:
    """All renderings with their audio, memory-mapped; made by `open_speech`."""

    def __init__(self, utterances: Sequence[Utterance], samples: NDArray[np.int16]) -> None:
        self.utterances = tuple(utterances)
        self._samples = samples

    def samples(self, utterance: Utterance) -> Float32:
        """Mono float32 at 16 kHz, shape (stop - start,), peak about 0.9."""
        pcm = self._samples[utterance.start : utterance.stop]
        return pcm.astype(np.float32) / np.float32(_INT16_FULL_SCALE)


def open_speech(
    options: SpeechOptions, cache_dir: Path, workers: int = 1, splits: tuple[Split, ...] = SPLITS
) -> SpeechCorpus:
    """The corpus of `options`, its `splits` rendered on the first call; raises SpeechError."""
    asked = json.dumps([asdict(options), splits], sort_keys=True)
    key = hashlib.sha256(asked.encode()).hexdigest()[:12]
    index_file, data_file = (cache_dir / f"speech-{key}.{end}" for end in ("json", "pcm"))
    if not index_file.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        planned = [u for u in plan(options) if u.split in splits]
        _render_all(planned, options.max_s, data_file, index_file, workers)
    rows = json.loads(index_file.read_text(encoding="utf-8"))
    utterances = [_utterance(row) for row in rows]
    return SpeechCorpus(utterances, np.memmap(data_file, dtype=np.int16, mode="r"))


def plan(options: SpeechOptions) -> tuple[Utterance, ...]:
    """What will be spoken by whom, deterministic in the options."""
    rng = np.random.default_rng(options.seed)
    planned: list[Utterance] = []
    for language in LANGUAGES:
        written = sentences(language)
        taught = _all_written(language) if options.wide else written
        share = 0.55 if language == "ko" else 0.45
        counts: dict[Kind, int] = {
            "distress": round(options.distress * share),
            "harmless": round(options.harmless * share),
            "words": round(options.words * share),
        }
        for kind, count in counts.items():
            planned += _planned(kind, count, "train", language, taught, rng, wide=options.wide)
        for split in ("val", "test"):
            for kind in KINDS:
                planned += _planned(kind, options.held_out, split, language, written, rng)
    order = rng.permutation(len(planned))
    return tuple(planned[i] for i in order)


def render(text: str, language: Language, voice: Voice) -> Float32:
    """One text spoken: mono float32 at 16 kHz, quiet ends cut, peak 0.9; empty if nothing sounds.

    Raises SpeechError when the synthesiser is missing or fails.
    """
    if voice.engine == "flite":
        command = ["flite", "-voice", voice.name, "-t", text, "-o", "/dev/stdout"]
        command[3:3] = ["--setf", f"duration_stretch={170 / voice.words_per_minute:.2f}"]
    else:
        command = ["espeak-ng", "-v", voice.name, "-s", str(voice.words_per_minute)]
        command += ["-p", str(voice.pitch), "-g", str(voice.gap), "--stdout", "--", text]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=30)  # noqa: S603 - our own arguments
        samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    except FileNotFoundError as exc:
        message = f"{voice.engine} is missing: apt install espeak-ng flite"
        raise SpeechError(message) from exc
    except (subprocess.SubprocessError, soundfile.LibsndfileError) as exc:
        message = f"{voice.engine} -v {voice.name} failed on {language} {text!r}"
        raise SpeechError(message) from exc
    resampled = np.asarray(soxr.resample(samples, rate, SAMPLE_RATE), dtype=np.float32)
    return _trimmed(resampled)


def _planned(
    kind: Kind,
    count: int,
    split: Split,
    language: Language,
    written: Sequence[Sentence],
    rng: np.random.Generator,
    *,
    wide: bool = False,
) -> Iterator[Utterance]:
    pool = [s for s in written if _is_of(s, kind, split)]
    if kind != "words" and not pool:
        return
    for number in range(count):
        category = Category.INDOOR
        if kind == "words":
            draw = _phrase if wide and rng.random() < 0.5 else word_sequence
            text = draw(language, split, _word_count(language, rng), rng)
        else:
            sentence = pool[number % len(pool)]
            category = sentence.category
            text = sentence.text if kind == "harmless" else urgent_form(sentence, rng)
        voice = draw_voice(language, split, rng)
        yield Utterance(spoken(text, language), language, category, kind, split, voice)


def _is_of(sentence: Sentence, kind: Kind, split: Split) -> bool:
    if kind == "core":
        return sentence.is_core and sentence.category.is_emergency
    return sentence.split == split and sentence.category.is_emergency == (kind == "distress")


def _all_written(language: Language) -> tuple[Sentence, ...]:
    return tuple(s for source in SOURCES for s in sentences(language, source=source))


def _phrase(language: Language, split: Split, count: int, rng: np.random.Generator) -> str:
    if language == "ko":
        return tailed_sequence(split, count, rng)
    quoted = examples()
    return quoted[int(rng.integers(len(quoted)))]


def _word_count(language: Language, rng: np.random.Generator) -> int:
    most = 6 if language == "ko" else 8
    return 1 if rng.random() < 0.25 else int(rng.integers(2, most))


def draw_voice(language: Language, split: Split, rng: np.random.Generator) -> Voice:
    """A voice of `split` with its pace, pitch and pauses."""
    pace = int(np.clip(rng.normal(165, 28), 110, 250))
    if language == "en" and rng.random() < _FLITE_SHARE:
        return Voice("flite", str(rng.choice(_FLITE[split])), pace, 50, 0)
    base = "ko" if language == "ko" else str(rng.choice(_ACCENTS))
    variant = str(rng.choice(_VARIANTS[split]))
    pitch = int(np.clip(rng.normal(50, 18), 5, 95))
    gap = 0 if rng.random() < 0.6 else int(rng.integers(1, 15))
    name = f"{base}+{variant}" if variant else base
    return Voice("espeak-ng", name, pace, pitch, gap)


def _trimmed(samples: Float32) -> Float32:
    peak = float(np.abs(samples).max()) if len(samples) else 0.0
    if peak < 1e-4:
        return np.zeros(0, dtype=np.float32)
    loud = np.flatnonzero(np.abs(samples) > _QUIET * peak)
    margin = SAMPLE_RATE // 50
    cut = samples[max(int(loud[0]) - margin, 0) : int(loud[-1]) + margin]
    return (cut * np.float32(0.9 / peak)).astype(np.float32)


def _render_all(
    planned: Sequence[Utterance], max_s: float, data_file: Path, index_file: Path, workers: int
) -> None:
    def spoken_by(utterance: Utterance) -> Float32:
        return render(utterance.said, utterance.language, utterance.voice)

    rows: list[dict[str, object]] = []
    at = 0
    partial = data_file.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as out, ThreadPoolExecutor(workers) as pool:
        for utterance, samples in zip(
            track(
                planned,
                description="speaking",
                console=Console(stderr=True),
                disable=not sys.stderr.isatty(),
            ),
            pool.map(spoken_by, planned),
            strict=True,
        ):
            if not 0 < len(samples) <= max_s * SAMPLE_RATE:
                continue
            out.write(np.rint(samples * _INT16_FULL_SCALE).astype(np.int16).tobytes())
            rows.append(asdict(replace(utterance, start=at, stop=at + len(samples))))
            at += len(samples)
    partial.replace(data_file)
    # The index comes last: a cache without one is not finished and will be made again.
    index_file.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


def _utterance(row: dict[str, object]) -> Utterance:
    fields = dict(row)
    fields["category"] = Category(str(fields["category"]))
    fields["voice"] = Voice(**fields["voice"])  # type: ignore[arg-type]
    return Utterance(**fields)  # type: ignore[arg-type]
