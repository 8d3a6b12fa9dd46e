"""How well an exported transcriber hears: CER by kind of speech, distress heard and imagined.

Runs the CTranslate2 model as the daemon does: one encoder pass over a padded window, then a greedy
or beam decode with the timestamps off.
"""

# ruff: noqa: PLR2004  (the numbers are the recipe)
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import ctranslate2
import numpy as np

from homeguard.mel import SAMPLE_RATE, Float32, log_mel
from homeguard.text import cer, to_jamo
from homeguard.training.augment import pad
from homeguard.training.corpus import AudioCache, Clip, Split
from homeguard.training.sentences import LANGUAGES, sentences
from homeguard.training.speech import Kind, SpeechCorpus
from homeguard.training.vocabulary import read

WINDOW_S = 5.0
_NEAR = 0.25  # jamo errors per jamo of a distress phrase up to which a text still holds it


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """What the transcriber is decoded with; `max_tokens` bounds a 5 s window's letters."""

    beam_size: int = 1
    max_tokens: int = 100
    repetition_penalty: float = 1.0


@dataclass(frozen=True, slots=True)
class Heard:
    """A window's text with what tells whether to believe it."""

    text: str
    mean_log_prob: float
    no_speech_probability: float


@dataclass(frozen=True, slots=True)
class SpokenScore:
    """CER of `windows` windows and the share that hold a phrase of distress."""

    windows: int
    cer: float
    exact: float
    distress_heard: float


class Transcriber:
    """A CTranslate2 Whisper on one core."""

    def __init__(self, model_dir: Path, settings: DecodeSettings | None = None) -> None:
        self._model = ctranslate2.models.Whisper(
            str(model_dir), device="cpu", compute_type="int8", intra_threads=1
        )
        self._vocabulary = read(model_dir)
        self._settings = settings or DecodeSettings()

    def encode(self, samples: Float32) -> ctranslate2.StorageView:
        """The encoding of up to 5 s of sound padded to 5 s, (1, 250, d_model)."""
        window = pad(samples, round(WINDOW_S * SAMPLE_RATE))
        features = np.ascontiguousarray(log_mel(window)[None])
        return self._model.encode(ctranslate2.StorageView.from_array(features), to_cpu=True)

    def hear(self, samples: Float32, language: str) -> Heard:
        """What is said in up to 5 s of sound."""
        result = self._model.generate(
            self.encode(samples),
            [self._vocabulary.prompt(language)],
            beam_size=self._settings.beam_size,
            max_length=self._settings.max_tokens,
            repetition_penalty=self._settings.repetition_penalty,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        return Heard(
            text=self._vocabulary.text(result.sequences_ids[0]),
            mean_log_prob=float(result.scores[0]),
            no_speech_probability=float(result.no_speech_prob),
        )


def score(pairs: Sequence[tuple[str, str]]) -> SpokenScore:
    """The score of (said, heard) pairs."""
    return SpokenScore(
        windows=len(pairs),
        cer=cer(pairs),
        exact=float(np.mean([to_jamo(said) == to_jamo(heard) for said, heard in pairs])),
        distress_heard=float(np.mean([holds_distress(heard) for _, heard in pairs])),
    )


@dataclass(slots=True)
class RecogniseReport:
    """Scores by "kind/language"; `silent` is how many wordless windows were given any text."""

    split: Split
    spoken: dict[str, SpokenScore] = field(default_factory=dict)
    wordless: int = 0
    wordless_with_text: float = 0.0
    wordless_with_distress: float = 0.0

    def as_json(self) -> dict[str, object]:
        """Plain values for a result file."""
        return asdict(self)


def measure(
    transcriber: Transcriber,
    corpus: SpeechCorpus,
    split: Split,
    most: int = 100_000,
    clips: Sequence[Clip] = (),
    audio: AudioCache | None = None,
) -> RecogniseReport:
    """Decode the held-out speech of `split`, at most `most` windows a kind and language.

    `clips` are real ones, read by `audio`: transcribed ones of at most 5 s count as kind "real",
    wordless ones show what the decoder imagines.
    """
    pairs: dict[str, list[tuple[str, str]]] = {}
    for spoken in corpus.utterances:
        found = pairs.setdefault(f"{spoken.kind}/{spoken.language}", [])
        if spoken.split == split and len(found) < most:
            heard = transcriber.hear(corpus.samples(spoken), spoken.language)
            found.append((spoken.text, heard.text))
    imagined: list[str] = []
    for clip in clips:
        if clip.split != split or audio is None:
            continue
        samples = audio.samples(clip)
        if clip.transcript and len(samples) <= WINDOW_S * SAMPLE_RATE:
            found = pairs.setdefault(f"real/{clip.language}", [])
            if len(found) < most:
                heard = transcriber.hear(samples, clip.language or "ko")
                found.append((clip.transcript, heard.text))
        elif not clip.is_speech and len(imagined) < 2 * most:
            imagined.append(transcriber.hear(samples[: 5 * SAMPLE_RATE], "ko").text)
    report = RecogniseReport(split)
    report.spoken = {name: score(found) for name, found in sorted(pairs.items()) if found}
    if imagined:
        report.wordless = len(imagined)
        report.wordless_with_text = float(np.mean([bool(text) for text in imagined]))
        report.wordless_with_distress = float(np.mean([holds_distress(t) for t in imagined]))
    return report


def holds_distress(text: str, near: float = _NEAR) -> bool:
    """Whether some stretch of `text` is a core distress phrase with at most `near` jamo wrong."""
    jamo = to_jamo(text).replace(" ", "")
    return any(_nearest(phrase, jamo) <= near * len(phrase) for phrase in _distress_phrases())


@cache
def _distress_phrases() -> tuple[str, ...]:
    return tuple(
        jamo
        for language in LANGUAGES
        for sentence in sentences(language)
        if sentence.is_core and sentence.category.is_emergency
        # Shorter ones ("fire", "help") are part of ordinary words.
        if len(jamo := to_jamo(sentence.text).replace(" ", "")) >= 7
    )


def _nearest(phrase: str, text: str) -> int:
    """Fewest edits that turn `phrase` into some stretch of `text`."""
    row = [0] * (len(text) + 1)
    for i, x in enumerate(phrase, start=1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(text, start=1):
            substituted = diagonal + (x != y)
            diagonal = row[j]
            row[j] = min(substituted, diagonal + 1, row[j - 1] + 1)
    return min(row)


def speech_kinds(report: RecogniseReport, kinds: Iterable[Kind]) -> dict[str, float]:
    """CER by "kind/language" of the kinds asked for."""
    wanted = tuple(f"{kind}/" for kind in kinds)
    return {name: s.cer for name, s in report.spoken.items() if name.startswith(wanted)}
