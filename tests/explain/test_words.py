"""Which words decided: exact shares, the phrase's own words, times within the speech."""

from itertools import pairwise

import pytest

from homeguard.domain import Span
from homeguard.explain.words import read
from homeguard.voting.lexicon import Lexicon
from homeguard.voting.registry import bundled_dir
from homeguard.voting.text_classifier import TextClassifier

pytestmark = pytest.mark.models
SPAN = Span(10.0, 13.0)


@pytest.fixture(scope="module")
def classifier():
    return TextClassifier.load(bundled_dir() / "text" / "model.json")


@pytest.fixture(scope="module")
def lexicon():
    return Lexicon.load()


def test_the_words_of_the_phrase_are_marked(lexicon, classifier):
    reading = read("엄마 살려주세요", SPAN, lexicon, classifier)
    assert [word.text for word in reading.words if word.phrase] == ["살려주세요"]


@pytest.mark.parametrize(
    "text", ["엄마 살려주세요 불이 났어요", "please help me, I've fallen!", "점심 먹자"]
)
def test_the_shares_of_the_words_are_the_whole_score(lexicon, classifier, text):
    reading = read(text, SPAN, lexicon, classifier)
    scores = classifier._bias + classifier._evidence(text)
    best = 1 + int(scores[1:].argmax())
    margin = (scores - classifier._bias)[best] - (scores - classifier._bias)[0]
    assert sum(word.share for word in reading.words) == pytest.approx(margin)


def test_words_follow_one_another_and_fill_the_speech(lexicon, classifier):
    words = read("도와주세요 여기 사람이 쓰러졌어요", SPAN, lexicon, classifier).words
    assert words[0].span.start_s == SPAN.start_s
    assert words[-1].span.end_s == pytest.approx(SPAN.end_s)
    assert all(a.span.end_s == b.span.start_s for a, b in pairwise(words))


def test_nothing_said_has_no_words(lexicon, classifier):
    assert read("...", SPAN, lexicon, classifier).words == ()


def test_without_a_classifier_the_lexicon_decides(lexicon):
    reading = read("불이야", SPAN, lexicon, None)
    assert reading.judge == "lexicon"
    assert reading.probability is None
