"""The cases: each stage alone, whole windows of each scenario, and several rooms at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np
import webrtcvad

from homeguard.benchmark.rounds import Case
from homeguard.benchmark.sounds import LOOP_S, chunks, machine, room_tone, speech, take
from homeguard.benchmark.subject import Subject
from homeguard.capture.gate import Gate
from homeguard.capture.speech import Silero
from homeguard.config import Config
from homeguard.domain import AudioChunk, Features, Float32, Window
from homeguard.mel import SAMPLE_RATE, log_mel
from homeguard.pipeline import Room
from homeguard.voting.features import Extractor
from homeguard.voting.vote import decide

VAD_FRAME = 480  # samples: 30 ms
VAD_BLOCK = 3 * VAD_FRAME
PLAIN = "webrtcvad and level alone"
PRIMING_LOOPS = 4  # 48 s: the gate knows the room after 30


@dataclass(frozen=True, slots=True)
class Scenario:
    """A sound, and what the voters make of it."""

    name: str
    sound: Callable[[], Float32]
    quiet: bool = False  # the gate must learn the room before it shuts
    alarmed: bool = False  # the CNN says yes, so the encoder is asked


SCENARIOS = (
    Scenario("silence", room_tone, quiet=True),
    Scenario("non-speech", machine),
    Scenario("non-speech, encoder asked", machine, alarmed=True),
    Scenario("speech", speech),
    Scenario("speech, encoder asked", speech, alarmed=True),
)


def listening(config: Config) -> Iterator[Case]:
    """What comes before the models; times are for a second of sound."""
    length_s, hop_s = config.window.length_s, config.window.hop_s
    quiet, loud = room_tone(), machine()
    yield Case(PLAIN, _plain_listener(quiet, config.gate.vad_mode), LOOP_S)
    yield Case("gate, quiet room", _gate(config, quiet), LOOP_S)
    yield Case("gate, machine", _gate(config, loud), LOOP_S)
    silero = Silero()
    yield Case("Silero", lambda: [silero.probabilities(c.samples) for c in _loop(loud)], LOOP_S)
    window = loud[: round(length_s * SAMPLE_RATE)]
    yield Case("log-mel of a window", lambda: log_mel(window))
    yield Case("log-mel, a hop on", _hops(loud, length_s, hop_s))


def models(subject: Subject) -> Iterator[Case]:
    """Each model on one window."""
    own = label(subject)
    config = subject.config
    sound = speech()[: round(config.window.length_s * SAMPLE_RATE)]
    features = _features(subject, sound)
    encoding = subject.whisper.encode(features.log_mel)
    settings = config.voters.transcript
    yield Case(f"{own}: encoder pass", lambda: subject.whisper.encode(features.log_mel))
    yield Case(f"{own}: head", lambda: subject.encoder.vote(features))
    yield Case(f"{own}: CNN", lambda: subject.cnn.vote(features))
    for beam_size in sorted({1, settings.beam_size}):
        decode = partial(
            subject.whisper.decode,
            encoding,
            settings.language,
            beam_size=beam_size,
            max_tokens=settings.max_tokens,
        )
        yield Case(f"{own}: decoder, beam {beam_size}", decode)
    yield Case(f"{own}: window, every part once", _every_part(subject, sound))


def tokens_written(subject: Subject) -> int:
    """How many tokens the greedy decoder writes for the window of `models`."""
    sound = speech()[: round(subject.config.window.length_s * SAMPLE_RATE)]
    settings = subject.config.voters.transcript
    encoding = subject.whisper.hear(sound)
    decoded = subject.whisper.decode(
        encoding, settings.language, beam_size=1, max_tokens=settings.max_tokens
    )
    return len(decoded.tokens)


def decodes_per_window(subject: Subject) -> float:
    """How often the decoder runs for one window of speech that goes on."""
    with ExitStack() as stack:
        scenario = next(each for each in SCENARIOS if each.name == "speech")
        case = _listened(subject, stack, scenario, "decoder runs", rooms=1)
        before = subject.whisper.decodes
        case.run()
        return (subject.whisper.decodes - before) / case.parts


def windows(subject: Subject, stack: ExitStack, scenarios: Sequence[Scenario]) -> Iterator[Case]:
    """The whole pipeline from chunk to decision; times are for a window, one a hop."""
    for scenario in scenarios:
        name = f"{label(subject)}: {scenario.name}"
        yield _listened(subject, stack, scenario, name, rooms=1)


def several(subject: Subject, stack: ExitStack, counts: Sequence[int]) -> Iterator[Case]:
    """The same sound in several rooms; times are for a hop of all of them."""
    for scenario in SCENARIOS:
        if scenario.alarmed:
            continue
        for rooms in counts:
            name = rooms_name(subject, scenario.name, rooms)
            yield _listened(subject, stack, scenario, name, rooms)


def rooms_name(subject: Subject, scenario: str, rooms: int) -> str:
    """What the case of so many rooms is called."""
    return f"{label(subject)}: {scenario}, {rooms} room{'s' if rooms > 1 else ''}"


def label(subject: Subject) -> str:
    """How a subject's cases begin."""
    return f"{subject.name}, {subject.threads} thread{'s' if subject.threads > 1 else ''}"


def _listened(
    subject: Subject, stack: ExitStack, scenario: Scenario, name: str, rooms: int
) -> Case:
    # Voters keep what was lately said by the room's name.
    names = tuple(f"{name} {number}" for number in range(rooms))
    opened = stack.enter_context(subject.rooms(names, alarmed=scenario.alarmed))
    sound = scenario.sound()
    feeds = [chunks(sound, each) for each in names]
    for _ in range(PRIMING_LOOPS if scenario.quiet else 1):
        _hear(opened, feeds)
    return Case(name, lambda: _hear(opened, feeds), LOOP_S / subject.config.window.hop_s)


def _hear(rooms: Sequence[Room], feeds: Sequence[Iterator[AudioChunk]]) -> None:
    """The next loop of sound in all rooms, chunk by chunk in turn as microphones give it."""
    for together in zip(*(take(feed, LOOP_S) for feed in feeds), strict=True):
        for room, chunk in zip(rooms, together, strict=True):
            for _ in room.hear(chunk):
                pass


def _plain_listener(sound: Float32, vad_mode: int) -> Callable[[], None]:
    """The cheapest thing that could be called listening: webrtcvad and a level, in 90 ms blocks."""
    vad = webrtcvad.Vad(vad_mode)
    blocks = [sound[at : at + VAD_BLOCK] for at in range(0, len(sound), VAD_BLOCK)]

    def listen() -> None:
        for block in blocks:
            _level = float(np.dot(block, block)) / len(block)
            pcm = (block * np.float32(32_767)).astype(np.int16).tobytes()
            for at in range(0, len(pcm) - 2 * VAD_FRAME + 1, 2 * VAD_FRAME):
                vad.is_speech(pcm[at : at + 2 * VAD_FRAME], SAMPLE_RATE)

    return listen


def _gate(config: Config, sound: Float32) -> Callable[[], None]:
    gate, feed = Gate(config.gate), chunks(sound, "gate")

    def mark() -> None:
        for chunk in take(feed, LOOP_S):
            gate.mark(chunk)

    for _ in range(PRIMING_LOOPS):
        mark()
    return mark


def _loop(sound: Float32) -> Iterator[AudioChunk]:
    return take(chunks(sound, "loop"), LOOP_S)


def _hops(sound: Float32, length_s: float, hop_s: float) -> Callable[[], object]:
    """Features of the next window of a stream at each call."""
    extractor, length = Extractor(None), round(length_s * SAMPLE_RATE)
    twice = np.concatenate([sound, sound])
    number = 0

    def extract() -> Features:
        nonlocal number
        start = round(number * hop_s * SAMPLE_RATE) % len(sound)
        samples = twice[start : start + length]
        window = Window("hops", number * hop_s, number * hop_s + length_s, samples, active=True)
        number += 1
        return extractor.extract(window)

    return extract


def _features(subject: Subject, sound: Float32) -> Features:
    window = Window("window", 0.0, subject.config.window.length_s, sound, active=True)
    return Extractor(subject.whisper).extract(window)


def _every_part(subject: Subject, sound: Float32) -> Callable[[], None]:
    """Mel, encoder pass, head, greedy decoder and CNN of one window, one after the other."""
    settings = subject.config.voters.transcript

    def judge() -> None:
        features = _features(subject, sound)
        votes = (subject.encoder.vote(features), subject.cnn.vote(features))
        subject.whisper.decode(
            features.encode(), settings.language, beam_size=1, max_tokens=settings.max_tokens
        )
        decide(features.window, votes, subject.config.decision)

    return judge
