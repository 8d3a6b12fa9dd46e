"""The text classifier reads its file exactly, and refuses another's."""

from __future__ import annotations

import json
import math

import pytest

from homeguard.domain import ModelError
from homeguard.labels import Category
from homeguard.voting.text_classifier import TextClassifier
from tests.voting.tiny_models import tiny_text


def load(tmp_path, **changes):
    path = tmp_path / "model.json"
    path.write_text(json.dumps({**tiny_text(), **changes}))
    return TextClassifier.load(path)


def test_without_a_known_ngram_the_bias_decides(tmp_path):
    reading = load(tmp_path).read("")
    assert reading.probability == pytest.approx(2 / (2 + math.e))


def test_a_known_ngram_moves_it(tmp_path):
    # Known alone among the n-grams of the word, it has length one after normalising.
    reading = load(tmp_path).read("사람")
    expected = 1 - math.exp(-1) / (math.exp(-1) + math.exp(2) + 1)
    assert reading.probability == pytest.approx(expected)
    assert reading.category is Category.HELP_REQUEST


def test_counts_are_dampened_and_weights_are_in_steps(tmp_path):
    grams = {"aaa": [-2, 2, 0], "bbb": [2, 0, -2]}
    reading = load(tmp_path, ngrams=grams, step=0.5, bias=[0.0, 0.0, 0.0]).read("aaaa bbb")
    a, b = 1 + math.log(2), 1.0
    a, b = a / math.hypot(a, b), b / math.hypot(a, b)
    scores = [-a + b, a, -b]
    total = sum(math.exp(s) for s in scores)
    assert reading.probability == pytest.approx(1 - math.exp(scores[0]) / total)


def test_pairs_of_words_count_where_the_file_says_so(tmp_path):
    grams = {"불_꺼": [2.0, -2.0, -2.0]}
    assert load(tmp_path, ngrams=grams, reach=1).read("불 꺼").probability < 0.1
    without = load(tmp_path, ngrams=grams).read("불 꺼").probability
    assert load(tmp_path, ngrams=grams, reach=1).read("불 좀 꺼").probability == without > 0.1


def test_a_temperature_softens(tmp_path):
    sharp, soft = load(tmp_path).read("사람"), load(tmp_path, temperature=5.0).read("사람")
    assert sharp.probability > soft.probability > 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": ["fire", "normal"]},
        {"labels": ["normal", "help_request"]},
        {"labels": ["normal", "help_request", "flood"]},
        {"bias": [0.0]},
        {"ngrams": {"a": [1.0]}},
        {"ngrams": None},
    ],
)
def test_a_malformed_file_is_refused(tmp_path, changes):
    with pytest.raises(ModelError, match="no text classifier"):
        load(tmp_path, **changes)
