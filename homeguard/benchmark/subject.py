"""What is measured: the shipped models, or another Whisper in their place, run by our pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from homeguard.alerting.incident import IncidentTracker
from homeguard.analyze import EPOCH, patient
from homeguard.config import Config
from homeguard.domain import Encoding, Features, Float32, ModelError, Vote, Voter
from homeguard.labels import Category
from homeguard.pipeline import Room, stream_clock
from homeguard.voting.cnn import CnnVoter
from homeguard.voting.encoder import EncoderVoter
from homeguard.voting.features import Extractor
from homeguard.voting.lexicon import Lexicon
from homeguard.voting.panel import Panel
from homeguard.voting.registry import Calibration, Model, Registry
from homeguard.voting.sound import SoundJudge, Thresholds
from homeguard.voting.text_classifier import TextClassifier
from homeguard.voting.transcript import TranscriptVoter
from homeguard.voting.whisper import Decoded, Whisper

HEAD_WIDTH = 256  # hidden units of the head that stands in for one that was never trained
FOREIGN_MAX_TOKENS = 16  # a Whisper that is not ours may write without end


class CountingWhisper(Whisper):
    """A Whisper that knows how often it decoded."""

    decodes = 0

    def decode(
        self,
        encoding: Encoding,
        language: Literal["auto", "ko", "en"] = "auto",
        *,
        beam_size: int = 1,
        max_tokens: int = 96,
    ) -> Decoded:
        """As Whisper does."""
        self.decodes += 1
        return super().decode(encoding, language, beam_size=beam_size, max_tokens=max_tokens)


@dataclass(frozen=True, slots=True)
class Subject:
    """A set of models with their voters, loaded for so many threads."""

    name: str
    threads: int
    config: Config
    whisper: CountingWhisper
    encoder: Voter
    transcript: Voter
    cnn: Voter

    @contextmanager
    def rooms(self, names: tuple[str, ...], *, alarmed: bool) -> Iterator[list[Room]]:
        """Rooms of one home, by new names.

        The votes are made, then the sound voters' outcome is set: the encoder says no, the CNN yes
        where `alarmed`. So what is computed depends on the scenario and on no model's opinion.
        """
        config = self.config
        voters = (_Set(self.encoder, says=False), self.transcript, _Set(self.cnn, says=alarmed))
        panel = Panel(voters, config)
        extractor = Extractor(self.whisper)
        tracker = IncidentTracker(config.decision, config.alerts)
        try:
            yield [Room(config, extractor, panel, tracker, stream_clock(EPOCH)) for _ in names]
        finally:
            panel.close()


def open_subject(config: Config, threads: int, whisper_dir: Path | None = None) -> Subject:
    """Load the models of a configuration; `whisper_dir` takes the place of their Whisper.

    The head cannot read another Whisper's encoding, so an untrained one of its size stands in for
    it. Raises ModelError.
    """
    config = patient(config)
    registry = Registry.open(config.node)
    names = registry.choose(config.voters.set)
    cnn = registry.verified(config.voters.cnn.model or names.cnn, "cnn")
    if whisper_dir is None:
        shared = config.voters.transcript.model or names.whisper
        if shared != names.whisper:
            message = "a separate transcriber is not measured: leave voters.transcript.model empty"
            raise ModelError(message)
        whisper = CountingWhisper(registry.verified(names.whisper, "whisper").directory, threads)
        head = registry.verified(config.voters.encoder.model or names.head, "head")
        encoder: Voter = EncoderVoter(head.file(".onnx"), _judge(config, "encoder", head), threads)
    else:
        whisper = CountingWhisper(whisper_dir, threads)
        limited = config.voters.transcript.model_copy(update={"max_tokens": FOREIGN_MAX_TOKENS})
        config = config.model_copy(
            update={"voters": config.voters.model_copy(update={"transcript": limited})}
        )
        encoder = _UntrainedHead(whisper)
    text = TextClassifier.load(registry.verified(names.text, "text").file(".json"))
    return Subject(
        name=whisper_dir.name if whisper_dir else "shipped",
        threads=threads,
        config=config,
        whisper=whisper,
        encoder=encoder,
        transcript=TranscriptVoter(
            whisper,
            Lexicon.load(config.voters.transcript.extra_phrases),
            text,
            config.voters.transcript,
            config.window,
            shares_encoding=True,
        ),
        cnn=CnnVoter(cnn.file(".onnx"), _judge(config, "cnn", cnn), threads),
    )


def _judge(config: Config, voter: str, model: Model) -> SoundJudge:
    thresholds = Thresholds.choose(getattr(config.voters, voter), config.decision, model.entry)
    return SoundJudge(voter, model.entry.calibration, thresholds)


class _Set:
    """A voter that does its whole work and then says what the scenario wants."""

    def __init__(self, voter: Voter, *, says: bool) -> None:
        self.name = voter.name
        self._voter = voter
        self._says = says

    def vote(self, features: Features) -> Vote:
        """The voter's own vote with another outcome."""
        category = Category.FIRE if self._says else Category.INDOOR
        return replace(self._voter.vote(features), emergency=self._says, category=category)


class _UntrainedHead:
    """Mean over time and two layers, about what the shipped head costs."""

    name = "encoder"

    def __init__(self, whisper: Whisper) -> None:
        width = whisper.hear(np.zeros(16_000, np.float32)).array.shape[1]
        rng = np.random.default_rng(11)
        self._hidden = _normal(rng, width, HEAD_WIDTH)
        self._logits = _normal(rng, HEAD_WIDTH, len(Category))
        self._judge = SoundJudge("encoder", Calibration(), Thresholds(0.5, {}))

    def vote(self, features: Features) -> Vote:
        """A vote that means nothing."""
        pooled = features.encode().array.mean(axis=0, keepdims=True)
        return self._judge.vote(np.maximum(pooled @ self._hidden, 0.0) @ self._logits)


def _normal(rng: np.random.Generator, inputs: int, outputs: int) -> Float32:
    weights = rng.standard_normal((inputs, outputs), dtype=np.float32)
    return weights / np.float32(np.sqrt(inputs))
