"""A fake for each seam; everything between the seams is real in the tests that use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from homeguard.domain import (
    BLOCK_SAMPLES,
    AudioChunk,
    Contact,
    DeliveryState,
    Features,
    Float32,
    Outgoing,
    Receipt,
    Vote,
)
from homeguard.labels import Category

SAMPLE_RATE = 16_000


def chunked(samples: Float32, room: str = "den", start_s: float = 0.0) -> Iterator[AudioChunk]:
    """Sound as a source would give it."""
    for first in range(0, len(samples), BLOCK_SAMPLES):
        block = samples[first : first + BLOCK_SAMPLES].astype(np.float32)
        block.flags.writeable = False
        yield AudioChunk(room, start_s + first / SAMPLE_RATE, block)


def noise(seconds: float, rms: float = 0.001, seed: int = 5) -> Float32:
    """Room tone: white noise, seeded."""
    size = round(seconds * SAMPLE_RATE)
    return np.random.default_rng(seed).normal(0.0, rms, size).astype(np.float32)


def tone(seconds: float, hz: float = 1000.0, peak: float = 0.3) -> Float32:
    """A sine."""
    at = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (peak * np.sin(2 * np.pi * hz * at)).astype(np.float32)


class FakeSource:
    """Gives recorded chunks, then ends."""

    def __init__(self, chunks: Sequence[AudioChunk]) -> None:
        self._chunks = chunks

    def chunks(self) -> Iterator[AudioChunk]:
        yield from self._chunks


class FakeVoter:
    """Votes by a rule over the features; a rule may raise."""

    def __init__(self, name: str, rule: Callable[[Features], float | None]) -> None:
        self.name = name
        self._rule = rule
        self.asked = 0

    def vote(self, features: Features) -> Vote:
        self.asked += 1
        probability = self._rule(features)
        if probability is None:
            return Vote(self.name, emergency=None)
        emergency = probability >= 0.5
        category = Category.FIRE if emergency else Category.INDOOR
        return Vote(self.name, emergency, probability, category)


class FakeChannel:
    """Remembers what it was given; raises what it is told to."""

    def __init__(self, name: str = "mqtt", errors: Sequence[Exception] = ()) -> None:
        self.name = name
        self.sent: list[tuple[Outgoing, Contact | None]] = []
        self._errors = list(errors)

    def send(self, alert: Outgoing, recipient: Contact | None) -> Receipt:
        if self._errors:
            raise self._errors.pop(0)
        self.sent.append((alert, recipient))
        return Receipt(DeliveryState.DELIVERED)

    def poll(self, reference: str) -> Receipt:
        return Receipt(DeliveryState.DELIVERED, reference)
