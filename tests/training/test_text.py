"""The text classifier: what it learns from, what it tells apart, what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra train")

from homeguard.text import edit_distance, to_jamo
from homeguard.training.sentences import WORD_LISTS
from homeguard.training.text import TextModel, TextOptions, fit, score, train, with_copies
from homeguard.training.text_lines import LABELS, Line, corrupted, lines_of, written

OPTIONS = TextOptions(most_ngrams=800, copies=1, word_sequences=20, fewest_sentences=1)
HELP, FIRE = LABELS.index("help_request"), LABELS.index("fire")
LINES = [
    *(Line(text, HELP, "ko") for text in ("살려주세요", "도와주세요", "제발 살려주세요")),
    *(Line(text, FIRE, "ko") for text in ("불이야", "집에 불이 났어요", "부엌에 불이 났어요")),
    *(Line(text, 0, "ko") for text in ("안녕하세요", "밥 먹자", "불 좀 꺼 주세요", "고마워요")),
]


@pytest.fixture(scope="module")
def model() -> TextModel:
    return fit(LINES, OPTIONS)


def test_learned_sentences_are_told_apart(model: TextModel) -> None:
    found = score(model.emergencies, LINES)
    assert found.binary_accuracy == 1.0
    assert LABELS[int(model.scores("불이 났어요").argmax())] == "fire"


def test_a_label_without_a_line_never_wins(model: TextModel) -> None:
    unseen = LABELS.index("earthquake")
    assert all(model.scores(line.text)[unseen] < -10 for line in LINES)


def test_corruption_keeps_the_stated_share() -> None:
    rng = np.random.default_rng(0)
    text = "숨을 못 쉬겠어요 구급차 좀 불러 주세요"
    jamo = to_jamo(text)
    wrong = [edit_distance(jamo, to_jamo(corrupted(text, 0.2, rng))) for _ in range(200)]
    assert 0.1 < np.mean(wrong) / len(jamo) < 0.22
    assert corrupted(text, 0.0, rng) == text


@pytest.mark.skipif(not all(p.exists() for p in WORD_LISTS.values()), reason="needs word lists")
def test_held_out_lines_are_not_trained() -> None:
    train, val = lines_of("train", 20, 3), lines_of("val", 20, 3)
    assert {line.text for line in train}.isdisjoint(line.text for line in val)
    assert {line.label for line in train} == set(range(len(LABELS)))


def test_the_daemon_reads_what_was_fitted(model: TextModel, tmp_path: Path) -> None:
    from homeguard.voting.text_classifier import TextClassifier  # noqa: PLC0415 - loaded only where it is needed

    path = tmp_path / "model.json"
    model.save(path, OPTIONS)
    reader = TextClassifier.load(path)
    for text in ("살려주세요", "집에 불이 났어요", "밥 먹자", "전혀 모르는 말", ""):
        assert reader.read(text).probability == pytest.approx(model.emergency(text), abs=2e-2)


def test_held_out_sentences_are_none_of_trains() -> None:
    learned = {line.text for line in written("train", "ko")}
    assert learned == set()  # every one is known
    assert len(written("val", "ko")) > 200


def test_a_threshold_and_a_temperature_come_with_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [*LINES, Line("help me", HELP, "en"), Line("good morning", 0, "en")]
    monkeypatch.setattr("homeguard.training.text.lines_of", lambda *_, **__: few)
    monkeypatch.setattr(
        "homeguard.training.text.written",
        lambda _, language: [line for line in few if line.language == language],
    )
    train(tmp_path, OPTIONS)
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert 0.3 <= metrics["threshold"] <= 0.75
    assert metrics["held_out"]["val/ko"]["missed"] == 0.0
    model = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert model["temperature"] == metrics["temperature"]


def test_the_lstm_of_the_source_learns_the_same_lines() -> None:
    lstm = pytest.importorskip("homeguard.training.text_lstm", reason="needs torch")
    judge = lstm.fit_lstm(LINES * 30, 0, (0.0, 0.0), 1)
    assert score(judge, LINES).binary_accuracy >= 0.9


def test_copies_keep_their_label() -> None:
    made = with_copies(LINES, 2, (0.1, 0.2), np.random.default_rng(0))
    assert len(made) == 3 * len(LINES)
    assert [line.label for line in made[len(LINES) :: 2]] == [line.label for line in LINES]
