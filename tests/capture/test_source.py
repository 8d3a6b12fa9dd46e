"""Sources: chosen by the configuration, opened again for ever, stream time jumps over the gap."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import soundfile

from homeguard.capture.media import MediaFile, MediaStream
from homeguard.capture.microphone import Microphone
from homeguard.capture.source import listen, open_source, reopening
from homeguard.config import RoomConfig
from homeguard.domain import AudioChunk, SourceError

STEP_S = 0.1


class House:
    """A clock that only moves when sound is heard or a pause is made, and a listener's diary."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.told: list[str] = []
        self.pauses: list[float] = []
        self.stop = threading.Event()

    def clock(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    def source_online(self, room: str) -> None:
        self.told.append(f"{room} online")

    def source_offline(self, room: str, reason: str) -> None:
        self.told.append(f"{room} offline: {reason}")

    def reopening(self, *attempts: object) -> Iterator[AudioChunk]:
        pending = iter(attempts)

        def open_again() -> FakeSource:
            attempt = next(pending, None)
            if attempt is None:
                self.stop.set()
            return FakeSource(self, attempt)

        return reopening(
            open_again, "hall", self, stop=self.stop, clock=self.clock, pause=self.pause
        )


class FakeSource:
    """Gives `attempt` chunks and fails, or raises it at once."""

    def __init__(self, house: House, attempt: object) -> None:
        self._house = house
        self._attempt = attempt

    def chunks(self) -> Iterator[AudioChunk]:
        if isinstance(self._attempt, Exception):
            raise self._attempt
        count = self._attempt if isinstance(self._attempt, int) else 0
        for index in range(count):
            self._house.now_s += STEP_S
            yield AudioChunk("hall", index * STEP_S, np.zeros(1600, dtype=np.float32))
        message = "unplugged"
        raise SourceError(message)


def test_stream_time_jumps_over_the_gap():
    house = House()
    starts = [round(chunk.start_s, 3) for chunk in house.reopening(3, 2)]
    assert starts == [0.0, 0.1, 0.2, 1.3, 1.4]


def test_the_listener_hears_of_every_change_once():
    house = House()
    gone = SourceError("not there")
    list(house.reopening(1, gone, gone, 1))
    assert house.told[:5] == [
        "hall online",
        "hall offline: unplugged",
        "hall offline: not there",
        "hall online",
        "hall offline: unplugged",
    ]


def test_pauses_grow_to_eight_seconds_and_start_anew_once_heard():
    house = House()
    gone = SourceError("not there")
    list(house.reopening(*[gone] * 6, 1, gone))
    assert house.pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 1.0, 2.0]


def test_stream_time_never_runs_backwards():
    house = House()
    chunks = house.reopening(2, 2)
    ends = []
    for chunk in chunks:
        ends.append(chunk.end_s)
        house.now_s -= 5.0
    assert ends == sorted(ends)


def test_what_can_never_work_is_raised_at_the_start():
    house = House()
    with pytest.raises(SourceError, match="apt install"):
        list(house.reopening(SourceError("apt install libportaudio2", retryable=False)))


def test_what_once_worked_is_tried_for_ever():
    house = House()
    broken = SourceError("broken", retryable=False)
    assert len(list(house.reopening(1, broken, broken, 1))) == 2


def test_stop_ends_it_at_the_next_chunk():
    house = House()
    chunks = house.reopening(50)
    next(chunks)
    house.stop.set()
    assert list(chunks) == []


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ({"microphone": "default"}, Microphone),
        ({"url": "rtsp://camera/1"}, MediaStream),
        ({"file": "a.wav"}, MediaFile),
    ],
)
def test_the_configuration_chooses_the_source(source: dict[str, str], kind: type):
    room = RoomConfig.model_validate({"name": "hall"} | source)
    assert isinstance(open_source(room), kind)


@pytest.fixture
def recording(tmp_path) -> Callable[[float], RoomConfig]:
    def make(seconds: float) -> RoomConfig:
        soundfile.write(tmp_path / "a.wav", np.full(round(seconds * 16_000), 0.1), 16_000)
        return RoomConfig(name="hall", file=tmp_path / "a.wav")

    return make


def test_a_recording_is_heard_once(recording):
    house = House()
    chunks = list(listen(recording(1.0), house, stop=house.stop))
    assert chunks[-1].end_s == pytest.approx(1.0)
    assert house.told == ["hall online"]


def test_a_recording_that_is_not_there_is_an_error(tmp_path):
    house = House()
    room = RoomConfig(name="hall", file=tmp_path / "missing.wav")
    with pytest.raises(SourceError, match="no such file"):
        list(listen(room, house, stop=house.stop))
