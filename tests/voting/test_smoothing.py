"""Onset by k of n, offset by hangover; an explicit call for help needs no second window."""

from __future__ import annotations

from homeguard.config import DecisionConfig
from homeguard.domain import Decision, Reason, Span, Vote
from homeguard.labels import Category
from homeguard.voting.smoothing import Calls, Phase, Smoother

TWO_OF_THREE = DecisionConfig(onset_windows=2, onset_of=3)


def decision(start_s: float, *, emergency: bool, reason: Reason = Reason.AGREED) -> Decision:
    return Decision(
        room="den",
        start_s=start_s,
        end_s=start_s + 5.0,
        active=True,
        emergency=emergency,
        category=Category.FIRE if emergency else Category.INDOOR,
        probability=0.9 if emergency else 0.1,
        reason=reason if emergency else Reason.OUTVOTED,
    )


def phases(pattern: str, **config: object) -> list[Phase]:
    smoother = Smoother(TWO_OF_THREE.model_copy(update=config))
    heard = [decision(float(i), emergency=mark == "x") for i, mark in enumerate(pattern)]
    return [smoother.update(each).phase for each in heard]


def test_a_single_window_never_opens_an_episode():
    assert set(phases("..x....x...")) == {Phase.QUIET}


def test_two_of_three_windows_open_one():
    assert phases("x.x.")[2:] == [Phase.ONSET, Phase.ONGOING]
    assert phases("x..x") == [Phase.QUIET] * 4


def test_evidence_holds_the_agreeing_windows_oldest_first():
    smoother = Smoother(TWO_OF_THREE)
    for start, emergency in ((0.0, True), (1.0, False), (2.0, True)):
        step = smoother.update(decision(start, emergency=emergency))
    assert [d.start_s for d in step.evidence] == [0.0, 2.0]


def test_hangover_bridges_gaps_and_then_ends_the_episode():
    heard = phases("xx" + "." * 12, hangover_s=10.0)
    assert heard[1] is Phase.ONSET
    assert heard[2:11] == [Phase.ONGOING] * 9
    assert heard[11:] == [Phase.OFFSET, Phase.QUIET, Phase.QUIET]
    assert phases("xx....x....x....", hangover_s=10.0).count(Phase.OFFSET) == 0


def test_a_call_for_help_opens_at_once():
    smoother = Smoother(DecisionConfig())
    step = smoother.update(decision(0.0, emergency=True, reason=Reason.DISTRESS_PHRASE))
    assert step.phase is Phase.ONSET


def test_end_of_sound_ends_a_running_episode_once():
    smoother = Smoother(DecisionConfig(onset_windows=1, onset_of=1))
    last = decision(0.0, emergency=True)
    smoother.update(last)
    assert smoother.end() is last
    assert smoother.end() is None


def test_calls_remember_each_stretch_once_and_forget_it():
    calls = Calls(within_s=20.0)
    first = Vote("transcript", emergency=True, calls=(Span(4.0, 5.0),))
    assert calls.update(6.0, (first,)) == (Span(4.0, 5.0),)
    assert calls.update(7.0, (first,)) == (Span(4.0, 5.0),)
    second = Vote("transcript", emergency=True, calls=(Span(9.0, 10.0),))
    assert len(calls.update(11.0, (second,))) == 2
    assert calls.update(26.0, ()) == (Span(9.0, 10.0),)
