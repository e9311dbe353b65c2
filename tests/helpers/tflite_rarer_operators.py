"""TFLite models of the rarer operators: reductions, moves of whole axes, functions of words.

The rule: as in `tflite_operators`; an operator that LiteRT's reference kernels refuse for a
type has no case for it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from tests.helpers.tflite_models import (
    NONE,
    RELU,
    RELU6,
    RELU_N1_TO_1,
    SAME,
    OperatorSpec,
    TensorSpec,
    TfliteCase,
    network,
)
from tests.helpers.tflite_operators import (
    ALL,
    EIGHT,
    FUSED,
    MAKERS,
    PAIRS,
    SIGNED,
    Draw,
    Make,
    case,
    ints,
    moved,
)

__all__ = ["EVERY_PAIR", "RARER", "every_case"]


def extreme(op: str) -> Callable[[Draw], TfliteCase]:
    """REDUCE_MAX and REDUCE_MIN over one axis or some."""

    def make(d: Draw) -> TfliteCase:
        shape = (1, d.size(2, 7), d.size(2, 7), d.size(9, 20))
        axes = d.one([1, 2], [2, 1], [1], [2], [3], [-1], [1, 3])
        keep = d.flag()
        reduced = {axis % 4 for axis in axes}
        kept = tuple(
            1 if i in reduced else n for i, n in enumerate(shape) if keep or i not in reduced
        )
        x = d.tensor("x", shape)
        specs = [x, ints("axes", axes), d.like("y", kept, x)]
        version = {"uint8": 1, "int8": 2, "int16": 3}[d.dtype]
        options = {"KeepDims": keep}
        return case(op, specs, 1, "ReducerOptions", options, version, [d.values(shape)])

    return make


def adjoint_matmul(d: Draw) -> TfliteCase:
    """BATCH_MATMUL with either factor transposed, of leading axes that broadcast."""
    t, k, u, heads = d.size(3, 9), d.size(1, 9), d.size(3, 9), d.size(2, 3)
    lead_a, lead_b = d.one(((1, heads), (1, heads)), ((1, heads), (1, 1)), ((1, 1), (1, heads)))
    adj_x, adj_y = d.flag(), d.flag()
    a = d.tensor("a", (*lead_a, *((k, t) if adj_x else (t, k))))
    b = d.tensor("b", (*lead_b, *((u, k) if adj_y else (k, u))))
    y = d.tensor("y", (1, heads, t, u), scale=d.scale() * 4)
    options = {"AdjX": adj_x, "AdjY": adj_y}
    feeds = [d.values(a.shape), d.values(b.shape)]
    return case("BATCH_MATMUL", [a, b, y], 1, "BatchMatMulOptions", options, 3, feeds)


def activated_pool(op: str) -> Callable[[Draw], TfliteCase]:
    """A pool behind which an activation is fused."""

    def make(d: Draw) -> TfliteCase:
        shape = (1, d.size(5, 9), d.size(5, 9), d.size(4, 8))
        x = d.tensor("x", shape)
        fused = d.one(RELU, RELU6, RELU_N1_TO_1)
        plane = tuple(-(-n // 2) for n in shape[1:3])
        options = {"Padding": SAME, "StrideH": 2, "StrideW": 2, "FilterHeight": 3,
                   "FilterWidth": 2, "FusedActivationFunction": fused}  # fmt: skip
        specs = [x, d.like("y", (1, *plane, shape[3]), x)]
        version = {"uint8": 1, "int8": 2, "int16": 3}[d.dtype]
        return case(op, specs, 1, "Pool2DOptions", options, version, [d.values(shape)])

    return make


def shifted_sum(op: str, version: int) -> Callable[[Draw], TfliteCase]:
    """ADD and SUB of 16-bit words whose scales are powers of two, done by shifts."""

    def make(d: Draw) -> TfliteCase:
        shape, power = d.shape(most=8), d.size(10, 15)
        scales = [2.0**-power, 2.0 ** -(power + d.size(0, 6))]
        if d.flag():
            scales.reverse()
        a, b = (d.tensor(n, shape, scale=s) for n, s in zip("ab", scales, strict=True))
        y = d.tensor("y", shape, scale=2.0**-power)
        options = {"FusedActivationFunction": d.one(NONE, RELU, RELU6), "PotScaleInt16": True}
        kind, feeds = f"{op.capitalize()}Options", [d.values(shape), d.values(shape)]
        return case(op, [a, b, y], 1, kind, options, version, feeds)

    return make


def strided_slice(d: Draw) -> TfliteCase:
    """An ellipsis among the axes, and new axes."""
    shape = (1, *(d.size(5, 12) for _ in range(3)))
    begin, end, steps, ellipsis, new, key = [], [], [], 0, 0, []
    where = d.size(0, 2)
    for place in range(4):
        if place == where:
            ellipsis |= 1 << place
            values, item = (0, 0, 1), Ellipsis
        elif d.flag() and not new:
            new |= 1 << place
            values, item = (0, 0, 1), None
        elif place < where:
            values, item = (0, 1, 1), slice(0, 1)
        else:
            values, item = (1, 4, 1), slice(1, 4)
        for some, value in zip((begin, end, steps), values, strict=True):
            some.append(value)
        key.append(item)
    out = np.zeros(shape)[tuple(key)].shape
    options = {"EllipsisMask": ellipsis, "NewAxisMask": new}
    return moved(
        d, "STRIDED_SLICE", shape, out, ints("begin", begin), ints("end", end),
        ints("steps", steps), kind="StridedSliceOptions", options=options, version=4,
    )  # fmt: skip


def scaled_sum(d: Draw) -> TfliteCase:
    """SUM at another scale."""
    shape = (1, d.size(4, 8), d.size(4, 8), d.size(30, 70))
    x = d.tensor("x", shape)
    y = d.tensor("y", (1, shape[3]), scale=x.scale[0] * d.rng.uniform(2, 40))
    specs = [x, ints("axes", [1, 2]), y]
    return case("SUM", specs, 1, "ReducerOptions", {"KeepDims": False}, 2, [d.values(shape)])


def unary_at(op: str, kind: str, version: int) -> Callable[[Draw], TfliteCase]:
    """A function of a word that is not registered for all types, or has zero points of its own."""

    def make(d: Draw) -> TfliteCase:
        words = np.arange(d.info.min, d.info.max + 1)
        if d.dtype == "int16":
            words = d.rng.choice(words, 1024)
        x, y = d.tensor("x", (1, len(words))), d.tensor("y", (1, len(words)))
        if op in ("LOG", "SQRT", "RSQRT"):
            x.zero = [int(d.info.min)] if d.dtype != "int16" else [0]
            words = np.maximum(words, x.zero[0] + (op == "LOG"))
        if op == "NEG":  # LiteRT does not look at scales
            x.zero, y = [0], d.tensor("y", x.shape, scale=x.scale[0], zero=0)
        return case(op, [x, y], 1, kind, {}, version, [words.astype(d.dtype)[None]])

    return make


def squeeze(d: Draw) -> TfliteCase:
    shape = (1, d.size(4, 12), 1, d.size(4, 12))
    return moved(d, "SQUEEZE", shape, (shape[1], shape[3]), kind="SqueezeOptions", version=1)


def expand_dims(d: Draw) -> TfliteCase:
    shape, axis = d.shape(3, 12), d.one(1, 2, 3, -1)
    out = list(shape)
    out.insert(axis % 4, 1)
    return moved(d, "EXPAND_DIMS", shape, tuple(out), ints("axis", axis),
                 kind="ExpandDimsOptions", version=1)  # fmt: skip


def tile(d: Draw) -> TfliteCase:
    shape, many = d.shape(most=4), [1, *(d.size(1, 3) for _ in range(3))]
    out = tuple(n * m for n, m in zip(shape, many, strict=True))
    return moved(d, "TILE", shape, out, ints("many", many), kind="TileOptions")


def broadcast_to(d: Draw) -> TfliteCase:
    out = (1, d.size(3, 6), d.size(3, 6), d.size(3, 6))
    shape = tuple(n if d.flag() else 1 for n in out)
    return moved(d, "BROADCAST_TO", shape, out, ints("shape", out), kind="BroadcastToOptions")


def mirror_pad(d: Draw) -> TfliteCase:
    shape = (1, *(d.size(4, 7) for _ in range(3)))
    ends = [(0, 0), *((d.size(0, 3), d.size(0, 3)) for _ in range(3))]
    out = tuple(n + a + b for n, (a, b) in zip(shape, ends, strict=True))
    options = {"Mode": d.one(0, 1)}
    return moved(d, "MIRROR_PAD", shape, out, ints("ends", ends), kind="MirrorPadOptions",
                 options=options)  # fmt: skip


def blocks(op: str, kind: str) -> Callable[[Draw], TfliteCase]:
    """SPACE_TO_DEPTH and DEPTH_TO_SPACE."""

    def make(d: Draw) -> TfliteCase:
        size, h, w, c = d.size(2, 3), d.size(2, 4), d.size(2, 4), d.size(1, 3)
        small, wide = (1, h, w, c * size * size), (1, h * size, w * size, c)
        shape, out = (wide, small) if op.startswith("SPACE") else (small, wide)
        return moved(d, op, shape, out, kind=kind, options={"BlockSize": size}, version=1)

    return make


def space_to_batch(d: Draw) -> TfliteCase:
    """SPACE_TO_BATCH_ND by itself: its output has a batch."""
    block = (d.size(1, 3), d.size(1, 3))
    small = (d.size(3, 5), d.size(3, 5))
    pads = [(d.size(0, 1), d.size(0, 1)) for _ in range(2)]
    plane = tuple(s * b - sum(p) for s, b, p in zip(small, block, pads, strict=True))
    c = d.size(1, 3)
    shapes = (1, *plane, c), (block[0] * block[1], *small, c)
    return moved(d, "SPACE_TO_BATCH_ND", *shapes, ints("block", block), ints("pads", pads),
                 kind="SpaceToBatchNDOptions")  # fmt: skip


def batch_to_space(d: Draw) -> TfliteCase:
    """BATCH_TO_SPACE_ND of an input that has a batch."""
    block = (d.size(1, 2), d.size(1, 3))
    small, c = (d.size(3, 5), d.size(3, 5)), d.size(1, 3)
    crops = [(d.size(0, 1), d.size(0, 1)) for _ in range(2)]
    plane = tuple(s * b - sum(p) for s, b, p in zip(small, block, crops, strict=True))
    shapes = (block[0] * block[1], *small, c), (1, *plane, c)
    return moved(d, "BATCH_TO_SPACE_ND", *shapes, ints("block", block), ints("crops", crops),
                 kind="BatchToSpaceNDOptions")  # fmt: skip


def spaced(depthwise: bool) -> Callable[[Draw], TfliteCase]:
    """Between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND a convolution with SAME padding, or two."""

    def make(d: Draw) -> TfliteCase:
        block, c = d.size(2, 3), d.size(1, 3)
        small = (d.size(3, 5), d.size(3, 5))
        shape = (1, small[0] * block, small[1] * block, c)
        x = d.tensor("x", shape)
        cut = d.like("cut", (block * block, *small, c), x)
        own = (1, 3, 3, c) if depthwise else (c, 3, 3, c)
        values = d.rng.integers(-127, 128, own).astype(np.int8)
        w = TensorSpec("w", own, "int8", [0.01] * c, [0] * c, values, 3 if depthwise else 0)
        unit = [float(np.float32(x.scale[0]) * np.float32(0.01))] * c
        b = TensorSpec("b", (c,), "int32", unit, [0] * c, d.rng.integers(-900, 900, c, np.int32))
        y = d.tensor("y", cut.shape, scale=d.scale() * 3)
        specs = [x, ints("block", (block, block)), ints("pads", [(0, 0), (0, 0)]), cut, w, b, y,
                 ints("crops", [(0, 0), (0, 0)]), d.like("z", shape, y)]  # fmt: skip
        options = {"Padding": SAME, "StrideH": 1, "StrideW": 1, "DilationHFactor": 1,
                   "DilationWFactor": 1, "FusedActivationFunction": d.one(NONE, RELU)}  # fmt: skip
        op, kind = "CONV_2D", "Conv2DOptions"
        if depthwise:
            op, kind = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions"
            options["DepthMultiplier"] = 1
        operators = [
            OperatorSpec("SPACE_TO_BATCH_ND", [0, 1, 2], 3, "SpaceToBatchNDOptions", {}, 2),
            OperatorSpec(op, [3, 4, 5], 6, kind, options, 3),
            OperatorSpec("BATCH_TO_SPACE_ND", [6, 1, 7], 8, "BatchToSpaceNDOptions", {}, 2),
        ]
        return TfliteCase("SPACE_TO_BATCH_ND", network(specs, operators), [d.values(shape)])

    return make


def reverse(d: Draw) -> TfliteCase:
    axes = d.one([1], [2], [3], [1, 2]) if d.dtype != "x" else [1]
    shape = d.shape()
    return moved(d, "REVERSE_V2", shape, shape, ints("axes", axes), kind="ReverseV2Options")


def gather_nd(d: Draw) -> TfliteCase:
    shape, many = d.shape(), d.size(3, 8)
    index = [[0, d.size(0, shape[1] - 1), d.size(0, shape[2] - 1)] for _ in range(many)]
    return moved(d, "GATHER_ND", shape, (many, shape[3]), ints("index", index),
                 kind="GatherNdOptions")  # fmt: skip


def gather_of_batches(d: Draw) -> TfliteCase:
    """GATHER whose indices share leading axes with its words."""
    shape, many = d.shape(), d.size(2, 5)
    index = d.rng.integers(0, shape[2], (1, shape[1], many))
    out = (1, shape[1], many, shape[3])
    return moved(d, "GATHER", shape, out, ints("index", index), kind="GatherOptions",
                 options={"Axis": 2, "BatchDims": 2})  # fmt: skip


def select(op: str) -> Callable[[Draw], TfliteCase]:
    """Words of one tensor or another, as a constant says."""

    def make(d: Draw) -> TfliteCase:
        shape = d.shape(most=9)
        a = d.tensor("a", shape)
        b, y = d.like("b", shape, a), d.like("y", shape, a)
        which = TensorSpec("which", shape, "bool", data=d.rng.integers(0, 2, shape).astype(bool))
        feeds = [d.values(shape), d.values(shape)]
        if d.flag():
            b.data = feeds.pop()
        kind = {"SELECT": "SelectOptions", "SELECT_V2": "SelectV2Options"}[op]
        return case(op, [which, a, b, y], 1, kind, {}, 1, feeds)

    return make


def arg_min(d: Draw) -> TfliteCase:
    shape, axis = d.shape(most=16), d.size(1, 3)
    y = TensorSpec("y", (*shape[:axis], *shape[axis + 1 :]), "int32")
    specs = [d.tensor("x", shape), ints("axis", axis), y]
    return case("ARG_MIN", specs, 1, "ArgMinOptions", {"OutputType": 2}, 2, [d.values(shape)])


def cast(d: Draw) -> TfliteCase:
    shape = d.shape()
    specs = [d.tensor("x", shape), TensorSpec("y", shape, "int32")]
    return case("CAST", specs, 1, "CastOptions", {}, 1, [d.values(shape)])


def svdf(d: Draw, state: str = "int16") -> TfliteCase:
    """SVDF whose state and weights over time are of one type, for a batch of one."""
    features, units, rank, memory = d.size(1, 9), d.size(10, 20), d.size(1, 3), d.size(2, 6)
    filters = units * rank
    x, y = d.tensor("x", (1, features)), d.tensor("y", (1, units))
    wide = state == "int16"
    held = TensorSpec("state", (1, filters * memory), state, [d.scale(1, 4) / (256 if wide else 1)],
                      [0 if wide else d.size(-60, 60)], variable=True)  # fmt: skip
    w = TensorSpec("w", (filters, features), "int8", [d.scale(0.2, 1)], [0],
                   d.rng.integers(-127, 128, (filters, features)).astype(np.int8))  # fmt: skip
    top = 3000 if wide else 127
    t = TensorSpec("t", (filters, memory), state, [float(d.rng.uniform(1, 4) / top)], [0],
                   d.rng.integers(-top, top + 1, (filters, memory)).astype(state))  # fmt: skip
    unit = held.scale[0] * t.scale[0]
    most = 20000 if wide else 80  # of the state, so that outputs spread over their range
    spread = min(features**0.5 * 5400 * x.scale[0] * w.scale[0] / held.scale[0], most)
    y.scale = [float(np.float32(unit * (rank * memory) ** 0.5 * top * spread / 90))]
    b = TensorSpec("b", (units,), "int32", [unit], [0],
                   d.rng.integers(-900, 900, units).astype(np.int32))  # fmt: skip
    options = {"Rank": rank, "FusedActivationFunction": RELU}
    operator = OperatorSpec("SVDF", [0, 1, 2, 3, 4], 5, "SVDFOptions", options, 3)
    content = network([x, w, t, b, held, y], [operator])
    return TfliteCase("SVDF", content, [d.values((1, features))])


REAL_UNARY = {
    "LOGISTIC": ("", 1), "TANH": ("", 1), "RELU": ("", 1), "RELU6": ("", 1), "ABS": ("", 1),
    "RELU_N1_TO_1": ("", 1), "NEG": ("NegOptions", 1), "SQUARE": ("SquareOptions", 1),
    "EXP": ("ExpOptions", 1), "HARD_SWISH": ("HardSwishOptions", 1), "FLOOR": ("", 1),
    "LEAKY_RELU": ("LeakyReluOptions", 1),
    "GELU": ("GeluOptions", 1),
}  # fmt: skip
REAL_BINARY = {"ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "DIV": "DivOptions",
               "MAXIMUM": "MaximumMinimumOptions", "MINIMUM": "MaximumMinimumOptions"}  # fmt: skip


def real_function(d: Draw) -> TfliteCase:
    """DEQUANTIZE, some functions of real numbers, QUANTIZE: every word of 16 channels."""
    shape = (1, 1 << 4, 1 << 4)
    first, last = d.tensor("x", shape), d.tensor("y", shape, scale=d.scale() * 2)
    specs = [first, TensorSpec("r0", shape, "float32")]
    operators = [OperatorSpec("DEQUANTIZE", [0], 1, "DequantizeOptions", {}, 2)]
    at = real = 1
    tame = [op for op in REAL_UNARY if op not in ("EXP", "SQUARE")]  # no number beyond 32 bits
    for i in range(d.size(1, 3)):
        op = d.one(*(tame if i else REAL_UNARY), *REAL_BINARY, *REAL_BINARY)
        inputs, options = [at], {}
        if op in REAL_BINARY:
            many = d.one((), (1,), (shape[2],))
            numbers = d.rng.uniform(0.3, 3, many) * d.one(1, -1)
            specs.append(TensorSpec(f"c{i}", many, "float32", data=np.float32(numbers)))
            inputs.insert(d.size(0, int(op != "DIV")), len(specs) - 1)
            inputs = d.one(inputs, inputs, [at, real]) if op in ("MUL", "ADD") else inputs
            if op == "DIV":
                inputs = [at, len(specs) - 1]
            if op in ("ADD", "SUB", "MUL", "DIV"):
                options = {"FusedActivationFunction": d.one(*FUSED)}
        if op == "LEAKY_RELU":
            options = {"Alpha": 0.3}
        if op == "GELU":
            options = {"Approximate": d.flag()}
        specs.append(TensorSpec(f"r{i + 1}", shape, "float32"))
        kind, version = (REAL_BINARY[op], 1) if op in REAL_BINARY else REAL_UNARY[op]
        at = len(specs) - 1
        operators.append(OperatorSpec(op, inputs, at, kind, options, version))
    specs.append(last)
    operators.append(OperatorSpec("QUANTIZE", [at], len(specs) - 1, "QuantizeOptions", {}, 1))
    words = np.arange(d.info.min, d.info.max + 1).astype(d.dtype).reshape(shape)
    return TfliteCase("DEQUANTIZE", network(specs, operators), [words])


RARER: dict[str, tuple[Make, tuple[str, ...]]] = {
    "REDUCE_MAX": (extreme("REDUCE_MAX"), ALL),
    "REDUCE_MIN": (extreme("REDUCE_MIN"), ALL),
    "BATCH_MATMUL transposed": (adjoint_matmul, SIGNED),
    "MAX_POOL_2D activated": (activated_pool("MAX_POOL_2D"), ALL),
    "ADD by shifts": (shifted_sum("ADD", 2), ("int16",)),
    "SUB by shifts": (shifted_sum("SUB", 2), ("int16",)),
    "STRIDED_SLICE of new axes": (strided_slice, ALL),
    "SUM at another scale": (scaled_sum, EIGHT),
    "EXP of other types": (unary_at("EXP", "ExpOptions", 2), ("int16",)),
    "LOG": (unary_at("LOG", "", 2), SIGNED),
    "SQRT": (unary_at("SQRT", "", 1), ("int8",)),
    "NEG": (unary_at("NEG", "NegOptions", 1), SIGNED),
    "RELU_0_TO_1": (unary_at("RELU_0_TO_1", "", 1), EIGHT),
    "GELU of other types": (unary_at("GELU", "GeluOptions", 2), ("uint8", "int16")),
    "SVDF": (svdf, ("int8",)),
    "DEQUANTIZE, real functions, QUANTIZE": (real_function, EIGHT),
    "SQUEEZE": (squeeze, ALL),
    "EXPAND_DIMS": (expand_dims, ALL),
    "TILE": (tile, ALL),
    "BROADCAST_TO": (broadcast_to, ALL),
    "MIRROR_PAD": (mirror_pad, ALL),
    "SPACE_TO_DEPTH": (blocks("SPACE_TO_DEPTH", "SpaceToDepthOptions"), EIGHT),
    "DEPTH_TO_SPACE": (blocks("DEPTH_TO_SPACE", "DepthToSpaceOptions"), EIGHT),
    "SPACE_TO_BATCH_ND alone": (space_to_batch, ALL),
    "BATCH_TO_SPACE_ND alone": (batch_to_space, ALL),
    "SPACE_TO_BATCH_ND around SAME": (spaced(False), ("int8",)),
    "SPACE_TO_BATCH_ND around DEPTHWISE": (spaced(True), ("int8",)),
    "REVERSE_V2": (reverse, ALL),
    "GATHER_ND": (gather_nd, ALL),
    "GATHER of batches": (gather_of_batches, ALL),
    "SELECT": (select("SELECT"), ALL),
    "SELECT_V2": (select("SELECT_V2"), ALL),
    "ARG_MIN": (arg_min, EIGHT),
    "CAST": (cast, ALL),
}
EVERY_PAIR = PAIRS + [(name, dtype) for name, (_, types) in RARER.items() for dtype in types]


@st.composite
def every_case(draw: st.DrawFn, name: str, dtype: str) -> TfliteCase:
    """A model of the named operator, of both tables, and a batch of one for its inputs."""
    return (MAKERS | RARER)[name][0](Draw(draw, dtype))
