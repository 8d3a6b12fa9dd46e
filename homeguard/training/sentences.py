"""What the voices of the speech corpus say: written sentences and made-up word sequences.

`phrases/<language>.tsv` holds one pattern a line: category, pattern with {a|b} alternatives and the
mark `core` for what every transcriber must know (always in the training split). A pattern with all
its forms belongs to one split, so that a held-out sentence is no variant of a trained one. Those of
`phrases/<language>.more.tsv` are all of train, so that more of them leave val and test as they are.
Word sequences make the decoder learn sounds and not sentences; their words are split likewise.
Phrases that WordNet quotes do too; they are all of train.
"""

# ruff: noqa: PLR2004  (the numbers are the recipe)
from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from homeguard.labels import Category
from homeguard.text import normalise
from homeguard.training.corpus import Split
from homeguard.training.errors import LabError

Language = Literal["ko", "en"]
Source = Literal["spoken", "read", "more"]
LANGUAGES: tuple[Language, ...] = ("ko", "en")
SOURCES: tuple[Source, ...] = ("spoken", "read", "more")
PHRASES_DIR = Path(__file__).parent / "phrases"
# Of Debian's packages hunspell-ko and wamerican-small.
WORD_LISTS: dict[Language, Path] = {
    "ko": Path("/usr/share/hunspell/ko.dic"),
    "en": Path("/usr/share/dict/american-english-small"),
}
# Of Debian's package wordnet-base: files whose glosses quote how a word is used.
EXAMPLES_DIR = Path("/usr/share/wordnet")

_HELD_OUT_PERCENT: dict[Split, range] = {"val": range(10), "test": range(10, 20)}
_ALTERNATIVES = re.compile(r"\{([^{}]*)\}")
_DIGIT_NAMES: dict[Language, tuple[str, ...]] = {
    "ko": ("공", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구"),
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
}
_KOREAN_WORD = re.compile(r"[가-힣]{1,5}")
_ENGLISH_WORD = re.compile(r"[a-z]{2,12}")
_EXAMPLE = re.compile(r'"([A-Za-z][A-Za-z\', -]{7,56})["!?.;]')
# What follows a Korean word in speech: particles and endings that a word list leaves out.
_KOREAN_TAILS = (
    *("은", "는", "이", "가", "을", "를", "에", "에서", "으로", "로", "도", "만", "까지", "부터"),
    *("한테", "이랑", "하고", "요", "인데", "이에요", "예요", "해요", "했어요", "합니다", "했는데"),
)
_URGENT: dict[Language, tuple[str, ...]] = {
    "ko": ("제발", "아", "아이고", "여기요", "빨리", "어떡해", "저기요"),
    "en": ("please", "oh no", "oh my god", "quick", "hello", "hey", "oh"),
}


class SentenceError(LabError):
    """A phrase file or a word list cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A line to be spoken; `text` keeps digits, `pattern` is the group it was made from."""

    text: str
    language: Language
    category: Category
    split: Split
    pattern: str
    is_core: bool = False


def spoken(text: str, language: Language) -> str:
    """`text` with every digit as its name, as people read 119 or 911 out; else as it is."""
    names = _DIGIT_NAMES[language]
    glue = "" if language == "ko" else " "

    def name(digits: re.Match[str]) -> str:
        return glue.join(names[int(digit)] for digit in digits[0])

    return re.sub(r"\d+", name, text)


def sentences(
    language: Language, folder: Path = PHRASES_DIR, source: Source = "spoken"
) -> tuple[Sentence, ...]:
    """Every form of every pattern of `language`, in file order.

    "spoken" ones make the speech corpus, "read" ones are for the text classifier alone, and so are
    "more": all of train, without what another source holds out. Raises SentenceError for a
    malformed line, naming it.
    """
    file = folder / (f"{language}.tsv" if source == "spoken" else f"{language}.{source}.tsv")
    found: dict[str, Sentence] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        for sentence in _forms(line, language, where=f"{file}:{number}"):
            found.setdefault(sentence.text, sentence)
    if source != "more":
        return tuple(found.values())
    held_out = _held_out(language, folder)
    return tuple(
        replace(s, split="train") for s in found.values() if normalise(s.text) not in held_out
    )


def urgent_form(sentence: Sentence, rng: np.random.Generator) -> str:
    """The sentence as somebody in need says it: alone, repeated, or after an outcry."""
    text, draw = sentence.text, rng.random()
    if draw < 0.5 or len(text) > 24:
        return text
    if draw < 0.75:
        return " ".join([text] * (3 if len(text) < 6 and rng.random() < 0.4 else 2))
    return f"{rng.choice(_URGENT[sentence.language])} {text}"


@cache
def words(language: Language, split: Split) -> tuple[str, ...]:
    """The word list's usable words that belong to `split`; raises SentenceError without a list."""
    path = WORD_LISTS[language]
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        message = f"{path} is missing: apt install hunspell-ko wamerican-small"
        raise SentenceError(message) from exc
    pattern = _KOREAN_WORD if language == "ko" else _ENGLISH_WORD
    candidates = (unicodedata.normalize("NFC", line.partition("/")[0]) for line in lines)
    return tuple(
        dict.fromkeys(w for w in candidates if pattern.fullmatch(w) and split_of(w) == split)
    )


def word_sequence(language: Language, split: Split, count: int, rng: np.random.Generator) -> str:
    """`count` words of the split drawn evenly, joined by spaces."""
    pool = words(language, split)
    return " ".join(pool[i] for i in rng.integers(len(pool), size=count))


def tailed_sequence(split: Split, count: int, rng: np.random.Generator) -> str:
    """As `word_sequence` in Korean, every second word with a particle or an ending."""
    found = word_sequence("ko", split, count, rng).split()
    return " ".join(w + str(rng.choice(_KOREAN_TAILS)) if rng.random() < 0.5 else w for w in found)


@cache
def examples() -> tuple[str, ...]:
    """English phrases that WordNet quotes, of two to ten words, none of which val or test have.

    Raises SentenceError without WordNet's files.
    """
    files = sorted(EXAMPLES_DIR.glob("data.*"))
    if not files:
        message = f"{EXAMPLES_DIR}/data.* is missing: apt install wordnet-base"
        raise SentenceError(message)
    held_out = _held_out("en", PHRASES_DIR)
    quoted = (q for file in files for q in _EXAMPLE.findall(file.read_text(encoding="utf-8")))
    return tuple(
        q
        for q in dict.fromkeys(quoted)
        if 2 <= len(q.split()) <= 10 and normalise(q) not in held_out
    )


def split_of(group: str) -> Split:
    """The split a group falls into by its hash: 80 % train, 10 % val, 10 % test."""
    bucket = int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") % 100
    for split, buckets in _HELD_OUT_PERCENT.items():
        if bucket in buckets:
            return split
    return "train"


@cache
def _held_out(language: Language, folder: Path) -> frozenset[str]:
    """Normal forms of all sentences of val and test."""
    return frozenset(
        normalise(s.text)
        for source in SOURCES
        if source != "more"
        for s in sentences(language, folder, source)
        if s.split != "train"
    )


def _forms(line: str, language: Language, where: str) -> Iterator[Sentence]:
    cells = line.split("\t")
    if len(cells) not in (2, 3) or (len(cells) == 3 and cells[2] != "core"):
        message = f"{where}: expected category, pattern and optionally 'core'"
        raise SentenceError(message)
    slug, pattern = cells[0], cells[1]
    if slug not in list(Category):
        message = f"{where}: category {slug!r} is unknown"
        raise SentenceError(message)
    is_core = len(cells) == 3
    parts = _ALTERNATIVES.split(pattern)
    choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
    for form in itertools.product(*choices):
        yield Sentence(
            text=" ".join("".join(form).split()),
            language=language,
            category=Category(slug),
            split="train" if is_core else split_of(pattern),
            pattern=pattern,
            is_core=is_core,
        )
