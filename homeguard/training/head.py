"""The encoder voter's head, fitted on the encoder as it ships.

Joint training gives the encoder; its own head sees few sounds by then. Here the encoder is frozen
and int8, as the daemon runs it, and a head learns from the windows that the CNN learns from, with
the same teacher, and from spoken distress. Loss: cross-entropy with smoothed labels, plus the mean
squared error between the teacher's standardised embedding of each second and a linear map of the
head's features of that second.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from homeguard.labels import Category
from homeguard.mel import Float32, log_mel
from homeguard.training.augment import simulate_rooms
from homeguard.training.corpus import (
    USABLE_LICENCES,
    Confidence,
    Licence,
    file_name,
    open_audio,
    read_manifest,
    select,
    summary,
)
from homeguard.training.metrics import auc, emergency_margin, is_emergency
from homeguard.training.mixture import MixtureOptions, SpokenPart
from homeguard.training.pool import (
    Drawer,
    PoolOptions,
    Windows,
    build_pool,
    held_out_windows,
)
from homeguard.training.sound_models import Encoder
from homeguard.training.teacher import EMBEDDING_SIZE, Yamnet

FRAMES_A_STEP = 5  # encoder frames averaged before anything else: 100 ms


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """One run; everything that decides its result."""

    manifest: Path
    whisper: Path  # the exported encoder, CTranslate2
    out: Path  # model.onnx and training.json are written here
    cache: Path
    speech: MixtureOptions
    teacher: Path | None = None  # yamnet.tflite
    licences: tuple[Licence, ...] = tuple(sorted(USABLE_LICENCES))
    confidences: tuple[Confidence, ...] = ("high", "medium")
    machine_voices: int = 800  # synthesised utterances among the normal sounds
    spoken: int = 8_000  # windows with speech whose label is what is said
    epochs: int = 14
    batch_size: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    teacher_weight: float = 0.5
    seed: int = 1
    pool: PoolOptions = field(default_factory=PoolOptions)


@dataclass(frozen=True, slots=True)
class HeadResult:
    """What a run gave; also in training.json beside the model."""

    model: Path
    parameters: int
    val_auc_clean: float
    val_auc_mixed: float
    val_accuracy: float
    export_difference: float


class EventHead(nn.Module):
    """Two convolutions over 100 ms steps, then mean, maximum and four attentions over time."""

    FEATURES = 256

    def __init__(self, width: int, attentions: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Conv1d(width, self.FEATURES, 3, padding=1)
        self.second = nn.Conv1d(self.FEATURES, self.FEATURES, 3, padding=1)
        self.attention = nn.Conv1d(self.FEATURES, attentions, 1)
        pooled = self.FEATURES * (attentions + 2)
        self.classes = nn.Sequential(
            nn.LayerNorm(pooled), nn.Dropout(0.4), nn.Linear(pooled, len(Category))
        )

    def features(self, steps: Tensor) -> Tensor:
        """(batch, n, width) averaged steps to (batch, FEATURES, n)."""
        hidden = self.norm(steps).transpose(1, 2)
        hidden = functional.dropout(functional.gelu(self.first(hidden)), 0.2, self.training)
        return functional.gelu(self.second(hidden)) + hidden

    def classify(self, features: Tensor) -> Tensor:
        """Logits (batch, 19) of features."""
        weights = self.attention(features).softmax(dim=2)
        attended = (weights @ features.transpose(1, 2)).flatten(1)
        pooled = torch.cat([features.mean(dim=2), features.amax(dim=2), attended], dim=1)
        logits: Tensor = self.classes(pooled)
        return logits

    def forward(self, encoding: Tensor) -> Tensor:
        """(batch, t, width) encoder frames to logits (batch, 19)."""
        steps = functional.avg_pool1d(
            encoding.transpose(1, 2), FRAMES_A_STEP, ceil_mode=True, count_include_pad=False
        )
        return self.classify(self.features(steps.transpose(1, 2)))


def fit_head(options: HeadOptions) -> HeadResult:
    """Encode the windows, train the head, choose the best epoch on val, export to ONNX."""
    lightning.seed_everything(options.seed, verbose=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    clips = read_manifest(options.manifest, options.licences)
    audio = open_audio(clips, options.cache)
    kept = select(clips, confidences=options.confidences)
    rooms = simulate_rooms(options.cache)
    spoken = SpokenPart(options.speech)
    drawer = Drawer(
        options.pool, select(kept, "train"), audio, spoken.harmless_voices(options.machine_voices)
    )
    teacher = Yamnet(options.teacher) if options.teacher else None
    pool = build_pool(options.pool, drawer, rooms, teacher, options.cache)
    held_out = held_out_windows(options.pool, select(kept, "val"), audio, rooms)
    encoder = Encoder(options.whisper)
    steps = [encode_all(encoder, pool.mels, "encoding windows")]
    labels, embeddings = [pool.labels], [np.asarray(pool.embeddings)]
    if options.spoken:
        mels, said = _spoken_windows(spoken, options)
        steps.append(encode_all(encoder, mels, "encoding speech"))
        labels.append(said)
        # The teacher has not heard these.
        embeddings.append(np.full((len(said), *pool.embeddings.shape[1:]), np.nan, np.float16))
    data = TensorDataset(
        torch.from_numpy(np.concatenate(steps)),
        torch.from_numpy(np.concatenate(labels)),
        torch.from_numpy(np.concatenate(embeddings)),
    )
    val_steps = torch.from_numpy(encode_all(encoder, held_out.mels, "encoding val"))
    lesson = _Lesson(options, data, _Judged(val_steps, held_out), taught=teacher is not None)
    best = _fit(lesson, options, data)
    scores = lesson.judge(best)
    difference = export_head(best, options.out / "model.onnx", steps[0].shape[2])
    result = HeadResult(
        options.out / "model.onnx",
        sum(p.numel() for p in best.parameters()),
        scores["auc_clean"],
        scores["auc_mixed"],
        scores["accuracy"],
        difference,
    )
    record = {
        "options": asdict(options),
        "result": asdict(result),
        "history": lesson.history,
        "data": summary(kept),
    }
    text = json.dumps(record, indent=1, default=file_name, ensure_ascii=False)
    (options.out / "training.json").write_text(text + "\n", encoding="utf-8")
    return result


def encode_all(
    encoder: Encoder, mels: NDArray[np.float16], description: str
) -> NDArray[np.float16]:
    """Log-mels (n, 80, t) to averaged encoder frames (n, t / 10, width), one window at a time."""
    encoded: NDArray[np.float16] | None = None
    for index in track(
        range(len(mels)),
        description=description,
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    ):
        frames = encoder.encode(mels[index].astype(np.float32))
        count = len(frames) // FRAMES_A_STEP
        averaged = frames[: count * FRAMES_A_STEP].reshape(count, FRAMES_A_STEP, -1).mean(axis=1)
        if encoded is None:
            encoded = np.empty((len(mels), *averaged.shape), dtype=np.float16)
        encoded[index] = averaged
    assert encoded is not None  # noqa: S101  (there are windows)
    return encoded


def export_head(head: EventHead, path: Path, width: int, frames: int = 250) -> float:
    """Write `encoding` (1, t, width) -> `logits` (1, 19), t free; the largest difference to torch.

    The difference is measured on random encodings of two lengths.
    """
    import onnxruntime  # noqa: PLC0415  (for the check only)

    head = head.eval().float()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        head,
        (torch.zeros(1, frames, width),),
        str(path),
        input_names=["encoding"],
        output_names=["logits"],
        dynamic_axes={"encoding": {1: "frames"}},
        opset_version=17,
        dynamo=False,  # the scripted exporter keeps the length free without guards
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    difference = 0.0
    for length in (frames, 3 * frames // 5):
        generator = torch.Generator().manual_seed(1)
        encoding = torch.randn(1, length, width, generator=generator)
        with torch.inference_mode():
            expected = head(encoding).numpy()
        (given,) = session.run(["logits"], {"encoding": encoding.numpy()})
        difference = max(difference, float(np.abs(given - expected).max()))
    return difference


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """Held-out windows with their encodings."""

    steps: Tensor
    windows: Windows


class _Lesson(lightning.LightningModule):
    """The head, its loss and its schedule."""

    def __init__(
        self, options: HeadOptions, data: TensorDataset, judged: _Judged, *, taught: bool
    ) -> None:
        super().__init__()
        steps, _, embeddings = data.tensors
        self.head = EventHead(steps.shape[2])
        self.history: list[dict[str, float]] = []
        self._options = options
        self._judged = judged
        self._total = options.epochs * (len(steps) // options.batch_size)
        self.pupil = nn.Linear(EventHead.FEATURES, EMBEDDING_SIZE) if taught else None
        sample = torch.log1p(embeddings[:2000].float())
        self.register_buffer("mean", sample.mean(dim=(0, 1)))
        self.register_buffer("deviation", sample.std(dim=(0, 1)) + 0.05)

    def training_step(self, batch: list[Tensor], _index: int) -> Tensor:
        """Loss of one batch."""
        steps, labels, embeddings = batch
        features = self.head.features(steps.float())
        loss = functional.cross_entropy(
            self.head.classify(features), labels, label_smoothing=self._options.label_smoothing
        )
        if self.pupil is not None:
            each = functional.adaptive_avg_pool1d(features, embeddings.shape[1]).transpose(1, 2)
            target = (torch.log1p(embeddings.float()) - self.mean) / self.deviation
            heard = ~target.isnan().any(dim=2)
            distance = functional.mse_loss(self.pupil(each)[heard], target[heard])
            loss = loss + self._options.teacher_weight * distance
        self.log("loss", loss, prog_bar=True)
        return loss

    def on_train_epoch_end(self) -> None:
        """Judge the epoch on val."""
        scores = self.judge(self.head)
        self.history.append(scores)
        self.log_dict(scores, prog_bar=True)

    def judge(self, head: EventHead) -> dict[str, float]:
        """AUC of emergency on clean and mixed val windows, accuracy, and what an epoch is worth."""
        head.eval()
        with torch.inference_mode():
            parts = [
                head.classify(head.features(part.float())) for part in self._judged.steps.split(256)
            ]
        head.train()
        logits: Float32 = torch.cat(parts).numpy()
        windows = self._judged.windows
        positive, margin = is_emergency(windows.labels), emergency_margin(logits)
        scores = {
            "auc_clean": auc(margin[~windows.mixed], positive[~windows.mixed]),
            "auc_mixed": auc(margin[windows.mixed], positive[windows.mixed]),
            "accuracy": float((logits.argmax(axis=1) == windows.labels).mean()),
        }
        scores["score"] = scores["auc_clean"] + scores["auc_mixed"] + 0.25 * scores["accuracy"]
        return scores

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW on a one-cycle schedule."""
        chosen = self._options
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=chosen.learning_rate, weight_decay=chosen.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, chosen.learning_rate, total_steps=self._total, pct_start=0.15
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _fit(lesson: _Lesson, options: HeadOptions, data: TensorDataset) -> EventHead:
    keeper = ModelCheckpoint(
        options.out / "checkpoints", filename="best", monitor="score", mode="max"
    )
    trainer = lightning.Trainer(
        max_epochs=options.epochs,
        logger=False,
        callbacks=[keeper],
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        default_root_dir=options.out,
    )
    loader = DataLoader(data, batch_size=options.batch_size, shuffle=True, drop_last=True)
    trainer.fit(lesson, loader)
    best = torch.load(keeper.best_model_path, map_location="cpu", weights_only=True)
    lesson.load_state_dict(best["state_dict"])
    return lesson.head.eval()


def _spoken_windows(
    spoken: SpokenPart, options: HeadOptions
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    examples = list(_labelled(spoken, options))
    mels = np.stack([log_mel(samples).astype(np.float16) for samples, _ in examples])
    return mels, np.array([label for _, label in examples], dtype=np.int64)


def _labelled(spoken: SpokenPart, options: HeadOptions) -> Iterator[tuple[Float32, int]]:
    rng = np.random.default_rng([options.seed, 17])
    made = 0
    while made < options.spoken:
        example = spoken.example(options.speech.window_s, options.speech.ease, rng)
        if example.label >= 0:
            made += 1
            yield example.samples, example.label
