"""The figures of a daemon, scraped over loopback and read by Prometheus' own parser."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from homeguard.alerting.courier import Courier
from homeguard.alerting.desk import Desk
from homeguard.alerting.escalation import Planner
from homeguard.alerting.outbox import Outbox
from homeguard.capture.inbox import Inbox
from homeguard.config import Config, EscalationConfig, MetricsConfig, Secrets
from homeguard.daemon import Daemon
from homeguard.demo.scene import read_scene
from homeguard.domain import (
    Alert,
    AudioChunk,
    Change,
    Decision,
    DeliveryError,
    Fault,
    FaultAlert,
    FaultCause,
    Reason,
    Vote,
    VoteReason,
)
from homeguard.labels import Category
from homeguard.listening import Listener
from homeguard.metrics import Metrics, MetricsServer
from homeguard.pipeline import Heard
from homeguard.voting.smoothing import Phase
from tests.alerting.cases import (
    KIM,
    LEE,
    START,
    FakeChannel,
    SteppedClock,
    a_config,
    an_incident,
    new,
)
from tests.fakes import chunked, tone
from tests.parts.mosquitto import free_port

AWAY = DeliveryError("gateway away", retryable=True, code="network")


class Scrape:
    """What an endpoint answers, by name and labels."""

    def __init__(self, port: int, path: str = "/metrics") -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as web:
            web.request("GET", path)
            answer = web.getresponse()
            assert answer.status == 200
            assert answer.headers["Content-Type"].startswith("text/plain")
            self.text = answer.read().decode()
        self.families: list[Metric] = list(text_string_to_metric_families(self.text))
        self._values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self._values.get((f"homeguard_{name}", frozenset(labels.items())))

    @property
    def names(self) -> set[str]:
        """Every series that PromQL can name, also of those without a value yet."""
        ends = {"counter": "_total", "info": "_info"}
        return {family.name + ends.get(family.type, "") for family in self.families}


class Scene:
    """Figures of one room, `den`, with an outbox for two caregivers."""

    def __init__(self, directory: Path) -> None:
        self.clock = SteppedClock()
        self.outbox = Outbox(directory, self.clock)
        self.config = a_config(rooms=[{"name": "den", "microphone": "none"}])
        self.inbox = Inbox(4)
        self.listener = Listener(self.config.rooms[0], self.inbox, self.config.health)
        self.metrics = Metrics(
            self.config,
            self.outbox,
            [self.listener],
            self.inbox,
            {"cnn": "cnn-home", "head": "encoder-head"},
            monotonic=self.clock.since_boot,
        )
        self.sms = FakeChannel("sms")
        planner = Planner((KIM, LEE), EscalationConfig(), None, broadcast=())
        self.desk = Desk(self.outbox, planner, self.clock)
        self.courier = Courier(
            self.sms, self.outbox, self.config.alerts, self.clock, self.clock.since_boot
        )
        self.server = MetricsServer(MetricsConfig(port=free_port()), self.metrics)
        self.server.start()

    def close(self) -> None:
        self.server.stop()
        self.outbox.close()

    def decide(self, reason: Reason, *votes: Vote, alerts: tuple[Alert, ...] = ()) -> None:
        active = reason is not Reason.SILENT
        emergency = reason in {Reason.AGREED, Reason.DISTRESS_PHRASE}
        decision = Decision("den", 0.0, 5.0, active, emergency, None, None, reason, votes)
        self.metrics.heard(Heard(decision, Phase.QUIET, alerts))

    def scrape(self) -> Scrape:
        return Scrape(self.server.port)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


def test_votes_are_counted_by_outcome_and_abstentions_by_reason(scene):
    yes = Vote("cnn", emergency=True, probability=0.9, category=Category.FIRE)
    no = Vote("encoder", emergency=False, probability=0.1, category=Category.INDOOR)
    late = Vote.abstain("transcript", VoteReason.LATE)
    skipped = Vote.abstain("encoder", VoteReason.SKIPPED)
    scene.decide(Reason.OUTVOTED, no, late, yes)
    scene.decide(Reason.OUTVOTED, skipped, late, yes)
    told = scene.scrape()
    assert told("votes_total", voter="cnn", outcome="emergency") == 2
    assert told("votes_total", voter="encoder", outcome="normal") == 1
    assert told("votes_total", voter="encoder", outcome="skipped") == 1
    assert told("votes_total", voter="transcript", outcome="abstained") == 2
    assert told("abstentions_total", voter="transcript", reason="late") == 2
    assert told("abstentions_total", voter="cnn", reason="late") is None


def test_windows_and_decisions_are_counted_from_zero(scene):
    told = scene.scrape()
    assert told("windows_total", room="den", gate="open") == 0
    assert told("decisions_total", room="den", reason="agreed") == 0
    scene.decide(Reason.AGREED)
    scene.decide(Reason.SILENT)
    scene.decide(Reason.SILENT)
    told = scene.scrape()
    assert told("windows_total", room="den", gate="open") == 1
    assert told("windows_total", room="den", gate="shut") == 2
    assert told("decisions_total", room="den", reason="agreed") == 1
    assert told("decisions_total", room="den", reason="silent") == 2


def test_an_incident_is_counted_once_by_its_category(scene):
    incident = an_incident(room="den", category=Category.GAS_ACCIDENT)
    scene.decide(Reason.AGREED, alerts=(new(incident),))
    scene.decide(Reason.AGREED, alerts=(Alert(Change.UPDATE, incident, incident),))
    told = scene.scrape()
    assert told("incidents_total", room="den", category="gas_accident") == 1
    assert told("incidents_total", room="den", category="fire") == 0
    assert told("incidents_total", room="den", category="indoor") is None


def test_the_real_time_factor_is_judging_over_sound(scene):
    for chunk in chunked(tone(9.6)):
        scene.metrics.judged(chunk, 0.0096)
    told = scene.scrape()
    sound, judging = (told(f"{n}_seconds_total", room="den") for n in ("sound", "judging"))
    assert sound == pytest.approx(9.6)
    assert judging == pytest.approx(0.96)
    assert told("capture_gaps_total", room="den") == 0


def test_holes_in_the_sound_are_counted_with_their_length(scene):
    silence = np.zeros(1536, np.float32)
    for start_s in (7.0, 7.096, 9.192, 9.288):  # the first is no hole: a stream begins anywhere
        scene.metrics.judged(AudioChunk("den", start_s, silence), 0.0)
    told = scene.scrape()
    assert told("capture_gaps_total", room="den") == 1
    assert told("capture_gap_seconds_total", room="den") == pytest.approx(2.0)


def test_lost_blocks_shed_windows_and_backlog_are_seen(scene):
    for chunk in list(chunked(tone(1.0)))[:6]:
        scene.inbox.put(chunk)
    scene.listener.left_out(3)
    told = scene.scrape()
    assert told("capture_dropped_blocks_total", room="den") == 2
    assert told("windows_shed_total", room="den") == 3
    assert told("backlog_seconds", room="den") == pytest.approx(4 * 0.096)


def test_level_and_audibility_follow_the_microphone(scene):
    assert scene.scrape()("room_audible", room="den") == 0
    scene.listener.heard(next(chunked(tone(0.096, peak=0.1))))
    told = scene.scrape()
    assert told("room_audible", room="den") == 1
    assert told("level_dbfs", room="den") == pytest.approx(-23.0, abs=0.1)


def test_the_age_of_the_last_decision_grows_from_the_start(scene):
    scene.clock.step(61)
    assert scene.scrape()("decision_age_seconds", room="den") == 61
    scene.decide(Reason.SILENT)
    assert scene.scrape()("decision_age_seconds", room="den") == 0


def test_nothing_is_expected_of_a_recording_that_is_over(scene):
    scene.listener.finish()
    told = scene.scrape()
    assert told("decision_age_seconds", room="den") is None
    assert told("windows_shed_total", room="den") == 0


def test_the_outbox_shows_what_is_due_how_long_and_what_became_of_it(scene):
    scene.sms.outcomes = [AWAY]
    scene.desk.submit(new(an_incident()))
    scene.courier.deliver_due()
    scene.clock.step(90)  # the second caregiver's turn came at 60 s
    told = scene.scrape()
    assert told("outbox_due", channel="sms") == 2
    assert told("outbox_planned", channel="sms") > 10
    assert told("outbox_oldest_seconds", channel="sms") == pytest.approx(90)
    scene.courier.deliver_due()
    told = scene.scrape()
    assert told("outbox_due", channel="sms") == 0
    assert told("outbox_oldest_seconds", channel="sms") == 0
    assert told("deliveries", channel="sms", state="delivered") == 2
    assert told("incidents_running") == 1


def test_open_faults_are_told_by_kind(scene):
    assert scene.scrape()("faults", cause="frozen") == 0
    fault = Fault("f0", FaultCause.FROZEN, "den", START, START)
    scene.desk.submit(FaultAlert(Change.NEW, None, fault))
    assert scene.scrape()("faults", cause="frozen") == 1


def test_models_and_build_are_told(scene):
    told = scene.scrape()
    assert told("model_info", role="cnn", model="cnn-home") == 1
    assert "homeguard_build_info{" in told.text
    assert "process_resident_memory_bytes" in told.names


def test_a_failing_disk_leaves_the_other_figures(scene):
    scene.outbox.close()
    told = scene.scrape()
    assert told("windows_total", room="den", gate="open") == 0
    assert told("outbox_due", channel="sms") is None


def test_no_name_number_or_word_of_a_person_is_told(scene):
    scene.desk.submit(new(an_incident(transcript="살려주세요")))
    text = scene.scrape().text
    for private in (KIM.name, KIM.phone, "살려주세요", "불이야"):
        assert private not in text


def test_many_messages_make_a_scrape_no_burden(scene):
    for number in range(150):
        scene.desk.submit(new(an_incident(f"{number:016x}", raised_at=START)))
        scene.clock.at = START + timedelta(days=number)
    began_s = time.process_time()
    scene.scrape()
    assert time.process_time() - began_s < 1.0  # some hundredths where nothing else runs


def daemon_config(directory: Path, port: int) -> Config:
    """A room in which somebody calls for help: the call of the bundled scene, and a little more."""
    scene = read_scene()
    call = next(event for event in scene.sounds if event.category == "help_request")
    sound, rate = soundfile.read(scene.recording, dtype="float32")
    cut = sound[round((call.start_s - 2.0) * rate) : round((call.end_s + 6.0) * rate)]
    soundfile.write(directory / "call.wav", cut, rate)
    return Config.model_validate(
        {
            "node": {"state_dir": directory / "state"},
            "rooms": [{"name": "den", "file": directory / "call.wav"}],
            "mqtt": {"enabled": False},
            "clips": {"enabled": False},
            "metrics": {"enabled": True, "port": port},
        }
    )


@pytest.mark.models
@pytest.mark.timeout(240)
def test_a_daemon_tells_what_it_hears_while_it_hears_and_no_word_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    port, stop = free_port(), threading.Event()
    heard: list[Heard] = []
    scrapes: list[Scrape] = []

    def see(each: Heard) -> None:
        heard.append(each)
        if len(heard) == 1:
            scrapes.append(Scrape(port))
        if each.alerts or len(heard) > 200:
            stop.set()

    with ExitStack() as stack:
        daemon = Daemon(daemon_config(tmp_path, port), Secrets(), stack)
        daemon.watch(see)
        daemon.run(stop)
        last = Scrape(port)
    windows = sum(last("windows_total", room="den", gate=gate) or 0 for gate in ("open", "shut"))
    assert windows == len(heard)
    assert scrapes[0]("model_info", role="cnn", model="cnn") == 1
    assert (last("sound_seconds_total", room="den") or 0) >= windows
    assert (last("judging_seconds_total", room="den") or 0) > 0
    raised = [a.after for each in heard for a in each.alerts if a.change is Change.NEW]
    assert len(raised) == 1
    assert last("incidents_total", room="den", category=raised[0].category.value) == 1
    roles = [s.labels["role"] for f in last.families if "model" in f.name for s in f.samples]
    assert {"cnn", "head", "whisper"} <= set(roles)
    words = {each.decision.transcript for each in heard} - {None}
    assert any("살려" in said for said in words if said)
    assert [said for said in words if said and said in caplog.text + last.text] == []


@pytest.mark.models
def test_a_port_that_is_taken_is_said_and_the_home_is_guarded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()
    with socket.socket() as taken, ExitStack() as stack, caplog.at_level(logging.ERROR):
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        daemon = Daemon(daemon_config(tmp_path, port), Secrets(), stack)
        daemon.watch(lambda _heard: stop.set())
        daemon.run(stop)
    assert stop.is_set()
    assert "change metrics.port" in caplog.text
