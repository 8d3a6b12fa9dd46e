"""Recordings through the pipeline: what is printed, and what bad input gets."""

import io
import json
import re
import tracemalloc
from contextlib import contextmanager
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from homeguard import analyze as module
from homeguard.analyze import Found, Summary, analyze, expand, room_opener
from homeguard.cli import hearing as hearing_module
from homeguard.cli.app import app
from homeguard.config import Config
from homeguard.domain import (
    AudioChunk,
    Decision,
    Features,
    ModelError,
    SourceError,
    Vote,
    VoteReason,
)
from homeguard.labels import Category

RATE = 16_000
LOUD = 0.5


class LoudIsFire:
    """Extractor and panel in one: fire where it is loud, silence of the transcript voter."""

    def extract(self, window):
        return Features(window, np.zeros((80, 500), np.float32), encode=Mock())

    def poll(self, features):
        loud = float(np.abs(features.window.samples).max()) > LOUD
        category = Category.FIRE if loud else Category.INDOOR
        probability = 0.9 if loud else 0.1
        return (
            Vote("encoder", loud, probability, category),
            Vote.abstain("transcript", VoteReason.NO_SPEECH),
            Vote("cnn", loud, probability, category),
        )


def opener(config):
    voters: Any = LoudIsFire()
    return room_opener(config, voters, voters)


@pytest.fixture(autouse=True)
def loaded_voters(monkeypatch):
    """The command finds voters that need no model."""

    @contextmanager
    def hearing(config):
        yield opener(config)

    monkeypatch.setattr(hearing_module, "hearing", hearing)


def tone(seconds, loud_from=None, loud_to=None, rate=RATE):
    """Room noise with a loud stretch."""
    generator = np.random.default_rng(1)
    sound = generator.normal(0.0, 0.01, round(seconds * rate)).astype(np.float32)
    if loud_from is not None:
        span = slice(round(loud_from * rate), round(loud_to * rate))
        times = np.arange(len(sound)) / rate
        sound[span] += 0.8 * np.sin(2 * np.pi * 1000 * times[span]).astype(np.float32)
    return sound


@pytest.fixture
def fire(tmp_path):
    path = tmp_path / "fire.wav"
    soundfile.write(path, tone(40, 12, 18), RATE)
    return path


def records_of(path):
    return list(analyze(path, opener(Config())()))


def run(*arguments, **options):
    return CliRunner().invoke(app, ["analyze", *map(str, arguments)], **options)


def lines_of(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_window_then_the_incident_then_the_summary(fire):
    records = records_of(fire)
    windows = [r for r in records if isinstance(r, Decision)]
    (found,) = [r for r in records if isinstance(r, Found)]
    assert [w.start_s for w in windows] == [float(n) for n in range(36)]
    assert found.onset_s == pytest.approx(8.0, abs=1.5)
    assert found.detected_s == pytest.approx(found.onset_s + 6.0, abs=1.1)
    assert 18 <= found.end_s <= 40
    assert isinstance(records[-1], Summary)
    assert records[-1].duration_s == pytest.approx(40.0, abs=0.01)
    assert records[-1].incidents == 1


def test_json_has_the_keys_of_the_contract_in_their_order(fire):
    result = run(fire, "--json")
    assert result.exit_code == 0
    lines = lines_of(result)
    by_kind = {line["kind"]: line for line in lines}
    active = next(line for line in lines if line.get("active"))
    assert list(active) == [
        *("kind", "file", "start_s", "end_s", "active", "emergency"),
        *("category", "probability", "reason", "votes"),
    ]
    encoder, transcript, cnn = active["votes"]
    assert list(encoder) == list(cnn) == ["voter", "emergency", "probability", "category"]
    assert list(transcript) == [*encoder, "transcript"]
    assert list(by_kind["incident"]) == [
        *("kind", "file", "id", "category", "category_ko", "onset_s", "detected_s", "end_s"),
        *("confidence", "transcript"),
    ]
    assert by_kind["incident"]["category_ko"] == "화재"
    summary = by_kind["summary"]
    assert list(summary) == ["kind", "file", "duration_s", "audio_seconds_per_second", "incidents"]
    assert {line["file"] for line in lines} == {str(fire)}
    assert result.stderr == ""


def test_a_probability_stands_on_every_active_window_and_on_no_silent_one(tmp_path):
    path = tmp_path / "half.wav"
    soundfile.write(path, np.concatenate([tone(6), np.zeros(20 * RATE, np.float32)]), RATE)
    windows = [line for line in lines_of(run(path, "--json")) if line["kind"] == "window"]
    assert {w["active"] for w in windows} == {True, False}
    for window in windows:
        assert (window["probability"] is not None) is window["active"]
        if not window["active"]:
            assert (window["reason"], window["votes"], window["emergency"]) == ("silent", [], False)


def test_a_recording_shorter_than_a_window_gives_one_window(tmp_path):
    path = tmp_path / "short.wav"
    soundfile.write(path, tone(0.7), RATE)
    kinds = [line["kind"] for line in lines_of(run(path, "--json"))]
    assert kinds == ["window", "summary"]


def test_people_read_a_line_a_file_and_a_table_of_incidents(fire, tmp_path):
    quiet = tmp_path / "quiet.wav"
    soundfile.write(quiet, tone(8), RATE)
    result = run(fire, quiet, env={"COLUMNS": "160"})
    assert result.exit_code == 0
    assert re.search(r"fire\.wav: 1 incident in 0:40\.0 \(\d+ times real time\)", result.stdout)
    assert "quiet.wav: no incident in 0:08.0" in result.stdout
    assert "judged an emergency" not in result.stdout
    assert "화재 Fire" in result.stdout


def test_a_recording_too_short_for_an_incident_is_said_to_be(tmp_path):
    path = tmp_path / "cry.wav"
    soundfile.write(path, tone(4, 1, 3), RATE)
    result = run(path)
    assert "no incident in 0:04.0" in result.stdout
    assert "judged an emergency in 1 window(s), too few for an incident" in result.stdout


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("text.wav", b"this is no sound\n" * 50, "not a recording"),
        ("empty.wav", b"", "empty"),
        ("header.wav", b"RIFF\x24\x00\x00\x00WAVEfmt ", ""),
        ("missing.wav", None, "no such file"),
    ],
)
def test_an_unreadable_file_is_named_the_others_are_heard_and_the_exit_code_is_3(
    tmp_path, fire, name, content, reason
):
    bad = tmp_path / name
    if content is not None:
        bad.write_bytes(content)
    result = run(bad, fire, "--json")
    assert result.exit_code == 3
    assert lines_of(result)[-1]["kind"] == "summary"
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"homeguard: {bad}: ")
    assert reason in line


def test_a_recording_without_a_sample_is_unreadable(tmp_path):
    path = tmp_path / "zero.wav"
    soundfile.write(path, np.zeros(0, np.float32), RATE)
    result = run(path)
    assert result.exit_code == 3
    assert str(path) in result.stderr


def write_nan(path):
    sound = tone(6)
    sound[RATE : 3 * RATE] = np.nan
    soundfile.write(path, sound, RATE, subtype="FLOAT")


def write_truncated(path):
    soundfile.write(path, tone(10), RATE)
    path.write_bytes(path.read_bytes()[: 5 * RATE])


ODD = {
    "8-bit": lambda path: soundfile.write(path, tone(6), RATE, subtype="PCM_U8"),
    "6-channel": lambda path: soundfile.write(path, np.stack([tone(6)] * 6, axis=1), RATE),
    "192 kHz": lambda path: soundfile.write(path, tone(6, rate=192_000), 192_000),
    "NaN": write_nan,
    "truncated": write_truncated,
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_recordings_are_heard_and_damage_is_told(tmp_path, kind):
    path = tmp_path / "odd.wav"
    ODD[kind](path)
    result = run(path, "--json")
    assert result.exit_code == 0
    assert [line["kind"] for line in lines_of(result)][-1] == "summary"
    damaged = kind in {"NaN", "truncated"}
    assert (f"warning: {path}: " in result.stderr) is damaged


def test_a_recording_comes_in_by_stdin():
    memory = io.BytesIO()
    soundfile.write(memory, tone(6), RATE, format="WAV")
    result = run("-", "--json", input=memory.getvalue())
    assert result.exit_code == 0
    assert {line["file"] for line in lines_of(result)} == {"-"}


def test_a_directory_stands_for_its_recordings(tmp_path, fire):
    (tmp_path / "notes.txt").write_text("no sound")
    (tmp_path / "sub").mkdir()
    soundfile.write(tmp_path / "sub" / "b.flac", tone(1), RATE)
    assert expand(tmp_path) == [fire, tmp_path / "sub" / "b.flac"]
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="holds no recordings"):
        expand(tmp_path / "none")
    result = run(tmp_path / "none")
    assert result.exit_code == 3


def test_a_missing_model_exits_4_with_the_command_that_mends_it(monkeypatch, fire):
    @contextmanager
    def hearing(config):
        message = "model cnn: cnn/model.onnx is missing; run `homeguard models verify`"
        raise ModelError(message)
        yield

    monkeypatch.setattr(hearing_module, "hearing", hearing)
    result = run(fire)
    assert result.exit_code == 4
    assert "homeguard models verify" in result.stderr
    assert "Traceback" not in result.output


def test_a_plot_is_drawn_for_each_file(fire, tmp_path):
    pytest.importorskip("matplotlib")
    again = tmp_path / "again.wav"
    soundfile.write(again, tone(3), RATE)
    result = run(fire, again, "--plot", tmp_path / "out.png")
    assert result.exit_code == 0
    assert (tmp_path / "out-fire.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out-again.png").is_file()


@pytest.mark.parametrize("plot", ["out.xyz", "nowhere/out.png"])
def test_a_plot_that_cannot_be_written_is_refused_before_listening(fire, tmp_path, plot):
    result = run(fire, "--plot", tmp_path / plot)
    assert result.exit_code == 2
    assert "--plot" in result.stderr


def test_memory_stays_flat_over_hours(monkeypatch, tmp_path):
    """Nothing is kept per chunk: two simulated hours leave no more behind than two minutes."""

    class Hours:
        damage = type("Damage", (), {"heard_s": 7200.0, "__str__": lambda self: ""})()

        def __init__(self, room, path):
            self.silence = np.zeros(RATE, np.float32)

        def chunks(self):
            for second in range(7200):
                yield AudioChunk("recording", float(second), self.silence)

    class Deaf:
        def hear(self, chunk):
            yield from ()

        def finish(self):
            yield from ()

    monkeypatch.setattr(module, "MediaFile", Hours)
    tracemalloc.start()
    try:
        for _ in analyze(tmp_path, Deaf()):
            pass
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
