"""Windows as a microphone in a home would hear them, made on the fly from clips.

One call of `Augmenter.window` places an event somewhere in a window (it may begin before it or end
after it), gives it a room, puts it over ordinary sound, changes colour and level, and adds the
microphone's own noise. All random draws come from the generator that is passed in.

The audibility rule: a window made from an event always lets it be heard. Of the event's active
frames (25 ms, within 30 dB of its loudest) at least 0.3 s, or two thirds where it is shorter, lie
in the window, and their mean power is no more than 6 dB under that of the background in the same
frames. A placement that breaks the rule is drawn again, at last with the event alone; so the
event's label may always be kept.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy import fft
from scipy.signal import oaconvolve

from homeguard.mel import DYNAMIC_RANGE, FLOOR, SAMPLE_RATE, Float32

_FRAME = 400  # samples: 25 ms
_ACTIVE_DB = 30.0
_HEARD_S = 0.3
_HEARD_SHARE = 2.0 / 3.0
_MIN_LOCAL_SNR_DB = -6.0
_DRAWS = 4
_TINY = 1e-12

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class AugmentOptions:
    """How windows are varied; probabilities 0..1, ranges are drawn from evenly."""

    window_s: float = 5.0
    clean: float = 0.2  # as a recording is analysed: from its start, zeros after its end
    background: float = 0.65
    snr_db: Range = (-5.0, 25.0)
    room: float = 0.45
    colour: float = 0.5
    colour_db: float = 9.0  # largest boost or cut
    low_pass: float = 0.3
    low_pass_hz: Range = (2_500.0, 7_500.0)
    high_pass_hz: Range = (20.0, 250.0)
    peak_dbfs: Range = (-40.0, 0.0)
    overdrive: float = 0.05
    overdrive_db: Range = (1.0, 10.0)
    microphone_noise: float = 0.8
    noise_dbfs: Range = (-85.0, -50.0)

    @property
    def window_samples(self) -> int:
        """Samples in a window."""
        return round(self.window_s * SAMPLE_RATE)


# What a pipeline sees of a recording: no change but the padding.
UNTOUCHED = AugmentOptions(clean=1.0)


class Augmenter:
    """Makes windows; holds the options and the rooms, and no state between calls."""

    def __init__(self, options: AugmentOptions, rooms: Sequence[Float32] = ()) -> None:
        """`rooms`: impulse responses as `simulate_rooms` gives them; without any, no room."""
        self.options = options
        self._rooms = tuple(rooms)

    def window(
        self,
        event: Float32,
        background: Float32 | None,
        rng: np.random.Generator,
        *,
        keep_whole: bool = False,
    ) -> Float32:
        """A window (window_samples,) in which `event` (n,) can be heard, see the audibility rule.

        `keep_whole` keeps all of an event that fits (for speech whose text is the label);
        otherwise it may be cut at either end. float32 in -1..1.
        """
        chosen = self.options
        size = chosen.window_samples
        if rng.random() < chosen.clean:
            return pad(_crop(event, size, rng), size)
        dry = self._in_room(event, rng)
        bed = None
        if background is not None and rng.random() < chosen.background:
            bed = lay(self._in_room(background, rng), size, rng)
        mixed = self._mix(dry, bed, rng, keep_whole=keep_whole)
        return self._as_heard(mixed, rng)

    def ambience(self, background: Float32, rng: np.random.Generator) -> Float32:
        """A window of ordinary sound alone, treated as `window` treats its mixtures."""
        bed = lay(self._in_room(background, rng), self.options.window_samples, rng)
        return self._as_heard(bed, rng)

    def _mix(
        self, event: Float32, bed: Float32 | None, rng: np.random.Generator, *, keep_whole: bool
    ) -> Float32:
        size = self.options.window_samples
        active = active_frames(event)
        for _ in range(_DRAWS):
            offset = _offset(len(event), size, rng, keep_whole=keep_whole)
            placed, heard = _place(event, active, offset, size)
            if not _long_enough(active, heard):
                continue
            if bed is None:
                return placed
            scaled = _at_snr(placed, heard, bed, rng.uniform(*self.options.snr_db))
            if _local_snr_db(placed, heard, scaled) >= _MIN_LOCAL_SNR_DB:
                return placed + scaled
        return pad(_loudest(event, size), size)

    def _in_room(self, samples: Float32, rng: np.random.Generator) -> Float32:
        if not self._rooms or rng.random() >= self.options.room:
            return samples
        response = self._rooms[rng.integers(len(self._rooms))]
        return np.asarray(oaconvolve(samples, response), dtype=np.float32)

    def _as_heard(self, samples: Float32, rng: np.random.Generator) -> Float32:
        chosen = self.options
        heard = self._coloured(samples, rng)
        peak = float(np.abs(heard).max()) + _TINY
        if rng.random() < chosen.overdrive:
            level_db = rng.uniform(*chosen.overdrive_db)
        else:
            level_db = rng.uniform(*chosen.peak_dbfs)
        heard = heard * np.float32(_ratio(level_db) / peak)
        if rng.random() < chosen.microphone_noise:
            noise = coloured_noise(len(heard), rng.uniform(0.0, 2.0), rng)
            heard = heard + noise * np.float32(_ratio(rng.uniform(*chosen.noise_dbfs)))
        return np.clip(heard, -1.0, 1.0).astype(np.float32)

    def _coloured(self, samples: Float32, rng: np.random.Generator) -> Float32:
        chosen = self.options
        colour, narrow = rng.random() < chosen.colour, rng.random() < chosen.low_pass
        if not (colour or narrow):
            return samples
        hz = np.fft.rfftfreq(len(samples), 1.0 / SAMPLE_RATE).astype(np.float64)
        gain_db = np.zeros(len(hz))
        if colour:
            knots_hz = np.geomspace(50.0, SAMPLE_RATE / 2, 7)
            knots_db = rng.uniform(-chosen.colour_db, chosen.colour_db, size=len(knots_hz))
            gain_db += np.interp(np.log(hz + 1.0), np.log(knots_hz), knots_db)
        if narrow:
            gain_db -= _slope_db(hz, rng.uniform(*chosen.low_pass_hz), rng.uniform(12.0, 96.0))
            gain_db -= _slope_db(
                SAMPLE_RATE / (hz + 1.0),
                SAMPLE_RATE / rng.uniform(*chosen.high_pass_hz),
                rng.uniform(6.0, 24.0),
            )
        gains = (10.0 ** (gain_db / 20.0)).astype(np.float32)
        spectrum = fft.rfft(np.asarray(samples, dtype=np.float32)) * gains
        return np.asarray(fft.irfft(spectrum, n=len(samples)), dtype=np.float32)


def pad(samples: Float32, size: int) -> Float32:
    """The first `size` samples, zeros after their end: as a short recording is heard."""
    window = np.zeros(size, dtype=np.float32)
    window[: min(size, len(samples))] = samples[:size]
    return window


def lay(samples: Float32, size: int, rng: np.random.Generator) -> Float32:
    """Background over a whole window: a part of a long one, a short one repeated with gaps."""
    if len(samples) >= size:
        return _crop(samples, size, rng)
    gap = int(max(rng.uniform(-0.5, 0.5), 0.0) * len(samples))
    tile = np.concatenate([samples, np.zeros(gap, dtype=np.float32)])
    start = int(rng.integers(len(tile)))
    return np.resize(np.roll(tile, -start), size).astype(np.float32)


def active_frames(samples: Float32) -> NDArray[np.bool_]:
    """Which 25 ms frames lie within 30 dB of the loudest one, shape (ceil(n / 400),)."""
    count = -(-len(samples) // _FRAME)
    power = np.square(np.resize(pad(samples, count * _FRAME), (count, _FRAME))).mean(axis=1)
    loudest = float(power.max()) if count else 0.0
    return np.asarray(power > max(loudest * 10.0 ** (-_ACTIVE_DB / 10.0), _TINY))


def coloured_noise(size: int, exponent: float, rng: np.random.Generator) -> Float32:
    """Noise of RMS 1 whose power falls as 1 / f ** exponent (0 white, 1 pink, 2 brown); (size,)."""
    spectrum = fft.rfft(rng.standard_normal(size, dtype=np.float32))
    hz = np.maximum(np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE), 20.0)
    slope = (hz ** (-exponent / 2.0)).astype(np.float32)
    noise = fft.irfft(spectrum * slope, n=size)
    return np.asarray(noise / (np.sqrt(np.square(noise).mean()) + _TINY), dtype=np.float32)


def mask_mel(
    log_mel: Float32,
    rng: np.random.Generator,
    max_bands: int = 12,
    max_frames: int = 50,
    count: int = 2,
) -> Float32:
    """SpecAugment (Park et al. 2019, no warping): `count` bands and stretches set to the mean.

    Takes and gives (n_mels, n_frames); the input is left as it was.
    """
    masked = log_mel.copy()
    mean = masked.mean()
    n_bands, n_frames = masked.shape
    for _ in range(count):
        width = int(rng.integers(max_bands + 1))
        low = int(rng.integers(n_bands - width + 1))
        masked[low : low + width] = mean
        width = min(int(rng.integers(max_frames + 1)), n_frames)
        low = int(rng.integers(n_frames - width + 1))
        masked[:, low : low + width] = mean
    return masked


def mix_mels(events: Float32, backgrounds: Float32, snr_db: Float32) -> Float32:
    """Scaled log-mels (b, n_mels, t) added as powers, backgrounds `snr_db` (b,) under the events.

    The SNR is between the mean powers of the whole windows. Cheaper than mixing samples, equal to
    it but for phase; the result is scaled as `mel.scale` scales.
    """
    event, background = (10.0 ** (4.0 * mels - 4.0) for mels in (events, backgrounds))
    ratio = event.mean(axis=(1, 2)) / np.maximum(background.mean(axis=(1, 2)), FLOOR)
    gain = (ratio * 10.0 ** (-snr_db / 10.0)).astype(np.float32)
    mixed = np.log10(np.maximum(event + gain[:, None, None] * background, FLOOR))
    floor = mixed.max(axis=(1, 2), keepdims=True) - np.float32(DYNAMIC_RANGE)
    return np.asarray((np.maximum(mixed, floor) + 4.0) / 4.0, dtype=np.float32)


def simulate_rooms(cache_dir: Path, count: int = 300, seed: int = 7) -> tuple[Float32, ...]:
    """`count` impulse responses of rooms in homes, simulated once by pyroomacoustics and cached.

    Shoebox rooms by the image-source method (Allen & Berkley 1979), 2 to 8 m long, RT60 0.15 to
    0.7 s, source and microphone anywhere in them; the direct sound comes first with gain 1.
    """
    cached = cache_dir / f"rooms-{count}-{seed}.npz"
    if not cached.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        rooms = [
            _simulate_room(rng)
            for _ in track(
                range(count),
                description="simulating rooms",
                console=Console(stderr=True),
                disable=not sys.stderr.isatty(),
            )
        ]
        partial = cached.with_suffix(f".{os.getpid()}.partial.npz")
        np.savez(partial, *rooms)
        partial.replace(cached)
    with np.load(cached, allow_pickle=False) as archive:
        return tuple(archive[f"arr_{index}"] for index in range(count))


def _simulate_room(rng: np.random.Generator) -> Float32:
    import pyroomacoustics  # noqa: PLC0415  (the extra `train` only, and slow to load)

    size_m = rng.uniform((2.0, 1.8, 2.2), (8.0, 5.5, 3.0))
    shortest_s = 0.17 * float(np.prod(size_m)) / _surface_m2(size_m)
    rt60_s = max(float(rng.uniform(0.15, 0.7)), shortest_s)
    absorption, order = pyroomacoustics.inverse_sabine(rt60_s, size_m)
    room = pyroomacoustics.ShoeBox(
        size_m,
        fs=SAMPLE_RATE,
        materials=pyroomacoustics.Material(absorption),
        max_order=min(int(order), 14),
    )
    room.add_source(rng.uniform(0.1, 0.9, size=3) * size_m)
    room.add_microphone(rng.uniform(0.1, 0.9, size=3) * size_m)
    room.compute_rir()
    response = np.asarray(room.rir[0][0], dtype=np.float32)[: round(0.6 * SAMPLE_RATE)]
    direct = int(np.argmax(np.abs(response) > 0.3 * np.abs(response).max()))
    response = response[max(direct - 16, 0) :]
    return np.asarray(response / np.abs(response[:64]).max(), dtype=np.float32)


def _surface_m2(size_m: NDArray[np.float64]) -> float:
    length, width, height = (float(side) for side in size_m)
    return 2.0 * (length * width + length * height + width * height)


def _offset(length: int, size: int, rng: np.random.Generator, *, keep_whole: bool) -> int:
    # Negative: the event began before the window.
    if keep_whole and length <= size:
        return int(rng.integers(size - length + 1))
    if keep_whole:
        return 0
    return int(rng.integers(-length + 1, size))


def _place(
    event: Float32, active: NDArray[np.bool_], offset: int, size: int
) -> tuple[Float32, NDArray[np.bool_]]:
    placed = np.zeros(size, dtype=np.float32)
    heard = np.zeros(size, dtype=np.bool_)
    start, stop = max(offset, 0), min(offset + len(event), size)
    inside = slice(start - offset, stop - offset)
    placed[start:stop] = event[inside]
    heard[start:stop] = np.repeat(active, _FRAME)[: len(event)][inside]
    return placed, heard


def _long_enough(active: NDArray[np.bool_], heard: NDArray[np.bool_]) -> bool:
    needed = min(_HEARD_S * SAMPLE_RATE, _HEARD_SHARE * float(active.sum()) * _FRAME)
    return bool(heard.sum() >= max(needed, 1.0))


def _at_snr(
    event: Float32, heard: NDArray[np.bool_], background: Float32, snr_db: float
) -> Float32:
    # SNR: the event's power where it is active against the background's where that is active.
    loud = np.repeat(active_frames(background), _FRAME)[: len(background)]
    signal = float(np.square(event[heard]).mean())
    noise = float(np.square(background[loud]).mean()) if loud.any() else 0.0
    if noise <= _TINY:
        return background
    return background * np.float32(np.sqrt(signal / noise) / _ratio(snr_db))


def _local_snr_db(event: Float32, heard: NDArray[np.bool_], background: Float32) -> float:
    signal = float(np.square(event[heard]).mean())
    noise = float(np.square(background[heard]).mean())
    return 10.0 * float(np.log10((signal + _TINY) / (noise + _TINY)))


def _loudest(samples: Float32, size: int) -> Float32:
    if len(samples) <= size:
        return samples
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    start = int(np.argmax(energy[size:] - energy[:-size]))
    return samples[start : start + size]


def _crop(samples: Float32, size: int, rng: np.random.Generator) -> Float32:
    if len(samples) <= size:
        return samples
    start = int(rng.integers(len(samples) - size + 1))
    return samples[start : start + size]


def _slope_db(hz: NDArray[np.float64], knee_hz: float, db_per_octave: float) -> NDArray[np.float64]:
    return np.asarray(db_per_octave * np.maximum(np.log2(np.maximum(hz, 1.0) / knee_hz), 0.0))


def _ratio(db: float) -> float:
    return float(10.0 ** (db / 20.0))
