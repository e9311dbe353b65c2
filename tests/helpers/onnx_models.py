"""Random one-layer ONNX models: hypothesis strategies that build protobufs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
ORT_DOMAIN = "com.microsoft"


@dataclass(frozen=True)
class OnnxCase:
    """A model with one input "x" and one output "y", and a batch for it."""

    proto: Any
    x: Array
    op: str

    def __repr__(self) -> str:
        return f"<{self.op} {onnx.printer.to_text(self.proto)} x={self.x.tolist()}>"


class Drawn:
    """Numbers for one model: shapes and switches by Hypothesis, contents by a seed.

    Half of all models are made for ties: small integers and powers of two as scales.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.ties = draw(st.booleans())

    def size(self, lo: int, hi: int) -> int:
        return self.draw(st.integers(lo, hi))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def integers(self, dtype: Any, shape: tuple[int, ...]) -> Array:
        """Integers around a middle value that `zero` gives too where ties are wanted."""
        info = np.iinfo(dtype)
        lo, hi = (info.min, info.max)
        if self.ties:
            middle = (lo + hi + 1) // 2
            lo, hi = middle - 9, middle + 9
        return self.rng.integers(lo, hi, shape, endpoint=True).astype(dtype)

    def zero(self, dtype: Any) -> Array:
        info = np.iinfo(dtype)
        middle = (info.min + info.max + 1) // 2
        near = st.integers(middle - 4, middle + 4)
        ends = st.sampled_from([0, info.min, info.max]) | st.integers(info.min, info.max)
        return np.array(self.draw(near if self.ties else near | ends), dtype)

    def scale(self, size: int = 0) -> Array:
        """An input's scale."""
        if self.ties:
            return np.asarray(2.0 ** self.rng.integers(-3, 0, size or None), np.float32)
        return np.asarray(self.rng.uniform(0.01, 0.5, size or None), np.float32)

    def out_scale(self, *inputs: Array, terms: int) -> Array:
        """A scale that lets most sums of so many products stay in 8 bits."""
        unit = float(np.prod([np.mean(scale) for scale in inputs]))
        if self.ties:
            return np.float32(2.0 ** np.round(np.log2(unit) + self.size(0, 3)))
        spread = 74.0 ** len(inputs) * terms**0.5 / 60
        return np.float32(unit * spread * self.rng.uniform(0.5, 2))


def model(node: Any, constants: dict[str, Array], x: Array, y_type: Any, domain: str = "") -> Any:
    """A checked model around one node (or several)."""
    nodes = node if isinstance(node, list) else [node]
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info("x", kind, ["n", *x.shape[1:]])],
        [helper.make_tensor_value_info("y", y_type, [f"y{i}" for i in range(x.ndim)])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(proto)
    return proto


def type_of(dtype: Any) -> Any:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


@st.composite
def activations_and_weights(draw: st.DrawFn) -> tuple[Any, Any]:
    """Types that onnxruntime multiplies: unsigned by either, signed by signed."""
    return draw(st.sampled_from([(np.uint8, np.int8), (np.uint8, np.uint8), (np.int8, np.int8)]))


def convolution_parts(d: Drawn, types: tuple[Any, Any]) -> tuple[Array, Array, dict[str, Any]]:
    """Input, weights and attributes: odd pads, groups, depthwise, dilation, stride."""
    groups = d.size(1, 4)
    each = 1 if d.flag() else d.size(1, 3)
    outs = groups * d.size(1, 2)
    kernel = (d.size(1, 3), d.size(1, 3))
    x = d.integers(types[0], (d.size(1, 2), groups * each, d.size(5, 8), d.size(5, 8)))
    w = d.integers(types[1], (outs, each, *kernel))
    attributes = {
        "group": groups,
        "pads": [d.size(0, 2) for _ in range(4)],
        "strides": [d.size(1, 3), d.size(1, 3)],
        "dilations": [d.size(1, 2), d.size(1, 2)],
    }
    return x, w, attributes


@st.composite
def qlinear_conv(draw: st.DrawFn) -> OnnxCase:
    d, types = Drawn(draw), draw(activations_and_weights())
    x, w, attributes = convolution_parts(d, types)
    per_channel = d.flag()
    w_zero = d.zero(types[1]) if types[1] is np.uint8 else np.zeros((), types[1])
    if per_channel:
        w_zero = np.full(len(w), w_zero, types[1])
    y_type = types[0]
    xs, ws = d.scale(), d.scale(len(w) if per_channel else 0)
    constants = {
        "xs": xs, "xz": d.zero(types[0]), "w": w, "ws": ws, "wz": w_zero,
        "ys": d.out_scale(xs, ws, terms=w[0].size), "yz": d.zero(y_type),
    }  # fmt: skip
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    if d.flag():
        constants["b"] = d.rng.integers(-50, 50, len(w)).astype(np.int32)
        names.append("b")
    node = helper.make_node("QLinearConv", names, ["y"], **attributes)
    return OnnxCase(model(node, constants, x, type_of(y_type)), x, "QLinearConv")


@st.composite
def conv_integer(draw: st.DrawFn) -> OnnxCase:
    d = Drawn(draw)
    types = (np.uint8, d.draw(st.sampled_from([np.uint8, np.int8])))
    x, w, attributes = convolution_parts(d, types)
    w_zero = d.zero(types[1]) if types[1] is np.uint8 else np.zeros((), types[1])
    constants = {"w": w, "xz": d.zero(types[0]), "wz": w_zero}
    node = helper.make_node("ConvInteger", ["x", "w", "xz", "wz"], ["y"], **attributes)
    return OnnxCase(model(node, constants, x, TensorProto.INT32), x, "ConvInteger")


def matrix_parts(d: Drawn, types: tuple[Any, Any]) -> tuple[Array, Array]:
    inner = d.size(1, 40)
    shape = (d.size(1, 4), inner) if d.flag() else (d.size(1, 3), d.size(1, 3), inner)
    return d.integers(types[0], shape), d.integers(types[1], (inner, d.size(1, 6)))


@st.composite
def qlinear_matmul(draw: st.DrawFn) -> OnnxCase:
    d, types = Drawn(draw), draw(activations_and_weights())
    x, w = matrix_parts(d, types)
    xs, ws = d.scale(), d.scale()
    constants = {
        "xs": xs, "xz": d.zero(types[0]), "w": w, "ws": ws, "wz": d.zero(types[1]),
        "ys": d.out_scale(xs, ws, terms=len(w)), "yz": d.zero(types[0]),
    }  # fmt: skip
    node = helper.make_node("QLinearMatMul", ["x", *constants], ["y"])
    return OnnxCase(model(node, constants, x, type_of(types[0])), x, "QLinearMatMul")


@st.composite
def matmul_integer(draw: st.DrawFn) -> OnnxCase:
    d, types = Drawn(draw), draw(activations_and_weights())
    x, w = matrix_parts(d, types)
    constants = {"w": w, "xz": d.zero(types[0]), "wz": d.zero(types[1])}
    node = helper.make_node("MatMulInteger", ["x", "w", "xz", "wz"], ["y"])
    return OnnxCase(model(node, constants, x, TensorProto.INT32), x, "MatMulInteger")


@st.composite
def max_pool(draw: st.DrawFn) -> OnnxCase:
    d, dtype = Drawn(draw), draw(st.sampled_from([np.uint8, np.int8]))
    kernel = (d.size(1, 3), d.size(1, 3))
    x = d.integers(dtype, (d.size(1, 2), d.size(1, 3), d.size(6, 9), d.size(6, 9)))
    node = helper.make_node(
        "MaxPool", ["x"], ["y"], kernel_shape=kernel, strides=[d.size(1, 3), d.size(1, 3)],
        pads=[d.size(0, kernel[i % 2] - 1) for i in range(4)],
        dilations=[d.size(1, 2)] * 2,
    )  # fmt: skip
    return OnnxCase(model(node, {}, x, type_of(dtype)), x, "MaxPool")


@st.composite
def qgemm(draw: st.DrawFn) -> OnnxCase:
    d, types = Drawn(draw), draw(activations_and_weights())
    inner, outs = d.size(1, 40), d.size(1, 6)
    x, flip = d.integers(types[0], (d.size(1, 4), inner)), d.flag()
    w = d.integers(types[1], (outs, inner) if flip else (inner, outs))
    xs, ws = d.scale(), d.scale()
    constants = {
        "xs": xs, "xz": d.zero(types[0]), "w": w, "ws": ws, "wz": d.zero(types[1]),
        "b": d.rng.integers(-50, 50, outs).astype(np.int32),
        "ys": d.out_scale(xs, ws, terms=inner), "yz": d.zero(types[0]),
    }  # fmt: skip
    node = helper.make_node(
        "QGemm", ["x", *constants], ["y"], domain=ORT_DOMAIN, transB=int(flip), alpha=1.0
    )
    proto = model(node, constants, x, type_of(types[0]), ORT_DOMAIN)
    return OnnxCase(proto, x, "QGemm")


@st.composite
def qlinear_global_average_pool(draw: st.DrawFn) -> OnnxCase:
    d, dtype = Drawn(draw), draw(st.sampled_from([np.uint8, np.int8]))
    x = d.integers(dtype, (d.size(1, 2), d.size(1, 3), d.size(1, 7), d.size(1, 7)))
    xs = d.scale()
    constants = {"xs": xs, "xz": d.zero(dtype), "ys": d.out_scale(xs, terms=1), "yz": d.zero(dtype)}
    node = helper.make_node(
        "QLinearGlobalAveragePool", ["x", *constants], ["y"], domain=ORT_DOMAIN, channels_last=0
    )
    proto = model(node, constants, x, type_of(dtype), ORT_DOMAIN)
    return OnnxCase(proto, x, "QLinearGlobalAveragePool")


@st.composite
def qlinear_average_pool(draw: st.DrawFn) -> OnnxCase:
    d, dtype = Drawn(draw), draw(st.sampled_from([np.uint8, np.int8]))
    kernel = (d.size(1, 3), d.size(1, 3))
    x = d.integers(dtype, (d.size(1, 2), d.size(1, 3), d.size(4, 8), d.size(4, 8)))
    xs = d.scale()
    constants = {"xs": xs, "xz": d.zero(dtype), "ys": d.out_scale(xs, terms=1), "yz": d.zero(dtype)}
    node = helper.make_node(
        "QLinearAveragePool", ["x", *constants], ["y"], domain=ORT_DOMAIN,
        kernel_shape=kernel, strides=[d.size(1, 3), d.size(1, 3)],
        pads=[d.size(0, kernel[i % 2] - 1) for i in range(4)],
        count_include_pad=int(d.flag()), channels_last=0,
    )  # fmt: skip
    proto = model(node, constants, x, type_of(dtype), ORT_DOMAIN)
    return OnnxCase(proto, x, "QLinearAveragePool")


@st.composite
def qlinear_add(draw: st.DrawFn) -> OnnxCase:
    """x plus a max pool of itself, which is x again at another scale."""
    d, dtype = Drawn(draw), draw(st.sampled_from([np.uint8, np.int8]))
    x = d.integers(dtype, (d.size(1, 2), d.size(1, 3), d.size(2, 6), d.size(2, 6)))
    xs = d.scale()
    constants = {
        "as": xs, "az": d.zero(dtype), "bs": d.scale(), "bz": d.zero(dtype),
        "ys": d.out_scale(xs, terms=2), "yz": d.zero(dtype),
    }  # fmt: skip
    pool = helper.make_node(
        "MaxPool", ["x"], ["b"], kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1]
    )
    names = ["x", "as", "az", "b", "bs", "bz", "ys", "yz"]
    node = helper.make_node("QLinearAdd", names, ["y"], domain=ORT_DOMAIN)
    proto = model([pool, node], constants, x, type_of(dtype), ORT_DOMAIN)
    return OnnxCase(proto, x, "QLinearAdd")


def reference_cases() -> st.SearchStrategy[OnnxCase]:
    """Operators of ONNX itself, which its reference evaluator knows.

    Not MaxPool: it pads integers with NaN, which numpy refuses.
    """
    return st.one_of(qlinear_conv(), qlinear_matmul(), conv_integer(), matmul_integer())


def onnxruntime_cases() -> st.SearchStrategy[OnnxCase]:
    """All of those and onnxruntime's own."""
    return st.one_of(
        qlinear_conv(), qlinear_matmul(), conv_integer(), matmul_integer(), max_pool(), qgemm(),
        qlinear_add(), qlinear_average_pool(), qlinear_global_average_pool(),
    )  # fmt: skip
