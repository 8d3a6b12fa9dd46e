"""The written sentences as a transcriber hears them: spoken by a synthesiser, decoded, kept.

What the text classifier will read was written by a decoder that mishears; this gives it that
decoder's own errors. Voices of val and test are never those of train, as in the speech corpus.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from homeguard.labels import Category
from homeguard.mel import SAMPLE_RATE
from homeguard.text import normalise
from homeguard.training.augment import pad
from homeguard.training.corpus import Split
from homeguard.training.sentences import LANGUAGES, SOURCES, Language, sentences, spoken
from homeguard.training.speech import SpeechError, Voice, draw_voice, render
from homeguard.voting.whisper import Whisper

WINDOW_S = 5.0
_LONGEST_S = 4.7  # of speech, as in the corpus


@dataclass(frozen=True, slots=True)
class HeardOptions:
    """Which transcriber (a CTranslate2 folder), and how many sentences a language it is read."""

    transcriber: Path
    cache: Path
    train: int = 2_000
    held_out: int = 300  # of val, and of test


@dataclass(frozen=True, slots=True)
class Heard:
    """A sentence as written (normal form) and as it was heard."""

    said: str
    text: str
    language: Language
    category: Category


@dataclass(frozen=True, slots=True)
class _Reading:
    said: str
    language: Language
    category: Category
    voice: Voice

    @property
    def key(self) -> str:
        return json.dumps([self.said, self.language, asdict(self.voice)], ensure_ascii=False)


def heard(options: HeardOptions, split: Split) -> tuple[Heard, ...]:
    """Sentences of `split`, as many as asked for, read to the transcriber.

    Those it decoded before come from the cache. Raises SpeechError without a synthesiser and
    ModelError without the model.
    """
    count = options.train if split == "train" else options.held_out
    planned = [r for language in LANGUAGES for r in _planned(language, split, count)]
    known = _decoded(planned, options)
    return tuple(
        Heard(normalise(r.said), known[r.key], r.language, r.category)
        for r in planned
        if known.get(r.key)
    )


def _planned(language: Language, split: Split, count: int) -> Iterator[_Reading]:
    """The sentences with the lowest hashes: few change when patterns are added."""
    found = {
        spoken(s.text, language): s
        for source in SOURCES
        for s in sentences(language, source=source)
        if s.split == split
    }
    for said in sorted(found, key=_hash)[:count]:
        voice = draw_voice(language, split, np.random.default_rng(_hash(said)))
        yield _Reading(said, language, found[said].category, voice)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _decoded(planned: Iterable[_Reading], options: HeardOptions) -> dict[str, str]:
    """What was heard, by reading; empty where nothing sounded or it was too long."""
    weights = options.transcriber / "model.bin"
    digest = hashlib.sha256(weights.read_bytes() if weights.is_file() else b"").hexdigest()
    file = options.cache / f"heard-{digest[:12]}.jsonl"
    known: dict[str, str] = {}
    if file.is_file():
        known.update(json.loads(line) for line in file.read_text("utf-8").splitlines())
    wanted = [r for r in planned if r.key not in known]
    if not wanted:
        return known
    whisper = Whisper(options.transcriber)
    options.cache.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as out:
        for reading in track(
            wanted,
            description="listening",
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        ):
            known[reading.key] = _hear(whisper, reading)
            line = json.dumps([reading.key, known[reading.key]], ensure_ascii=False)
            out.write(line + "\n")
            out.flush()
    return known


def _hear(whisper: Whisper, reading: _Reading) -> str:
    try:
        samples = render(reading.said, reading.language, reading.voice)
    except SpeechError as exc:
        if isinstance(exc.__cause__, FileNotFoundError):
            raise
        return ""
    if not 0 < len(samples) <= _LONGEST_S * SAMPLE_RATE:
        return ""
    encoding = whisper.hear(pad(samples, round(WINDOW_S * SAMPLE_RATE)))
    return normalise(whisper.decode(encoding, reading.language).text)
