"""What a decoder writes when nobody spoke, and how to tell: each guard names its reason.

Whisper invents text on noise (Koenecke et al., "Careless Whisper", 2024; arXiv:2501.11378): no
single check suffices, so several stand in a row. A cry for help repeats itself too; the checks
against repetition spare it where it is spoken at a human pace.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from importlib import resources

import yaml

from homeguard.config import TranscriptConfig
from homeguard.text import normalise
from homeguard.voting.whisper import Decoded

_REPEATS = 4  # a unit said more often in a row is a loop
_UNIT = 8  # longest unit looked for, in words or tokens
_CRY = 0.8  # share of a text that distress makes up, from which on it is a cry
_HANGUL_PER_S = 12.0  # syllables; fast speech has 7 to 9
_LETTERS_PER_S = 32.0  # fast English has about 20
_START_S = 0.5  # allowance for a stretch that was cut short


class Guards:
    """Says why a decoding is not to be trusted."""

    def __init__(self, config: TranscriptConfig) -> None:
        self._config = config
        self._phantoms = _phantoms()

    def doubt(self, decoded: Decoded, spoken_s: float, distress: float = 0.0) -> str | None:
        """The first reason to doubt a decoding, None where it may be believed.

        Takes the length of the stretch of speech and the share of the text that phrases of
        distress make up. The reason quotes nothing of what was said.
        """
        text = normalise(decoded.text)
        repeats = distress < _CRY and (
            compression(decoded.text) > self._config.max_compression
            or loops(text.split())
            or loops(decoded.tokens)
        )
        doubts = {
            "nothing was written down": not text,
            "probably no speech": decoded.no_speech > self._config.max_no_speech,
            "unlikely words": not decoded.mean_logprob >= self._config.min_logprob,
            "more words than can be said in the time": too_fast(text, spoken_s),
            "words that Whisper makes up from noise": any(p in text for p in self._phantoms),
            "repeats itself": repeats,
        }
        return next((reason for reason, applies in doubts.items() if applies), None)


def compression(text: str) -> float:
    """Bytes of a text by its zlib-compressed bytes, as Whisper's own code measures repetition."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw))


def loops(units: Sequence[object]) -> bool:
    """Whether a run of units comes more than _REPEATS times in a row."""
    for size in range(1, _UNIT + 1):
        run = 0
        for i in range(size, len(units)):
            run = run + 1 if units[i] == units[i - size] else 0
            if run >= size * _REPEATS:
                return True
    return False


def too_fast(text: str, spoken_s: float) -> bool:
    """Whether a normalised text holds more than can be said in `spoken_s`."""
    hangul = sum(1 for c in text if "가" <= c <= "힣")
    others = sum(1 for c in text if c != " ") - hangul
    return hangul / _HANGUL_PER_S + others / _LETTERS_PER_S > spoken_s + _START_S


def _phantoms() -> tuple[str, ...]:
    source = resources.files("homeguard.voting").joinpath("phantoms.yaml")
    return tuple(normalise(line) for line in yaml.safe_load(source.read_text(encoding="utf-8")))
