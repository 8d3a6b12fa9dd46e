"""The microphone: by name, through the real PortAudio against a virtual sound card."""

from __future__ import annotations

import builtins
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import numpy as np
import pytest
import soundfile

from homeguard.capture import identity
from homeguard.capture import microphone as module
from homeguard.capture.microphone import Microphone, _form, _Found, find, list_microphones
from homeguard.capture.source import reopening
from homeguard.domain import AudioChunk, SourceError
from tests.parts.pulse import MICROPHONE, OTHER, VirtualMicrophone

RATE = 16_000
QUIET = SimpleNamespace(input_overflow=False)


def found(*names: str) -> tuple[_Found, ...]:
    return tuple(_Found(i, name, 1, 44_100, "ALSA") for i, name in enumerate(names))


def test_a_microphone_is_found_without_the_numbers_of_its_card():
    inputs = found("HDA Intel: ALC (hw:0,0)", "USB Audio Device: - (hw:2,0)", "default")
    assert find(inputs, "USB Audio Device: -").index == 1
    assert find(inputs, "USB Audio Device: - (hw:2,0)").index == 1
    assert find(inputs, "default").index == 2


def test_an_unknown_microphone_gets_the_nearest_names():
    inputs = found("USB Audio Device: - (hw:2,0)", "default")
    with pytest.raises(SourceError, match="there are: USB Audio Device: - ") as caught:
        find(inputs, "USB Audio Devise")
    assert caught.value.retryable
    with pytest.raises(SourceError, match="there is none at all"):
        find((), "default")


def test_two_microphones_of_one_name_are_told_apart_by_their_full_names():
    inputs = found("USB: - (hw:1,0)", "USB: - (hw:2,0)")
    with pytest.raises(SourceError, match=r"2 microphones.*'USB: - \(hw:1,0\)'"):
        find(inputs, "USB: -")
    assert find(inputs, "USB: - (hw:2,0)").index == 1


def test_without_portaudio_the_package_to_install_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "sounddevice":
            raise OSError
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SourceError, match="apt install libportaudio2") as caught:
        next(iter(Microphone("hall", "default").chunks()))
    assert not caught.value.retryable


def test_an_overrun_drops_the_oldest_is_counted_and_leaves_a_gap():
    stop = threading.Event()
    microphone = Microphone("hall", "default", stop=stop)
    block = np.zeros((1536, 1), dtype=np.float32)
    for _ in range(module.QUEUE_BLOCKS + 10):
        microphone._take(block, len(block), None, QUIET)
    assert microphone.overruns == 10
    first = next(microphone._heard(RATE))
    assert first.start_s == pytest.approx(10 * 0.096)


def test_the_callback_copies_what_portaudio_will_overwrite():
    microphone = Microphone("hall", "default")
    block = np.full((1536, 1), 0.25, dtype=np.float32)
    microphone._take(block, len(block), None, QUIET)
    block[:] = 0.0
    assert microphone._blocks.get_nowait()[1].max() == 0.25


def test_an_overflow_inside_portaudio_is_counted():
    microphone = Microphone("hall", "default")
    block = np.zeros((10, 1), dtype=np.float32)
    microphone._take(block, len(block), None, SimpleNamespace(input_overflow=True))
    assert microphone.overruns == 1


def write_tone(path: Path, seconds: float = 3.0) -> Path:
    t = np.arange(round(seconds * 48_000)) / 48_000
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 1000.0 * t), 48_000)
    return path


def level(chunk: AudioChunk) -> float:
    return float(np.sqrt(np.mean(np.square(chunk.samples))))


def wait_for(chunks: Iterator[AudioChunk], seconds: float, *, louder_than: float) -> AudioChunk:
    ends = time.monotonic() + seconds
    for chunk in chunks:
        if level(chunk) > louder_than:
            return chunk
        assert time.monotonic() < ends, "nothing was heard"
    pytest.fail("the microphone ended")


@pytest.mark.microphone
def test_what_is_played_in_the_room_arrives(virtual_microphone: VirtualMicrophone, tmp_path):
    assert MICROPHONE in [device.name for device in list_microphones()]
    stop = threading.Event()
    microphone = Microphone("hall", MICROPHONE, stop=stop)
    chunks = iter(microphone.chunks())
    first = next(chunks)
    assert first.start_s == 0.0
    player = virtual_microphone.play(write_tone(tmp_path / "tone.wav"))
    wait_for(chunks, 5.0, louder_than=0.1)
    sound = np.concatenate([next(chunks).samples for _ in range(10)])
    loudest = np.argmax(np.abs(np.fft.rfft(sound))) * RATE / len(sound)
    assert loudest == pytest.approx(1000.0, abs=2.0)
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)
    assert microphone.overruns == 0
    stop.set()
    assert len(list(chunks)) < 5
    player.wait(10)


class Diary:
    """A listener that writes down what it is told."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str]] = []

    def source_online(self, room: str) -> None:
        self.entries.append(("online", ""))

    def source_offline(self, room: str, reason: str) -> None:
        self.entries.append(("offline", reason))


@pytest.mark.microphone
def test_an_unplugged_microphone_is_heard_again_within_10_s_of_its_return(
    virtual_microphone: VirtualMicrophone, tmp_path
):
    diary, stop = Diary(), threading.Event()
    began = time.monotonic()
    chunks = reopening(lambda: Microphone("hall", MICROPHONE, stop=stop), "hall", diary, stop=stop)
    before = next(chunks)
    virtual_microphone.unplug()
    back = threading.Timer(3.0, virtual_microphone.plug)
    back.start()
    after = before
    while [state for state, _ in diary.entries][-2:] != ["offline", "online"]:
        after = next(chunks)
    heard_s = time.monotonic() - began
    assert "is gone" in diary.entries[1][1]
    assert after.start_s == pytest.approx(time.monotonic() - began, abs=1.0)
    assert after.start_s > before.end_s + 2.5
    assert heard_s < 3.0 + 10.0 + 1.0
    player = virtual_microphone.play(write_tone(tmp_path / "tone.wav", 2.0))
    wait_for(chunks, 5.0, louder_than=0.1)
    stop.set()
    player.wait(10)
    back.join()


@pytest.mark.microphone
def test_a_frozen_microphone_is_an_error(virtual_microphone: VirtualMicrophone, monkeypatch):
    monkeypatch.setattr(module, "STALL_S", 1.0)
    chunks = iter(Microphone("hall", MICROPHONE).chunks())
    next(chunks)
    virtual_microphone.freeze()
    with pytest.raises(SourceError, match="frozen: no sound came for") as caught:
        list(chunks)
    assert caught.value.retryable


@pytest.mark.microphone
def test_a_stream_that_the_server_moves_elsewhere_is_moved_back(
    virtual_microphone: VirtualMicrophone,
):
    chunks = iter(Microphone("moved-back", MICROPHONE).chunks())
    next(chunks)
    virtual_microphone.move_elsewhere()
    assert list((identity.outputs() or {}).values()) == [OTHER]
    ends = time.monotonic() + 15.0
    while list((identity.outputs() or {}).values()) != [MICROPHONE]:
        next(chunks)
        assert time.monotonic() < ends, "the stream stays on another source"


@pytest.mark.microphone
def test_a_stream_on_another_source_is_refused_while_its_own_is_away(
    virtual_microphone: VirtualMicrophone,
):
    chunks = iter(Microphone("refused", MICROPHONE).chunks())
    next(chunks)
    virtual_microphone.take_away()
    with pytest.raises(SourceError, match=rf"gives '{OTHER}' in place of '{MICROPHONE}'"):
        list(islice(chunks, 200))


@pytest.mark.microphone
def test_a_killed_sound_server_is_an_error(virtual_microphone: VirtualMicrophone):
    chunks = iter(Microphone("hall", MICROPHONE).chunks())
    next(chunks)
    virtual_microphone.kill()
    with pytest.raises(SourceError, match="is gone") as caught:
        list(chunks)
    assert caught.value.retryable


class OddDevice:
    """PortAudio with a device that refuses every form for one reason."""

    PortAudioError = OSError

    def __init__(self, code: int) -> None:
        self._code = code

    def check_input_settings(self, **_form: object) -> None:
        message = "refused"
        raise OSError(message, self._code)


@pytest.mark.parametrize(("code", "comes_back"), [(-9997, False), (-9985, True)])
def test_a_rate_that_the_device_will_never_open_is_named_and_not_tried_again(code, comes_back):
    found = _Found(0, "odd", 1, 11_025, "ALSA")
    with pytest.raises(SourceError, match="'odd' cannot be opened at 16000 or 11025 Hz") as caught:
        _form(cast("ModuleType", OddDevice(code)), found)
    assert caught.value.retryable is comes_back
