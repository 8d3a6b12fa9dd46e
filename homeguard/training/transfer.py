"""YAMNet's weights as the start of our CNN (transfer learning, as S3 and S4 do it).

YAMNet (Google, Apache-2.0) is a MobileNet v1 (Howard et al. 2017) trained on AudioSet, two million
clips: no home's recordings come near that. Its file holds int8 weights with batch norm folded in;
they are brought back to float32 here. It hears 64 bands of magnitudes, we have Whisper's 80 bands
of power: the front layer in between is fitted so that its output is YAMNet's own log-mel.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from homeguard.mel import Float32, log_mel
from homeguard.training.networks import MobileCnn
from homeguard.training.teacher import FRAME_SAMPLES, TeacherError, interpreter

_LAYERS = 14
_FIT_STEPS = 400
_KERNEL = 4  # dimensions of a convolution's weights


def start_from_yamnet(net: MobileCnn, yamnet: Path, sounds: Iterable[Float32]) -> float:
    """Give `net` YAMNet's convolutions and a front fitted on `sounds` (mono, 16 kHz).

    Gives the front's mean absolute error, in natural-log units of YAMNet's mel. Raises TeacherError
    for a file that is not YAMNet.
    """
    weights = _tensors(yamnet)
    with torch.no_grad():
        for index in range(_LAYERS):
            block, layer = net.convolutions[index], f"layer{index + 1}/"
            if index == 0:
                _copy(block[0], weights, layer + "conv/Conv2D", layer + "conv/bn")
                continue
            # Of a depthwise layer both tensors have the batch norm's name; shapes tell them apart.
            _copy(block[0], weights, layer + "depthwise_conv/bn", layer + "depthwise_conv/bn")
            _copy(block[1], weights, layer + "pointwise_conv/Conv2D", layer + "pointwise_conv/bn")
    return _fit_front(net, yamnet, sounds)


def _copy(conv: nn.Conv2d, weights: list[tuple[str, Float32]], kernel: str, bias: str) -> None:
    found = [
        v
        for n, v in weights
        if f"/{kernel}" in n and v.ndim == _KERNEL and v.shape[0] in _rows(conv)
    ]
    # (out, time, bands, in) or, depthwise, (1, time, bands, channels); ours has bands before time.
    value = found[0]
    order = (3, 0, 2, 1) if conv.groups > 1 else (0, 3, 2, 1)
    conv.weight.copy_(torch.from_numpy(value.transpose(order).copy()))
    offsets = [v for n, v in weights if f"/{bias}" in n and v.shape == (conv.out_channels,)]
    if conv.bias is None or not offsets:
        raise TeacherError(f"no bias for {kernel}: is this yamnet.tflite?")
    conv.bias.copy_(torch.from_numpy(offsets[0]))


def _rows(conv: nn.Conv2d) -> tuple[int, ...]:
    return (1,) if conv.groups > 1 else (conv.out_channels,)


def _tensors(yamnet: Path) -> list[tuple[str, Float32]]:
    """Names and float32 values of the file's constant tensors."""
    running = interpreter(yamnet)
    found: list[tuple[str, Float32]] = []
    for detail in running.get_tensor_details():
        if not detail["name"].startswith("yamnet_frames/layer"):
            continue
        try:
            value = np.asarray(running.get_tensor(detail["index"]))
        except ValueError:
            continue  # an activation: nothing was computed yet
        found.append((f"/{detail['name'].split('yamnet_frames/', 1)[1]}", _float(value, detail)))
    if not found:
        raise TeacherError(f"{yamnet} is not YAMNet: it has no layers of that name")
    return found


def _float(value: NDArray[np.generic], detail: dict[str, object]) -> Float32:
    quantised = detail["quantization_parameters"]
    scales = np.asarray(quantised["scales"], dtype=np.float32)  # type: ignore[index]
    plain = value.astype(np.float32)
    if value.dtype != np.int8 or not len(scales):
        return plain
    if len(scales) == 1:
        return plain * scales[0]
    shape = [1] * plain.ndim
    shape[int(quantised["quantized_dimension"])] = len(scales)  # type: ignore[index]
    return plain * scales.reshape(shape)


def _fit_front(net: MobileCnn, yamnet: Path, sounds: Iterable[Float32]) -> float:
    running = interpreter(yamnet)
    entry = running.get_input_details()[0]["index"]
    heard = next(
        d["index"]
        for d in running.get_tensor_details()
        if d["name"].startswith("yamnet_frames/reshape/Reshape;")
    )
    ours, theirs = [], []
    for sound in sounds:
        frame = np.zeros(FRAME_SAMPLES, dtype=np.float32)
        frame[: min(len(sound), FRAME_SAMPLES)] = sound[:FRAME_SAMPLES]
        running.set_tensor(entry, frame)
        running.invoke()
        mel = np.asarray(running.get_tensor(heard))[0, :, :, 0].T
        # Our frame k + 1, centred, lies 40 samples before YAMNet's frame k.
        theirs.append(mel.copy())
        ours.append(log_mel(frame)[:, 1 : 1 + mel.shape[1]])
    given = torch.from_numpy(
        np.stack([m[:, : t.shape[1]] for m, t in zip(ours, theirs, strict=True)])
    )
    wanted = torch.from_numpy(
        np.stack([t[:, : o.shape[1]] for t, o in zip(theirs, ours, strict=True)])
    )
    optimizer = torch.optim.Adam(net.front.parameters(), lr=0.02)
    for _ in range(_FIT_STEPS):
        optimizer.zero_grad()
        error = nn.functional.smooth_l1_loss(net.front(given[:, None])[:, 0], wanted)
        error.backward()
        optimizer.step()
    with torch.no_grad():
        return float((net.front(given[:, None])[:, 0] - wanted).abs().mean())
