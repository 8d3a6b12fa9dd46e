"""The demo's own parts; the whole demo is the last test."""

import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import paho.mqtt.client as paho
import pytest
import soundfile
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console

from homeguard.alerting.schema import EventWriter
from homeguard.config import Config
from homeguard.demo.broker import Broker, open_broker
from homeguard.demo.gateway import ReceivedSms
from homeguard.demo.report import Report
from homeguard.demo.scene import Observed, Verdict, compare, read_scene
from homeguard.demo.subscriber import Message, subscribed
from homeguard.domain import Alert, Change, Decision, Incident, IncidentState, Reason
from homeguard.labels import Category
from homeguard.pipeline import Heard
from homeguard.voting.smoothing import Phase

HELP = Observed(Category.HELP_REQUEST, 34.0)
SMOKE = Observed(Category.FIRE, 61.0)
GLASS = Observed(Category.THEFT, 86.0)


@pytest.fixture
def scene():
    return read_scene()


def verdicts(scene, *observed):
    return [line.verdict for line in compare(scene, observed)]


def test_the_labels_fit_the_recording(scene):
    heard = soundfile.info(scene.recording)
    assert heard.duration == pytest.approx(scene.duration_s, abs=0.1)
    assert all(0 <= s.start_s < s.end_s <= scene.duration_s for s in scene.sounds)


def test_a_call_said_twice_is_one_expected_incident(scene):
    kinds = [sound.category for sound in scene.expected]
    assert kinds == [Category.HELP_REQUEST, Category.FIRE, Category.THEFT]


def test_television_and_vacuum_cleaner_must_stay_quiet(scene):
    names = {sound.name for sound in scene.harmless}
    assert {"television news", "vacuum cleaner", "dishes"} <= names


def test_exactly_the_expected_incidents_are_right(scene):
    assert set(verdicts(scene, HELP, SMOKE, GLASS)) == {Verdict.RIGHT}


def test_a_missing_incident_is_missed(scene):
    assert verdicts(scene, HELP, GLASS) == [Verdict.RIGHT, Verdict.MISSED, Verdict.RIGHT]


def test_an_incident_in_the_vacuum_cleaner_is_a_false_alarm(scene):
    lines = compare(scene, [HELP, SMOKE, GLASS, Observed(Category.STORM, 16.0)])
    assert lines[-1].verdict is Verdict.FALSE_ALARM
    assert lines[-1].during is scene.harmless[1]


def test_another_category_is_wrong(scene):
    storm = Observed(Category.STORM, 34.0)
    assert verdicts(scene, storm, SMOKE, GLASS)[0] is Verdict.WRONG_KIND


def test_two_incidents_of_one_sound_are_one_too_many(scene):
    again = Observed(Category.FIRE, 70.0)
    assert verdicts(scene, HELP, SMOKE, again, GLASS)[-1] is Verdict.TWICE


def client_of(broker: Broker):
    version = paho.MQTTv5 if broker.version == "5" else paho.MQTTv311
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
    client.connect(broker.host, broker.port)
    client.loop_start()
    return client


@pytest.mark.parametrize(
    "embedded", [True, pytest.param(False, marks=pytest.mark.broker)], ids=["amqtt", "mosquitto"]
)
def test_a_broker_carries_messages_and_goes_away(tmp_path, embedded):
    with open_broker(tmp_path, embedded=embedded) as broker:
        with subscribed(broker, "homeguard/#") as arrived:
            client = client_of(broker)
            client.publish("homeguard/x/status", "online", qos=1, retain=True).wait_for_publish(5)
            message = arrived.get(timeout=5)
            client.disconnect()
            client.loop_stop()
        with subscribed(broker, "homeguard/#") as later:
            assert later.get(timeout=5).text == "online"  # retained
    assert (message.topic, message.text) == ("homeguard/x/status", "online")
    with pytest.raises(OSError, match="refused"):
        client_of(broker)


def told(report, incident: str, category: Category, onset_s: float) -> None:
    """What the daemon, the broker and the gateway would hand the report."""
    onset_at = datetime(2026, 1, 1, tzinfo=UTC)
    raised_at = onset_at + timedelta(seconds=6)
    new = Incident(
        incident, "living-room", category, IncidentState.RAISED, 0.9, raised_at, raised_at, onset_at
    )
    decision = Decision(
        room="living-room",
        start_s=onset_s + 1.0,
        end_s=onset_s + 6.0,
        active=True,
        emergency=True,
        category=category,
        probability=0.9,
        reason=Reason.AGREED,
    )
    report.heard(Heard(decision, Phase.ONSET, (Alert(Change.NEW, None, new),)))
    writer = EventWriter(Config())
    event = writer.event(Alert(Change.NEW, None, new))
    report.publication(Message("homeguard/demo/events", event))


def texted(report, incident: str, *numbers: str) -> None:
    for number in numbers:
        body = f"[EMERGENCY] Fire 거실 12:00 #{incident[:4]}"
        report.sms(ReceivedSms("SM1", number, "+12025550100", body))


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def test_the_report_passes_what_everyone_was_told(scene, console):
    report = Report(console, scene, caregivers=2)
    told(report, "aaaa1", Category.HELP_REQUEST, 34.0)
    told(report, "bbbb2", Category.FIRE, 61.0)
    told(report, "cccc3", Category.THEFT, 86.0)
    for incident in ("aaaa1", "bbbb2", "cccc3"):
        texted(report, incident, "+821", "+12")
    assert {line.verdict for line in report.end()} == {Verdict.RIGHT}
    assert "passed: 3 of 3 incidents as expected, 0 too many" in console.file.getvalue()


def test_the_report_fails_when_a_caregiver_was_not_texted(scene, console):
    report = Report(console, scene, caregivers=2)
    told(report, "bbbb2", Category.FIRE, 61.0)
    texted(report, "bbbb2", "+821")
    assert [line.verdict for line in report.end()][1] is Verdict.UNTEXTED
    assert "failed" in console.file.getvalue()


@pytest.mark.models
@pytest.mark.timeout(300)
def test_the_demo_finds_the_emergencies_of_its_scene_and_nothing_else():
    demo = subprocess.run(
        [sys.executable, "-m", "homeguard", "demo"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    for received in ("homeguard/demo/events", "[긴급] 도움요청", "[EMERGENCY] Fire"):
        assert received in demo.stdout
