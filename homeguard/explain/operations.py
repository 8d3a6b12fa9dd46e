"""What ONNX operations do, in torch.

Each maker takes a node's attributes and the inputs that are constants (None for the others); it
gives the step and which of the inputs the step is called with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from captum.attr._utils.custom_modules import Addition_Module
from torch import Tensor, nn

from homeguard.domain import ModelError
from homeguard.explain.layers import Attention, Elementwise, Mean, Most, Padded, Transposed

Step = Callable[..., Any]
_Attributes = Mapping[str, Any]


def _conv(attributes: _Attributes, known: Sequence[Any]) -> tuple[Step, list[int]]:
    weight, bias = known[1], known[2] if len(known) > 2 else None  # noqa: PLR2004 - x, weight, bias
    kernel = list(weight.shape[2:])
    layer = nn.Conv2d(
        weight.shape[1] * attributes.get("group", 1),
        weight.shape[0],
        kernel,
        stride=tuple(attributes.get("strides", (1, 1))),
        dilation=tuple(attributes.get("dilations", (1, 1))),
        groups=attributes.get("group", 1),
        bias=bias is not None,
    )
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = bias
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if (top, left) == (bottom, right):
        layer.padding = (top, left)
        layer._reversed_padding_repeated_twice = [left, left, top, top]  # noqa: SLF001 - the constructor alone sets it
        return layer, [0]
    return Padded(layer, (left, right, top, bottom)), [0]


def _gemm(attributes: _Attributes, known: Sequence[Any]) -> tuple[Step, list[int]]:
    weight = known[1] if attributes.get("transB", 0) else known[1].T
    return _linear(weight, known[2] if len(known) > 2 else None), [0]  # noqa: PLR2004 - x, weight, bias


def _matmul(_: _Attributes, known: Sequence[Any]) -> tuple[Step, list[int]]:
    left, right = known
    if right is not None and right.dim() == 2:  # noqa: PLR2004 - a matrix
        return _linear(right.T, None), [0]
    if left is not None and left.dim() == 2:  # noqa: PLR2004 - a matrix
        # From the left: over the axis before the last, as a front of bands does.
        layer = _linear(left, None)
        return Transposed(layer), [1]
    return torch.matmul, [0, 1]


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.data = weight.contiguous()
    if bias is not None:
        layer.bias.data = bias.reshape(-1)
    return layer


def _axes(attributes: _Attributes, known: Sequence[Any]) -> list[int]:
    if "axes" in attributes:
        return list(attributes["axes"])
    return [int(axis) for axis in known[1].reshape(-1)]


def _mean(attributes: _Attributes, known: Sequence[Any]) -> tuple[Step, list[int]]:
    return Mean(_axes(attributes, known), keep=bool(attributes.get("keepdims", 1))), [0]


def _max(attributes: _Attributes, known: Sequence[Any]) -> tuple[Step, list[int]]:
    return Most(_axes(attributes, known), keep=bool(attributes.get("keepdims", 1))), [0]


def _both(do: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., tuple[Step, list[int]]]:
    """An arithmetic operation: with a constant a layer of its own, else in passing."""

    def make(_: _Attributes, known: Sequence[Any]) -> tuple[Step, list[int]]:
        left, right = known
        if left is not None:
            return Elementwise(lambda x: do(left, x)), [1]
        if right is not None:
            return Elementwise(lambda x: do(x, right)), [0]
        return (Addition_Module() if do is torch.add else do), [0, 1]

    return make


def _flat_pool(kind: type[nn.MaxPool2d | nn.AvgPool2d], attributes: _Attributes) -> nn.Module:
    """A pool over time alone."""
    if any(attributes.get("pads", ())):
        raise ModelError("a pool over time that pads cannot be explained")
    flat = nn.MaxPool1d if kind is nn.MaxPool2d else nn.AvgPool1d
    return flat(attributes["kernel_shape"][0], attributes.get("strides", (1,))[0])


def _pool(kind: type[nn.MaxPool2d | nn.AvgPool2d]) -> Callable[..., tuple[Step, list[int]]]:
    def make(attributes: _Attributes, _: Sequence[Any]) -> tuple[Step, list[int]]:
        if len(attributes["kernel_shape"]) == 1:
            return _flat_pool(kind, attributes), [0]
        top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
        if (top, left) != (bottom, right):
            message = "a pool that pads its sides differently cannot be explained"
            raise ModelError(message)
        layer = kind(
            tuple(attributes["kernel_shape"]),
            tuple(attributes.get("strides", (1, 1))),
            (top, left),
            ceil_mode=bool(attributes.get("ceil_mode", 0)),
        )
        return layer, [0]

    return make


def _gather(attributes: _Attributes, known: Sequence[Any]) -> tuple[Step, list[int]]:
    """One place of an axis, or some."""
    axis, index = attributes.get("axis", 0), known[1]
    if index.dim() == 0:
        return (lambda x: x.select(axis, int(index))), [0]
    return (lambda x: x.index_select(axis, index.reshape(-1))), [0]


def dequantised(attributes: _Attributes, known: Sequence[Any]) -> Tensor:
    """Weights kept in eight bits, as numbers again."""
    values, scale, *rest = known
    shape = [1] * values.dim()
    if scale.dim():
        shape[attributes.get("axis", 1)] = -1
    zero = rest[0] if rest and rest[0] is not None else torch.zeros_like(scale)
    return (values.float() - zero.float().reshape(shape)) * scale.reshape(shape)


def _pad(_: _Attributes, known: Sequence[Any]) -> tuple[Step, list[int]]:
    """Zeros around bands and frames."""
    before, after = known[1].tolist()[:4], known[1].tolist()[4:]
    if before[:2] != [0, 0] or after[:2] != [0, 0]:
        raise ModelError("padding of batches or channels cannot be explained")
    around = (before[3], after[3], before[2], after[2])
    # In passing: as a layer it would swallow the relevance of cells that are zero themselves.
    return (lambda x: nn.functional.pad(x, around)), [0]


def _clip(attributes: _Attributes, known: Sequence[Any]) -> tuple[Step, list[int]]:
    bounds = [*known[1:], None, None]
    low = float(bounds[0]) if bounds[0] is not None else attributes.get("min")
    high = float(bounds[1]) if bounds[1] is not None else attributes.get("max")
    return Elementwise(lambda x: x.clamp(low, high)), [0]


def _norm(attributes: _Attributes, known: Sequence[Any]) -> tuple[Step, list[int]]:
    epsilon = attributes.get("epsilon", 1e-5)
    scale, bias = known[1], known[2] if len(known) > 2 else None  # noqa: PLR2004 - x, scale, bias
    return lambda x: nn.functional.layer_norm(x, scale.shape, scale, bias, epsilon), [0]


def _plain(do: Callable[[_Attributes], Step], inputs: int = 1) -> Callable[..., Any]:
    def make(attributes: _Attributes, _: Sequence[Any]) -> tuple[Step, list[int]]:
        return do(attributes), list(range(inputs))

    return make


def _reshaped(values: Tensor, shape: Tensor) -> Tensor:
    sizes = [values.shape[i] if n == 0 else n for i, n in enumerate(shape.tolist())]
    if sizes[0] == 1 and -1 not in sizes and values.numel() != math.prod(sizes):
        # The graph was settled for a batch of one; explanations ask for many at once.
        sizes[0] = len(values)
    return values.reshape(sizes)


def _expanded(values: Tensor, shape: Tensor) -> Tensor:
    return values.expand(torch.broadcast_shapes(values.shape, tuple(shape.tolist())))


def _concat(attributes: _Attributes, known: Sequence[Any]) -> tuple[Step, list[int]]:
    axis = attributes["axis"]
    return (lambda *parts: torch.cat(parts, dim=axis)), list(range(len(known)))


def _unsqueezed(values: Tensor, axes: Tensor) -> Tensor:
    for axis in sorted(axes.reshape(-1).tolist()):
        values = values.unsqueeze(axis)
    return values


def _squeezed(values: Tensor, axes: Tensor) -> Tensor:
    return values.squeeze(tuple(axes.reshape(-1).tolist()))


OPERATIONS: dict[str, Callable[..., tuple[Step, list[int]]]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Relu": _plain(lambda _: nn.ReLU()),
    "Clip": _clip,
    "Pad": _pad,
    "MaxPool": _pool(nn.MaxPool2d),
    "AveragePool": _pool(nn.AvgPool2d),
    "GlobalAveragePool": _plain(lambda _: Mean((2, 3), keep=True)),
    "ReduceMean": _mean,
    "ReduceMax": _max,
    "Add": _both(torch.add),
    "Sub": _both(torch.sub),
    "Mul": _both(torch.mul),
    "Div": _both(torch.div),
    "Softmax": _plain(lambda a: Attention(a.get("axis", -1))),
    "Erf": _plain(lambda _: torch.erf),
    "Exp": _plain(lambda _: Elementwise(torch.exp)),
    "Log": _plain(lambda _: Elementwise(torch.log)),
    "Sqrt": _plain(lambda _: Elementwise(torch.sqrt)),
    "Gather": _gather,
    "Pow": _both(torch.pow),
    "LayerNormalization": _norm,
    "Concat": _concat,
    "Flatten": _plain(lambda a: lambda x: x.flatten(a.get("axis", 1))),
    "Transpose": _plain(lambda a: lambda x: x.permute(*a["perm"])),
    "Reshape": _plain(lambda _: _reshaped, 2),
    "Expand": _plain(lambda _: _expanded, 2),
    "Unsqueeze": _plain(lambda _: _unsqueezed, 2),
    "Squeeze": _plain(lambda _: _squeezed, 2),
    "Identity": _plain(lambda _: lambda x: x),
}
