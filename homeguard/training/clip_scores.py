"""Clip-level figures of the vote and of each voter, as the daemon's own pipeline hears recordings.

Every clip is a recording of its own, as `homeguard analyze` hears it: windows every hop, a short
one padded, the gate open from the start. A clip scores the highest emergency probability of its
windows, and is named as its surest window is named. Intervals are bootstrapped over groups, since
clips of one recording or speaker are no independent witnesses.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from homeguard.analyze import Hearing, room_opener
from homeguard.config import Config, DecisionConfig
from homeguard.domain import BLOCK_SAMPLES, AudioChunk, Decision, Float32, Vote, VoteReason, Window
from homeguard.labels import Category
from homeguard.mel import SAMPLE_RATE
from homeguard.training.corpus import AudioCache, Clip
from homeguard.training.metrics import FALSE_ALARM_RATES, Floats, auc, macro_f1, recall_at
from homeguard.training.scene_hearing import offline
from homeguard.voting.load import load_panel
from homeguard.voting.registry import Registry
from homeguard.voting.vote import decide

# "vote" asks everybody; "vote_skipping" leaves the encoder out where it could not matter, as the
# daemon does by default, and lets it take part with its bound.
JUDGES = ("vote", "vote_skipping", "encoder", "cnn", "transcript")
_PLACES = {category.value: place for place, category in enumerate(Category)}


@dataclass(frozen=True, slots=True)
class ClipScore:
    """One clip: its label, and by judge the score and the category it was given."""

    name: str
    category: str
    confidence: str
    group: str
    event: str
    duration_s: float
    raised: bool  # an incident was opened
    scores: dict[str, float]
    told: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class JudgeFigures:
    """How a judge does on clips; recalls by false-alarm rate in percent ("5")."""

    clips: int
    emergencies: int
    auc: Interval
    recall: dict[str, Interval]
    accuracy: Interval
    macro_f1: Interval
    binary_accuracy: Interval  # as told: an emergency category or a normal one


def hear_clips(
    clips: Sequence[Clip], audio: AudioCache, config: Config, registry: Registry
) -> Iterator[ClipScore]:
    """Hear each clip in a fresh room; every voter is asked. Raises ModelError."""
    patient = offline(config, skip_settled=False)
    voting = load_panel(patient, registry)
    with closing(voting.panel):
        open_room = room_opener(patient, voting.extractor, voting.panel)
        for clip in _progress(clips):
            yield hear_clip(clip, audio.samples(clip), open_room(), patient.decision)


def hear_clip(clip: Clip, samples: Float32, room: Hearing, config: DecisionConfig) -> ClipScore:
    """What a pipeline makes of one recording."""
    heard = [event for chunk in _chunks(samples, clip.path.name) for event in room.hear(chunk)]
    heard += room.finish()
    windows = list({event.decision.start_s: event.decision for event in heard}.values())
    scores: dict[str, float] = {}
    told: dict[str, str | None] = {}
    for judge in JUDGES:
        ranked = [_judged(decision, judge, config) for decision in windows]
        scores[judge], told[judge] = max(ranked, key=lambda r: r[0], default=(0.0, None))
    return ClipScore(
        name=f"{clip.path.parent.name}/{clip.path.name}",
        category=clip.category.value,
        confidence=clip.confidence,
        group=clip.group,
        event=clip.event,
        duration_s=len(samples) / SAMPLE_RATE,
        raised=any(event.alerts for event in heard),
        scores=scores,
        told=told,
    )


def figures(rows: Sequence[ClipScore], judge: str, draws: int = 1000) -> JudgeFigures:
    """All figures of a judge with intervals from `draws` resamplings of groups."""
    scores = np.array([row.scores[judge] for row in rows])
    labels = np.array([_PLACES[row.category] for row in rows], dtype=np.int64)
    told = np.array([_PLACES.get(row.told[judge] or "", -1) for row in rows], dtype=np.int64)
    # One more for what was told nothing (place -1).
    dangerous = np.array([*(c.is_emergency for c in Category), False])
    positive, called = dangerous[labels], dangerous[told]
    samples = list(_resamplings([row.group for row in rows], draws))

    def interval(figure: Any) -> Interval:  # noqa: ANN401  (a callable of one index array)
        found = [figure(chosen) for chosen in samples]
        low, high = np.nanpercentile(found, [2.5, 97.5]) if found else (np.nan, np.nan)
        return Interval(figure(np.arange(len(rows))), float(low), float(high))

    return JudgeFigures(
        clips=len(rows),
        emergencies=int(positive.sum()),
        auc=interval(lambda i: auc(scores[i], positive[i])),
        recall={
            f"{100 * rate:g}": interval(lambda i, r=rate: _recall(scores[i], positive[i], r))
            for rate in FALSE_ALARM_RATES
        },
        accuracy=interval(lambda i: float((told[i] == labels[i]).mean())),
        macro_f1=interval(lambda i: macro_f1(told[i], labels[i])),
        binary_accuracy=interval(lambda i: float((called[i] == positive[i]).mean())),
    )


def confusion(rows: Sequence[ClipScore], judge: str) -> NDArray[np.int64]:
    """Counts (19, 20) of true by told category; the last column: told nothing."""
    matrix = np.zeros((len(_PLACES), len(_PLACES) + 1), dtype=np.int64)
    for row in rows:
        matrix[_PLACES[row.category], _PLACES.get(row.told[judge] or "", len(_PLACES))] += 1
    return matrix


def record(rows: Sequence[ClipScore], draws: int = 1000) -> dict[str, Any]:
    """Figures of every judge with and without low-confidence labels, and the rows, for JSON."""
    sure = [row for row in rows if row.confidence != "low"]
    return {
        "without_low_confidence": {j: asdict(figures(sure, j, draws)) for j in JUDGES},
        "all": {j: asdict(figures(rows, j, draws)) for j in JUDGES},
        "by_category": _by_category(sure),
        "rows": [asdict(row) for row in rows],
    }


def from_record(found: dict[str, Any]) -> list[ClipScore]:
    """The rows of a `record`."""
    return [ClipScore(**row) for row in found["rows"]]


def _by_category(rows: Sequence[ClipScore]) -> dict[str, dict[str, float]]:
    by_category: dict[str, list[ClipScore]] = defaultdict(list)
    for row in rows:
        by_category[row.category].append(row)
    return {
        category: {
            "clips": len(members),
            "raised": float(np.mean([row.raised for row in members])),
            **{
                f"told_{judge}": float(np.mean([row.told[judge] == category for row in members]))
                for judge in ("vote", "encoder", "cnn")
            },
        }
        for category, members in sorted(by_category.items())
    }


def _judged(decision: Decision, judge: str, config: DecisionConfig) -> tuple[float, str | None]:
    """A judge's emergency probability of a window, and what it calls it."""
    if judge == "vote":
        return decision.probability or 0.0, decision.category
    if judge == "vote_skipping":
        skipped = decide(_silent_window(decision), _with_skips(decision.votes), config)
        return skipped.probability or 0.0, skipped.category
    vote = next((v for v in decision.votes if v.voter == judge), None)
    if vote is None or vote.probability is None:
        return 0.0, None
    return vote.probability, vote.category


def _with_skips(votes: Sequence[Vote]) -> tuple[Vote, ...]:
    """The votes as a panel that skips settled windows gives them."""
    by_voter = {vote.voter: vote for vote in votes}
    if len(by_voter) < len(votes) or {"encoder", "transcript", "cnn"} - by_voter.keys():
        return tuple(votes)
    speaks = by_voter["transcript"].reason is not VoteReason.NO_SPEECH
    if speaks or by_voter["cnn"].emergency is not False:
        return tuple(votes)
    skipped = Vote.abstain("encoder", VoteReason.SKIPPED)
    return tuple(skipped if vote.voter == "encoder" else vote for vote in votes)


def _silent_window(decision: Decision) -> Window:
    return Window(
        decision.room,
        decision.start_s,
        decision.end_s,
        np.zeros(0, dtype=np.float32),
        active=decision.active,
    )


def _chunks(samples: Float32, room: str) -> Iterator[AudioChunk]:
    for first in range(0, len(samples), BLOCK_SAMPLES):
        yield AudioChunk(room, first / SAMPLE_RATE, samples[first : first + BLOCK_SAMPLES])


def _resamplings(groups: Sequence[str], draws: int) -> Iterator[NDArray[np.int64]]:
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    pools = [np.array(indices) for indices in members.values()]
    rng = np.random.default_rng(0)
    for _ in range(draws if pools else 0):
        yield np.concatenate([pools[int(i)] for i in rng.integers(len(pools), size=len(pools))])


def _recall(scores: Floats, positive: NDArray[np.bool_], rate: float) -> float:
    if positive.all() or not positive.any():
        return float("nan")
    return recall_at(scores, positive, rate)


def _progress(clips: Iterable[Clip]) -> Iterator[Clip]:
    return iter(
        track(
            clips,
            description="listening to clips",
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
    )
