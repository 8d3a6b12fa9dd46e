"""Pictures are made behind the alerts' back: nothing waits for them and nothing fails by them."""

import threading
from datetime import UTC, datetime

import numpy as np
import pytest

from homeguard import illustrator
from homeguard.config import Config
from homeguard.domain import Alert, Change, Decision, Incident, IncidentState, Reason, Vote
from homeguard.illustrator import WAITING, Illustrator
from homeguard.labels import Category
from homeguard.pipeline import Heard, Recording
from homeguard.voting.registry import bundled_dir
from homeguard.voting.smoothing import Phase
from tests.fakes import noise, tone

AT = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE_S = 60.0


def heard(number=0, seconds=8.0):
    """An incident that opens, with its recording."""
    identity = f"{number:016}"
    incident = Incident(
        identity, "living-room", Category.FIRE, IncidentState.RAISED, 0.9, AT, AT, AT
    )
    vote = Vote("cnn", emergency=True, probability=0.9, category=Category.FIRE)
    decision = Decision(
        "living-room", 3.0, 8.0, active=True, emergency=True, category=Category.FIRE,
        probability=0.9, reason=Reason.AGREED, votes=(vote,),
    )  # fmt: skip
    sound = np.concatenate([noise(seconds - 2.0), tone(2.0, 3100.0, 0.5)])
    alerts = (Alert(Change.NEW, None, incident),)
    return Heard(decision, Phase.ONSET, alerts, Recording(identity, sound, 0.0))


class Album:
    """Where pictures go; `fails` so many times first."""

    def __init__(self, fails=0):
        self.pictures = []
        self._fails = fails
        self._more = threading.Condition()

    def __call__(self, picture):
        if self._fails:
            self._fails -= 1
            message = "disk full"
            raise OSError(message)
        with self._more:
            self.pictures.append(picture)
            self._more.notify_all()

    def wait(self, count):
        with self._more:
            return self._more.wait_for(lambda: len(self.pictures) >= count, PATIENCE_S)


@pytest.fixture
def make():
    made = []

    def build(album, cnn=None):
        artist = Illustrator(Config(), lambda: cnn, album, after_s=0.0)
        made.append(artist)
        return artist

    yield build
    for artist in made:
        artist.stop(PATIENCE_S)


@pytest.mark.models
def test_an_incident_gets_a_picture_with_the_shipped_cnn(make):
    album = Album()
    artist = make(album, bundled_dir() / "cnn" / "model.onnx")
    artist.start()
    artist.see(heard())
    assert album.wait(1)
    assert album.pictures[0].incident.id == heard().alerts[0].after.id
    assert album.pictures[0].png.startswith(b"\x89PNG")


def test_the_one_who_judges_never_waits_and_what_is_too_much_is_counted(make):
    album = Album()
    artist = make(album)  # its thread is not even started
    for number in range(WAITING + 3):
        artist.see(heard(number))
    assert artist.dropped == 3
    artist.start()
    assert album.wait(WAITING)
    assert [p.incident.id for p in album.pictures] == [f"{n:016}" for n in range(WAITING)]


def test_a_picture_that_fails_costs_no_other(make):
    album = Album(fails=1)
    artist = make(album)
    artist.start()
    artist.see(heard(1))
    artist.see(heard(2))
    assert album.wait(1)
    assert album.pictures[0].incident.id == f"{2:016}"


def test_stopping_gives_up_the_picture_in_progress(make, monkeypatch):
    drawing = threading.Event()

    def slow(score, mel):
        drawing.set()
        while True:
            score(mel)

    monkeypatch.setattr(illustrator, "occlusion", slow)
    artist = make(Album(), bundled_dir() / "cnn" / "model.onnx")
    artist.start()
    artist.see(heard())
    assert drawing.wait(PATIENCE_S)
    artist.stop(PATIENCE_S)
    assert not artist._thread.is_alive()


def test_windows_without_an_incident_are_forgotten_in_time(make):
    artist = make(Album())
    event = heard()
    for _ in range(1000):
        artist.see(Heard(event.decision, Phase.ONGOING))
    assert len(artist._decisions["living-room"]) <= artist._kept < 100
    assert artist.dropped == 0
