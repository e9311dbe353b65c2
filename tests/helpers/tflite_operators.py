"""TFLite models of one operator that works on words or moves them: hypothesis strategies.

The rule: shapes, scales, zero points and options are drawn; LiteRT says what comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.helpers.tflite_models import (
    NONE,
    RELU,
    RELU6,
    SAME,
    VALID,
    OperatorSpec,
    TensorSpec,
    TfliteCase,
    network,
)

Array = NDArray[Any]
FUSED = (NONE, RELU, RELU6)


class Draw:
    """Shapes and switches by Hypothesis, contents by a seed, words of one type."""

    def __init__(self, draw: st.DrawFn, dtype: str) -> None:
        self.draw, self.dtype = draw, dtype
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.info = np.iinfo(dtype)

    def size(self, lo: int, hi: int) -> int:
        return self.draw(st.integers(lo, hi))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def one(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def scale(self, lo: float = 1.0, hi: float = 8.0) -> float:
        top = 32768 if self.dtype == "int16" else 128
        return float(np.float32(self.rng.uniform(lo, hi) / top))

    def zero(self) -> int:
        return 0 if self.dtype == "int16" else self.size(int(self.info.min), int(self.info.max))

    def tensor(self, name: str, shape: tuple[int, ...], **more: Any) -> TensorSpec:
        scale, zero = more.pop("scale", None), more.pop("zero", None)
        return TensorSpec(
            name, shape, more.pop("dtype", self.dtype), [self.scale() if scale is None else scale],
            [self.zero() if zero is None else zero], **more,
        )  # fmt: skip

    def like(self, name: str, shape: tuple[int, ...], other: TensorSpec) -> TensorSpec:
        return TensorSpec(name, shape, other.dtype, other.scale, other.zero)

    def values(self, shape: tuple[int, ...], dtype: str | None = None) -> Array:
        info = np.iinfo(dtype or self.dtype)
        drawn = self.rng.integers(info.min, info.max, shape, endpoint=True)
        return drawn.astype(dtype or self.dtype)

    def shape(self, rank: int = 4, most: int = 7) -> tuple[int, ...]:
        return (1, *(self.size(2, most) for _ in range(rank - 1)))


def ints(name: str, values: Any) -> TensorSpec:
    data = np.asarray(values, np.int32)
    return TensorSpec(name, data.shape, "int32", data=data)


def case(
    op: str, specs: list[TensorSpec], outputs: int, kind: str, options: dict[str, Any],
    version: int, inputs: list[Array],
) -> TfliteCase:  # fmt: skip
    first = len(specs) - outputs
    operator = OperatorSpec(
        op, list(range(first)), list(range(first, len(specs))), kind, options, version
    )
    return TfliteCase(op, network(specs, [operator]), inputs)


# functions of one word ------------------------------------------------------------------
OWN_SCALE = {
    ("LOGISTIC", "int8"): (2.0**-8, -128), ("LOGISTIC", "uint8"): (2.0**-8, 0),
    ("TANH", "int8"): (2.0**-7, 0), ("TANH", "uint8"): (2.0**-7, 128),
    ("LOGISTIC", "int16"): (2.0**-15, 0), ("TANH", "int16"): (2.0**-15, 0),
}  # fmt: skip


def unary(op: str, kind: str = "", version: int = 1) -> Callable[[Draw], TfliteCase]:
    def make(d: Draw) -> TfliteCase:
        words = np.arange(d.info.min, d.info.max + 1)
        if d.dtype == "int16":
            words = d.rng.choice(words, 1024)
        x = d.tensor("x", (1, len(words)))
        if op == "RSQRT":
            x.zero = [-128]
        scale, zero = OWN_SCALE.get((op, d.dtype), (None, None))
        y = d.tensor("y", x.shape, scale=scale, zero=zero)
        options: dict[str, Any] = {}
        if op == "LEAKY_RELU":
            options = {"Alpha": d.rng.uniform(0.01, 0.9)}
        if op == "GELU":
            options = {"Approximate": d.flag()}
        return case(op, [x, y], 1, kind, options, version, [words.astype(d.dtype)[None]])

    return make


def prelu(d: Draw) -> TfliteCase:
    shape = d.shape(most=8)
    x, a = d.tensor("x", shape), d.tensor("a", (1, 1, shape[3]))
    a.data = d.values(a.shape)
    return case("PRELU", [x, a, d.tensor("y", shape)], 1, "", {}, 1, [d.values(shape)])


# two words ---------------------------------------------------------------------------------
def binary(op: str, kind: str, fused: bool = True) -> Callable[[Draw], TfliteCase]:
    """Two computed operands, or a constant one; of one shape, or one that broadcasts."""

    def make(d: Draw) -> TfliteCase:
        shape = d.shape(most=8)
        a = d.tensor("a", shape)
        b = d.tensor("b", d.one(shape, (1, 1, 1, shape[3]), (shape[3],), (1, shape[1], 1, 1)))
        y = d.tensor("y", shape)
        if op in ("MAXIMUM", "MINIMUM"):
            b, y = d.like("b", b.shape, a), d.like("y", shape, a)
        feeds = [d.values(a.shape), d.values(b.shape)]
        if d.flag():
            b.data = feeds.pop()
        options: dict[str, Any] = {"FusedActivationFunction": d.one(*FUSED)} if fused else {}
        if kind in ("AddOptions", "SubOptions"):
            options["PotScaleInt16"] = False
        return case(op, [a, b, y], 1, kind, options, VERSIONS.get((op, d.dtype), 2), feeds)

    return make


VERSIONS = {("ADD", "int16"): 4, ("SUB", "int16"): 5, ("MUL", "int16"): 4, ("MAXIMUM", "int16"): 3,
            ("MINIMUM", "int16"): 3, ("MUL", "uint8"): 1, ("ADD", "uint8"): 1,
            ("SUB", "uint8"): 1, ("MAXIMUM", "uint8"): 1, ("MINIMUM", "uint8"): 1}  # fmt: skip


# sums -------------------------------------------------------------------------------------
def reduction(op: str) -> Callable[[Draw], TfliteCase]:
    def make(d: Draw) -> TfliteCase:
        shape = (1, d.size(4, 12), d.size(4, 12), d.size(30, 70))
        axes = d.one([1, 2], [2, 1], [1], [2], [3], [-1], [1, 2, 3], [2, 3])
        keep = d.flag()
        x = d.tensor("x", shape)
        reduced = {axis % 4 for axis in axes}
        kept = tuple(
            1 if i in reduced else n for i, n in enumerate(shape) if keep or i not in reduced
        )
        equal = d.flag() or (op == "SUM" and d.dtype != "uint8")
        y = d.like("y", kept, x) if equal else d.tensor("y", kept)
        specs = [x, ints("axes", axes), y]
        return case(op, specs, 1, "ReducerOptions", {"KeepDims": keep}, 2, [d.values(shape)])

    return make


def batch_matmul(d: Draw) -> TfliteCase:
    lead, t, k, u = (1, d.size(1, 3)), d.size(3, 12), d.size(1, 12), d.size(3, 12)
    adjoint = d.flag()
    a, b = d.tensor("a", (*lead, t, k)), d.tensor("b", (*lead, *((u, k) if adjoint else (k, u))))
    y = d.tensor("y", (*lead, t, u), scale=d.scale() * 4)
    feeds = [d.values(a.shape), d.values(b.shape)]
    if d.flag():
        b.data = feeds.pop()
    options = {"AdjX": False, "AdjY": adjoint}
    return case("BATCH_MATMUL", [a, b, y], 1, "BatchMatMulOptions", options, 3, feeds)


def two_activations(d: Draw) -> TfliteCase:
    t, k, u = d.size(4, 12), d.size(1, 16), d.size(4, 12)
    a, b = d.tensor("a", (t, k)), d.tensor("b", (u, k))
    y = d.tensor("y", (t, u), scale=d.scale() * 4)
    feeds = [d.values(a.shape), d.values(b.shape)]
    specs = [a, b, y]
    options = {"FusedActivationFunction": NONE}
    return case("FULLY_CONNECTED", specs, 1, "FullyConnectedOptions", options, 4, feeds)


def _weights(d: Draw, shape: tuple[int, ...], axis: int) -> TensorSpec:
    """Per channel and symmetric where signed, one scale and a zero point where not."""
    if d.dtype == "uint8":
        w = d.tensor("w", shape, scale=float(np.float32(d.rng.uniform(0.2, 2) / 128)))
        w.data = d.values(shape)
        return w
    channels = shape[axis]
    values = d.rng.integers(-127, 128, shape).astype(np.int8)
    scale = np.float32(d.rng.uniform(0.2, 2, channels) / 128).tolist()
    return TensorSpec("w", shape, "int8", scale, [0] * channels, values, axis)


def _bias(d: Draw, outputs: int, x: TensorSpec, w: TensorSpec, kind: str) -> TensorSpec:
    unit = [float(np.float32(x.scale[0]) * np.float32(s)) for s in w.scale]
    values = d.rng.integers(-5000, 5000, outputs).astype(kind)
    return TensorSpec("b", (outputs,), kind, unit, [0] * len(unit), values)


def _bias_type(d: Draw) -> str:
    return d.one("int32", "int64") if d.dtype == "int16" else "int32"


def convolution(op: str) -> Callable[[Draw], TfliteCase]:
    """CONV_2D (grouped as well) and DEPTHWISE_CONV_2D (with a multiplier), dilated."""

    def make(d: Draw) -> TfliteCase:
        depthwise, groups = op.startswith("DEPTH"), d.size(1, 2)
        each, outs = d.size(1, 3), groups * d.size(1, 4)
        multiplier = d.size(1, 2)
        channels = each if depthwise else each * groups
        shape = (1, d.size(5, 9), d.size(5, 9), channels)
        kernel, stride = (d.size(1, 3), d.size(1, 3)), d.size(1, 2)
        wide = d.size(1, 2) if stride == 1 else 1
        own = (1, *kernel, channels * multiplier) if depthwise else (outs, *kernel, each)
        outs = own[3] if depthwise else outs
        x, w = d.tensor("x", shape), _weights(d, own, 3 if depthwise else 0)
        padding = d.one(SAME, VALID)
        plane = tuple(
            -(-shape[i + 1] // stride) if padding == SAME
            else (shape[i + 1] - (kernel[i] - 1) * wide - 1) // stride + 1
            for i in (0, 1)
        )  # fmt: skip
        y = d.tensor("y", (1, *plane, outs), scale=d.scale() * 3)
        fused = d.one(NONE, RELU) if d.dtype == "int16" else d.one(*FUSED)
        options = {"Padding": padding, "StrideH": stride, "StrideW": stride,
                   "DilationHFactor": wide, "DilationWFactor": wide,
                   "FusedActivationFunction": fused}  # fmt: skip
        kind = "Conv2DOptions"
        if depthwise:
            kind = "DepthwiseConv2DOptions"
            options["DepthMultiplier"] = multiplier
        b = _bias(d, outs, x, w, "int64" if depthwise and d.dtype == "int16" else _bias_type(d))
        if b.dtype == "int32" and d.dtype == "int16":
            options["QuantizedBiasType"] = 2
        version = {"uint8": 2, "int8": 3, "int16": 5 if depthwise else 8}[d.dtype]
        return case(op, [x, w, b, y], 1, kind, options, version, [d.values(shape)])

    return make


def spaced_convolution(d: Draw) -> TfliteCase:
    """SPACE_TO_BATCH_ND, CONV_2D and BATCH_TO_SPACE_ND: a dilated convolution in old files."""
    block, kernel = (d.size(1, 3), d.size(1, 3)), (d.size(1, 2), d.size(1, 2))
    small = tuple(d.size(k + 2, k + 4) for k in kernel)
    wide = tuple(s * b for s, b in zip(small, block, strict=True))
    pads = [(d.size(0, 1), d.size(0, 1)) for _ in range(2)]
    shape = (1, *(n - sum(p) for n, p in zip(wide, pads, strict=True)), d.size(1, 3))
    outs = d.size(2, 4)
    x, w = d.tensor("x", shape), _weights(d, (outs, *kernel, shape[3]), 0)
    b = _bias(d, outs, x, w, "int32")
    batch = block[0] * block[1]
    cut = d.like("cut", (batch, *small, shape[3]), x)
    left = tuple(s - k + 1 for s, k in zip(small, kernel, strict=True))
    y = d.tensor("y", (batch, *left, outs), scale=d.scale() * 3)
    crops = [(d.size(0, 1), 0) for _ in range(2)]
    size = tuple(n * b - sum(c) for n, b, c in zip(left, block, crops, strict=True))
    specs = [x, ints("block", block), ints("pads", pads), cut, w, b, y, ints("crops", crops),
             d.like("z", (1, *size, outs), y)]  # fmt: skip
    options = {"Padding": VALID, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1,
               "DilationWFactor": 1, "FusedActivationFunction": d.one(*FUSED)}  # fmt: skip
    operators = [
        OperatorSpec("SPACE_TO_BATCH_ND", [0, 1, 2], 3, "SpaceToBatchNDOptions", {}, 2),
        OperatorSpec("CONV_2D", [3, 4, 5], 6, "Conv2DOptions", options, 3),
        OperatorSpec("BATCH_TO_SPACE_ND", [6, 1, 7], 8, "BatchToSpaceNDOptions", {}, 2),
    ]
    return TfliteCase("SPACE_TO_BATCH_ND", network(specs, operators), [d.values(shape)])


def transpose_conv(d: Draw) -> TfliteCase:
    ins, outs = d.size(1, 4), d.size(1, 4)
    kernel, stride = (d.size(1, 4), d.size(1, 4)), (d.size(1, 3), d.size(1, 3))
    shape, padding = (1, d.size(2, 6), d.size(2, 6), ins), d.one(SAME, VALID)
    plane = tuple(
        shape[i + 1] * stride[i] if padding == SAME
        else (shape[i + 1] - 1) * stride[i] + kernel[i]
        for i in (0, 1)
    )  # fmt: skip
    x, w = d.tensor("x", shape), _weights(d, (outs, *kernel, ins), 0)
    y = d.tensor("y", (1, *plane, outs), scale=d.scale() * 3)
    specs = [ints("shape", y.shape), w, x]
    bias = d.flag()
    if bias:
        specs.append(_bias(d, outs, x, w, "int64" if d.dtype == "int16" else "int32"))
    options = {"Padding": padding, "StrideH": stride[0], "StrideW": stride[1]}
    return case(
        "TRANSPOSE_CONV", [*specs, y], 1, "TransposeConvOptions", options, 3 if bias else 2,
        [d.values(shape)],
    )  # fmt: skip


def fully_connected(d: Draw) -> TfliteCase:
    """Rows of a tensor of two or three axes, weights of one scale or one for each output."""
    features, outs, rows = d.size(1, 24), d.size(4, 8), d.size(4, 12)
    keep = d.flag()
    shape = (1, rows, features)
    x, w = d.tensor("x", shape), _weights(d, (outs, features), 0)
    if d.dtype == "int16" or d.flag():
        w.scale, w.zero = w.scale[:1], w.zero[:1]
    b = _bias(d, outs, x, w, _bias_type(d))
    y = d.tensor("y", (1, rows, outs) if keep else (rows, outs), scale=d.scale() * 3)
    options = {"FusedActivationFunction": d.one(NONE, RELU), "KeepNumDims": keep}
    if b.dtype == "int32" and d.dtype == "int16":
        options["QuantizedBiasType"] = 2
    return case(
        "FULLY_CONNECTED", [x, w, b, y], 1, "FullyConnectedOptions", options,
        {"uint8": 2, "int8": 5, "int16": 11}[d.dtype], [d.values(shape)],
    )  # fmt: skip


def pool(op: str) -> Callable[[Draw], TfliteCase]:
    def make(d: Draw) -> TfliteCase:
        shape = (1, d.size(5, 12), d.size(5, 12), d.size(4, 8))
        x = d.tensor("x", shape)
        kernel, stride = (d.size(1, 3), d.size(1, 3)), (d.size(1, 3), d.size(1, 3))
        padding = d.one(SAME, VALID)
        plane = tuple(
            -(-shape[i + 1] // stride[i]) if padding == SAME
            else (shape[i + 1] - kernel[i]) // stride[i] + 1
            for i in (0, 1)
        )  # fmt: skip
        fused = d.one(*FUSED) if op.startswith("A") else NONE
        options = {"Padding": padding, "StrideH": stride[0], "StrideW": stride[1],
                   "FilterHeight": kernel[0], "FilterWidth": kernel[1],
                   "FusedActivationFunction": fused}  # fmt: skip
        specs = [x, d.like("y", (1, *plane, shape[3]), x)]
        version = {"uint8": 1, "int8": 2, "int16": 3}[d.dtype]
        return case(op, specs, 1, "Pool2DOptions", options, version, [d.values(shape)])

    return make


# moves ------------------------------------------------------------------------------------
def moved(
    d: Draw, op: str, shape: tuple[int, ...], out: tuple[int, ...], *constants: TensorSpec,
    kind: str = "", options: dict[str, Any] | None = None, version: int = 2,
) -> TfliteCase:  # fmt: skip
    x = d.tensor("x", shape)
    specs = [x, *constants, d.like("y", out, x)]
    return case(op, specs, 1, kind, options or {}, version, [d.values(shape)])


def pad(d: Draw) -> TfliteCase:
    shape = d.shape()
    ends = [(0, 0), *((d.size(0, 2), d.size(0, 2)) for _ in range(3))]
    out = tuple(n + a + b for n, (a, b) in zip(shape, ends, strict=True))
    return moved(d, "PAD", shape, out, ints("ends", ends), kind="PadOptions")


def padv2(d: Draw) -> TfliteCase:
    shape = d.shape()
    ends = [(0, 0), *((d.size(0, 2), d.size(0, 2)) for _ in range(3))]
    out = tuple(n + a + b for n, (a, b) in zip(shape, ends, strict=True))
    x = d.tensor("x", shape)
    value = d.like("value", (1,), x)
    value.data = d.values((1,))
    specs = [x, ints("ends", ends), value, d.like("y", out, x)]
    return case("PADV2", specs, 1, "PadV2Options", {}, 2, [d.values(shape)])


def transpose(d: Draw) -> TfliteCase:
    shape = d.shape()
    axes = (0, *d.draw(st.permutations([1, 2, 3]))) if d.flag() else d.draw(
        st.permutations([0, 1, 2, 3])
    )  # fmt: skip
    out = tuple(shape[axis] for axis in axes)
    return moved(d, "TRANSPOSE", shape, out, ints("axes", axes), kind="TransposeOptions")


def strided_slice(d: Draw) -> TfliteCase:
    shape = (1, *(d.size(7, 14) for _ in range(3)))
    steps = [1, *(d.one(1, 1, -1, 2, -2) for _ in range(3))]
    begin = [0, *((d.size(0, n - 1)) for n in shape[1:])]
    masks = [d.size(0, 15) & ~1 for _ in range(2)]
    end = [1, *(
        d.size(b + 1, n) if s > 0 else d.size(-n - 1, b - n - 1)
        for b, n, s in zip(begin[1:], shape[1:], steps[1:], strict=True)
    )]  # fmt: skip
    shrink = d.one(0, 2, 8, 10)
    key: list[Any] = []
    for axis, (b, e, s) in enumerate(zip(begin, end, steps, strict=True)):
        if shrink >> axis & 1:
            steps[axis], end[axis] = 1, b + 1
            masks = [m & ~(1 << axis) for m in masks]
            key.append(b)
        else:
            key.append(slice(None if masks[0] >> axis & 1 else b,
                             None if masks[1] >> axis & 1 else e, s))  # fmt: skip
    out = np.zeros(shape)[tuple(key)].shape
    options = {"BeginMask": masks[0], "EndMask": masks[1], "ShrinkAxisMask": shrink}
    return moved(
        d, "STRIDED_SLICE", shape, out, ints("begin", begin), ints("end", end),
        ints("steps", steps), kind="StridedSliceOptions", options=options,
    )  # fmt: skip


def slices(d: Draw) -> TfliteCase:
    shape = d.shape(most=12)
    begin = [0, *(d.size(0, n - 1) for n in shape[1:])]
    many = [d.one(-1, d.size(1, n - b)) for b, n in zip(begin, shape, strict=True)]
    out = tuple(n - b if m < 0 else m for b, n, m in zip(begin, shape, many, strict=True))
    return moved(d, "SLICE", shape, out, ints("begin", begin), ints("size", many),
                  kind="SliceOptions")  # fmt: skip


def split(d: Draw) -> TfliteCase:
    axis, parts = d.size(1, 3), d.size(2, 3)
    shape = tuple(n * parts if i == axis else n for i, n in enumerate(d.shape(most=4)))
    x = d.tensor("x", shape)
    each = tuple(n // parts if i == axis else n for i, n in enumerate(shape))
    outs = [d.like(f"y{i}", each, x) for i in range(parts)]
    specs = [ints("axis", axis), x, *outs]
    return case("SPLIT", specs, parts, "SplitOptions", {"NumSplits": parts}, 2, [d.values(shape)])


def split_v(d: Draw) -> TfliteCase:
    axis, sizes = d.size(1, 3), [d.size(1, 4), d.size(1, 4), d.size(1, 2)]
    shape = tuple(sum(sizes) if i == axis else n for i, n in enumerate(d.shape(most=5)))
    x = d.tensor("x", shape)
    outs = [
        d.like(f"y{i}", tuple(size if k == axis else n for k, n in enumerate(shape)), x)
        for i, size in enumerate(sizes)
    ]
    specs = [x, ints("sizes", [*sizes[:2], d.one(sizes[2], -1)]), ints("axis", axis), *outs]
    return case("SPLIT_V", specs, 3, "SplitVOptions", {"NumSplits": 3}, 2, [d.values(shape)])


def pack(d: Draw) -> TfliteCase:
    shape, axis = d.shape(3, 12), d.size(1, 3)
    a = d.tensor("a", shape)
    b = d.like("b", shape, a)
    out = (*shape[:axis], 2, *shape[axis:])
    options = {"ValuesCount": 2, "Axis": axis}
    specs = [a, b, d.like("y", out, a)]
    return case("PACK", specs, 1, "PackOptions", options, 2, [d.values(shape), d.values(shape)])


def unpack(d: Draw) -> TfliteCase:
    shape, axis = d.shape(most=8), d.size(1, 3)
    x = d.tensor("x", shape)
    each = (*shape[:axis], *shape[axis + 1 :])
    outs = [d.like(f"y{i}", each, x) for i in range(shape[axis])]
    options = {"Num": shape[axis], "Axis": axis}
    return case("UNPACK", [x, *outs], len(outs), "UnpackOptions", options, 2, [d.values(shape)])


def gather(d: Draw) -> TfliteCase:
    shape, axis = d.shape(), d.size(1, 3)
    index = [d.size(0, shape[axis] - 1) for _ in range(d.size(1, 5))]
    out = (*shape[:axis], len(index), *shape[axis + 1 :])
    return moved(d, "GATHER", shape, out, ints("index", index), kind="GatherOptions",
                  options={"Axis": axis})  # fmt: skip


def resize(op: str, kind: str) -> Callable[[Draw], TfliteCase]:
    def make(d: Draw) -> TfliteCase:
        shape, size = d.shape(most=9), (d.size(3, 12), d.size(3, 12))
        corners, centers = d.one((False, False), (True, False), (False, True))
        options = {"AlignCorners": corners, "HalfPixelCenters": centers}
        return moved(d, op, shape, (1, *size, shape[3]), ints("size", size), kind=kind,
                      options=options, version=3)  # fmt: skip

    return make


def concatenation(d: Draw) -> TfliteCase:
    """Unequal scales for unsigned words, equal ones and perhaps a constant for the others."""
    shape, axis = d.shape(), d.size(1, 3)
    other = tuple(d.size(1, 4) if i == axis else n for i, n in enumerate(shape))
    unequal = d.dtype == "uint8" and d.flag()
    a = d.tensor("a", shape)
    b, y = (d.tensor(n, s) if unequal else d.like(n, s, a) for n, s in (
        ("b", other),
        ("y", tuple(m + n if i == axis else m for i, (m, n) in enumerate(
            zip(shape, other, strict=True)))),
    ))  # fmt: skip
    feeds = [d.values(shape), d.values(other)]
    if not unequal and d.flag():
        b.data = feeds.pop()
    options = {"Axis": d.one(axis, axis - 4), "FusedActivationFunction": NONE}
    version = 1 if d.dtype == "uint8" else 2
    return case("CONCATENATION", [a, b, y], 1, "ConcatenationOptions", options, version, feeds)


def softmax(d: Draw) -> TfliteCase:
    shape = (1, d.size(4, 9), d.size(4, 20))
    x = d.tensor("x", shape)
    scale, zero = {"int8": (2.0**-8, -128), "uint8": (2.0**-8, 0), "int16": (2.0**-15, 0)}[d.dtype]
    specs = [x, d.tensor("y", shape, scale=scale, zero=zero)]
    options = {"Beta": d.one(1.0, 0.5, 2.0)}
    first = case("SOFTMAX", specs, 1, "SoftmaxOptions", options, 2, [d.values(shape)])
    # a reshape behind it, so that it does not end the file
    flat = TensorSpec("z", (1, shape[1] * shape[2]), d.dtype, [scale], [zero])
    operators = [
        OperatorSpec("SOFTMAX", [0], 1, "SoftmaxOptions", options, 2),
        OperatorSpec("RESHAPE", [1, 2], 3, "ReshapeOptions", {}, 1),
    ]
    content = network([*specs, ints("shape", flat.shape), flat], operators)
    return TfliteCase("SOFTMAX", content, first.inputs)


def quantize(other: str) -> Callable[[Draw], TfliteCase]:
    """From one scale to another, and from one type to another."""

    def make(d: Draw) -> TfliteCase:
        shape = d.shape()
        to = Draw(d.draw, other)
        specs = [d.tensor("x", shape), to.tensor("y", shape)]
        return case("QUANTIZE", specs, 1, "QuantizeOptions", {}, 2, [d.values(shape)])

    return make


def arg_max(d: Draw) -> TfliteCase:
    shape = d.shape(most=16)
    axis = d.size(1, 3)
    out = (*shape[:axis], *shape[axis + 1 :])
    y = TensorSpec("y", out, "int32")
    specs = [d.tensor("x", shape), ints("axis", axis), y]
    return case("ARG_MAX", specs, 1, "ArgMaxOptions", {"OutputType": 2}, 2, [d.values(shape)])


def lstm(d: Draw) -> TfliteCase:
    """UNIDIRECTIONAL_SEQUENCE_LSTM, the plain one that Keras makes."""
    steps, features, units = d.size(3, 5), d.size(1, 6), d.size(12, 20)
    x, y = d.tensor("x", (1, steps, features)), d.tensor("y", (1, steps, units), scale=0.0079)
    power = d.size(11, 13)

    def constant(name: str, shape: tuple[int, ...], dtype: str, scale: float) -> TensorSpec:
        top = 127 if dtype == "int8" else 3000
        values = d.rng.integers(-top, top + 1, shape).astype(dtype)
        return TensorSpec(name, shape, dtype, [scale], [0], values)

    own = [
        constant(f"w{i}", (units, features), "int8", d.rng.uniform(2e-3, 9e-3)) for i in range(4)
    ]
    again = [constant(f"r{i}", (units, units), "int8", d.rng.uniform(2e-3, 9e-3)) for i in range(4)]
    biases = [constant(f"b{i}", (units,), "int32", 3e-5) for i in range(4)]
    state = TensorSpec("state", (1, units), "int8", y.scale, y.zero, variable=True)
    cell = TensorSpec("cell", (1, units), "int16", [2.0**-power], [0], variable=True)
    inner = [TensorSpec(f"i{i}", (0,), "float32") for i in range(4)]
    hidden = d.one((y.scale, y.zero), ([y.scale[0] * 1.07], [d.size(-20, 20)]))
    inner.append(TensorSpec("hidden", (0,), "int8", *hidden))
    specs = [x, *own, *again, *biases, state, cell, *inner, y]
    inputs = [0, *range(1, 9), -1, -1, -1, *range(9, 13), -1, -1, 13, 14, *[-1] * 4]
    options = {"FusedActivationFunction": 4, "CellClip": d.one(0.0, 10.0), "ProjClip": 0.0,
               "TimeMajor": False}  # fmt: skip
    operator = OperatorSpec(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, 20, "UnidirectionalSequenceLSTMOptions", options, 1,
        tuple(range(15, 20)),
    )  # fmt: skip
    return TfliteCase(operator.op, network(specs, [operator]), [d.values(x.shape)])


Make = Callable[[Draw], TfliteCase]
EIGHT, SIGNED, ALL = ("int8", "uint8"), ("int8", "int16"), ("int8", "uint8", "int16")
MAKERS: dict[str, tuple[Make, tuple[str, ...]]] = {
    "LOGISTIC": (unary("LOGISTIC"), ALL),
    "TANH": (unary("TANH"), ALL),
    "EXP": (unary("EXP", "ExpOptions", 2), ("int8",)),
    "ELU": (unary("ELU"), ("int8",)),
    "GELU": (unary("GELU", "GeluOptions", 2), ("int8",)),
    "HARD_SWISH": (unary("HARD_SWISH"), EIGHT),
    "LEAKY_RELU": (unary("LEAKY_RELU", "LeakyReluOptions", 2), ALL),
    "RSQRT": (unary("RSQRT", version=2), ("int8",)),
    "RELU": (unary("RELU", version=2), ALL),
    "RELU6": (unary("RELU6", version=2), ALL),
    "RELU_N1_TO_1": (unary("RELU_N1_TO_1"), EIGHT),
    "ABS": (unary("ABS", "AbsOptions", 2), SIGNED),
    "PRELU": (prelu, EIGHT),
    "ADD": (binary("ADD", "AddOptions"), ALL),
    "SUB": (binary("SUB", "SubOptions"), ALL),
    "MUL": (binary("MUL", "MulOptions"), ALL),
    "MAXIMUM": (binary("MAXIMUM", "MaximumMinimumOptions", False), ALL),
    "MINIMUM": (binary("MINIMUM", "MaximumMinimumOptions", False), ALL),
    "SQUARED_DIFFERENCE": (binary("SQUARED_DIFFERENCE", "", False), ("int8",)),
    "MEAN": (reduction("MEAN"), ALL),
    "SUM": (reduction("SUM"), ALL),
    "BATCH_MATMUL": (batch_matmul, SIGNED),
    "FULLY_CONNECTED": (fully_connected, ALL),
    "FULLY_CONNECTED of two activations": (two_activations, ("int8",)),
    "CONV_2D": (convolution("CONV_2D"), ALL),
    "DEPTHWISE_CONV_2D": (convolution("DEPTHWISE_CONV_2D"), ALL),
    "TRANSPOSE_CONV": (transpose_conv, ALL),
    "SPACE_TO_BATCH_ND": (spaced_convolution, ("int8",)),
    "AVERAGE_POOL_2D": (pool("AVERAGE_POOL_2D"), ALL),
    "MAX_POOL_2D": (pool("MAX_POOL_2D"), ALL),
    "PAD": (pad, ALL),
    "PADV2": (padv2, EIGHT),
    "TRANSPOSE": (transpose, ALL),
    "STRIDED_SLICE": (strided_slice, ALL),
    "SLICE": (slices, ALL),
    "SPLIT": (split, ALL),
    "SPLIT_V": (split_v, ALL),
    "PACK": (pack, ALL),
    "UNPACK": (unpack, ALL),
    "GATHER": (gather, ALL),
    "RESIZE_NEAREST_NEIGHBOR": (
        resize("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"), ALL,
    ),
    "RESIZE_BILINEAR": (resize("RESIZE_BILINEAR", "ResizeBilinearOptions"), ALL),
    "CONCATENATION": (concatenation, ALL),
    "SOFTMAX": (softmax, ALL),
    "QUANTIZE to int8": (quantize("int8"), ALL),
    "QUANTIZE to uint8": (quantize("uint8"), EIGHT),
    "QUANTIZE to int16": (quantize("int16"), SIGNED),
    "ARG_MAX": (arg_max, EIGHT),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (lstm, ("int8",)),
}  # fmt: skip
UNARY = tuple(MAKERS)[:12]  # every word of 8 bits in each case
PAIRS = [(name, dtype) for name, (_, types) in MAKERS.items() for dtype in types]


@st.composite
def cases(draw: st.DrawFn, name: str, dtype: str) -> TfliteCase:
    """A model of the named operator on words of a type, and a batch of one for its inputs."""
    return MAKERS[name][0](Draw(draw, dtype))
