"""A config written into the shipped file: every comment stays, every value arrives."""

import os
import stat

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from homeguard.cli.written import save, shipped_config, written
from homeguard.config import (
    AlertsConfig,
    Config,
    ContactConfig,
    HomeConfig,
    MqttConfig,
    RoomConfig,
    parse,
)
from homeguard.domain import HomeGuardError

SHIPPED = shipped_config().read_text(encoding="utf-8")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
rooms = st.lists(texts, min_size=1, max_size=4).map(
    lambda labels: tuple(
        RoomConfig(name=f"room-{n}", label=label, microphone=label or "default")
        for n, label in enumerate(labels)
    )
)
contacts = st.lists(texts, max_size=3).map(
    lambda names: tuple(ContactConfig(name=name, phone="+821012345678") for name in names)
)


def comments(text):
    return [line.strip() for line in text.splitlines() if line.strip().startswith("#")]


def test_the_defaults_leave_the_shipped_file_as_it_is():
    assert written(SHIPPED, Config()) == SHIPPED


@settings(max_examples=8, deadline=None)
@given(home=texts, rooms=rooms, contacts=contacts, port=st.integers(1, 65_535))
def test_any_answers_come_back_and_no_comment_is_lost(home, rooms, contacts, port):
    config = Config(
        home=HomeConfig(name=home, language="en"),
        rooms=rooms,
        alerts=AlertsConfig(contacts=contacts),
        mqtt=MqttConfig(enabled=False, port=port),
    )
    text = written(SHIPPED, config)
    assert parse(text) == config
    assert comments(text) == comments(SHIPPED)
    assert parse(written(text, Config())) == Config()  # and back


def test_tuned_values_of_a_changed_file_can_be_kept():
    tuned = written(SHIPPED, parse("gate: {margin_db: 9.0}\ndecision: {thresholds: {fire: 0.4}}"))
    assert "margin_db: 9.0" in tuned
    assert "thresholds: {fire: 0.4}" in tuned


def test_a_file_without_the_keys_is_refused():
    with pytest.raises(HomeGuardError, match="shipped one"):
        written("home: {name: a}\n", Config(mqtt=MqttConfig(host="broker")))


def test_a_new_file_is_not_for_everybody(tmp_path):
    path = tmp_path / "made" / "config.yaml"
    save(path, SHIPPED)
    assert path.read_text(encoding="utf-8") == SHIPPED
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_what_was_there_is_kept_with_its_mode(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o604)
    save(path, "new")
    assert (path.read_text(), (tmp_path / "config.yaml.old").read_text()) == ("new", "old")
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


def test_nothing_half_written_is_left_when_the_disk_is_full(tmp_path, monkeypatch):
    def full(_handle):
        raise OSError(28, "No space left on device")

    path = tmp_path / "config.yaml"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HomeGuardError, match="No space left"):
        save(path, "new")
    assert [each.name for each in tmp_path.iterdir()] == ["config.yaml"]
    assert path.read_text() == "old"


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeGuardError, match="cannot be written"):
        save(tmp_path / "file" / "config.yaml", "new")


def test_the_shipped_file_is_one_document_that_yaml_reads():
    assert set(yaml.safe_load(SHIPPED)) == set(Config.model_fields)
