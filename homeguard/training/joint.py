"""One Whisper learns text and category together (S0 part 4, voters 1 and 2).

Loss = (1 - label_share) * text + label_share * label, the text loss helped by two more while the
attention forms: CTC over the encoder (Kim et al. 2017) and guided attention (Tachibana et al. 2017,
section 3.2), which is possible because the corpus knows where each utterance lies in its window.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from transformers import WhisperConfig, WhisperForConditionalGeneration

from homeguard.labels import Category
from homeguard.mel import N_MELS
from homeguard.training import tokens
from homeguard.training.losses import alarm_loss
from homeguard.training.mixture import Batch, Mixture, MixtureOptions
from homeguard.training.published import Cut
from homeguard.training.published import load as load_published
from homeguard.training.shrink import weights
from homeguard.training.vocabulary import Vocabulary, letters, read

IGNORED = -100  # torch's own mark for targets without loss
SMALL = "small-192"
WHISPER_DIR, HEAD_DIR = "whisper-home", "encoder-head"  # in the folder of models


@dataclass(frozen=True, slots=True)
class JointOptions:
    """What `train` needs; `base` is SMALL or the folder of a published Whisper.

    Phase 1 (`short_steps`) hears short speech alone, in windows of half the length: it and the
    guide make the attention of a new Whisper form; a published one needs neither.
    """

    data: MixtureOptions
    out_dir: Path
    base: str = SMALL
    # last.ckpt of an earlier run of the same base, or the folder of the models that ship, to go on
    start: Path | None = None
    cut: Cut = field(default_factory=Cut)  # what is kept of a published Whisper
    steps: int = 6_000
    short_steps: int = 2_000
    batch_size: int = 24
    learning_rate: float = 1.2e-3
    new_rate: float = 1.0  # times the rate: head and CTC layer, which a published one lacks
    warmup_steps: int = 300
    decay_from: float = 0.3  # share of the steps after which the rate falls
    label_share: float = 0.3
    alarm_weight: float = 0.0  # within the label's loss: that of emergency or not
    ctc_weight: float = 0.4
    guide_weight: float = 2.0
    freeze_encoder: bool = False
    precision: str = "bf16-mixed"
    devices: int = 1
    workers: int = 1  # processes that make windows beside the training
    checkpoint_every: int = 100
    kept_checkpoints: int = 3  # the last ones, for the export to average
    seed: int = 1


def recipe(
    base: str, data: MixtureOptions, out_dir: Path, start: Path | None = None
) -> JointOptions:
    """The options that the shipped models were trained with: of SMALL, or of a published Whisper.

    A published one can write already: lower rates, no guide, no first phase, more real speech. A
    folder of shipped models as `start` is its own base. What ships goes on without CTC, whose layer
    stayed behind.
    """
    if start is not None and start.is_dir():
        base = str(start / WHISPER_DIR)
    if base == SMALL:
        return JointOptions(data, out_dir, start=start)
    shipped = (Path(base).parent / HEAD_DIR).is_dir()
    return JointOptions(
        replace(data, speech_share=0.45, real_share=0.25, short_share=0.2),
        out_dir,
        base,
        start,
        steps=6_200,
        label_share=0.35,
        short_steps=0,
        batch_size=16,
        learning_rate=2e-4,
        new_rate=4.0,
        warmup_steps=150,
        ctc_weight=0.0 if shipped else 0.3,
        guide_weight=0.0,
    )


class JointModel(nn.Module):
    """A Whisper with a category head and, for training only, a CTC layer on its encoder."""

    def __init__(self, whisper: WhisperForConditionalGeneration) -> None:
        super().__init__()
        width = whisper.config.d_model
        self.whisper = whisper
        self.head = CategoryHead(width)
        self.ctc = nn.Linear(width, len(tokens.LETTERS) + 1)  # the last one is the blank

    def encode(self, log_mel: Tensor) -> Tensor:
        """(batch, n_mels, n_frames) to (batch, n_frames / 2, d_model); at most the window."""
        encoder = self.whisper.model.encoder
        hidden = functional.gelu(encoder.conv1(log_mel))
        hidden = functional.gelu(encoder.conv2(hidden)).permute(0, 2, 1)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in encoder.layers:
            hidden = layer(hidden, None)
        encoding: Tensor = encoder.layer_norm(hidden)
        return encoding

    def decode(
        self, encoding: Tensor, inputs: Tensor, *, attentions: bool = False
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Logits (batch, n, vocabulary) and each layer's cross-attention (batch, head, n, t).

        No attention is given unless asked for.
        """
        decoded = self.whisper.model.decoder(
            input_ids=inputs,
            encoder_hidden_states=encoding,
            use_cache=False,
            output_attentions=attentions,
        )
        return self.whisper.proj_out(decoded.last_hidden_state), decoded.cross_attentions or ()


class CategoryHead(nn.Module):
    """MLP over the encoding pooled in time: mean, maximum and four learned attentions."""

    def __init__(self, width: int, attentions: int = 4, hidden: int = 256) -> None:
        super().__init__()
        self.attention = nn.Linear(width, attentions)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width * (attentions + 2)),
            nn.Linear(width * (attentions + 2), hidden),
            nn.GELU(),
            nn.Dropout(0.2),
            nn.Linear(hidden, len(Category)),
        )

    def forward(self, encoding: Tensor) -> Tensor:
        """(batch, t, d_model), any t, to logits (batch, 19)."""
        weights = self.attention(encoding).softmax(dim=1)
        attended = (weights.transpose(1, 2) @ encoding).flatten(1)
        pooled = torch.cat([encoding.mean(dim=1), encoding.amax(dim=1), attended], dim=1)
        logits: Tensor = self.mlp(pooled)
        return logits


class JointTask(lightning.LightningModule):
    """The joint loss and its optimiser, for Lightning's trainer."""

    def __init__(self, options: JointOptions) -> None:
        super().__init__()
        self.options = options
        whisper, self.vocabulary = base_model(
            options.base, options.cut, options.guide_weight, kept_vocabulary(_begun(options))
        )
        self.model = JointModel(whisper)
        if options.freeze_encoder:
            self.model.whisper.model.encoder.requires_grad_(requires_grad=False)
        # Without a loss of their own the weights would only decay.
        self.model.head.requires_grad_(options.label_share > 0.0)
        self.model.ctc.requires_grad_(options.ctc_weight > 0.0)
        self._seen = 0

    def training_step(self, batch: Batch, _index: int) -> Tensor:
        """The weighted sum of the losses of one batch."""
        chosen = self.options
        encoding = self.model.encode(batch.log_mel) if batch.encoding is None else batch.encoding
        losses = {"label": encoding.new_zeros(()), "ctc": encoding.new_zeros(())}
        if chosen.label_share > 0.0:
            answers = self.model.head(encoding)
            losses["label"] = label_loss(answers, batch.labels, chosen.alarm_weight)
        guided = chosen.guide_weight > 0.0
        logits, attentions = self.model.decode(encoding, batch.inputs, attentions=guided)
        losses["text"] = functional.cross_entropy(
            logits.float().flatten(0, 1), batch.targets.flatten(), ignore_index=IGNORED
        )
        if chosen.ctc_weight > 0.0:
            losses["ctc"] = ctc_loss(self.model.ctc(encoding), batch)
        losses["guide"] = guide_loss(attentions, batch) if guided else encoding.new_zeros(())
        progress = self.global_step / chosen.steps
        guide = chosen.guide_weight * max(0.05, 1.0 - 3.0 * progress)
        ctc = chosen.ctc_weight * (1.0 - 0.5 * progress)
        text = (1.0 - ctc) * losses["text"] + ctc * losses["ctc"] + guide * losses["guide"]
        # Without a label in the batch (phase 1) the text has the whole of the loss.
        share = chosen.label_share if (batch.labels != IGNORED).any() else 0.0
        loss = (1.0 - share) * text + share * losses["label"]
        self._report(losses, logits, batch)
        return loss

    def configure_optimizers(self) -> Any:  # noqa: ANN401  (Lightning's own return type)
        """AdamW, its rate warmed up, kept, then lowered as a cosine."""
        chosen = self.options
        groups = [
            {
                "params": [
                    p for p in part.parameters() if p.requires_grad and (p.ndim > 1) == wide
                ],
                "weight_decay": 0.05 if wide else 0.0,
                "lr": chosen.learning_rate * rate,
            }
            for part, rate in (
                (self.model.whisper, 1.0),
                (self.model.head, chosen.new_rate),
                (self.model.ctc, chosen.new_rate),
            )
            for wide in (True, False)
        ]
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _rate(self, step: int) -> float:
        chosen = self.options
        warm = min(1.0, (step + 1) / chosen.warmup_steps)
        after = max(0.0, step / chosen.steps - chosen.decay_from) / (1.0 - chosen.decay_from)
        return warm * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, after))))

    def _report(self, losses: dict[str, Tensor], logits: Tensor, batch: Batch) -> None:
        self._seen += len(batch.labels)
        counted = batch.targets != IGNORED
        hit = (logits.argmax(dim=-1) == batch.targets)[counted].float().mean()
        values = {name: loss.detach() for name, loss in losses.items()}
        steps = {"samples": float(self._seen), "step": self.global_step + 1.0}
        self.log_dict(values | {"token_accuracy": hit} | steps)


def base_model(
    base: str,
    cut: Cut | None = None,
    guide_weight: float = 0.0,
    kept: Vocabulary | None = None,
) -> tuple[WhisperForConditionalGeneration, Vocabulary]:
    """A Whisper and what it writes with: SMALL is new, any other name a folder with weights.

    `kept` is the vocabulary that a run of this base has begun with.
    """
    if base == SMALL:
        # Only eager attention gives its weights to the guide.
        return _small("eager" if guide_weight > 0.0 else "sdpa"), letters()
    if guide_weight > 0.0:
        message = "the guide counts letters; a published Whisper writes pieces: guide_weight 0"
        raise ValueError(message)
    return load_published(Path(base), cut or Cut(), kept)


def kept_vocabulary(run_dir: Path) -> Vocabulary | None:
    """What a run in `run_dir` has begun to write with, None where there is none yet."""
    return read(run_dir) if (run_dir / "tokenizer.json").is_file() else None


def _small(attention: str) -> WhisperForConditionalGeneration:
    width = 192
    end = tokens.symbol_id(tokens.END)
    settings: dict[str, Any] = {
        "vocab_size": tokens.VOCABULARY_SIZE,
        "num_mel_bins": N_MELS,
        "d_model": width,
        "encoder_layers": 4,
        "decoder_layers": 2,
        "encoder_attention_heads": width // 64,
        "decoder_attention_heads": width // 64,
        "encoder_ffn_dim": 4 * width,
        "decoder_ffn_dim": 4 * width,
        "max_source_positions": 250,  # 5 s: two 10 ms mel frames each
        "max_target_positions": 128,
        "pad_token_id": end,
        "bos_token_id": end,
        "eos_token_id": end,
        "decoder_start_token_id": tokens.symbol_id(tokens.START),
        "begin_suppress_tokens": None,
        "suppress_tokens": None,
        "dropout": 0.05,
        "attn_implementation": attention,
    }
    return WhisperForConditionalGeneration(WhisperConfig(**settings))


def label_loss(logits: Tensor, labels: Tensor, alarm_weight: float = 0.0) -> Tensor:
    """Cross-entropy over the windows that have a label, and of the alarm; 0 where none has."""
    known = labels != IGNORED
    if not known.any():
        return logits.sum() * 0.0
    told, labels = logits[known].float(), labels[known]
    loss = functional.cross_entropy(told, labels, label_smoothing=0.05)
    return loss + alarm_weight * alarm_loss(told, labels) if alarm_weight else loss


def ctc_loss(logits: Tensor, batch: Batch) -> Tensor:
    """CTC of the letters over the encoding (batch, t, letters + 1), per letter; 0 without text."""
    spoken = batch.letter_counts > 0
    if not spoken.any():
        return logits.sum() * 0.0
    log_probs = logits[spoken].float().log_softmax(dim=-1).transpose(0, 1)
    frames = torch.full((int(spoken.sum()),), log_probs.shape[0], dtype=torch.long)
    return functional.ctc_loss(
        log_probs,
        batch.letters[spoken],
        frames,
        batch.letter_counts[spoken],
        blank=len(tokens.LETTERS),
        zero_infinity=True,
    )


def guide_loss(attentions: tuple[Tensor, ...], batch: Batch, spread: float = 0.15) -> Tensor:
    """How far two heads of every layer look from the diagonal between the utterance's ends.

    The penalty is 1 - exp(-(n/N - t/T)^2 / 2 spread^2), T running from its first to its last frame;
    before and after it the place is clamped, and looking there costs all of 1.
    """
    spoken = batch.letter_counts > 0
    if not spoken.any():
        return attentions[0].sum() * 0.0
    device = attentions[0].device
    frames = torch.arange(attentions[0].shape[-1], device=device)
    steps = torch.arange(attentions[0].shape[-2], device=device) - batch.text_start
    begin, end = batch.speech_frames[spoken].unbind(dim=1)
    counts = batch.letter_counts[spoken]
    place_t = (frames - begin[:, None]) / (end - begin).clamp(min=1)[:, None]
    place_n = (steps / counts[:, None]).clamp(0.0, 1.0)
    distance = (place_n[:, :, None] - place_t[:, None, :]).square()
    penalty = 1.0 - torch.exp(-distance / (2.0 * spread**2))
    outside = (place_t < 0.0) | (place_t > 1.0)
    penalty = torch.where(outside[:, None, :], torch.ones_like(penalty), penalty)
    valid = ((steps >= 0) & (steps < counts[:, None])).float()
    looked = torch.stack([a[spoken][:, :2].float().mean(dim=1) for a in attentions]).mean(dim=0)
    return ((looked * penalty).sum(dim=-1) * valid).sum() / valid.sum()


def train(options: JointOptions) -> Path:
    """Train, or resume where `out_dir` has a checkpoint; gives the last checkpoint's path.

    With `start` the weights are an earlier run's, while schedule and windows begin anew.
    Options are saved beside it as options.json, the losses as metrics.csv.
    """
    lightning.seed_everything(options.seed, workers=True, verbose=False)
    options.out_dir.mkdir(parents=True, exist_ok=True)
    (options.out_dir / "options.json").write_text(
        json.dumps(asdict(options), indent=2, default=str) + "\n", encoding="utf-8"
    )
    last = options.out_dir / "last.ckpt"
    task = JointTask(options)
    if options.start is not None and not last.exists():
        _take_over(task, options.start)
    task.vocabulary.write(options.out_dir)
    mixture = Mixture(
        options.data, task.vocabulary, options.batch_size, options.short_steps, options.seed
    )
    mixture.step = steps_done(last) * options.devices  # each of them takes a batch a step
    saver = ModelCheckpoint(
        options.out_dir,
        filename="{step:06d}",
        monitor="step",
        mode="max",
        save_last=True,
        save_top_k=options.kept_checkpoints,
        every_n_train_steps=options.checkpoint_every,
    )
    trainer = lightning.Trainer(
        accelerator="auto" if torch.cuda.is_available() else "cpu",
        devices=options.devices,
        strategy="ddp" if options.devices > 1 else "auto",
        precision=options.precision,  # type: ignore[arg-type]
        max_steps=options.steps,
        gradient_clip_val=1.0,
        callbacks=[saver],
        logger=CSVLogger(options.out_dir, name="", version=f"log-{int(time.time())}"),
        log_every_n_steps=20,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(mixture, batch_size=None, num_workers=options.workers)
    trainer.fit(task, loader, ckpt_path=last if last.exists() else None, weights_only=True)
    trainer.save_checkpoint(last)
    return last


def _begun(options: JointOptions) -> Path:
    """The folder of what is gone on from, whose vocabulary is kept."""
    if options.start is None:
        return options.out_dir
    return options.start / WHISPER_DIR if options.start.is_dir() else options.start.parent


def _take_over(task: JointTask, start: Path) -> None:
    """Weights to go on from; of models that ship the Whisper is the base already."""
    if start.is_dir():
        load_head(task.model, start)
    else:
        state = torch.load(start, weights_only=True, map_location="cpu")
        task.load_state_dict(state["state_dict"])


def load_head(model: JointModel, models: Path) -> None:
    """Give a model the head that ships in the folder `models`."""
    head = weights(models / HEAD_DIR / "model.onnx")
    model.head.load_state_dict({name: torch.from_numpy(v) for name, v in head.items()})


def steps_done(checkpoint: Path) -> int:
    """Steps that a checkpoint was trained, 0 where there is none."""
    if not checkpoint.exists():
        return 0
    return int(torch.load(checkpoint, weights_only=True, map_location="cpu")["global_step"])
