"""From configuration and registry to an extractor and a panel; what is missing is said, not raised.

The voters keep the Protocol of `homeguard.domain.Voter`, so the panel does not know what they are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection

import numpy as np

from homeguard.config import Config
from homeguard.domain import Features, HomeGuardError, ModelError, Voter, VoteReason, Window
from homeguard.mel import SAMPLE_RATE
from homeguard.runtime import release_memory
from homeguard.voting import apart
from homeguard.voting.apart import Seated
from homeguard.voting.cnn import CnnVoter
from homeguard.voting.encoder import EncoderVoter
from homeguard.voting.features import Extractor
from homeguard.voting.lexicon import Lexicon
from homeguard.voting.nursery import Nursery
from homeguard.voting.panel import ORDER, Absent, Panel
from homeguard.voting.registry import Kind, Model, ModelSet, Registry
from homeguard.voting.remote import Household
from homeguard.voting.seat import Build, judged
from homeguard.voting.sound import SoundJudge, Thresholds
from homeguard.voting.text_classifier import TextClassifier
from homeguard.voting.transcript import LEXICON_THRESHOLD, TranscriptVoter
from homeguard.voting.whisper import Whisper

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Voting:
    """Everything between a window and its votes.

    `missing`: a line for people about every voter that had to stay out. `models`: the names of the
    models in use, by role (whisper, head, cnn, text, transcriber).
    """

    extractor: Extractor
    panel: Panel
    missing: tuple[str, ...]
    models: dict[str, str]


def load_panel(config: Config, registry: Registry) -> Voting:
    """Verify, load and warm up the models that the configuration names.

    A voter whose model is missing, altered or unusable gets a seat-holder that abstains with
    MISSING; only an unknown `voters.set` raises ModelError.
    """
    voting = _Loader(config, registry).load()
    release_memory()
    return voting


def serve(connections: Sequence[Connection]) -> None:
    """What a voter's process does: the work of the daemon's nursery."""
    apart.serve(connections, _Alone().load, judged)


def load_panel_apart(config: Config, nursery: Nursery) -> Voting:
    """As `load_panel`, but the voters that are switched on are loaded into other processes.

    Those that hear by the same Whisper share one, the others have one each.
    """
    wanted = [name for name in ORDER if getattr(config.voters, name).enabled]
    missing: list[str] = []
    models: dict[str, str] = {}
    homes = _households(config, wanted, nursery)
    begun = {name: homes[name].voter(name) for name in wanted}  # they load together
    voters: list[Voter] = [_switched_off(name) for name in ORDER if name not in wanted]
    builds: dict[str, Build] = {}
    for name, voter in begun.items():
        try:
            voters.append(voter.ready())
        except HomeGuardError as exc:
            missing.append(f"{name}: {exc}")
            voters.append(_absent(name, str(exc)))
        else:
            builds[name] = partial(_renewed, homes[name], name)
            models |= voter.models
            missing += [line for line in voter.missing if line not in missing]
    return Voting(Extractor(None), Panel(voters, config, builds), tuple(missing), models)


def _renewed(household: Household, name: str) -> Voter:
    return household.voter(name).ready()


def _households(config: Config, names: Sequence[str], nursery: Nursery) -> dict[str, Household]:
    """Who lives with whom, by name: encoder and transcript, unless it has a Whisper of its own."""
    order = config.model_dump_json().encode()
    apart = {"cnn", "transcript"} if config.voters.transcript.model else {"cnn"}
    together = [name for name in names if name not in apart]
    shared = Household(together, nursery, order)
    return {
        name: shared if name in together else Household([name], nursery, order) for name in names
    }


class _Alone:
    """The loader of a process other than the daemon's: its voters share what is loaded."""

    def __init__(self) -> None:
        self._loader: _Loader | None = None

    def load(self, name: str, order: bytes) -> Seated:
        """Raises HomeGuardError."""
        if self._loader is None:
            config = Config.model_validate_json(order)
            self._loader = _Loader(config, Registry.open(config.node))
        return self._loader.seat_alone(name)


def _switched_off(name: str) -> Absent:
    return Absent(name, VoteReason.UNSURE, "switched off in the configuration")


def _absent(name: str, detail: str) -> Absent:
    _log.warning("voter is missing", extra={"voter": name, "detail": detail})
    return Absent(name, VoteReason.MISSING, detail)


class _Loader:
    def __init__(self, config: Config, registry: Registry) -> None:
        self._config = config
        self._registry = registry
        self._threads = config.node.threads
        self._set: ModelSet = registry.choose(config.voters.set)
        self._models: dict[str, str] = {}
        self._missing: list[str] = []
        self._whisper: Whisper | None = None
        self._extractor = Extractor(None)

    def load(self) -> Voting:
        self._whisper = self._shared_whisper()
        self._extractor = Extractor(self._whisper)
        silence = self._extractor.extract(_silence(self._config))
        voters, builds = [], {}
        for name, build in self._recipes.items():
            voter = self._seat(name, build, silence)
            voters.append(voter)
            if not isinstance(voter, Absent):
                builds[name] = build
        panel = Panel(voters, self._config, builds)
        return Voting(self._extractor, panel, tuple(self._missing), dict(self._models))

    def seat_alone(self, name: str) -> Seated:
        """One voter with what it alone needs, warmed up. Raises HomeGuardError."""
        hears_by_whisper = {"encoder": True, "transcript": self._shares_whisper, "cnn": False}
        if hears_by_whisper[name] and self._whisper is None:
            self._whisper = self._shared_whisper()
            self._extractor = Extractor(self._whisper)
        voter = _warm(self._recipes[name], self._extractor.extract(_silence(self._config)))
        return Seated(voter, self._extractor, self._models, tuple(self._missing))

    @property
    def _recipes(self) -> dict[str, Build]:
        return {"encoder": self._encoder, "transcript": self._transcript, "cnn": self._cnn}

    @property
    def _transcriber_name(self) -> str:
        return self._config.voters.transcript.model or self._set.whisper

    @property
    def _shares_whisper(self) -> bool:
        return self._transcriber_name == self._set.whisper

    def _seat(self, name: str, build: Build, silence: Features) -> Voter:
        if not getattr(self._config.voters, name).enabled:
            return _switched_off(name)
        try:
            return _warm(build, silence)
        except HomeGuardError as exc:
            self._missing.append(f"{name}: {exc}")
            return _absent(name, str(exc))

    def _shared_whisper(self) -> Whisper | None:
        """The Whisper of the set, which the head needs; None where it is not to be had."""
        if not self._set.whisper:
            return None
        # Words that are read, or a decoder that hangs, must not keep the encoder from voting.
        workers = 2 if self._shares_whisper else 1
        try:
            model = self._model("whisper", self._set.whisper)
            whisper = Whisper(model.directory, self._threads, workers)
        except ModelError as exc:
            self._missing.append(str(exc))
            return None
        length_s = self._config.window.length_s
        if whisper.max_s < length_s:
            message = (
                f"window.length_s is {length_s:g}, but {self._set.whisper} hears "
                f"{whisper.max_s:g} s at most: shorten the window"
            )
            self._missing.append(message)
            return None
        return whisper

    def _encoder(self) -> Voter:
        if self._whisper is None:
            message = "the Whisper whose encoding its head reads is not loaded"
            raise ModelError(message)
        model = self._model("head", self._config.voters.encoder.model or self._set.head)
        return EncoderVoter(model.file(".onnx"), self._judge("encoder", model), self._threads)

    def _cnn(self) -> Voter:
        model = self._model("cnn", self._config.voters.cnn.model or self._set.cnn)
        return CnnVoter(model.file(".onnx"), self._judge("cnn", model), self._threads)

    def _transcript(self) -> Voter:
        name = self._transcriber_name
        shared = self._shares_whisper
        whisper = self._whisper if shared else self._transcriber(name)
        if whisper is None:
            message = "the Whisper that writes down speech is not loaded"
            raise ModelError(message)
        self._models["transcriber"] = name
        classifier, threshold = self._text()
        config = self._config.voters.transcript
        if config.threshold is None:
            config = config.model_copy(update={"threshold": threshold})
        return TranscriptVoter(
            whisper,
            Lexicon.load(config.extra_phrases),
            classifier,
            config,
            self._config.window,
            shares_encoding=shared,
        )

    def _transcriber(self, name: str) -> Whisper:
        return Whisper(self._registry.verified(name, "whisper").directory, self._threads)

    def _text(self) -> tuple[TextClassifier | None, float]:
        """The classifier and its threshold; without one the lexicon judges alone."""
        if not self._set.text:
            return None, LEXICON_THRESHOLD
        try:
            model = self._model("text", self._set.text)
            return TextClassifier.load(model.file(".json")), model.entry.threshold
        except ModelError as exc:
            self._missing.append(f"transcript: judges by its lexicon alone: {exc}")
            return None, LEXICON_THRESHOLD

    def _judge(self, voter: str, model: Model) -> SoundJudge:
        thresholds = Thresholds.choose(
            getattr(self._config.voters, voter), self._config.decision, model.entry
        )
        return SoundJudge(voter, model.entry.calibration, thresholds)

    def _model(self, kind: Kind, name: str) -> Model:
        if not name:
            message = f"the set of models names no {kind}"
            raise ModelError(message)
        model = self._registry.verified(name, kind)
        self._models[kind] = name
        return model


def _warm(build: Build, silence: Features) -> Voter:
    """The voter, after a vote on silence. Raises HomeGuardError."""
    try:
        voter = build()
        voter.vote(silence)
    except HomeGuardError:
        raise
    except Exception as exc:
        message = f"cannot judge a silent window: {exc!r}"
        raise ModelError(message) from exc
    return voter


def _silence(config: Config) -> Window:
    samples = np.zeros(round(config.window.length_s * SAMPLE_RATE), np.float32)
    return Window("", 0.0, config.window.length_s, samples, active=False)
