"""A shipped ONNX network as a torch module, so that explanations need no other file than it.

Only what the voters' networks are made of is understood; anything else is named and refused. What
a rule of relevance propagation has to see (convolutions, linears, pools, means) is a module of its
own; the rest is done in passing.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from homeguard import runtime as _runtime  # noqa: F401 - before any native library

# isort: split

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from homeguard.domain import ModelError
from homeguard.explain.operations import OPERATIONS, Step, dequantised


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
                constants[node.output[0]] = dequantised(attributes, known)
                continue
            make = OPERATIONS.get(node.op_type)
            if make is None:
                message = (
                    f"{source}: the operation {node.op_type} cannot be explained; "
                    "teach it to homeguard/explain/operations.py"
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
