"""Speech in a room: webrtcvad proposes, Silero confirms.

webrtcvad costs next to nothing but takes rain for speech; Silero does not, but costs ten times
more, so it runs only where webrtcvad proposes. Source of the second: Silero Team, "Silero VAD",
the ONNX of version 6 as faster-whisper ships it (16 kHz, frames of 512 samples behind 64 of
context, a recurrent state).
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from homeguard import runtime
from homeguard.domain import AudioChunk, Float32, ModelError

if TYPE_CHECKING:
    import onnxruntime
    import webrtcvad

SAMPLE_RATE = 16_000  # Hz
PROPOSAL_FRAME = 480  # samples: 30 ms, the longest that webrtcvad takes
FRAME = 512  # samples: 32 ms, what Silero takes
CONTEXT = 64  # samples of the frame before
STATE = (1, 1, 128)
PRIMING_CHUNKS = 3  # heard again when Silero starts, so that it knows the room
LINGER_CHUNKS = 5  # Silero goes on for so long without a proposal
_PROPOSAL_BYTES = 2 * PROPOSAL_FRAME
_ONE, _FULL_SCALE = np.float32(1.0), np.float32(32_767)
RELEASE = 0.15  # a stretch ends this far below the probability that begins it (Silero's own rule)


class SpeechDetector:
    """Says of one room's chunks, in order, whether they hold speech."""

    def __init__(self, vad_mode: int, probability: float) -> None:
        self._vad_mode = vad_mode
        self._onset = probability
        self._release = max(0.01, probability - RELEASE)
        self._proposer: webrtcvad.Vad | None = None
        self._silero: Silero | None = None
        self._rest = b""
        self._recent: deque[Float32] = deque(maxlen=PRIMING_CHUNKS)
        self._linger = 0
        self._speaking = False

    def hear(self, chunk: AudioChunk) -> bool:
        """Whether the chunk holds confirmed speech. Raises ModelError if Silero is not there."""
        if self._proposes(chunk.samples):
            starting = self._linger == 0
            self._linger = LINGER_CHUNKS
        elif self._linger:
            starting = False
            self._linger -= 1
        else:
            self.skip(chunk)
            return False
        silero = self._confirmer()
        if starting:
            silero.reset()
            for samples in self._recent:
                silero.probabilities(samples)
        self._recent.append(chunk.samples)
        heard = False
        for probability in silero.probabilities(chunk.samples):
            self._speaking = probability >= (self._release if self._speaking else self._onset)
            heard |= self._speaking
        return heard

    def skip(self, chunk: AudioChunk) -> None:
        """Note a chunk that is too quiet to be worth asking about."""
        self._recent.append(chunk.samples)
        self._linger = 0
        self._speaking = False

    def _proposes(self, samples: Float32) -> bool:
        if self._proposer is None:
            import webrtcvad  # noqa: PLC0415 - a file source may never need it

            self._proposer = webrtcvad.Vad(self._vad_mode)
        scaled = np.maximum(np.minimum(samples, _ONE), -_ONE) * _FULL_SCALE
        pcm = self._rest + scaled.astype(np.int16).tobytes()
        whole = len(pcm) - len(pcm) % _PROPOSAL_BYTES
        self._rest = pcm[whole:]
        # Every frame must be seen: webrtcvad follows the noise from frame to frame.
        heard = [
            self._proposer.is_speech(pcm[first : first + _PROPOSAL_BYTES], SAMPLE_RATE)
            for first in range(0, whole, _PROPOSAL_BYTES)
        ]
        return any(heard)

    def _confirmer(self) -> Silero:
        if self._silero is None:
            self._silero = Silero()
        return self._silero


class Silero:
    """Silero VAD with its state, for one stream."""

    def __init__(self) -> None:
        self._session = _session()
        self.reset()

    def reset(self) -> None:
        """Forget what was heard."""
        self._h = np.zeros(STATE, dtype=np.float32)
        self._c = np.zeros(STATE, dtype=np.float32)
        self._context = np.zeros(CONTEXT, dtype=np.float32)

    def probabilities(self, samples: Float32) -> Float32:
        """Speech probability of each frame of 512 samples; the last frame is padded."""
        padded = np.pad(samples, (0, -len(samples) % FRAME))
        sound = np.concatenate([self._context, padded])
        frames = np.lib.stride_tricks.sliding_window_view(sound, FRAME + CONTEXT)[::FRAME]
        inputs = {"input": np.ascontiguousarray(frames), "h": self._h, "c": self._c}
        probabilities, self._h, self._c = self._session.run(None, inputs)
        self._context = sound[-CONTEXT:]
        heard: Float32 = np.asarray(probabilities, dtype=np.float32).reshape(-1)
        return heard


_shared: list[onnxruntime.InferenceSession] = []


def _session() -> onnxruntime.InferenceSession:
    """One session for all rooms: the model keeps no state of its own."""
    if not _shared:
        path = silero_path()
        if not path.is_file():
            message = f"{path} is missing: install faster-whisper anew (./run does)"
            raise ModelError(message)
        _shared.append(runtime.ort_session(path))
    return _shared[0]


def silero_path() -> Path:
    """Where faster-whisper keeps the model, found without importing it."""
    from importlib.util import find_spec  # noqa: PLC0415 - loaded only where it is needed

    spec = find_spec("faster_whisper")
    if spec is None or spec.origin is None:
        message = "the package faster-whisper is missing: run ./run or pip install -e ."
        raise ModelError(message)
    return Path(spec.origin).parent / "assets" / "silero_vad_v6.onnx"
