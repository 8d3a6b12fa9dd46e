"""How native libraries are started: one thread, no telemetry, no network. Import it before them.

Every module that imports onnxruntime, ctranslate2 or faster_whisper imports this one first: the
variables below count only when they are set before the libraries load.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import onnxruntime

ENVIRONMENT = {
    # BLAS and OpenMP threads double the CPU time of the flow without making it faster.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # From 1.29 on onnxruntime reports home unless told so before its first import.
    "ORT_DISABLE_TELEMETRY": "1",
    # Models come from the manifest; nothing is looked up at run time.
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}

for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

_ARENA_MAX = -8  # glibc's M_ARENA_MAX


def _one_heap() -> None:
    """Have all threads share one heap; without effect outside glibc.

    Else glibc keeps what each thread of the native libraries ever needed at once.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


_one_heap()


def ort_session(path: Path | str, threads: int = 1) -> onnxruntime.InferenceSession:
    """An ONNX model on the CPU that uses `threads` threads and sleeps between runs.

    Raises ModelError for a missing or broken file.
    """
    import onnxruntime  # noqa: PLC0415 - half a second and 45 MiB that not every command needs

    from homeguard.domain import ModelError  # noqa: PLC0415 - NumPy, which is to be set up first

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # it would keep what one run ever took, 12 MiB for the CNN
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Weights lie in eight bits on disk: made float32 once, at load, not at every run.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime has no common base class
        message = f"{path} is no ONNX model that can be run: {exc}"
        raise ModelError(message) from exc


def release_memory() -> None:
    """Give back what loading needed and nothing holds any more; without effect outside glibc."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    trim(0)


def leave() -> None:
    """The last call of a process whose work is done: ends it with 0 if threads are still at work.

    A thread that comes back from a native library while the interpreter ends is unwound through
    that library's C++, and the process aborts. So where one is left nothing more is unwound.
    """
    here = threading.current_thread()
    if all(thread is here for thread in threading.enumerate()):
        return
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
