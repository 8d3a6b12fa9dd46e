"""The encoding of a window is made once, when asked for, whoever asks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from homeguard.domain import ModelError, Window
from homeguard.mel import log_mel
from homeguard.voting.features import Extractor
from homeguard.voting.whisper import Whisper
from tests.fakes import noise


class CountingWhisper(Whisper):
    n_mels = 80

    def __init__(self, error=None):
        self.passes = 0
        self.lock = threading.Lock()
        self.error = error

    def encode(self, mel):
        with self.lock:
            self.passes += 1
        if self.error:
            raise self.error
        return object()


def window():
    return Window("den", 0.0, 5.0, noise(5.0), active=True)


def test_nothing_is_encoded_until_asked_for():
    whisper = CountingWhisper()
    features = Extractor(whisper).extract(window())
    assert features.log_mel.shape == (80, 500)
    assert not features.log_mel.flags.writeable
    assert whisper.passes == 0


def test_all_threads_get_the_one_encoding():
    whisper = CountingWhisper()
    features = Extractor(whisper).extract(window())
    with ThreadPoolExecutor(8) as pool:
        encodings = {id(e) for e in pool.map(lambda _: features.encode(), range(64))}
    assert len(encodings) == 1
    assert whisper.passes == 1


def test_an_error_is_raised_to_everyone_and_not_tried_again():
    whisper = CountingWhisper(RuntimeError("no memory"))
    features = Extractor(whisper).extract(window())
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no memory"):
            features.encode()
    assert whisper.passes == 1


def test_without_a_whisper_asking_raises():
    with pytest.raises(ModelError, match="no Whisper"):
        Extractor(None).extract(window()).encode()


def test_windows_of_rooms_in_turn_have_the_mels_of_their_own_sound():
    sound = {room: noise(9.0, seed=seed) for seed, room in enumerate(("den", "bath"))}
    extractor = Extractor(None)
    for start_s in (0.0, 1.0, 2.0, 4.0, 0.5):
        for room, samples in sound.items():
            begin = round(start_s * 16_000)
            heard = samples[begin : begin + 80_000]
            made = extractor.extract(Window(room, start_s, start_s + 5.0, heard, active=True))
            assert np.allclose(made.log_mel, log_mel(heard), rtol=0.0, atol=1e-6)
