"""Distress is found through misheard sounds; everyday words that sound like it are not."""

from __future__ import annotations

import random
from importlib import resources

import pytest
import yaml

from homeguard.labels import Category
from homeguard.text import from_jamo, to_jamo
from homeguard.training.sentences import sentences
from homeguard.voting.lexicon import Lexicon, expand
from homeguard.voting.sounds_alike import Sounds, budget, find, find_all

LEXICON = Lexicon.load()
EMERGENCY = 0.5


def search(text):
    finding = LEXICON.search(text)
    return finding if finding is not None and finding.confidence >= EMERGENCY else None


@pytest.mark.parametrize(
    ("said", "category"),
    [
        ("살려주세요", "help_request"),
        ("살려 주세요!", "help_request"),
        ("도와주세요", "help_request"),
        ("누가 좀 도와주세요", "help_request"),
        ("도와주세요 도와주세요 도와주세요", "help_request"),
        ("119 불러줘", "help_request"),
        ("일일구 좀 불러 주세요", "help_request"),
        ("사람 살려", "help_request"),
        ("살려주이소", "help_request"),
        ("help me", "help_request"),
        ("Please, somebody help me!", "help_request"),
        ("Call an ambulance", "help_request"),
        ("I've fallen and I can't get up", "fall"),
        ("불이야", "fire"),
        ("부리야", "fire"),
        ("불났심더", "fire"),
        ("the kitchen is on fire", "fire"),
        ("넘어졌어요 못 일어나겠어요", "fall"),
        ("숨을 몬 쉬겠심더", "medical_emergency"),
        ("I can't breathe", "medical_emergency"),
        ("가스 냄새가 나요", "gas_accident"),
        ("감전됐어요", "electrical_accident"),
        ("도둑이야", "theft"),
        ("때리지 마세요", "violence"),
        ("갇혔어요", "trapped"),
        ("지진이야", "earthquake"),
        ("딸아 나 좀 살려 다오", "help_request"),
        ("빨리 신고해 주세요", "help_request"),
        ("불길이 치솟아요", "fire"),
        ("강도가 집에 쳐들어왔어요", "robbery"),
    ],
)
def test_a_call_for_help_is_confident_and_has_its_category(said, category):
    finding = search(said)
    assert finding is not None
    assert finding.call
    assert finding.category == category


@pytest.mark.parametrize(
    "said",
    [
        "불 좀 꺼 주세요",
        "도와줘서 고마워",
        "도와주셔서 감사합니다",
        "숙제 좀 도와주세요",
        "help yourself",
        "can you help me with my homework",
        "thanks for helping me",
        "알려주세요",
        "올려 주세요",
        "화분 좀 살려 주세요",
        "또 와 주세요",
        "이불이야",
        "풀이야",
        "이건 물이야",
        "119 안전센터 견학",
        "i fell asleep on the sofa",
        "the leaves have fallen",
        "he's fallen in love",
        "in case of an earthquake get under a table",
        "they taught us what to do if someone is choking",
        "i can't breathe without you darling",
        "dal is too spicy my mouth is on fire",
        "fire drill is tomorrow",
        "배고파 죽겠네",
        "밥도둑이네",
        "꺼내 주세요 냉장고에서 김치",
        "열불이 나서 잠이 안 와",
        "빌려 다오",
        "서류 신청해 주세요",
        "친구가 사람 살려 하고 소리치는 꿈 꿨대",
        "온라인 게임하다가 나 좀 살려 줘 목숨 하나 남았어",
        "오늘 못 일어나겠어 늦잠 잘래",
        "if there's a fire use the stairs",
        "please hold for the next agent",
        "my book fell down the back of the sofa",
        "",
        "...",
    ],
)
def test_a_near_miss_is_no_distress(said):
    assert search(said) is None


def test_no_harmless_sentence_of_the_corpus_is_a_call_for_help():
    chosen = random.Random(3)
    for language in ("ko", "en"):
        harmless = [s.text for s in sentences(language) if not s.category.is_emergency]
        texts = chosen.sample(harmless, 40)
        assert [text for text in texts if search(text)] == []


JAMO = to_jamo("가나다라마바사아자차카타파하개네디로무브")


def misheard(text, rng):
    """`text` with one jamo replaced, dropped or doubled."""
    jamo = list(to_jamo(text))
    at = rng.choice([i for i, symbol in enumerate(jamo) if symbol != " "])
    jamo[at] = rng.choice(["", jamo[at] * 2, rng.choice(JAMO)])
    return from_jamo("".join(jamo))


@pytest.mark.parametrize("call", ["살려주세요", "도와주세요", "119 불러주세요", "숨을 못 쉬겠어요"])
def test_most_calls_survive_a_misheard_jamo(call):
    rng = random.Random(call)
    found = [search(misheard(call, rng)) for _ in range(16)]
    assert sum(finding is not None for finding in found) >= 13


def test_confidence_falls_with_every_misheard_sound():
    texts = ("살려주세요", "살려주제요", "살려추제요")
    found = [finding for text in texts if (finding := search(text)) is not None]
    assert len(found) == 3
    assert found[0].confidence > found[1].confidence > found[2].confidence
    assert [finding.call for finding in found] == [True, True, False]


def test_a_word_that_counts_only_alone_is_a_hint_in_company():
    finding = LEXICON.search("할아버지 바둑 한 판만 도와주세요 오늘은 이겨야 합니다")
    assert finding is None or finding.confidence < EMERGENCY


def test_every_category_of_emergency_has_words():
    source = resources.files("homeguard.voting").joinpath("lexicon.yaml")
    raw = yaml.safe_load(source.read_text(encoding="utf-8"))
    assert {Category(slug) for slug in raw["distress"]} == {c for c in Category if c.is_emergency}


def test_phrases_of_distress_are_found_as_themselves():
    texts = [phrase.text for phrase in LEXICON._phrases[::31]]
    assert [text for text in texts if search(text) is None] == []


def test_patterns_expand_to_every_wording():
    assert list(expand(["a(b|c) d", 119])) == ["ab d", "ac d", "119"]


def test_short_phrases_keep_to_words():
    assert find(Sounds.of("이불이야"), Sounds.of("불이야").symbols, budget(5)) is None
    assert find(Sounds.of("아 불이야"), Sounds.of("불이야").symbols, budget(5)) is not None


def test_finals_carry_over_and_double_vowels_fold():
    assert Sounds.of("불이야").symbols == Sounds.of("부리야").symbols
    assert Sounds.of("새").symbols == Sounds.of("세").symbols


def test_all_places_are_found_and_none_overlap():
    places = sorted(find_all(Sounds.of("help me help me help me"), "helpme", 0.0))
    assert places == [(0, 6), (6, 12), (12, 18)]
