"""The voters loaded for recordings, which wait for every answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from homeguard import runtime as _runtime  # noqa: F401 - before any native library
from homeguard.analyze import Hearing, patient, room_opener
from homeguard.capture.decoder import prepare
from homeguard.config import Config
from homeguard.domain import ModelError
from homeguard.voting.load import load_panel
from homeguard.voting.registry import Registry


@contextmanager
def hearing(config: Config) -> Iterator[Callable[[], Hearing]]:
    """Load the voters; gives what makes a room for each recording.

    Raises ModelError naming everything that is missing: a result that two voters would have given
    differently is no result.
    """
    prepare()  # it starts while the voters are loaded
    waiting = patient(config)
    voting = load_panel(waiting, Registry.open(waiting.node))
    try:
        if voting.missing:
            raise ModelError("\n".join(voting.missing))
        yield room_opener(waiting, voting.extractor, voting.panel)
    finally:
        voting.panel.close()
