"""Scenes heard by the daemon's own pipeline, and what was heard kept for scoring.

Hearing costs minutes to hours, scoring nothing: so every window's votes are kept, without sound and
without words, in one JSON line a scene.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from homeguard.analyze import Hearing, room_opener
from homeguard.config import Config
from homeguard.domain import Decision, Reason, Span, Vote, VoteReason
from homeguard.labels import Category
from homeguard.pipeline import Heard
from homeguard.training.scenes import Event, Scene
from homeguard.voting.load import load_panel
from homeguard.voting.registry import Registry
from homeguard.voting.smoothing import Phase

_PATIENCE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Detection:
    """An incident as the smoothing opened it: from its first agreeing window."""

    onset_s: float
    detected_s: float  # stream time at which the alert left
    category: Category | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Background:
    """An ordinary sound of a scene."""

    span: Span
    name: str
    category: Category


@dataclass(frozen=True, slots=True)
class HeardScene:
    """A scene's truth, and what came of hearing it. `cpu_s`: processor time that it took."""

    name: str
    duration_s: float
    events: tuple[Event, ...]
    background: tuple[Background, ...]
    decisions: tuple[Decision, ...]
    detections: tuple[Detection, ...]
    wall_s: float
    cpu_s: float

    def sounding(self, span: Span) -> Background | None:
        """The ordinary sound that fills most of a stretch; None where none is in it."""
        found = [b for b in self.background if b.span.overlaps(span)]
        return max(found, key=lambda b: _overlap_s(b.span, span), default=None)


def offline(config: Config, *, skip_settled: bool) -> Config:
    """A configuration for hearing recordings on a busy machine: no deadlines, no clips.

    `skip_settled` False asks every voter about every window, so that settings can be swept later.
    """
    voters = config.voters
    patient = {
        name: getattr(voters, name).model_copy(update={"deadline_ms": _PATIENCE_MS})
        for name in ("encoder", "transcript", "cnn")
    }
    return config.model_copy(
        update={
            "voters": voters.model_copy(update=patient),
            "decision": config.decision.model_copy(update={"skip_settled": skip_settled}),
            "clips": config.clips.model_copy(update={"enabled": False}),
        }
    )


def hear_scenes(
    scenes: Iterable[Scene], config: Config, registry: Registry, budget_s: float | None = None
) -> Iterator[HeardScene]:
    """Hear scenes with the models of a configuration, each in a fresh room.

    Scenes are made one at a time, so a generator of them keeps memory flat. With `budget_s` no
    scene is begun after so much wall time: what was not heard is not given. Raises ModelError.
    """
    started = time.monotonic()
    voting = load_panel(config, registry)
    with closing(voting.panel):
        open_room = room_opener(config, voting.extractor, voting.panel)
        for scene in _progress(scenes):
            if budget_s is not None and time.monotonic() - started >= budget_s:
                return
            yield hear_scene(scene, open_room())


def hear_scene(scene: Scene, room: Hearing) -> HeardScene:
    """Hear one scene from its beginning to its end."""
    wall, cpu = time.monotonic(), time.process_time()
    heard = [event for chunk in scene.chunks() for event in room.hear(chunk)]
    heard += room.finish()
    background = [
        Background(Span(p.start_s, p.end_s), p.sound.name, p.sound.category)
        for p in scene.placements
        if not p.sound.category.is_emergency
    ]
    return HeardScene(
        name=scene.name,
        duration_s=scene.duration_s,
        events=scene.events,
        background=tuple(background),
        decisions=tuple(_decisions(heard)),
        detections=tuple(_detections(heard)),
        wall_s=time.monotonic() - wall,
        cpu_s=time.process_time() - cpu,
    )


def save(heard: Iterable[HeardScene], path: Path) -> int:
    """Write scenes as they come, a line each; gives how many.

    Until the last one the file is called `<path>.partial`, which `load` reads too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    count = 0
    with partial.open("w", encoding="utf-8") as lines:
        for scene in heard:
            lines.write(json.dumps(_row(scene), ensure_ascii=False) + "\n")
            lines.flush()
            count += 1
    partial.replace(path)
    return count


def load(path: Path) -> tuple[HeardScene, ...]:
    """The scenes that `save` wrote; a last line that was cut off is left out."""
    scenes = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break
        scenes.append(_scene(row))
    return tuple(scenes)


def _decisions(heard: Sequence[Heard]) -> Iterator[Decision]:
    last_s = -1.0
    for event in heard:
        # The end of the sound may end an incident without deciding anything anew.
        if event.decision.start_s > last_s:
            last_s = event.decision.start_s
            yield event.decision


def _detections(heard: Sequence[Heard]) -> Iterator[Detection]:
    for event in heard:
        if event.phase is Phase.ONSET:
            incident = event.alerts[0].after if event.alerts else None
            decision = event.decision
            began_s = (incident.raised_at - incident.onset_at).total_seconds() if incident else 0.0
            yield Detection(
                onset_s=decision.end_s - began_s,
                detected_s=decision.end_s,
                category=incident.category if incident else decision.category,
                reason=decision.reason,
            )


def _row(scene: HeardScene) -> dict[str, Any]:
    row = {name: getattr(scene, name) for name in ("name", "duration_s", "wall_s", "cpu_s")}
    row["events"] = [asdict(event) for event in scene.events]
    row["background"] = [
        [round(b.span.start_s, 3), round(b.span.end_s, 3), b.name, b.category]
        for b in scene.background
    ]
    row["detections"] = [asdict(detection) for detection in scene.detections]
    row["decisions"] = [_decision_row(decision) for decision in scene.decisions]
    return row


def _decision_row(decision: Decision) -> list[Any]:
    times = [round(decision.start_s, 3), round(decision.end_s, 3)]
    if not decision.active:
        return times
    votes = [
        [
            vote.voter,
            vote.reason,
            vote.emergency,
            None if vote.probability is None else round(vote.probability, 6),
            vote.category,
            [[span.start_s, span.end_s] for span in vote.calls],
            None if vote.spoken is None else [vote.spoken.start_s, vote.spoken.end_s],
        ]
        for vote in decision.votes
    ]
    return [
        *times,
        decision.reason,
        None if decision.probability is None else round(decision.probability, 6),
        decision.category,
        decision.emergency,
        votes,
    ]


def _scene(row: dict[str, Any]) -> HeardScene:
    name = row["name"]
    return HeardScene(
        name=name,
        duration_s=row["duration_s"],
        events=tuple(_event(event) for event in row["events"]),
        background=tuple(
            Background(Span(start_s, end_s), sound, Category(category))
            for start_s, end_s, sound, category in row["background"]
        ),
        decisions=tuple(_decision(name, cells) for cells in row["decisions"]),
        detections=tuple(
            Detection(d["onset_s"], d["detected_s"], _category(d["category"]), Reason(d["reason"]))
            for d in row["detections"]
        ),
        wall_s=row["wall_s"],
        cpu_s=row["cpu_s"],
    )


def _event(row: dict[str, Any]) -> Event:
    return Event(**{**row, "span": Span(**row["span"]), "category": Category(row["category"])})


def _decision(room: str, cells: Sequence[Any]) -> Decision:
    start_s, end_s, *rest = cells
    if not rest:
        return Decision(
            room,
            start_s,
            end_s,
            active=False,
            emergency=False,
            category=None,
            probability=None,
            reason=Reason.SILENT,
        )
    reason, probability, category, emergency, votes = rest
    return Decision(
        room=room,
        start_s=start_s,
        end_s=end_s,
        active=True,
        emergency=emergency,
        category=_category(category),
        probability=probability,
        reason=Reason(reason),
        votes=tuple(_vote(vote) for vote in votes),
    )


def _vote(cells: Sequence[Any]) -> Vote:
    voter, reason, emergency, probability, category, calls, spoken = cells
    return Vote(
        voter=voter,
        emergency=emergency,
        probability=probability,
        category=_category(category),
        reason=VoteReason(reason),
        spoken=None if spoken is None else Span(*spoken),
        calls=tuple(Span(*call) for call in calls),
    )


def _category(slug: str | None) -> Category | None:
    return None if slug is None else Category(slug)


def _overlap_s(one: Span, other: Span) -> float:
    return min(one.end_s, other.end_s) - max(one.start_s, other.start_s)


def _progress(scenes: Iterable[Scene]) -> Iterator[Scene]:
    return iter(
        track(
            scenes,
            description="listening to scenes",
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
    )
