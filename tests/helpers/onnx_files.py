"""Small ONNX files, good and bad, written node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SCALE, ZERO = np.float32(0.5), np.uint8(3)
QUANTIZE = ("QuantizeLinear", "DequantizeLinear")


def save(
    path: Path, nodes: list[Any], shape: tuple[Any, ...] = ("n", 2, 4, 4),
    inputs: tuple[str, ...] = ("x",), kind: int = TensorProto.FLOAT, **more: Any,
) -> Path:  # fmt: skip
    """A model from its inputs to the last node's output, with constants s, z and `more`."""
    constants = {"s": SCALE, "z": ZERO, **more}
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    graph_output = proto.graph.output[0].type.tensor_type
    graph_output.shape.SetInParent()
    onnx.save(proto, path)
    return path


def node(op: str, inputs: str, output: str, **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], name=f"the {op}", **attributes)


def quantized(x: str = "x", q: str = "q", real: str = "r") -> list[Any]:
    return [node("QuantizeLinear", f"{x} s z", q), node("DequantizeLinear", f"{q} s z", real)]


KERNEL = np.ones((2, 2, 3, 3), np.int8)
FLOAT_KERNEL = np.full((2, 2, 3, 3), 0.3, np.float32)


def external(path: Path, location: str) -> Path:
    """A model whose weights are said to lie in another file."""
    nodes = [*quantized(), node("DequantizeLinear", "w s", "v"), node("Conv", "r v", "c"),
             *quantized("c", "q2", "y")]  # fmt: skip
    proto = onnx.load(save(path, nodes, w=KERNEL))
    weights = next(t for t in proto.graph.initializer if t.name == "w")
    raw = weights.raw_data
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    onnx.save(proto, path)
    (path.parent / "inside.bin").write_bytes(raw)
    return path
