"""The bundled household scene: what sounds when, what must come of it, and whether it did.

scripts/make-scene makes the recording and its labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from homeguard.labels import Category

FILE = Path(__file__).with_name("scene.json")
_SAME_S = 20.0  # the same emergency again within this is one incident
_EARLY_S = 6.0  # an incident's onset is the start of a window that only ends in the sound
_LATE_S = 2.0


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound of the scene in seconds of the recording; a category where it is an emergency."""

    start_s: float
    end_s: float
    name: str
    name_ko: str
    category: Category | None

    def explains(self, onset_s: float) -> bool:
        """Whether an incident that begins then may be about this sound."""
        return self.start_s - _EARLY_S <= onset_s <= self.end_s + _LATE_S


@dataclass(frozen=True, slots=True)
class Scene:
    """A recording and everything in it."""

    recording: Path
    duration_s: float
    sounds: tuple[Sound, ...]

    @property
    def expected(self) -> tuple[Sound, ...]:
        """The incidents that must come, in order; a call said twice is one."""
        joined: list[Sound] = []
        for sound in self.sounds:
            if sound.category is None:
                continue
            last = joined[-1] if joined else None
            if last and last.category is sound.category and sound.start_s - last.end_s < _SAME_S:
                joined[-1] = replace(last, end_s=sound.end_s)
            else:
                joined.append(sound)
        return tuple(joined)

    @property
    def harmless(self) -> tuple[Sound, ...]:
        """What must stay quiet."""
        return tuple(sound for sound in self.sounds if sound.category is None)


@dataclass(frozen=True, slots=True)
class Observed:
    """An incident as it was told; `onset_s` in seconds of the recording."""

    category: Category
    onset_s: float
    all_texted: bool = True  # every caregiver got an SMS of it


class Verdict(StrEnum):
    """What one line of the comparison says."""

    RIGHT = "as expected"
    WRONG_KIND = "wrong category"
    UNTEXTED = "not every caregiver was told"
    MISSED = "missed"
    FALSE_ALARM = "false alarm"
    TWICE = "told twice"


@dataclass(frozen=True, slots=True)
class Line:
    """An expectation, what was observed of it, and the verdict."""

    verdict: Verdict
    expected: Sound | None
    observed: Observed | None
    during: Sound | None = None  # the harmless sound that a false alarm mistook


def read_scene(file: Path = FILE) -> Scene:
    """The scene that `file` describes; its recording lies beside it."""
    raw = json.loads(file.read_text(encoding="utf-8"))
    sounds = tuple(
        Sound(
            row["start_s"],
            row["end_s"],
            row["name"],
            row["name_ko"],
            Category(row["category"]) if row["category"] else None,
        )
        for row in raw["events"]
    )
    return Scene(file.with_name(raw["recording"]), raw["duration_s"], sounds)


def compare(scene: Scene, observed: Sequence[Observed]) -> tuple[Line, ...]:
    """Every expectation with its verdict, then every incident that nobody expected."""
    left = list(observed)
    lines = list(_met(scene.expected, left))
    for extra in left:
        again = next((s for s in scene.expected if s.explains(extra.onset_s)), None)
        during = next((s for s in scene.harmless if s.explains(extra.onset_s)), None)
        verdict = Verdict.TWICE if again else Verdict.FALSE_ALARM
        lines.append(Line(verdict, again, extra, None if again else during))
    return tuple(lines)


def _met(expected: Sequence[Sound], left: list[Observed]) -> Iterator[Line]:
    """A line for each expectation; takes what it was met by out of `left`."""
    for sound in expected:
        near = [incident for incident in left if sound.explains(incident.onset_s)]
        right = [incident for incident in near if incident.category is sound.category]
        if not near:
            yield Line(Verdict.MISSED, sound, None)
            continue
        best = (right or near)[0]
        left.remove(best)
        told = Verdict.RIGHT if best.all_texted else Verdict.UNTEXTED
        yield Line(told if right else Verdict.WRONG_KIND, sound, best)
