"""The lines that the text classifier learns from and is measured on.

Written sentences as they are and as they are spoken, sequences of words, real harmless transcripts,
what a transcriber made of sentences, and corrupted copies.
"""

# ruff: noqa: PLR2004  (the numbers are the recipe)
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from homeguard.labels import EMERGENCIES
from homeguard.text import edit_distance, from_jamo, normalise, to_jamo
from homeguard.training.corpus import SPLITS, Split, read_manifest
from homeguard.training.heard import HeardOptions, heard
from homeguard.training.sentences import (
    LANGUAGES,
    SOURCES,
    Language,
    Sentence,
    sentences,
    spoken,
    urgent_form,
    word_sequence,
)
from homeguard.training.tokens import LETTERS

NORMAL = "normal"
LABELS: tuple[str, ...] = (NORMAL, *(c.value for c in EMERGENCIES))

Generator = np.random.Generator
_NEAR = 0.35  # jamo errors by jamo up to which a rendering is learned from


@dataclass(frozen=True, slots=True)
class Line:
    """A text with its label, a position in LABELS."""

    text: str
    label: int
    language: Language


def lines_of(
    split: Split,
    word_sequences: int,
    seed: int,
    harmless: Iterable[str] = (),
    *,
    of_all: bool = False,
) -> list[Line]:
    """The split's sentences as written and as spoken, word sequences, and `harmless` transcripts.

    `of_all` takes the sentences of every split, for a last fit after the measuring.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split)])
    wanted = SPLITS if of_all else (split,)
    found: list[Line] = []
    for language in LANGUAGES:
        for source in SOURCES:
            for sentence in sentences(language, source=source):
                if sentence.split in wanted:
                    found += _forms_of(sentence, rng)
        count = word_sequences if split == "train" else word_sequences // 10
        for _ in range(count):
            text = word_sequence(language, split, int(rng.integers(1, 7)), rng)
            found.append(Line(text, 0, language))
    found += [Line(normalise(t), 0, _language_of(t)) for t in harmless]
    if split == "train" or of_all:
        return list(dict.fromkeys(found))
    # The same words may come out of two patterns of different splits.
    known = {line.text for line in lines_of("train", word_sequences, seed)}
    return [line for line in dict.fromkeys(found) if line.text not in known]


def corrupted(text: str, rate: float, rng: Generator) -> str:
    """The text with about `rate` of its jamo replaced, dropped or doubled, as a decoder errs."""
    kept: list[str] = []
    for symbol in to_jamo(text):
        draw = rng.random() / rate if rate > 0.0 else 1.0
        if draw < 0.6:
            kept.append(_confused(symbol, rng))
        elif draw < 0.85:
            continue
        elif draw < 1.0:
            kept += [symbol, _confused(symbol, rng)]
        else:
            kept.append(symbol)
    return from_jamo("".join(kept))


def written(split: Split, language: Language) -> list[Line]:
    """The sentences of a held-out split as they are written, but for those that train has too."""
    found = {
        normalise(s.text): _label(s)
        for source in SOURCES
        for s in sentences(language, source=source)
        if s.split == split
    }
    known = {
        normalise(s.text)
        for source in SOURCES
        for s in sentences(language, source=source)
        if s.split == "train"
    }
    return [Line(text, label, language) for text, label in found.items() if text not in known]


def heard_lines(options: HeardOptions | None, split: Split) -> list[Line]:
    """What a transcriber made of sentences of `split`; none without `options`.

    To learn from, only what still resembles the sentence: gibberish must not mean an emergency.
    """
    found = heard(options, split) if options else ()
    lines = (
        Line(h.text, LABELS.index(h.category) if h.category.is_emergency else 0, h.language)
        for h in found
        if h.text and (split != "train" or _resembles(h.said, h.text))
    )
    return list(dict.fromkeys(lines))


def transcripts(manifest: Path | None) -> dict[Split, list[str]]:
    """Real harmless transcripts by split, in normal form; those of train in no other."""
    clips = read_manifest(manifest) if manifest else ()
    found: dict[Split, set[str]] = {split: set() for split in SPLITS}
    for clip in clips:
        if clip.transcript:
            found[clip.split].add(normalise(clip.transcript))
    return {split: sorted(texts - found["train"]) for split, texts in found.items()} | {
        "train": sorted(found["train"])
    }


def _forms_of(sentence: Sentence, rng: Generator) -> list[Line]:
    label = _label(sentence)
    texts = {sentence.text, spoken(sentence.text, sentence.language)}
    if label:
        texts |= {urgent_form(sentence, rng) for _ in range(2)}
    return [Line(normalise(text), label, sentence.language) for text in sorted(texts)]


def _language_of(text: str) -> Language:
    return "ko" if any("가" <= c <= "힣" for c in text) else "en"


def _confused(symbol: str, rng: Generator) -> str:
    """Another symbol of the same sort: vowel for vowel, letter for letter."""
    place = LETTERS.index(symbol) if symbol in LETTERS else 0
    # Bounds of tokens.LETTERS: space, Latin, initial, vowel, final.
    for low, high in ((1, 27), (27, 46), (46, 67), (67, 94)):
        if low <= place < high:
            return LETTERS[int(rng.integers(low, high))]
    return symbol


def _resembles(said: str, text: str) -> bool:
    jamo = to_jamo(said)
    return edit_distance(jamo, to_jamo(text)) <= _NEAR * len(jamo)


def _label(sentence: Sentence) -> int:
    return LABELS.index(sentence.category.value) if sentence.category.is_emergency else 0
