"""The three voters, each on its own thread with its own deadline; whoever fails, abstains.

A voter that is late, crashes, gives nonsense or hangs never holds up the others beyond its deadline
and never votes "no" by it. A hung voter is given up and a fresh one takes its seat.
Callers see votes only: whether a voter is a thread or a process is its own affair.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from threading import RLock

from homeguard.config import Config
from homeguard.domain import Features, Vote, Voter, VoteReason
from homeguard.voting.seat import Build, Seat

_log = logging.getLogger(__name__)

ORDER = ("encoder", "transcript", "cnn")
CLOSE_S = 2.0


class Absent:
    """Sits in for a voter that cannot be: abstains, and says why."""

    def __init__(self, name: str, reason: VoteReason, detail: str) -> None:
        self.name = name
        self.ailment = detail if reason.is_fault else None
        self._vote = Vote.abstain(name, reason, detail)

    def vote(self, features: Features) -> Vote:  # noqa: ARG002 - a voter's signature
        """Abstain."""
        return self._vote

    def close(self) -> None:
        """Nobody is there to be ended."""


class Panel:
    """Asks the voters about one window at a time. Cost: the slowest voter, at most its deadline."""

    def __init__(
        self,
        voters: Sequence[Voter],
        config: Config,
        builds: Mapping[str, Build] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Seat the voters; one that is not given counts as missing.

        `builds` makes a voter anew, by name, after it hung or crashed; without it a hung voter
        stays out. `now` is a monotonic clock in seconds.
        """
        self._decision = config.decision
        given = {voter.name: voter for voter in voters}
        builds = builds or {}
        self._seats: dict[str, Seat] = {}
        for name in ORDER:
            voter = given.get(name) or Absent(name, VoteReason.MISSING, "not loaded")
            deadline_s = getattr(config.voters, name).deadline_ms / 1000
            self._seats[name] = Seat(voter, deadline_s, builds.get(name), now)
        self._faults: dict[str, VoteReason] = {}
        self._lock = RLock()

    def poll(self, features: Features) -> tuple[Vote, ...]:
        """Votes of encoder, transcript and cnn, in this order, for one window; never raises."""
        with self._lock:
            votes = self._poll(features)
        for vote in votes:
            self._report(vote)
        return votes

    def tend(self) -> None:
        """Replace voters that hang; for times without windows, `poll` does it too. Never waits."""
        if self._lock.acquire(blocking=False):
            try:
                for seat in self._seats.values():
                    seat.tend()
            finally:
                self._lock.release()

    def troubles(self) -> dict[str, str]:
        """The voters that cannot vote at the moment, asked or not, and why."""
        found = {name: seat.trouble for name, seat in self._seats.items()}
        return {name: why for name, why in found.items() if why is not None}

    def close(self) -> None:
        """Stop the voters' threads; one that hangs is left behind after CLOSE_S."""
        deadline = time.monotonic() + CLOSE_S
        for seat in self._seats.values():
            seat.stop()
        for name, seat in self._seats.items():
            if not seat.join(max(0.0, deadline - time.monotonic())):
                _log.warning("voter still busy at close", extra={"voter": name})

    def _poll(self, features: Features) -> tuple[Vote, ...]:
        if not self._decision.skip_settled or self._decision.votes_needed == 1:
            answers = [self._ask(features, name) for name in ORDER]
            return tuple(answer() for answer in answers)
        transcript, cnn = self._ask(features, "transcript"), self._ask(features, "cnn")
        heard = cnn()
        # The encoder's yes counts only beside another one. A CNN that hears something is not made
        # to wait for the words.
        if heard.emergency is False and not transcript().emergency:
            settled = "neither the CNN nor what was said speaks of an emergency"
            skipped = Vote.abstain("encoder", VoteReason.SKIPPED, settled)
            return (skipped, transcript(), heard)
        encoder = self._ask(features, "encoder")
        return (encoder(), transcript(), heard)

    def _ask(self, features: Features, name: str) -> Callable[[], Vote]:
        return self._seats[name].ask(features)

    def _report(self, vote: Vote) -> None:
        before = self._faults.get(vote.voter)
        extra = {"voter": vote.voter, "reason": vote.reason.value}
        if vote.reason.is_fault:
            self._faults[vote.voter] = vote.reason
            level = logging.DEBUG if before is vote.reason else logging.WARNING
            _log.log(level, "voter abstains", extra={**extra, "detail": vote.detail})
        elif before is not None and vote.reason is not VoteReason.SKIPPED:
            del self._faults[vote.voter]
            _log.info("voter is back", extra=extra)
