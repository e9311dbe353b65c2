"""Random quantized ONNX graphs, and what the reference evaluator makes of them.

Scales are small odd numbers times powers of two, so that the evaluator's float32 is exact
where nothing divides by a number that is no power of two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from apsim.nn.judges import onnx_ops

Array = NDArray[Any]
Float = np.float32
QONNX = "qonnx.custom_op.general"
TYPES = (np.int8, np.uint8, np.int16, np.uint16)
ODD_NAMES = ("x (quantized)", "a b", "c/d:0", "sums", "\u00fc", "r1 (after max_pool 0)", "q.w", "1")
PLACES = (
    "Pad", "Slice", "Split", "Gather", "Resize", "DepthToSpace", "SpaceToDepth", "Tile",
)  # fmt: skip
FUNCTIONS: tuple[tuple[str, dict[str, float]], ...] = (
    ("Sigmoid", {}), ("Tanh", {}), ("Exp", {}), ("Abs", {}), ("Neg", {}), ("Erf", {}),
    ("Elu", {"alpha": 0.5}), ("LeakyRelu", {"alpha": 0.25}), ("HardSigmoid", {"alpha": 0.25}),
    ("Softplus", {}), ("Softsign", {}), ("Selu", {}), ("Floor", {}), ("Round", {}),
)  # fmt: skip
MOVES = ("Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Cast", "Dropout")
MODES = {
    "ROUND": np.round, "HALF_EVEN": np.round, "CEIL": np.ceil, "FLOOR": np.floor,
    "ROUND_TO_ZERO": np.trunc, "DOWN": np.trunc,
    "UP": lambda v: np.sign(v) * np.ceil(np.abs(v)),
    "HALF_UP": lambda v: np.sign(v) * np.floor(np.abs(v) + 0.5),
    "HALF_DOWN": lambda v: np.sign(v) * np.ceil(np.abs(v) - 0.5),
}  # fmt: skip


class QuantizeLinear(OpRun):  # type: ignore[misc]
    """The operator's definition; the evaluator's own begins with opset 19."""

    op_domain = ""

    def _run(self, x: Array, scale: Array, zero: Any = None, **_: Any) -> tuple[Array]:
        zero = np.uint8(0) if zero is None else zero
        info = np.iinfo(zero.dtype)
        q = np.rint(x / scale) + zero.astype(Float)
        return (np.clip(q, info.min, info.max).astype(zero.dtype),)


class DequantizeLinear(OpRun):  # type: ignore[misc]
    """The operator's definition; the evaluator's own begins with opset 19."""

    op_domain = ""

    def _run(self, x: Array, scale: Array, zero: Any = None, axis: Any = None, **_: Any) -> Any:
        shape = [1] * x.ndim
        if np.size(scale) > 1:
            shape[1 if axis is None else axis] = -1
        off = np.zeros_like(scale) if zero is None else zero
        less = x.astype(np.int64) - np.reshape(off, shape).astype(np.int64)
        return ((less.astype(Float) * np.reshape(scale, shape)).astype(Float),)


class Quant(OpRun):  # type: ignore[misc]
    """QONNX Quant, by its specification."""

    op_domain = QONNX

    def _run(
        self, x: Array, scale: Array, zero: Array, bits: Array, signed: Any = 1, narrow: Any = 0,
        rounding_mode: Any = "ROUND",
    ) -> Any:  # fmt: skip
        q = x / scale + zero
        if signed and np.size(bits) == 1 and np.ravel(bits)[0] == 1:
            q = np.where(q >= 0, 1.0, -1.0)
        else:
            lo = -(2.0 ** (bits - 1)) + narrow if signed else np.zeros_like(bits)
            hi = 2.0 ** (bits - 1) - 1 if signed else 2.0**bits - 1 - narrow
            q = MODES[rounding_mode](np.clip(q, lo, hi))
        return (((q - zero) * scale).astype(Float),)


class MultiThreshold(OpRun):  # type: ignore[misc]
    """FINN MultiThreshold, by its definition: how many thresholds are reached."""

    op_domain = QONNX

    def _run(
        self, x: Array, thresholds: Array, out_scale: Any = 1.0, out_bias: Any = 0.0, **_: Any
    ) -> Any:
        shape = [1] * x.ndim
        shape[1 if x.ndim > 1 else 0] = len(thresholds)
        found = sum((x >= column.reshape(shape)).astype(Float) for column in thresholds.T)
        return ((found * Float(out_scale) + Float(out_bias)).astype(Float),)


@dataclass
class Value:
    """A real tensor of the graph under construction: its name and shape with the batch."""

    name: str
    shape: tuple[int, ...]


@dataclass
class Graph:
    """A graph, the inputs for it, and the tensors that a quantization takes."""

    proto: Any
    x: Array
    quantized: dict[str, tuple[str, float]] = field(default_factory=dict)


class Drawn:
    """One graph under construction, all of it from one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = int(self.rng.integers(10, 24))
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.names: set[str] = set()
        self.quantized: dict[str, tuple[str, float]] = {}
        self.integer: dict[str, str] = {}

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def one_of(self, *values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def size(self, lo: int, hi: int) -> int:
        return int(self.rng.integers(lo, hi + 1))

    def name(self) -> str:
        wanted = self.one_of(*ODD_NAMES) if self.chance(0.1) else f"t{len(self.names)}"
        while wanted in self.names:
            wanted += "'"
        self.names.add(wanted)
        return wanted

    def const(self, value: Any) -> str:
        name = self.name()
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], domain: str = "", **attributes: Any) -> str:
        output = self.name()
        label = {} if self.chance(0.5) else {"name": f"n{len(self.nodes) // 2 * 2}"}
        self.nodes.append(
            helper.make_node(op, inputs, [output], domain=domain, **label, **attributes)
        )
        return output

    def scale(self, fine: bool = True) -> Any:
        odd = self.one_of(1, 1, 3, 5) if fine else 1
        return Float(odd * 2.0 ** self.size(-5, 1))

    # values: real tensors after a quantization

    def quantize(self, value: Value, coarse: int = 0) -> Value:
        """QuantizeLinear and DequantizeLinear, with a Clip between at times, or Quant."""
        if self.chance(0.07):
            return self._thresholds(value, coarse)
        if self.chance(0.35):
            return self._quant(value, coarse)
        return self._linear_quantized(value, coarse)

    def _linear_quantized(self, value: Value, coarse: int) -> Value:
        """QuantizeLinear and DequantizeLinear, with a Clip or a move of integers between."""
        kind = self.one_of(*TYPES[:2], *TYPES)
        info = np.iinfo(kind)
        zero = kind(self.size(max(info.min, -9), 9))
        step = Float(self.scale(False) * 2.0**coarse)
        constants = [self.const(step if self.chance(0.8) else [step]), self.const(zero)]
        q = self.node("QuantizeLinear", [value.name, *constants])
        self.quantized[q] = (value.name, float(step))
        if self.chance(0.2) and self.opset >= 12:
            ends = sorted(self.rng.integers(max(info.min, -100), 100, 2))
            ends = ends[::-1] if self.chance(0.1) else ends
            q = self.node("Clip", [q, self.const(kind(ends[0])), self.const(kind(ends[1]))])
        if self.chance(0.1) and self.opset >= 14 and kind in (np.int8, np.int16):
            q = self.node("Relu", [q])
        if self.chance(0.1):
            q = self.node("Identity", [q])
        shape = value.shape
        if self.chance(0.15):
            q, shape = self._moved_integers(q, shape, kind)
        if self.chance(0.06):
            q = self.node("Cast", [q], to=TensorProto.FLOAT)  # the integers themselves
            return Value(self.node("Mul", [q, self.const(Float(0.5))]), shape)
        other = self.chance(0.1)
        if other:
            constants = [
                self.const(Float(step * 3)),
                self.const(kind(max(info.min, int(zero) - 1))),
            ]
        return Value(self.node("DequantizeLinear", [q, *constants]), shape)

    def _moved_integers(self, q: str, shape: tuple[int, ...], kind: Any) -> tuple[str, Any]:
        """Integers reordered, joined with themselves or pooled before they are real again."""
        op = self.one_of("Transpose", "Concat", "MaxPool", "Reshape", "Cast")
        if op == "Transpose":
            perm = [0, *range(1, len(shape))][:1] + list(range(1, len(shape)))[::-1]
            return self.node(op, [q], perm=perm), tuple(shape[axis] for axis in perm)
        if op == "Concat" and len(shape) > 1:
            return self.node(op, [q, q], axis=1), (shape[0], 2 * shape[1], *shape[2:])
        if op == "MaxPool" and len(shape) == 4 and self.opset >= 12 and kind in (np.int8, np.uint8):
            return self.node(op, [q], kernel_shape=[1, 1], strides=[1, 2]), (
                *shape[:3], (shape[3] - 1) // 2 + 1)  # fmt: skip
        if op == "Reshape":
            whole = int(np.prod(shape[1:]))
            return self.node(op, [q, self.const(np.array([0, -1], np.int64))]), (shape[0], whole)
        return q, shape

    def _thresholds(self, value: Value, coarse: int) -> Value:
        """MultiThreshold with evenly spaced thresholds, or one, or uneven ones."""
        rows = value.shape[1] if len(value.shape) > 1 and self.chance(0.5) else 1
        count = self.one_of(1, 1, 3, 4)
        step = float(self.scale(False) * 2.0**coarse)
        first = self.rng.integers(-4, 5, (rows, 1)) * step / 2
        table = first + step * np.arange(count)
        if self.chance(0.3):
            table = np.sort(self.rng.integers(-9, 9, (rows, count)), axis=1) / 2
        scale = self.one_of(0.5, 1.0, 2.0)
        bias = self.one_of(0.0, -scale / 2, -scale, 2 * scale, 0.1)
        name = self.node("MultiThreshold", [value.name, self.const(table.astype(Float))], QONNX,
                         out_scale=scale, out_bias=bias)  # fmt: skip
        return Value(name, value.shape)

    def _quant(self, value: Value, coarse: int) -> Value:
        bits = self.one_of(1, 2, 3, 4, 5, 7.3, 8, 2.6)
        signed, narrow = self.size(0, 1), self.size(0, 1)
        zero = self.one_of(0, 0, 0, 3)
        step = Float(self.scale(False) * 2.0**coarse)
        parts = [self.const(step), self.const(Float(zero)), self.const(Float(bits))]
        output = self.node(
            "Quant", [value.name, *parts], QONNX, signed=signed, narrow=narrow,
            rounding_mode=self.one_of(*MODES),
        )  # fmt: skip
        return Value(output, value.shape)

    def weights(self, shape: tuple[int, ...], out: int) -> str:
        """Constant weights with scales along `out`, at times along another axis."""
        if self.chance(0.3):
            real = (self.rng.integers(-40, 40, shape) / 8).astype(Float)
            parts = [
                self._beside(shape, out, lambda n: [self.scale() for _ in range(n)]),
                np.zeros(1, Float),
                self._beside(shape, out, lambda n: self.rng.choice([2, 3, 4, 8], n)),
            ]
            if self.chance(0.2):
                parts[2] = np.ones(1)
            names = [self.const(part.astype(Float)) for part in parts]
            return self.node(
                "Quant", [self.const(real), *names], QONNX, signed=1, narrow=self.size(0, 1),
                rounding_mode=self.one_of(*MODES),
            )  # fmt: skip
        kind = self.one_of(np.int8, np.int8, np.uint8)
        integers = self.rng.integers(-8 if kind is np.int8 else 0, 8, shape).astype(kind)
        axis = out if self.chance(0.8) else self.size(0, len(shape) - 1)
        count = shape[axis] if self.chance(0.6) else 1
        scales = np.array([self.scale() for _ in range(count)], Float)
        zeros = self.rng.integers(0, 3, count).astype(kind)
        if count == 1 and shape[axis] != 1:
            scales, zeros = scales[0], zeros[0]
        written = (
            {} if axis == 1 and self.chance(0.5) else {"axis": axis - len(shape) * self.size(0, 1)}
        )
        if self.opset < 13:
            written, scales, zeros = {}, np.ravel(scales)[0], np.ravel(zeros)[0]
        given = [self.const(integers), self.const(scales), self.const(zeros)]
        if self.chance(0.2):
            return self._weights_moved(integers, shape, axis, given, written)
        return self.node("DequantizeLinear", given, **written)

    def _weights_moved(
        self, integers: Array, shape: tuple[int, ...], axis: int, given: list[str], written: Any
    ) -> str:
        """The same weights, moved to where they belong before or after they are dequantized."""
        order = [int(one) for one in self.rng.permutation(len(shape))]
        back = [int(one) for one in np.argsort(order)]
        if self.chance(0.5):  # integers first
            turned = self.node("Transpose", [self.const(integers.transpose(order))], perm=back)
            return self.node("DequantizeLinear", [turned, *given[1:]], **written)
        if self.chance(0.5):
            written = {"axis": order.index(axis)} if written or axis != 1 or order != back else {}
            written = {} if self.opset < 13 else {"axis": order.index(axis)}
            real = self.node(
                "DequantizeLinear", [self.const(integers.transpose(order)), *given[1:]], **written
            )
            return self.node("Transpose", [real], perm=back)
        real = self.node("DequantizeLinear", given, **written)
        flat = self.node("Reshape", [real, self.const(np.array([shape[0], -1], np.int64))])
        if self.chance(0.3):  # another order of the values altogether
            flat = self.node("Reshape", [flat, self.const(np.array([-1, 1], np.int64))])
        return self.node("Reshape", [flat, self.const(np.array(shape, np.int64))])

    def _beside(self, shape: tuple[int, ...], axis: int, make: Any) -> Array:
        """One number, or a vector along an axis, in the fullest form or from the last axis."""
        if self.chance(0.5):
            return np.asarray(make(1))
        if self.chance(0.2):
            axis = self.size(0, len(shape) - 1)
        lay = [1] * len(shape)
        lay[axis] = -1
        values = np.reshape(np.asarray(make(shape[axis])), lay)
        return values[0] if axis and self.chance(0.3) else values

    def constant_beside(self, shape: tuple[int, ...], exact: bool = True) -> Array:
        """A constant of any shape that broadcasts with a tensor, at times to a larger one."""
        rank = self.size(0, len(shape))
        sizes = [size if self.chance(0.4) else 1 for size in shape[len(shape) - rank :]]
        if self.chance(0.5) and len(shape) > 1:  # along the channels
            sizes = [shape[1], *[1] * (len(shape) - 2)]
        if self.chance(0.03):
            sizes = [self.size(1, 3), *[1] * len(shape)]
        choices = (0.5, 1, 2, -1, 4, -0.25) if exact else (0.5, 1.5, -2.25, 3, 40, 0)
        values = np.asarray(self.rng.choice(choices, sizes), Float)
        return np.full_like(values, values.ravel()[0]) if self.chance(0.1) else values

    def clips(self, value: Value) -> Value:
        """Up to three of Relu and Clip."""
        for _ in range(self.one_of(0, 0, 1, 1, 2, 3)):
            if self.chance(0.4):
                value = Value(self.node("Relu", [value.name]), value.shape)
                continue
            ends = np.sort(self.rng.choice([-3, -1.3, -1, 0, 0.4, 1, 1.75, 2, 3, 6], 2))
            ends = ends[::-1] if self.chance(0.1) else ends
            lo, hi = (Float(end) for end in ends)
            if self.opset < 11:
                name = self.node("Clip", [value.name], min=float(lo), max=float(hi))
            else:
                given = [value.name, self.const(lo) if self.chance(0.8) else "", self.const(hi)]
                name = self.node("Clip", given[: self.size(2, 3) if given[1] else 3])
            value = Value(name, value.shape)
        return value

    def arithmetic(self, value: Value) -> Value:
        """Add, Sub, Mul, Div or BatchNormalization with constants, at times."""
        for _ in range(self.one_of(0, 0, 1, 1, 2)):
            op = self.one_of("Add", "Sub", "Mul", "Div", "BatchNormalization")
            if self.opset < 14 and op == "BatchNormalization":
                continue  # of these the evaluator takes the batch's own mean and variance
            if op == "BatchNormalization":
                count = value.shape[1]
                draw = self.rng.choice([0.5, 1, 2, -1], (2, count)).astype(Float)
                given = [*draw, np.ones(count, Float) * 2, np.full(count, 4.0, Float)]
                extra = {"epsilon": 0.0}
                if self.chance(0.1):
                    extra["training_mode"] = 1
                names = [self.const(part) for part in given]
                value = Value(self.node(op, [value.name, *names], **extra), value.shape)
                continue
            beside = self.constant_beside(value.shape, exact=op in ("Mul", "Div"))
            given = [value.name, self.const(beside)]
            if op in ("Add", "Mul") and self.chance(0.3):
                given = given[::-1]
            shape = np.broadcast_shapes(value.shape, beside.shape)
            value = Value(self.node(op, given), tuple(shape))
        return value

    def convolution(self, value: Value) -> Value:
        channels, *plane = value.shape[1:]
        height, axes = plane[0], len(plane)
        kernel = tuple(self.size(1, min(3, size)) for size in plane)
        groups = channels if self.chance(0.2) else 1
        outs = groups * self.size(1, 2) if groups > 1 else self.size(1, 4)
        if self.chance(0.3):
            outs = max(height, 1) if groups == 1 else outs  # lengths that may be taken for others
        shape = (outs, channels // groups, *kernel)
        written: dict[str, Any] = {"group": groups} if groups > 1 or self.chance(0.3) else {}
        if self.chance(0.5):
            written["strides"] = [self.size(1, 2) for _ in kernel]
        if self.chance(0.4):
            written["pads"] = [self.size(0, 2) for _ in range(2 * axes)]
        elif self.chance(0.3):
            written["auto_pad"] = self.one_of("SAME_UPPER", "SAME_LOWER", "VALID")
        if self.chance(0.3):
            written["kernel_shape"] = list(kernel)
        given = [value.name, self.weights(shape, 0)]
        if self.chance(0.4):
            given.append(self.const(self.rng.choice([0.5, 1.25, -3, 0], outs).astype(Float)))
        return self._result("Conv", given, **written)

    def transposed_convolution(self, value: Value) -> Value:
        channels, *plane = value.shape[1:]
        groups = channels if self.chance(0.3) else 1
        kernel = [self.size(1, 3) for _ in plane]
        strides = [self.size(1, 3) for _ in plane]
        written: dict[str, Any] = {"group": groups} if groups > 1 else {}
        if self.chance(0.7):
            written["strides"] = strides
            if self.chance(0.4):
                written["output_padding"] = [self.size(0, n - 1) for n in strides]
        if self.chance(0.3):
            written["dilations"] = [self.size(1, 2) for _ in plane]
        if self.chance(0.5):
            written["pads"] = [self.size(0, n - 1) for n in kernel] * 2
        outs = self.size(1, 3)
        weights = self.weights((channels, outs, *kernel), 1 if groups == 1 else 0)
        given = [value.name, weights]
        if self.chance(0.4):
            draws = self.rng.choice([0.5, 1.25, -3, 0], outs * groups)
            given.append(self.const(draws.astype(Float)))
        return self._result("ConvTranspose", given, **written)

    def attention(self, first: Value, second: Value) -> Value:
        """A product of two tensors, or of one and itself turned round, times a number at times."""
        rank = len(first.shape)
        perm = [*range(rank - 2), rank - 1, rank - 2]
        left, right = first.name, second.name
        if first.shape[:-1] != second.shape[:-1] or rank < 3:
            right = left
        scale = self.const(Float(self.one_of(0.5, 0.25, 2)))
        if self.chance(0.2):
            left = self.node("Mul", [left, scale])
        turned = self.node("Transpose", [right], perm=perm)
        made = self._result("MatMul", [left, turned])
        return self._result("Mul", [made.name, scale]) if self.chance(0.4) else made

    def island(self, value: Value) -> Value:
        """A softmax over an axis, or a layer norm over the last."""
        axis = self.size(1, len(value.shape) - 1) - len(value.shape) * self.size(0, 1)
        if self.chance(0.5) or self.opset < 17 or value.shape[-1] == 1:
            return self._result("Softmax", [value.name], axis=axis)
        size = value.shape[-1]
        gamma = self.rng.choice([0.5, 1, 2, -1], size).astype(Float)
        given = [value.name, self.const(gamma)]
        if self.chance(0.6):
            given.append(self.const(self.rng.choice([0.5, -1, 0], size).astype(Float)))
        return self._result("LayerNormalization", given, axis=-1, epsilon=0.125)

    def choice(self, first: Value, second: Value) -> Value:
        """Where a constant condition holds one, else the other, a tensor or numbers."""
        beside = self.constant_beside(first.shape, exact=False)
        condition = self.const(self.constant_beside(first.shape) > 0)
        other = self.const(beside)
        if first.shape == second.shape and self.chance(0.5):
            other = second.name
        pair = [first.name, other]
        return self._result("Where", [condition, *(pair if self.chance(0.5) else pair[::-1])])

    def dense(self, value: Value) -> Value:
        rows, last = value.shape[0], value.shape[-1]
        outs = self.one_of(rows, last, self.size(1, 5))
        if len(value.shape) != 2 or self.chance(0.4):
            return self._result("MatMul", [value.name, self.weights((last, outs), 1)])
        turned = self.size(0, 1)
        shape = (outs, last) if turned else (last, outs)
        written: dict[str, Any] = {"transB": turned}
        if self.chance(0.2):
            written["alpha"] = self.one_of(0.5, 2.0, -1.0)
        if self.chance(0.2):
            written["beta"] = self.one_of(0.5, 0.0, 2.0)
        given = [value.name, self.weights(shape, 0 if turned else 1)]
        if self.chance(0.7) or self.opset < 11:
            sizes = self.one_of((), (1,), (outs,), (1, outs), (rows, 1), (rows, outs), (1, 1))
            given.append(self.const(self.rng.choice([0.5, 1.25, -3, 0], sizes).astype(Float)))
        return self._result("Gemm", given, **written)

    def rows(self, value: Value) -> Value:
        """A product over rows of which the batch is a part, as preprocessing tools write it."""
        last, count = value.shape[-1], int(np.prod(value.shape[:-1]))
        wanted = self.const(np.array(self.one_of([-1, last], [count, last]), np.int64))
        x = self._result("Reshape", [value.name, wanted])
        outs = self.size(1, 4)
        x = self._result("Gemm", [x.name, self.weights((last, outs), 1), self.const(
            self.rng.choice([0.5, -2, 0], outs).astype(Float))])  # fmt: skip
        if self.chance(0.5):
            x = self._linear_quantized(self.clips(x), 2)
        back = self.one_of([value.shape[0], -1], [*value.shape[:-1], outs], [-1, outs, count])
        if int(np.prod(back)) not in (count * outs, -value.shape[0]):
            back = [*value.shape[:-1], outs]
        return self._result("Reshape", [x.name, self.const(np.array(back, np.int64))])

    def _result(self, op: str, given: list[str], **written: Any) -> Value:
        return Value(self.node(op, given, **written), self.shape_of_last())

    def place(self, value: Value) -> Value:
        """An operator that moves values, pads them or leaves some out."""
        rank, op = len(value.shape), self.one_of(*PLACES)
        axis = self.size(0 if self.chance(0.1) else 1, rank - 1) if rank > 1 else 0
        size = value.shape[axis]
        given = [value.name]
        if op == "Pad" and self.opset < 11:
            pads = [0] * (2 * rank)
            pads[axis], pads[axis + rank] = self.size(0, 2), self.size(0, 2)
            return self._result(op, given, pads=pads, value=self.one_of(0.0, 0.0, 1.0))
        if op == "Split" and size > 1 and 11 <= self.opset < 13:
            outputs = [self.name(), self.name()]
            self.nodes.append(helper.make_node(op, given, outputs, axis=axis, split=[1, size - 1]))
            return Value(outputs[0], (*value.shape[:axis], 1, *value.shape[axis + 1 :]))
        if op == "Pad" and self.opset >= 11:
            pads = np.zeros((2, rank), np.int64)
            pads[:, axis] = self.size(0, 2), self.size(-1 if size > 1 else 0, 2)
            extra = [self.const(Float(self.one_of(0, 0, 1.5)))] if self.chance(0.5) else []
            mode = self.one_of("constant", "constant", "edge", "reflect" if size > 2 else "edge")
            return self._result(op, [*given, self.const(pads.ravel()), *extra], mode=mode)
        if op == "Slice" and self.opset >= 10:
            step = self.one_of(1, 1, 2, -1)
            ends = (self.size(0, size - 1), size) if step > 0 else (size - 1, -size - 1)
            parts = [[ends[0]], [self.one_of(ends[1], 1 << 40 if step > 0 else -(1 << 40))],
                     [axis - rank * self.size(0, 1)], [step]]  # fmt: skip
            return self._result(op, [*given, *(self.const(np.array(p)) for p in parts)])
        if op == "Split" and size > 1 and self.opset >= 13:
            cut = self.size(1, size - 1)
            outputs = [self.name(), self.name()]
            given.append(self.const(np.array([cut, size - cut])))
            self.nodes.append(helper.make_node(op, given, outputs, axis=axis))
            sizes = (cut, size - cut)
            which = self.size(0, 1)
            shape = (*value.shape[:axis], sizes[which], *value.shape[axis + 1 :])
            return Value(outputs[which], shape)
        if op == "Gather":
            index = self.rng.integers(-size, size, self.one_of((), (2,), (1, 2)))
            return self._result(op, [*given, self.const(index)], axis=axis)
        if op == "Resize" and rank == 4 and self.opset >= 11:
            scales = np.array([1, 1, self.one_of(1, 2, 3), self.one_of(1, 2, 0.5)], Float)
            if min(int(n * s) for n, s in zip(value.shape, scales, strict=True)) < 1:
                return value
            how = self.one_of("asymmetric", "half_pixel", "align_corners")
            if self.chance(0.4):
                return self._result(op, [*given, "", self.const(scales)], mode="linear",
                                    coordinate_transformation_mode=how)  # fmt: skip
            near = self.one_of("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
            return self._result(op, [*given, "", self.const(scales)], mode="nearest",
                                coordinate_transformation_mode=how, nearest_mode=near)  # fmt: skip
        if op in ("DepthToSpace", "SpaceToDepth") and rank == 4:
            return self._result(op, given, blocksize=self.one_of(1, 2))
        if op == "Tile":
            times = np.ones(rank, np.int64)
            times[axis] = self.size(1, 2)
            return self._result(op, [*given, self.const(times)])
        return value

    def function(self, value: Value) -> Value:
        """A real function of a tensor, as one node or as exporters take it apart."""
        kind, x = self.size(0, 5), value.name
        if kind == 5:
            slope = self.constant_beside(value.shape)
            if np.broadcast_shapes(value.shape, slope.shape) == value.shape:
                return self._result("PRelu", [x, self.const(slope)])
        if kind == 0:  # SiLU
            return self._result("Mul", [x, self.node("Sigmoid", [x])])
        if kind == 1:  # GELU
            inner = self.node("Erf", [self.node("Div", [x, self.const(Float(2**0.5))])])
            half = self.node("Mul", [x, self.const(Float(0.5))])
            return self._result("Mul", [half, self.node("Add", [inner, self.const(Float(1))])])
        if kind == 2:  # h-swish
            name = self.node("Add", [x, self.const(Float(3))])
            shape = value.shape
            if self.opset >= 11:
                name = self.node("Clip", [name, self.const(Float(0)), self.const(Float(6))])
            return Value(self.node("Mul", [x, self.node("Mul", [name, self.const(Float(0.125))])]),
                         shape)  # fmt: skip
        op, more = self.one_of(*FUNCTIONS)
        return self._result(op, [x], **more)

    def pair(self, first: Value, second: Value) -> Value:
        """Two tensors of one shape, or one and numbers, into one."""
        op = self.one_of("Mul", "Sub", "Sum", "Max", "Min", "Add")
        if first.shape == second.shape and self.chance(0.8):
            more = self.size(0, 2) if op in ("Sum", "Max", "Min") else 0
            return self._result(op, [first.name, second.name, *[first.name] * more])
        if len(first.shape) == len(second.shape) and self.chance(0.5):
            whole = [a if b == 1 else b for a, b in zip(first.shape, second.shape, strict=True)]
            if all(
                n in (1, m) for v in (first, second) for n, m in zip(v.shape, whole, strict=True)
            ):
                return self._result(op, [first.name, second.name])
        if op in ("Max", "Min") and self.chance(0.4):
            return self._result(op, [first.name, self.const(self.constant_beside(first.shape))])
        ends = [self.const(Float(self.rng.integers(-4, 5) / 2)) for _ in range(self.size(1, 2))]
        if op in ("Max", "Min"):
            return self._result(
                op, [first.name, *ends] if self.chance(0.7) else [*ends, first.name]
            )
        return self._result("Sub", [ends[0], first.name])

    def shape_of_last(self) -> tuple[int, ...]:
        """The shape of the last node's output, as the evaluator finds it."""
        return tuple(int(n) for n in self.evaluate([self.nodes[-1].output[0]])[0].shape)

    def pool(self, value: Value) -> Value:
        op = self.one_of(
            "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean"
        )
        if op.startswith("Global"):
            return self._result(op, [value.name])
        if op == "ReduceMean":
            op = self.one_of("ReduceMean", "ReduceSum", "ReduceMax")
            axes = self.one_of([2, 3], [-1, -2], [3], [1, 2, 3], [1], [1, 3])
            written: dict[str, Any] = {"keepdims": self.size(0, 1)}
            if self.opset >= (13 if op == "ReduceSum" else 18):
                return self._result(op, [value.name, self.const(np.array(axes))], **written)
            return self._result(op, [value.name], axes=axes, **written)
        kernel = [self.size(1, min(3, size)) for size in value.shape[2:]]
        written = {"kernel_shape": kernel}
        if self.chance(0.6):
            written["strides"] = [self.size(1, 2), self.size(1, 2)]
        if self.chance(0.3):
            pads = [min(self.size(0, 1), kernel[i % 2] - 1) for i in range(4)]
            if op == "MaxPool":  # with uneven ones the evaluator's goes wrong
                pads = [min(pads)] * 4
            written["pads"] = pads
        if self.chance(0.2):
            written["ceil_mode"] = 1 if op == "AveragePool" else 0
        if op == "AveragePool" and self.chance(0.4):
            written["count_include_pad"] = 1
        if op == "MaxPool" and self.chance(0.2):
            written["dilations"] = [self.size(1, 2), self.size(1, 2)]
        return self._result(op, [value.name], **written)

    def move(self, value: Value) -> Value:
        rank = len(value.shape)
        op = self.one_of(*MOVES)
        if op == "Flatten":
            axis = self.one_of(1, 1, 1, 0, 2, -1)
            return self._result(op, [value.name], **({} if self.chance(0.3) else {"axis": axis}))
        if op == "Reshape" and self.chance(0.3):  # as exporters write it
            whole = self.node("Shape", [value.name])
            index, axis = self.one_of((0, 0), (1, 0), (0, 0)), {"axis": 0}
            first = self.node("Gather", [whole, self.const(np.array([index[0]], np.int64))], **axis)
            if self.chance(0.15):
                first = self.node("Mul", [first, self.const(np.array([1], np.int64))])
            rest = self.const(np.array([-1], np.int64))
            wanted = self.node("Concat", [first, rest], **axis)
            return self._result(op, [value.name, wanted])
        if op == "Reshape":
            whole = int(np.prod(value.shape[1:]))
            batch = value.shape[0]
            wanted = self.one_of([0, -1], [batch, -1], [-1, whole], [batch, 1, whole],
                                 [-1, *value.shape[2:]], [0, 1, -1], [1, -1])  # fmt: skip
            return self._result(op, [value.name, self.const(np.array(wanted, np.int64))])
        if op == "Transpose":
            perm = [0, *(1 + self.rng.permutation(rank - 1))] if self.chance(0.8) else (
                self.rng.permutation(rank))  # fmt: skip
            return self._result(op, [value.name], perm=[int(axis) for axis in perm])
        if op in ("Squeeze", "Unsqueeze"):
            axes = [
                i for i, size in enumerate(value.shape) if size == 1 and (i or self.chance(0.1))
            ]
            if op == "Unsqueeze":
                axes = list(
                    self.one_of(
                        [1],
                        [-1],
                        [rank],
                        [2, 1] if self.opset >= 13 else [1, 2],
                        [-1, -2],
                        [0],
                        [1, 2],
                    )
                )
            if not axes:
                return value
            if self.opset >= 13:
                return self._result(op, [value.name, self.const(np.array(axes, np.int64))])
            return self._result(op, [value.name], axes=axes)
        if op == "Cast":
            kind = self.one_of(TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
            name = self.node(op, [value.name], to=kind)
            name = self.node(op, [name], to=TensorProto.FLOAT)
            return Value(name, value.shape)
        return self._result(op, [value.name])

    def joined(self, first: Value, second: Value) -> Value:
        if first.shape == second.shape and self.chance(0.6):
            return self._result("Add", [first.name, second.name])
        axis = self.size(1, len(first.shape) - 1)
        sides = [(*v.shape[:axis], *v.shape[axis + 1 :]) for v in (first, second)]
        if len(first.shape) == len(second.shape) and sides[0] == sides[1]:
            return self._result("Concat", [first.name, second.name], axis=axis)
        return first

    def entry(self, x: Value) -> Value:
        """What happens to the real input before it is quantized."""
        if self.chance(0.15):
            number = Float(self.one_of(0.5, 2, 3, -1, 0.25))
            op = self.one_of("Mul", "Div", "Add", "Sub")
            x = self._result(op, [x.name, self.const(number)])
        if self.chance(0.1) and len(x.shape) == 4:
            x = self._result("Transpose", [x.name], perm=[0, 3, 1, 2])
        if self.chance(0.1):
            x = self.clips(x)
        return x

    def step(self, value: Value, values: list[Value]) -> Value:
        """One more layer, quantized again where it needs to be."""
        kind, rank = self.size(0, 17), len(value.shape)
        other = values[self.size(0, len(values) - 1)]
        if kind == 17 and rank in (3, 4) and value.shape[-1] > 0:
            return self._linear_quantized(self.rows(value), 2)
        if kind == 16 and rank >= 2:
            return self._linear_quantized(self.island(value), 0)
        if kind == 15:
            return self.quantize(self.clips(self.choice(value, other)), 0)
        if kind == 14 and rank >= 2:
            return self._linear_quantized(self.clips(self.attention(value, other)), 2)
        if kind == 13 and rank in (3, 4):
            made = self.arithmetic(self.transposed_convolution(value))
            return self.quantize(self.clips(self.function(made) if self.chance(0.3) else made), 2)
        if kind == 12:
            return self._linear_quantized(self.clips(self.function(value)), 0)
        if kind == 10:
            made, coarse = self.place(value), 0
            return made if self.chance(0.6) else self.quantize(self.clips(made))
        if kind == 11:
            made, coarse = self.pair(value, values[self.size(0, len(values) - 1)]), 1
        elif kind <= 3 and rank in (3, 4) and (rank == 4 or self.chance(0.5)):
            made, coarse = self.convolution(value), 2
        elif (kind <= 5 and rank in (2, 3)) or kind <= 1:
            made, coarse = self.dense(value), 2
        elif kind == 6 and rank == 4:
            made, coarse = self.pool(value), 0
        elif kind == 7:
            made, coarse = self.joined(value, values[self.size(0, len(values) - 1)]), 1
        else:
            made, coarse = self.move(value), 0
            return made if self.chance(0.6) else self.quantize(made)
        return self.quantize(self.clips(self.arithmetic(made)), coarse)

    def build(self) -> Graph:
        rank = self.one_of(4, 4, 4, 2, 3)
        shape = (self.size(1, 3), *(self.size(1, 5) for _ in range(rank - 1)))
        self.names.add("x")
        source = Value("x", shape)
        kind = self.one_of(np.int8, np.uint8, np.int16) if self.chance(0.12) else Float
        self.x = (self.rng.integers(-24, 24, shape) / 4).astype(Float)
        if kind is not Float:
            info = np.iinfo(kind)
            self.x = self.rng.integers(max(info.min, -99), 99, shape).astype(kind)
        self.given = helper.make_tensor_value_info(
            "x", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), list(shape)
        )
        values = [self._entered(source, kind)]
        if self.chance(0.15):
            values.append(self._entered(source, kind))
        for _ in range(self.size(1, 4)):
            near = values[-1] if self.chance(0.8) else values[self.size(0, len(values) - 1)]
            values.append(self.step(near, values))
        ends = [values[-1].name]
        if self.chance(0.2):
            ends.append(values[self.size(0, len(values) - 1)].name)
        outputs = list(dict.fromkeys(end for end in ends if end != "x"))
        return Graph(self.model(outputs), self.x, self.quantized)

    def _entered(self, source: Value, kind: Any) -> Value:
        """The graph's input on its way in: quantized, or integers that get a meaning."""
        if kind is Float:
            return self.quantize(self.entry(source))
        zero = kind(self.size(0, 5))
        parts = [self.const(self.scale()), self.const(zero)]
        return Value(self.node("DequantizeLinear", [source.name, *parts]), source.shape)

    def model(self, outputs: list[str]) -> Any:
        graph = helper.make_graph(
            self.nodes, "drawn", [self.given],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.constants,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(QONNX, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def evaluate(self, outputs: list[str]) -> list[Array]:
        return by_reference(self.model(outputs), self.x)


class ConvTranspose(OpRun):  # type: ignore[misc]
    """By its specification; the evaluator's own goes wrong with groups."""

    op_domain = ""

    def _run(self, x: Array, weights: Array, bias: Any = None, **attributes: Any) -> tuple[Array]:
        return (onnx_ops.conv_transpose(x, weights, bias, **attributes),)


class Softmax(OpRun):  # type: ignore[misc]
    """Before opset 13: over all axes from its own on."""

    op_domain = ""

    def _run(self, x: Array, axis: Any = 1) -> tuple[Array]:
        return (onnx_ops.softmax_before_13(x, axis),)


OWN = [QuantizeLinear, DequantizeLinear, Quant, MultiThreshold, ConvTranspose]


def by_reference(proto: Any, x: Array) -> list[Array]:
    """The outputs of a model by ONNX's reference evaluator."""
    with np.errstate(all="ignore"):
        old = proto.opset_import[0].version < 13
        judge = ReferenceEvaluator(proto, new_ops=[*OWN, *[Softmax] * old])
        return [np.asarray(value) for value in judge.run(None, {"x": x})]


def with_outputs(proto: Any, names: list[str]) -> Any:
    """The model with more outputs."""
    copy = type(proto)()
    copy.CopyFrom(proto)
    have = {output.name for output in copy.graph.output}
    for name in names:
        if name not in have:
            copy.graph.output.append(helper.make_empty_tensor_value_info(name))
    return copy
