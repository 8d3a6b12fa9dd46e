"""Which source of the sound server a stream of ours really records from.

When a microphone is unplugged, PulseAudio and PipeWire may move its recorder to another source
without telling it: sound goes on, so that only the server knows. Asked by `pactl`, which both have;
where it is not there, or no server runs, nothing is known and nothing is checked.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from homeguard.domain import SourceError

ANSWERS_WITHIN_S = 2.0
CHECK_EVERY_S = 5.0

_first: dict[str, str] = {}  # the source that each room had first
_opening = threading.Lock()


class Identity:
    """Holds a room's stream to the source it had first; used by the room's own thread.

    What is new at the server after the opening of the stream is the stream.
    """

    def __init__(self, room: str, microphone: str) -> None:
        self._room = room
        self._microphone = microphone
        self._output: int | None = None

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Around the opening of the stream."""
        with _opening:
            before = outputs()
            yield
            after = outputs() if before is not None else None
        new = set(after or ()) - set(before or ())
        self._output = new.pop() if len(new) == 1 else None

    def check(self) -> None:
        """Raises SourceError when the stream is on another source and cannot be moved back."""
        now = outputs() if self._output is not None else None
        if now is None or self._output is None or self._output not in now:
            return  # nothing is known; a stream that ended says so itself
        actual = now[self._output]
        wanted = _first.setdefault(self._room, actual)
        if actual == wanted or _pactl("move-source-output", str(self._output), wanted) is not None:
            return
        message = (
            f"microphone {self._microphone!r} is away: the sound server gives {actual!r} in place "
            f"of {wanted!r}; if that is meant, restart HomeGuard"
        )
        raise SourceError(message)


def outputs() -> dict[int, str] | None:
    """Our process's streams, by number, with the source of each; None where it is not known."""
    if shutil.which("pactl") is None:
        return None
    streams, sources = _listed("source-outputs"), _listed("sources")
    if streams is None or sources is None:
        return None
    names = {source["index"]: source["name"] for source in sources}
    ours = str(os.getpid())
    return {
        stream["index"]: names.get(stream["source"], "")
        for stream in streams
        if stream["properties"].get("application.process.id") == ours
    }


def _listed(what: str) -> list[dict[str, Any]] | None:
    said = _pactl("--format=json", "list", what)
    try:
        return None if said is None else list(json.loads(said))
    except ValueError:
        return None


def _pactl(*words: str) -> bytes | None:
    """What pactl says; None when it fails or the server does not answer."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words and the server's own names
            ["pactl", *words],  # noqa: S607 - wherever the distribution has it
            capture_output=True,
            timeout=ANSWERS_WITHIN_S,
            check=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
