"""The spoken corpus: who says what, what is held out, what a rendering is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from homeguard.labels import Category
from homeguard.text import normalise
from homeguard.training import sentences as sentences_module
from homeguard.training.sentences import (
    LANGUAGES,
    SOURCES,
    Language,
    SentenceError,
    examples,
    sentences,
    split_of,
    spoken,
    urgent_form,
    word_sequence,
)
from homeguard.training.speech import (
    HELD_OUT,
    WIDE,
    SpeechError,
    SpeechOptions,
    Voice,
    open_speech,
    plan,
    render,
)

SMALL = SpeechOptions(words=20, distress=20, harmless=20, held_out=6)
needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")
needs_words = pytest.mark.skipif(
    not all(path.exists() for path in sentences_module.WORD_LISTS.values()),
    reason="needs hunspell-ko and wamerican-small",
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_emergency_has_sentences(language: Language) -> None:
    found = {s.category for source in SOURCES for s in sentences(language, source=source)}
    assert found == {c for c in Category if c.is_emergency} | {Category.INDOOR}


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_forms_of_a_pattern_share_a_split(language: Language) -> None:
    splits: dict[str, set[str]] = {}
    for sentence in sentences(language):
        splits.setdefault(sentence.pattern, set()).add(sentence.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {s for found in splits.values() for s in found} == {"train", "val", "test"}


def test_core_phrases_are_always_trained() -> None:
    core = [s for s in sentences("ko") if s.is_core]
    assert "살려주세요" in {s.text for s in core}
    assert {s.split for s in core} == {"train"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_added_later_are_of_train_and_hold_no_held_out_one(language: Language) -> None:
    first = [
        s for source in SOURCES if source != "more" for s in sentences(language, source=source)
    ]
    held_out = {normalise(s.text) for s in first if s.split != "train"}
    more = sentences(language, source="more")
    assert {s.split for s in more} == {"train"}
    assert held_out.isdisjoint(normalise(s.text) for s in more)


def test_an_added_sentence_that_is_held_out_is_left_out(tmp_path: Path) -> None:
    lines = [f"indoor\tword{i}" for i in range(40)]
    for name in ("en.tsv", "en.read.tsv", "en.more.tsv"):
        (tmp_path / name).write_text("\n".join([*lines, f"indoor\t{name}"]), encoding="utf-8")
    held_out = {s.text for s in sentences("en", tmp_path) if s.split != "train"}
    more = {s.text for s in sentences("en", tmp_path, "more")}
    assert held_out
    assert more == {"en.more.tsv", *(f"word{i}" for i in range(40))} - held_out


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "ko.tsv").write_text("help_request 살려주세요\n", encoding="utf-8")
    with pytest.raises(SentenceError, match=r"ko\.tsv:1: expected category, pattern"):
        sentences("ko", tmp_path)


def test_an_unknown_category_is_named(tmp_path: Path) -> None:
    (tmp_path / "en.tsv").write_text("flood\thelp\n", encoding="utf-8")
    with pytest.raises(SentenceError, match="'flood' is unknown"):
        sentences("en", tmp_path)


def test_digits_are_read_out_one_by_one() -> None:
    assert spoken("119 불러 주세요", "ko") == "일일구 불러 주세요"
    assert spoken("call 911", "en") == "call nine one one"


def test_an_urgent_form_holds_the_sentence() -> None:
    rng = np.random.default_rng(0)
    sentence = next(s for s in sentences("ko") if s.text == "불이야")
    assert all("불이야" in urgent_form(sentence, rng) for _ in range(50))


@needs_words
def test_held_out_words_are_never_trained() -> None:
    trained = set(sentences_module.words("ko", "train"))
    assert trained.isdisjoint(sentences_module.words("ko", "test"))
    words = word_sequence("ko", "test", 5, np.random.default_rng(0)).split()
    assert all(split_of(word) == "test" for word in words)


@needs_words
def test_the_plan_is_the_same_every_time() -> None:
    assert plan(SMALL) == plan(SMALL)
    assert plan(SMALL) != plan(replace(SMALL, seed=12))


def _wordnet(folder: Path) -> None:
    held_out = next(s.text for s in sentences("en") if s.split == "test")
    (folder / "data.noun").write_text(
        f'00001 | a fright; "she stood stock-still"; "help!"; "{held_out}"\n'
        '00002 | of number 7; "page 7 is missing"; "the cat, asleep, purred"; "nobody"\n',
        encoding="utf-8",
    )


@pytest.fixture
def wordnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    _wordnet(tmp_path)
    monkeypatch.setattr(sentences_module, "EXAMPLES_DIR", tmp_path)
    examples.cache_clear()
    yield tmp_path
    examples.cache_clear()


@pytest.mark.usefixtures("wordnet")
def test_examples_are_phrases_that_nothing_holds_out() -> None:
    assert examples() == ("she stood stock-still", "the cat, asleep, purred")


def test_missing_examples_are_named(wordnet: Path) -> None:
    (wordnet / "data.noun").unlink()
    with pytest.raises(SentenceError, match="apt install wordnet-base"):
        examples()


@needs_words
@pytest.mark.usefixtures("wordnet")
def test_wide_speech_says_what_else_is_written_for_train_and_nothing_held_out() -> None:
    planned = plan(replace(WIDE, words=60, distress=4_000, harmless=60))
    held_out = {
        normalise(spoken(s.text, language))
        for language in LANGUAGES
        for source in SOURCES
        for s in sentences(language, source=source)
        if s.split != "train"
    }
    assert {u.split for u in planned} == {"train"}
    said = {u.text for u in planned}
    assert said & {normalise(phrase) for phrase in examples()}
    assert said & {normalise(s.text) for s in sentences("en", source="more")}
    trained = {
        normalise(spoken(s.text, language))
        for language in LANGUAGES
        for source in SOURCES
        for s in sentences(language, source=source)
        if s.split == "train"
    }
    assert not said & (held_out - trained)


@needs_words
def test_voices_of_val_and_test_are_not_trained() -> None:
    def voices(split: str) -> set[str]:
        found = {u.voice.name for u in plan(SMALL) if u.split == split}
        return {name.partition("+")[2] or name for name in found}

    assert voices("train").isdisjoint(voices("val") | voices("test"))
    assert voices("val").isdisjoint(voices("test"))


@needs_espeak
def test_a_rendering_is_16_khz_without_quiet_ends() -> None:
    samples = render("살려주세요", "ko", Voice("espeak-ng", "ko+f2", 170, 50, 0))
    assert samples.dtype == np.float32
    assert 0.8 * 16_000 < len(samples) < 3 * 16_000
    assert np.abs(samples).max() == pytest.approx(0.9, abs=0.01)
    assert np.abs(samples[:1_000]).max() > 0.005


def test_a_missing_synthesiser_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SpeechError, match="apt install espeak-ng flite"):
        render("help", "en", Voice("espeak-ng", "en-us", 170, 50, 0))


@needs_espeak
@needs_words
@pytest.mark.skipif(shutil.which("flite") is None, reason="needs flite")
def test_a_corpus_is_rendered_once(tmp_path: Path) -> None:
    tiny = replace(SMALL, words=4, distress=4, harmless=4, held_out=1)
    first = open_speech(tiny, tmp_path)
    stamp = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = open_speech(tiny, tmp_path)
    assert stamp == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert first.utterances == again.utterances
    held_out = open_speech(tiny, tmp_path, splits=HELD_OUT)
    assert [u.said for u in held_out.utterances] == [
        u.said for u in first.utterances if u.split in HELD_OUT
    ]
    for utterance in first.utterances:
        samples = again.samples(utterance)
        assert 0 < len(samples) <= 4.7 * 16_000
        assert np.abs(samples).max() == pytest.approx(0.9, abs=0.01)
