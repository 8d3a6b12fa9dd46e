"""Networks made small and quick answer as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - after the skip

from homeguard.training.shrink import fold_pads, store_int8, weights  # noqa: E402 - after the skip

ONE_SIDED = (0, 0, 0, 0, 0, 0, 1, 1)  # n, c, h, w: nothing before, a row and a column after


def network(path: Path, pads: tuple[int, ...] = ONE_SIDED, value: float = 0.0) -> Path:
    """A padding, then a convolution of stride 2 that pads a column before by itself."""
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((40, 8, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node(
            "Constant", [], ["half"], value=numpy_helper.from_array(np.array(pads, np.int64))
        ),
        helper.make_node("Identity", ["half"], ["pads"]),
        helper.make_node("Pad", ["maps", "pads", "value"], ["padded"]),
        helper.make_node("Conv", ["padded", "w"], ["y"], strides=[2, 2], pads=[0, 1, 0, 0]),
    ]
    free = [1, 8, "height", "width"]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, free)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 40, "h", "w"])],
        [
            numpy_helper.from_array(weight, "w"),
            numpy_helper.from_array(np.array(value, np.float32), "value"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def answers(path: Path) -> list[np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(2)
    shapes = [(80, 500), (5, 7), (6, 8)]
    maps = [rng.standard_normal((1, 8, *shape)).astype(np.float32) for shape in shapes]
    return [session.run(["y"], {"maps": each})[0] for each in maps]


def operations(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


@pytest.mark.parametrize("small", [False, True])
def test_a_padding_goes_into_its_convolution_and_changes_nothing(
    small: bool,  # noqa: FBT001 - a parameter of pytest
    tmp_path: Path,
) -> None:
    path = network(tmp_path / "model.onnx")
    if small:
        assert store_int8(path) == 1
    before = answers(path)
    assert fold_pads(path) == 1
    assert operations(path) == {"Conv"} | ({"DequantizeLinear"} if small else set())
    for old, new in zip(before, answers(path), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5)


@pytest.mark.parametrize(("pads", "value"), [(ONE_SIDED, 1.0), ((0, 0, -1, 0, 0, 0, 1, 1), 0.0)])
def test_a_padding_that_a_convolution_does_not_have_stays(
    pads: tuple[int, ...], value: float, tmp_path: Path
) -> None:
    path = network(tmp_path / "model.onnx", pads, value)
    before = answers(path)
    assert fold_pads(path) == 0
    assert "Pad" in operations(path)
    for old, new in zip(before, answers(path), strict=True):
        np.testing.assert_array_equal(new, old)


def test_weights_are_read_again_as_they_were_rounded(tmp_path: Path) -> None:
    path = network(tmp_path / "model.onnx")
    whole = weights(path)["w"]
    store_int8(path)
    rounded = weights(path)["w"]
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded, whole, atol=float(np.abs(whole).max()) / 127)
