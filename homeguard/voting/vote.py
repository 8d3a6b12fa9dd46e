"""From three votes to one decision. Pure: no clock, no log, no state but what is passed in.

Source: University of Seoul system, "emergency when 2 of the 3 say emergency". Added here: what an
abstention means, the explicit call for help, and the unconfirmed alert of a single working voter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from homeguard.config import DecisionConfig
from homeguard.domain import Decision, Reason, Span, Vote, VoteReason, Window
from homeguard.labels import Category


def decide(
    window: Window, votes: Sequence[Vote], config: DecisionConfig, calls: Sequence[Span] = ()
) -> Decision:
    """Decide one window.

    Takes the three votes and `calls`, the stretches of speech of the last
    `config.distress_within_s` in which an explicit call for help was heard, this window's included.
    Gives a Decision whose reason says why it is as it is.
    """
    if not window.active:
        return _decision(window, Reason.SILENT, None, None, ())
    reason = _reason(votes, config, calls)
    return _decision(window, reason, _category(reason, votes), _score(reason, votes, config), votes)


# How far a voter is trusted with the name of what it heard: the share of val's recordings that it
# names rightly. Words name what they speak of. The probability of any emergency says nothing here.
_NAMING = {"transcript": 1.0, "cnn": 0.89, "encoder": 0.80}
EMERGENCY_REASONS = frozenset({Reason.AGREED, Reason.DISTRESS_PHRASE, Reason.UNCONFIRMED})


def _reason(votes: Sequence[Vote], config: DecisionConfig, calls: Sequence[Span]) -> Reason:
    cast = [vote for vote in votes if vote.emergency is not None]
    yes = sum(1 for vote in cast if vote.emergency)
    if yes >= config.votes_needed:
        return Reason.AGREED
    if config.distress_phrases == "alert" and _calls_for_help(votes, config, calls):
        return Reason.DISTRESS_PHRASE
    if yes == len(cast) == 1 and any(vote.reason.is_fault for vote in votes):
        return Reason.UNCONFIRMED
    able = len(cast) + sum(1 for vote in votes if vote.reason is VoteReason.SKIPPED)
    return Reason.OUTVOTED if able >= config.votes_needed else Reason.NO_QUORUM


def _calls_for_help(votes: Sequence[Vote], config: DecisionConfig, calls: Sequence[Span]) -> bool:
    if not any(vote.distress for vote in votes):
        return False
    leaning = any(
        not vote.distress and (vote.probability or 0.0) >= config.distress_lean for vote in votes
    )
    return leaning or len(calls) > 1


def _score(reason: Reason, votes: Sequence[Vote], config: DecisionConfig) -> float:
    """The probability that the n-th surest voter gives, n = votes_needed.

    A skipped vote takes part with its bound, 1: it could not have made the score higher than the
    others allow. Where fewer than n voted, nobody confirms, so the score is 0.
    """
    known = [1.0 if v.reason is VoteReason.SKIPPED else v.probability for v in votes]
    ranked = sorted((p for p in known if p is not None), reverse=True)
    agreed = ranked[config.votes_needed - 1] if len(ranked) >= config.votes_needed else 0.0
    if reason is Reason.DISTRESS_PHRASE:
        return max(agreed, *(v.probability or 0.0 for v in votes if v.distress))
    if reason is Reason.UNCONFIRMED:
        return max(v.probability or 0.0 for v in votes if v.emergency)
    return agreed


def _category(reason: Reason, votes: Sequence[Vote]) -> Category | None:
    """What the voters on the winning side call it, each trusted as far as it names rightly.

    An explicit call for help is named by what was said.
    """
    if reason is Reason.DISTRESS_PHRASE:
        said = next((vote.category for vote in votes if vote.distress), None)
        return said or Category.HELP_REQUEST
    emergency = reason in EMERGENCY_REASONS
    weights: dict[Category, float] = defaultdict(float)
    for vote in votes:
        if vote.emergency is emergency and vote.category is not None:
            weights[vote.category] += _NAMING[vote.voter]
    return max(weights, key=lambda category: weights[category], default=None)


def _decision(
    window: Window,
    reason: Reason,
    category: Category | None,
    probability: float | None,
    votes: Sequence[Vote],
) -> Decision:
    return Decision(
        room=window.room,
        start_s=window.start_s,
        end_s=window.end_s,
        active=window.active,
        emergency=reason in EMERGENCY_REASONS,
        category=category,
        probability=probability,
        reason=reason,
        votes=tuple(votes),
        level_dbfs=window.level_dbfs,
    )
