"""The gate: opens for what stands out, sinks steady noise, hides no emergency in it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
import soxr

from homeguard.capture import speech
from homeguard.capture.gate import QUIET_RISE_DB_PER_S, Gate
from homeguard.capture.level import NoiseFloor, levels_dbfs
from homeguard.capture.speech import SpeechDetector
from homeguard.config import GateConfig
from homeguard.domain import BLOCK_SAMPLES, AudioChunk, Float32, Mark, ModelError

RATE = 16_000
SETTLED = GateConfig(floor_settle_s=5.0, floor_window_s=10.0)


def silent(chunk: AudioChunk) -> bool:
    return False


def noise(seconds: float, dbfs: float, seed: int = 0) -> Float32:
    rng = np.random.default_rng(seed)
    white = rng.standard_normal(round(seconds * RATE), dtype=np.float32)
    scaled: Float32 = white * np.float32(10 ** (dbfs / 20))
    return scaled


def tone(seconds: float, dbfs: float, hz: float) -> Float32:
    t = np.arange(round(seconds * RATE)) / RATE
    sine: Float32 = (np.sqrt(2) * 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * t)).astype(np.float32)
    return sine


def marks(
    sound: Float32,
    config: GateConfig = SETTLED,
    hears_speech: Callable[[AudioChunk], bool] | None = silent,
) -> list[Mark]:
    gate = Gate(config, hears_speech)
    blocks = range(0, len(sound), BLOCK_SAMPLES)
    return [
        gate.mark(AudioChunk("hall", at / RATE, sound[at : at + BLOCK_SAMPLES])) for at in blocks
    ]


def open_share(found: list[Mark], start_s: float, end_s: float) -> float:
    return float(np.mean([m.active for m in found if start_s <= m.chunk.start_s < end_s]))


def test_the_gate_is_open_until_the_floor_is_known():
    found = marks(noise(20.0, -60.0))
    assert open_share(found, 0.0, 5.0) == 1.0
    assert open_share(found, 7.0, 20.0) == 0.0
    assert found[0].floor_dbfs is None
    assert found[-1].floor_dbfs == pytest.approx(-60.0, abs=1.0)
    assert found[-1].level_dbfs == pytest.approx(-60.0, abs=1.0)


def test_a_short_knock_opens_it_and_holds_it_for_a_second():
    sound = noise(20.0, -60.0)
    sound[10 * RATE : 10 * RATE + 800] += noise(0.05, -30.0, seed=1)
    found = marks(sound)
    opened = [m.chunk.start_s for m in found if m.active and m.chunk.start_s > 7.0]
    assert opened[0] == pytest.approx(10.0, abs=0.1)
    assert opened[-1] - opened[0] == pytest.approx(1.0, abs=0.2)


def test_a_soft_whistle_opens_it_through_a_louder_hum():
    sound = noise(20.0, -70.0) + tone(20.0, -35.0, 100.0)
    sound[10 * RATE : 12 * RATE] += tone(2.0, -50.0, 3100.0)
    assert open_share(marks(sound), 10.1, 12.0) == 1.0
    assert open_share(marks(sound), 7.0, 9.9) == 0.0


def test_soft_crackling_opens_it():
    sound = noise(20.0, -60.0)
    for at in range(10 * RATE, 12 * RATE, RATE // 4):
        sound[at : at + 8] += np.float32(0.01) * np.array([1, -1] * 4, dtype=np.float32)
    assert open_share(marks(sound), 10.0, 12.0) == 1.0
    assert open_share(marks(sound), 7.0, 9.9) == 0.0


def test_a_steady_alarm_is_heard_for_half_a_minute_before_it_becomes_the_floor():
    config = GateConfig(floor_settle_s=5.0)
    sound = noise(120.0, -60.0)
    sound[20 * RATE :] += tone(100.0, -40.0, 3100.0)
    found = marks(sound, config)
    assert open_share(found, 20.2, 60.0) == 1.0
    assert open_share(found, 110.0, 116.0) == 0.0


def test_a_loud_room_is_always_open():
    assert open_share(marks(noise(60.0, -20.0)), 0.0, 60.0) == 1.0


def test_digital_silence_never_opens_it_and_is_no_floor():
    sound = np.concatenate([np.zeros(10 * RATE, np.float32), noise(20.0, -60.0)])
    found = marks(sound)
    assert not any(m.active for m in found if m.chunk.end_s < 10.0)
    assert found[0].level_dbfs == -120.0
    assert found[50].floor_dbfs is None
    assert open_share(found, 17.0, 30.0) == 0.0


def test_sound_below_the_hearing_limit_never_opens_it():
    sound = noise(20.0, -95.0)
    sound[10 * RATE : 12 * RATE] = noise(2.0, -80.0)
    assert open_share(marks(sound), 7.0, 20.0) == 0.0


def test_soft_speech_opens_it_without_standing_out():
    found = marks(noise(20.0, -60.0), SETTLED, lambda chunk: 10.0 <= chunk.start_s < 11.0)
    assert open_share(found, 10.1, 11.0) == 1.0
    assert open_share(found, 7.0, 9.9) == 0.0
    assert all(m.speech == (10.0 <= m.chunk.start_s < 11.0) for m in found)


def test_a_room_that_became_steadily_louder_is_listened_to_again():
    config = GateConfig(floor_settle_s=5.0, floor_window_s=5.0, relisten_s=20.0, relisten_for_s=7.0)
    growing = noise(300.0, -60.0) * np.logspace(0, 1.5, 300 * RATE, dtype=np.float32)
    shut = config.model_copy(update={"relisten_s": 0.0})
    assert open_share(marks(growing, shut), 20.0, 300.0) < 0.05
    assert 0.15 < open_share(marks(growing, config), 120.0, 300.0) < 0.4


def test_a_room_as_quiet_as_ever_is_not_listened_to_again():
    config = GateConfig(floor_settle_s=5.0, floor_window_s=5.0, relisten_s=5.0)
    assert open_share(marks(noise(60.0, -60.0), config), 7.0, 60.0) == 0.0


def test_an_incident_keeps_it_open():
    gate = Gate(SETTLED, silent)
    sound = noise(20.0, -60.0)
    for at in range(0, 10 * RATE, BLOCK_SAMPLES):
        gate.mark(AudioChunk("hall", at / RATE, sound[at : at + BLOCK_SAMPLES]))
    gate.listen_until(15.0)
    chunk = sound[:BLOCK_SAMPLES]
    assert gate.mark(AudioChunk("hall", 14.9, chunk)).active
    assert not gate.mark(AudioChunk("hall", 15.1, chunk)).active


@pytest.mark.parametrize(("hz", "band"), [(100, 1), (300, 2), (700, 3), (1500, 4), (3000, 5)])
def test_a_tone_is_measured_in_its_octave(hz: int, band: int):
    levels = levels_dbfs(tone(0.096, -20.0, hz))
    assert levels[0] == pytest.approx(-20.0, abs=0.3)
    assert levels[band] == pytest.approx(-20.0, abs=1.0)
    assert int(np.argmax(levels[1:-1])) + 1 == band


@pytest.mark.parametrize("size", [1, 100, 512, 513, 1536])
def test_any_chunk_has_a_level(size: int):
    levels = levels_dbfs(np.full(size, 0.5, dtype=np.float32))
    assert levels[0] == pytest.approx(-6.0, abs=0.1)
    assert np.isfinite(levels).all()
    assert (levels_dbfs(np.zeros(size, dtype=np.float32)) == -120.0).all()


def test_the_floor_falls_at_once_and_rises_slowly():
    floor = NoiseFloor(window_s=3.0, settle_s=0.0)

    def hear(dbfs: float, seconds: int) -> float:
        for _ in range(seconds * 8):
            floor.update(np.full(8, dbfs, dtype=np.float32), 0.125)
        assert floor.dbfs is not None
        return float(floor.dbfs[0])

    assert hear(-40.0, 3) == pytest.approx(-40.0)
    assert hear(-60.0, 1) == pytest.approx(-60.0)
    assert hear(-40.0, 3) == pytest.approx(-59.5)
    assert hear(-40.0, 10) == pytest.approx(-54.5)


@pytest.fixture
def phrase(tmp_path) -> Float32:
    """A spoken sentence at 16 kHz, about 1.5 s long."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed: apt install espeak-ng")
    path = tmp_path / "phrase.wav"
    subprocess.run(["espeak-ng", "-w", path, "Please help me, I have fallen"], check=True)
    samples, rate = soundfile.read(path, dtype="float32")
    return np.asarray(soxr.resample(samples, rate, RATE), dtype=np.float32)


def heard_share(sound: Float32) -> float:
    detector = SpeechDetector(vad_mode=2, probability=0.5)
    blocks = range(0, len(sound), BLOCK_SAMPLES)
    return float(
        np.mean(
            [
                detector.hear(AudioChunk("hall", at / RATE, sound[at : at + BLOCK_SAMPLES]))
                for at in blocks
            ]
        )
    )


@pytest.mark.parametrize("peak", [0.5, 0.05, 0.01])
def test_speech_is_confirmed_loud_and_soft(phrase: Float32, peak: float):
    sound = phrase * np.float32(peak / np.abs(phrase).max())
    assert heard_share(sound + noise(len(sound) / RATE, -75.0)) > 0.5


def test_noise_and_alarms_are_no_speech():
    t = np.arange(20 * RATE) / RATE
    beeps = tone(20.0, -20.0, 3100.0) * (np.mod(t, 1.0) < 0.5).astype(np.float32)
    assert heard_share(noise(20.0, -30.0)) < 0.02
    assert heard_share(beeps + noise(20.0, -60.0)) < 0.05


def test_a_speech_detector_without_its_model_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(speech, "_shared", [])
    monkeypatch.setattr(speech, "silero_path", lambda: tmp_path / "silero.onnx")
    with pytest.raises(ModelError, match="install faster-whisper anew"):
        speech.Silero()


def by_definition(sound: Float32, config: GateConfig) -> list[bool]:
    """What the gate's rule says of each chunk, all of it computed anew for each."""
    floor, open_until_s, said = NoiseFloor(10.0, 5.0), -np.inf, []
    quiet: Float32 | None = None
    for at in range(0, len(sound), BLOCK_SAMPLES):
        samples = sound[at : at + BLOCK_SAMPLES]
        start_s, length_s = at / RATE, len(samples) / RATE
        levels = levels_dbfs(samples)
        floor.update(levels, length_s)
        known = floor.dbfs
        if known is not None:
            risen = known if quiet is None else quiet + QUIET_RISE_DB_PER_S * length_s
            quiet = np.minimum(known, risen)
        stands_out, hidden = known is None or levels[0] >= config.open_dbfs, False
        if known is not None and quiet is not None:
            above = (levels >= known + config.margin_db) & (levels >= config.min_dbfs)
            stands_out = stands_out or bool(above.any())
            hidden = bool((known >= quiet + config.margin_db).any())
        if levels[0] >= config.min_dbfs:
            end_s = start_s + length_s
            if stands_out:
                open_until_s = max(open_until_s, end_s + config.hold_s)
            elif hidden and start_s >= open_until_s + config.relisten_s:
                open_until_s = max(open_until_s, end_s + config.relisten_for_s)
        said.append(start_s < open_until_s)
    return said


@pytest.mark.parametrize("seed", range(4))
def test_what_follows_from_the_floor_is_worked_out_once_a_floor_and_decides_the_same(seed):
    rng = np.random.default_rng(seed)
    steps = [noise(20.0, float(level), seed) for level in rng.uniform(-80.0, -30.0, 6)]
    sound = np.concatenate([np.zeros(RATE, np.float32), *steps])
    config = SETTLED.model_copy(update={"relisten_s": 5.0, "relisten_for_s": 2.0})
    opened = [mark.active for mark in marks(sound, config)]
    assert opened == by_definition(sound, config)
    assert len(set(opened)) == 2
