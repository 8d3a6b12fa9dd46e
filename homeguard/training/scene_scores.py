"""Scene-level figures: events found at each SNR, how late, and how often nothing was the matter.

An event is found when an incident's alert leaves between its onset and 10 s after its end. Every
other alert is a false alarm. Intervals hold at 95 %: Wilson's for shares, the exact Poisson
interval (Garwood 1936) for counts. Nothing is extrapolated: hours are hours that were heard.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from homeguard.domain import Reason, Span
from homeguard.training.scene_hearing import Detection, HeardScene
from homeguard.training.scenes import Event

COLLAR_S = 10.0
_Z = 1.959964
_DAY_H = 24.0


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its 95 % interval (Wilson)."""

    found: int
    of: int
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rate:
    """Events in so many hours, and in 24 of them, with the exact Poisson interval of the latter."""

    count: int
    hours: float
    per_day: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from an event's onset to its alert, over the events that were found."""

    p50_s: float
    p95_s: float
    all_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Alarm:
    """A false alarm, and the ordinary sound that it came from."""

    scene: str
    at_s: float
    category: str | None
    reason: Reason
    sounding: str | None
    sounding_category: str | None


@dataclass(frozen=True, slots=True)
class SceneScores:
    """All figures of a run; `recall` is by origin and SNR ("recorded 10 dB")."""

    recall: dict[str, Share]
    recall_by_category: dict[str, Share]  # recorded events, all SNRs
    named: Share  # found recorded events whose incident names their category
    precision: Share
    f1: float  # event-based, recorded and spoken and made together
    latency: Latency
    false_alarms: Rate  # over scenes of ordinary sound alone
    false_alarms_by_category: dict[str, int]  # what the alert said
    false_alarms_by_sound: dict[str, int]  # what it came from
    false_calls: int  # of these, by a distress phrase
    false_alarms_between_events: Rate
    alarms: tuple[Alarm, ...]
    heard_h: float
    audio_seconds_per_second: float  # of wall time
    audio_seconds_per_cpu_second: float


Detect = Callable[[HeardScene], Sequence[Detection]]


def as_heard(scene: HeardScene) -> Sequence[Detection]:
    """The detections of the pipeline itself."""
    return scene.detections


def score(scenes: Sequence[HeardScene], detect: Detect = as_heard) -> SceneScores:
    """All figures of scenes; `detect` may put other detections in place of the pipeline's."""
    found: list[tuple[Event, Detection | None]] = []
    quiet: list[Alarm] = []
    between: list[Alarm] = []
    for scene in scenes:
        pairs, spurious = match(scene.events, detect(scene))
        found += pairs
        (between if scene.events else quiet).extend(_alarm(scene, d) for d in spurious)
    hits = [(event, detection) for event, detection in found if detection is not None]
    recorded = [(e, d) for e, d in found if e.origin == "recorded"]
    named = [e.category is d.category for e, d in recorded if d is not None]
    wall_s, cpu_s = sum(s.wall_s for s in scenes), sum(s.cpu_s for s in scenes)
    heard_s = sum(s.duration_s for s in scenes)
    return SceneScores(
        recall=_by(found, lambda e: f"{e.origin} {e.snr_db:g} dB"),
        recall_by_category=_by(recorded, lambda e: e.category.value),
        named=wilson(sum(named), len(named)),
        precision=wilson(len(hits), len(hits) + len(between)),
        f1=2 * len(hits) / max(len(found) + len(hits) + len(between), 1),
        latency=_latency([d.detected_s - e.span.start_s for e, d in hits]),
        false_alarms=poisson(len(quiet), _hours(s for s in scenes if not s.events)),
        false_alarms_by_category=_count(alarm.category for alarm in quiet),
        false_alarms_by_sound=_count(alarm.sounding for alarm in quiet),
        false_calls=sum(alarm.reason is Reason.DISTRESS_PHRASE for alarm in quiet),
        false_alarms_between_events=poisson(len(between), _hours(s for s in scenes if s.events)),
        alarms=(*quiet, *between),
        heard_h=heard_s / 3600.0,
        audio_seconds_per_second=heard_s / max(wall_s, 1e-9),
        audio_seconds_per_cpu_second=heard_s / max(cpu_s, 1e-9),
    )


def match(
    events: Sequence[Event], detections: Sequence[Detection]
) -> tuple[list[tuple[Event, Detection | None]], list[Detection]]:
    """Each event with the first alert that finds it (one alert finds one event), and the rest."""
    free = sorted(detections, key=lambda d: d.detected_s)
    pairs: list[tuple[Event, Detection | None]] = []
    for event in sorted(events, key=lambda e: e.span.start_s):
        latest_s = event.span.end_s + COLLAR_S
        hit = next((d for d in free if event.span.start_s <= d.detected_s <= latest_s), None)
        if hit is not None:
            free.remove(hit)
        pairs.append((event, hit))
    # A second alert of an event that was found is no false alarm.
    return pairs, [d for d in free if not any(_covers(e, d) for e in events)]


def wilson(found: int, of: int) -> Share:
    """A share with Wilson's interval; NaN where there is nothing to share."""
    if not of:
        return Share(0, 0, math.nan, math.nan, math.nan)
    p, z2 = found / of, _Z * _Z / of
    middle = (p + z2 / 2) / (1 + z2)
    half = _Z * math.sqrt(p * (1 - p) / of + z2 / (4 * of)) / (1 + z2)
    return Share(found, of, p, max(0.0, middle - half), min(1.0, middle + half))


def poisson(count: int, hours: float) -> Rate:
    """A count in so many hours as a rate per 24 h; NaN where nothing was heard."""
    from scipy.stats import chi2  # noqa: PLC0415  (extra `train`)

    if hours <= 0.0:
        return Rate(count, 0.0, math.nan, math.nan, math.nan)
    days = hours / _DAY_H
    low = float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0
    high = float(chi2.ppf(0.975, 2 * (count + 1))) / 2
    return Rate(count, hours, count / days, low / days, high / days)


def _covers(event: Event, detection: Detection) -> bool:
    return event.span.start_s <= detection.detected_s <= event.span.end_s + COLLAR_S


def _alarm(scene: HeardScene, detection: Detection) -> Alarm:
    sound = scene.sounding(Span(detection.onset_s, detection.detected_s))
    return Alarm(
        scene=scene.name,
        at_s=round(detection.detected_s, 3),
        category=detection.category.value if detection.category else None,
        reason=detection.reason,
        sounding=sound.name if sound else None,
        sounding_category=sound.category.value if sound else None,
    )


def _by(
    found: Sequence[tuple[Event, Detection | None]], key: Callable[[Event], str]
) -> dict[str, Share]:
    of = Counter(key(event) for event, _ in found)
    hits = Counter(key(event) for event, detection in found if detection is not None)
    return {name: wilson(hits[name], of[name]) for name in sorted(of)}


def _latency(values_s: Sequence[float]) -> Latency:
    if not values_s:
        return Latency(math.nan, math.nan, ())
    p50_s, p95_s = np.percentile(values_s, [50, 95])
    return Latency(float(p50_s), float(p95_s), tuple(round(v, 3) for v in sorted(values_s)))


def _count(names: Iterable[str | None]) -> dict[str, int]:
    counted: Mapping[str, int] = Counter(name or "nothing" for name in names)
    return dict(sorted(counted.items(), key=lambda item: -item[1]))


def _hours(scenes: Iterable[HeardScene]) -> float:
    return sum(scene.duration_s for scene in scenes) / 3600.0
