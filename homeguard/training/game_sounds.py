"""More recordings to learn from: the sounds of free games and their like, as Debian packages them.

Real recordings of emergencies are few. Games hold hundreds of cries, shots, breaking panes and
thunders by other people and microphones, under licences that let anybody learn from them (Debian
main: GPL, CC BY, CC BY-SA), and footsteps, doors, machines, animals and music as their doubles.
They are played, not lived: they teach, or as `val` they are ordinary sound of other sources over
which thresholds are chosen; they are never of `test`. `game_sounds.yaml` names the packages, which
of them are held out for val, and says which file is which sound.
"""

from __future__ import annotations

import csv
import hashlib
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import yaml
from rich.progress import track

from homeguard.labels import Category
from homeguard.mel import SAMPLE_RATE, Float32
from homeguard.training.augment import active_frames
from homeguard.training.corpus import CorpusError, decode, read_manifest
from homeguard.training.twins import Twins

COLUMNS = (
    "path",
    "category",
    "split",
    "group",
    "event",
    "label_confidence",
    "licence_class",
    "source_repo",
)
_ENDINGS = frozenset({".ogg", ".wav", ".oga", ".flac", ".mp3"})
_ARCHIVES = frozenset({".pk3", ".zip", ".wz"})
_PIECE_S = 10.0  # a long recording gives pieces of this length
_MOST_PIECES = 4
_SHORTEST_S = 0.15
_QUIETEST = 1e-3  # peak; what is below is no sound
_MOST_OF_A_VOICE = 60  # an announcer's thousand sentences are one voice
_TWIN = 0.97  # likeness from which a sound is a copy; of 3 million different pairs none reaches it


@dataclass(frozen=True, slots=True)
class Rule:
    """Which files are which sound; `category` None: those files teach nothing here."""

    pattern: re.Pattern[str]
    category: Category | None
    event: str


@dataclass(frozen=True, slots=True)
class GameClip:
    """One sound of a package: where it lies in it, and what it is."""

    package: str
    path: Path
    rule: Rule

    @property
    def group(self) -> str:
        """Holds together what is one voice or one thing: folder and name without numbers."""
        if "speech" in self.rule.event:  # a folder is one actor's
            return f"{self.package}/{self.path.parent.name}"
        name = re.sub(r"[\d_\-. ]+$", "", self.path.stem)
        name = re.sub(r"\d+", "", name)
        return f"{self.package}/{self.path.parent.name}/{name}"


@cache
def rules() -> dict[str, tuple[Rule, ...]]:
    """The rules of each package, in their order."""
    return {
        package: tuple(
            Rule(re.compile(pattern), Category(category) if category else None, event)
            for pattern, category, event in lines
        )
        for package, lines in _table()["packages"].items()
    }


def held_out() -> frozenset[str]:
    """The packages of the split val."""
    return frozenset(_table()["held_out"])


def fetch(folder: Path, packages: Sequence[str] | None = None) -> tuple[Path, ...]:
    """Fetch and unpack the packages into `folder`, with Debian's tools and without installing.

    Gives the folder of each. One that is there is left as it is. Raises CorpusError when the
    tools or a package are missing.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise CorpusError("game sounds come as Debian packages: run this where apt-get is")
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(
        _unpack(package, folder / package)
        for package in track(packages or tuple(rules()), description="fetching packages")
    )


def gather(folder: Path, out: Path, beside: Path | None = None) -> Path:
    """Cut the sounds of unpacked packages into 16 kHz clips; gives manifest.csv, to learn from.

    scenes.csv beside it names the packages held out for val as well: ordinary sound for scenes.
    `beside` is another manifest whose rows come along in both. Sounds that are the same bytes, too
    short or silent are left out, and those that a recording of val or test is: a copy under
    another name would be learned from, then asked for. Raises CorpusError.
    """
    held = Twins(() if beside is None else _held(beside))
    clips = [clip for package in rules() for clip in _clips(package, folder / package)]
    if not clips:
        raise CorpusError(f"{folder} holds no sound of a known package")
    rows = [] if beside is None else _rows_of(beside)
    apart: list[dict[str, str]] = []
    seen: set[bytes] = set()
    for clip in track(clips, description="cutting sounds"):
        data = clip.path.read_bytes()
        if data not in seen:
            seen.add(data)
            (apart if clip.package in held_out() else rows).extend(_write(clip, out, held))
    _write_manifest(out / "scenes.csv", rows + apart)
    return _write_manifest(out / "manifest.csv", rows)


def classify(package: str, path: Path) -> GameClip | None:
    """What a file of a package is, by its name; None when it teaches nothing here."""
    for rule in rules().get(package, ()):
        if rule.pattern.search(path.as_posix()):
            return GameClip(package, path, rule) if rule.category else None
    return None


@cache
def _table() -> dict[str, Any]:
    text = (resources.files(__package__) / "game_sounds.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table


def _unpack(package: str, folder: Path) -> Path:
    if folder.exists():
        return folder
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        got = subprocess.run(  # noqa: S603  (the packages are ours to name)
            ["apt-get", "download", package],  # noqa: S607  (wherever Debian has it)
            cwd=scratch,
            capture_output=True,
            text=True,
            check=False,
        )
        found = list(Path(scratch).glob("*.deb"))
        if got.returncode or not found:
            last = (got.stderr.strip().splitlines() or ["apt-get said nothing"])[-1]
            raise CorpusError(f"Debian's package {package} cannot be fetched: {last}")
        partial = Path(scratch) / "unpacked"
        opened = subprocess.run(  # noqa: S603  (what apt-get has fetched)
            ["dpkg-deb", "-x", found[0], partial],  # noqa: S607  (wherever Debian has it)
            capture_output=True,
            text=True,
            check=False,
        )
        if opened.returncode:
            raise CorpusError(f"{found[0].name} cannot be unpacked: {opened.stderr.strip()}")
        for archive in [p for p in partial.rglob("*") if p.suffix in _ARCHIVES]:
            _unzip(archive)
        partial.rename(folder)
    return folder


def _unzip(archive: Path) -> None:
    if not zipfile.is_zipfile(archive):
        return
    with zipfile.ZipFile(archive) as packed:
        sounds = [n for n in packed.namelist() if Path(n).suffix.lower() in _ENDINGS]
        packed.extractall(archive.with_suffix(".d"), sounds)


def _clips(package: str, folder: Path) -> Iterator[GameClip]:
    voices: Counter[str] = Counter()
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _ENDINGS and path.is_file():
            clip = classify(package, path)
            if clip is None:
                continue
            if "speech" in clip.rule.event:
                voices[clip.group] += 1
                if voices[clip.group] > _MOST_OF_A_VOICE:
                    continue
            yield clip


def _write(clip: GameClip, out: Path, held: Twins) -> list[dict[str, str]]:
    try:
        samples = decode(clip.path)
    except CorpusError:
        return []  # game files now and then carry a wrong ending
    rows = []
    for number, piece in enumerate(_pieces(samples)):
        category = clip.rule.category
        if category is None or held.likeness(piece) > _TWIN:
            continue
        name = Path(category.value) / f"{_slug(clip)}-{number}.flac"
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(out / name, piece, SAMPLE_RATE, subtype="PCM_16")
        split = "val" if clip.package in held_out() else "train"
        values = (str(name), category.value, split, clip.group, clip.rule.event)
        rows.append(
            dict(zip(COLUMNS, (*values, "medium", "free", f"Debian {clip.package}"), strict=True))
        )
    return rows


def _write_manifest(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as lines:
        names = dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])
        writer = csv.DictWriter(lines, list(names), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def _pieces(samples: Float32) -> Iterator[Float32]:
    """At most four pieces of at most 10 s, spread over the recording, quiet ends cut, peak 0.9."""
    if float(np.abs(samples).max()) < _QUIETEST:
        return
    size = round(_PIECE_S * SAMPLE_RATE)
    count = min(max(len(samples) // size, 1), _MOST_PIECES)
    for start in np.linspace(0, max(len(samples) - size, 0), count).astype(int):
        piece = samples[start : start + size]
        active = np.flatnonzero(active_frames(piece))
        peak = float(np.abs(piece).max())
        if not len(active) or peak < _QUIETEST or len(piece) < _SHORTEST_S * SAMPLE_RATE:
            continue
        frame = len(piece) // max(len(active_frames(piece)), 1)
        kept = piece[active[0] * frame : (active[-1] + 1) * frame]
        yield np.asarray(kept * np.float32(0.9 / peak), dtype=np.float32)


def _held(manifest: Path) -> Iterator[Float32]:
    return (decode(clip.path) for clip in read_manifest(manifest) if clip.split != "train")


def _slug(clip: GameClip) -> str:
    # Factions of a game have files of equal names: the digest tells them apart.
    digest = hashlib.sha256(clip.path.read_bytes()).hexdigest()[:6]
    return re.sub(r"[^\w\-]+", "-", f"{clip.package}-{clip.path.stem}-{digest}").lower()


def _rows_of(manifest: Path) -> list[dict[str, str]]:
    with manifest.open(encoding="utf-8", newline="") as lines:
        rows = [dict(row) for row in csv.DictReader(lines)]
    for row in rows:
        row["path"] = str(manifest.resolve().parent / row["path"])
    return rows
