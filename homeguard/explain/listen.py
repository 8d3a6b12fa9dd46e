"""What the CNN heard, made audible: two ways from a heat map back to sound.

`by_spectrum`: the map, taken back from mel bands to STFT bins, becomes a soft mask over the STFT.
Source: ETRI, "listenable heatmaps". `by_time`: the heat summed over frequency becomes a gain over
time. Source: Chosun University, thesis on speech emotion (2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from homeguard.domain import Float32
from homeguard.mel import HOP_LENGTH, N_FFT, SAMPLE_RATE, mel_filterbank

THRESHOLD_PERCENTILE = 75.0  # theta of the soft mask
LEAST_THRESHOLD = 0.05  # of the map's peak
SHARPNESS = 2.0  # delta: the mask opens within about 10 ** -delta of the map's range
SMOOTH_S = 0.1  # box filter over the gain


@dataclass(frozen=True, slots=True, eq=False)
class Audible:
    """The sound that a map keeps."""

    way: str
    samples: Float32  # as long as the original
    kept: float  # share of the original's energy, 0..1
    dropped: float  # energy of the difference to the original, as a share of the original's


def by_spectrum(samples: Float32, warm: Float32) -> Audible:
    """Keep the STFT cells over which the map is hottest.

    Takes the window's samples (n,) and a map scaled to 0..1, (80, frames).
    """
    mask = soft_mask(unmel(warm))
    return _audible("spectrum", samples, masked(samples, mask))


def by_time(samples: Float32, warm: Float32) -> Audible:
    """Turn the sound up and down with the heat of its moments."""
    heat = warm.sum(axis=0)
    at = np.arange(len(samples)) / HOP_LENGTH
    gain = np.interp(at, np.arange(len(heat)), heat)
    width = round(SMOOTH_S * SAMPLE_RATE)
    gain = np.convolve(gain, np.full(width, 1.0 / width), mode="same")
    peak = float(gain.max(initial=0.0))
    gain = gain / peak if peak > 0.0 else gain
    return _audible("time", samples, (samples * gain).astype(np.float32))


def soft_mask(heat: Float32) -> Float32:
    """1 / (1 + exp(-10^delta (M - theta))), theta the 75th percentile of the map.

    Theta is kept off zero: of a map that is cold in more than three quarters (a ReLU's often is)
    the formula alone would let half of the cold cells' amplitude through.
    """
    theta = max(float(np.percentile(heat, THRESHOLD_PERCENTILE)), LEAST_THRESHOLD)
    steep = np.clip(10.0**SHARPNESS * (heat - theta), -60.0, 60.0)
    return (1.0 / (1.0 + np.exp(-steep))).astype(np.float32)


def unmel(heat: Float32) -> Float32:
    """A map over mel bands (80, frames) as one over STFT bins (201, frames).

    A bin's heat is the mean of the bands that hear it, weighted by how well they do; the bins
    at the edges, which no band hears, have their neighbour's.
    """
    bank = mel_filterbank(heat.shape[0]).T.astype(np.float64)
    reach = bank.sum(axis=1)
    heard = np.flatnonzero(reach)
    weights = bank[heard] / reach[heard, None]
    nearest = np.clip(np.arange(len(bank)), heard[0], heard[-1])
    return (weights @ heat)[np.searchsorted(heard, nearest)].astype(np.float32)


def masked(samples: Float32, mask: Float32) -> Float32:
    """Samples with their STFT multiplied by a mask (201, frames), magnitude and phase together.

    The STFT has the mel's frames: 25 ms Hann windows every 10 ms, frame k centred on sample 160 k.
    A mask of ones gives the samples back.
    """
    transform = _transform()
    spectrum = transform.stft(samples)
    frames = np.arange(spectrum.shape[1]) + transform.p_min
    spread = mask[:, np.clip(frames, 0, mask.shape[1] - 1)]
    sound = transform.istft(spectrum * spread, k1=len(samples))
    return np.asarray(sound.real, dtype=np.float32)


def _audible(way: str, samples: Float32, sound: Float32) -> Audible:
    total = max(float(np.square(samples, dtype=np.float64).sum()), 1e-12)
    kept = float(np.square(sound, dtype=np.float64).sum()) / total
    dropped = float(np.square(samples - sound, dtype=np.float64).sum()) / total
    return Audible(way, sound, kept, dropped)


@cache
def _transform() -> ShortTimeFFT:
    return ShortTimeFFT(hann(N_FFT, sym=False), HOP_LENGTH, SAMPLE_RATE, fft_mode="onesided")
