"""One CTranslate2 Whisper: an encoding is made once and read by the head and by the decoder.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import homeguard.runtime  # noqa: F401 - before the native libraries

# isort: split

import ctranslate2
import numpy as np
from tokenizers import Tokenizer

from homeguard.config import Language
from homeguard.domain import Encoding, Float32, ModelError
from homeguard.mel import FRAMES_PER_SECOND, log_mel

LANGUAGES: tuple[Language, ...] = ("ko", "en")
_START = "<|startoftranscript|>"
_BROKEN = "\N{REPLACEMENT CHARACTER}"  # bytes that make no letter: nobody said them
_PUBLISHED_FRAMES = 3000  # 30 s, where a model does not say how much it takes


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """An encoder pass: `array` (n_frames, d_model) float32, read-only, is `storage`'s memory."""

    array: Float32
    storage: object


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the decoder wrote."""

    text: str
    language: Language
    tokens: tuple[int, ...]
    mean_logprob: float  # natural logarithm, per token
    no_speech: float  # the model's own probability that nobody spoke


class Whisper:
    """A Whisper of any size in a CTranslate2 directory, int8 on the CPU. Thread-safe."""

    def __init__(self, directory: Path, threads: int = 1, workers: int = 1) -> None:
        """Load it; `workers` calls run side by side, with `threads` each, on the same weights.

        Raises ModelError for a directory that holds no usable Whisper.
        """
        try:
            self._model: Any = ctranslate2.models.Whisper(
                str(directory),
                device="cpu",
                compute_type="int8",
                intra_threads=threads,
                inter_threads=workers,
            )
            self._tokenizer: Any = Tokenizer.from_file(str(directory / "tokenizer.json"))
        except Exception as exc:  # ctranslate2 and tokenizers raise what they like
            message = f"{directory} holds no Whisper that CTranslate2 can load: {exc}"
            raise ModelError(message) from exc
        self.n_mels: int = self._model.n_mels
        self.max_frames = _max_frames(directory)
        self._prompts = {language: self._prompt(language) for language in LANGUAGES}

    @property
    def max_s(self) -> float:
        """The longest sound it takes."""
        return self.max_frames / FRAMES_PER_SECOND

    def hear(self, samples: Float32) -> Encoding:
        """Encode mono float32 samples at 16 kHz, shape (n,)."""
        return self.encode(log_mel(samples, self.n_mels))

    def encode(self, mel: Float32) -> Encoding:
        """One encoder pass over a log-mel (n_mels, n_frames); gives (ceil(n_frames / 2), d_model).

        Raises ValueError for a shape that it does not take.
        """
        n_mels, n_frames = mel.shape
        if n_mels != self.n_mels or not 0 < n_frames <= self.max_frames:
            message = f"mel {mel.shape}: takes {self.n_mels} bands, 1 to {self.max_frames} frames"
            raise ValueError(message)
        if (n_frames + 1) // 2 == n_mels:
            # CTranslate2's decoder takes an encoding of n_mels frames for a mel: other words, no
            # error.
            message = f"mel of {n_frames} frames: its encoding would be taken for a mel; pad it"
            raise ValueError(message)
        view = ctranslate2.StorageView.from_array(np.array(mel[None]))  # takes no read-only array
        storage = self._model.encode(view, to_cpu=True)
        array = np.asarray(storage)[0]
        array.flags.writeable = False
        return Encoded(array, storage)

    def decode(
        self,
        encoding: Encoding,
        language: Literal["auto", "ko", "en"] = "auto",
        *,
        beam_size: int = 1,
        max_tokens: int = 96,
    ) -> Decoded:
        """Write down what was said in an encoding; `auto` chooses between Korean and English."""
        if language != "auto":
            return self._decode(encoding, language, beam_size, max_tokens)
        if self._model.is_multilingual:
            chosen = self._detect(encoding)
            return self._decode(encoding, chosen, beam_size, max_tokens)
        # CTranslate2 detects languages by the size of the published vocabularies only: a small
        # model writes in both, the likelier stays.
        both = [self._decode(encoding, each, beam_size, max_tokens) for each in LANGUAGES]
        return max(both, key=lambda decoded: decoded.mean_logprob)

    def align(self, encoding: Encoding, decoded: Decoded) -> tuple[float, ...]:
        """When each token of what was decoded begins, in seconds of the encoded sound.

        By the decoder's attention to the sound (dynamic time warping, as in Whisper's word
        timestamps). Raises what CTranslate2 raises for a model without alignment heads.
        """
        frames = encoding.array.shape[0]
        (result,) = self._model.align(
            encoding.storage,
            self._prompts[decoded.language],
            [list(decoded.tokens)],
            [frames],
            median_filter_width=7,
        )
        begins = [frames] * len(decoded.tokens)
        for token, frame in result.alignments:
            if token < len(begins):
                begins[token] = min(begins[token], frame)
        return tuple(2 * begin / FRAMES_PER_SECOND for begin in begins)

    def words(self, encoding: Encoding, decoded: Decoded) -> tuple[tuple[str, float], ...]:
        """The words of what was decoded, each with the second at which it begins."""
        begins = self.align(encoding, decoded)
        begun: list[str] = []
        starts_s: list[float] = []
        for index, begin_s in enumerate(begins, start=1):
            # A word begins with its first byte, though that is no letter yet.
            begun = self._written(decoded.tokens[:index]).split()
            starts_s = [*starts_s, *[begin_s] * (len(begun) - len(starts_s))][: len(begun)]
        words = [(word.replace(_BROKEN, ""), s) for word, s in zip(begun, starts_s, strict=True)]
        return tuple((word, start_s) for word, start_s in words if word)

    def _detect(self, encoding: Encoding) -> Language:
        found = dict(self._model.detect_language(encoding.storage)[0])
        return max(LANGUAGES, key=lambda language: float(found.get(f"<|{language}|>", 0.0)))

    def _decode(
        self, encoding: Encoding, language: Language, beam_size: int, max_tokens: int
    ) -> Decoded:
        prompt = self._prompts[language]
        (result,) = self._model.generate(
            encoding.storage,
            [prompt],
            beam_size=beam_size,
            max_length=len(prompt) + max_tokens,
            return_scores=True,
            return_no_speech_prob=True,
        )
        tokens = tuple(result.sequences_ids[0])
        return Decoded(
            text=self._written(tokens).replace(_BROKEN, "").strip(),
            language=language,
            tokens=tokens,
            mean_logprob=float(result.scores[0]) * len(tokens) / (len(tokens) + 1),
            no_speech=float(result.no_speech_prob),
        )

    def _written(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text

    def _prompt(self, language: Language) -> list[int]:
        names = (_START, f"<|{language}|>", "<|transcribe|>", "<|notimestamps|>")
        ids = [self._tokenizer.token_to_id(name) for name in names]
        known = [number for number in ids if number is not None]
        if ids[0] is None or ids[-1] is None:
            message = f"tokenizer.json lacks {_START} or <|notimestamps|>: not Whisper's"
            raise ModelError(message)
        return known


def _max_frames(directory: Path) -> int:
    path = directory / "preprocessor_config.json"
    if not path.is_file():
        return _PUBLISHED_FRAMES
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        return int(settings.get("nb_max_frames") or _PUBLISHED_FRAMES)
    except (ValueError, AttributeError) as exc:
        message = f"{path} is not the settings of a Whisper: {exc}"
        raise ModelError(message) from exc
