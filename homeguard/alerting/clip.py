"""The only audio ever written: short FLAC recordings of incidents, whole or not at all.

An incident's picture lies beside its recording, and both go together.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile

from homeguard.config import ClipsConfig
from homeguard.domain import Clip, Float32

SAMPLE_RATE = 16_000
MEDIA_TYPE = "audio/flac"
PICTURE_SUFFIX = ".png"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DAY_S = 86_400.0

_log = logging.getLogger(__name__)


class ClipWriter:
    """Writes clips to `directory` and keeps them within the bounds of the configuration.

    `now` gives seconds since the epoch, as file times do.
    """

    def __init__(
        self, config: ClipsConfig, directory: Path, now: Callable[[], float] = time.time
    ) -> None:
        self._config = config
        self._directory = directory
        self._now = now
        self._broken = False
        for half in directory.glob("*.tmp"):
            half.unlink(missing_ok=True)

    def write(
        self, incident_id: str, samples: Float32, running: Collection[str] = ()
    ) -> Clip | None:
        """Store mono float32 sound at 16 kHz, cut to `max_s`; a longer one replaces the first.

        Older clips make room, except this one and those of `running` incidents. Gives None where
        clips are switched off, there is no sound, or the disk refuses: the alert goes without.
        """
        if not self._config.enabled or len(samples) == 0:
            return None
        path = self._path(incident_id)
        sound = samples[: int(self._config.max_s * SAMPLE_RATE)]
        data = _encode(sound)
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.prune({incident_id, *running}, spare_bytes=len(data))
            _store(path, data)
        except OSError as exc:
            if not self._broken:
                _log.warning("clips: %s; alerts go without: make room in %s", exc, self._directory)
            self._broken = True
            return None
        if self._broken:
            _log.info("clips: can be written again")
        self._broken = False
        digest = hashlib.sha256(data).hexdigest()
        return Clip(path, MEDIA_TYPE, len(sound) / SAMPLE_RATE, digest)

    def attach(self, incident_id: str, png: bytes) -> Path | None:
        """Store an incident's picture beside its recording; a later one replaces the first.

        Gives None where there is no recording (any more), or the disk refuses. For any thread.
        """
        path = self._path(incident_id)
        picture = path.with_suffix(PICTURE_SUFFIX)
        try:
            if not path.is_file():
                return None
            self.prune({incident_id}, spare_bytes=len(png))
            _store(picture, png)
        except OSError as exc:
            _log.warning("the picture of incident %s is not kept: %s", incident_id, exc)
            return None
        return picture

    def prune(self, running: Collection[str] = (), spare_bytes: int = 0) -> int:
        """Delete clips past their age, then the oldest until `spare_bytes` more fit; how many."""
        limit = self._config.max_mb * 1e6 - spare_bytes
        kept = {self._path(incident_id) for incident_id in running}
        found = sorted(self._found())
        total = sum(size for _, size, _ in found)
        deleted = 0
        for written_at, size, path in found:
            old = self._now() - written_at > self._config.keep_days * _DAY_S
            if path in kept or not (old or total > limit):
                continue
            total -= size
            path.unlink(missing_ok=True)
            path.with_suffix(PICTURE_SUFFIX).unlink(missing_ok=True)
            deleted += 1
        return deleted

    def _found(self) -> Iterator[tuple[float, int, Path]]:
        """When each recording was written, and how much it takes with its picture."""
        pictures = {path.stem: path for path in self._directory.glob(f"*{PICTURE_SUFFIX}")}
        for path in self._directory.glob("*.flac"):
            files = [path, *([pictures[path.stem]] if path.stem in pictures else [])]
            with suppress(FileNotFoundError):  # another thread has deleted it
                sizes = [file.stat().st_size for file in files]
                yield path.stat().st_mtime, sum(sizes), path

    def _path(self, incident_id: str) -> Path:
        if not _ID.fullmatch(incident_id):
            message = f"{incident_id!r} is no incident id: letters, digits, - and _ only"
            raise ValueError(message)
        return self._directory / f"{incident_id}.flac"


def _encode(samples: Float32) -> bytes:
    sound = np.clip(np.nan_to_num(samples, posinf=1.0, neginf=-1.0), -1.0, 1.0)
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _store(path: Path, data: bytes) -> None:
    """Write, fsync, rename, fsync the directory: a crash leaves the old file or the new one."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
