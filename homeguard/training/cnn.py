"""Training of the CNN voter by Lightning: windows from a pool, YAMNet as a start, ONNX out.

Loss: cross-entropy with smoothed labels over the 19 categories, plus (compact network, teacher
given) the mean squared error between the teacher's standardised embedding of each second and a
linear map of the network's features of that second. Clips with low label confidence are left out
(RAVDESS actors speaking harmless sentences in anger).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from homeguard.mel import Float32
from homeguard.training.augment import mask_mel, mix_mels, simulate_rooms
from homeguard.training.cnn_export import CnnResult, Network, deliver, judge, write_record
from homeguard.training.corpus import (
    USABLE_LICENCES,
    Confidence,
    CorpusError,
    Licence,
    open_audio,
    read_manifest,
    select,
    summary,
)
from homeguard.training.errors import DivergedError
from homeguard.training.losses import alarm_loss
from homeguard.training.metrics import is_emergency
from homeguard.training.networks import (
    Architecture,
    CompactCnn,
    MobileCnn,
    filter_likeness,
    network,
)
from homeguard.training.pool import (
    Drawer,
    PoolOptions,
    WindowPool,
    Windows,
    build_pool,
    held_out_windows,
)
from homeguard.training.shrink import weights
from homeguard.training.speech import SpeechOptions, open_speech
from homeguard.training.teacher import EMBEDDING_SIZE, Yamnet
from homeguard.training.transfer import start_from_yamnet

_FRONT_CLIPS = 250  # recordings on which the front before YAMNet's convolutions is fitted


@dataclass(frozen=True, slots=True)
class CnnOptions:
    """One training run; everything that decides its result."""

    manifest: Path
    out: Path  # model.onnx and training.json are written here
    cache: Path  # decoded audio, rooms, pools: kept between runs
    teacher: Path | None = None  # yamnet.tflite: a compact network learns its embeddings
    yamnet: Path | None = None  # yamnet.tflite: a mobile network starts from its weights
    architecture: Architecture = "mobile"
    licences: tuple[Licence, ...] = tuple(sorted(USABLE_LICENCES))
    confidences: tuple[Confidence, ...] = ("high", "medium")
    epochs: int = 6
    batch_size: int = 64
    learning_rate: float = 1.5e-3  # peak of the one-cycle schedule
    started_rate: float = 0.2  # times the rate: layers that do not start from nothing
    weight_decay: float = 0.02
    label_smoothing: float = 0.1
    teacher_weight: float = 1.0
    corregularization: float = 0.0  # weight of the filters' likeness in the loss
    alarm_weight: float = 0.0  # weight of the loss of the question that counts: emergency or not
    level_jitter: float = 0.08  # of the scaled mel; 0.025 is one decibel
    remix: float = 0.4  # share of a batch under which another normal window is laid
    remix_snr_db: tuple[float, float] = (0.0, 25.0)
    machine_voices: int = 800  # synthesised utterances among the normal sounds; 0: none
    start: Path | None = None  # best.ckpt of an earlier run, or an exported model.onnx, to refine
    precision: str = "bf16-mixed"
    seed: int = 1
    pool: PoolOptions = field(default_factory=PoolOptions)


def train_cnn(options: CnnOptions) -> CnnResult:
    """Train, choose the best epoch on val, export. Resumes a killed run of the same options.

    Raises CorpusError where the data cannot be learned from, DivergedError where the loss leaves
    the numbers.
    """
    started = time.monotonic()
    lightning.seed_everything(options.seed, verbose=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    clips = read_manifest(options.manifest, options.licences)
    audio = open_audio(clips, options.cache)
    kept = select(clips, confidences=options.confidences)
    train, val = select(kept, "train"), select(kept, "val")
    rooms = simulate_rooms(options.cache)
    voices = _machine_voices(options)
    teacher = Yamnet(options.teacher) if options.teacher else None
    drawer = Drawer(options.pool, train, audio, voices)
    pool = build_pool(options.pool, drawer, rooms, teacher, options.cache)
    held_out = held_out_windows(options.pool, val, audio, rooms)
    lesson = _Lesson(options, pool if teacher else None, steps=_steps(options, len(pool)))
    if options.start is not None and options.start.suffix == ".onnx":
        lesson.net.load_state_dict(_exported(options.start))
    elif options.start is not None:
        lesson.load_state_dict(_weights(options.start))
    elif options.yamnet is not None:
        if not isinstance(lesson.net, MobileCnn):
            raise CorpusError("YAMNet's weights fit the architecture `mobile` alone")
        rng = np.random.default_rng(options.seed)
        some = [train[int(i)] for i in rng.permutation(len(train))[:_FRONT_CLIPS]]
        start_from_yamnet(lesson.net, options.yamnet, map(audio.samples, some))
    best = _fit(lesson, options, pool, held_out)
    result = deliver(best, options.out, held_out, started)
    _write(options, result, lesson.history, summary(kept))
    return result


class _PoolDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Batches of the pool: masked mels (b, 1, 80, t), labels (b,), embeddings (b, k, 1024).

    The first rows of a batch are mixed once more with normal windows; their embeddings are NaN,
    for the teacher did not hear them so.
    """

    def __init__(self, pool: WindowPool, options: CnnOptions) -> None:
        self._pool = pool
        self._options = options
        self._normal = np.flatnonzero(~is_emergency(pool.labels))
        self._rng = np.random.default_rng(options.seed)

    def __len__(self) -> int:
        return len(self._pool)

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        rng, rows = self._rng, np.asarray(indices)
        mels = self._pool.mels[rows].astype(np.float32)
        embeddings = self._pool.embeddings[rows].astype(np.float32)
        count = int(self._options.remix * len(rows))
        if count and len(self._normal):
            under = self._pool.mels[rng.choice(self._normal, size=count)].astype(np.float32)
            snr_db = rng.uniform(*self._options.remix_snr_db, size=count).astype(np.float32)
            mels[:count] = mix_mels(mels[:count], under, snr_db)
            embeddings[:count] = np.nan
        shift = rng.normal(0.0, self._options.level_jitter, size=(len(rows), 1, 1))
        mels = np.stack([mask_mel(mel, rng) for mel in mels + shift.astype(np.float32)])
        return (
            torch.from_numpy(mels[:, None]),
            torch.from_numpy(self._pool.labels[rows]),
            torch.from_numpy(embeddings),
        )


class _Lesson(lightning.LightningModule):
    """The network, its loss and its schedule."""

    def __init__(self, options: CnnOptions, taught_by: WindowPool | None, steps: int) -> None:
        super().__init__()
        self.net = network(options.architecture).to(memory_format=torch.channels_last)
        self.history: list[dict[str, float]] = []
        self._options = options
        self._steps = steps
        self._held_out: Windows | None = None
        self._seen: list[Tensor] = []
        self.pupil: nn.Linear | None = None
        if taught_by is not None and isinstance(self.net, CompactCnn):
            self.pupil = nn.Linear(CompactCnn.FEATURES, EMBEDDING_SIZE)
            sample = np.log1p(taught_by.embeddings[:2000].astype(np.float32))
            self.register_buffer("mean", torch.from_numpy(sample.mean(axis=(0, 1))))
            self.register_buffer("deviation", torch.from_numpy(sample.std(axis=(0, 1)) + 0.05))

    def judge_on(self, held_out: Windows) -> None:
        """Which windows tell how good an epoch was."""
        self._held_out = held_out

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _index: int) -> Tensor:
        """Loss of one batch."""
        mels, labels, embeddings = batch
        maps = self.net.maps(mels.contiguous(memory_format=torch.channels_last))
        logits = self.net.classify(maps).float()
        loss = nn.functional.cross_entropy(
            logits, labels, label_smoothing=self._options.label_smoothing
        )
        if self._options.alarm_weight:
            loss = loss + self._options.alarm_weight * alarm_loss(logits, labels)
        if self.pupil is not None:
            loss = loss + self._options.teacher_weight * self._distance(maps, embeddings)
        if self._options.corregularization:
            loss = loss + self._options.corregularization * filter_likeness(self.net)
        if not torch.isfinite(loss):
            message = "the loss is no number any more; try --precision 32-true, or a lower rate"
            raise DivergedError(message)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], _index: int) -> None:
        """Collect the logits of held-out windows."""
        self._seen.append(self.net(batch[0]).float().cpu())

    def on_validation_epoch_end(self) -> None:
        """Judge the epoch."""
        logits, self._seen = torch.cat(self._seen).numpy(), []
        held_out = self._held_out
        if held_out is None or len(logits) != len(held_out.labels):
            return  # Lightning's trial batches before the first epoch
        scores = judge(logits, held_out)
        self.history.append(scores)
        self.log_dict(scores, prog_bar=True)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW on a one-cycle schedule."""
        chosen = self._options
        started = chosen.yamnet is not None or chosen.start is not None
        rates = [
            (part, chosen.learning_rate * (chosen.started_rate if started and name == "net" else 1))
            for name, part in (("net", self._body()), ("head", self._fresh()))
        ]
        optimizer = torch.optim.AdamW(
            [{"params": part, "lr": rate} for part, rate in rates],
            weight_decay=chosen.weight_decay,
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, [rate for _, rate in rates], total_steps=self._steps, pct_start=0.15
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _fresh(self) -> list[nn.Parameter]:
        """What no start gives weights to: the head, and the pupil's map."""
        pupil = list(self.pupil.parameters()) if self.pupil is not None else []
        return [*self.net.head.parameters(), *pupil]

    def _body(self) -> list[nn.Parameter]:
        fresh = {id(parameter) for parameter in self._fresh()}
        return [p for p in self.parameters() if id(p) not in fresh]

    def _distance(self, maps: Tensor, embeddings: Tensor) -> Tensor:
        """Mean squared error to the teacher's embeddings (b, k, 1024), second by second."""
        if self.pupil is None:
            return maps.new_zeros(())
        each = nn.functional.adaptive_avg_pool1d(maps.mean(dim=2), embeddings.shape[1])
        guess = self.pupil(each.transpose(1, 2)).float()
        target = (torch.log1p(embeddings) - self.mean) / self.deviation
        heard = ~target.isnan().any(dim=2)
        return nn.functional.mse_loss(guess[heard], target[heard])


def _fit(lesson: _Lesson, options: CnnOptions, pool: WindowPool, held_out: Windows) -> Network:
    checkpoints = options.out / "checkpoints"
    keeper = ModelCheckpoint(checkpoints, filename="best", monitor="score", mode="max")
    latest = ModelCheckpoint(checkpoints, filename="latest", enable_version_counter=False)
    trainer = lightning.Trainer(
        max_epochs=options.epochs,
        precision=options.precision,
        logger=False,
        callbacks=[keeper, latest],
        enable_progress_bar=sys.stderr.isatty(),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=options.out,
    )
    dataset = _PoolDataset(pool, options)
    batches = BatchSampler(RandomSampler(dataset), options.batch_size, drop_last=True)
    loader = DataLoader(dataset, sampler=batches, batch_size=None)
    mels = torch.from_numpy(held_out.mels[:, None].astype(np.float32))
    val_loader = DataLoader(torch.utils.data.TensorDataset(mels), batch_size=64)
    lesson.judge_on(held_out)
    last = _resumable(checkpoints, options)
    trainer.fit(lesson, loader, val_loader, ckpt_path=last, weights_only=True)
    lesson.load_state_dict(_weights(Path(keeper.best_model_path)))
    return lesson.net.eval()


def _weights(checkpoint: Path) -> dict[str, Tensor]:
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    weights: dict[str, Tensor] = state["state_dict"]
    return weights


def _exported(model: Path) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in weights(model).items()}


def _resumable(checkpoints: Path, options: CnnOptions) -> Path | None:
    """The checkpoint a killed run of the same options left; raises CorpusError for another's."""
    decided_by = json.dumps(asdict(options), sort_keys=True, default=str)
    note, last = checkpoints / "options.json", checkpoints / "latest.ckpt"
    if last.exists() and note.read_text(encoding="utf-8") != decided_by:
        raise CorpusError(f"{checkpoints} is of a run with other options: move it, or use --out")
    checkpoints.mkdir(parents=True, exist_ok=True)
    note.write_text(decided_by, encoding="utf-8")
    return last if last.exists() else None


def _steps(options: CnnOptions, windows: int) -> int:
    return options.epochs * (windows // options.batch_size)


def _machine_voices(options: CnnOptions) -> Sequence[Float32]:
    if not options.machine_voices:
        return ()
    words = 5 * options.machine_voices // 8
    wanted = SpeechOptions(
        words=words, distress=1, harmless=options.machine_voices - words, held_out=5
    )
    corpus = open_speech(wanted, options.cache)
    return [
        corpus.samples(utterance)
        for utterance in corpus.utterances
        if utterance.split == "train" and utterance.kind in {"words", "harmless"}
    ]


def _write(
    options: CnnOptions,
    result: CnnResult,
    history: list[dict[str, float]],
    data: dict[str, object],
) -> None:
    record = {
        "options": asdict(options),
        "result": asdict(result),
        "history": history,
        "data": data,
    }
    before = _record_of(options.start) if options.start else None
    write_record(options.out, record | ({"began_with": before} if before else {}))


def _record_of(start: Path) -> object:
    """What led to a start, from the training.json beside it; None where there is none."""
    run = start.parent.parent if start.parent.name == "checkpoints" else start.parent
    file = run / "training.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
