"""The one log-mel of the project: Whisper's, in numpy alone.

Training and the daemon both call it, so that a model never meets a mel it was not trained on.
Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022),
section 2.2: 16 kHz, 25 ms Hann windows, 10 ms hop, 80 mel bands; the scaling as in its code.
The bands are Slaney's (Auditory Toolbox, 1998), area-normalised.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz
N_FFT = 400  # samples: 25 ms
HOP_LENGTH = 160  # samples: 10 ms
N_MELS = 80
FRAMES_PER_SECOND = SAMPLE_RATE // HOP_LENGTH
DYNAMIC_RANGE = 8.0  # decades kept under the loudest cell of a window
FLOOR = 1e-10  # power of digital silence

Float32 = NDArray[np.float32]


def log_mel(samples: Float32, n_mels: int = N_MELS) -> Float32:
    """Log-mel spectrogram as Whisper takes it.

    Takes mono float32 samples at 16 kHz, shape (n,), n > 200. Gives float32 (n_mels, n // 160).
    """
    return scale(log_power(samples, n_mels))


def log_power(samples: Float32, n_mels: int = N_MELS) -> Float32:
    """log10 of the mel power of every frame, before any scaling that depends on the window.

    Frame k is centred on sample 160 k; the edges are reflected. Shapes as in `log_mel`.
    """
    powers = np.empty((n_mels, len(samples) // HOP_LENGTH), dtype=np.float32)
    _fill(powers, samples, 0, powers.shape[1])
    return powers


class RollingLogMel:
    """`log_mel` of one stream's overlapping windows: no frame is computed twice.

    Only frames that reach over a window's edge, hence hold reflected sound, are made for each. For
    one thread.
    """

    def __init__(self) -> None:
        self._samples = np.zeros(0, dtype=np.float32)
        self._powers = np.zeros((N_MELS, 0), dtype=np.float32)

    def log_mel(self, samples: Float32, advance: int) -> Float32:
        """As `mel.log_mel`, within float32's rounding.

        `advance`: how many samples after the last window's this window's first one lies. Whether
        the sound in between is the same is looked at, so a wrong `advance` costs time only.
        """
        powers = np.empty((N_MELS, len(samples) // HOP_LENGTH), dtype=np.float32)
        first = stop = _FIRST_WHOLE
        if self._goes_on(samples, advance):
            moved = advance // HOP_LENGTH
            stop = max(first, _end_of_whole(len(samples)) - moved)
            powers[:, first:stop] = self._powers[:, first + moved : stop + moved]
        _fill(powers, samples, 0, min(first, powers.shape[1]))
        _fill(powers, samples, stop, powers.shape[1])
        self._samples, self._powers = samples, powers
        return scale(powers)

    def _goes_on(self, samples: Float32, advance: int) -> bool:
        return (
            len(samples) == len(self._samples)
            and advance % HOP_LENGTH == 0
            and 0 < advance < len(samples)
            and np.array_equal(self._samples[advance:], samples[: len(samples) - advance])
        )


def scale(log_bands: Float32) -> Float32:
    """Clip `log_power` 8 decades under the window's peak and bring it to about -1..1."""
    floor = np.float32(log_bands.max()) - np.float32(DYNAMIC_RANGE)
    scaled: Float32 = (np.maximum(log_bands, floor) + np.float32(4.0)) / np.float32(4.0)
    return scaled


@cache
def mel_filterbank(n_mels: int = N_MELS) -> Float32:
    """Triangular Slaney filters, area-normalised, 0 to 8 kHz; shape (n_mels, 201), read-only."""
    fft_hz = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    edges_hz = band_edges_hz(n_mels)
    rising = (fft_hz - edges_hz[:-2, None]) / np.diff(edges_hz)[:-1, None]
    falling = (edges_hz[2:, None] - fft_hz) / np.diff(edges_hz)[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    bank = (triangles * (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]).astype(np.float32)
    bank.flags.writeable = False
    return bank


def band_edges_hz(n_mels: int = N_MELS) -> NDArray[np.float64]:
    """The n_mels + 2 edges of the bands in Hz; band b spans edges b to b + 2, centred on b + 1."""
    return _mel_to_hz(np.linspace(0.0, _hz_to_mel(SAMPLE_RATE / 2), n_mels + 2))


# Slaney's scale: linear to 1 kHz (15 mel), logarithmic above it.
_HZ_PER_MEL = 200.0 / 3.0
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _HZ_PER_MEL
    return float(_KNEE_MEL + np.log(hz / _KNEE_HZ) / _LOG_STEP)


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = _KNEE_HZ * np.exp(_LOG_STEP * (mel - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * _HZ_PER_MEL, logarithmic)


@cache
def _hann() -> Float32:
    # Periodic, as torch.hann_window: np.hanning is symmetric, hence one longer and cut.
    window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
    window.flags.writeable = False
    return window


# The first frame that holds no reflected sound.
_FIRST_WHOLE = -(-N_FFT // 2 // HOP_LENGTH)
# Frames computed at once: temporaries that stay in the cache and in the allocator's hands. Arrays
# of a whole window would go back to the system and be faulted in anew each time.
_BLOCK = 50


def _end_of_whole(n_samples: int) -> int:
    """The first frame that reaches over the end of so many samples."""
    return max(0, (n_samples - N_FFT // 2) // HOP_LENGTH + 1)


def _fill(powers: Float32, samples: Float32, first: int, stop: int) -> None:
    """Compute the log powers (n_mels, n_frames) of frames `first` to `stop` of all of `samples`."""
    n_mels, n_bins = len(powers), N_FFT // 2 + 1
    frames = _frames(samples)
    bank, window = mel_filterbank(n_mels), _hann()
    windowed = np.empty((_BLOCK, N_FFT), dtype=np.float32)
    spectrum = np.empty((_BLOCK, n_bins), dtype=np.complex64)
    energy, imaginary = np.empty((2, _BLOCK, n_bins), dtype=np.float32)
    for begin in range(first, stop, _BLOCK):
        end = min(begin + _BLOCK, stop)
        n = end - begin
        np.multiply(frames[begin:end], window, out=windowed[:n])
        # numpy's own types know double precision only.
        np.fft.rfft(windowed[:n], axis=1, out=spectrum[:n])  # type: ignore[arg-type]
        np.square(spectrum.real[:n], out=energy[:n])
        np.square(spectrum.imag[:n], out=imaginary[:n])
        energy[:n] += imaginary[:n]
        np.matmul(bank, energy[:n].T, out=powers[:, begin:end])
    done = powers[:, first:stop]
    np.maximum(done, np.float32(FLOOR), out=done)
    np.log10(done, out=done)


def _frames(samples: Float32) -> Float32:
    """Overlapping frames (n_frames, 400), a view; the edges are reflected."""
    padded = np.pad(np.asarray(samples, dtype=np.float32), N_FFT // 2, mode="reflect")
    frames: Float32 = sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    return frames
