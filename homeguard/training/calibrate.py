"""From a voter's logits to a probability that means what it says, and a threshold for it.

Fitted on val alone, on clips as they are and on the same clips in a home (noise at -5 to 25 dB,
rooms, levels). P(emergency) = sigmoid(scale * margin + bias), where the margin is the logsumexp of
the emergency logits minus that of the normal ones (Platt 1999); the category's posterior is
softmax(logits / temperature) (Guo et al. 2017).

The threshold gives a stated false-alarm rate on the normal val windows. It need not be extreme:
without speech both sound voters must agree, and smoothing asks for k of n windows.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from homeguard.mel import Float32
from homeguard.training.augment import simulate_rooms
from homeguard.training.corpus import (
    USABLE_LICENCES,
    file_name,
    open_audio,
    read_manifest,
    select,
    summary,
)
from homeguard.training.metrics import (
    Floats,
    auc,
    emergency_margin,
    expected_calibration_error,
    is_emergency,
    threshold_at,
)
from homeguard.training.pool import PoolOptions, Windows, held_out_windows
from homeguard.training.sound_models import SoundModel

OPERATING_POINTS: tuple[float, ...] = (0.10, 0.05, 0.03, 0.02, 0.01)


@dataclass(frozen=True, slots=True)
class CalibrateOptions:
    """One calibration; `out` is the JSON that is written."""

    manifest: Path
    cache: Path
    out: Path
    false_alarm_rate: float = 0.03  # of one voter alone, on normal val windows
    mixed: int = 3  # windows in a home for each clip as it is
    seed: int = 5
    pool: PoolOptions = field(default_factory=PoolOptions)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold costs and catches on val; recalls are over windows."""

    false_alarm_rate: float
    threshold: float
    recall_clean: float
    recall_mixed: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Constants of a voter and how well they fit."""

    scale: float
    bias: float
    temperature: float
    threshold: float
    ece_before: float  # of sigmoid(margin)
    ece_after: float
    val_auc_clean: float
    val_auc_mixed: float
    points: tuple[OperatingPoint, ...]


def calibrate(model: SoundModel, options: CalibrateOptions) -> Calibration:
    """Fit on val windows and write the constants with the options beside them."""
    clips = read_manifest(options.manifest, USABLE_LICENCES)
    val = select(clips, "val", ("high", "medium"))
    rooms = simulate_rooms(options.cache)
    audio = open_audio(clips, options.cache)
    windows = held_out_windows(options.pool, val, audio, rooms, options.mixed, options.seed)
    logits = np.stack([model.logits(mel.astype(np.float32)) for mel in windows.mels])
    fitted = fit(logits, windows, options.false_alarm_rate)
    record = {"calibration": asdict(fitted), "options": asdict(options), "data": summary(val)}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(record, indent=1, default=file_name, ensure_ascii=False)
    options.out.write_text(text + "\n", encoding="utf-8")
    return fitted


def fit(logits: Float32, windows: Windows, false_alarm_rate: float) -> Calibration:
    """The constants for logits (n, 19) of held-out windows."""
    positive, margin = is_emergency(windows.labels), emergency_margin(logits)
    scale, bias = _platt(margin, positive)
    probability = _sigmoid(scale * margin + bias)
    clean, mixed = ~windows.mixed, windows.mixed
    points = tuple(
        _point(probability, positive, windows.mixed, rate)
        for rate in sorted({*OPERATING_POINTS, false_alarm_rate}, reverse=True)
    )
    return Calibration(
        scale=scale,
        bias=bias,
        temperature=_temperature(logits, windows.labels),
        threshold=next(p.threshold for p in points if p.false_alarm_rate == false_alarm_rate),
        ece_before=expected_calibration_error(_sigmoid(margin), positive),
        ece_after=expected_calibration_error(probability, positive),
        val_auc_clean=auc(margin[clean], positive[clean]),
        val_auc_mixed=auc(margin[mixed], positive[mixed]),
        points=points,
    )


def _point(
    probability: Floats, positive: NDArray[np.bool_], mixed: NDArray[np.bool_], rate: float
) -> OperatingPoint:
    threshold = threshold_at(probability, positive, rate)
    told = probability > threshold
    return OperatingPoint(
        rate,
        threshold,
        float(told[positive & ~mixed].mean()),
        float(told[positive & mixed].mean()),
    )


def _platt(margin: Floats, positive: NDArray[np.bool_]) -> tuple[float, float]:
    target = positive.astype(np.float64)

    def loss(constants: Floats) -> float:
        z = constants[0] * margin + constants[1]
        return float((np.logaddexp(0.0, z) - target * z).mean() + 1e-4 * constants[0] ** 2)

    found = minimize(loss, np.array([1.0, 0.0]), method="BFGS")
    return float(found.x[0]), float(found.x[1])


def _temperature(logits: Float32, labels: NDArray[np.int64]) -> float:
    wide, rows = np.asarray(logits, dtype=np.float64), np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = wide / np.exp(log_temperature)
        top = scaled.max(axis=1)
        total = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float((total - scaled[rows, labels]).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.1), np.log(10.0)), method="bounded")
    return float(np.exp(found.x))


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-values)), dtype=np.float64)
