"""The voters loaded for recordings, which wait for every answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from homeguard import runtime as _runtime  # noqa: F401 - before any native library
from homeguard.analyze import Hearing, room_opener
from homeguard.config import Config
from homeguard.domain import ModelError
from homeguard.voting.load import load_panel
from homeguard.voting.registry import Registry

PATIENT_MS = 60_000  # a recording does not run away: nobody abstains because the machine is busy


@contextmanager
def hearing(config: Config) -> Iterator[Callable[[], Hearing]]:
    """Load the voters; gives what makes a room for each recording.

    Raises ModelError naming everything that is missing: a result that two voters would have given
    differently is no result.
    """
    patient = _patient(config)
    voting = load_panel(patient, Registry.open(patient.node))
    try:
        if voting.missing:
            raise ModelError("\n".join(voting.missing))
        yield room_opener(patient, voting.extractor, voting.panel)
    finally:
        voting.panel.close()


def _patient(config: Config) -> Config:
    voters = config.voters
    waiting = {
        name: voter.model_copy(update={"deadline_ms": max(voter.deadline_ms, PATIENT_MS)})
        for name, voter in (
            ("encoder", voters.encoder),
            ("transcript", voters.transcript),
            ("cnn", voters.cnn),
        )
    }
    return config.model_copy(update={"voters": voters.model_copy(update=waiting)})
