"""ONNX weights stored in eight bits: a quarter of the size, computed in float32 all the same.

Each large weight becomes int8 with a scale for each output channel, and a DequantizeLinear that
ONNX Runtime folds away when it loads the model (`session.disable_quant_qdq`). Rounding is the only
loss; what it costs is measured by whoever exports.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

_SMALLEST = 2_048  # weights below that many values stay float32


def store_int8(path: Path) -> int:
    """Rewrite the model at `path` with int8 weights; gives how many tensors were rounded.

    A weight is rounded where its first axis counts outputs (Conv, Gemm with transB).
    """
    model = onnx.load(path)
    graph = model.graph
    wide = {
        node.input[1]
        for node in graph.node
        if node.op_type == "Conv" or (node.op_type == "Gemm" and _is_transposed(node))
    }
    kept, rounded, nodes = [], [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name not in wide or values.size < _SMALLEST:
            kept.append(tensor)
            continue
        largest = np.abs(values).max(axis=tuple(range(1, values.ndim)))
        scale = np.maximum(largest / 127.0, 1e-12).astype(np.float32)
        steps = np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
        name = tensor.name
        rounded += [
            numpy_helper.from_array(steps, f"{name}.int8"),
            numpy_helper.from_array(scale, f"{name}.scale"),
            numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}.zero"),
        ]
        inputs = [f"{name}.int8", f"{name}.scale", f"{name}.zero"]
        nodes.append(helper.make_node("DequantizeLinear", inputs, [name], axis=0))
    before = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept + rounded)
    graph.node.extend(nodes + before)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return len(nodes)


def _is_transposed(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
