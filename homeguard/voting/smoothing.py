"""From decisions to episodes: an onset rule against single windows, a hangover against gaps."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from homeguard.config import DecisionConfig
from homeguard.domain import Decision, Reason, Span, Vote


class Phase(StrEnum):
    """Where a room stands after a decision."""

    QUIET = "quiet"
    ONSET = "onset"  # this decision began an episode
    ONGOING = "ongoing"
    OFFSET = "offset"  # this decision ended it


@dataclass(frozen=True, slots=True)
class Step:
    """A decision with the phase it leaves its room in.

    `evidence`: at onset, the agreeing decisions that made it, oldest first; while it goes on, the
    decision itself where it agrees; empty otherwise.
    """

    phase: Phase
    decision: Decision
    evidence: tuple[Decision, ...] = ()


class Smoother:
    """One room's onset and offset.

    Onset: `onset_windows` of the last `onset_of` decisions say emergency, or one is an explicit
    call for help (it carries its own confirmation). Offset: `hangover_s` without an emergency.
    """

    def __init__(self, config: DecisionConfig) -> None:
        self._config = config
        self._recent: deque[Decision] = deque(maxlen=config.onset_of)
        self._last: Decision | None = None  # last emergency of a running episode

    def update(self, decision: Decision) -> Step:
        """Take the room's next decision. Decisions come in the order of their windows."""
        if self._last is not None:
            return self._continue(decision, self._last)
        self._recent.append(decision)
        agreeing = tuple(d for d in self._recent if d.emergency)
        called = decision.reason is Reason.DISTRESS_PHRASE
        if not decision.emergency or not (called or len(agreeing) >= self._config.onset_windows):
            return Step(Phase.QUIET, decision)
        self._recent.clear()
        self._last = decision
        return Step(Phase.ONSET, decision, agreeing)

    def end(self) -> Decision | None:
        """End a running episode because the sound ended; gives its last emergency, if one ran."""
        last, self._last = self._last, None
        self._recent.clear()
        return last

    def _continue(self, decision: Decision, last: Decision) -> Step:
        if decision.emergency:
            self._last = decision
            return Step(Phase.ONGOING, decision, (decision,))
        if decision.end_s - last.end_s < self._config.hangover_s:
            return Step(Phase.ONGOING, decision)
        self._last = None
        return Step(Phase.OFFSET, decision)


class Calls:
    """One room's memory of explicit calls for help: the stretches of speech that held one."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._stretches: list[Span] = []

    def update(self, end_s: float, votes: Sequence[Vote]) -> tuple[Span, ...]:
        """Remember what these votes heard; give the stretches of the last `within_s`."""
        for stretch in (span for vote in votes for span in vote.calls):
            if stretch not in self._stretches:
                self._stretches.append(stretch)
        self._stretches = [s for s in self._stretches if s.end_s > end_s - self._within_s]
        return tuple(self._stretches)
