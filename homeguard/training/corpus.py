"""Recordings to learn from: a manifest read into clips, their audio decoded once into a cache.

A manifest is a CSV with the columns path, category and split; optional are group, event,
label_confidence, licence_class, source_repo, transcript and language. Every reader of a data set
gives the same `Clip`s, so that nothing behind this module knows where a recording came from.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeVar, get_args

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from homeguard.labels import Category
from homeguard.mel import SAMPLE_RATE, Float32
from homeguard.training.errors import LabError

Split = Literal["train", "val", "test"]
Confidence = Literal["high", "medium", "low"]
Licence = Literal["free", "nc", "nc-nd", "restricted", "unverified", "own"]

SPLITS: tuple[Split, ...] = get_args(Split)
CONFIDENCES: tuple[Confidence, ...] = get_args(Confidence)
LICENCES: tuple[Licence, ...] = get_args(Licence)
# Shipped weights never learn from `restricted` or `unverified`, whatever is asked for.
USABLE_LICENCES: frozenset[Licence] = frozenset({"free", "nc", "nc-nd", "own"})
FREE_LICENCES: frozenset[Licence] = frozenset({"free", "own"})

_Text = TypeVar("_Text", bound=str)

_REQUIRED = ("path", "category", "split")
_INT16_FULL_SCALE = 32767.0


class CorpusError(LabError):
    """The data cannot be learned from as it stands; the message names the culprit."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled recording, or one labelled stretch of a recording.

    `group` holds together what must not be split: one speaker, one original recording.
    `span_s` is where the event lies in the recording (start, end in seconds), None: all of it.
    `licence` "own" is a recording whose manifest states no licence class: the user's own.
    """

    path: Path
    category: Category
    split: Split
    group: str
    event: str = ""
    confidence: Confidence = "high"
    licence: Licence = "own"
    source: str = ""
    transcript: str | None = None
    language: str | None = None
    span_s: tuple[float, float] | None = None

    @property
    def is_speech(self) -> bool:
        """Whether somebody speaks in it, as far as the labels know."""
        return self.language is not None or self.transcript is not None


def read_manifest(
    manifest: Path, licences: Iterable[Licence] = USABLE_LICENCES
) -> tuple[Clip, ...]:
    """The clips of a manifest, or of a folder of AI-Hub's, under `licences`.

    Restricted and unverified ones never.

    Paths in it are relative to its folder. Raises CorpusError when a column is missing, a value
    is unknown, a file is missing, or a group crosses splits.
    """
    if manifest.is_dir():
        from homeguard.training.aihub import read_aihub  # noqa: PLC0415  (it builds on this module)

        return read_aihub(manifest)
    wanted = frozenset(licences) & USABLE_LICENCES
    try:
        with manifest.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in _REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                raise CorpusError(f"{manifest}: column {', '.join(missing)} is missing")
            clips = [
                _clip(row, manifest.parent, where=f"{manifest}:{reader.line_num}") for row in reader
            ]
    except OSError as exc:
        raise CorpusError(f"{manifest} cannot be read: {exc.strerror}") from exc
    refuse_leaks(clips)
    chosen = tuple(clip for clip in clips if clip.licence in wanted)
    _refuse_missing(chosen)
    return chosen


def refuse_leaks(clips: Iterable[Clip]) -> None:
    """Raise CorpusError when a group has clips in more than one split."""
    splits: dict[str, set[Split]] = defaultdict(set)
    for clip in clips:
        splits[clip.group].add(clip.split)
    leaking = sorted(group for group, found in splits.items() if len(found) > 1)
    if leaking:
        found = ", ".join(sorted(splits[leaking[0]]))
        more = f" (and {len(leaking) - 1} more)" if len(leaking) > 1 else ""
        raise CorpusError(
            f"group {leaking[0]!r} crosses splits: {found}{more}; keep each group in one split"
        )


def select(
    clips: Iterable[Clip],
    split: Split | None = None,
    confidences: Iterable[Confidence] = CONFIDENCES,
    licences: Iterable[Licence] = USABLE_LICENCES,
) -> tuple[Clip, ...]:
    """The clips of one split (None: all) whose label confidence and licence are among those."""
    kept_confidences, kept_licences = frozenset(confidences), frozenset(licences)
    return tuple(
        clip
        for clip in clips
        if (split is None or clip.split == split)
        and clip.confidence in kept_confidences
        and clip.licence in kept_licences
    )


def class_counts(clips: Iterable[Clip]) -> NDArray[np.int64]:
    """Clips per category, shape (19,), in the order of `Category`."""
    counts = np.zeros(len(Category), dtype=np.int64)
    position = {category: index for index, category in enumerate(Category)}
    for clip in clips:
        counts[position[clip.category]] += 1
    return counts


def class_weights(clips: Iterable[Clip], power: float = 0.5) -> Float32:
    """Weight of each category, shape (19,): count ** -power, mean 1 over the clips; 0 if absent.

    power 0 leaves the data as it is, 1 makes all categories weigh the same.
    """
    counts = class_counts(clips)
    present = counts > 0
    weights = np.zeros(len(Category), dtype=np.float64)
    weights[present] = counts[present].astype(np.float64) ** -power
    total = float((weights * counts).sum())
    return (weights * (counts.sum() / total if total else 1.0)).astype(np.float32)


def decode(path: Path) -> Float32:
    """All of a recording as mono float32 at 16 kHz, shape (n,); raises CorpusError."""
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as exc:
        raise CorpusError(f"{path} cannot be decoded: {exc}") from exc
    mono = np.ascontiguousarray(samples.mean(axis=1, dtype=np.float32))
    if not len(mono) or not np.isfinite(mono).all():
        raise CorpusError(f"{path} holds no finite sample")
    if rate == SAMPLE_RATE:
        return mono
    return np.asarray(soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ"), dtype=np.float32)


class AudioCache:
    """Decoded audio of many recordings in one memory-mapped int16 file.

    Made by `open_audio`; safe to read from several processes at once.
    """

    def __init__(self, samples: NDArray[np.int16], spans: Mapping[str, tuple[int, int]]) -> None:
        self._samples = samples
        self._spans = spans

    def samples(self, clip: Clip) -> Float32:
        """The clip's audio (its span only, where it has one), float32 (n,) at 16 kHz."""
        try:
            start, stop = self._spans[str(clip.path)]
        except KeyError as exc:
            raise CorpusError(f"{clip.path} is not in this cache: open it with the clip") from exc
        if clip.span_s is not None:
            begin, end = (start + round(s * SAMPLE_RATE) for s in clip.span_s)
            start, stop = min(begin, stop), min(end, stop)
        return self._samples[start:stop].astype(np.float32) / np.float32(_INT16_FULL_SCALE)


def open_audio(clips: Sequence[Clip], cache_dir: Path) -> AudioCache:
    """The audio of `clips`, decoded on the first call and memory-mapped from then on.

    The cache is renewed when a recording changes size or time. Raises CorpusError.
    """
    paths = sorted({clip.path for clip in clips})
    stem = f"audio-{_fingerprint(paths)}"
    index_file, data_file = cache_dir / f"{stem}.json", cache_dir / f"{stem}.npy"
    if not index_file.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        _fill(paths, data_file, index_file)
    spans = json.loads(index_file.read_text(encoding="utf-8"))
    samples = np.load(data_file, mmap_mode="r", allow_pickle=False)
    return AudioCache(samples, {path: (start, stop) for path, (start, stop) in spans.items()})


def summary(clips: Sequence[Clip]) -> dict[str, object]:
    """What a result file says of its data: counts by split, category, licence; a fingerprint."""
    by_split: dict[str, dict[str, int]] = {split: defaultdict(int) for split in SPLITS}
    licences: dict[str, int] = defaultdict(int)
    for clip in clips:
        by_split[clip.split][clip.category.value] += 1
        licences[clip.licence] += 1
    rows = "\n".join(sorted(_row(clip) for clip in clips))
    return {
        "clips": len(clips),
        "by_split": {split: dict(sorted(found.items())) for split, found in by_split.items()},
        "licences": dict(sorted(licences.items())),
        "sha256": hashlib.sha256(rows.encode()).hexdigest(),
    }


def file_name(path: object) -> str:
    """How a record of the lab names a file: without the folders of whoever ran it."""
    return path.name if isinstance(path, Path) else str(path)


def _row(clip: Clip) -> str:
    fields = asdict(clip) | {"path": clip.path.name, "category": clip.category.value}
    return json.dumps(fields, sort_keys=True, ensure_ascii=False)


def _clip(row: Mapping[str, str | None], folder: Path, where: str) -> Clip:
    cells = {name: (value or "").strip() for name, value in row.items() if name}
    path = cells["path"]
    return Clip(
        path=folder / path,
        category=_one_of(cells["category"], list(Category), where, "category"),
        split=_one_of(cells["split"], SPLITS, where, "split"),
        group=cells.get("group") or path,
        event=cells.get("event", ""),
        confidence=_one_of(
            cells.get("label_confidence") or "high", CONFIDENCES, where, "label_confidence"
        ),
        licence=_one_of(cells.get("licence_class") or "own", LICENCES, where, "licence_class"),
        source=cells.get("source_repo", ""),
        transcript=cells.get("transcript") or None,
        language=cells.get("language") or None,
    )


def _one_of(value: str, known: Sequence[_Text], where: str, column: str) -> _Text:
    for candidate in known:
        if candidate == value:
            return candidate
    raise CorpusError(f"{where}: {column} {value!r} is unknown; known are {', '.join(known)}")


def _refuse_missing(clips: Iterable[Clip]) -> None:
    missing = [clip.path for clip in clips if not clip.path.is_file()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise CorpusError(f"{missing[0]} is in the manifest but not on the disk{more}")


def _fingerprint(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        stat = path.stat()
        digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _fill(paths: Sequence[Path], data_file: Path, index_file: Path) -> None:
    slots = np.cumsum([0, *(_slot(path) for path in paths)])
    # Of this process: another one may fill the same cache.
    partial = data_file.with_suffix(f".{os.getpid()}.partial")
    samples = np.lib.format.open_memmap(
        partial, mode="w+", dtype=np.int16, shape=(max(int(slots[-1]), 1),)
    )
    spans: dict[str, tuple[int, int]] = {}
    for path, start in track(
        list(zip(paths, slots[:-1].tolist(), strict=True)),
        description="decoding",
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    ):
        audio = decode(path)
        pcm = np.clip(np.rint(audio * _INT16_FULL_SCALE), -_INT16_FULL_SCALE, _INT16_FULL_SCALE)
        spans[str(path)] = (start, start + len(pcm))
        samples[start : start + len(pcm)] = pcm.astype(np.int16)
    samples.flush()
    partial.replace(data_file)
    # The index comes last: a cache without one is not finished and will be made again.
    partial.write_text(json.dumps(spans, ensure_ascii=False), encoding="utf-8")
    partial.replace(index_file)


def _slot(path: Path) -> int:
    try:
        info = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError) as exc:
        raise CorpusError(f"{path} cannot be decoded: {exc}") from exc
    # The resampler may give a few samples more than the ratio says.
    return int(info.frames * SAMPLE_RATE / info.samplerate) + 64
