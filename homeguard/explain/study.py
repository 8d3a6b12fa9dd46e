"""One recording explained: which window, by which voters and methods, written where."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile

from homeguard.config import Config, Language
from homeguard.domain import Float32, ModelError, Span
from homeguard.explain.attribution import METHODS, Attribution, Explainer, Method
from homeguard.explain.encoder import ENCODER_METHODS, EncoderExplainer, EncoderMethod
from homeguard.explain.figure import draw_maps, draw_times
from homeguard.explain.hearing import Moment
from homeguard.explain.listen import Audible, by_spectrum, by_time
from homeguard.explain.page import Picture, Report, Sound, write_page
from homeguard.explain.words import Reading, aligned, read
from homeguard.labels import Category
from homeguard.mel import FRAMES_PER_SECOND, SAMPLE_RATE, log_mel
from homeguard.voting.lexicon import Lexicon
from homeguard.voting.registry import Kind, Model, ModelSet, Registry
from homeguard.voting.text_classifier import TextClassifier
from homeguard.voting.whisper import Whisper

VoterName = Literal["cnn", "encoder", "transcript"]
_CATEGORIES = tuple(Category)


class Models:
    """The voters' models, checked and opened when first asked for."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self._config = config
        self._registry = registry
        self._set: ModelSet = registry.choose(config.voters.set)
        self._frames = round(config.window.length_s * FRAMES_PER_SECOND)
        self._cnn: Explainer | None = None
        self._encoder: EncoderExplainer | None = None

    @property
    def cnn(self) -> Explainer:
        """The CNN voter's network for windows of the configured length."""
        if self._cnn is None:
            name = self._config.voters.cnn.model or self._set.cnn
            self._cnn = Explainer.load(self._model(name, "cnn").file(".onnx"), self._frames)
        return self._cnn

    @property
    def encoder(self) -> EncoderExplainer:
        """The encoder voter's Whisper and head."""
        if self._encoder is None:
            whisper = Whisper(self._model(self._set.whisper, "whisper").directory)
            name = self._config.voters.encoder.model or self._set.head
            self._encoder = EncoderExplainer(whisper, self._model(name, "head").file(".onnx"))
        return self._encoder

    def read(self, text: str, span: Span, sound: Float32) -> Reading:
        """Explain what was said in a stretch of a recording."""
        config = self._config.voters.transcript
        classifier = None
        if self._set.text:
            classifier = TextClassifier.load(self._model(self._set.text, "text").file(".json"))
        reading = read(text, span, Lexicon.load(config.extra_phrases), classifier)
        whisper = self._model(config.model or self._set.whisper, "whisper")
        return aligned(reading, sound, text, span, Whisper(whisper.directory))

    def _model(self, name: str, kind: Kind) -> Model:
        if not name:
            message = f"the set of models names no {kind}"
            raise ModelError(message)
        return self._registry.verified(name, kind)


@dataclass(slots=True)
class Study:
    """One window of one recording, explained into a folder."""

    name: str
    sound: Float32  # the whole recording
    moment: Moment
    models: Models
    out: Path
    category: Category | None = None  # None: the one that the voter names
    record: dict[str, Any] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    sounds: list[Sound] = field(default_factory=list)
    reading: Reading | None = None

    def run(self, voters: Sequence[VoterName], method: str, language: Language) -> Path:
        """Explain, write pictures, sounds, figures and the report; gives the report's file.

        `method` "all": all that a voter has. Raises ModelError.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        window = self.moment.window
        self.record = {
            "recording": self.name,
            "start_s": window.start_s,
            "end_s": window.end_s,
            "emergency": self.moment.decision.emergency,
        }
        self.sounds = [Sound("whole", window.samples)]
        if "cnn" in voters:
            self._cnn([m for m in METHODS if method in {m, "all"}], language)
        if "encoder" in voters:
            self._encoder([m for m in ENCODER_METHODS if method in {m, "all"}], language)
        if "transcript" in voters:
            self._transcript()
        text = json.dumps(self.record, indent=1, ensure_ascii=False, default=str)
        (self.out / "explanation.json").write_text(text + "\n", encoding="utf-8")
        page = self.out / "explanation.html"
        report = Report(
            self.name,
            self.moment.decision,
            self.sounds,
            self.pictures,
            self.reading,
            reads="transcript" in voters,
        )
        write_page(page, report, language)
        return page

    def _cnn(self, methods: Sequence[Method], language: Language) -> None:
        if not methods:
            return
        explainer, mel = self.models.cnn, self.moment.log_mel
        category, share = self._target("cnn", explainer.logits(mel))
        found = [explainer.explain(mel, category, method) for method in methods]
        title = self._title("cnn", category, share)
        png = self.out / "cnn.png"
        draw_maps(png, mel, found, title, self.moment.window.start_s)
        self.pictures.append(Picture("cnn", png, category.name_in(language)))
        self.record["cnn"] = {
            "category": category.value,
            "probability": share,
            "methods": [self._facts(each) for each in found],
        }
        cam = next((each for each in found if each.method == "gradcam"), None)
        if cam is not None:
            self._listen(explainer, category, cam)

    def _listen(self, explainer: Explainer, category: Category, cam: Attribution) -> None:
        samples = self.moment.window.samples
        for name, audible in (
            ("kept_spectrum", by_spectrum(samples, cam.warm)),
            ("kept_time", by_time(samples, cam.warm)),
        ):
            soundfile.write(
                self.out / f"{name}.wav", np.clip(audible.samples, -1, 1), SAMPLE_RATE, "PCM_16"
            )
            energy = _measured(explainer, category, samples, audible)
            self.record["cnn"][name] = energy
            self.sounds.append(Sound(name, audible.samples, energy))  # type: ignore[arg-type]

    def _encoder(self, methods: Sequence[EncoderMethod], language: Language) -> None:
        if not methods:
            return
        explainer, mel = self.models.encoder, self.moment.log_mel
        category, share = self._target("encoder", explainer.logits(mel))
        found = [explainer.explain(mel, category, method) for method in methods]
        title = self._title("encoder", category, share)
        png = self.out / "encoder.png"
        draw_times(png, mel, found, self.moment.speech, title, self.moment.window.start_s)
        shares = {each.method: speech_share(each, self.moment.speech) for each in found}
        spoken = shares if self.moment.speech else None
        self.pictures.append(Picture("encoder", png, category.name_in(language), spoken))
        self.record["encoder"] = {
            "category": category.value,
            "probability": share,
            "methods": [self._facts(each) for each in found],
            "speech": shares,
        }

    def _transcript(self) -> None:
        vote = self.moment.vote("transcript")
        if vote is None or not vote.transcript or vote.spoken is None:
            self.record["transcript"] = None
            return
        self.reading = self.models.read(vote.transcript, vote.spoken, self.sound)
        self.record["transcript"] = {"text": vote.transcript, **asdict(self.reading)}

    def _target(self, voter: VoterName, logits: Float32) -> tuple[Category, float]:
        """The category to explain and its softmax."""
        vote = self.moment.vote(voter)
        category = self.category or (vote.category if vote else None)
        if category is None:
            category = _CATEGORIES[int(logits.argmax())]
        return category, probability_of(logits, category)

    def _title(self, voter: VoterName, category: Category, share: float) -> str:
        found = self.moment.probability(voter)
        said = f"says emergency {found:.2f}" if found >= 0.0 else "abstains"
        name = category.name_in("en")
        return f"{voter} {said}; of the 19 categories {name} has probability {share:.2f}"

    def _facts(self, attribution: Attribution) -> dict[str, Any]:
        band, frame = np.unravel_index(int(attribution.heat.argmax()), attribution.heat.shape)
        facts: dict[str, Any] = {
            "method": attribution.method,
            "seconds": round(attribution.seconds, 4),
            "hottest_s": self.moment.window.start_s + int(frame) / FRAMES_PER_SECOND,
        }
        if attribution.heat.shape[0] > 1:
            facts["hottest_band"] = int(band)
        return facts


def probability_of(logits: Float32, category: Category) -> float:
    """The softmax of one category."""
    shifted = np.exp(logits.astype(np.float64) - float(logits.max()))
    return float(shifted[_CATEGORIES.index(category)] / shifted.sum())


def speech_share(attribution: Attribution, speech: Iterable[Span]) -> dict[str, float]:
    """How much of the heat that speaks for the category lies in speech, and of the time."""
    heat = np.maximum(attribution.heat, 0.0).sum(axis=0)
    spoken = np.zeros(len(heat), dtype=bool)
    for span in speech:
        first, last = (round(at_s * FRAMES_PER_SECOND) for at_s in (span.start_s, span.end_s))
        spoken[first:last] = True
    total = float(heat.sum())
    return {
        "heat": float(heat[spoken].sum()) / total if total > 0.0 else 0.0,
        "time": float(spoken.mean()),
    }


def _measured(
    explainer: Explainer, category: Category, samples: Float32, audible: Audible
) -> dict[str, float]:
    """Energy kept and dropped, and what the CNN makes of the kept and of the dropped sound."""
    kept = explainer.logits(log_mel(audible.samples))
    rest = explainer.logits(log_mel(samples - audible.samples))
    return {
        "kept": audible.kept,
        "dropped": audible.dropped,
        "probability": probability_of(kept, category),
        "probability_of_dropped": probability_of(rest, category),
    }
