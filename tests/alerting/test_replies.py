"""Replies by SMS through the real client and the gateway that answers as Twilio does."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from homeguard.alerting.courier import Courier
from homeguard.alerting.desk import Desk
from homeguard.alerting.escalation import Planner
from homeguard.alerting.message import Texter
from homeguard.alerting.outbox import Outbox
from homeguard.alerting.replies import Replies
from homeguard.alerting.sms import SmsChannel
from homeguard.config import AlertsConfig, EscalationConfig
from homeguard.demo.gateway import Gateway
from tests.alerting.cases import KIM, LEE, SteppedClock, a_config, an_incident, new
from tests.parts.twilio import SENDER, TOKEN, sms_config

STRANGER = "+821099998888"


class Scene:
    """Two incidents that KIM, and not LEE, was told of."""

    def __init__(self, directory: Path, gateway: Gateway, sender: str = SENDER) -> None:
        self.gateway = gateway
        self.clock = SteppedClock(datetime.now(UTC))  # the gateway's
        self.outbox = Outbox(directory, self.clock)
        config = sms_config(gateway, sender=sender)
        channel = SmsChannel(config, TOKEN, Texter(a_config()), lambda *_: (), self.clock)
        planner = Planner((KIM, LEE), EscalationConfig(), None)
        self.desk = Desk(self.outbox, planner, self.clock)
        self.courier = Courier(channel, self.outbox, AlertsConfig(), self.clock)
        self.replies = Replies(channel.replies, self.outbox, self.desk.acknowledge, self.clock)
        for identity in ("one", "two"):
            at = self.clock()
            times = {"raised_at": at, "updated_at": at}
            self.desk.submit(new(an_incident(identity, room=identity, **times)))
            self.courier.deliver_due()
            self.clock.step(1)

    def answer(self, body: str, number: str = KIM.phone) -> None:
        self.gateway.answer(number, SENDER, body)
        self.replies.look()

    @property
    def by(self) -> list[str | None]:
        found = [self.outbox.history.incident(identity) for identity in ("one", "two")]
        return [incident.acknowledged_by if incident else None for incident in found]


@pytest.fixture
def scene(tmp_path: Path, gateway: Gateway) -> Iterator[Scene]:
    scene = Scene(tmp_path, gateway)
    yield scene
    scene.outbox.close()


@pytest.mark.parametrize("body", ["1", "확인", " 1. ", "확인!"])
def test_a_reply_takes_the_newest_incident(scene: Scene, body: str) -> None:
    scene.answer(body)
    assert scene.by == [None, KIM.name]


def test_a_reply_counts_once(scene: Scene) -> None:
    scene.answer("1")
    scene.replies.look()
    assert scene.by == [None, KIM.name]
    scene.answer("1")
    assert scene.by == [KIM.name, KIM.name]


@pytest.mark.parametrize(
    ("body", "number"), [("1", STRANGER), ("1", LEE.phone), ("네?", KIM.phone), ("11", KIM.phone)]
)
def test_others_are_ignored_and_logged(
    scene: Scene, body: str, number: str, caplog: pytest.LogCaptureFixture
) -> None:
    scene.answer(body, number)
    scene.replies.look()
    assert scene.by == [None, None]
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "ignored" in record.message
    assert number not in record.message


def test_a_reply_from_before_the_message_takes_nothing(tmp_path: Path, gateway: Gateway) -> None:
    gateway.answer(KIM.phone, SENDER, "1")
    scene = Scene(tmp_path, gateway)
    scene.clock.step(600)
    at = scene.clock()
    for identity in ("one", "two"):
        scene.desk.acknowledge(identity, "CLI")
    scene.desk.submit(new(an_incident("three", raised_at=at, updated_at=at)))
    scene.courier.deliver_due()
    scene.replies.look()
    three = scene.outbox.history.incident("three")
    assert three is not None
    assert three.acknowledged_by is None
    scene.outbox.close()


def test_a_messaging_service_hears_replies_too(tmp_path: Path, gateway: Gateway) -> None:
    scene = Scene(tmp_path, gateway, sender="MG" + "1" * 32)
    scene.answer("1")
    assert scene.by == [None, KIM.name]
    scene.outbox.close()


def test_nothing_is_asked_when_nobody_could_answer(tmp_path: Path) -> None:
    clock = SteppedClock()
    outbox = Outbox(tmp_path, clock)
    asked: list[datetime] = []
    replies = Replies(lambda since: asked.append(since) or (), outbox, lambda *_: None, clock)  # type: ignore[func-returns-value]
    replies.look()
    assert asked == []
    outbox.close()
