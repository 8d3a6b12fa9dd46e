"""What Home Assistant is told of us, and that a real broker keeps exactly that."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from homeguard.alerting.discovery import Discovery
from homeguard.alerting.home_assistant import EXPIRES_S, devices, retired
from homeguard.alerting.mqtt_link import Message, MqttLink
from homeguard.config import Config
from homeguard.labels import EMERGENCIES
from homeguard.supervision import HEARTBEAT_S
from tests.alerting.cases import a_config
from tests.parts.mosquitto import (
    HOME_ASSISTANT_PASSWORD,
    HOME_ASSISTANT_USER,
    MUTED_PASSWORD,
    MUTED_USER,
    NODE_PASSWORD,
    NODE_USER,
    Mosquitto,
    Subscriber,
    wait_until,
)

NODE = "homeassistant/device/homeguard_home/config"
DEN = "homeassistant/device/homeguard_home/den/config"
ATTIC = "homeassistant/device/homeguard_home/attic/config"


def config_for(*rooms: str, language: str = "ko", picture: str = "mqtt", **mqtt: object) -> Config:
    return a_config(
        home={"name": "할머니댁", "language": language},
        rooms=[{"name": room, "label": f"({room})", "microphone": "default"} for room in rooms],
        mqtt=mqtt,
        clips={"picture": picture},
    )


def components(config: Config, topic: str = DEN) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = devices(config)[topic]["components"]
    return found


def test_there_is_a_device_for_the_node_and_one_for_each_room() -> None:
    announced = devices(config_for("den", "attic"))
    assert list(announced) == [NODE, DEN, ATTIC]
    node, den = announced[NODE]["device"], announced[DEN]["device"]
    assert den["via_device"] in node["identifiers"]
    assert (node["name"], den["name"], den["suggested_area"]) == (
        "HomeGuard 할머니댁",
        "(den)",
        "(den)",
    )


def test_no_two_nodes_and_rooms_share_a_topic_or_a_name() -> None:
    seen: list[str] = []
    for node, room in (("a", "b_c"), ("a_b", "c"), ("a", "b"), ("a-b", "c")):
        config = config_for(room).model_copy(update={"node": a_config(node={"name": node}).node})
        for topic, device in devices(config).items():
            if topic.endswith(f"/{room}/config"):
                parts = device["components"].values()
                seen += [topic, *device["device"]["identifiers"], *(p["unique_id"] for p in parts)]
    assert len(seen) == len(set(seen))


def test_only_the_emergency_goes_away_with_its_microphone() -> None:
    audio = "homeguard/home/den/status/audio"
    parts = components(config_for("den"))
    of_microphone = [
        name
        for name, part in parts.items()
        if any(topic["topic"] == audio for topic in part.get("availability", []))
    ]
    assert of_microphone == ["emergency"]
    assert parts["emergency"]["availability_mode"] == "all"
    assert {"topic": "homeguard/home/status"} in parts["emergency"]["availability"]


def test_the_acknowledge_button_never_goes_away() -> None:
    button = components(config_for("den"), NODE)["acknowledge"]
    assert not [key for key in button if key.startswith("availability")]
    assert button["command_topic"] == "homeguard/home/ack/set"


def test_an_event_may_be_each_emergency_and_nothing_else() -> None:
    parts = components(config_for("den", language="en"))
    assert parts["event"]["event_types"] == [category.value for category in EMERGENCIES]
    assert len(parts["event"]["event_types"]) == 14
    assert "Fire" in parts["category"]["options"]
    assert "화재" in components(config_for("den"))["category"]["options"]


def test_a_problem_sensor_is_refreshed_before_it_expires() -> None:
    assert components(config_for("den"))["problem"]["expire_after"] == EXPIRES_S > 2 * HEARTBEAT_S


@pytest.mark.parametrize(("language", "name"), [("ko", "긴급 상황"), ("en", "Emergency")])
def test_names_are_in_the_homes_language_and_ids_in_neither(language: str, name: str) -> None:
    emergency = components(config_for("den", language=language))["emergency"]
    assert emergency["name"] == name
    assert emergency["default_entity_id"] == "binary_sensor.homeguard_home_den_emergency"


def test_a_picture_is_announced_only_where_pictures_are_published() -> None:
    assert "picture" in components(config_for("den"))
    assert "picture" not in components(config_for("den", picture="keep"))


def test_what_vanished_is_shown_once_more_and_then_removed() -> None:
    old, current = (
        {"components": components(config_for("den", picture=p))} for p in ("mqtt", "keep")
    )
    shown, removed = retired(old, current)
    assert shown["components"] == old["components"]
    assert removed["components"] == {**current["components"], "picture": {"platform": "image"}}
    assert retired(current, old) == []


@contextmanager
def announced(
    broker: Mosquitto,
    config: Config,
    node: str = "home",
    user: tuple[str, str] = (NODE_USER, NODE_PASSWORD),
) -> Iterator[MqttLink]:
    """A node's connection with that configuration, as the daemon makes it."""
    mqtt = config.mqtt.model_copy(
        update={"host": "127.0.0.1", "port": broker.port, "username": user[0]}
    )
    link = MqttLink(mqtt, node, [room.name for room in config.rooms], user[1])
    Discovery(config, link)
    link.start()
    assert link.wait_connected(5)
    yield link
    link.stop()


def birth(broker: Mosquitto) -> None:
    """What Home Assistant says when it has started."""
    user = (HOME_ASSISTANT_USER, HOME_ASSISTANT_PASSWORD)
    with closing(Subscriber(broker, "homeassistant/status", user)) as home_assistant:
        home_assistant.publish("homeassistant/status", "online")


def kept(broker: Mosquitto, topics: str = "homeassistant/#") -> dict[str, str]:
    """What the broker retains: what a new subscriber gets before anything newer."""
    with closing(Subscriber(broker, topics)) as late:
        late.publish("homeguard/home/ack/set", "mark")
        return {message.topic: message.text for message in late.messages if message.retain}


def keeps(broker: Mosquitto, *topics: str) -> Callable[[], bool]:
    return lambda: set(kept(broker)) == set(topics)


@pytest.mark.broker
def test_a_removed_room_is_taken_back_with_all_that_the_broker_kept_of_it(
    broker: Mosquitto,
) -> None:
    with announced(broker, config_for("den", "attic")) as link:
        link.audio("attic", "online")
        link.picture("attic", b"png", "abc", keep_days=1.0)
        assert wait_until(keeps(broker, NODE, DEN, ATTIC))
    with announced(broker, config_for("den")):
        assert wait_until(keeps(broker, NODE, DEN))
        assert wait_until(lambda: kept(broker, "homeguard/home/attic/#") == {})
    assert "homeguard/home/den/emergency" in kept(broker, "homeguard/#")


@pytest.mark.broker
def test_another_nodes_rooms_are_left_alone(broker: Mosquitto) -> None:
    other = config_for("attic").model_copy(update={"node": a_config(node={"name": "cabin"}).node})
    with announced(broker, other, "cabin"), announced(broker, config_for("den")):
        cabin = "homeassistant/device/homeguard_cabin"
        expected = (NODE, DEN, f"{cabin}/config", f"{cabin}/attic/config")
        assert wait_until(keeps(broker, *expected))


@pytest.mark.broker
def test_switched_off_takes_everything_back_and_leaves_the_states(broker: Mosquitto) -> None:
    with announced(broker, config_for("den")) as link:
        link.audio("den", "online")
        assert wait_until(keeps(broker, NODE, DEN))
    with announced(broker, config_for("den", discovery={"enabled": False})):
        assert wait_until(keeps(broker))
        assert kept(broker, "homeguard/home/den/status/audio") != {}


@pytest.mark.broker
def test_a_vanished_component_is_removed_and_again_for_a_home_assistant_that_comes_later(
    broker: Mosquitto,
) -> None:
    with announced(broker, config_for("den", "attic")):
        assert wait_until(keeps(broker, NODE, DEN, ATTIC))
    home_assistant = Subscriber(broker, "homeassistant/#")
    with announced(broker, config_for("den", picture="keep")):
        assert wait_until(lambda: pictures(home_assistant) == [False, False, True])
        assert wait_until(keeps(broker, NODE, DEN))
        home_assistant.messages.clear()
        birth(broker)
        # Shown, removed, and what is in force; of the room that is gone all is removed.
        assert wait_until(lambda: pictures(home_assistant) == [False, True, False])
        shown, removed = (json.loads(m.payload)["components"] for m in home_assistant.on(ATTIC))
        assert shown.keys() == removed.keys()
        assert all(list(part) == ["platform"] for part in removed.values())
        home_assistant.messages.clear()
        birth(broker)
        assert wait_until(lambda: len(home_assistant.on(DEN)) == 1)
        assert home_assistant.on(ATTIC) == []
    home_assistant.close()


def pictures(subscriber: Subscriber) -> list[bool]:
    """Of each announcement of the den: whether its picture is taken back by it."""
    return [
        json.loads(m.payload)["components"].get("picture") == {"platform": "image"}
        for m in subscriber.on(DEN)
    ]


@pytest.mark.broker
def test_a_broker_that_forgot_is_told_again_at_home_assistants_birth(broker: Mosquitto) -> None:
    with announced(broker, config_for("den")) as link:
        assert wait_until(keeps(broker, NODE, DEN))
        link._client.publish(DEN, b"", qos=1, retain=True).wait_for_publish(5)
        assert keeps(broker, NODE)()
        birth(broker)
        assert wait_until(keeps(broker, NODE, DEN))


@pytest.mark.broker
@pytest.mark.parametrize("garbage", ["no JSON", "[]", '{"components": {"a": 1}}', "{}"])
def test_what_is_no_announcement_is_cleared_away(broker: Mosquitto, garbage: str) -> None:
    with announced(broker, config_for("den", discovery={"enabled": False})) as link:
        link.state(Message(ATTIC, garbage, retain=True))
        assert wait_until(keeps(broker, ATTIC))
    with announced(broker, config_for("den")):
        assert wait_until(keeps(broker, NODE, DEN))
        birth(broker)
        assert wait_until(keeps(broker, NODE, DEN))


@pytest.mark.broker
def test_an_acl_that_forbids_announcing_is_said_once_a_topic(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    user = (MUTED_USER, MUTED_PASSWORD)
    with announced(broker, config_for("den"), user=user) as link:
        assert wait_until(lambda: f"let this user write {NODE}" in caplog.text)
        assert wait_until(lambda: f"let this user write {DEN}" in caplog.text)
        link.audio("den", "online")
        link.audio("den", "silent")
        link.problem("den", on=True)
        assert wait_until(lambda: "write homeguard/home/den/problem" in caplog.text)
    assert caplog.text.count("write homeguard/home/den/status/audio") == 1
