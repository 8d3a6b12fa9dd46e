"""The benchmark runs as a command and says what it measured; nothing is held against a clock."""

from __future__ import annotations

import json
import math
from contextlib import ExitStack

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from homeguard.benchmark import explanations, peers, sounds, stages
from homeguard.benchmark.subject import open_subject
from homeguard.cli.app import app
from homeguard.config import Config, NodeConfig
from homeguard.voting.whisper import Whisper
from tests.parts.mosquitto import mosquitto_or_skip
from tests.voting.tiny_models import tiny_set, tiny_whisper

# On a machine that does much else a dozen CPU seconds may take minutes.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny_set(tmp_path_factory.mktemp("models"))


@pytest.fixture
def config(models, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({"node": {"models_dir": str(models)}}), encoding="utf-8")
    return ["--config", str(path)]


def finite(value):
    if isinstance(value, dict):
        return all(finite(each) for each in value.values())
    return not isinstance(value, float) or math.isfinite(value)


def test_time_and_memory_come_as_json(config, tmp_path):
    other = tiny_whisper(tmp_path / "other")
    command = ["benchmark", *config, "--part", "time", "--part", "memory", "--whisper", str(other)]
    options = ["--rounds", "1", "--threads", "1", "--rooms", "1", "--rooms", "2", "--json"]
    done = CliRunner().invoke(app, [*command, *options])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert finite(said)
    assert {"machine", "versions", "command", "rounds", "left_out"} <= set(said)
    for name in ("shipped", "other"):
        for scenario in stages.SCENARIOS:
            timing = said["timings"][f"{name}, 1 thread: {scenario.name}"]
            assert 0.0 < timing["cpu_ms"]["low"] <= timing["cpu_ms"]["high"]
    assert "speech: 2 rooms : 2 times one room" in said["ratios"]
    assert said["counts"]["decoder runs per window of speech that goes on"] <= 0.3
    parts = list(said["memory_mib"]["shipped"].values())
    loaded = parts[:5]  # up to the models; what a run needed may go back after it
    assert loaded == sorted(loaded)
    assert min(parts[5:]) > loaded[-2]
    assert said["service"] is None


@pytest.mark.broker
def test_the_daemon_is_started_and_its_alert_is_waited_for(config):
    mosquitto_or_skip()
    done = CliRunner().invoke(app, ["benchmark", *config, "--part", "daemon", "--events", "1"])
    assert done.exit_code == 0, done.output
    assert "start to first decision" in done.stdout
    assert "1 events, mosquitto" in done.stdout


def test_without_the_lab_it_says_that_explanations_are_left_out(config, monkeypatch):
    monkeypatch.setattr(explanations, "find_spec", lambda _: None)
    done = CliRunner().invoke(app, ["benchmark", *config, "--part", "explain"])
    assert done.exit_code == 0, done.output
    assert "explanations: torch and captum not installed" in done.stdout


@pytest.mark.lab
@pytest.mark.models
def test_explanations_a_second_stand_beside_the_university_of_seouls(monkeypatch):
    pytest.importorskip("torch", reason="needs the extra train")
    cost = pytest.importorskip("homeguard.explain.cost", reason="needs the extra train")
    monkeypatch.setattr(cost, "METHODS", ("gradcam", "lrp"))
    monkeypatch.setattr(cost, "AT_LEAST_S", 0.0)
    command = ["benchmark", "--part", "explain", "--json"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["explanations_per_second"]
    assert list(found) == ["gradcam", "lrp"]
    assert all(0.0 < speed["low"] <= speed["median"] <= speed["high"] for speed in found.values())


def test_an_unknown_part_is_refused():
    done = CliRunner().invoke(app, ["benchmark", "--part", "speed"])
    assert done.exit_code == 2
    assert "time, memory, daemon" in done.output


def test_scenarios_compute_what_their_names_say(models, monkeypatch):
    subject = open_subject(Config(node=NodeConfig(models_dir=models)), 1)
    passes = []
    encode = Whisper.encode

    def counted(whisper, mel):
        passes.append(mel.shape)
        return encode(whisper, mel)

    monkeypatch.setattr(Whisper, "encode", counted)
    made = {}
    for scenario in stages.SCENARIOS:
        with ExitStack() as stack:
            (case,) = stages.windows(subject, stack, [scenario])
            passes.clear()
            case.run()
            made[scenario.name] = len(passes)
    assert made["silence"] == made["non-speech"] == 0
    assert made["non-speech, encoder asked"] == 12
    assert made["speech, encoder asked"] >= 12  # and one for each stretch that is cut out
    assert 0 < made["speech"] <= made["speech, encoder asked"] / 2


@pytest.mark.parametrize("sound", [sounds.room_tone, sounds.machine, sounds.speech])
def test_sounds_are_whole_chunks_of_12_s_and_the_same_each_time(sound):
    made = sound()
    assert len(made) == 192_000
    assert len(made) % 1536 == 0
    assert np.abs(made).max() <= 1.0
    assert np.array_equal(made, sound())


@pytest.mark.lab
def test_the_naive_pipeline_judges_a_window():
    pytest.importorskip("torch", reason="needs the extra train")
    pytest.importorskip("transformers", reason="needs the extra train")
    peers.naive("tiny", 4).run()
