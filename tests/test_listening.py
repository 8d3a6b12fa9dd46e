"""What the broker is told of a room's hearing."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeguard.alerting.mqtt_link import Message, MqttLink
from homeguard.capture.inbox import Inbox
from homeguard.config import HealthConfig, MqttConfig, RoomConfig
from homeguard.domain import AudioChunk
from homeguard.listening import Listener
from tests.fakes import noise


class FakeLink(MqttLink):
    """Keeps what it would publish."""

    def __init__(self) -> None:
        super().__init__(MqttConfig(), "home")
        self.published: list[tuple[str, str | bytes]] = []

    def state(self, message: Message) -> None:
        self.published.append((message.topic.removeprefix("homeguard/home/den/"), message.payload))

    def new(self) -> list[tuple[str, str | bytes]]:
        """What came since the last call, but for levels that were measured."""
        seen, self.published = self.published, []
        return [(t, p) for t, p in seen if t != "level" or p == '{"dbfs": null}']


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


@pytest.fixture
def listener() -> Listener:
    return Listener(RoomConfig(name="den", microphone="none"), Inbox(4), HealthConfig())


def a_chunk() -> AudioChunk:
    return AudioChunk("den", 0.0, noise(0.1))


def test_a_room_that_is_not_heard_yet_is_offline_whatever_the_broker_kept(
    listener: Listener, link: FakeLink
) -> None:
    listener.report(link, voters_down=False)
    listener.report(link, voters_down=False)
    assert link.new() == [("status/audio", "offline")]
    listener.heard(a_chunk())
    listener.report(link, voters_down=False)
    assert link.new() == [("status/audio", "online"), ("problem", "OFF")]


def test_a_recording_that_has_not_begun_says_nothing(link: FakeLink) -> None:
    room = RoomConfig(name="den", file=Path("night.wav"))
    Listener(room, Inbox(4), HealthConfig()).report(link, voters_down=False)
    assert link.new() == []


def test_a_room_that_is_lost_has_a_problem_and_no_level(listener: Listener, link: FakeLink) -> None:
    listener.heard(a_chunk())
    listener.report(link, voters_down=False)
    assert ("level", '{"dbfs": null}') not in link.new()
    listener.source_offline("den", "unplugged")
    listener.report(link, voters_down=False)
    assert link.new() == [
        ("level", '{"dbfs": null}'),
        ("status/audio", "offline"),
        ("problem", "ON"),
    ]


def test_what_has_not_changed_is_told_again_only_when_asked_for(
    listener: Listener, link: FakeLink
) -> None:
    listener.heard(a_chunk())
    for again, told in ((False, True), (False, False), (True, True)):
        listener.report(link, voters_down=False, again=again)
        assert (("problem", "OFF") in link.new()) is told
