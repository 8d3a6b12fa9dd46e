"""AI-Hub's recordings as its users find them on disk, read into the same clips as a manifest.

Set 170, "위급상황 음성/음향": `Training/` and `Validation/`, each with `[라벨]N.<class>/` (JSON)
and `[원천]N.<class>_K/` (WAV). Names may be NFD-normalised. The appliance classes come from the
noise set "소음 환경 음성인식 데이터"; of its folders only the recordings are read, whole and
without text.

`Validation/` becomes the test split; of `Training/` a small share, chosen by each recording's
name, becomes val (the University of Seoul system: 65,848 train, 666 validation, 12,102 test).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from homeguard.labels import Category
from homeguard.training.corpus import Clip, CorpusError, Split, refuse_leaks

Part = Literal["Training", "Validation"]
PARTS: tuple[Part, ...] = ("Training", "Validation")
SOURCE = "AI-Hub 170"
NOISE_SOURCE = "AI-Hub noise"
VAL_SHARE = 0.01  # of Training's recordings

_FOLDER = re.compile(r"\[(라벨|원천)\]\s*(?:\d+\.)?(.+?)(?:_\d+)?")
_APPLIANCE = "가전소음"
_APPLIANCE_WORDS = {
    Category.APPLIANCE_WASHER_DRYER: ("세탁기", "건조기"),
    Category.APPLIANCE_VACUUM: ("청소기",),
    Category.APPLIANCE_OTHER: ("기타",),
}
_CATEGORIES = {category.info.aihub.replace(" ", ""): category for category in Category}
_LISTED = 5  # examples of each fault that a person is shown


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a copy that cannot be used; `path` is the culprit."""

    kind: Literal[
        "unknown class",
        "unreadable label",
        "label without recording",
        "recording without label",
        "empty recording",
        "twice in one class",
        "event outside its recording",
        "also in Validation",
    ]
    path: Path


@dataclass(frozen=True, slots=True)
class Survey:
    """A copy of the data: its clips and everything that is wrong with it."""

    clips: tuple[Clip, ...]
    faults: tuple[Fault, ...]
    recordings: Mapping[tuple[Part, Category], int]
    labels: Mapping[tuple[Part, Category], int]

    @property
    def missing(self) -> tuple[tuple[Part, Category], ...]:
        """Classes of which a part holds no usable recording."""
        found = {(_part_of(clip.split), clip.category) for clip in self.clips}
        return tuple((p, c) for p in PARTS for c in Category if (p, c) not in found)

    @property
    def is_complete(self) -> bool:
        """Whether every class is there, in both parts, without a fault."""
        return not self.faults and not self.missing


@dataclass(slots=True)
class _Shelf:
    """Files of one class in one part, by the name that labels and recordings share."""

    labels: list[Path] = field(default_factory=list)
    recordings: dict[str, Path] = field(default_factory=dict)


def read_aihub(
    directory: Path, noise: Path | None = None, val_share: float = VAL_SHARE
) -> tuple[Clip, ...]:
    """The clips of a copy, one for each event that a label names; faulty files are left out.

    `noise`: where the noise set lies, if not under `directory` too. A clip's group is its
    recording; its span is the label's area; its event the label's finest class. Raises CorpusError
    when nothing usable is there.
    """
    survey = check(directory, noise, val_share)
    if not survey.clips:
        message = (
            f"{directory} holds no AI-Hub recording with its label; expected "
            "Training/[라벨]N.<class>/*.json and Training/[원천]N.<class>_K/*.wav"
        )
        raise CorpusError(message)
    refuse_leaks(survey.clips)
    return survey.clips


def check(directory: Path, noise: Path | None = None, val_share: float = VAL_SHARE) -> Survey:
    """Look at every label and recording of a copy. Raises CorpusError if there is no folder."""
    for folder in (directory, noise):
        if folder is not None and not folder.is_dir():
            message = f"{folder} is no folder: give where Training/ and Validation/ lie"
            raise CorpusError(message)
    faults: list[Fault] = []
    shelves: dict[tuple[Part, Category], _Shelf] = defaultdict(_Shelf)
    for root in dict.fromkeys(r for r in (directory, noise) if r is not None):
        _collect(root, shelves, faults)
    clips: list[Clip] = []
    # Validation first: what is in both parts must not be learned from.
    for part in reversed(PARTS):
        taken = {clip.group for clip in clips}
        for (where, category), shelf in shelves.items():
            if where == part:
                clips += _clips(shelf, part, category, val_share, taken, faults)
    return Survey(
        clips=tuple(clips),
        faults=tuple(faults),
        recordings={key: len(shelf.recordings) for key, shelf in shelves.items()},
        labels={key: len(shelf.labels) for key, shelf in shelves.items()},
    )


def print_check(survey: Survey, console: Console) -> None:
    """Show a person the counts of every class, what is missing and what is wrong."""
    console.print(_table(survey))
    by_kind: dict[str, list[Path]] = defaultdict(list)
    for fault in survey.faults:
        by_kind[fault.kind].append(fault.path)
    for kind, paths in sorted(by_kind.items()):
        console.print(f"{kind}: {len(paths)}", style="yellow")
        for path in paths[:_LISTED]:
            console.print(f"  {path}", markup=False, highlight=False)
    for part in PARTS:
        absent = [c.info.aihub for p, c in survey.missing if p == part]
        if absent:
            console.print(f"missing in {part}: {', '.join(absent)}", style="red", markup=False)


def _table(survey: Survey) -> Table:
    splits = Counter((clip.split, clip.category) for clip in survey.clips)
    table = Table("class", "labels", "recordings", "train", "val", "test", title=SOURCE)
    for category in Category:
        counts = (survey.labels, survey.recordings)
        found = [sum(count.get((part, category), 0) for part in PARTS) for count in counts]
        found += [splits[split, category] for split in ("train", "val", "test")]
        table.add_row(category.info.aihub, *map(str, found))
    return table


def _collect(root: Path, shelves: dict[tuple[Part, Category], _Shelf], faults: list[Fault]) -> None:
    for part in PARTS:
        for folder, files in _folders(root / part):
            parts = [_nfc(name) for name in folder.relative_to(root / part).parts]
            kind, category = _meaning(parts)
            if category is None:
                if kind or (files and any(_APPLIANCE in name for name in parts)):
                    faults.append(Fault("unknown class", folder))
                continue
            for path in files:
                _shelve(path, shelves[part, category], faults)


def _folders(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    for place, folders, names in os.walk(root):
        folders.sort()
        yield Path(place), [Path(place, name) for name in sorted(names)]


def _meaning(parts: list[str]) -> tuple[bool, Category | None]:
    """Whether a folder is named as labels or recordings are, and of which class it is."""
    named = False
    for name in parts:
        match = _FOLDER.fullmatch(name)
        if match:
            named = True
            category = _CATEGORIES.get(match[2].replace(" ", ""))
            if category is not None:
                return True, category
    return named and not any(_APPLIANCE in name for name in parts), _appliance(parts)


def _appliance(parts: list[str]) -> Category | None:
    """The appliance class of a folder of the noise set: 가전소음, and the appliance under it."""
    path = "/".join(parts)
    _, found, rest = path.partition(_APPLIANCE)
    if not found:
        return None
    for category, words in _APPLIANCE_WORDS.items():
        if any(word in rest for word in words):
            return category
    return None


def _shelve(path: Path, shelf: _Shelf, faults: list[Fault]) -> None:
    suffix = path.suffix.lower()
    if suffix == ".json":
        shelf.labels.append(path)
    elif suffix == ".wav":
        name = _nfc(path.stem)
        if name in shelf.recordings:
            faults.append(Fault("twice in one class", path))
        elif path.stat().st_size == 0:
            faults.append(Fault("empty recording", path))
        else:
            shelf.recordings[name] = path


def _clips(
    shelf: _Shelf,
    part: Part,
    category: Category,
    val_share: float,
    taken: set[str],
    faults: list[Fault],
) -> Iterator[Clip]:
    is_noise = category in _APPLIANCE_WORDS
    labelled = {} if is_noise else _pairs(shelf, faults)
    for name, recording in shelf.recordings.items():
        # A name alone may be used again in the other part; name and size together are a recording.
        group = f"{category.value}/{name}/{recording.stat().st_size}"
        split = _split(group, part, val_share)
        if group in taken:
            faults.append(Fault("also in Validation", recording))
        elif is_noise:
            yield Clip(recording, category, split, group, source=NOISE_SOURCE)
        elif name not in labelled:
            faults.append(Fault("recording without label", recording))
        else:
            for annotation in labelled[name]["annotations"]:
                span, is_wrong = _span(annotation, labelled[name])
                if is_wrong:
                    faults.append(Fault("event outside its recording", recording))
                yield _event(recording, category, split, group, annotation, span)


def _pairs(shelf: _Shelf, faults: list[Fault]) -> dict[str, dict[str, Any]]:
    """The labels of a class by the name of their recording."""
    labelled: dict[str, dict[str, Any]] = {}
    for path in shelf.labels:
        label = _read_label(path)
        if label is None:
            faults.append(Fault("unreadable label", path))
            continue
        name = next((n for n in _names(label, path) if n in shelf.recordings), None)
        if name is None:
            faults.append(Fault("label without recording", path))
        elif name in labelled:
            faults.append(Fault("twice in one class", path))
        else:
            labelled[name] = label
    return labelled


def _event(
    recording: Path,
    category: Category,
    split: Split,
    group: str,
    annotation: Mapping[str, Any],
    span: tuple[float, float] | None,
) -> Clip:
    categories = annotation.get("categories")
    detail = categories.get("category_03") if isinstance(categories, dict) else None
    words = _nfc(str(annotation.get("note") or "")).strip()
    return Clip(
        path=recording,
        category=category,
        split=split,
        group=group,
        event=_nfc(str(detail or "")),
        source=SOURCE,
        transcript=words or None,
        language="ko" if words else None,
        span_s=span,
    )


def _read_label(path: Path) -> dict[str, Any] | None:
    try:
        label = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    if not isinstance(label, dict) or not isinstance(label.get("audio"), dict):
        return None
    annotations = label.get("annotations")
    if not isinstance(annotations, list) or not annotations:
        return None
    return label if all(isinstance(a, dict) for a in annotations) else None


def _names(label: Mapping[str, Any], path: Path) -> Iterator[str]:
    """What the label's recording may be called, the documented name first."""
    stem = _nfc(str(label["audio"].get("fileName") or "")).removesuffix(".wav")
    if stem:
        yield f"{stem}_label"
        yield f"{stem.rstrip('_')}_label"
        yield stem
    yield _nfc(path.stem)


def _span(
    annotation: Mapping[str, Any], label: Mapping[str, Any]
) -> tuple[tuple[float, float] | None, bool]:
    """Where the event lies (None: the whole recording), and whether the label got that wrong."""
    area = annotation.get("area")
    if not isinstance(area, dict) or "start" not in area or "end" not in area:
        return None, False
    try:
        start_s, end_s = float(area["start"]), float(area["end"])
        duration_s = float(label["audio"].get("duration") or math.inf)
    except (TypeError, ValueError):
        return None, True
    if not 0.0 <= start_s < end_s or start_s >= duration_s or math.isinf(end_s):
        return None, True
    return (start_s, end_s), False


def _split(group: str, part: Part, val_share: float) -> Split:
    if part == "Validation":
        return "test"
    bucket = int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") / 2**32
    return "val" if bucket < val_share else "train"


def _part_of(split: Split) -> Part:
    return "Validation" if split == "test" else "Training"


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)
