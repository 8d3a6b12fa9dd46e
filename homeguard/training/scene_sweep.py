"""Other settings over votes that were already heard: decision and smoothing are pure, so replayed.

What the replay cannot know: the gate stays open while an incident goes on, so a setting that opens
other incidents would have let other windows through. Windows of a shut gate stay silent here.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from homeguard.config import DecisionConfig
from homeguard.domain import Decision, Vote, Window
from homeguard.training.scene_hearing import Detection, HeardScene
from homeguard.training.scene_scores import Rate, Share, match, poisson, wilson
from homeguard.voting.smoothing import Calls, Phase, Smoother
from homeguard.voting.vote import decide

_NO_SOUND = np.zeros(0, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Setting:
    """What is swept; a threshold of None leaves the votes as they were cast."""

    onset_windows: int = 2
    onset_of: int = 3
    hangover_s: float = 10.0
    encoder: float | None = None
    cnn: float | None = None
    transcript: float | None = None
    votes_needed: int = 2

    @classmethod
    def of(cls, config: DecisionConfig) -> Setting:
        """The setting of a configuration, votes as they were cast."""
        return cls(
            onset_windows=config.onset_windows,
            onset_of=config.onset_of,
            hangover_s=config.hangover_s,
            votes_needed=config.votes_needed,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a setting comes to; recall is of recorded events by SNR ("10"), spoken ones apart."""

    setting: Setting
    recall: dict[str, Share]
    spoken: Share
    false_alarms: Rate  # ordinary scenes
    false_alarms_between_events: Rate
    latency_p95_s: float

    @property
    def mean_recall(self) -> float:
        """Mean over the SNRs."""
        shares = [share.share for share in self.recall.values()]
        return sum(shares) / len(shares) if shares else float("nan")


def grid(
    onsets: Iterable[tuple[int, int]] = ((1, 1), (2, 2), (2, 3), (3, 3), (3, 4), (3, 5)),
    hangovers_s: Iterable[float] = (10.0,),
    encoders: Iterable[float | None] = (None,),
    cnns: Iterable[float | None] = (None,),
    transcripts: Iterable[float | None] = (None,),
    votes_needed: int = 2,
) -> Iterator[Setting]:
    """Every combination."""
    axes = itertools.product(onsets, hangovers_s, encoders, cnns, transcripts)
    for (windows, of), hangover_s, encoder, cnn, transcript in axes:
        yield Setting(windows, of, hangover_s, encoder, cnn, transcript, votes_needed)


def sweep(
    scenes: Sequence[HeardScene], settings: Iterable[Setting], base: DecisionConfig | None = None
) -> list[Outcome]:
    """The outcome of every setting, fewest false alarms first, then highest recall."""
    config = base or DecisionConfig()
    outcomes = [_outcome(scenes, setting, config) for setting in settings]
    return sorted(outcomes, key=lambda o: (o.false_alarms.count, -o.mean_recall))


def replay(
    scene: HeardScene, setting: Setting, base: DecisionConfig | None = None
) -> tuple[Detection, ...]:
    """The detections of a scene under another setting."""
    config = (base or DecisionConfig()).model_copy(
        update={
            "onset_windows": setting.onset_windows,
            "onset_of": setting.onset_of,
            "hangover_s": setting.hangover_s,
            "votes_needed": setting.votes_needed,
        }
    )
    calls, smoother = Calls(config.distress_within_s), Smoother(config)
    detections = []
    for decision in scene.decisions:
        votes = tuple(_recast(vote, setting) for vote in decision.votes)
        heard = calls.update(decision.end_s, votes)
        step = smoother.update(decide(_window(decision), votes, config, heard))
        if step.phase is Phase.ONSET:
            detections.append(
                Detection(
                    onset_s=step.evidence[0].start_s,
                    detected_s=step.decision.end_s,
                    category=step.decision.category,
                    reason=step.decision.reason,
                )
            )
    return tuple(detections)


def _outcome(scenes: Sequence[HeardScene], setting: Setting, config: DecisionConfig) -> Outcome:
    detect = partial(replay, setting=setting, base=config)
    counts: dict[str, list[int]] = {}
    late, quiet, between = [], 0, 0
    for scene in scenes:
        pairs, spurious = match(scene.events, detect(scene))
        if scene.events:
            between += len(spurious)
        else:
            quiet += len(spurious)
        for event, detection in pairs:
            key = f"{event.snr_db:g}" if event.origin == "recorded" else event.origin
            hits = counts.setdefault(key, [0, 0])
            hits[0] += detection is not None
            hits[1] += 1
            if detection is not None:
                late.append(detection.detected_s - event.span.start_s)
    apart = {"spoken", "made"}
    ordinary_h = sum(s.duration_s for s in scenes if not s.events) / 3600.0
    eventful_h = sum(s.duration_s for s in scenes if s.events) / 3600.0
    return Outcome(
        setting=setting,
        recall={k: wilson(*v) for k, v in sorted(counts.items()) if k not in apart},
        spoken=wilson(*counts.get("spoken", [0, 0])),
        false_alarms=poisson(quiet, ordinary_h),
        false_alarms_between_events=poisson(between, eventful_h),
        latency_p95_s=float(np.percentile(late, 95)) if late else float("nan"),
    )


def _recast(vote: Vote, setting: Setting) -> Vote:
    threshold: float | None = getattr(setting, vote.voter)
    if threshold is None or vote.emergency is None or vote.probability is None:
        return vote
    emergency = vote.probability >= threshold
    return replace(vote, emergency=emergency, calls=vote.calls if emergency else ())


def _window(decision: Decision) -> Window:
    return Window(
        room=decision.room,
        start_s=decision.start_s,
        end_s=decision.end_s,
        samples=_NO_SOUND,
        active=decision.active,
        level_dbfs=decision.level_dbfs,
    )
