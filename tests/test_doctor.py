"""doctor: every dependency tried for real, with what to do about each failure."""

import json
import threading
from datetime import UTC, datetime

import numpy as np
import pytest
import soundfile
import yaml
from pydantic import SecretStr
from typer.testing import CliRunner

from homeguard import doctor, doctor_rooms
from homeguard.alerting.courier import Courier
from homeguard.alerting.desk import Desk
from homeguard.alerting.drills import drill
from homeguard.alerting.escalation import Planner
from homeguard.alerting.outbox import Outbox
from homeguard.capture.microphone import list_microphones
from homeguard.checkup import State
from homeguard.cli.app import app
from homeguard.config import Config, ConfigError, Secrets
from homeguard.doctor import broken_config, examine
from homeguard.doctor_rooms import judge
from homeguard.domain import DeliveryError
from tests.alerting.cases import FakeChannel, SteppedClock
from tests.fakes import noise, tone
from tests.parts.mosquitto import MUTED_PASSWORD, MUTED_USER, NODE_PASSWORD, NODE_USER, free_port
from tests.parts.twilio import ACCOUNT, SENDER, TOKEN
from tests.voting.tiny_models import tiny_set


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A function that makes a config that is well, but for what the test changes."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    recording = tmp_path / "room.wav"
    soundfile.write(recording, noise(3, 0.02), 16_000)
    models = tmp_path / "models"
    models.mkdir()
    tiny_set(models)

    def make(**sections):
        node = {"state_dir": tmp_path / "state", "models_dir": models} | sections.pop("node", {})
        sections.setdefault("mqtt", {"enabled": False})
        sections.setdefault("rooms", [{"name": "den", "file": recording}])
        return Config.model_validate({"node": node, **sections})

    return make


def checks_of(config, name, **secrets):
    found = list(examine(config, Secrets(**secrets), None, listen_s=0.5))
    return [check for check in found if check.name == name]


def test_all_is_well_but_the_bundled_transcriber(config):
    found = {check.name: check.state for check in examine(config(), Secrets(), None, 0.5)}
    assert found.pop("clock") in {State.OK, State.WARN}
    assert found.pop("transcriber") is State.WARN
    assert found.pop("config") is State.WARN  # no channel is enabled
    assert found == {"state": State.OK, "models": State.OK, "room den": State.OK}


def test_a_missing_model_fails(config, tmp_path):
    next((tmp_path / "models").rglob("*.onnx")).unlink()
    (check,) = checks_of(config(), "models")
    assert check.state is State.FAIL
    assert "is missing" in check.found


def test_a_state_directory_that_cannot_be_written_fails(config, tmp_path):
    (tmp_path / "state").write_text("a file is in the way")
    (check,) = checks_of(config(), "state")
    assert check.state is State.FAIL
    assert "node.state_dir" in check.remedy


def test_too_little_room_for_the_clips_warns(config):
    (check,) = checks_of(config(clips={"max_mb": 1e9}), "state")
    assert check.state is State.WARN
    assert "clips.max_mb" in check.remedy


def test_a_corrupt_database_fails(config, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "homeguard.db").write_bytes(b"nonsense" * 500)
    (check,) = checks_of(config(), "database")
    assert check.state is State.FAIL


@pytest.mark.parametrize(
    ("sound", "state", "said"),
    [
        (np.zeros(16_000, np.float32), State.FAIL, "perfect silence"),
        (noise(1, 1e-5), State.WARN, "hardly a room's sound"),
        (np.clip(tone(1, peak=5.0), -1, 1), State.WARN, "distorted"),
        (noise(1, 0.01), State.OK, "-40 dBFS"),
    ],
)
def test_a_microphone_is_judged_by_what_it_hears(sound, state, said):
    check = judge("room den", sound, "mend it")
    assert (check.state, said in check.found) == (state, True)


def test_a_source_that_cannot_be_opened_fails_with_its_reason(config, tmp_path):
    rooms = [{"name": "den", "file": tmp_path / "gone.wav"}]
    (check,) = checks_of(config(rooms=rooms), "room den")
    assert check.state is State.FAIL
    assert "no such file" in check.found


def test_a_source_that_never_gives_sound_does_not_hang_the_doctor(config, monkeypatch):
    class Frozen:
        def chunks(self):
            threading.Event().wait(5)
            yield from ()

    monkeypatch.setattr(doctor_rooms, "SOURCE_START_S", 0.1)
    monkeypatch.setattr("homeguard.capture.source.open_source", lambda room: Frozen())
    (check,) = checks_of(config(), "room den")
    assert check.state is State.FAIL
    assert "no sound came" in check.found


@pytest.fixture
def microphone(virtual_microphone):
    list_microphones()  # PortAudio may have looked around before the microphone was there
    return virtual_microphone


@pytest.mark.microphone
def test_a_real_microphone_is_heard(microphone, config, tmp_path):
    loud = tmp_path / "loud.wav"
    soundfile.write(loud, noise(30, 0.1), 48_000)
    rooms = [{"name": "den", "microphone": "vmic"}, {"name": "attic", "microphone": "gone"}]
    player = microphone.play(loud)
    try:
        found = list(examine(config(rooms=rooms), Secrets(), None, listen_s=1.0))
    finally:
        player.kill()
        player.wait()
    by_name = {check.name: check for check in found}
    assert by_name["room den"].state is State.OK, by_name["room den"]
    assert by_name["room attic"].state is State.FAIL
    assert "vmic" in by_name["room attic"].found


@pytest.mark.microphone
def test_a_real_microphone_that_gives_silence_fails(microphone, config):
    rooms = [{"name": "den", "microphone": "vmic"}]
    (check,) = checks_of(config(rooms=rooms), "room den")
    assert check.state is State.FAIL
    assert "perfect silence" in check.found


@pytest.mark.broker
def test_the_broker_is_asked_with_our_credentials(broker, config):
    mqtt = {"port": broker.port, "username": NODE_USER}
    (well,) = checks_of(config(mqtt=mqtt), "mqtt", mqtt_password=NODE_PASSWORD)
    assert well.state is State.OK
    (wrong,) = checks_of(config(mqtt=mqtt), "mqtt", mqtt_password="wrong")
    assert wrong.state is State.FAIL
    assert "HOMEGUARD_MQTT_PASSWORD" in wrong.remedy


@pytest.mark.broker
def test_a_broker_whose_acl_refuses_us_fails(broker, config):
    mqtt = {"port": broker.port, "username": MUTED_USER}
    (check,) = checks_of(config(mqtt=mqtt), "mqtt", mqtt_password=MUTED_PASSWORD)
    assert check.state is State.FAIL
    assert "ACL" in check.remedy


def test_a_broker_that_is_not_there_fails(config):
    (check,) = checks_of(config(mqtt={"port": free_port()}), "mqtt")
    assert check.state is State.FAIL
    assert "apt install mosquitto" in check.remedy


def test_the_sms_account_is_asked_for_and_nothing_is_sent(gateway, config):
    sms = {"enabled": True, "account_sid": ACCOUNT, "sender": SENDER, "base_url": gateway.url}
    (well,) = checks_of(config(sms=sms), "sms", twilio_auth_token=TOKEN)
    assert (well.state, "active" in well.found) == (State.OK, True)
    (wrong,) = checks_of(config(sms=sms), "sms", twilio_auth_token="wrong")
    assert wrong.state is State.FAIL
    (without,) = checks_of(config(sms=sms), "sms")
    assert "HOMEGUARD_TWILIO_AUTH_TOKEN" in without.remedy
    assert gateway.messages == []


def test_an_unreachable_sms_gateway_fails(config):
    url = f"http://127.0.0.1:{free_port()}"
    sms = {"enabled": True, "account_sid": ACCOUNT, "sender": SENDER, "base_url": url}
    (check,) = checks_of(config(sms=sms), "sms", twilio_auth_token=TOKEN)
    assert check.state is State.FAIL
    assert "unreachable" in check.found


def test_apprise_urls_are_understood_and_nothing_is_sent(push, config, tmp_path):
    well = f"json://{push.place} ntfy://{push.place}/x"
    (check,) = checks_of(config(apprise={"enabled": True}), "apprise", apprise_urls=well)
    assert (check.state, "json, ntfy" in check.found) == (State.OK, True)
    assert push.requests == []
    (wrong,) = checks_of(config(apprise={"enabled": True}), "apprise", apprise_urls="hush")
    assert (wrong.state, "url 1" in wrong.found, "hush" in wrong.found) == (State.FAIL, True, False)
    (without,) = checks_of(config(apprise={"enabled": True}), "apprise")
    assert "HOMEGUARD_APPRISE_URLS" in without.remedy


def test_a_file_of_apprise_urls_is_to_be_private(config, tmp_path):
    file = tmp_path / "urls"
    apprise = {"enabled": True, "urls_file": file}
    (missing,) = checks_of(config(apprise=apprise), "apprise")
    assert (missing.state, str(file) in missing.remedy) == (State.FAIL, True)
    file.write_text("ntfys://home\n")
    file.chmod(0o644)
    (open_,) = checks_of(config(apprise=apprise), "apprise")
    assert (open_.state, open_.remedy) == (State.WARN, f"chmod 600 {file}")
    file.chmod(0o600)
    (check,) = checks_of(config(apprise=apprise), "apprise")
    assert check.state is State.OK


def test_a_clock_before_the_release_fails(config, monkeypatch):
    monkeypatch.setattr(doctor, "RELEASED", datetime(9999, 1, 1, tzinfo=UTC))
    (check,) = checks_of(config(), "clock")
    assert check.state is State.FAIL


def test_a_defect_in_one_check_does_not_hide_the_others(config, monkeypatch):
    def broken(config):
        message = "oops"
        raise RuntimeError(message)
        yield

    monkeypatch.setattr(doctor, "_models", broken)
    found = list(examine(config(), Secrets(), None, listen_s=0.2))
    by_name = {check.name: check for check in found}
    assert "RuntimeError: oops" in by_name["models"].found
    assert by_name["room den"].state is State.OK


def test_the_command_speaks_json_and_exits_1_when_something_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOMEGUARD_CONFIG")
    (tmp_path / "config.yaml").write_text("mqttt: 1\n")
    result = CliRunner().invoke(app, ["doctor", "--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["ok"] is False
    assert list(document["checks"][0]) == ["name", "state", "found", "remedy"]
    assert "did you mean 'mqtt'?" in document["checks"][0]["found"]


def test_the_command_shows_a_line_a_check_and_exits_0_when_all_is_well(config, tmp_path):
    made = config(node={}).model_dump(mode="json", exclude_unset=True)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(made))
    result = CliRunner().invoke(app, ["doctor", "--listen", "0.5", "-c", str(tmp_path / "c.yaml")])
    assert result.exit_code == 0, result.output
    assert "OK    room den: heard" in result.stdout
    assert "-> homeguard models pull small" in result.stdout


def test_no_secret_is_shown(gateway, config):
    sms = {"enabled": True, "account_sid": ACCOUNT, "sender": SENDER, "base_url": gateway.url}
    found = examine(config(sms=sms), Secrets(twilio_auth_token=SecretStr("hush-hush")), None, 0.2)
    assert "hush-hush" not in doctor.as_json(list(found))


def test_a_broken_config_is_a_failed_check():
    check = broken_config(ConfigError("c.yaml", ["c.yaml:1: a: b"]))
    assert (check.state, "c.yaml:1" in check.found) == (State.FAIL, True)


def test_the_date_of_the_last_test_is_shown_and_a_failed_one_fails(config, tmp_path):
    made = config(mqtt={"port": free_port()})
    clock = SteppedClock(datetime.now(UTC))
    outbox = Outbox(tmp_path / "state", clock)
    assert [c.state for c in checks_of(made, "test")] == [State.WARN]
    desk, channel = Desk(outbox, Planner.of(made), clock), FakeChannel("mqtt")
    courier = Courier(channel, outbox, made.alerts, clock)
    desk.submit(drill("den", clock()))
    courier.deliver_due()
    (check,) = checks_of(made, "test")
    assert (check.state, f"{clock().astimezone():%Y-%m-%d %H:%M}" in check.found) == (
        State.OK,
        True,
    )
    clock.step(60)
    channel.outcomes = [DeliveryError("the broker refuses the topic", retryable=False)]
    desk.submit(drill("den", clock()))
    courier.deliver_due()
    (check,) = checks_of(made, "test")
    outbox.close()
    assert check.state is State.FAIL
    assert "mqtt: the broker refuses the topic" in check.found
    assert "test-alert" in check.remedy
