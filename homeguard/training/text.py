"""The text classifier: which emergency, if any, a transcript speaks of.

Logistic regression over jamo n-grams, words and pairs of words, fitted by scikit-learn and shipped
as JSON. What it learns from is in `text_lines`: it will read what was written by a decoder that
mishears.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from homeguard.text import features
from homeguard.training.corpus import Split
from homeguard.training.heard import HeardOptions
from homeguard.training.sentences import LANGUAGES
from homeguard.training.text_lines import (
    LABELS,
    Generator,
    Line,
    corrupted,
    heard_lines,
    lines_of,
    transcripts,
    written,
)

STEP = 0.05  # of the shipped weights
RARITY_STEP = 0.1  # of how rare a feature is
_TEMPERATURES = np.geomspace(0.25, 4.0, 49)
# A threshold above the confidence of the lexicon's signs would silence them.
_LOWEST, _HIGHEST = 0.3, 0.75

# Probability of an emergency for each text.
Judge = Callable[[Sequence[str]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class TextOptions:
    """How the classifier is fitted; `error_rates` are jamo errors of the corrupted copies."""

    sizes: tuple[int, ...] = (3, 4, 5)
    reach: int = 1  # words that a pair may be apart
    most_ngrams: int = 25_000
    fewest_sentences: int = 3  # an n-gram must occur in
    strength: float = 5.0  # inverse regularisation
    copies: int = 2
    error_rates: tuple[float, float] = (0.0, 0.3)
    word_sequences: int = 2_000
    false_alarms: float = 0.02  # of val's harmless sentences, at the threshold
    seed: int = 3


@dataclass(frozen=True, slots=True)
class TextScore:
    """Share of `lines` told right as emergency or not, and what was missed or imagined."""

    lines: int
    binary_accuracy: float
    missed: float
    imagined: float


@dataclass(frozen=True, slots=True, eq=False)
class TextModel:
    """Linear scores over features; the file format is the one the transcript voter reads.

    `rarity` weighs a feature within its text: the inverse frequency of the sentences it is in.
    """

    sizes: tuple[int, ...]
    reach: int
    ngrams: dict[str, NDArray[np.float64]]
    rarity: dict[str, float]
    bias: NDArray[np.float64]
    temperature: float = 1.0

    def scores(self, text: str) -> NDArray[np.float64]:
        """Scores by LABELS: bias and the unit vector of rarity x (1 + ln(count)) of features."""
        found = features(text, self.sizes, self.reach)
        counts = Counter(gram for gram in found if gram in self.ngrams)
        if not counts:
            return self.bias / self.temperature
        values = 1.0 + np.log(np.array(list(counts.values()), dtype=np.float64))
        values *= [self.rarity[gram] for gram in counts]
        values /= np.linalg.norm(values)
        evidence = values @ np.stack([self.ngrams[g] for g in counts])
        return np.asarray((self.bias + evidence) / self.temperature)

    def emergency(self, text: str) -> float:
        """Probability that the text speaks of any emergency."""
        scores = self.scores(text)
        shares = np.exp(scores - scores.max())
        return float(1.0 - shares[0] / shares.sum())

    def emergencies(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """`emergency` of each text."""
        return np.array([self.emergency(text) for text in texts])

    def save(self, path: Path, options: TextOptions) -> None:
        """Write model.json."""
        content = {
            "labels": LABELS,
            "sizes": self.sizes,
            "reach": self.reach,
            "step": STEP,
            "rarity_step": RARITY_STEP,
            "rarity": [round(self.rarity[gram] / RARITY_STEP) for gram in self.ngrams],
            "temperature": self.temperature,
            "bias": [round(float(b), 4) for b in self.bias],
            "options": asdict(options),
            "ngrams": {g: [round(float(w) / STEP) for w in row] for g, row in self.ngrams.items()},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        path.write_text(text + "\n", encoding="utf-8")


def train(
    out_dir: Path,
    options: TextOptions,
    manifest: Path | None = None,
    heard_by: HeardOptions | None = None,
    *,
    compare_lstm: bool = False,
) -> TextModel:
    """Measure on held-out sentences, then fit on all of them; writes model.json and metrics.json.

    Real transcripts of `manifest` are harmless lines: those of train are learned, those of val that
    train lacks are held out. `heard_by` is a transcriber whose own errors are learned as well;
    `compare_lstm` puts the source's LSTM beside it. Temperature and threshold are chosen on val.
    """
    real = transcripts(manifest)
    learned = heard_lines(heard_by, "train")
    lines = [*lines_of("train", options.word_sequences, options.seed, real["train"]), *learned]
    model = fit(lines, options)
    model = replace(model, temperature=_temperature(model, _held_out("val")))
    threshold = _threshold(model.emergencies, _held_out("val"), options.false_alarms)
    metrics: dict[str, object] = {
        "threshold": threshold,
        "temperature": model.temperature,
        "held_out": _measure(model.emergencies, threshold, heard_by, real["val"]),
        "options": asdict(options),
        "heard_by": heard_by.transcriber.name if heard_by else None,
    }
    if compare_lstm:
        from homeguard.training.text_lstm import fit_lstm  # noqa: PLC0415 - torch

        lstm = fit_lstm(lines, options.copies, options.error_rates, options.seed)
        metrics["lstm"] = _measure(lstm, 0.5, heard_by, real["val"])
    everything = lines_of("train", options.word_sequences, options.seed, real["train"], of_all=True)
    final = replace(fit([*everything, *learned], options), temperature=model.temperature)
    final.save(out_dir / "model.json", options)
    text = json.dumps(metrics, indent=1, ensure_ascii=False)
    (out_dir / "metrics.json").write_text(text + "\n", encoding="utf-8")
    return final


def fit(
    lines: Sequence[Line],
    options: TextOptions,
) -> TextModel:
    """Fit on `lines` and `copies` corrupted copies of each."""
    rng = np.random.default_rng(options.seed)
    learned = with_copies(lines, options.copies, options.error_rates, rng)
    texts, labels = [line.text for line in learned], [line.label for line in learned]
    grams = [Counter(features(text, options.sizes, options.reach)) for text in texts]
    vocabulary = _vocabulary(grams, np.array(labels), options)
    rarity = _rarity(grams, vocabulary)
    matrix = _matrix(grams, rarity)
    present = sorted(set(labels))
    solver = LogisticRegression(C=options.strength, max_iter=150, class_weight=_weights(labels))
    solver.fit(matrix, labels)
    # A label without any line must never win; scikit-learn leaves it out.
    weights = np.zeros((len(vocabulary), len(LABELS)))
    bias = np.full(len(LABELS), -20.0)
    weights[:, present], bias[present] = solver.coef_.T, solver.intercept_
    ngrams = dict(zip(vocabulary, weights, strict=True))
    return TextModel(options.sizes, options.reach, ngrams, rarity, bias)


def with_copies(
    lines: Sequence[Line], copies: int, rates: tuple[float, float], rng: Generator
) -> list[Line]:
    """The lines, and corrupted copies of each."""
    made = [
        replace(line, text=corrupted(line.text, rng.uniform(*rates), rng))
        for line in lines
        for _ in range(copies)
    ]
    return [*lines, *made]


def score(judge: Judge, lines: Sequence[Line], threshold: float = 0.5) -> TextScore:
    """How well a judge tells the lines apart."""
    told = judge([line.text for line in lines]) >= threshold
    true = np.array([line.label != 0 for line in lines], dtype=bool)
    return TextScore(
        lines=len(lines),
        binary_accuracy=float((told == true).mean()),
        missed=float((~told[true]).mean()) if true.any() else math.nan,
        imagined=float(told[~true].mean()) if (~true).any() else math.nan,
    )


def _held_out(split: Split) -> list[Line]:
    return [line for language in LANGUAGES for line in written(split, language)]


def _measure(
    judge: Judge, threshold: float, heard_by: HeardOptions | None, real: Sequence[str]
) -> dict[str, object]:
    """Scores at `threshold` by split, language and how the sentences came; real ones by val."""
    found: dict[str, object] = {}
    rng = np.random.default_rng(5)
    splits: tuple[Split, ...] = ("val", "test")
    for split in splits:
        heard = heard_lines(heard_by, split)
        for language in LANGUAGES:
            lines = written(split, language)
            wrong = [replace(x, text=corrupted(x.text, 0.15, rng)) for x in lines]
            sets = {
                "": lines,
                "/15% of jamo wrong": wrong,
                "/heard": [line for line in heard if line.language == language],
            }
            for name, chosen in sets.items():
                if chosen:
                    found[f"{split}/{language}{name}"] = asdict(score(judge, chosen, threshold))
    if real:
        calm = [Line(text, 0, "ko") for text in real]
        imagined = score(judge, calm, threshold).imagined
        found["val/real harmless transcripts"] = {"lines": len(calm), "imagined": imagined}
    return found


def _temperature(model: TextModel, lines: Sequence[Line]) -> float:
    """What the scores are divided by so that val is likeliest, as emergency or not."""
    scores = np.stack([model.scores(line.text) for line in lines])
    true = np.array([line.label != 0 for line in lines])

    def loss(temperature: float) -> float:
        scaled = scores / temperature
        shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        calm = np.clip(shares[:, 0] / shares.sum(axis=1), 1e-9, 1.0 - 1e-9)
        return float(-np.log(np.where(true, 1.0 - calm, calm)).mean())

    return round(float(min(_TEMPERATURES, key=loss)), 3)


def _threshold(judge: Judge, lines: Sequence[Line], false_alarms: float) -> float:
    """The lowest threshold at which at most `false_alarms` of the harmless lines reach it."""
    harmless = np.sort(judge([line.text for line in lines if line.label == 0]))
    place = math.ceil(len(harmless) * (1.0 - false_alarms)) - 1
    return round(float(np.clip(harmless[place] + 0.001, _LOWEST, _HIGHEST)), 3)


def _vocabulary(
    grams: Sequence[Counter[str]], labels: NDArray[np.int64], options: TextOptions
) -> list[str]:
    """The n-grams that tell emergencies from talk best, by how often each side has them."""
    seen: dict[str, list[int]] = {}
    for counts, label in zip(grams, labels, strict=True):
        for gram in counts:
            seen.setdefault(gram, [0, 0])[int(label != 0)] += 1
    totals = np.bincount(labels != 0, minlength=2) + 1.0
    rated = {
        gram: abs(math.log((n[1] + 1) / totals[1]) - math.log((n[0] + 1) / totals[0]))
        * math.sqrt(sum(n))
        for gram, n in seen.items()
        if sum(n) >= options.fewest_sentences
    }
    best = sorted(rated, key=lambda gram: (-rated[gram], gram))[: options.most_ngrams]
    return sorted(best)


def _rarity(grams: Sequence[Counter[str]], vocabulary: Sequence[str]) -> dict[str, float]:
    """1 + ln(texts / texts with it) of every n-gram, in the steps in which it is written."""
    seen = Counter(gram for counts in grams for gram in counts)
    exact = {gram: 1.0 + math.log((1 + len(grams)) / (1 + seen[gram])) for gram in vocabulary}
    return {gram: round(value / RARITY_STEP) * RARITY_STEP for gram, value in exact.items()}


def _matrix(grams: Sequence[Counter[str]], rarity: Mapping[str, float]) -> csr_matrix:
    places = {gram: place for place, gram in enumerate(rarity)}
    values: list[float] = []
    columns: list[int] = []
    starts = [0]
    for counts in grams:
        known = {
            places[g]: rarity[g] * (1.0 + math.log(n)) for g, n in counts.items() if g in places
        }
        norm = math.sqrt(sum(v * v for v in known.values())) or 1.0
        columns += known
        values += [v / norm for v in known.values()]
        starts.append(len(columns))
    return csr_matrix((values, columns, starts), shape=(len(grams), len(rarity)))


def _weights(labels: Sequence[int]) -> dict[int, float]:
    """Normal talk weighs as much as all emergencies together; each emergency by its root."""
    counts = Counter(labels)
    raw = {label: 1.0 / math.sqrt(n) for label, n in counts.items() if label}
    mass = sum(raw[label] * counts[label] for label in raw) or 1.0
    scale = len(labels) / 2.0
    return {0: scale / counts[0]} | {label: scale * w / mass for label, w in raw.items()}
