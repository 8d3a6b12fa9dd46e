"""Which models there are, and that they are what their manifest says, before anything loads them.

Two places: the bundled models (a checkout's models/, a wheel's homeguard/models, or node.models_dir
where that holds a manifest) and the pulled ones, a directory each with a manifest of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from homeguard import mel
from homeguard.config import NodeConfig
from homeguard.domain import ModelError
from homeguard.labels import Category

MANIFEST = "manifest.json"
Kind = Literal["whisper", "head", "cnn", "text"]


def _inside(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        message = "must be a path inside the models directory"
        raise ValueError(message)
    return value


class _Part(BaseModel):
    """A part of the manifest; what later versions add is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FileEntry(_Part):
    """A file as it was when it was released."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class MelSettings(_Part):
    """The log-mel a model was trained on."""

    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int


class Calibration(_Part):
    """From logits to probabilities, see `homeguard.voting.sound`."""

    scale: float = 1.0
    bias: float = 0.0
    temperature: float = Field(default=1.0, gt=0.0)


class ModelEntry(_Part):
    """One model of the manifest."""

    kind: Kind
    licence: str
    commercial_use: bool = False
    files: dict[Annotated[str, AfterValidator(_inside)], FileEntry] = Field(min_length=1)
    labels: tuple[str, ...] = ()
    mel: MelSettings | None = None
    window_s: float = Field(default=30.0, gt=0.0)
    calibration: Calibration = Calibration()
    threshold: float = Field(default=0.5, ge=0.0, le=1.0)
    thresholds: dict[Category, float] = Field(default_factory=dict)
    source: str = ""
    data: str = ""
    metrics: dict[str, Any] = Field(default_factory=dict)


class ModelSet(_Part):
    """Models that belong together: the head reads this Whisper's encodings. Empty: none."""

    whisper: str = ""
    head: str = ""
    cnn: str = ""
    text: str = ""


class Manifest(_Part):
    """manifest.json."""

    version: Literal[1]
    default_set: str = ""
    sets: dict[str, ModelSet] = Field(default_factory=dict)
    models: dict[str, ModelEntry]


@dataclass(frozen=True, slots=True)
class Model:
    """A model by name, where it lies, and what the manifest says of it."""

    name: str
    root: Path
    entry: ModelEntry
    bundled: bool

    @property
    def directory(self) -> Path:
        """Where its files lie."""
        return self.root / PurePosixPath(next(iter(self.entry.files))).parent

    def file(self, suffix: str) -> Path:
        """Its one file that ends in `suffix`. Raises ModelError."""
        found = [path for path in self.entry.files if path.endswith(suffix)]
        if len(found) != 1:
            message = f"model {self.name}: {len(found)} {suffix} files in its manifest, not one"
            raise ModelError(message)
        return self.root / found[0]

    def faults(self) -> Iterator[str]:
        """What is wrong with its files, a line each: missing, cut or altered."""
        for relative, expected in self.entry.files.items():
            path = self.root / relative
            if not path.is_file():
                yield f"{path} is missing"
            elif path.stat().st_size != expected.bytes:
                yield f"{path} has {path.stat().st_size} bytes, not {expected.bytes}"
            elif sha256(path) != expected.sha256:
                yield f"{path} was altered: its SHA-256 is not the manifest's"

    def verify(self) -> None:
        """Raise ModelError naming every fault and the command that mends it."""
        if faults := list(self.faults()):
            mend = (
                "reinstall homeguard (in a checkout: git checkout -- models)"
                if self.bundled
                else f"run `homeguard models pull {self.entry.source or self.name}` again"
            )
            message = (
                f"model {self.name}: {'; '.join(faults)}. To mend it, {mend}; "
                "`homeguard models verify` checks all"
            )
            raise ModelError(message)

    def require(self, kind: Kind) -> None:
        """Raise ModelError unless it is a `kind`, made for our labels and our mel."""
        if self.entry.kind != kind:
            message = f"model {self.name} is a {self.entry.kind}, not a {kind}: choose another"
            raise ModelError(message)
        ours = tuple(category.value for category in Category)
        if kind in {"head", "cnn"} and self.entry.labels != ours:
            wrong = sorted(set(self.entry.labels) ^ set(ours)) or ["their order"]
            message = (
                f"model {self.name}: its labels are not the 19 categories ({', '.join(wrong)}); "
                "export it again with this version of homeguard"
            )
            raise ModelError(message)
        if kind == "cnn" and self.entry.mel is not None and self.entry.mel != OUR_MEL:
            message = f"model {self.name} was trained on another mel: {self.entry.mel}"
            raise ModelError(message)


OUR_MEL = MelSettings(
    sample_rate=mel.SAMPLE_RATE, n_fft=mel.N_FFT, hop_length=mel.HOP_LENGTH, n_mels=mel.N_MELS
)


class Registry:
    """All models of this machine. A pulled model may not take a bundled one's name."""

    def __init__(self, bundled: Path, pulled: Path) -> None:
        """Read the manifests of both directories. Raises ModelError for one that cannot be read."""
        self.bundled = bundled
        self.pulled = pulled
        self._manifest = (
            read_manifest(bundled / MANIFEST)
            if (bundled / MANIFEST).is_file()
            else Manifest(version=1, models={})
        )
        self._models = dict(_models(self._manifest, bundled, bundled=True))
        for path in sorted(pulled.glob(f"*/{MANIFEST}")):
            for name, model in _models(read_manifest(path), path.parent, bundled=False):
                self._models.setdefault(name, model)

    @classmethod
    def open(cls, node: NodeConfig) -> Registry:
        """The registry of a configuration."""
        chosen = node.models_dir
        own = chosen is not None and (chosen / MANIFEST).is_file()
        bundled = chosen if chosen is not None and own else bundled_dir()
        return cls(bundled, chosen if chosen is not None else pulled_dir())

    @property
    def models(self) -> Mapping[str, Model]:
        """Every model by name, bundled ones first."""
        return self._models

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of the sets, the default first."""
        default = self._manifest.default_set
        return tuple(sorted(self._manifest.sets, key=lambda name: (name != default, name)))

    def choose(self, name: str) -> ModelSet:
        """The set called `name`, the default one when empty. Raises ModelError."""
        if not self._manifest.sets:
            message = (
                f"no models in {self.bundled}: reinstall homeguard, "
                "or point node.models_dir at a directory with a manifest.json"
            )
            raise ModelError(message)
        try:
            return self._manifest.sets[name or self._manifest.default_set]
        except KeyError:
            message = f"voters.set: no set {name!r}; there are {', '.join(self.sets)}"
            raise ModelError(message) from None

    def verified(self, name: str, kind: Kind) -> Model:
        """The model called `name`, a `kind`, its files checked. Raises ModelError."""
        model = self._models.get(name)
        if model is None:
            hint = f"; run `homeguard models pull {name}`" if kind == "whisper" else ""
            message = f"no model {name!r}; there are {', '.join(self._models) or 'none'}{hint}"
            raise ModelError(message)
        model.require(kind)
        model.verify()
        return model


def bundled_dir() -> Path:
    """The models that came with the program: beside the package in a checkout, inside a wheel."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "models"
    return inside if inside.is_dir() else package.parent / "models"


def pulled_dir() -> Path:
    """Where pulled models lie when node.models_dir says nothing."""
    return platformdirs.user_data_path("homeguard") / "models"


def read_manifest(path: Path) -> Manifest:
    """A manifest. Raises ModelError where it is unreadable or malformed."""
    try:
        return Manifest.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as exc:
        what = _first_fault(exc) if isinstance(exc, ValidationError) else str(exc)
        message = f"{path}: not a manifest of models: {what}; reinstall or pull it again"
        raise ModelError(message) from exc


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _models(manifest: Manifest, root: Path, *, bundled: bool) -> Iterator[tuple[str, Model]]:
    for name, entry in manifest.models.items():
        yield name, Model(name, root, entry, bundled)


def _first_fault(exc: ValidationError) -> str:
    fault = exc.errors()[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
