"""The text classifier: which emergency, if any, a transcript speaks of.

Logistic regression over jamo n-grams, fitted by scikit-learn and shipped as JSON. It learns from
the written sentences, from word sequences and real harmless transcripts, and from corrupted copies
of all of them, because what it will read was written by a decoder that mishears.
"""

# ruff: noqa: PLR2004  (the numbers are the recipe)
from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from homeguard.labels import EMERGENCIES
from homeguard.text import char_ngrams, from_jamo, normalise, to_jamo
from homeguard.training.corpus import SPLITS, Split, read_manifest
from homeguard.training.sentences import (
    LANGUAGES,
    SOURCES,
    Language,
    Sentence,
    sentences,
    spoken,
    urgent_form,
    word_sequence,
)
from homeguard.training.tokens import LETTERS

NORMAL = "normal"
LABELS: tuple[str, ...] = (NORMAL, *(c.value for c in EMERGENCIES))

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class TextOptions:
    """How the classifier is fitted; `error_rates` are jamo errors of the corrupted copies."""

    sizes: tuple[int, ...] = (3, 4, 5)
    most_ngrams: int = 9_000
    fewest_sentences: int = 3  # an n-gram must occur in
    strength: float = 5.0  # inverse regularisation
    copies: int = 2
    error_rates: tuple[float, float] = (0.0, 0.3)
    word_sequences: int = 2_000
    seed: int = 3


@dataclass(frozen=True, slots=True)
class Line:
    """A text with its label, a position in LABELS."""

    text: str
    label: int
    language: Language


@dataclass(frozen=True, slots=True)
class TextScore:
    """Share of `lines` told right as emergency or not, and what was missed or imagined."""

    lines: int
    binary_accuracy: float
    missed: float
    imagined: float
    label_accuracy: float


@dataclass(frozen=True, slots=True, eq=False)
class TextModel:
    """Linear scores over n-grams; the file format is the one the transcript voter reads."""

    sizes: tuple[int, ...]
    ngrams: dict[str, NDArray[np.float64]]
    bias: NDArray[np.float64]
    temperature: float = 1.0

    def scores(self, text: str) -> NDArray[np.float64]:
        """Scores by LABELS: bias plus the unit vector of 1 + ln(count) of the known n-grams."""
        counts = Counter(g for g in char_ngrams(text, self.sizes) if g in self.ngrams)
        if not counts:
            return self.bias / self.temperature
        values = 1.0 + np.log(np.array(list(counts.values()), dtype=np.float64))
        values /= np.linalg.norm(values)
        evidence = values @ np.stack([self.ngrams[g] for g in counts])
        return np.asarray((self.bias + evidence) / self.temperature)

    def emergency(self, text: str) -> float:
        """Probability that the text speaks of any emergency."""
        scores = self.scores(text)
        shares = np.exp(scores - scores.max())
        return float(1.0 - shares[0] / shares.sum())

    def save(self, path: Path, options: TextOptions) -> None:
        """Write model.json."""
        content = {
            "labels": LABELS,
            "sizes": self.sizes,
            "sublinear": True,
            "temperature": self.temperature,
            "bias": [round(float(b), 4) for b in self.bias],
            "options": asdict(options),
            "ngrams": {g: [round(float(w), 3) for w in row] for g, row in self.ngrams.items()},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        path.write_text(text + "\n", encoding="utf-8")


def train(out_dir: Path, options: TextOptions, manifest: Path | None = None) -> TextModel:
    """Measure on held-out sentences, then fit on all of them; writes model.json and metrics.json.

    Real transcripts of `manifest` are harmless lines: those of train are learned, those of val that
    train lacks are held out.
    """
    real = _transcripts(manifest)
    model = fit(lines_of("train", options, real["train"]), options)
    rng = np.random.default_rng(options.seed)
    held: dict[str, object] = {}
    for split in ("val", "test"):
        lines = lines_of(split, options, real["val"] if split == "val" else ())
        held[f"{split}/all"] = asdict(score(model, lines))
        for language in LANGUAGES:
            spoken_in = [line for line in lines if line.language == language]
            misheard = [Line(corrupted(x.text, 0.15, rng), x.label, language) for x in spoken_in]
            held[f"{split}/{language}"] = asdict(score(model, spoken_in))
            held[f"{split}/{language}/15% of jamo wrong"] = asdict(score(model, misheard))
    final = fit(lines_of("train", options, real["train"], of_all=True), options)
    final.save(out_dir / "model.json", options)
    metrics = {"held_out": held, "options": asdict(options)}
    text = json.dumps(metrics, indent=1, ensure_ascii=False)
    (out_dir / "metrics.json").write_text(text + "\n", encoding="utf-8")
    return final


def lines_of(
    split: Split, options: TextOptions, harmless: Iterable[str] = (), *, of_all: bool = False
) -> list[Line]:
    """The split's sentences as written and as spoken, word sequences, and `harmless` transcripts.

    `of_all` takes the sentences of every split, for a last fit after the measuring.
    """
    rng = np.random.default_rng([options.seed, SPLITS.index(split)])
    wanted = SPLITS if of_all else (split,)
    found: list[Line] = []
    for language in LANGUAGES:
        for source in SOURCES:
            for sentence in sentences(language, source=source):
                if sentence.split in wanted:
                    found += _forms_of(sentence, rng)
        count = options.word_sequences if split == "train" else options.word_sequences // 10
        for _ in range(count):
            text = word_sequence(language, split, int(rng.integers(1, 7)), rng)
            found.append(Line(text, 0, language))
    found += [Line(normalise(t), 0, _language_of(t)) for t in harmless]
    if split == "train" or of_all:
        return list(dict.fromkeys(found))
    # The same words may come out of two patterns of different splits.
    known = {line.text for line in lines_of("train", options)}
    return [line for line in dict.fromkeys(found) if line.text not in known]


def corrupted(text: str, rate: float, rng: Generator) -> str:
    """The text with about `rate` of its jamo replaced, dropped or doubled, as a decoder errs."""
    kept: list[str] = []
    for symbol in to_jamo(text):
        draw = rng.random() / rate if rate > 0.0 else 1.0
        if draw < 0.6:
            kept.append(_confused(symbol, rng))
        elif draw < 0.85:
            continue
        elif draw < 1.0:
            kept += [symbol, _confused(symbol, rng)]
        else:
            kept.append(symbol)
    return from_jamo("".join(kept))


def fit(
    lines: Sequence[Line],
    options: TextOptions,
    misheard: Callable[[str, Generator], str] | None = None,
) -> TextModel:
    """Fit on `lines` and `copies` corrupted copies of each (by `misheard`, else `corrupted`)."""
    rng = np.random.default_rng(options.seed)
    low, high = options.error_rates
    texts, labels = [line.text for line in lines], [line.label for line in lines]
    for line in lines:
        for _ in range(options.copies):
            rate = rng.uniform(low, high)
            copy = misheard(line.text, rng) if misheard else corrupted(line.text, rate, rng)
            texts.append(copy)
            labels.append(line.label)
    grams = [Counter(char_ngrams(text, options.sizes)) for text in texts]
    vocabulary = _vocabulary(grams, np.array(labels), options)
    matrix = _matrix(grams, vocabulary)
    present = sorted(set(labels))
    solver = LogisticRegression(C=options.strength, max_iter=150, class_weight=_weights(labels))
    solver.fit(matrix, labels)
    # A label without any line must never win; scikit-learn leaves it out.
    weights = np.zeros((len(vocabulary), len(LABELS)))
    bias = np.full(len(LABELS), -20.0)
    weights[:, present], bias[present] = solver.coef_.T, solver.intercept_
    return TextModel(options.sizes, dict(zip(vocabulary, weights, strict=True)), bias)


def score(model: TextModel, lines: Sequence[Line], threshold: float = 0.5) -> TextScore:
    """How well the model tells the lines apart."""
    told = np.array([model.emergency(line.text) >= threshold for line in lines])
    true = np.array([line.label != 0 for line in lines])
    named = np.array([int(model.scores(line.text).argmax()) == line.label for line in lines])
    return TextScore(
        lines=len(lines),
        binary_accuracy=float((told == true).mean()),
        missed=float((~told[true]).mean()) if true.any() else math.nan,
        imagined=float(told[~true].mean()) if (~true).any() else math.nan,
        label_accuracy=float(named.mean()),
    )


def _transcripts(manifest: Path | None) -> dict[Split, list[str]]:
    clips = read_manifest(manifest) if manifest else ()
    found: dict[Split, set[str]] = {split: set() for split in SPLITS}
    for clip in clips:
        if clip.transcript:
            found[clip.split].add(normalise(clip.transcript))
    return {split: sorted(texts - found["train"]) for split, texts in found.items()} | {
        "train": sorted(found["train"])
    }


def _forms_of(sentence: Sentence, rng: Generator) -> list[Line]:
    label = LABELS.index(sentence.category.value) if sentence.category.is_emergency else 0
    texts = {sentence.text, spoken(sentence.text, sentence.language)}
    if label:
        texts |= {urgent_form(sentence, rng) for _ in range(2)}
    return [Line(normalise(text), label, sentence.language) for text in sorted(texts)]


def _language_of(text: str) -> Language:
    return "ko" if any("가" <= c <= "힣" for c in text) else "en"


def _confused(symbol: str, rng: Generator) -> str:
    """Another symbol of the same sort: vowel for vowel, letter for letter."""
    place = LETTERS.index(symbol) if symbol in LETTERS else 0
    # Bounds of tokens.LETTERS: space, Latin, initial, vowel, final.
    for low, high in ((1, 27), (27, 46), (46, 67), (67, 94)):
        if low <= place < high:
            return LETTERS[int(rng.integers(low, high))]
    return symbol


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


def _matrix(grams: Sequence[Counter[str]], vocabulary: Sequence[str]) -> csr_matrix:
    places = {gram: place for place, gram in enumerate(vocabulary)}
    values: list[float] = []
    columns: list[int] = []
    starts = [0]
    for counts in grams:
        known = {places[g]: 1.0 + math.log(n) for g, n in counts.items() if g in places}
        norm = math.sqrt(sum(v * v for v in known.values())) or 1.0
        columns += known
        values += [v / norm for v in known.values()]
        starts.append(len(columns))
    return csr_matrix((values, columns, starts), shape=(len(grams), len(vocabulary)))


def _weights(labels: Sequence[int]) -> dict[int, float]:
    """Normal talk weighs as much as all emergencies together; each emergency by its root."""
    counts = Counter(labels)
    raw = {label: 1.0 / math.sqrt(n) for label, n in counts.items() if label}
    mass = sum(raw[label] * counts[label] for label in raw) or 1.0
    scale = len(labels) / 2.0
    return {0: scale / counts[0]} | {label: scale * w / mass for label, w in raw.items()}
