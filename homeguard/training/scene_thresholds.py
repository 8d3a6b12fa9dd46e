"""Thresholds of the sound voters, in all and by category, chosen on scenes of val.

    python -m homeguard.training.scene_thresholds HEARD.jsonl... --out thresholds.json
    python -m homeguard.training.scene_thresholds HEARD.jsonl... --out FILE --margin 0.75 --into DIR

The second one starts from each voter's own threshold at `--rate` false alarms on val's recordings,
raises categories until at most so many false alarms are left, and writes that into the calibrations
in DIR. The free search of the first one finds more events on val, but its low thresholds
did not carry over to other ordinary sound: it shows what could be had, and is not shipped.

HEARD are scenes heard by every voter under thresholds so low that each vote names the emergency it
leans to. From every pair of thresholds on a grid, a category's own threshold is raised as long as
false alarms are too many: always the raise that takes away most of them for each event that it
loses. What is left is a set of settings at each number of false alarms; the best recall wins.

Ordinary sound that val does not have will score higher than what it has: with `--margin` a false
alarm is one that would be there if it scored so many logits more.

A category without events on val costs nothing to raise, so half an event is counted as lost with
every raise, and none goes beyond the last of `_RAISES`: past it a category would be as good as
unheard.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from homeguard.config import DecisionConfig
from homeguard.domain import Reason
from homeguard.labels import EMERGENCIES, Category
from homeguard.training.scene_hearing import HeardScene, load
from homeguard.training.scene_scores import COLLAR_S
from homeguard.training.scenes import Event

_GRID = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_RAISES = (0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9)
_ONSETS = ((2, 3), (3, 5))
_FOLDERS = ("encoder-head", "cnn")
_CATEGORIES = tuple(Category)

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Setting:
    """Thresholds of the two sound voters and the onset rule; `raised` holds for both voters."""

    encoder: float
    cnn: float
    onset_windows: int
    onset_of: int
    raised: dict[Category, float]

    def eased(self, margin: float) -> Setting:
        """The same with every threshold lower by `margin` logits."""
        return replace(
            self,
            encoder=_lower(self.encoder, margin),
            cnn=_lower(self.cnn, margin),
            raised={category: _lower(own, margin) for category, own in self.raised.items()},
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What a setting comes to; recall is of the recorded events, by SNR.

    False alarms are those within the margin that was asked for.
    """

    setting: Setting
    recall: dict[str, float]
    false_alarms: int  # scenes of ordinary sound
    false_between: int  # between the events of the others
    hours: float  # all of them

    @property
    def mean_recall(self) -> float:
        """Over the SNRs."""
        return float(np.mean(list(self.recall.values())))

    @property
    def false(self) -> int:
        """All false alarms."""
        return self.false_alarms + self.false_between


@dataclass(frozen=True, slots=True, eq=False)
class _Voter:
    probabilities: NDArray[np.float64]  # (n,), 0 where it did not vote
    categories: NDArray[np.int64]  # (n,), the emergency it leans to; -1 where none

    def told(self, threshold: float, raised: dict[Category, float]) -> Flags:
        wanted = np.full(len(_CATEGORIES) + 1, threshold)
        for category, own in raised.items():
            wanted[_CATEGORIES.index(category)] = max(own, threshold)
        return np.asarray(self.probabilities >= wanted[self.categories])


class Replayed:
    """A heard scene as arrays, so that a setting costs a millisecond."""

    def __init__(self, scene: HeardScene, hangover_s: float = 10.0) -> None:
        self.events = scene.events
        self.duration_s = scene.duration_s
        self._hangover_s = hangover_s
        decisions = scene.decisions
        self._ends_s = np.array([d.end_s for d in decisions])
        self._encoder = _voter(scene, "encoder")
        self._cnn = _voter(scene, "cnn")
        self._said = np.array(
            [any(v.voter == "transcript" and v.emergency for v in d.votes) for d in decisions]
        )
        self._called = np.array([d.reason is Reason.DISTRESS_PHRASE for d in decisions])

    def alerts(self, setting: Setting) -> list[tuple[float, Category]]:
        """When alerts leave, and what the surer voter calls them."""
        encoder = self._encoder.told(setting.encoder, setting.raised)
        cnn = self._cnn.told(setting.cnn, setting.raised)
        yes = encoder.astype(int) + cnn + self._said
        told = (yes >= 2) | self._called  # noqa: PLR2004 - 2 of 3
        found: list[tuple[float, Category]] = []
        last_s, recent = -np.inf, -1
        for at in np.flatnonzero(told):
            end_s = float(self._ends_s[at])
            if end_s - last_s <= self._hangover_s:  # the window at its end still goes on
                last_s = end_s
                continue
            begin = max(int(at) - setting.onset_of + 1, recent + 1)
            if self._called[at] or told[begin : at + 1].sum() >= setting.onset_windows:
                found.append((end_s, self._category(int(at))))
                last_s, recent = end_s, int(at)
        return found

    def _category(self, at: int) -> Category:
        surer = max((self._cnn, self._encoder), key=lambda v: float(v.probabilities[at]))
        return _CATEGORIES[int(surer.categories[at])]


def judge(
    scenes: Sequence[Replayed], setting: Setting, margin: float = 0.0
) -> tuple[Result, list[Category]]:
    """What a setting comes to, and the categories of the false alarms within `margin` logits."""
    eased = setting.eased(margin)
    found: dict[str, list[bool]] = {}
    wrong: list[Category] = []
    quiet = between = 0
    for scene in scenes:
        alerts = scene.alerts(setting)
        for event in scene.events:
            if event.origin == "recorded":
                hit = any(_covers(event, at_s) for at_s, _ in alerts)
                found.setdefault(f"{event.snr_db:g}", []).append(hit)
        near = scene.alerts(eased) if margin else alerts
        false = [c for at_s, c in near if not any(_covers(e, at_s) for e in scene.events)]
        wrong += false
        if scene.events:
            between += len(false)
        else:
            quiet += len(false)
    recall = {snr: float(np.mean(hits)) for snr, hits in sorted(found.items())}
    hours = sum(scene.duration_s for scene in scenes) / 3600.0
    return Result(setting, recall, quiet, between, hours), wrong


def path(scenes: Sequence[Replayed], start: Setting, margin: float = 0.0) -> Iterable[Result]:
    """Results from `start` on, with ever higher thresholds for single categories."""
    result, wrong = judge(scenes, start, margin)
    yield result
    while result.false:
        raised = [_raised(result.setting, category) for category in dict.fromkeys(wrong)]
        tried = [judge(scenes, setting, margin) for setting in raised if setting is not None]
        if not tried:
            return
        result, wrong = max(tried, key=lambda t: _worth(result, t[0]))
        yield result


def choose(results: Sequence[Result]) -> list[Result]:
    """Of each number of false alarms the best recall, where fewer alarms do not reach it."""
    front: list[Result] = []
    for result in sorted(results, key=lambda r: (r.false, -r.mean_recall)):
        if not front or result.mean_recall > front[-1].mean_recall:
            front.append(result)
    return front


def write(result: Result, models: Path) -> None:
    """Put a result's thresholds into the calibration.json of both sound voters in `models`."""
    setting = result.setting
    for folder, threshold in zip(_FOLDERS, (setting.encoder, setting.cnn), strict=True):
        file = models / folder / "calibration.json"
        record = json.loads(file.read_text(encoding="utf-8"))
        raised = {c.value: t for c, t in sorted(setting.raised.items()) if t > threshold}
        record["calibration"] |= {"threshold": threshold, "thresholds": raised}
        record["thresholds_by"] = asdict(result)
        text = json.dumps(record, indent=1, ensure_ascii=False)
        file.write_text(text + "\n", encoding="utf-8")


def _own(folder: Path, rate: float) -> float:
    """A voter's threshold at a rate of false alarms on val's recordings, as it was calibrated."""
    record = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    points = {p["false_alarm_rate"]: p["threshold"] for p in record["calibration"]["points"]}
    return round(float(points[rate]), 3)


def _lower(threshold: float, margin: float) -> float:
    odds = threshold / (1.0 - threshold) * np.exp(-margin)
    return float(odds / (1.0 + odds))


def _worth(before: Result, after: Result) -> float:
    events = 20.0 * len(before.recall)
    lost = (before.mean_recall - after.mean_recall) * events
    return (before.false - after.false + 0.01) / (max(lost, 0.0) + 0.5)


def _raised(setting: Setting, category: Category) -> Setting | None:
    now = setting.raised.get(category, min(setting.encoder, setting.cnn))
    higher = next((step for step in _RAISES if step > now + 1e-9), None)
    if category not in EMERGENCIES or higher is None:
        return None
    return replace(setting, raised={**setting.raised, category: higher})


def _voter(scene: HeardScene, name: str) -> _Voter:
    probabilities = np.zeros(len(scene.decisions))
    categories = np.full(len(scene.decisions), -1)
    for at, decision in enumerate(scene.decisions):
        for vote in decision.votes:
            if vote.voter == name and vote.probability is not None:
                probabilities[at] = vote.probability
                if vote.category is not None and vote.category.is_emergency:
                    categories[at] = _CATEGORIES.index(vote.category)
    return _Voter(probabilities, categories)


def _covers(event: Event, at_s: float) -> bool:
    return event.span.start_s <= at_s <= event.span.end_s + COLLAR_S


def main(arguments: Sequence[str]) -> int:
    """Print the front and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("heard", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--into", type=Path, help="models/: write what was chosen there")
    parser.add_argument("--false", type=int, default=4, help="false alarms at most, with --into")
    parser.add_argument("--rate", type=float, default=0.03, help="of each voter, with --into")
    parser.add_argument(
        "--margin", type=float, default=0.0, help="logits that ordinary sound gains"
    )
    given = parser.parse_args(arguments)
    decision = DecisionConfig()
    ours = (decision.onset_windows, decision.onset_of)
    scenes = [Replayed(scene) for file in given.heard for scene in load(file)]
    if given.into:
        encoder, cnn = (_own(given.into / name, given.rate) for name in _FOLDERS)
        starts = [Setting(encoder, cnn, *ours, {})]
    else:
        starts = [Setting(e, c, *onset, {}) for onset in _ONSETS for e in _GRID for c in _GRID]
    console = Console(stderr=True)
    watched = track(starts, "choosing", console=console, disable=not sys.stderr.isatty())
    front = choose([result for start in watched for result in path(scenes, start, given.margin)])
    for result in front:
        recall = " ".join(f"{snr} dB {share:.2f}" for snr, share in result.recall.items())
        print(f"{result.false} false in {result.hours:.1f} h: {recall}; {result.setting}")  # noqa: T201 - the command's output
    record = [asdict(result) for result in front]
    given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if given.into:
        few = [result for result in front if result.false <= given.false]
        if not few:
            parser.error(f"no setting has so few false alarms; the fewest are {front[0].false}")
        write(few[-1], given.into)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
