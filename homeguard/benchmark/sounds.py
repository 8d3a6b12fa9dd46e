"""The sounds that are listened to: 12 s each, the same in every run.

Speech and machine noise come from the bundled scene. 12 s are 125 chunks, so that a sound played
again and again gives the same windows each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from homeguard.capture.media import MediaFile
from homeguard.demo.scene import read_scene
from homeguard.domain import BLOCK_SAMPLES, AudioChunk, Float32

SAMPLE_RATE = 16_000  # Hz
LOOP_S = 12.0
ROOM_TONE_DBFS = -60.0  # a quiet room through a cheap microphone
BUSY_DBFS = -20.0  # a vacuum cleaner beside it: the gate never shuts


def room_tone() -> Float32:
    """Nothing happens: faint white noise."""
    size = round(LOOP_S * SAMPLE_RATE)
    sound = np.random.default_rng(5).normal(0.0, 10.0 ** (ROOM_TONE_DBFS / 20.0), size)
    return sound.astype(np.float32)


def machine() -> Float32:
    """A loud vacuum cleaner: no speech, and the gate stays open."""
    sound = _heard(("vacuum cleaner",))
    level = 10.0 ** (BUSY_DBFS / 20.0) / float(np.sqrt(np.mean(np.square(sound))))
    louder: Float32 = np.clip(sound * np.float32(level), -1.0, 1.0)
    return louder


def speech() -> Float32:
    """Somebody who reads the news without a pause."""
    return _heard(("television news", "television weather"))


def chunks(sound: Float32, room: str) -> Iterator[AudioChunk]:
    """The sound over and over again as a source gives it, for ever."""
    size = len(sound) // BLOCK_SAMPLES * BLOCK_SAMPLES
    blocks = [
        sound[first : first + BLOCK_SAMPLES].copy() for first in range(0, size, BLOCK_SAMPLES)
    ]
    for block in blocks:
        block.flags.writeable = False
    number = 0
    while True:
        for block in blocks:
            yield AudioChunk(room, number * BLOCK_SAMPLES / SAMPLE_RATE, block)
            number += 1


def take(feed: Iterator[AudioChunk], seconds: float) -> Iterator[AudioChunk]:
    """The next so many seconds of a feed."""
    return islice(feed, round(seconds * SAMPLE_RATE) // BLOCK_SAMPLES)


def _heard(names: tuple[str, ...]) -> Float32:
    """The named sounds of the scene one after the other, repeated to the full length."""
    scene = read_scene()
    whole = _recording(scene.recording)
    pieces = [
        whole[round(sound.start_s * SAMPLE_RATE) : round(sound.end_s * SAMPLE_RATE)]
        for sound in scene.sounds
        if sound.name in names
    ]
    return np.resize(np.concatenate(pieces), round(LOOP_S * SAMPLE_RATE))


@cache
def _recording(file: Path) -> Float32:
    sound = np.concatenate([c.samples for c in MediaFile("scene", file).chunks()])
    sound.flags.writeable = False
    return sound
