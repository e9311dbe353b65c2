"""Small quantized ONNX files for judges: a convolution between two quantizations, and variants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["conv_net", "node", "saved"]

Array = NDArray[Any]


def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], name=f"the {op} {output}", **attributes)


def saved(
    path: Path, nodes: list[Any], constants: dict[str, Array], shape: tuple[Any, ...],
    outputs: tuple[str, ...] = ("y",), opset: int = 21, domains: tuple[str, ...] = (),
) -> Path:  # fmt: skip
    """A model file with the real input x."""
    graph = helper.make_graph(
        nodes, "judged", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    for output in proto.graph.output:
        output.type.tensor_type.shape.SetInParent()
    onnx.save(proto, path)
    return path


def conv_net(path: Path, *, batch: Any = "n", seed: int = 0, clip: bool = True) -> Path:
    """QuantizeLinear, Conv with bias, QuantizeLinear, perhaps Clip: square, so axes can be swapped.

    Tensors: xq, yq (and yc behind the Clip), y.
    """
    rng = np.random.default_rng(seed)
    sx, sw, sy = np.float32(0.021), np.float32(0.013), np.float32(0.037)
    nodes = [
        node("QuantizeLinear", "x sx zx", "xq"), node("DequantizeLinear", "xq sx zx", "xd"),
        node("DequantizeLinear", "w sw", "wd"), node("DequantizeLinear", "b sb", "bd"),
        node("Conv", "xd wd bd", "c", pads=[1, 0, 0, 1]), node("QuantizeLinear", "c sy zy", "yq"),
        *([node("Clip", "yq lo hi", "yc")] if clip else []),
        node("DequantizeLinear", f"{'yc' if clip else 'yq'} sy zy", "y"),
    ]  # fmt: skip
    constants = {
        "sx": sx, "zx": np.int8(3), "w": rng.integers(-90, 91, (3, 3, 2, 2)).astype(np.int8),
        "sw": sw, "b": rng.integers(-400, 401, 3).astype(np.int32), "sb": sx * sw, "sy": sy,
        "zy": np.int8(-5), "lo": np.int8(-60), "hi": np.int8(59),
    }  # fmt: skip
    return saved(path, nodes, constants, (batch, 3, 5, 5))
