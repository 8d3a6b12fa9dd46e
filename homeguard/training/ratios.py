"""The sweep over loss ratios of S0 part 4: several shares of the label loss, accuracy beside CER.

Every ratio trains the same steps on the same windows from the same start, is exported as what ships
is, and is measured on val: categories from the encoder, letters from the decoder.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from homeguard.training.augment import simulate_rooms
from homeguard.training.corpus import CorpusError, file_name, open_audio, read_manifest, select
from homeguard.training.export import export_joint, load_joint
from homeguard.training.joint import HEAD_DIR, WHISPER_DIR, JointOptions, train
from homeguard.training.metrics import auc, emergency_margin, is_emergency
from homeguard.training.pool import PoolOptions, Windows, held_out_windows
from homeguard.training.recognise import Transcriber, measure
from homeguard.training.sound_models import EncoderModel
from homeguard.training.speech import open_speech

_KINDS = ("distress", "harmless", "words")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RatioOptions:
    """Which shares of the label loss are tried; `joint.out_dir` holds a run for each."""

    joint: JointOptions
    shares: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    utterances: int = 60  # decoded of each kind and language


@dataclass(frozen=True, slots=True)
class Ratio:
    """What a share of the label loss came to, on val."""

    label_share: float
    accuracy: float  # 19 categories, recordings as they are
    auc_clean: float
    auc_mixed: float
    cer: dict[str, float]  # by "kind/language"

    @property
    def mean_cer(self) -> float:
        """Over kinds and languages."""
        return float(np.mean(list(self.cer.values())))


def sweep(options: RatioOptions) -> list[Ratio]:
    """Train, export and measure every ratio; writes ratios.json and ratios.png in `out_dir`.

    Resumes: a ratio whose result is there is not trained again. Raises CorpusError without a
    manifest.
    """
    joint = options.joint
    if joint.data.manifest is None:
        raise CorpusError("the ratios are compared on recordings: a manifest is needed")
    windows = _windows(joint.data.manifest, joint.data.cache_dir)
    ratios = []
    for share in options.shares:
        run = replace(joint, label_share=share, out_dir=joint.out_dir / f"share-{share:g}")
        result = run.out_dir / "ratio.json"
        if not result.is_file():
            ratio = _try(run, options, windows)
            result.write_text(json.dumps(asdict(ratio), indent=1) + "\n", encoding="utf-8")
        ratios.append(Ratio(**json.loads(result.read_text(encoding="utf-8"))))
        _log.info("%s", ratios[-1])
    told = replace(options, joint=replace(joint, base=Path(joint.base).name))
    record = {"options": asdict(told), "ratios": [asdict(ratio) for ratio in ratios]}
    text = json.dumps(record, indent=1, default=file_name)
    (joint.out_dir / "ratios.json").write_text(text + "\n", encoding="utf-8")
    plot(ratios, joint.out_dir / "ratios.png")
    return ratios


def plot(ratios: Sequence[Ratio], file: Path) -> None:
    """Accuracy and AUC beside CER over the label's share of the loss, as a PNG."""
    figure = Figure(figsize=(8.0, 4.6), layout="constrained")
    right, errors = figure.subplots(1, 2)
    shares = [ratio.label_share for ratio in ratios]
    right.plot(shares, [100 * r.accuracy for r in ratios], "o-", label="19 categories, accuracy")
    right.plot(shares, [100 * r.auc_clean for r in ratios], "s-", label="emergency, AUC")
    right.plot(shares, [100 * r.auc_mixed for r in ratios], "^-", label="AUC under other sound")
    right.set(xlabel="share of the label loss", ylabel="%", title="encoder and head")
    for kind in sorted({name for ratio in ratios for name in ratio.cer}):
        errors.plot(shares, [100 * r.cer[kind] for r in ratios], "o-", label=kind)
    errors.set(xlabel="share of the label loss", ylabel="CER, %", title="decoder")
    for axes in (right, errors):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2)
    figure.savefig(file, dpi=110)


def _try(run: JointOptions, options: RatioOptions, windows: Windows) -> Ratio:
    model, vocabulary = load_joint([train(run)], run.base, run.cut)
    models = run.out_dir / "models"
    export_joint(model, vocabulary, models)
    encoder = EncoderModel(models / WHISPER_DIR, models / HEAD_DIR / "model.onnx")
    logits = np.stack([encoder.logits(mel.astype(np.float32)) for mel in windows.mels])
    positive, margin = is_emergency(windows.labels), emergency_margin(logits)
    clean, mixed = ~windows.mixed, windows.mixed
    corpus = open_speech(run.data.speech, run.data.cache_dir, run.workers)
    heard = measure(Transcriber(models / WHISPER_DIR), corpus, "val", most=options.utterances)
    return Ratio(
        label_share=run.label_share,
        accuracy=float((logits[clean].argmax(axis=1) == windows.labels[clean]).mean()),
        auc_clean=auc(margin[clean], positive[clean]),
        auc_mixed=auc(margin[mixed], positive[mixed]),
        cer={
            name: score.cer
            for name, score in heard.spoken.items()
            if name.partition("/")[0] in _KINDS
        },
    )


def _windows(manifest: Path, cache_dir: Path) -> Windows:
    clips = read_manifest(manifest)
    val = select(clips, "val", ("high", "medium"))
    audio, rooms = open_audio(clips, cache_dir), simulate_rooms(cache_dir)
    return held_out_windows(PoolOptions(), val, audio, rooms, mixed=1)
