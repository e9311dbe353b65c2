"""Random TFLite graphs: operators one after the other and beside each other, words of one type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.helpers.tflite_models import (
    NONE,
    RELU,
    SAME,
    VALID,
    OperatorSpec,
    TensorSpec,
    TfliteCase,
    network,
)
from tests.helpers.tflite_operators import Draw, ints

Array = NDArray[Any]
CONV = {"StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}


@dataclass
class Graph:
    """Tensors and operators so far; `ends` are the tensors that may be taken."""

    d: Draw
    specs: list[TensorSpec] = field(default_factory=list)
    operators: list[OperatorSpec] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def tensor(self, spec: TensorSpec) -> int:
        self.specs.append(spec)
        return len(self.specs) - 1

    def new(self, shape: tuple[int, ...], like: int | None = None, **more: Any) -> int:
        name = f"t{len(self.specs)}x"
        if like is not None:
            return self.tensor(self.d.like(name, shape, self.specs[like]))
        return self.tensor(self.d.tensor(name, shape, **more))

    def constant(self, values: Any) -> int:
        return self.tensor(ints(f"c{len(self.specs)}", values))

    def add(
        self, op: str, inputs: list[int], outputs: list[int], kind: str = "",
        options: dict[str, Any] | None = None, version: int = 2,
    ) -> None:  # fmt: skip
        self.operators.append(OperatorSpec(op, inputs, outputs, kind, options or {}, version))
        self.ends += outputs

    def shape(self, index: int) -> tuple[int, ...]:
        return self.specs[index].shape


Step = Callable[[Graph, int], None]


def conv(g: Graph, x: int) -> None:
    d, shape = g.d, g.shape(x)
    depthwise, padding = d.flag(), d.one(SAME, VALID)
    kernel = (d.size(1, min(3, shape[1])), d.size(1, min(3, shape[2])))
    outs = shape[3] if depthwise else d.size(1, 4)
    own = (1, *kernel, outs) if depthwise else (outs, *kernel, shape[3])
    values = d.rng.integers(-127, 128, own).astype(np.int8)
    scale = np.float32(d.rng.uniform(0.2, 1, outs) / 128).tolist()
    w = g.tensor(TensorSpec(f"w{x}", own, "int8", scale, [0] * outs, values, 3 * depthwise))
    bias = d.rng.integers(-3000, 3000, outs).astype(np.int32)
    b = g.tensor(TensorSpec(f"b{len(g.specs)}", (outs,), "int32", scale, [0] * outs, bias))
    plane = tuple(
        n if padding == SAME else n - k + 1 for n, k in zip(shape[1:3], kernel, strict=True)
    )
    y = g.new((shape[0], *plane, outs), scale=d.scale() * 2)
    options = CONV | {"Padding": padding, "FusedActivationFunction": d.one(NONE, RELU)}
    kind = "Conv2DOptions"
    if depthwise:
        kind, options = "DepthwiseConv2DOptions", options | {"DepthMultiplier": 1}
    g.add("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [x, w, b], [y], kind, options, 3)


def pool(g: Graph, x: int) -> None:
    shape, op = g.shape(x), g.d.one("AVERAGE_POOL_2D", "MAX_POOL_2D")
    plane = (-(-shape[1] // 2), -(-shape[2] // 2))
    options = {"Padding": SAME, "StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 3,
               "FusedActivationFunction": NONE}  # fmt: skip
    g.add(op, [x], [g.new((1, *plane, shape[3]), like=x)], "Pool2DOptions", options)


def pad(g: Graph, x: int) -> None:
    ends = [(0, 0), *((g.d.size(0, 2), g.d.size(0, 1)) for _ in range(2)), (0, g.d.size(0, 1))]
    out = tuple(n + a + b for n, (a, b) in zip(g.shape(x), ends, strict=True))
    g.add("PAD", [x, g.constant(ends)], [g.new(out, like=x)], "PadOptions")


def transpose(g: Graph, x: int) -> None:
    axes = (0, *g.d.draw(st.permutations([1, 2, 3])))
    out = tuple(g.shape(x)[axis] for axis in axes)
    g.add("TRANSPOSE", [x, g.constant(axes)], [g.new(out, like=x)], "TransposeOptions")


def slices(g: Graph, x: int) -> None:
    begin = [0, *(g.d.size(0, n - 1) for n in g.shape(x)[1:])]
    out = tuple(n - b for b, n in zip(begin, g.shape(x), strict=True))
    inputs = [x, g.constant(begin), g.constant([-1] * 4)]
    g.add("SLICE", inputs, [g.new(out, like=x)], "SliceOptions")


def split(g: Graph, x: int) -> None:
    shape = g.shape(x)
    axis = g.d.size(1, 3)
    if shape[axis] % 2:
        return
    each = tuple(n // 2 if i == axis else n for i, n in enumerate(shape))
    outs = [g.new(each, like=x) for _ in range(2)]
    g.add("SPLIT", [g.constant(axis), x], outs, "SplitOptions", {"NumSplits": 2})


def reshape(g: Graph, x: int) -> None:
    shape = g.shape(x)
    out = g.d.one((1, shape[1] * shape[2], 1, shape[3]), (1, shape[3], shape[1], shape[2]),
                  (1, 1, 1, int(np.prod(shape))))  # fmt: skip
    g.add("RESHAPE", [x, g.constant(out)], [g.new(out, like=x)], "ReshapeOptions", {}, 1)


def resize(g: Graph, x: int) -> None:
    shape, op = g.shape(x), g.d.one("RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR")
    size = (g.d.size(1, 6), g.d.size(1, 6))
    kind = {"RESIZE_BILINEAR": "ResizeBilinearOptions"}.get(op, "ResizeNearestNeighborOptions")
    options = {"AlignCorners": False, "HalfPixelCenters": g.d.flag()}
    y = g.new((1, *size, shape[3]), like=x)
    g.add(op, [x, g.constant(size)], [y], kind, options, 3)


def function(g: Graph, x: int) -> None:
    op = g.d.one("LOGISTIC", "TANH", "HARD_SWISH", "QUANTIZE", "LEAKY_RELU")
    scale, zero = {"LOGISTIC": (2.0**-8, -128), "TANH": (2.0**-7, 0)}.get(op, (None, None))
    kind = {"QUANTIZE": "QuantizeOptions", "LEAKY_RELU": "LeakyReluOptions"}.get(op, "")
    options = {"Alpha": 0.2} if op == "LEAKY_RELU" else {}
    version = 1 if op in ("HARD_SWISH", "LOGISTIC", "TANH") else 2
    g.add(op, [x], [g.new(g.shape(x), scale=scale, zero=zero)], kind, options, version)


def two(g: Graph, x: int) -> None:
    """Two tensors of one shape, or a tensor and itself."""
    same = [i for i in g.ends if g.shape(i) == g.shape(x)]
    other, op = g.d.one(*same), g.d.one("ADD", "SUB", "MUL")
    options: dict[str, Any] = {"FusedActivationFunction": g.d.one(NONE, RELU)}
    if op != "MUL":
        options["PotScaleInt16"] = False
    inputs = [x, other] if g.d.flag() else [other, x]
    g.add(op, inputs, [g.new(g.shape(x))], f"{op.capitalize()}Options", options)


def mean(g: Graph, x: int) -> None:
    shape = g.shape(x)
    y = g.new((1, 1, 1, shape[3]))
    g.add("MEAN", [x, g.constant([1, 2])], [y], "ReducerOptions", {"KeepDims": True})


def concatenation(g: Graph, x: int) -> None:
    axis = g.d.size(1, 3)
    out = tuple(2 * n if i == axis else n for i, n in enumerate(g.shape(x)))
    options = {"Axis": axis, "FusedActivationFunction": NONE}
    g.add("CONCATENATION", [x, x], [g.new(out, like=x)], "ConcatenationOptions", options)


def extreme(g: Graph, x: int) -> None:
    shape, op, axes = g.shape(x), g.d.one("REDUCE_MAX", "REDUCE_MIN"), g.d.one([1], [1, 2], [3])
    out = tuple(1 if i in axes else n for i, n in enumerate(shape))
    y = g.new(out, like=x)
    g.add(op, [x, g.constant(axes)], [y], "ReducerOptions", {"KeepDims": True})


def tile(g: Graph, x: int) -> None:
    many = [1, g.d.size(1, 2), 1, g.d.size(1, 2)]
    out = tuple(n * m for n, m in zip(g.shape(x), many, strict=True))
    g.add("TILE", [x, g.constant(many)], [g.new(out, like=x)], "TileOptions")


def reverse(g: Graph, x: int) -> None:
    y = g.new(g.shape(x), like=x)
    g.add("REVERSE_V2", [x, g.constant(g.d.one([1], [2], [3]))], [y], "ReverseV2Options")


def batches(g: Graph, x: int) -> None:
    """A plane cut into a batch, a convolution or none, and laid together again."""
    shape, size = g.shape(x), (1, 2)
    if shape[2] % 2 or g.d.dtype != "int8":
        return
    at = g.new((2, shape[1], shape[2] // 2, shape[3]), like=x)
    inputs = [g.constant(size), g.constant([[0, 0], [0, 0]])]
    g.add("SPACE_TO_BATCH_ND", [x, *inputs], [at], "SpaceToBatchNDOptions")
    g.ends.remove(at)
    if g.d.flag():
        conv(g, at)
        at = g.ends.pop()
    back = (1, g.shape(at)[1], 2 * g.shape(at)[2], g.shape(at)[3])
    g.add("BATCH_TO_SPACE_ND", [at, *inputs], [g.new(back, like=at)], "BatchToSpaceNDOptions")


def real(g: Graph, x: int) -> None:
    """DEQUANTIZE, TANH or a product with a number for each channel, QUANTIZE."""
    shape = g.shape(x)
    a, b = (g.tensor(TensorSpec(f"r{len(g.specs) + i}", shape, "float32")) for i in (0, 1))
    g.add("DEQUANTIZE", [x], [a], "DequantizeOptions")
    if g.d.flag():
        g.add("TANH", [a], [b], "", {}, 1)
    else:
        numbers = np.float32(g.d.rng.uniform(-2, 2, shape[3]))
        c = g.tensor(TensorSpec(f"c{len(g.specs)}", (shape[3],), "float32", data=numbers))
        g.add("MUL", [a, c], [b], "MulOptions", {"FusedActivationFunction": RELU}, 1)
    del g.ends[-2:]
    g.add("QUANTIZE", [b], [g.new(shape)], "QuantizeOptions", {}, 1)


STEPS: tuple[Step, ...] = (
    conv, conv, pool, pad, transpose, slices, split, reshape, resize, function, two, mean,
    concatenation, extreme, tile, reverse, batches, real,
)  # fmt: skip
MOST = 3000  # words of a tensor


@st.composite
def graphs(draw: st.DrawFn) -> TfliteCase:
    """Three to nine operators on int8 words; what nobody takes is an output."""
    g = Graph(Draw(draw, "int8"))
    x = g.new((1, g.d.size(2, 7), g.d.size(2, 7), g.d.size(1, 4)))
    g.ends.append(x)
    for _ in range(g.d.size(3, 9)):
        small = [i for i in g.ends if int(np.prod(g.shape(i))) <= MOST]
        g.d.one(*STEPS)(g, g.d.one(*small[-3:]))
    if not g.operators:
        pool(g, x)
    taken = {i for one in g.operators for i in one.inputs}
    outputs = [i for i in g.ends if i not in taken and i != x]
    content = network(g.specs, g.operators, outputs=outputs)
    return TfliteCase("graph", content, [g.d.values(g.shape(x))])
