"""Secrets are not shown, and nothing that the daemon reads can run as code."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from homeguard.config import ConfigError, Secrets, parse

ROOT = Path(__file__).parents[1]
CANARY = "canary-5d1c"
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def test_secrets_are_in_no_repr_and_no_dump():
    held = Secrets(mqtt_password=SecretStr(CANARY), twilio_auth_token=SecretStr(CANARY))
    for shown in (repr(held), str(held), held.model_dump_json(), f"{held.model_dump()}"):
        assert CANARY not in shown


def test_secrets_come_from_the_environment_and_from_credentials(tmp_path, monkeypatch):
    monkeypatch.setenv("HOMEGUARD_MQTT_PASSWORD", CANARY)
    (tmp_path / "homeguard_twilio_auth_token").write_text(CANARY, encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    held = Secrets.load()
    assert held.mqtt_password is not None
    assert held.twilio_auth_token is not None
    assert held.twilio_auth_token.get_secret_value() == CANARY


@pytest.mark.parametrize("key", ["password", "auth_token"])
def test_a_secret_in_the_config_is_refused_and_not_repeated(key, caplog):
    section = "mqtt" if key == "password" else "sms"
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigError) as caught:
        parse(f"{section}: {{{key}: {CANARY}}}")
    assert CANARY not in str(caught.value)
    assert CANARY not in caplog.text


def test_the_daemon_unpickles_nothing():
    """The training recipes read what they wrote themselves; nothing else may."""
    found = []
    for path in sorted((ROOT / "homeguard").rglob("*.py")):
        if "training" in path.parts or "explain" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [f"{path.name}: {n}" for n in names if n.partition(".")[0] in UNSAFE]
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                value = node.value
                if not (isinstance(value, ast.Constant) and value.value is False):
                    found.append(f"{path.name}: allow_pickle")
    assert found == []
