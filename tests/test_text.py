"""The normal form of text: what lexicon, classifier and training agree on."""

from __future__ import annotations

import math
import unicodedata

import pytest

from homeguard.text import cer, char_ngrams, edit_distance, features, from_jamo, normalise, to_jamo


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  살려주세요!!  ", "살려주세요"),
        (unicodedata.normalize("NFD", "불이야, 불!"), "불이야 불"),
        ("I've fallen -- HELP me.", "ive fallen help me"),
        ("119 불러\n주세요…", "119 불러 주세요"),
        ("Café_noir", "cafe noir"),
        ("!?", ""),
    ],
)
def test_normal_form_keeps_words_only(text: str, expected: str) -> None:
    assert normalise(text) == expected
    assert normalise(expected) == expected


def test_jamo_come_apart_and_together_again() -> None:
    jamo = to_jamo("숨을 못 쉬겠어요 help")
    assert jamo == unicodedata.normalize("NFD", jamo)
    assert from_jamo(jamo) == "숨을 못 쉬겠어요 help"


def test_a_single_jamo_survives_composition() -> None:
    assert from_jamo("\u1161") == "\u1161"


def test_one_wrong_vowel_is_one_jamo_edit() -> None:
    assert edit_distance(to_jamo("살려주세요"), to_jamo("살려주새요")) == 1


def test_edit_distance_is_symmetric_and_counts_lengths() -> None:
    assert edit_distance("kitten", "sitting") == edit_distance("sitting", "kitten") == 3
    assert edit_distance("", "abc") == 3


def test_ngrams_see_word_boundaries() -> None:
    assert char_ngrams("ab c", (2,)) == [" a", "ab", "b ", " c", "c "]
    assert char_ngrams("a", (1, 3)) == [" ", "a", " ", " a "]
    assert char_ngrams("...", (1, 2)) == []


def test_cer_pools_characters_and_ignores_spaces() -> None:
    assert cer([("살려 주세요", "살려주세요"), ("불이야", "물이야")]) == pytest.approx(1 / 8)
    assert math.isnan(cer([("", "")]))


def test_features_hold_words_and_pairs_within_reach() -> None:
    found = features("불 좀 꺼주세요", (3,), 1)
    assert {"=꺼주세요", "^_불", "불_좀", "좀_꺼주", "꺼주_$"} <= set(found)
    assert "불_꺼주" not in found
    assert "불_꺼주" in features("불 좀 꺼주세요", (3,), 2)
    assert features("불 좀", (3,), 0) == char_ngrams("불 좀", (3,))
    assert features("!", (3,), 1) == []
