"""A shipped ONNX network as a torch module, so that explanations need no other file than it.

Only what the voters' networks are made of is understood; anything else is named and refused. What
a rule of relevance propagation has to see (convolutions, linears, pools, means) is a module of its
own; the rest is done in passing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from homeguard import runtime as _runtime  # noqa: F401 - before any native library

# isort: split

import numpy as np
import onnx
import onnxruntime
import torch
from captum.attr._utils.custom_modules import Addition_Module
from onnx import numpy_helper
from torch import Tensor, nn

from homeguard.domain import ModelError

Step = Callable[..., Any]
_Attributes = Mapping[str, Any]


class Mean(nn.Module):
    """The mean over some axes, as a layer that relevance passes in proportion."""

    def __init__(self, axes: Sequence[int], *, keep: bool) -> None:
        super().__init__()
        self._axes, self._keep = tuple(axes), keep

    def forward(self, values: Tensor) -> Tensor:
        """The mean."""
        return values.mean(self._axes, keepdim=self._keep)


class Most(nn.Module):
    """The maximum over some axes; of a tie one takes it all, as in a pool."""

    def __init__(self, axes: Sequence[int], *, keep: bool) -> None:
        super().__init__()
        self._axes, self._keep = tuple(axes), keep

    def forward(self, values: Tensor) -> Tensor:
        """The maximum."""
        for axis in sorted((axis % values.dim() for axis in self._axes), reverse=True):
            values = values.max(dim=axis, keepdim=self._keep).values
        return values


class Attention(nn.Softmax):
    """A softmax over frames: which of them a head reads."""


class Elementwise(nn.Module):
    """Something done to every element with a constant; relevance passes it unchanged."""

    def __init__(self, do: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._do = do

    def forward(self, values: Tensor) -> Tensor:
        """What it does."""
        return self._do(values)


class Network(nn.Module):
    """An ONNX graph with one input and one output; layers keep the order of the graph."""

    def __init__(self, graph: onnx.GraphProto, source: str) -> None:
        """Build the modules. Raises ModelError for an operation that is not understood."""
        super().__init__()
        constants: dict[str, Any] = {
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
            for tensor in graph.initializer
        }
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self._constants = constants
        self.layers = nn.ModuleList()
        self._plan: list[tuple[Step, list[str], str]] = []
        for node in graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                value = numpy_helper.to_array(attributes["value"]).copy()
                constants[node.output[0]] = torch.from_numpy(np.atleast_1d(value)).reshape(
                    value.shape
                )
                continue
            known = [constants.get(name) if name else None for name in node.input]
            if node.op_type == "DequantizeLinear" and known[0] is not None:
                constants[node.output[0]] = _dequantised(attributes, known)
                continue
            make = _OPERATIONS.get(node.op_type)
            if make is None:
                message = (
                    f"{source}: the operation {node.op_type} cannot be explained; "
                    "teach it to homeguard/explain/network.py"
                )
                raise ModelError(message)
            step, taken = make(attributes, known)
            if isinstance(step, nn.Module):
                self.layers.append(step)
            inputs = [node.input[index] for index in taken]
            self._plan.append((step, inputs, node.output[0]))

    def forward(self, values: Tensor) -> Tensor:
        """What the graph gives."""
        known: dict[str, Any] = {**self._constants, self._input: values}
        for step, inputs, output in self._plan:
            known[output] = step(*(known[name] for name in inputs))
        result: Tensor = known[self._output]
        return result

    @property
    def top(self) -> nn.Module:
        """The last convolution, with the activation that follows it."""
        layers = self._leaves()
        last = max(
            (index for index, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)),
            default=None,
        )
        if last is None:
            message = "the network has no convolution to look at"
            raise ModelError(message)
        following = layers[last + 1] if last + 1 < len(layers) else None
        return following if isinstance(following, nn.ReLU) else layers[last]

    @property
    def weighted(self) -> list[nn.Conv2d | nn.Linear]:
        """Layers with weights, from input to output."""
        return [layer for layer in self._leaves() if isinstance(layer, nn.Conv2d | nn.Linear)]

    def _leaves(self) -> list[nn.Module]:
        return [module for module in self.modules() if not list(module.children())]


def load_network(path: Path, frames: int) -> Network:
    """The network of an ONNX file for inputs of `frames` frames, in float32, for reading only.

    Raises ModelError for a file that is no model or holds what cannot be explained.
    """
    try:
        with TemporaryDirectory() as folder:
            model = _settled(path, frames, Path(folder))
    except Exception as exc:  # protobuf and onnxruntime raise what they like
        message = f"{path} is no ONNX model that can be read: {exc}"
        raise ModelError(message) from exc
    network = Network(model.graph, str(path)).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(requires_grad=False)
    return network


def _settled(path: Path, frames: int, folder: Path) -> onnx.ModelProto:
    """The model for inputs of so many frames: onnxruntime works out all that is constant then."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "settled.onnx")
    options.log_severity_level = 3
    for dimension in onnx.load(path).graph.input[0].type.tensor_type.shape.dim:
        if dimension.dim_param:
            options.add_free_dimension_override_by_name(dimension.dim_param, frames)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "settled.onnx")


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
        layer._reversed_padding_repeated_twice = [left, left, top, top]  # noqa: SLF001
        return layer, [0]
    return Padded(layer, (left, right, top, bottom)), [0]


def _gemm(attributes: _Attributes, known: Sequence[Any]) -> tuple[Step, list[int]]:
    weight = known[1] if attributes.get("transB", 0) else known[1].T
    return _linear(weight, known[2] if len(known) > 2 else None), [0]  # noqa: PLR2004 - x, weight, bias


def _matmul(_: _Attributes, known: Sequence[Any]) -> tuple[Step, list[int]]:
    left, right = known
    if right is not None and right.dim() == 2:  # noqa: PLR2004 - a matrix
        return _linear(right.T, None), [0]
    if left is not None and left.dim() == 2:  # noqa: PLR2004
        # From the left: over the axis before the last, as a front of bands does.
        layer = _linear(left, None)
        return Transposed(layer), [1]
    return torch.matmul, [0, 1]


class Padded(nn.Module):
    """A convolution whose sides are padded differently."""

    def __init__(self, convolution: nn.Conv2d, around: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.convolution = convolution
        self._around = around

    def forward(self, values: Tensor) -> Tensor:
        """What the convolution gives."""
        found: Tensor = self.convolution(nn.functional.pad(values, self._around))
        return found


class Transposed(nn.Module):
    """A linear layer over the axis before the last."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, values: Tensor) -> Tensor:
        """What the linear gives, turned back."""
        turned: Tensor = self.linear(values.transpose(-1, -2)).transpose(-1, -2)
        return turned


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


def _dequantised(attributes: _Attributes, known: Sequence[Any]) -> Tensor:
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


_OPERATIONS: dict[str, Callable[..., tuple[Step, list[int]]]] = {
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
