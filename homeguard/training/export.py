"""The joint model as the daemon runs it: CTranslate2 int8 Whisper and an ONNX head.

The exported files are compared with the torch model on real windows; an export that differs by more
than `Tolerance` is refused, so that nothing ships that was not what training measured.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnxruntime
import torch
from ctranslate2.converters import TransformersConverter
from transformers import GenerationConfig

from homeguard.mel import HOP_LENGTH, N_FFT, N_MELS, SAMPLE_RATE, Float32, log_mel
from homeguard.text import edit_distance, to_jamo
from homeguard.training import tokens
from homeguard.training.augment import pad
from homeguard.training.corpus import AudioCache, Clip, open_audio, read_manifest, select
from homeguard.training.errors import LabError
from homeguard.training.joint import (
    HEAD_DIR,
    SMALL,
    WHISPER_DIR,
    JointModel,
    base_model,
    kept_vocabulary,
    load_head,
)
from homeguard.training.published import Cut
from homeguard.training.recognise import WINDOW_S, Transcriber, measure
from homeguard.training.shrink import store_int8
from homeguard.training.speech import HELD_OUT, SpeechCorpus, SpeechOptions, open_speech
from homeguard.training.vocabulary import Vocabulary

State: TypeAlias = dict[str, torch.Tensor]


class ExportError(LabError):
    """What was exported is not what was trained; the message says by how much."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far int8 may stray from float32, over the windows compared."""

    encoding_cosine: float = 0.99  # at least, each window
    logit_error: float = 0.75  # at most, mean over windows of the largest difference
    same_category: float = 0.95  # at least this share
    # At most, mean over windows: where torch is unsure, rounding changes its guess.
    letter_errors: float = 0.25


@dataclass(frozen=True, slots=True)
class Parity:
    """What the comparison found."""

    windows: int
    encoding_cosine_min: float
    logit_error_mean: float
    same_category: float
    letter_errors: float


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is exported from where; the comparison runs over held-out speech and real clips."""

    run_dirs: tuple[Path, ...]  # of `joint.train`, or models that ship; of several the mean
    out_dir: Path  # models/
    cache_dir: Path
    manifest: Path | None = None
    base: str = SMALL
    cut: Cut = field(default_factory=Cut)
    speech: SpeechOptions = field(default_factory=SpeechOptions)
    compared: int = 24
    tolerance: Tolerance = field(default_factory=Tolerance)


def export(options: ExportOptions) -> Parity:
    """Export the mean of the runs, compare it with torch, measure it.

    Writes whisper-home/ with metrics.json and training.json, and encoder-head/. Raises ExportError
    when the export strays.
    """
    model, vocabulary = load_joint(options.run_dirs, options.base, options.cut)
    record = {"mean_of": [training_record(run) for run in options.run_dirs]}
    export_joint(model, vocabulary, options.out_dir)
    corpus = open_speech(options.speech, options.cache_dir, splits=HELD_OUT)
    clips = select(read_manifest(options.manifest), "val") if options.manifest else ()
    audio = open_audio(clips, options.cache_dir) if clips else None
    parity = compare(
        model, vocabulary, options.out_dir, _windows(corpus, clips, audio, options.compared)
    )
    refuse_strayed(parity, options.tolerance)
    transcriber = Transcriber(options.out_dir / WHISPER_DIR)
    held = measure(transcriber, corpus, "test")
    real = measure(transcriber, corpus, "val", clips=clips, audio=audio)
    metrics = {
        "parity": asdict(parity),
        "unseen_voices_and_sentences": held.as_json(),
        "val_and_real_speech": real.as_json(),
        "runs": [run.name for run in options.run_dirs],
    }
    _write_json(options.out_dir / WHISPER_DIR / "metrics.json", metrics)
    _write_json(options.out_dir / WHISPER_DIR / "training.json", record)
    return parity


def load_joint(
    runs: Sequence[Path], base: str, cut: Cut | None = None
) -> tuple[JointModel, Vocabulary]:
    """The mean of runs, each the mean of its last checkpoints (Izmailov et al. 2018).

    A run is a folder of `joint.train`, one checkpoint, or the folder of models that ship. Gives the
    model in eval mode and what it writes with; no pickled code is run. Raises ExportError without
    a checkpoint, and for runs that write with other pieces.
    """
    found = {run: _checkpoints(run) for run in runs}
    _refuse_other_words(runs)
    states = [
        _mean([_trained(path) for path in paths]) if paths else _shipped(run, cut)
        for run, paths in found.items()
    ]
    whisper, vocabulary = base_model(base, cut, kept=kept_vocabulary(_words_of(runs[0])))
    model = JointModel(whisper)
    # CTC serves training alone, and what ships has none.
    fit = model.load_state_dict(_mean(states), strict=False)
    strange = [n for n in (*fit.missing_keys, *fit.unexpected_keys) if not n.startswith("ctc.")]
    if strange:
        message = f"{runs[0]} is not of {base}: {strange[0]} and {len(strange) - 1} more do not fit"
        raise ExportError(message)
    return model.eval(), vocabulary


def _checkpoints(run: Path) -> list[Path]:
    """What is averaged of a run; nothing of models that ship."""
    if _ships(run):
        return []
    found = [run] if run.is_file() else sorted(run.glob("step=*.ckpt"))
    found = found or sorted(run.glob("last.ckpt"))
    if not found:
        message = f"{run} holds no checkpoint to export: train first"
        raise ExportError(message)
    return found


def training_record(run: Path) -> dict[str, object]:
    """The options and checkpoints of a run and what it began with, as far as they are on disk."""
    if _ships(run):
        file = run / WHISPER_DIR / "training.json"
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}
    file = (run.parent if run.is_file() else run) / "options.json"
    options = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    record = {
        "options": _without_folders(options),
        "checkpoints": [path.stem for path in _checkpoints(run)],
    }
    start = options.get("start")
    return record | (
        {"began_with": training_record(Path(start))} if start and _ships(Path(start)) else {}
    )


def _without_folders(value: object) -> object:
    """The same without the folders of whoever ran it."""
    if isinstance(value, dict):
        return {name: _without_folders(inner) for name, inner in value.items()}
    return Path(value).name if isinstance(value, str) and "/" in value else value


def _trained(checkpoint: Path) -> State:
    loaded = torch.load(checkpoint, weights_only=True, map_location="cpu")
    return _without_ctc(loaded["state_dict"])


def _shipped(models: Path, cut: Cut | None) -> State:
    kept = kept_vocabulary(_words_of(models))
    model = JointModel(base_model(str(models / WHISPER_DIR), cut, kept=kept)[0])
    load_head(model, models)
    return _without_ctc(model.state_dict())


def _without_ctc(state: State) -> State:
    named = {name.removeprefix("model."): value for name, value in state.items()}
    return {name: value for name, value in named.items() if not name.startswith("ctc.")}


def _mean(states: Sequence[State]) -> State:
    return {n: torch.stack([s[n].float() for s in states]).mean(dim=0) for n in states[0]}


def _ships(run: Path) -> bool:
    return (run / WHISPER_DIR).is_dir()


def _words_of(run: Path) -> Path:
    """The folder of the tokenizer that a run writes with."""
    if _ships(run):
        return run / WHISPER_DIR
    return run.parent if run.is_file() else run


def _refuse_other_words(runs: Sequence[Path]) -> None:
    """The mean of weights that belong to different pieces of words would write nonsense."""
    files = [_words_of(run) / "tokenizer.json" for run in runs]  # none where the words are letters
    written = [file.read_bytes() if file.is_file() else b"" for file in files]
    for run, words in zip(runs, written, strict=True):
        if words != written[0]:
            message = f"{run} and {runs[0]} write with other pieces: they have no common mean"
            raise ExportError(message)


def export_joint(model: JointModel, vocabulary: Vocabulary, out_dir: Path) -> None:
    """Write `whisper-home/` and `encoder-head/model.onnx` under `out_dir`."""
    with tempfile.TemporaryDirectory() as scratch:
        published = Path(scratch) / "published"
        save_published(model, vocabulary, published)
        converter = TransformersConverter(
            str(published), copy_files=["tokenizer.json", "preprocessor_config.json"]
        )
        converted = Path(scratch) / "converted"
        converter.convert(str(converted), quantization="int8")
        target = out_dir / WHISPER_DIR
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted(converted.iterdir()):
            (target / file.name).write_bytes(file.read_bytes())
        # A line a piece is a hundred kilobytes of spaces.
        words = json.loads((target / "vocabulary.json").read_text(encoding="utf-8"))
        short = json.dumps(words, ensure_ascii=False, separators=(",", ":"))
        (target / "vocabulary.json").write_text(short + "\n", encoding="utf-8")
    _export_head(model, out_dir / HEAD_DIR / "model.onnx")


def save_published(model: JointModel, vocabulary: Vocabulary, folder: Path) -> None:
    """Write the Whisper as transformers and others read it: safetensors, tokenizer, configs."""
    folder.mkdir(parents=True, exist_ok=True)
    whisper = model.whisper
    end = vocabulary.symbol(tokens.END)
    whisper.generation_config = GenerationConfig(
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=vocabulary.symbol(tokens.START),
        max_length=whisper.config.max_target_positions,
        suppress_tokens=[],
        begin_suppress_tokens=[],
        is_multilingual=True,
        lang_to_id={t: vocabulary.symbol(t) for t in tokens.LANGUAGE_TOKENS.values()},
        task_to_id={
            "transcribe": vocabulary.symbol(tokens.TRANSCRIBE),
            "translate": vocabulary.symbol("<|translate|>"),
        },
        no_timestamps_token_id=vocabulary.symbol(tokens.NO_TIMESTAMPS),
        alignment_heads=[
            [layer, head] for layer in range(whisper.config.decoder_layers) for head in range(2)
        ],
    )
    whisper.save_pretrained(folder)
    vocabulary.write(folder)
    window_s = 2 * whisper.config.max_source_positions * HOP_LENGTH // SAMPLE_RATE
    preprocessor = {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "feature_size": N_MELS,
        "sampling_rate": SAMPLE_RATE,
        "hop_length": HOP_LENGTH,
        "chunk_length": window_s,
        "n_fft": N_FFT,
        "n_samples": window_s * SAMPLE_RATE,
        "nb_max_frames": window_s * SAMPLE_RATE // HOP_LENGTH,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }
    _write_json(folder / "preprocessor_config.json", preprocessor)


def compare(
    model: JointModel,
    vocabulary: Vocabulary,
    out_dir: Path,
    windows: Sequence[tuple[Float32, str]],
) -> Parity:
    """Torch float32 against the exported files on (samples of 5 s, language) windows."""
    transcriber = Transcriber(out_dir / WHISPER_DIR)
    head = onnxruntime.InferenceSession(
        str(out_dir / HEAD_DIR / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    cosines, errors, same, wrong = [], [], [], []
    for samples, language in windows:
        mel = torch.from_numpy(log_mel(samples))[None]
        with torch.inference_mode():
            encoding = model.encode(mel)
            logits = model.head(encoding)[0].numpy()
        exported = np.array(transcriber.encode(samples))
        flat, other = encoding.numpy().ravel(), exported.ravel()
        cosines.append(float(flat @ other / (np.linalg.norm(flat) * np.linalg.norm(other))))
        found = head.run(["logits"], {"encoding": exported})[0][0]
        errors.append(float(np.abs(found - logits).max()))
        same.append(int(found.argmax()) == int(logits.argmax()))
        written = greedy(model, vocabulary, encoding, language)
        exported_text = to_jamo(transcriber.hear(samples, language).text)
        strayed = edit_distance(to_jamo(written), exported_text)
        # A runaway repetition in one window counts as one window wrong.
        wrong.append(min(strayed / max(len(to_jamo(written)), 1), 1.0))
    return Parity(
        windows=len(windows),
        encoding_cosine_min=min(cosines),
        logit_error_mean=float(np.mean(errors)),
        same_category=float(np.mean(same)),
        letter_errors=float(np.mean(wrong)),
    )


def refuse_strayed(parity: Parity, tolerance: Tolerance | None = None) -> None:
    """Raise ExportError when the export differs more than tolerated."""
    allowed = tolerance or Tolerance()
    if (
        parity.encoding_cosine_min < allowed.encoding_cosine
        or parity.logit_error_mean > allowed.logit_error
        or parity.same_category < allowed.same_category
        or parity.letter_errors > allowed.letter_errors
    ):
        message = f"the export strays from torch: {asdict(parity)}, allowed {allowed}"
        raise ExportError(message)


@torch.inference_mode()
def greedy(
    model: JointModel,
    vocabulary: Vocabulary,
    encoding: torch.Tensor,
    language: str,
    most: int = 100,
) -> str:
    """The text that torch writes for one encoding (1, t, d_model), most likely token by token."""
    ids = vocabulary.prompt(language)
    begun = len(ids)
    end, first_timestamp = vocabulary.symbol(tokens.END), vocabulary.size - tokens.TIMESTAMPS
    while len(ids) < most:
        logits, _ = model.decode(encoding, torch.tensor([ids]))
        # With <|notimestamps|> in the prompt no decoder writes a timestamp.
        chosen = int(logits[0, -1, :first_timestamp].argmax())
        if chosen == end:
            break
        ids.append(chosen)
    return vocabulary.text(ids[begun:])


def _windows(
    corpus: SpeechCorpus, clips: Sequence[Clip], audio: AudioCache | None, count: int
) -> list[tuple[Float32, str]]:
    size = round(WINDOW_S * SAMPLE_RATE)
    held = [u for u in corpus.utterances if u.split == "val"][:count]
    windows = [(pad(corpus.samples(u), size), str(u.language)) for u in held]
    if audio is not None:
        chosen = clips[:: max(1, len(clips) // count)]
        windows += [(pad(audio.samples(c), size), c.language or "ko") for c in chosen]
    return windows


def _export_head(model: JointModel, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model.head,
        (torch.zeros(1, 250, model.whisper.config.d_model),),
        str(path),
        input_names=["encoding"],
        output_names=["logits"],
        dynamic_axes={"encoding": {1: "frames"}},
        opset_version=17,
        dynamo=False,
    )
    store_int8(path)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
