"""Commands that come in by MQTT."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from homeguard.alerting.commands import Commands, parse_command
from homeguard.alerting.dispatch import Dispatcher
from homeguard.alerting.drills import drill
from homeguard.alerting.escalation import Planner
from homeguard.alerting.mqtt_link import MqttLink
from homeguard.alerting.mute import Mute
from homeguard.alerting.outbox import Outbox
from homeguard.config import AlertsConfig, EscalationConfig, MqttConfig
from homeguard.domain import Incident, IncidentState
from tests.alerting.cases import KIM, START, SteppedClock, an_incident, end, new


class FakeLink(MqttLink):
    """Keeps its answers instead of publishing them."""

    def __init__(self) -> None:
        super().__init__(MqttConfig(), "home")
        self.answers: list[tuple[str, str]] = []

    def answer(self, command: str, state: str) -> None:
        self.answers.append((command, state))


class Scene:
    """An outbox with two running incidents, and the commands on it."""

    def __init__(self, directory: Path) -> None:
        clock = SteppedClock()
        self.link = FakeLink()
        self.outbox = Outbox(directory, clock)
        planner = Planner((KIM,), EscalationConfig(), None)
        self.dispatcher = Dispatcher(self.outbox, planner, [], AlertsConfig(), clock)
        self.taken: list[Incident] = []
        self.commands = Commands(
            self.link,
            self.outbox,
            self.dispatcher,
            "kitchen",
            clock,
            Mute(self.outbox, clock, clock.since_boot),
            self.taken.append,
        )
        for name in ("one", "two"):
            self.dispatcher.submit(new(an_incident(name)))

    def by(self, name: str) -> str | None:
        incident = self.outbox.history.incident(name)
        assert incident is not None
        return incident.acknowledged_by


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.outbox.close()


def test_an_acknowledgement_takes_the_incident_it_names(scene: Scene) -> None:
    scene.commands(parse_command("ack", b'{"id": "one", "by": "Kim"}'))
    assert (scene.by("one"), scene.by("two")) == ("Kim", None)
    assert [incident.state for incident in scene.taken] == [IncidentState.ACKNOWLEDGED]
    assert json.loads(scene.link.answers[0][1]) == {"id": "one", "by": "Kim"}


def test_a_bare_id_will_do(scene: Scene) -> None:
    scene.commands(parse_command("ack", b"two"))
    assert scene.by("two") == "MQTT"


def test_a_button_takes_all_that_nobody_took(scene: Scene) -> None:
    scene.dispatcher.submit(new(an_incident("taken")))
    scene.commands(parse_command("ack", b'{"id": "taken", "by": "Kim"}'))
    scene.commands(parse_command("ack", b'{"by": "Home Assistant"}'))
    assert (scene.by("one"), scene.by("taken")) == ("Home Assistant", "Kim")


def test_a_button_takes_what_is_quiet_again_but_still_calls_people(scene: Scene) -> None:
    scene.dispatcher.submit(end(an_incident("two")))
    scene.commands(parse_command("ack", b"PRESS"))
    assert (scene.by("one"), scene.by("two")) == ("MQTT", "MQTT")


def test_an_unknown_incident_is_answered_with_the_reason(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.commands(parse_command("ack", b"nothing"))
    assert "no incident" in json.loads(scene.link.answers[0][1])["error"]
    assert "refused" in caplog.text


def test_a_test_is_raised_and_its_time_told(scene: Scene) -> None:
    scene.commands(parse_command("test", b"PRESS"))
    newest = next(i for i in scene.outbox.history.incidents() if i.state is IncidentState.TEST)
    assert newest.room == "kitchen"
    ((command, state),) = scene.link.answers
    told = {"passed_at": None, "sent_at": START.isoformat(), "failure": None}
    assert (command, json.loads(state)) == ("test", told)


def test_a_mute_is_taken_and_ended(scene: Scene) -> None:
    scene.commands(parse_command("mute", b'{"seconds": 600, "by": "Kim"}'))
    scene.commands(parse_command("mute", b"OFF"))
    states = [json.loads(state) for _, state in scene.link.answers]
    assert [state["state"] for state in states] == ["ON", "OFF"]
    assert states[0]["by"] == "Kim"


def test_a_mute_for_ever_is_refused(scene: Scene) -> None:
    scene.commands(parse_command("mute", b"86400"))
    assert "3600" in json.loads(scene.link.answers[0][1])["error"]


def test_a_drill_says_that_it_is_one() -> None:
    assert drill("kitchen", START).after.state is IncidentState.TEST
