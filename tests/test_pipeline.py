"""Sound in, alerts out: everything is real but the voters."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import numpy as np
import pytest
import soundfile

from homeguard.alerting.clip import ClipWriter
from homeguard.alerting.incident import IncidentTracker
from homeguard.config import Config, DecisionConfig
from homeguard.domain import Alert, Change, Features, Reason
from homeguard.pipeline import Heard, Home, Room, stream_clock
from homeguard.voting.features import Extractor
from homeguard.voting.panel import Panel
from tests.fakes import FakeVoter, chunked, noise, tone

EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
CONFIG = Config(decision=DecisionConfig(hangover_s=4.0, skip_settled=False))


def alarm(features: Features) -> float:
    """A voter that knows a 1 kHz tone in a window's last two seconds when it hears one."""
    samples = features.window.samples[-32_000:]
    spectrum = np.abs(np.fft.rfft(samples))
    return 0.9 if spectrum[2000] > 0.2 * spectrum.sum() else 0.1


def deaf(features: Features) -> None:
    return None


@pytest.fixture
def home(tmp_path):
    made: list[Panel] = []

    def build(submit, config=CONFIG, rooms=("den",), rules=(alarm, deaf, alarm)):
        voters = [
            FakeVoter(name, rule)
            for name, rule in zip(("encoder", "transcript", "cnn"), rules, strict=True)
        ]
        panel = Panel(voters, config)
        made.append(panel)
        tracker = IncidentTracker(config.decision, config.alerts)
        clips = ClipWriter(config.clips, tmp_path / "clips")
        opened = {
            name: Room(config, Extractor(None), panel, tracker, stream_clock(EPOCH))
            for name in rooms
        }
        return Home(opened, tracker, submit, clips)

    yield build
    for panel in made:
        panel.close()


def play(home: Home, samples: np.ndarray, room: str = "den") -> list[Heard]:
    heard = [each for chunk in chunked(samples, room) for each in home.hear(chunk)]
    return heard + list(home.finish(room))


def test_an_alarm_in_a_quiet_room_is_one_incident_with_a_clip(home, tmp_path):
    alerts: list[Alert] = []

    def submit(alert: Alert) -> Alert:
        alerts.append(alert)
        return alert

    sound = np.concatenate([noise(40), tone(6) + noise(6, seed=6), noise(20, seed=7)])
    heard = play(home(submit), sound)
    assert [a.change for a in alerts] == [Change.NEW, Change.UPDATE, Change.END]
    assert len({a.after.id for a in alerts}) == 1
    new, update, end = alerts
    onset_s = (new.after.onset_at - EPOCH).total_seconds()
    assert 36 <= onset_s <= 42
    assert new.after.clip is None, "the clip must not delay the alert"
    assert update.after.clip is not None
    assert end.after.clip is not None
    assert end.after.clip.duration_s > update.after.clip.duration_s
    recorded, rate = soundfile.read(end.after.clip.path, dtype="float32")
    assert rate == 16_000
    start = round((onset_s - CONFIG.clips.pre_roll_s) * 16_000)
    assert np.abs(recorded - sound[start : start + len(recorded)]).max() < 1e-3
    assert any(h.decision.reason is Reason.SILENT for h in heard), "a quiet room costs nothing"


def test_a_shut_gate_asks_nobody(home):
    voters_asked: list[float] = []

    def counting(features: Features) -> float:
        voters_asked.append(features.window.start_s)
        return 0.1

    quiet = home(lambda alert: alert, rules=(counting, deaf, counting))
    play(quiet, noise(120))
    settle_s = CONFIG.gate.floor_settle_s + CONFIG.window.length_s + 2
    assert all(start_s <= settle_s for start_s in voters_asked)


def test_two_rooms_that_hear_the_same_share_one_incident(home):
    alerts: list[Alert] = []

    def submit(alert: Alert) -> Alert:
        alerts.append(alert)
        return alert

    sound = np.concatenate([noise(40), tone(8), noise(15, seed=7)])
    both = home(submit, rooms=("den", "hall"))
    chunks = zip(chunked(sound, "den"), chunked(np.float32(0.3) * sound, "hall"), strict=True)
    for pair in chunks:
        for chunk in pair:
            list(both.hear(chunk))
    assert len({a.after.id for a in alerts}) == 1
    assert alerts[-1].after.rooms == ("den", "hall")
    assert alerts[-1].after.room == "den", "the loudest names the place"
    assert alerts[-1].change is Change.END


def test_an_alert_that_the_disk_refuses_is_stored_later(home):
    stored: list[Alert] = []
    refusals = iter([True, True, False])

    def submit(alert: Alert) -> Alert:
        if next(refusals, False):
            raise sqlite3.OperationalError
        stored.append(alert)
        return alert

    play(home(submit), np.concatenate([noise(40), tone(6), noise(20, seed=7)]))
    assert {a.change for a in stored} == {Change.NEW, Change.UPDATE, Change.END}


def test_the_end_of_the_sound_ends_a_running_incident(home):
    alerts: list[Alert] = []

    def submit(alert: Alert) -> Alert:
        alerts.append(alert)
        return alert

    play(home(submit), np.concatenate([noise(40), tone(6)]))
    assert alerts[-1].change is Change.END


def test_windows_that_are_shed_are_counted_and_the_sound_around_them_judged(home):
    made = home(lambda alert: alert)
    heard = [
        each
        for block in chunked(noise(20.0))
        for each in made.hear(block, shed=8.5 < block.end_s <= 12.5)
    ]
    assert made.windows_shed("den") == 4
    assert [round(each.decision.end_s) for each in heard] == [5, 6, 7, 8, *range(13, 21)]
