"""The command line: help, exit codes, incidents, models, test alerts."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import soundfile
import yaml
from typer.testing import CliRunner

from homeguard import __version__
from homeguard.alerting.desk import Desk
from homeguard.alerting.escalation import Planner
from homeguard.alerting.outbox import Outbox
from homeguard.cli.app import app
from homeguard.config import Config
from homeguard.domain import Alert, Change, HomeGuardError, IncidentState, ModelError, SourceError
from tests.alerting.cases import START, SteppedClock, an_incident
from tests.parts.mosquitto import NODE_PASSWORD, NODE_USER
from tests.parts.twilio import ACCOUNT, SENDER, TOKEN
from tests.voting.hub import hub
from tests.voting.tiny_models import tiny_set, tiny_whisper

COMMANDS = [
    *("init", "run", "demo", "analyze", "devices", "check-config", "doctor", "test-alert"),
    *("incidents", "models", "benchmark", "train", "evaluate", "export"),
]


def run(*arguments, **options):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


def process(*arguments, cwd):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HOMEGUARD_")}
    return subprocess.run(
        [sys.executable, "-m", "homeguard", *map(str, arguments)],
        cwd=cwd,
        env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """No config file and no state directory but the test's own."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOMEGUARD_CONFIG", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def config(tmp_path):
    """A function that writes a config file."""

    def write(**sections):
        sections.setdefault("node", {})["state_dir"] = str(tmp_path / "state")
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(sections, allow_unicode=True), encoding="utf-8")
        return path

    return write


def test_help_names_every_command():
    result = run("--help", env={"COLUMNS": "100"})
    assert result.exit_code == 0
    for command in COMMANDS:
        assert command in result.stdout


@pytest.mark.parametrize("command", [*COMMANDS, "incidents list", "models pull"])
def test_every_command_has_help(command):
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 4


def test_help_loads_no_heavy_library(tmp_path):
    code = (
        "import sys; sys.argv = ['homeguard', '--help']\n"
        "from homeguard.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'onnxruntime', 'pydantic', 'yaml', 'av', 'twilio', 'paho'}\n"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_version():
    assert run("--version").stdout == f"homeguard {__version__}\n"


@pytest.mark.parametrize("arguments", [["frobnicate"], ["analyze"], ["analyze", "a", "--nope"]])
def test_wrong_usage_exits_2(arguments):
    assert run(*arguments).exit_code == 2


def test_a_mistyped_command_is_answered_with_the_nearest():
    assert "devices" in run("devises").stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [(SourceError("no"), 3), (ModelError("no"), 4), (HomeGuardError("no"), 1)],
)
def test_an_error_is_one_line_on_stderr_and_an_exit_code(monkeypatch, error, code):
    def fail():
        raise error

    monkeypatch.setattr("homeguard.capture.microphone.list_microphones", fail)
    result = run("devices")
    assert (result.exit_code, result.stderr) == (code, "homeguard: no\n")


def test_a_wrong_config_stops_every_command_with_all_errors(config):
    path = config(mqtt={"prot": 1}, gate={"vad_mode": 9})
    for command in (["run"], ["incidents", "list"], ["models", "list"], ["test-alert"]):
        result = run(*command, "--config", path)
        assert result.exit_code == 2, command
        assert "mqtt.prot: unknown key; did you mean 'port'?" in result.stderr
        assert "gate.vad_mode" in result.stderr


def test_the_config_is_found_by_option_then_environment_then_directory(tmp_path, config):
    config(node={"name": "nearby"})
    other = tmp_path / "other.yaml"
    other.write_text("node: {name: other}")
    assert "nearby" in run("check-config").stdout
    assert "other" in run("check-config", env={"HOMEGUARD_CONFIG": str(other)}).stdout
    given = run("check-config", "config.yaml", env={"HOMEGUARD_CONFIG": str(other)})
    assert "nearby" in given.stdout


def test_python_m_homeguard_reports_bad_input_without_a_traceback(tmp_path, config):
    (tmp_path / "models").mkdir()
    tiny_set(tmp_path / "models")
    path = config(node={"models_dir": str(tmp_path / "models")})
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000, np.float32), 16_000)
    (tmp_path / "bad.wav").write_bytes(b"nothing")
    done = process("analyze", "bad.wav", "a.wav", "--json", "-c", path, cwd=tmp_path)
    assert done.returncode == 3
    assert [json.loads(line)["kind"] for line in done.stdout.splitlines()] == ["window", "summary"]
    assert done.stderr.startswith("homeguard: bad.wav: ")
    assert done.stderr.count("\n") == 1


def test_analyze_with_an_altered_model_exits_4_and_says_how_to_mend_it(tmp_path, config):
    (tmp_path / "models").mkdir()
    tiny_set(tmp_path / "models")
    victim = next((tmp_path / "models").rglob("*.onnx"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    path = config(node={"models_dir": str(tmp_path / "models")})
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000, np.float32), 16_000)
    result = run("analyze", "a.wav", "-c", path)
    assert result.exit_code == 4
    assert "was altered" in result.stderr
    assert "homeguard models verify" in result.stderr


def test_ctrl_c_ends_quietly_with_130(tmp_path):
    code = (
        "import os, signal, sys; sys.argv = ['homeguard', 'devices']\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's & ignores it
        "from homeguard.capture import microphone\n"
        "microphone.list_microphones = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "from homeguard.cli import main\n"
        "main()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, b"", b"")


def test_no_microphone_is_said_with_what_to_do(monkeypatch):
    monkeypatch.setattr("homeguard.capture.microphone.list_microphones", lambda: ())
    result = run("devices")
    assert result.exit_code == 1
    assert "group audio" in result.stderr


@pytest.mark.parametrize("command", ["train", "evaluate", "export"])
def test_the_lab_without_torch_says_how_to_get_it(monkeypatch, command):
    monkeypatch.setattr("homeguard.cli.lab.find_spec", lambda name: None)
    result = run(command, "--anything", "x")
    assert result.exit_code == 2
    assert "scripts/lab" in result.stderr


@pytest.fixture
def history(tmp_path):
    """A state directory with a fire that ended and a fall that goes on."""
    clock = SteppedClock()
    outbox = Outbox(tmp_path / "state", clock)
    desk = Desk(outbox, Planner.of(Config()), clock)
    fire = an_incident("aaaa1111bbbb2222")
    desk.submit(Alert(Change.NEW, None, fire))
    ended = replace(fire, state=IncidentState.ENDED, ended_at=START + timedelta(minutes=1))
    desk.submit(Alert(Change.END, fire, ended))
    clock.step(60)
    later = replace(an_incident("cccc3333dddd4444"), raised_at=clock())
    desk.submit(Alert(Change.NEW, None, later))
    outbox.close()
    return tmp_path / "state"


def test_incidents_list_newest_first(history, config):
    result = run("incidents", "list", "--json", "-c", config())
    assert [row["id"][:4] for row in json.loads(result.stdout)] == ["cccc", "aaaa"]
    table = run("incidents", "list", "-c", config(), env={"COLUMNS": "160"}).stdout
    assert table.index("cccc3333") < table.index("aaaa1111")


def test_incidents_show_by_the_first_letters_of_the_id(history, config):
    result = run("incidents", "show", "aaaa", "-c", config())
    assert result.exit_code == 0
    assert "aaaa1111bbbb2222" in result.stdout
    assert "mqtt, notice new: pending" in result.stdout
    shown = json.loads(run("incidents", "show", "aaaa", "--json", "-c", config()).stdout)
    assert shown["state"] == "ended"
    assert [d["change"] for d in shown["deliveries"]] == ["new", "end"]


def test_incidents_ack_once(history, config):
    first = run("incidents", "ack", "cccc", "--by", "지은", "-c", config())
    assert (first.exit_code, first.stdout) == (0, "cccc3333dddd4444 acknowledged by 지은.\n")
    again = run("incidents", "ack", "cccc", "--by", "민수", "-c", config())
    assert again.stdout == "cccc3333dddd4444 was acknowledged before, by 지은.\n"
    shown = json.loads(run("incidents", "show", "cccc", "--json", "-c", config()).stdout)
    assert shown["acknowledged_by"] == "지은"


def test_an_unknown_incident_exits_1(history, config):
    for command in ("show", "ack"):
        result = run("incidents", command, "ffff", "-c", config())
        assert result.exit_code == 1
        assert "no incident 'ffff'" in result.stderr


def test_incidents_export_as_json_lines_and_as_a_table(history, config, tmp_path):
    lines = run("incidents", "export", "-c", config()).stdout.splitlines()
    assert [json.loads(line)["id"][:4] for line in lines] == ["aaaa", "cccc"]
    out = tmp_path / "incidents.csv"
    assert run("incidents", "export", out, "--format", "csv", "-c", config()).exit_code == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    assert [row["state"] for row in rows] == ["ended", "raised"]
    assert run("incidents", "export", tmp_path / "no" / "x", "-c", config()).exit_code == 1


def test_where_nothing_happened_there_is_no_incident_and_nothing_is_made(config, tmp_path):
    result = run("incidents", "list", "-c", config())
    assert (result.exit_code, result.stdout) == (0, "No incidents.\n")
    assert not (tmp_path / "state").exists()


def test_a_corrupt_database_is_named(config, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "homeguard.db").write_bytes(b"no database at all" * 100)
    result = run("incidents", "list", "-c", config())
    assert result.exit_code == 1
    assert "homeguard.db is corrupt" in result.stderr


def test_models_list_and_verify(tmp_path, config):
    (tmp_path / "models").mkdir()
    tiny_set(tmp_path / "models")
    path = config(node={"models_dir": str(tmp_path / "models")})
    listed = json.loads(run("models", "list", "--json", "-c", path).stdout)
    assert {row["kind"] for row in listed["models"]} == {"whisper", "head", "cnn", "text"}
    assert run("models", "list", "-c", path).exit_code == 0
    assert run("models", "verify", "-c", path).exit_code == 0
    victim = next((tmp_path / "models").rglob("*.onnx"))
    victim.unlink()
    broken = run("models", "verify", "-c", path)
    assert broken.exit_code == 4
    assert f"{victim} is missing" in broken.stderr
    assert run("models", "verify", "nope", "-c", path).exit_code == 4


def test_no_models_at_all_exit_4(tmp_path, config):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "manifest.json").write_text('{"version": 1, "models": {}}')
    path = config(node={"models_dir": str(tmp_path / "models")})
    for command in (["models", "list"], ["models", "verify"]):
        assert run(*command, "-c", path).exit_code == 4
    soundfile.write(tmp_path / "a.wav", np.zeros(16_000, np.float32), 16_000)
    result = run("analyze", "a.wav", "-c", path)
    assert result.exit_code == 4
    assert "reinstall homeguard" in result.stderr


def test_models_pull_from_a_hub_and_then_it_is_listed(tmp_path, config):
    (tmp_path / "whisper").mkdir()
    (tmp_path / "models").mkdir()
    tiny_whisper(tmp_path / "whisper")
    path = config(node={"models_dir": str(tmp_path / "models")})
    with hub("someone/small-one", tmp_path / "whisper") as endpoint:
        result = run("models", "pull", "someone/small-one", "--endpoint", endpoint, "-c", path)
    assert result.exit_code == 0, result.stderr
    assert "model: small-one" in result.stdout
    listed = json.loads(run("models", "list", "--json", "-c", path).stdout)
    assert ("small-one", "pulled") in [(row["name"], row["origin"]) for row in listed["models"]]


def test_a_pull_that_fails_is_one_clear_line(tmp_path, config):
    path = config(node={"models_dir": str(tmp_path / "models")})
    result = run("models", "pull", "nonsense", "-c", path)
    assert result.exit_code == 4
    assert "no published Whisper 'nonsense'" in result.stderr


def mqtt_of(broker):
    return {"port": broker.port, "username": NODE_USER}


def sms_of(gateway):
    return {"enabled": True, "account_sid": ACCOUNT, "sender": SENDER, "base_url": gateway.url}


SECRETS = {"HOMEGUARD_MQTT_PASSWORD": NODE_PASSWORD, "HOMEGUARD_TWILIO_AUTH_TOKEN": TOKEN}
CONTACTS = {"contacts": [{"name": "지은", "phone": "+821012345678"}]}


@pytest.mark.broker
def test_a_test_alert_goes_through_every_channel(broker, subscriber, gateway, config):
    path = config(mqtt=mqtt_of(broker), sms=sms_of(gateway), alerts=CONTACTS)
    result = run("test-alert", "-c", path, env=SECRETS)
    assert result.exit_code == 0, result.stderr
    assert "mqtt, notice new: delivered" in result.stdout
    assert "sms to 지은 +82…5678, notice new: delivered" in result.stdout
    (text,) = gateway.messages
    assert "시험" in text.body
    (event,) = subscriber.on("homeguard/home/events")
    assert json.loads(event.text)["after"]["state"] == "test"


def test_a_test_alert_goes_through_apprise(push, config):
    path = config(mqtt={"enabled": False}, apprise={"enabled": True})
    result = run("test-alert", "-c", path, env={"HOMEGUARD_APPRISE_URLS": f"json://{push.place}"})
    assert result.exit_code == 0, result.stderr
    assert "apprise to json, notice new: delivered" in result.stdout
    assert json.loads(push.requests[0].body)["title"].startswith("[시험]")


@pytest.mark.broker
def test_a_test_alert_that_fails_says_why_and_exits_1(broker, gateway, config):
    path = config(mqtt=mqtt_of(broker), sms=sms_of(gateway), alerts=CONTACTS)
    result = run(
        *("test-alert", "--timeout", "4", "-c", path),
        env=SECRETS | {"HOMEGUARD_TWILIO_AUTH_TOKEN": "wrong"},
    )
    assert result.exit_code == 1
    assert "mqtt, notice new: delivered" in result.stdout
    assert "refuses the account" in result.stdout
    assert "incidents show" in result.stderr


def test_a_test_alert_without_any_channel_is_refused(config):
    result = run("test-alert", "-c", config(mqtt={"enabled": False}))
    assert result.exit_code == 1
    assert "nobody would be told" in result.stderr


def test_a_test_alert_leaves_the_sending_to_a_running_daemon(config, tmp_path):
    clock = SteppedClock()
    daemon = Outbox(tmp_path / "state", clock)  # holds the directory as the daemon does
    try:
        began = time.monotonic()
        result = run("test-alert", "--timeout", "1", "-c", config())
        assert time.monotonic() - began < 30
        (stored,) = daemon.history.incidents()
    finally:
        daemon.close()
    assert "the running daemon sends it" in result.stdout
    assert stored.state is IncidentState.TEST
