"""The one normal form of text, shared by lexicon, text classifier and training.

Hangul is handled as conjoining jamo (NFD): a misheard vowel is then one symbol wrong, not a whole
syllable. Standard library only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

# An apostrophe joins ("I've" -> "ive"); every other mark separates.
_JOINING = str.maketrans("", "", "'`\u2018\u2019\u02bc\uff07")
_BOUNDARY = re.compile(r"[\W_]+")


def normalise(text: str) -> str:
    """Compatibility-composed (NFKC), lower-case, without accents or punctuation, single spaces.

    Hangul stays composed, digits stay digits; idempotent.
    """
    folded = unicodedata.normalize("NFKC", text).lower().translate(_JOINING)
    bare = "".join(
        c for c in unicodedata.normalize("NFD", folded) if unicodedata.category(c) != "Mn"
    )
    return _BOUNDARY.sub(" ", unicodedata.normalize("NFC", bare)).strip()


def to_jamo(text: str) -> str:
    """`normalise(text)` with every Hangul syllable taken apart into two or three jamo."""
    return unicodedata.normalize("NFD", normalise(text))


def from_jamo(jamo: str) -> str:
    """Jamo put together to syllables again; jamo that form none stay single."""
    return unicodedata.normalize("NFC", jamo)


def char_ngrams(text: str, sizes: Sequence[int]) -> list[str]:
    """All n-grams of `to_jamo(text)` for every n in `sizes`, one space put before and after it.

    Repeats are kept, in order of size then place; empty text has none.
    """
    jamo = to_jamo(text)
    if not jamo:
        return []
    padded = f" {jamo} "
    return [padded[i : i + n] for n in sizes for i in range(len(padded) - n + 1)]


def features(text: str, sizes: Sequence[int], reach: int) -> list[str]:
    """What the text classifier counts: `char_ngrams`, words ("=불"), and pairs of words.

    Pairs ("불_꺼") are at most `reach` words apart, "^" and "$" are the ends; 0: neither words nor
    pairs. Endings vary in Korean, so a pair takes a word of Hangul by its first two syllables.
    """
    found = char_ngrams(text, sizes)
    words = normalise(text).split()
    if not words or reach < 1:
        return found
    found += [f"={word}" for word in words]
    stems = ["^", *(w[:2] if "가" <= w[0] <= "힣" else w for w in words), "$"]
    for apart in range(1, reach + 1):
        found += [f"{a}_{b}" for a, b in zip(stems, stems[apart:], strict=False)]
    return found


def edit_distance(a: Sequence[object], b: Sequence[object]) -> int:
    """Levenshtein distance: insertions, deletions and substitutions that turn `a` into `b`."""
    if len(a) < len(b):
        a, b = b, a
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            substituted = diagonal + (x != y)
            diagonal = row[j]
            row[j] = min(substituted, diagonal + 1, row[j - 1] + 1)
    return row[-1]


def cer(pairs: Iterable[tuple[str, str]]) -> float:
    """Character error rate of (reference, hypothesis) pairs, pooled over all characters.

    Characters are those of the normal form without spaces, Hangul by syllable, as Korean speech
    recognition is usually scored. Gives nan where the references hold no character.
    """
    errors = length = 0
    for reference, hypothesis in pairs:
        expected = normalise(reference).replace(" ", "")
        errors += edit_distance(expected, normalise(hypothesis).replace(" ", ""))
        length += len(expected)
    return errors / length if length else float("nan")
