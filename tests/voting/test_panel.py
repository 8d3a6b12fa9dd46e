"""Whoever fails abstains with the right reason, the others vote on, and a fresh voter comes."""

from __future__ import annotations

import itertools
import math
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from homeguard.config import DecisionConfig, parse
from homeguard.domain import Features, Span, Vote, VoteReason, Window
from homeguard.labels import Category
from homeguard.voting import seat
from homeguard.voting.features import Extractor
from homeguard.voting.panel import ORDER, Panel
from homeguard.voting.sound import InvalidOutput
from homeguard.voting.vote import decide
from tests.fakes import FakeVoter

CONFIG = parse(
    "voters: {encoder: {deadline_ms: 300}, transcript: {deadline_ms: 300}, cnn: {deadline_ms: 300}}"
)

ASKING = CONFIG.model_copy(
    update={"decision": CONFIG.decision.model_copy(update={"skip_settled": False})}
)


class Clock:
    """A clock that moves only when told to."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


def features(*, speech=True):
    stretches = (Span(1.0, 2.0),) if speech else ()
    window = Window("den", 0.0, 5.0, np.zeros(80_000, np.float32), active=True, speech=stretches)
    return Features(window, np.zeros((80, 500), np.float32), Extractor(None).extract(window).encode)


class Trouble:
    """Rules for a voter that does not do its work; `release` lets hung ones go."""

    def __init__(self, clock):
        self.release = threading.Event()
        self.clock = clock

    def hang(self, features):
        self.release.wait(20)
        return 0.9

    def crash(self, features):
        message = "what was said must not be quoted"
        raise RuntimeError(message)

    def nonsense(self, features):
        message = "logits that are not finite"
        raise InvalidOutput(message)

    def nan(self, features):
        return math.nan

    def late(self, features):
        self.clock.now_s += 0.4
        return 0.9


EXPECTED = {
    "hang": VoteReason.LATE,
    "crash": VoteReason.FAILED,
    "nonsense": VoteReason.INVALID,
    "nan": VoteReason.INVALID,
}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def trouble(clock):
    made = Trouble(clock)
    yield made
    made.release.set()


@pytest.fixture
def seated(clock):
    """Makes panels and closes them."""
    panels = []

    def make(rules, config=CONFIG, builds=None):
        voters = [FakeVoter(name, rule) for name, rule in rules.items()]
        panels.append(Panel(voters, config, builds, clock))
        return panels[-1], {voter.name: voter for voter in voters}

    yield make
    for panel in panels:
        panel.close()


def always(probability):
    return lambda features: probability


def test_the_votes_come_in_order_whoever_is_fastest(seated):
    panel, _ = seated({"cnn": always(0.1), "transcript": always(0.9), "encoder": always(0.8)})
    votes = panel.poll(features())
    assert [vote.voter for vote in votes] == list(ORDER)
    assert [vote.emergency for vote in votes] == [True, True, False]


@pytest.mark.parametrize("how", EXPECTED)
@pytest.mark.parametrize("who", ORDER)
@pytest.mark.parametrize("others", list(itertools.product([0.1, 0.9], repeat=2)))
def test_one_in_trouble_abstains_and_the_others_count(seated, trouble, who, how, others):
    rest = dict(zip([name for name in ORDER if name != who], others, strict=True))
    rules = {name: always(p) for name, p in rest.items()}
    rules[who] = getattr(trouble, how)
    panel, _ = seated(rules, ASKING)
    votes = {vote.voter: vote for vote in panel.poll(features())}
    assert votes[who].emergency is None
    assert votes[who].reason is EXPECTED[how]
    assert {name: votes[name].probability for name in rest} == rest
    assert "quoted" not in (votes[who].detail or "")


def test_an_answer_after_the_deadline_is_late_even_if_it_is_there(seated, trouble):
    panel, _ = seated(dict.fromkeys(ORDER, trouble.late))
    assert {vote.reason for vote in panel.poll(features())} == {VoteReason.LATE}


def test_a_missing_voter_abstains_as_missing(seated):
    panel, _ = seated({"cnn": always(0.9), "transcript": always(0.9)})
    assert panel.poll(features())[0].reason is VoteReason.MISSING


def test_a_hung_voter_is_not_waited_for_again(seated, trouble):
    panel, voters = seated({"encoder": trouble.hang, "transcript": always(0.9), "cnn": always(0.9)})
    panel.poll(features())
    again = panel.poll(features())
    assert again[0].reason is VoteReason.LATE
    assert "busy" in again[0].detail
    assert [vote.emergency for vote in again[1:]] == [True, True]
    assert voters["encoder"].asked == 1


def test_a_hung_voter_is_replaced_within_30_s(seated, trouble, clock):
    builds = {"encoder": lambda: FakeVoter("encoder", always(0.7))}
    rules = {"encoder": trouble.hang, "transcript": always(0.9), "cnn": always(0.9)}
    panel, _ = seated(rules, builds=builds)
    panel.poll(features())
    for _ in range(30):
        clock.now_s += 1.0
        panel.tend()
    vote = settled(panel, VoteReason.HEARD)
    assert vote.probability == 0.7
    assert clock.now_s <= 1030.0


def settled(panel, reason, tries=200):
    """The encoder's vote once it has `reason`; its thread may need a moment to start."""
    pause = threading.Event()
    for _ in range(tries):
        vote = panel.poll(features())[0]
        if vote.reason is reason:
            return vote
        pause.wait(0.02)
    raise AssertionError(vote)


def test_a_voter_that_keeps_crashing_is_made_anew_with_growing_pauses(seated, trouble, clock):
    made = []

    def build():
        made.append(clock.now_s)
        return FakeVoter("encoder", trouble.crash)

    rules = {"encoder": trouble.crash, "transcript": always(0.9), "cnn": always(0.9)}
    panel, _ = seated(rules, builds={"encoder": build})
    for _ in range(60):
        clock.now_s += 1.0
        panel.poll(features())
    pauses = np.diff(made)
    assert len(made) >= 3
    assert (pauses[1:] >= pauses[:-1] - 3.0).all()
    assert pauses.max() <= 30.0


def test_a_voter_that_cannot_be_made_is_tried_again(seated, trouble, clock):
    attempts = iter([RuntimeError("no memory"), RuntimeError("no memory")])

    def build():
        error = next(attempts, None)
        if error:
            raise error
        return FakeVoter("encoder", always(0.7))

    rules = {"encoder": trouble.crash, "transcript": always(0.9), "cnn": always(0.9)}
    panel, _ = seated(rules, builds={"encoder": build})
    pause = threading.Event()
    for _ in range(100):
        clock.now_s += 1.0
        if panel.poll(features())[0].emergency:
            return
        pause.wait(0.01)
    pytest.fail("no fresh voter came")


def test_without_speech_and_with_a_cnn_that_says_no_the_encoder_is_not_asked(seated):
    panel, voters = seated({"encoder": always(0.9), "transcript": always(None), "cnn": always(0.1)})
    votes = panel.poll(features(speech=False))
    assert votes[0].reason is VoteReason.SKIPPED
    assert voters["encoder"].asked == 0


def test_with_speech_that_is_harmless_and_a_cnn_that_says_no_the_encoder_is_not_asked(seated):
    panel, voters = seated({"encoder": always(0.9), "transcript": always(0.1), "cnn": always(0.1)})
    assert panel.poll(features(speech=True))[0].reason is VoteReason.SKIPPED
    assert voters["encoder"].asked == 0


def test_the_encoder_is_asked_where_the_words_say_yes(seated):
    panel, _ = seated({"encoder": always(0.9), "transcript": always(0.9), "cnn": always(0.1)})
    assert [vote.emergency for vote in panel.poll(features(speech=True))] == [True, True, False]


def test_a_cnn_that_says_yes_has_the_encoder_asked_while_the_words_are_read(seated):
    asked = threading.Event()

    def encoder(features):
        asked.set()
        return 0.9

    def transcript(features):
        return 0.9 if asked.wait(20) else None

    patient = parse("voters: {transcript: {deadline_ms: 30000}}")
    panel, _ = seated({"encoder": encoder, "transcript": transcript, "cnn": always(0.9)}, patient)
    assert all(vote.emergency for vote in panel.poll(features(speech=True)))


@pytest.mark.parametrize("cnn", [0.9, None])
def test_the_encoder_is_asked_where_the_cnn_does_not_say_no(seated, cnn):
    panel, voters = seated({"encoder": always(0.9), "transcript": always(None), "cnn": always(cnn)})
    panel.poll(features(speech=False))
    assert voters["encoder"].asked == 1


def test_closing_leaves_no_thread_that_can_end(clock):
    voters = [FakeVoter(name, always(0.9)) for name in ORDER]
    panel = Panel(voters, CONFIG, now=clock)
    panel.poll(features())
    panel.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("voter-") and t.is_alive()]


def test_threads_carry_their_voters_names(seated):
    seated({name: always(0.9) for name in ORDER})
    names = {thread.name for thread in threading.enumerate()}
    assert {f"voter-{name}" for name in ORDER} <= names


def test_a_fault_is_logged_once_and_its_end_too(seated, caplog):
    caplog.set_level("DEBUG", logger="homeguard.voting.panel")
    answers = iter([math.nan, math.nan, 0.9])
    panel, _ = seated(
        {"encoder": always(0.9), "transcript": always(0.9), "cnn": lambda f: next(answers)}
    )
    for _ in range(3):
        panel.poll(features())
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "INFO"]


def test_a_seat_gives_up_early_enough():
    assert seat.GIVE_UP_S + seat.BACKOFF_S[1] < 30.0


CALLS = (Span(1.0, 2.0),)


class Direct(Panel):
    """The panel's own choice of whom to ask, without threads."""

    def __init__(self, votes, decision):
        self._decision = decision
        self._votes = {vote.voter: vote for vote in votes}

    def _ask(self, features, name):
        return lambda: self._votes[name]


def ballots(name):
    heard = st.floats(0.0, 1.0).map(
        lambda p: Vote(name, p >= 0.5, p, Category.FIRE if p >= 0.5 else Category.INDOOR)
    )
    reasons = [VoteReason.LATE, VoteReason.FAILED, VoteReason.INVALID, VoteReason.MISSING]
    if name == "transcript":
        reasons += [VoteReason.NO_SPEECH, VoteReason.UNSURE]
        call = heard.map(lambda vote: replace(vote, calls=CALLS) if vote.emergency else vote)
        heard |= call
    return heard | st.sampled_from(reasons).map(lambda reason: Vote.abstain(name, reason))


@settings(deadline=None, derandomize=True)
@given(
    st.tuples(*(ballots(name) for name in ORDER)),
    st.integers(1, 3),
    st.sampled_from(["alert", "vote"]),
    st.booleans(),
    st.lists(st.just(CALLS[0]), max_size=2),
)
def test_a_skip_never_changes_a_decision(votes, needed, phrases, speech, before):
    base = {"votes_needed": needed, "distress_phrases": phrases}
    skipping = DecisionConfig.model_validate({**base, "skip_settled": True})
    asking = DecisionConfig.model_validate({**base, "skip_settled": False})
    heard = features(speech=speech)
    calls = (*before, *(span for vote in votes for span in vote.calls))
    skipped = decide(heard.window, Direct(votes, skipping)._poll(heard), skipping, calls)
    full = decide(heard.window, Direct(votes, asking)._poll(heard), asking, calls)
    assert skipped.emergency == full.emergency
    if skipped.emergency:
        assert skipped == full
    elif skipped.probability is not None and full.probability is not None:
        assert skipped.probability >= full.probability
