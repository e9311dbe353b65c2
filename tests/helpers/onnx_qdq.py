"""Random QDQ networks of several layers: a hypothesis strategy that builds protobufs.

All scales are powers of two and all windows hold 1, 2 or 4 values, so that the reference
evaluator's float32 arithmetic is exact and every tie is a true tie.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.helpers.onnx_models import Drawn, OnnxCase

__all__ = ["qdq_networks"]


class Network:
    """Nodes and constants under construction; `channels`, `size` of the current tensor."""

    def __init__(self, drawn: Drawn, channels: int, size: int) -> None:
        self.d = drawn
        self.channels, self.size = channels, size
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.integers: list[str] = []
        self.count = 0

    def fresh(self, what: str) -> str:
        self.count += 1
        return f"{what}{self.count}"

    def constant(self, value: Any) -> str:
        name = self.fresh("c")
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        output = self.fresh(op.lower())
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def power(self, lo: int, hi: int) -> Any:
        return np.float32(2.0 ** self.d.size(lo, hi))

    def quantized(self, x: str) -> str:
        """QuantizeLinear, perhaps a Clip that narrows it, DequantizeLinear."""
        dtype = np.uint8 if self.d.flag() else np.int8
        scale, zero = self.constant(self.power(-3, 2)), self.constant(self.d.zero(dtype))
        q = self.node("QuantizeLinear", [x, scale, zero])
        if self.d.flag():
            ends = (0, 15) if dtype is np.uint8 else (-7, 7)
            bounds = [self.constant(np.array(end, dtype)) for end in ends]
            q = self.node("Clip", [q, *bounds])
        self.integers.append(q)
        return self.node("DequantizeLinear", [q, scale, zero])

    def bounded(self, x: str) -> str:
        """Nothing, a ReLU, a ReLU6 or a clip about zero."""
        kind = self.d.draw(st.sampled_from(["", "Relu", "relu6", "clip"]))
        if kind == "Relu":
            return self.node("Relu", [x])
        if kind:
            ends = (0.0, 6.0) if kind == "relu6" else (-2.0, 3.0)
            return self.node("Clip", [x, *(self.constant(np.float32(end)) for end in ends)])
        return x

    def weights(self, shape: tuple[int, ...]) -> str:
        """Signed 4- or 8-bit weights with a scale for each channel or for all."""
        bits = self.d.draw(st.sampled_from([4, 8]))
        top = 1 << (bits - 1)
        values = self.d.rng.integers(-top, top, shape).astype(np.int8)
        name = self.fresh("w")
        kind = TensorProto.INT4 if bits == 4 else TensorProto.INT8
        flat = helper.make_tensor(name, kind, shape, values.ravel().tolist())
        self.constants.append(flat)
        if self.d.flag():
            scale = self.constant(np.float32(2.0) ** self.d.rng.integers(-4, 0, shape[0]))
            return self.node("DequantizeLinear", [name, scale], axis=0)
        return self.node("DequantizeLinear", [name, self.constant(self.power(-4, -1))])

    def conv(self, x: str) -> str:
        pad = self.d.size(0, 1)
        kernel = self.d.size(1, min(3, self.size + 2 * pad))
        groups = self.channels if self.d.flag() else 1
        outs = self.channels if groups > 1 else self.d.size(1, 3)
        w = self.weights((outs, self.channels // groups, kernel, kernel))
        inputs = [x, w]
        if self.d.flag():
            inputs.append(self.constant(self.d.rng.integers(-9, 9, outs).astype(np.float32) / 8))
        self.channels, self.size = outs, self.size + 2 * pad - kernel + 1
        return self.node("Conv", inputs, group=groups, pads=[pad] * 4)

    def max_pool(self, x: str) -> str:
        if self.size < 2:
            return x
        self.size -= 1
        return self.node("MaxPool", [x], kernel_shape=[2, 2])

    def average_pool(self, x: str) -> str:
        if self.size < 2:
            return x
        self.size -= 1
        return self.node("AveragePool", [x], kernel_shape=[2, 2])

    def add(self, x: str) -> str:
        """Two branches of unequal scales that meet again."""
        kept = self.size
        pads = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
        other = self.quantized(self.node("MaxPool", [x], **pads))
        assert self.size == kept
        return self.node("Add", [x, other])

    def concat(self, x: str) -> str:
        other = self.quantized(self.node("Relu", [x]))
        self.channels *= 2
        return self.node("Concat", [x, other], axis=1)

    def linear(self, x: str) -> str:
        """Flatten and Gemm, at the end."""
        flat = self.node("Flatten", [x])
        outs = self.d.size(1, 4)
        w = self.weights((outs, self.channels * self.size**2))
        return self.node("Gemm", [flat, w], transB=1)


@st.composite
def qdq_networks(draw: st.DrawFn) -> tuple[OnnxCase, list[str]]:
    """A network and the names of its integer tensors."""
    d = Drawn(draw)
    net = Network(d, d.size(1, 3), d.size(5, 6))
    x = (d.rng.integers(-64, 64, (2, net.channels, net.size, net.size)) / 8).astype(np.float32)
    value = net.quantized("x")
    for op in draw(st.lists(st.sampled_from(["conv", "max_pool", "average_pool", "add", "concat"]),
                            min_size=1, max_size=3)):  # fmt: skip
        value = net.quantized(net.bounded(getattr(net, op)(value)))
    if d.flag():
        value = net.quantized(net.linear(value))
    net.nodes.append(helper.make_node("Identity", [value], ["y"]))
    graph = helper.make_graph(
        net.nodes, "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *x.shape[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], net.constants,
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return OnnxCase(proto, x, "network"), net.integers
