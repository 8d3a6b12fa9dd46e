"""A real Home Assistant beside the real daemon and a real broker: what a family sees of us."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from homeguard.alerting.discovery import Discovery
from homeguard.alerting.home_assistant import config_topic, devices
from homeguard.alerting.mqtt_link import Message, MqttLink
from homeguard.config import Config
from homeguard.labels import EMERGENCIES
from tests.alerting.cases import a_config
from tests.parts.home_assistant import ROOT, HomeAssistant, hass_or_skip
from tests.parts.mosquitto import (
    NODE_PASSWORD,
    NODE_USER,
    Mosquitto,
    Subscriber,
    mosquitto_or_skip,
    wait_until,
)
from tests.parts.pulse import MICROPHONE, VirtualMicrophone
from tests.test_daemon import running, smoke_alarm, stop

pytestmark = [pytest.mark.broker, pytest.mark.home_assistant, pytest.mark.timeout(1200)]

BLUEPRINT = ROOT / "deploy" / "home-assistant" / "homeguard-alert.yaml"
EMERGENCY = "binary_sensor.homeguard_home_den_emergency"
PROBLEM = "binary_sensor.homeguard_home_den_problem"
CONNECTION = "binary_sensor.homeguard_home_connection"
ACKNOWLEDGE = "button.homeguard_home_acknowledge"
LAMP = {
    "device": {"identifiers": ["lamp"], "name": "Lamp"},
    "origin": {"name": "test"},
    "components": {
        "lamp": {
            "platform": "light",
            "unique_id": "lamp",
            "name": None,
            "command_topic": "homeassistant/test/lamp",
        }
    },
}


@dataclass(frozen=True, slots=True)
class Household:
    broker: Mosquitto
    home_assistant: HomeAssistant


@pytest.fixture(scope="module")
def household(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    """Broker and Home Assistant, which has our blueprint and tells the broker whom it notified."""
    hass = hass_or_skip()
    mosquitto_or_skip()
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    broker.configure()
    broker.start()
    home_assistant = HomeAssistant(hass, tmp_path_factory.mktemp("home-assistant"), broker)
    ours = {
        "alias": "ours",
        "use_blueprint": {
            "path": "homeguard/homeguard-alert.yaml",
            "input": {
                "emergencies": [EMERGENCY],
                "lights": {"entity_id": "light.lamp"},
                "acknowledge": [ACKNOWLEDGE],
            },
        },
    }
    tell = {
        "alias": "tell",
        "triggers": [
            {"trigger": "event", "event_type": "call_service", "event_data": {"domain": "notify"}}
        ],
        "actions": [
            {
                "action": "mqtt.publish",
                "data": {
                    "topic": "homeassistant/test/notified",
                    "payload": "{{ trigger.event.data.service_data | tojson }}",
                },
            }
        ],
    }
    home_assistant.configure(BLUEPRINT, [ours, tell])
    home_assistant.start()
    yield Household(broker, home_assistant)
    home_assistant.stop()
    broker.kill()


def complaints(home_assistant: HomeAssistant) -> list[str]:
    """Lines of Home Assistant's log that are about MQTT, our automation or us."""
    words = ("mqtt", "homeguard", "automation", "blueprint", "template")
    return [line for line in home_assistant.log.splitlines() if any(w in line for w in words)]


def write_config(directory: Path, broker: Mosquitto, rooms: list[dict[str, str]]) -> Path:
    settings = {
        "node": {"name": "home", "state_dir": str(directory / "state")},
        "home": {"name": "할머니댁"},
        "rooms": rooms,
        "mqtt": {"host": "127.0.0.1", "port": broker.port, "username": NODE_USER},
        "clips": {"picture": "mqtt"},
    }
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return path


def config_for(
    broker: Mosquitto, *rooms: str, language: str = "ko", picture: str = "mqtt", **mqtt: object
) -> Config:
    return a_config(
        home={"language": language},
        rooms=[{"name": name, "microphone": "default"} for name in rooms],
        mqtt={"host": "127.0.0.1", "port": broker.port, "username": NODE_USER, **mqtt},
        clips={"picture": picture},
    )


@contextmanager
def announced(config: Config) -> Iterator[MqttLink]:
    """A node's connection with that configuration, as the daemon makes it."""
    link = MqttLink(config.mqtt, "home", [room.name for room in config.rooms], NODE_PASSWORD)
    Discovery(config, link)
    link.start()
    assert link.wait_connected(10)
    yield link
    link.stop()


@pytest.mark.models
@pytest.mark.microphone
def test_a_smoke_alarm_is_seen_told_and_acknowledged(
    tmp_path: Path, household: Household, virtual_microphone: VirtualMicrophone
) -> None:
    home, broker = household.home_assistant, household.broker
    den = {"name": "den", "label": "거실", "microphone": MICROPHONE}
    kitchen = {"name": "kitchen", "label": "부엌", "microphone": "no such microphone"}
    heard = Subscriber(broker, "#")
    with announced(config_for(broker, "den", discovery={"enabled": False})) as lamp:
        lamp.state(Message("homeassistant/device/lamp/config", json.dumps(LAMP), retain=True))
        assert home.becomes("light.lamp", "unknown")

    config = write_config(tmp_path, broker, [den, kitchen])
    with running(config, tmp_path / "notify") as process:
        both_rooms_are_there(home)
        commands_are_followed(home, heard)
        player = virtual_microphone.play(smoke_alarm(tmp_path / "alarm.wav"))
        assert home.becomes(EMERGENCY, "on", 90), (tmp_path / "log").read_text()
        the_alarm_is_told(home, heard)
        home.fire("mobile_app_notification_action", action="homeguard_acknowledge")
        assert wait_until(lambda: "Home Assistant" in takers(heard)), home.log
        assert home.becomes(EMERGENCY, "off", 60)
        the_picture_is_shown(home, heard)
        assert player.wait(30) == 0

        virtual_microphone.unplug()
        assert home.becomes(EMERGENCY, "unavailable", 60)
        assert home.becomes(PROBLEM, "on")
        assert home.becomes("sensor.homeguard_home_den_level", "unknown")
        process.kill()
        assert home.becomes(PROBLEM, "unavailable", 60)
        assert home.becomes(CONNECTION, "off")
        # What was heard is still true, and whoever is called finds the button.
        assert home.state("sensor.homeguard_home_den_category") == "화재"
        assert home.state(ACKNOWLEDGE) not in (None, "unavailable")

    config = write_config(tmp_path, broker, [den])
    with running(config, tmp_path / "notify") as process:
        assert home.becomes(PROBLEM, "on", 60)
        assert wait_until(lambda: home.entities("homeguard_home_kitchen") == set())
        with closing(Subscriber(broker)) as late:
            assert wait_until(lambda: bool(late.on("homeguard/home/status")))
            assert [m.topic for m in late.messages if "/kitchen/" in m.topic] == []
        stop(process)
    heard.close()
    assert complaints(home) == []


def both_rooms_are_there(home: HomeAssistant) -> None:
    """One is heard, the other's microphone is not there."""
    assert home.becomes(EMERGENCY, "off"), home.log
    assert home.becomes(PROBLEM, "off")
    assert home.becomes(CONNECTION, "on")
    assert home.becomes("binary_sensor.homeguard_home_kitchen_problem", "on")
    assert home.state("binary_sensor.homeguard_home_kitchen_emergency") == "unavailable"
    via = f"device_attr('{EMERGENCY}', 'via_device_id') == device_id('{ACKNOWLEDGE}')"
    assert home.render(f"{{{{ {via} }}}}") == "True"
    assert home.render(f"{{{{ area_name('{EMERGENCY}') }}}}") == "거실"
    assert attributes(home, EMERGENCY)["friendly_name"] == "거실 긴급 상황"
    assert attributes(home, EMERGENCY)["device_class"] == "safety"
    level = home.state("sensor.homeguard_home_den_level")
    assert level is not None
    assert -120 <= int(level) <= 0


def commands_are_followed(home: HomeAssistant, heard: Subscriber) -> None:
    for state in ("on", "off"):
        home.call(f"switch.turn_{state}", entity_id="switch.homeguard_home_mute")
        assert home.becomes("switch.homeguard_home_mute", state)
    home.call("button.press", entity_id="button.homeguard_home_test")
    assert wait_until(lambda: bool(states(heard, "test"))), home.log
    assert home.state(EMERGENCY) == "off"


def the_alarm_is_told(home: HomeAssistant, heard: Subscriber) -> None:
    """In the entities, to people and by the lamp; a first word that was wrong is corrected."""
    event = "event.homeguard_home_den_event"
    assert home.becomes("sensor.homeguard_home_den_category", "화재")
    assert wait_until(lambda: attributes(home, event)["event_type"] == "fire")
    assert attributes(home, event)["category_name"] == "화재"
    assert attributes(home, event)["event_types"] == [c.value for c in EMERGENCIES]
    assert wait_until(lambda: "🚨 화재" in notified(heard)), home.log
    assert wait_until(lambda: bool(heard.on("homeassistant/test/lamp")))
    assert heard.on("homeassistant/test/lamp")[0].text == "ON"


def the_picture_is_shown(home: HomeAssistant, heard: Subscriber) -> None:
    topic, entity = "homeguard/home/den/image", "image.homeguard_home_den_picture"
    assert wait_until(lambda: bool(heard.on(topic)), 60)
    assert wait_until(lambda: home.state(entity) != "unknown")
    assert wait_until(lambda: home.picture(entity) == ("image/png", heard.on(topic)[-1].payload))


def attributes(home: HomeAssistant, entity: str) -> dict[str, Any]:
    found = home.entity(entity)
    assert found is not None, entity
    return dict(found["attributes"])


def states(subscriber: Subscriber, state: str) -> list[dict[str, Any]]:
    """Incidents in that state, as they were told."""
    events = [json.loads(m.payload)["after"] for m in subscriber.on("homeguard/home/events")]
    return [after for after in events if after["state"] == state]


def takers(subscriber: Subscriber) -> set[str]:
    return {after["acknowledged_by"] for after in states(subscriber, "acknowledged")}


def notified(subscriber: Subscriber) -> set[str]:
    """Titles of what Home Assistant sent to people."""
    return {json.loads(m.payload)["title"] for m in subscriber.on("homeassistant/test/notified")}


@pytest.mark.parametrize(("language", "name"), [("ko", "긴급 상황"), ("en", "Emergency")])
def test_every_component_is_accepted_and_has_its_name(
    household: Household, language: str, name: str
) -> None:
    home = household.home_assistant
    config = config_for(household.broker, "attic", language=language)
    with announced(config):
        parts = [
            part for device in devices(config).values() for part in device["components"].values()
        ]
        wanted = {part["default_entity_id"].replace("-", "_") for part in parts}
        assert wait_until(lambda: wanted <= home.entities()), home.log
        emergency = "binary_sensor.homeguard_home_attic_emergency"
        assert wait_until(
            lambda: (
                home.render(f"{{{{ state_attr('{emergency}', 'friendly_name') }}}}")
                == f"attic {name}"
            )
        )
    assert complaints(home) == []


def test_what_changed_while_home_assistant_was_down_is_put_right_when_it_is_back(
    household: Household,
) -> None:
    home, broker = household.home_assistant, household.broker
    picture = "image.homeguard_home_den_picture"
    with announced(config_for(broker, "den", "attic")):
        assert wait_until(lambda: picture in home.entities())
        assert wait_until(lambda: bool(home.entities("_attic_")))
    home.stop()
    with announced(config_for(broker, "den", picture="keep")) as link:
        # A broker that was killed may forget: only the birth message tells us.
        node = config_topic(config_for(broker, "den"))
        link._client.publish(node, b"", qos=1, retain=True).wait_for_publish(5)
        home.start()
        assert home.becomes(CONNECTION, "on"), home.log
        assert wait_until(lambda: not home.entities("_attic_"))
        assert wait_until(lambda: picture not in home.entities())
        link.problem("den", on=False)
        assert home.becomes(PROBLEM, "off")
    assert complaints(home) == []


def test_discovery_that_is_switched_off_leaves_nothing_behind(household: Household) -> None:
    home, broker = household.home_assistant, household.broker
    with announced(config_for(broker, "den")):
        assert home.becomes(CONNECTION, "on")
    with announced(config_for(broker, "den", discovery={"enabled": False})):
        assert wait_until(lambda: home.entities() == set())
    assert home.render(f"{{{{ device_id('{ACKNOWLEDGE}') }}}}") == "None"
    assert complaints(home) == []
