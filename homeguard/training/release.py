"""The last step of the lab: models/manifest.json from the artefacts that lie in models/.

Each model is a folder with its files, a card README.md, and what the lab found beside them:
calibration.json (sound voters) and metrics.json (any). A set names what belongs together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from homeguard.labels import Category
from homeguard.mel import HOP_LENGTH, N_FFT, N_MELS, SAMPLE_RATE
from homeguard.training.errors import LabError

Kind = Literal["whisper", "head", "cnn", "text"]

MANIFEST = "manifest.json"
MOST_BYTES = 40_000_000
# What the daemon loads; records of the lab and cards are no part of a release's hashes.
_LOADED = frozenset({".bin", ".onnx", ".json"})
_RECORDS = frozenset({"calibration.json", "metrics.json", "training.json", "options.json"})
_CALIBRATED = ("scale", "bias", "temperature")


class ReleaseError(LabError):
    """The artefacts cannot be released as they are; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Part:
    """A model of a release: its folder's name, its kind, and what its weights may be used for."""

    name: str
    kind: Kind
    licence: str
    commercial_use: bool
    data: str
    window_s: float = 5.0


@dataclass(frozen=True, slots=True)
class ReleaseOptions:
    """What is released; `default_set` is among `sets`, whose values are folder names by role."""

    models_dir: Path
    parts: tuple[Part, ...]
    sets: Mapping[str, Mapping[Kind, str]]
    default_set: str = "full"


def release(options: ReleaseOptions) -> Path:
    """Write the manifest and give its path.

    Raises ReleaseError for a missing file, card, or calibration, and beyond 40 MB in all.
    """
    if options.default_set not in options.sets:
        message = f"default set {options.default_set!r} is not among the sets"
        raise ReleaseError(message)
    models = {part.name: _entry(options.models_dir, part) for part in options.parts}
    for name, roles in options.sets.items():
        unknown = sorted(set(roles.values()) - models.keys())
        if unknown:
            message = f"set {name!r} names {unknown[0]!r}, which is not released"
            raise ReleaseError(message)
    _refuse_too_large(options.models_dir, options.parts)
    manifest = {
        "version": 1,
        "default_set": options.default_set,
        "sets": {name: dict(roles) for name, roles in options.sets.items()},
        "models": models,
    }
    path = options.models_dir / MANIFEST
    path.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _entry(models_dir: Path, part: Part) -> dict[str, object]:
    folder = models_dir / part.name
    files = _files(folder)
    if not files:
        message = f"{folder} holds no model: run the lab's export first"
        raise ReleaseError(message)
    if not (folder / "README.md").is_file():
        message = f"{folder} has no card README.md: write what it is and is not"
        raise ReleaseError(message)
    entry: dict[str, object] = {
        "kind": part.kind,
        "licence": part.licence,
        "commercial_use": part.commercial_use,
        "files": {
            file.relative_to(models_dir).as_posix(): {
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "bytes": file.stat().st_size,
            }
            for file in files
        },
        "data": part.data,
        "metrics": _record(folder / "metrics.json") or {},
    }
    if part.kind == "text":
        entry |= _text_threshold(folder)
    else:
        entry |= {"mel": _MEL, "window_s": part.window_s}
    if part.kind in ("head", "cnn"):
        entry |= {"labels": [category.value for category in Category], **_calibration(folder)}
    return entry


_MEL: dict[str, int] = {
    "sample_rate": SAMPLE_RATE,
    "n_fft": N_FFT,
    "hop_length": HOP_LENGTH,
    "n_mels": N_MELS,
}


def _calibration(folder: Path) -> dict[str, object]:
    record = _record(folder / "calibration.json")
    if record is None:
        message = f"{folder}/calibration.json is missing: calibrate the voter first"
        raise ReleaseError(message)
    found = record["calibration"]
    if not isinstance(found, dict):
        message = f"{folder}/calibration.json holds no calibration"
        raise ReleaseError(message)
    return {
        "calibration": {name: round(float(found[name]), 6) for name in _CALIBRATED},
        "threshold": round(float(found["threshold"]), 6),
        "thresholds": found.get("thresholds", {}),
    }


def _text_threshold(folder: Path) -> dict[str, object]:
    """What training chose on val, where it did."""
    record = _record(folder / "metrics.json") or {}
    return {"threshold": record["threshold"]} if "threshold" in record else {}


def _record(path: Path) -> dict[str, object] | None:
    if not path.is_file():
        return None
    content: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _files(folder: Path) -> Sequence[Path]:
    if not folder.is_dir():
        return ()
    return sorted(
        file for file in folder.iterdir() if file.suffix in _LOADED and file.name not in _RECORDS
    )


def _refuse_too_large(models_dir: Path, parts: Sequence[Part]) -> None:
    total = sum(file.stat().st_size for part in parts for file in _files(models_dir / part.name))
    if total > MOST_BYTES:
        message = f"the models take {total / 1e6:.1f} MB, at most 40 MB may ship"
        raise ReleaseError(message)
