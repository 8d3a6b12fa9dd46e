"""The shipped config.yaml, its reference, and what wrong configs get."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from homeguard.cli.app import app
from homeguard.cli.locate import load_with_lines
from homeguard.cli.reference import explanations, keys_of, reference
from homeguard.cli.summary import warnings_of
from homeguard.config import Config, ConfigError, Secrets, load

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "config.yaml"


def errors_of(path: Path, text: str) -> list[str]:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_with_lines(path)
    return [error.removeprefix(f"{path}:") for error in caught.value.errors]


def test_the_shipped_config_is_the_defaults():
    assert load(SHIPPED) == Config()


def test_the_shipped_config_names_and_explains_every_key():
    words = explanations(SHIPPED.read_text(encoding="utf-8"))
    assert {key: bool(words.get(key)) for key in keys_of()} == dict.fromkeys(keys_of(), True)
    assert set(words) == set(keys_of())


def test_the_example_contact_in_the_shipped_config_works_when_uncommented(tmp_path):
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("  #   - name:"))
    example = [line.replace("# ", "", 1) for line in lines[first : first + 5]]
    kept = [line for line in lines if line != "  contacts: []"]
    where = kept.index("alerts:") + 1
    text = "\n".join([*kept[:where], "  contacts:", *example, *kept[where:]])
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    (contact,) = load(tmp_path / "config.yaml").alerts.contacts
    assert (contact.phone, contact.hours) == ("+821012345678", "00:00-24:00")


def test_the_configuration_reference_is_current():
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    fresh = reference(SHIPPED.read_text(encoding="utf-8"))
    hint = "run: .venv/bin/homeguard config-reference > docs/configuration.md"
    assert written == fresh, hint


def test_every_error_is_reported_at_once_with_line_path_and_nearest_key(tmp_path):
    errors = errors_of(
        tmp_path / "wrong.yaml",
        """\
node:
  nmae: home
rooms:
  - name: Living Room
    microphone: default
  - name: kitchen
decision:
  votes_needed: 4
  thresholds:
    fier: 0.5
    indoor: 0.5
alerts:
  contacts:
    - name: A
      phone: 010-1234-5678
      hours: all day
mqttt: {}
""",
    )
    assert [error.partition(": ")[0] for error in errors if "node" in error] == ["2"]
    text = "\n".join(errors)
    assert "2: node.nmae: unknown key; did you mean 'name'?" in text
    assert "4: rooms.0.name: use lower-case letters" in text
    assert "6: rooms.1: give exactly one of microphone, url and file" in text
    assert "8: decision.votes_needed: " in text
    assert "10: decision.thresholds.fier" in text
    assert "15: alerts.contacts.0.phone: write the number as +" in text
    assert "16: alerts.contacts.0.hours: write hours as HH:MM-HH:MM" in text
    assert "17: mqttt: unknown key; did you mean 'mqtt'?" in text


def test_a_key_given_twice_is_an_error(tmp_path):
    errors = errors_of(tmp_path / "c.yaml", "mqtt:\n  host: a\n  host: b\n")
    assert errors == ["3: mqtt.host: given twice"]


def test_an_unknown_timezone_is_an_error(tmp_path):
    (error,) = errors_of(tmp_path / "c.yaml", "home:\n  name: x\n  timezone: Seoul\n")
    assert error.startswith("3: home.timezone: 'Seoul' is no IANA timezone")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"node: [", "not valid YAML"),
        (b"- a\n- b\n", "the top level must be a mapping"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"a: \x01\n", "not valid YAML"),
        (b"a: &a [*a]\n", "unknown key"),
    ],
)
def test_what_is_no_config_is_said_in_one_clear_error(tmp_path, content, said):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        load_with_lines(path)


def test_check_config_exits_2_and_lists_the_errors(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("gate:\n  margin: 3\nweb:\n  port: 0\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["check-config", str(path)])
    assert result.exit_code == 2
    assert f"{path}:2: gate.margin: unknown key; did you mean 'margin_db'?" in result.stderr
    assert f"{path}:4: web.port: " in result.stderr


def test_check_config_of_a_missing_file_exits_2(tmp_path):
    result = CliRunner().invoke(app, ["check-config", str(tmp_path / "none.yaml")])
    assert result.exit_code == 2
    assert "none.yaml: 1 error" in result.stderr
    assert f"homeguard init {tmp_path / 'none.yaml'}" in result.stderr


@pytest.mark.parametrize("command", ["run", "doctor", "test-alert", "incidents list"])
def test_a_config_that_is_not_there_is_said_with_what_to_do(tmp_path, command):
    missing = tmp_path / "none.yaml"
    result = CliRunner().invoke(app, [*command.split(), "--config", str(missing)])
    assert result.exit_code != 0
    assert f"homeguard init {missing}" in result.output


def test_a_config_of_somebody_else_is_said_with_what_to_do(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", refuse)  # root may read everything
    with pytest.raises(ConfigError, match="sudo"):
        load(tmp_path / "c.yaml")


def test_check_config_sums_up_without_whole_numbers_or_passwords(tmp_path):
    config = {
        "rooms": [{"name": "kitchen", "url": "rtsp://user:secret@cam/1"}],
        "alerts": {"contacts": [{"name": "지은", "phone": "+821012345678"}]},
        "sms": {"enabled": True, "account_sid": "AC1", "sender": "+12025550123"},
    }
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    result = CliRunner().invoke(app, ["check-config", str(path)])
    assert result.exit_code == 0
    assert "rtsp://cam/1" in result.stdout
    assert "지은, +82…5678" in result.stdout
    assert "HOMEGUARD_TWILIO_AUTH_TOKEN" in result.stderr
    assert "1012345678" not in result.output
    assert "secret" not in result.output


def test_a_token_in_the_clear_is_refused(tmp_path):
    sms = {"enabled": True, "account_sid": "AC1", "sender": "+12025550123"}
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({"sms": sms | {"base_url": "http://sms.example.com"}}))
    result = CliRunner().invoke(app, ["check-config", str(path)])
    assert result.exit_code == 2
    assert "sms.base_url: use https" in result.stderr


def test_the_shipped_config_gives_no_warning():
    assert list(warnings_of(Config(), Secrets())) == []
