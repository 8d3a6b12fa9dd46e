"""MQTT against a real mosquitto with passwords and an ACL."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from homeguard.alerting.commands import Command, listen, parse_command
from homeguard.alerting.dispatch import Dispatcher
from homeguard.alerting.escalation import Planner
from homeguard.alerting.mqtt import MqttChannel
from homeguard.alerting.mqtt_link import MqttLink
from homeguard.alerting.outbox import Outbox
from homeguard.alerting.schema import EventWriter
from homeguard.config import AlertsConfig, Config, EscalationConfig
from homeguard.domain import Alert, Clip, DeliveryError, DeliveryState, IncidentState
from homeguard.labels import Category
from tests.alerting.cases import SteppedClock, a_config, an_incident, end, new, update
from tests.parts.mosquitto import (
    MUTED_PASSWORD,
    MUTED_USER,
    NODE_PASSWORD,
    NODE_USER,
    Mosquitto,
    Subscriber,
    wait_until,
)

pytestmark = pytest.mark.broker

ROOM = "homeguard/home/living-room"
EVENTS = "homeguard/home/events"
MakeLink = Callable[..., MqttLink]


def mqtt_config(broker: Mosquitto, **changes: object) -> Config:
    mqtt = {"host": "127.0.0.1", "port": broker.port, "username": NODE_USER, **changes}
    return a_config(mqtt=mqtt, clips={"share": "mqtt"})


@pytest.fixture
def make_link(broker: Mosquitto) -> Iterator[MakeLink]:
    links: list[MqttLink] = []

    def make(
        password: str = NODE_PASSWORD,
        on_command: Callable[[Command], None] = lambda _: None,
        **changes: object,
    ) -> MqttLink:
        config = mqtt_config(broker, **changes)
        link = MqttLink(config.mqtt, "home", ["living-room", "kitchen"], password)
        links.append(link)
        listen(link, on_command)
        link.start()
        return link

    yield make
    for link in links:
        link.stop()


@pytest.fixture
def make_tls_link(tls_broker: Mosquitto) -> Iterator[MakeLink]:
    links: list[MqttLink] = []

    def make(**changes: object) -> MqttLink:
        config = mqtt_config(tls_broker, tls=True, **changes)
        links.append(MqttLink(config.mqtt, "home", ["living-room"], NODE_PASSWORD))
        links[-1].start()
        return links[-1]

    yield make
    for link in links:
        link.stop()


@pytest.fixture
def link(make_link: MakeLink) -> MqttLink:
    link = make_link()
    assert link.wait_connected(5)
    return link


def a_channel(link: MqttLink, broker: Mosquitto) -> MqttChannel:
    config = mqtt_config(broker)
    return MqttChannel(link, EventWriter(config), config.clips)


def texts(subscriber: Subscriber, topic: str) -> list[str]:
    return [message.text for message in subscriber.on(topic)]


def told(subscriber: Subscriber, topic: str, *expected: str) -> bool:
    return wait_until(lambda: texts(subscriber, topic) == list(expected))


def events(subscriber: Subscriber) -> list[tuple[str, str, bool]]:
    found = [json.loads(message.payload) for message in subscriber.on(EVENTS)]
    return [(e["after"]["id"], e["type"], e["after"]["late"]) for e in found]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_an_incident_from_raise_to_end(
    broker: Mosquitto, subscriber: Subscriber, make_link: MakeLink, version: str
) -> None:
    link = make_link(version=version)
    assert link.wait_connected(5)
    channel, incident = a_channel(link, broker), an_incident()
    for alert in (new(incident), update(incident), end(incident)):
        assert channel.send(alert, None).state is DeliveryState.DELIVERED
    assert told(subscriber, f"{ROOM}/emergency", "OFF", "ON", "ON", "OFF")
    assert wait_until(
        lambda: (
            events(subscriber) == [(incident.id, kind, False) for kind in ("new", "update", "end")]
        )
    )
    assert [json.loads(text) for text in texts(subscriber, f"{ROOM}/event")] == [
        {
            "event_type": "fire",
            "category_name": "화재",
            "priority": "critical",
            "id": incident.id,
            "at": "2026-11-20T12:12:00+09:00",
            "late": False,
        }
    ]
    assert not any(message.retain for message in subscriber.on(EVENTS))


def test_a_new_subscriber_finds_the_state_and_no_old_event(
    broker: Mosquitto, subscriber: Subscriber, link: MqttLink
) -> None:
    a_channel(link, broker).send(new(an_incident()), None)
    link.audio("living-room", "online")
    link.problem("kitchen", on=False)
    assert wait_until(lambda: bool(subscriber.on("homeguard/home/kitchen/problem")))
    late_comer = Subscriber(broker)
    assert told(late_comer, f"{ROOM}/emergency", "ON")
    assert told(late_comer, f"{ROOM}/status/audio", "online")
    assert told(late_comer, "homeguard/home/kitchen/emergency", "OFF")
    assert told(late_comer, "homeguard/home/status", "online")
    assert late_comer.on(EVENTS) == late_comer.on(f"{ROOM}/event") == []
    late_comer.close()


def test_two_incidents_in_a_room_keep_it_on_until_both_end(
    broker: Mosquitto, subscriber: Subscriber, link: MqttLink
) -> None:
    channel = a_channel(link, broker)
    fire, gas = an_incident("fire"), an_incident("gas", category=Category.GAS_ACCIDENT)
    for alert in (new(fire), new(gas), end(fire)):
        channel.send(alert, None)
    assert told(subscriber, f"{ROOM}/emergency", "OFF", "ON", "ON", "ON")
    channel.send(end(gas), None)
    assert told(subscriber, f"{ROOM}/emergency", "OFF", "ON", "ON", "ON", "OFF")


def test_an_incident_that_moves_to_another_room_takes_its_state_along(
    broker: Mosquitto, subscriber: Subscriber, link: MqttLink
) -> None:
    channel, incident = a_channel(link, broker), an_incident()
    channel.send(new(incident), None)
    channel.send(update(incident, room="kitchen"), None)
    assert told(subscriber, f"{ROOM}/emergency", "OFF", "ON", "OFF")
    assert told(subscriber, "homeguard/home/kitchen/emergency", "OFF", "ON")


def test_who_sees_an_emergency_go_on_knows_already_of_what_kind(
    broker: Mosquitto, subscriber: Subscriber, link: MqttLink
) -> None:
    channel, incident = a_channel(link, broker), an_incident()
    channel.send(new(incident), None)
    channel.send(update(incident, category=Category.HELP_REQUEST), None)
    channel.send(update(incident, room="kitchen"), None)
    assert wait_until(lambda: len(subscriber.on(EVENTS)) == 3)
    told = [
        (m.topic.removeprefix("homeguard/home/"), json.loads(m.payload)["event_type"])
        if m.topic.endswith("last_event")
        else (m.topic.removeprefix("homeguard/home/"), m.text)
        for m in subscriber.messages
        if m.topic.endswith(("last_event", "emergency"))
    ]
    assert told[2:] == [
        ("living-room/last_event", "fire"),
        ("living-room/emergency", "ON"),
        ("living-room/last_event", "help_request"),
        ("living-room/emergency", "ON"),
        ("kitchen/last_event", "fire"),
        ("kitchen/emergency", "ON"),
        ("living-room/emergency", "OFF"),
    ]
    with closing(Subscriber(broker, "homeguard/home/+/last_event")) as late:
        assert wait_until(lambda: len(late.messages) == 2)
        assert all(m.retain and m.expiry_s is not None for m in late.messages)


def test_a_test_alert_switches_nothing_on(
    broker: Mosquitto, subscriber: Subscriber, link: MqttLink
) -> None:
    a_channel(link, broker).send(new(an_incident(state=IncidentState.TEST)), None)
    assert wait_until(lambda: len(subscriber.on(EVENTS)) == 1)
    assert texts(subscriber, f"{ROOM}/emergency") == ["OFF"]
    assert subscriber.on(f"{ROOM}/event") == []


def test_the_clip_travels_once_with_its_type_expiry_and_incident(
    broker: Mosquitto, subscriber: Subscriber, link: MqttLink, tmp_path: Path
) -> None:
    (tmp_path / "a.flac").write_bytes(b"fLaC sound")
    clip = Clip(tmp_path / "a.flac", "audio/flac", 1.0, "ab")
    channel, incident = a_channel(link, broker), an_incident(clip=clip)
    channel.send(new(incident), None)
    channel.send(update(incident), None)
    channel.send(end(replace(incident, clip=replace(clip, sha256="cd"))), None)
    topic = f"homeguard/home/incidents/{incident.id}/clip"
    assert wait_until(lambda: len(subscriber.on(topic)) == 2)
    message = subscriber.on(topic)[0]
    assert message.payload == b"fLaC sound"
    assert (message.content_type, message.correlation) == ("audio/flac", incident.id.encode())
    assert message.expiry_s == 7 * 86_400
    assert not message.retain


def test_a_clip_that_is_gone_does_not_hold_up_the_alert(
    broker: Mosquitto, link: MqttLink, tmp_path: Path
) -> None:
    incident = an_incident(clip=Clip(tmp_path / "gone.flac", "audio/flac", 1.0, "ab"))
    receipt = a_channel(link, broker).send(new(incident), None)
    assert receipt.state is DeliveryState.DELIVERED


def test_a_clip_that_the_broker_would_not_take_is_not_sent(
    broker: Mosquitto, subscriber: Subscriber, link: MqttLink, tmp_path: Path
) -> None:
    (tmp_path / "a.flac").write_bytes(bytes(5000))
    incident = an_incident(clip=Clip(tmp_path / "a.flac", "audio/flac", 1.0, "ab"))
    link.max_packet_bytes = 2000
    assert a_channel(link, broker).send(new(incident), None).state is DeliveryState.DELIVERED
    link.audio("kitchen", "online")
    assert told(subscriber, "homeguard/home/kitchen/status/audio", "online")
    assert subscriber.on(f"homeguard/home/incidents/{incident.id}/clip") == []


def test_what_the_acl_refuses_is_a_permanent_error(broker: Mosquitto, make_link: MakeLink) -> None:
    link = make_link(MUTED_PASSWORD, username=MUTED_USER)
    assert link.wait_connected(5)
    with pytest.raises(
        DeliveryError, match=r"Not authorized: let this user write .* ACL"
    ) as caught:
        a_channel(link, broker).send(new(an_incident()), None)
    assert not caught.value.retryable


def test_a_wrong_password_is_said_once_and_alerts_wait(
    broker: Mosquitto, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        link = make_link("wrong-password")
        assert wait_until(lambda: "HOMEGUARD_MQTT_PASSWORD" in caplog.text)
        wait_until(lambda: len(caplog.records) > 1, 2.5)
    assert not link.connected
    assert len(caplog.records) == 1
    assert "wrong-password" not in caplog.text
    with pytest.raises(DeliveryError) as caught:
        a_channel(link, broker).send(new(an_incident()), None)
    assert caught.value.retryable


def test_a_clean_stop_and_a_crash_both_say_offline(
    broker: Mosquitto, subscriber: Subscriber, make_link: MakeLink
) -> None:
    link = make_link()
    assert link.wait_connected(5)
    link.stop()
    assert told(subscriber, "homeguard/home/status", "online", "offline")
    crashed = make_link(client_id="crashes")
    assert crashed.wait_connected(5)
    assert told(subscriber, "homeguard/home/status", "online", "offline", "online")
    socket = crashed._client.socket()
    assert socket is not None
    crashed._client._sock_close()
    assert wait_until(lambda: "offline" in texts(subscriber, "homeguard/home/status")[3:])


def test_the_level_is_told_at_most_once_a_second(subscriber: Subscriber, link: MqttLink) -> None:
    for dbfs in (-41.23, -40.0, -39.0):
        link.level("living-room", dbfs)
    link.audio("living-room", "online")
    assert told(subscriber, f"{ROOM}/status/audio", "online")
    assert told(subscriber, f"{ROOM}/level", '{"dbfs": -41.2}')


def test_commands_come_in_and_retained_ones_are_ignored(
    subscriber: Subscriber, make_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    subscriber.publish("homeguard/home/test/set", "old", retain=True)
    commands: list[Command] = []
    link = make_link(on_command=commands.append)
    assert link.wait_connected(5)
    assert wait_until(lambda: "retained test command is ignored" in caplog.text)
    subscriber.publish("homeguard/home/ack/set", '{"id": "abc", "by": "Kim"}')
    assert wait_until(lambda: len(commands) == 1)
    assert (commands[0].name, commands[0].incident_id, commands[0].by) == ("ack", "abc", "Kim")
    link.answer("ack", "abc")
    assert told(subscriber, "homeguard/home/ack/state", "abc")


def test_a_command_is_json_or_bare_text() -> None:
    assert parse_command("ack", b" abc ").value == "abc"
    assert parse_command("ack", b"[1]").incident_id is None
    assert parse_command("ack", b'{"id": 7}').incident_id is None
    assert parse_command("ack", b"\xff").value


# paho leaves the socket of a failed handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_is_spoken_and_a_foreign_certificate_refused(
    tls_broker: Mosquitto, make_tls_link: MakeLink, caplog: pytest.LogCaptureFixture
) -> None:
    link = make_tls_link(ca_file=tls_broker.directory / "ca.pem")
    assert link.wait_connected(5)
    assert a_channel(link, tls_broker).send(new(an_incident()), None).state == "delivered"
    with caplog.at_level(logging.WARNING):
        stranger = make_tls_link(ca_file=None, client_id="stranger")
        assert wait_until(lambda: "cannot be reached" in caplog.text)
    assert not stranger.connected


def a_dispatcher(
    link: MqttLink, broker: Mosquitto, outbox: Outbox, clock: SteppedClock
) -> Dispatcher:
    channel = a_channel(link, broker)
    planner = Planner((), EscalationConfig(), None)
    config = AlertsConfig()
    dispatcher = Dispatcher(outbox, planner, [channel], config, clock, clock.since_boot)
    link.on_up = lambda: dispatcher.hurry("mqtt")
    dispatcher.start()
    return dispatcher


def story(name: str) -> list[Alert]:
    incident = an_incident(name)
    return [new(incident), update(incident), end(incident)]


def test_a_broker_away_for_hours_gets_everything_once_in_order_marked_late(
    broker: Mosquitto, subscriber: Subscriber, link: MqttLink, tmp_path: Path
) -> None:
    clock = SteppedClock()
    outbox = Outbox(tmp_path / "state", clock)
    dispatcher = a_dispatcher(link, broker, outbox, clock)
    for alert in story("before"):
        dispatcher.submit(alert)
    assert wait_until(lambda: len(events(subscriber)) == 3)
    subscriber.forget()
    broker.kill()
    assert wait_until(lambda: not link.connected)
    for name in ("during1", "during2"):
        for alert in story(name):
            dispatcher.submit(alert)
    clock.step(10 * 3600)
    broker.start()
    subscriber.await_reconnect()
    assert wait_until(lambda: len(events(subscriber)) >= 9, 15)
    for alert in story("after"):
        dispatcher.submit(alert)
    assert wait_until(lambda: len(events(subscriber)) >= 12, 15)
    dispatcher.stop()
    outbox.close()
    assert events(subscriber) == [
        (name, kind, name.startswith("during"))
        for name in ("before", "during1", "during2", "after")
        for kind in ("new", "update", "end")
    ]


def test_a_broker_that_forgot_everything_is_told_the_state_again(
    broker: Mosquitto, subscriber: Subscriber, link: MqttLink
) -> None:
    a_channel(link, broker).send(new(an_incident()), None)
    link.audio("living-room", "silent")
    assert told(subscriber, f"{ROOM}/status/audio", "silent")
    broker.kill()
    (broker.directory / "mosquitto.db").unlink(missing_ok=True)
    broker.start()
    assert wait_until(lambda: not link.connected, 1) or link.wait_connected(10)
    assert link.wait_connected(10)
    late_comer = Subscriber(broker)
    assert told(late_comer, f"{ROOM}/emergency", "ON")
    assert told(late_comer, f"{ROOM}/status/audio", "silent")
    assert told(late_comer, "homeguard/home/status", "online")
    late_comer.close()


def test_a_broker_that_is_away_at_start_gets_the_alert_when_it_comes(
    broker: Mosquitto, make_link: MakeLink, tmp_path: Path
) -> None:
    broker.kill()
    clock = SteppedClock()
    outbox = Outbox(tmp_path / "state", clock)
    link = make_link()
    dispatcher = a_dispatcher(link, broker, outbox, clock)
    dispatcher.submit(new(an_incident()))
    broker.start()
    subscriber = Subscriber(broker)
    assert wait_until(lambda: [e[1] for e in events(subscriber)] == ["new"], 10)
    assert told(subscriber, "homeguard/home/status", "online")
    dispatcher.stop()
    outbox.close()
    subscriber.close()


def test_a_publish_that_was_on_its_way_is_not_sent_twice(
    broker: Mosquitto, subscriber: Subscriber, link: MqttLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The acknowledgement is lost, not the message: trying again waits for the same one."""
    channel, alert = a_channel(link, broker), new(an_incident())
    with monkeypatch.context() as patch:
        patch.setattr(link, "_all_acknowledged", lambda _sent: False)
        patch.setattr("homeguard.alerting.mqtt_link._ACKNOWLEDGED_WITHIN_S", 0.2)
        with pytest.raises(DeliveryError, match="has not acknowledged"):
            channel.send(alert, None)
    assert channel.send(alert, None).state is DeliveryState.DELIVERED
    assert wait_until(lambda: len(events(subscriber)) == 1)
    link.audio("kitchen", "online")
    assert told(subscriber, "homeguard/home/kitchen/status/audio", "online")
    assert len(events(subscriber)) == 1


def test_a_picture_is_retained_for_a_while_and_names_its_incident(
    link: MqttLink, broker: Mosquitto
) -> None:
    with closing(Subscriber(broker, f"{ROOM}/image")) as early:
        assert link.picture("living-room", b"png", "abc", keep_days=1.0)
        assert wait_until(lambda: bool(early.messages))
    with closing(Subscriber(broker, f"{ROOM}/image")) as late:
        assert wait_until(lambda: bool(late.messages))
        (message,) = late.messages
    assert message.retain
    assert (message.payload, message.content_type) == (b"png", "image/png")
    assert message.correlation == b"abc"
    assert message.expiry_s is not None
    assert 86_000 < message.expiry_s <= 86_400


def test_a_picture_that_the_broker_does_not_take_is_not_sent(link: MqttLink) -> None:
    link.max_packet_bytes = 2000
    assert not link.picture("living-room", bytes(2000), "abc", keep_days=1.0)
