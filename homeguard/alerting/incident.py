"""From episodes of rooms to incidents of the home, each with one id from raise to all-clear."""

from __future__ import annotations

import uuid
from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from homeguard.config import AlertsConfig, DecisionConfig
from homeguard.domain import Alert, Change, Decision, Incident, IncidentState, Reason
from homeguard.labels import Category

RECENT_WINDOWS = 5  # agreeing windows that name a running incident
RENAMING_WINDOWS = 3  # of them that another category needs


@dataclass(slots=True)
class _Open:
    """A running incident with what it rests on."""

    incident: Incident
    levels_dbfs: dict[str, float]  # loudest window by room that still hears it
    told_at: datetime
    named: set[Category]  # categories that were told: each is news once
    recent: deque[Decision] = field(default_factory=lambda: deque(maxlen=RECENT_WINDOWS))


class IncidentTracker:
    """All rooms' episodes, merged into incidents.

    Rooms that hear the same category within `share_s` share an incident, and the loudest names the
    place. An update is due when a category is heard that was not told yet, when the place or the
    words change, and every `update_every_s`. Times are passed in; nothing here reads a clock.
    """

    def __init__(self, decision: DecisionConfig, alerts: AlertsConfig) -> None:
        self._share = timedelta(seconds=decision.share_s)
        self._update_every = timedelta(seconds=alerts.update_every_s)
        self._open: dict[str, _Open] = {}  # by incident id
        self._of_room: dict[str, str] = {}  # room -> incident id

    def onset(self, evidence: tuple[Decision, ...], at: datetime) -> Alert:
        """An episode began in a room; `evidence` is what made it, `at` when the last window ended.

        Gives NEW, or UPDATE where another room's incident is shared.
        """
        last = evidence[-1]
        began_at = at - timedelta(seconds=last.end_s - evidence[0].start_s)
        # The last window holds most of the event; the first may hold half a beep of it.
        category = last.category or _dominant(evidence)
        if (shared := self._shareable(category, began_at)) is not None:
            return self._join(shared, evidence, at)
        incident = Incident(
            id=uuid.uuid4().hex[:16],
            room=last.room,
            category=category,
            state=IncidentState.RAISED,
            confidence=max(d.probability or 0.0 for d in evidence),
            raised_at=at,
            updated_at=at,
            onset_at=began_at,
            votes=last.votes,
            reason=last.reason,
            transcript=_words(evidence),
            rooms=(last.room,),
        )
        running = _Open(incident, {last.room: last.level_dbfs}, at, {category})
        running.recent.extend(evidence)
        self._open[incident.id] = running
        self._of_room[last.room] = incident.id
        return Alert(Change.NEW, None, incident)

    def ongoing(self, evidence: tuple[Decision, ...], room: str, at: datetime) -> Alert | None:
        """An episode goes on; gives an UPDATE when there is something to tell."""
        running = self._open[self._of_room[room]]
        before = running.incident
        running.incident = self._absorb(running, evidence, at)
        return self._tell(running, before, at)

    def offset(self, room: str, at: datetime) -> Alert | None:
        """A room's episode ended; gives END when it was the last room of its incident."""
        identity = self._of_room.pop(room)
        running = self._open[identity]
        del running.levels_dbfs[room]
        if running.levels_dbfs:
            return None
        del self._open[identity]
        before = running.incident
        ended = replace(before, state=IncidentState.ENDED, updated_at=at, ended_at=at)
        return Alert(Change.END, before, ended)

    def revise(self, incident: Incident) -> Alert | None:
        """Take a change from outside (a clip was written, somebody acknowledged).

        Gives its UPDATE, or None where the incident has ended and was not changed.
        """
        running = self._open.get(incident.id)
        if running is None:
            return None
        before, running.incident = running.incident, incident
        return Alert(Change.UPDATE, before, incident)

    def running(self, identity: str) -> Incident | None:
        """The incident of this id while it runs."""
        found = self._open.get(identity)
        return found.incident if found else None

    def running_ids(self) -> tuple[str, ...]:
        """Ids of all running incidents."""
        return tuple(self._open)

    def _shareable(self, category: Category, began_at: datetime) -> _Open | None:
        for running in self._open.values():
            incident = running.incident
            near = abs(began_at - incident.onset_at) <= self._share
            if incident.category is category and near:
                return running
        return None

    def _join(self, running: _Open, evidence: tuple[Decision, ...], at: datetime) -> Alert:
        room = evidence[-1].room
        self._of_room[room] = running.incident.id
        running.levels_dbfs[room] = evidence[-1].level_dbfs
        before = running.incident
        rooms = (*before.rooms, room) if room not in before.rooms else before.rooms
        running.incident = replace(self._absorb(running, evidence, at), rooms=rooms)
        running.told_at = at
        return Alert(Change.UPDATE, before, running.incident)

    def _absorb(self, running: _Open, evidence: tuple[Decision, ...], at: datetime) -> Incident:
        incident = running.incident
        if not evidence:
            return incident
        last = evidence[-1]
        running.recent.extend(evidence)
        levels = running.levels_dbfs
        levels[last.room] = max(levels.get(last.room, last.level_dbfs), last.level_dbfs)
        return replace(
            incident,
            room=max(levels, key=lambda room: levels[room]),
            category=_renamed(incident.category, running.recent),
            confidence=max(incident.confidence, *(d.probability or 0.0 for d in evidence)),
            votes=last.votes,
            reason=last.reason if incident.reason is Reason.UNCONFIRMED else incident.reason,
            transcript=incident.transcript or _words(evidence),
            updated_at=at,
        )

    def _tell(self, running: _Open, before: Incident, at: datetime) -> Alert | None:
        after = running.incident
        changed = after.category not in running.named or (
            (before.room, before.transcript, before.reason)
            != (after.room, after.transcript, after.reason)
        )
        if not changed and at - running.told_at < self._update_every:
            return None
        running.told_at = at
        running.named.add(after.category)
        running.incident = replace(after, updated_at=at)
        return Alert(Change.UPDATE, before, running.incident)


def _dominant(evidence: Iterable[Decision]) -> Category:
    """The category with most probability behind it; the first heard wins a tie."""
    weights: Counter[Category] = Counter()
    for decision in evidence:
        if decision.category is not None:
            weights[decision.category] += round(1000 * (decision.probability or 0.0)) + 1
    ranked = weights.most_common(1)
    return ranked[0][0] if ranked else Category.HELP_REQUEST


def _renamed(category: Category, recent: Collection[Decision]) -> Category:
    """The category that the last windows call a running incident; a few strays change nothing."""
    leading = _dominant(recent)
    votes = sum(1 for decision in recent if decision.category is leading)
    return leading if votes >= RENAMING_WINDOWS else category


def _words(evidence: Iterable[Decision]) -> str | None:
    return next((d.transcript for d in evidence if d.transcript), None)
