"""The symbols the small transcriber writes: jamo, Latin letters and space, then Whisper's specials.

Whisper's own tokenizer has 50,000 symbols, far more than a model of a few million parameters can
learn. The order follows Whisper's: everything before <|endoftext|> is text, timestamps come last.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers

from homeguard.text import from_jamo, to_jamo

UNKNOWN = "\ufffd"
LETTERS: tuple[str, ...] = (
    " ",
    *(chr(c) for c in range(ord("a"), ord("z") + 1)),
    *(chr(c) for c in range(0x1100, 0x1113)),  # initial consonants
    *(chr(c) for c in range(0x1161, 0x1176)),  # vowels
    *(chr(c) for c in range(0x11A8, 0x11C3)),  # final consonants
)
LANGUAGE_TOKENS: dict[str, str] = {"ko": "<|ko|>", "en": "<|en|>"}
END, START = "<|endoftext|>", "<|startoftranscript|>"
TRANSCRIBE, NO_SPEECH, NO_TIMESTAMPS = "<|transcribe|>", "<|nospeech|>", "<|notimestamps|>"
SPECIALS: tuple[str, ...] = (
    *(END, START, *LANGUAGE_TOKENS.values(), "<|translate|>", TRANSCRIBE),
    *("<|startoflm|>", "<|startofprev|>", NO_SPEECH, NO_TIMESTAMPS),
)
TIMESTAMPS = 251  # 0.00 to 5.00 s by 0.02 s; in the vocabulary, never trained
_SYMBOLS: tuple[str, ...] = (*LETTERS, UNKNOWN, *SPECIALS)
_ID: dict[str, int] = {symbol: number for number, symbol in enumerate(_SYMBOLS)}
VOCABULARY_SIZE = len(_SYMBOLS) + TIMESTAMPS


def symbol_id(symbol: str) -> int:
    """The id of one letter or special token; KeyError if there is none."""
    return _ID[symbol]


def text_ids(text: str) -> list[int]:
    """Ids of the text's normal form, letter by letter; characters without a symbol fall out."""
    return [_ID[c] for c in to_jamo(text) if c in _ID]


def text_of(ids: Sequence[int]) -> str:
    """The text of decoded ids, Hangul composed; special tokens fall out."""
    return from_jamo("".join(LETTERS[i] for i in ids if i < len(LETTERS))).strip()


def prompt(language: str) -> list[str]:
    """The tokens a decoder is started with."""
    return [START, LANGUAGE_TOKENS[language], TRANSCRIBE, NO_TIMESTAMPS]


def tokenizer() -> Tokenizer:
    """The letters and specials as a tokenizer that faster-whisper reads as well."""
    # A space before a mark is eaten, so that faster-whisper, which looks for tokens of " -" and the
    # like in order to suppress them, does not find the space itself.
    strange = Regex(r" ?[^ a-z\u1100-\u1112\u1161-\u1175\u11a8-\u11c2]")
    made = Tokenizer(models.BPE(vocab=dict(_ID), merges=[], unk_token=UNKNOWN))
    made.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.NFD(), normalizers.Replace(strange, UNKNOWN)]
    )
    made.decoder = decoders.Fuse()
    made.add_special_tokens(list(SPECIALS))
    return made


def write_tokenizer_config(folder: Path) -> None:
    """Write tokenizer_config.json, what transformers wants beside a tokenizer.json."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": UNKNOWN,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 128,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
