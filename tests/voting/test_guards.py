"""What a decoder makes up is not believed; a cry for help is, however often it is repeated."""

from __future__ import annotations

import math

import pytest

from homeguard.config import TranscriptConfig
from homeguard.voting.guards import Guards, compression, loops
from homeguard.voting.lexicon import Lexicon
from homeguard.voting.whisper import Decoded

CONFIG = TranscriptConfig.model_validate({})
GUARDS = Guards(CONFIG)


def decoded(text, *, mean_logprob=-0.3, no_speech=0.1):
    return Decoded(text, "ko", tuple(text.encode()), mean_logprob, no_speech)


@pytest.mark.parametrize("text", ["살려주세요", "오늘 날씨가 좋네요", "help me I've fallen"])
def test_ordinary_speech_is_believed(text):
    assert GUARDS.doubt(decoded(text), 2.0) is None


@pytest.mark.parametrize(
    ("said", "doubt"),
    [
        (decoded(""), "nothing"),
        (decoded(" ... !"), "nothing"),
        (decoded("도와주세요", no_speech=0.7), "no speech"),
        # Unlike faster-whisper, sure words do not outweigh a sure silence.
        (decoded("도와주세요", no_speech=0.7, mean_logprob=-0.01), "no speech"),
        (decoded("도와주세요", mean_logprob=-1.2), "unlikely"),
        (decoded("도와주세요", mean_logprob=math.nan), "unlikely"),
        (decoded("네 " * 12), "repeats"),
        (decoded("오늘은 좋은 날입니다 " * 6), "repeats"),
        (decoded("가나다라마바사아자차카타파하" * 6), "more words"),
    ],
)
def test_each_guard_names_its_doubt(said, doubt):
    assert doubt in (GUARDS.doubt(said, 5.0) or "believed")


@pytest.mark.parametrize(
    "text",
    [
        "MBC 뉴스 이덕영입니다.",
        "시청해주셔서 감사합니다.",
        "시청해 주셔서 감사합니다",
        "구독과 좋아요 부탁드립니다!",
        "다음 영상에서 만나요~",
        "Thanks for watching!",
        "Thank you for watching.",
        "Please subscribe to my channel",
        "Subtitles by the Amara.org community",
    ],
)
def test_phantoms_of_broadcasts_are_not_believed(text):
    assert GUARDS.doubt(decoded(text), 4.0) is not None


@pytest.mark.parametrize("cry", ["살려주세요", "도와주세요", "사람 살려", "불이야", "help me"])
@pytest.mark.parametrize("times", [1, 2, 4, 6])
def test_a_cry_may_repeat_itself_at_a_human_pace(cry, times):
    text = " ".join([cry] * times)
    finding = Lexicon.load().search(text)
    assert finding is not None
    assert GUARDS.doubt(decoded(text), 0.9 * times, finding.coverage) is None


def test_a_cry_faster_than_a_mouth_is_a_loop():
    text = "살려주세요 " * 20
    assert GUARDS.doubt(decoded(text), 2.0, 1.0) is not None


def test_no_phantom_is_a_cry():
    lexicon = Lexicon.load()
    calls = [p for p in GUARDS._phantoms if (f := lexicon.search(p)) is not None and f.call]
    assert calls == []


def test_loops_counts_runs_of_any_unit():
    assert not loops([1, 1, 1, 1])
    assert loops([1, 1, 1, 1, 1])
    assert not loops([1, 2] * 4)
    assert loops([0, *[1, 2, 3] * 5])


def test_compression_is_that_of_zlib():
    assert compression("a" * 1000) > 2.4 > compression("살려주세요 거기 누구 없어요")
