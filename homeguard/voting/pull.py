"""Fetch a published Whisper, on command only: the one place that downloads anything.

A download is kept under a hidden name until it is whole and Whisper-shaped, then renamed; one that
broke off goes on where it stopped. A manifest with hashes is written beside the files.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from homeguard.domain import ModelError
from homeguard.voting.registry import MANIFEST, FileEntry, Manifest, Model, ModelEntry, sha256

PUBLISHED = {
    "tiny": "Systran/faster-whisper-tiny",
    "base": "Systran/faster-whisper-base",
    "small": "Systran/faster-whisper-small",
    "medium": "Systran/faster-whisper-medium",
    "large-v3": "Systran/faster-whisper-large-v3",
    "turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
}
_WANTED = ("model.bin", "config.json", "tokenizer.json", "preprocessor_config.json", "vocabulary.*")
_NEEDED = ("model.bin", "config.json", "tokenizer.json")
_UNSTATED = "not stated; see the model's page"


def pull(
    name: str, dest: Path, *, endpoint: str | None = None, progress: bool | None = None
) -> Model:
    """Fetch a Whisper for CTranslate2 into `dest` and give it as the registry will.

    `name`: one of PUBLISHED, any `owner/repository` of the hub, or a local directory, which is
    copied. `endpoint`: another server that speaks the hub's protocol. `progress`: bars on stderr;
    by default only on a terminal. An installed model of the same name is replaced at the end.
    Raises ModelError.
    """
    local = Path(name)
    label = _label(name)
    partial = dest / f".{label}.partial"
    partial.mkdir(parents=True, exist_ok=True)
    if local.is_dir():
        source, licence = str(local.resolve()), _UNSTATED
        _copy(local, partial)
    else:
        source = PUBLISHED.get(name, name)
        licence = _download(source, partial, endpoint, progress)
    if missing := [file for file in _NEEDED if not (partial / file).is_file()]:
        shutil.rmtree(partial)
        message = f"{source} is no Whisper for CTranslate2: it lacks {', '.join(missing)}"
        raise ModelError(message)
    return _install(label, source, licence, partial, dest)


def _label(name: str) -> str:
    last = Path(name).name if Path(name).is_dir() else name.rsplit("/", 1)[-1]
    label = re.sub(r"[^A-Za-z0-9._-]", "-", last).lstrip(".")
    known = name in PUBLISHED or "/" in name or Path(name).is_dir()
    if not label or not known:
        message = (
            f"no published Whisper {name!r}: give one of {', '.join(PUBLISHED)}, "
            "owner/repository, or a directory"
        )
        raise ModelError(message)
    return label


def _copy(source: Path, partial: Path) -> None:
    for pattern in _WANTED:
        for file in source.glob(pattern):
            shutil.copyfile(file, partial / file.name)


def _download(repository: str, partial: Path, endpoint: str | None, progress: bool | None) -> str:  # noqa: FBT001 - as it is passed on
    """Fetch the files; gives the licence that the hub states."""
    import huggingface_hub  # noqa: PLC0415 - only this command needs it
    from huggingface_hub import utils  # noqa: PLC0415 - loaded only where it is needed

    shown = sys.stderr.isatty() if progress is None else progress
    bars = "enable_progress_bars" if shown else "disable_progress_bars"
    getattr(utils, bars)()  # exported, but not to type checkers
    try:
        with _online():
            api = huggingface_hub.HfApi(endpoint=endpoint, token=False)
            info = api.model_info(repository)
            api.snapshot_download(
                repository, revision=info.sha, local_dir=partial, allow_patterns=list(_WANTED)
            )
    except Exception as exc:  # the hub's client raises its own, its HTTP library's and OSError
        message = (
            f"cannot fetch {repository}: {_first_line(exc)}. Check the name and the network; "
            "run the command again to go on where it stopped"
        )
        raise ModelError(message) from exc
    shutil.rmtree(partial / ".cache", ignore_errors=True)
    return str(getattr(info.card_data, "license", None) or _UNSTATED)


@contextmanager
def _online() -> Iterator[None]:
    """Let the hub's client use the network, which homeguard.runtime forbids otherwise."""
    from huggingface_hub import constants  # noqa: PLC0415 - loaded only where it is needed

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _install(label: str, source: str, licence: str, partial: Path, dest: Path) -> Model:
    files = {
        path.name: FileEntry(sha256=sha256(path), bytes=path.stat().st_size)
        for path in sorted(partial.iterdir())
        if path.is_file() and path.name != MANIFEST
    }
    entry = ModelEntry(kind="whisper", licence=licence, files=files, source=source)
    manifest = Manifest(version=1, models={label: entry})
    text = json.dumps(manifest.model_dump(mode="json", exclude_defaults=True), indent=2)
    (partial / MANIFEST).write_text(text + "\n", encoding="utf-8")
    final, old = dest / label, dest / f".{label}.old"
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    partial.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    return Model(label, final, entry, bundled=False)


def _first_line(exc: Exception) -> str:
    return str(exc).strip().split("\n", 1)[0] or type(exc).__name__
