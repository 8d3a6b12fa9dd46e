"""What a decoder writes with: the small transcriber's letters, or a published Whisper's own pieces.

A published vocabulary of 50,000 pieces in a hundred languages is cut down to those that Korean and
English need: it is a quarter of a small Whisper's size. The order stays Whisper's: text before
<|endoftext|>, then the specials, timestamps last.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from homeguard.text import from_jamo, normalise
from homeguard.training import tokens
from homeguard.training.sentences import LANGUAGES, SOURCES, sentences, spoken, words

_BYTES = 256
_SPACE = "\u0120"  # how byte-level pieces write a space


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer by the names that training needs; its timestamps are the `size` last ids."""

    tokenizer: Tokenizer
    leading_space: bool  # a published Whisper begins a text with a space

    @property
    def size(self) -> int:
        """Rows of the embedding: the tokenizer's, and the timestamps, which are never trained."""
        return int(self.tokenizer.get_vocab_size()) + tokens.TIMESTAMPS

    def symbol(self, name: str) -> int:
        """The id of a special token; KeyError if there is none."""
        found = self.tokenizer.token_to_id(name)
        if found is None:
            raise KeyError(name)
        return int(found)

    def ids(self, text: str) -> list[int]:
        """Ids of the text's normal form; what has no symbol falls out."""
        plain = normalise(text)
        if not plain:
            return []
        written = f" {plain}" if self.leading_space else plain
        unknown = self.tokenizer.token_to_id(tokens.UNKNOWN)
        encoded = self.tokenizer.encode(written, add_special_tokens=False).ids
        return [int(i) for i in encoded if i != unknown]

    def text(self, ids: Sequence[int]) -> str:
        """The text of decoded ids, Hangul composed; special tokens and timestamps fall out."""
        end = self.symbol(tokens.END)
        return from_jamo(self.tokenizer.decode([i for i in ids if i < end])).strip()

    def prompt(self, language: str) -> list[int]:
        """The ids a decoder is started with."""
        return [self.symbol(name) for name in tokens.prompt(language)]

    def write(self, folder: Path) -> None:
        """Write tokenizer.json and what transformers wants beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        tokens.write_tokenizer_config(folder)


def letters() -> Vocabulary:
    """The small transcriber's: jamo, Latin letters, space."""
    return Vocabulary(tokens.tokenizer(), leading_space=False)


def read(folder: Path) -> Vocabulary:
    """The vocabulary of an exported model's folder."""
    found = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return Vocabulary(found, leading_space=found.token_to_id(_SPACE) is not None)


def published(folder: Path, pieces: int) -> Vocabulary:
    """A published Whisper's vocabulary cut down to about `pieces` pieces of text.

    All bytes stay, so that no text falls out; then the pieces that our Korean and English texts use
    most, each with the pieces it is merged from. What is used most changes with our texts: a run
    keeps the vocabulary that it began with.
    """
    content: dict[str, Any] = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    vocab: dict[str, int] = content["model"]["vocab"]
    merges = [_pair(merge) for merge in content["model"]["merges"]]
    full = Tokenizer.from_file(str(folder / "tokenizer.json"))
    specials = {token["content"]: int(token["id"]) for token in content["added_tokens"]}
    first_special = specials[tokens.END]
    kept = _kept(full, vocab, merges, pieces, first_special)
    text = sorted(kept, key=lambda piece: vocab[piece])
    content["model"]["vocab"] = {piece: number for number, piece in enumerate(text)}
    content["model"]["merges"] = [
        f"{left} {right}" for left, right in merges if {left, right, left + right} <= kept
    ]
    content["added_tokens"], content["post_processor"] = [], None
    for number, name in enumerate(tokens.SPECIALS, start=len(text)):
        content["model"]["vocab"][name] = number
        content["added_tokens"].append(_special(name, number))
    return Vocabulary(Tokenizer.from_str(json.dumps(content)), leading_space=True)


def rows(folder: Path, vocabulary: Vocabulary) -> list[int]:
    """The ids that the rows of a cut vocabulary have in the published one of `folder`."""
    whole = Vocabulary(Tokenizer.from_file(str(folder / "tokenizer.json")), leading_space=True)
    cut = sorted(vocabulary.tokenizer.get_vocab(with_added_tokens=True).items(), key=_number)
    # Newer files say <|nocaptions|> for <|nospeech|>.
    known = whole.tokenizer.get_vocab(with_added_tokens=True)
    old = [known[piece] if piece in known else known["<|nocaptions|>"] for piece, _ in cut]
    first_timestamp = whole.symbol(tokens.NO_TIMESTAMPS) + 1
    return [*old, *range(first_timestamp, first_timestamp + tokens.TIMESTAMPS)]


def _number(item: tuple[str, int]) -> int:
    return item[1]


def _kept(
    full: Tokenizer,
    vocab: dict[str, int],
    merges: Sequence[tuple[str, str]],
    pieces: int,
    first_special: int,
) -> set[str]:
    made_of = {left + right: (left, right) for left, right in merges}
    used: Counter[int] = Counter()
    for text, weight in _texts():
        for number in full.encode(f" {normalise(text)}", add_special_tokens=False).ids:
            used[number] += weight
    by_id = {number: piece for piece, number in vocab.items() if number < first_special}
    kept = {by_id[number] for number in range(_BYTES)}
    for number, _ in used.most_common():
        if len(kept) >= pieces:
            break
        waiting = [by_id[number]]
        while waiting:
            piece = waiting.pop()
            if piece not in kept:
                kept.add(piece)
                waiting += made_of.get(piece, ())
    return kept


def _texts() -> Iterable[tuple[str, int]]:
    """The sentences of train, which count more, and its words of Debian's lists."""
    for language in LANGUAGES:
        for source in SOURCES:
            for sentence in sentences(language, source=source):
                if sentence.split == "train":
                    yield sentence.text, 20
                    yield spoken(sentence.text, language), 20
        for word in words(language, "train"):
            yield word, 1


def _pair(merge: str | list[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _special(name: str, number: int) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": name, **flags, "special": True}
