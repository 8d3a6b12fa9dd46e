"""Every pattern of votes has one right decision and a reason for it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from homeguard.config import DecisionConfig
from homeguard.domain import Decision, Reason, Span, Vote, VoteReason, Window
from homeguard.labels import Category
from homeguard.voting.vote import decide

CONFIG = DecisionConfig()
WINDOW = Window("den", 3.0, 8.0, np.zeros(80_000, np.float32), active=True)
VOTERS = ("encoder", "transcript", "cnn")


def yes(voter: str, probability: float = 0.9, category: Category = Category.FIRE) -> Vote:
    return Vote(voter, emergency=True, probability=probability, category=category)


def no(voter: str, probability: float = 0.1) -> Vote:
    return Vote(voter, emergency=False, probability=probability, category=Category.INDOOR)


def quiet(voter: str) -> Vote:
    return Vote.abstain(voter, VoteReason.NO_SPEECH)


def broken(voter: str) -> Vote:
    return Vote.abstain(voter, VoteReason.FAILED)


def judge(*votes: Vote, calls: tuple[Span, ...] = (), **config: object) -> Decision:
    return decide(WINDOW, votes, CONFIG.model_copy(update=config), calls)


@pytest.mark.parametrize("makers", list(itertools.product((yes, no, quiet, broken), repeat=3)))
def test_two_of_three_decide_and_an_abstention_is_never_a_no(makers):
    votes = [make(voter) for make, voter in zip(makers, VOTERS, strict=True)]
    agreeing = makers.count(yes)
    cast = agreeing + makers.count(no)
    decision = decide(WINDOW, votes, CONFIG)
    if agreeing >= 2:
        assert decision.reason is Reason.AGREED
    elif agreeing == cast == 1 and broken in makers:
        assert decision.reason is Reason.UNCONFIRMED
    elif cast >= 2:
        assert decision.reason is Reason.OUTVOTED
    else:
        assert decision.reason is Reason.NO_QUORUM
    assert decision.emergency is (decision.reason in {Reason.AGREED, Reason.UNCONFIRMED})
    assert decision.probability is not None
    assert 0.0 <= decision.probability <= 1.0


def test_score_is_the_second_highest_probability():
    decision = judge(yes("encoder", 0.95), no("transcript", 0.2), yes("cnn", 0.7))
    assert decision.probability == 0.7


def test_a_lone_vote_confirms_nothing():
    decision = judge(quiet("encoder"), quiet("transcript"), yes("cnn"))
    assert (decision.reason, decision.probability) == (Reason.NO_QUORUM, 0.0)


def test_a_skipped_vote_takes_part_with_its_bound():
    skipped = Vote.abstain("encoder", VoteReason.SKIPPED)
    decision = judge(skipped, quiet("transcript"), no("cnn", 0.3))
    assert (decision.reason, decision.probability) == (Reason.OUTVOTED, 0.3)


def test_category_is_the_one_with_most_probability_behind_it():
    decision = judge(
        yes("encoder", 0.6, Category.FALL),
        yes("transcript", 0.9, Category.HELP_REQUEST),
        yes("cnn", 0.6, Category.FALL),
    )
    assert decision.category is Category.FALL
    assert judge(no("encoder"), no("transcript"), no("cnn")).category is Category.INDOOR


def test_silence_is_decided_without_votes():
    silent = Window("den", 0.0, 5.0, np.zeros(80_000, np.float32), active=False)
    decision = decide(silent, (), CONFIG)
    assert (decision.reason, decision.probability, decision.votes) == (Reason.SILENT, None, ())


def call(probability: float = 0.97) -> Vote:
    return Vote(
        "transcript",
        emergency=True,
        probability=probability,
        category=Category.HELP_REQUEST,
        transcript="살려주세요",
        spoken=Span(4.0, 5.5),
        calls=(Span(4.0, 5.5),),
    )


def test_one_call_for_help_needs_a_sound_voter_that_leans():
    firm = judge(no("encoder", 0.1), call(), no("cnn", 0.1), calls=(Span(4.0, 5.5),))
    assert firm.reason is Reason.OUTVOTED
    leaning = judge(no("encoder", 0.35), call(), no("cnn", 0.1), calls=(Span(4.0, 5.5),))
    assert (leaning.reason, leaning.emergency) == (Reason.DISTRESS_PHRASE, True)
    assert leaning.category is Category.HELP_REQUEST
    assert leaning.probability == 0.97
    assert leaning.transcript == "살려주세요"


def test_two_calls_for_help_need_nobody():
    calls = (Span(0.0, 1.5), Span(4.0, 5.5))
    assert judge(no("encoder"), call(), no("cnn"), calls=calls).reason is Reason.DISTRESS_PHRASE
    voted = judge(no("encoder"), call(), no("cnn"), calls=calls, distress_phrases="vote")
    assert voted.reason is Reason.OUTVOTED


def test_earlier_calls_raise_nothing_in_a_window_without_one():
    calls = (Span(0.0, 1.5), Span(1.8, 2.5))
    assert judge(no("encoder"), no("transcript"), no("cnn"), calls=calls).emergency is False
