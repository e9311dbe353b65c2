"""QONNX's operators: Quant of any width, BipolarQuant, Trunc.

The rule: what Quant stores is `round(clip(x / scale + zero point, least, greatest))`, where the
greatest of w bits is 2**(w - 1) - 1, a real number where w is none of the integers; one
signed bit is -1 or +1.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from apsim.nn.importers.constants import Const, ConstReal, collapsed, spread
from apsim.nn.importers.curves import drawn, function_of, require_room
from apsim.nn.importers.graph import Array, Node
from apsim.nn.importers.ops_elementwise import plus_constant
from apsim.nn.importers.ops_quant import quantized, require_finite
from apsim.nn.importers.pending import Pending, Source, Target, Value
from apsim.nn.importers.walk import Handler, Walk, handles
from apsim.nn.model import AvgPool, Entry, Floats, Tensor
from apsim.nn.model.words import holding
from apsim.nn.rules.rounding import round_real

__all__ = ["HANDLERS"]

DOMAINS = (
    "qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general",
)  # fmt: skip
ROUNDING = {
    "ROUND": "half-even",
    "HALF_EVEN": "half-even",
    "CEIL": "ceil",
    "FLOOR": "floor",
    "UP": "away-from-zero",
    "DOWN": "toward-zero",
    "ROUND_TO_ZERO": "toward-zero",
    "HALF_UP": "half-away",
    "HALF_DOWN": "half-zero",
}
WIDEST = 32


def _ends(bits: Array, signed: bool, narrow: bool) -> tuple[Array, Array]:
    """The least and the greatest value of each width, real for widths that are no integers."""
    if signed:
        half = 2.0 ** (bits - 1)
        return narrow - half, half - 1
    return np.zeros_like(bits), 2.0**bits - 1 - narrow


def _widths(walk: Walk, node: Node) -> Array:
    bits = np.asarray(walk.constant(node, 3), np.float64)
    if not (np.isfinite(bits).all() and (bits >= 1).all() and (bits <= WIDEST).all() and bits.size):
        raise node.refuse(f"a bit width of {np.ravel(bits)[:4]}", f"widths of 1 to {WIDEST} bits")
    return bits


def _flag(node: Node, name: str, default: int) -> bool:
    value = node.attribute(name, default)
    if value not in (0, 1):
        raise node.refuse(f"{name} = {value}", f"{name} = 0 or 1")
    return bool(value)


def _mode(node: Node) -> str:
    written = str(node.attribute("rounding_mode", "ROUND"))
    if written.upper() not in ROUNDING:
        raise node.refuse(f"rounding mode {written}", ", ".join(ROUNDING))
    return ROUNDING[written.upper()]


def _quant(walk: Walk, node: Node) -> Value:
    """QONNX Quant: integers of any width, given back as real values at once."""
    signed, narrow = _flag(node, "signed", 1), _flag(node, "narrow", 0)
    bits, mode = _widths(walk, node), _mode(node)
    signs = signed and bool((bits == 1).any())  # one signed bit is -1 or +1
    if signs and bits.size > 1 and not (bits == 1).all():
        raise node.refuse("one signed bit beside wider channels", "one width")
    scale, zero = walk.constant(node, 1), walk.whole(node, 2)
    value = walk.value(node, 0)
    if isinstance(value, Const | ConstReal):
        real = value.array if isinstance(value, Const) else value.real.astype(np.float32)
        if signs:
            return _signs(node, real, scale, zero)
        ends = [round_real(end, mode) for end in _ends(bits, signed, narrow)]
        return _quant_constant(node, real, scale, zero, (ends[0], ends[1]), mode)
    bits = collapsed(bits)
    if bits.size != 1:
        raise node.refuse("activations with a width for each channel", "one width")
    lo, hi = (int(round_real(end.ravel(), mode)[0]) for end in _ends(bits, signed, narrow))
    if signs:
        lo, hi, mode = -1, 1, "sign"
    if mode not in ("half-even", "floor", "ceil") and zero.any():
        raise node.refuse(f"rounding mode {mode} with a zero point", "zero point 0")
    target = walk.target(scale, zero, min(lo, hi), hi, node)
    target = replace(
        target, parity=target.tensor.zero_point, rounding=None if mode == "half-even" else mode
    )
    return replace(quantized(walk, node, value, target), integer=False)


def _beside(node: Node, values: Array, shape: tuple[int, ...]) -> Array:
    """A scale, zero point or width beside a constant of `shape`, by ONNX's broadcasting."""
    values = np.asarray(values)
    spare = len(shape) - values.ndim
    full = values.reshape((*[1] * spare, *values.shape)) if spare >= 0 else collapsed(values)
    if spare < 0 and full.size == 1:
        return full.reshape((1,) * len(shape))
    if spare < 0 or any(a not in (1, b) for a, b in zip(full.shape, shape, strict=True)):
        raise node.refuse(f"a constant of shape {list(values.shape)} beside {list(shape)}",
                          "one that broadcasts to it from the last axis on")  # fmt: skip
    return collapsed(full)


def _quant_constant(
    node: Node, real: Array, scale: Array, zero: Array, ends: tuple[Array, Array], mode: str
) -> ConstReal:
    require_finite(node, real, scale)
    step, offset = _beside(node, scale, real.shape), _beside(node, zero, real.shape)
    lows, highs = (_beside(node, end, real.shape) for end in ends)
    steps = real / step.astype(np.float32) + offset.astype(np.float32)
    integers = np.clip(round_real(steps, mode), lows, highs)
    lo, hi = int(lows.min()), int(highs.max())
    kind = np.int8 if lo >= -128 and hi <= 127 else np.int64
    return ConstReal(integers.astype(kind), step.astype(np.float64), offset, lo, hi)


def _signs(node: Node, real: Array, scale: Array, zero: Array) -> ConstReal:
    """+1 where x / scale + zero point is not negative, else -1."""
    require_finite(node, real, scale)
    step, offset = _beside(node, scale, real.shape), _beside(node, zero, real.shape)
    positive = real / step.astype(np.float32) + offset.astype(np.float32) >= 0
    signs = np.where(positive, 1, -1).astype(np.int8)
    return ConstReal(signs, step.astype(np.float64), offset, -1, 1)


def _bipolar_quant(walk: Walk, node: Node) -> Value:
    """QONNX BipolarQuant: +1 from zero upwards, else -1; two bits in two's complement."""
    scale = walk.constant(node, 1)
    value = walk.value(node, 0)
    zero = np.zeros(1, np.int64)
    if isinstance(value, Const | ConstReal):
        real = value.array if isinstance(value, Const) else value.real
        return _signs(node, real, scale, zero)
    target = replace(walk.target(scale, zero, -1, 1, node), rounding="sign")
    return replace(quantized(walk, node, value, target), integer=False)


def _trunc(walk: Walk, node: Node) -> Value:
    """QONNX Trunc: the integers lose their low bits (after an average pool of sums)."""
    scale, zero, given_bits, bits = (_number(walk, node, index) for index in range(1, 5))
    mode = str(node.attribute("rounding_mode", "FLOOR")).upper()
    value = walk.pending(node, 0)
    layer = value.layer
    if zero != 0 or mode != "FLOOR" or not isinstance(layer, AvgPool) or not value.fresh:
        raise node.refuse("Trunc of anything but the sum of an average pool",
                          "AveragePool, Mul by the window's size, Trunc with FLOOR")  # fmt: skip
    given = walk.build.tensors[layer.inputs[0]]
    size = layer.kernel[0] * layer.kernel[1]
    if layer.gain != size or given.scale != np.float32(scale) or given.zero_point:
        raise node.refuse("Trunc of a value that is no sum of integers in its own scale",
                          "AveragePool and Mul by the window's size before it")  # fmt: skip
    if any(part % 1 for part in (given_bits, bits)) or not 1 <= bits <= given_bits <= WIDEST:
        raise node.refuse(f"Trunc from {given_bits:g} to {bits:g} bits", "fewer, whole bits")
    step = float(np.float32(scale * 2 ** (given_bits - bits)))
    tensor = Tensor((), int(bits), given.signed, step)
    target = Target(tensor, tensor.lo, tensor.hi, rounding="floor")
    made = quantized(walk, node, value, target)
    renamed = walk.interpret(made.source, float(np.float32(scale)), 0)
    return replace(made, integer=False, source=renamed)


def _multi_threshold(walk: Walk, node: Node) -> Value:
    """FINN MultiThreshold: how many thresholds a value reaches, times out_scale, plus out_bias.

    Evenly spaced thresholds are a quantization that rounds down; one alone is a sign; others
    are a table of words, or of the sums that a layer gives.
    """
    thresholds = np.asarray(walk.constant(node, 1), np.float64)
    scale, bias = float(node.attribute("out_scale", 1.0)), float(node.attribute("out_bias", 0.0))
    if thresholds.ndim != 2 or not thresholds.size or not np.isfinite(thresholds).all():
        raise node.refuse(f"thresholds {list(thresholds.shape)}", "[channels or 1, thresholds]")
    if not (math.isfinite(scale) and scale > 0):
        raise node.refuse(f"out_scale {scale:g}", "a positive out_scale")
    first, count = thresholds[:, 0], thresholds.shape[1]
    if count == 1 and bias == -scale / 2:
        signs = _above(walk, node, first)
        target = walk.target(np.array(scale / 2), np.zeros(1), -1, 1, node)
        made = quantized(walk, node, signs, replace(target, rounding="sign"))
        return replace(made, integer=False)
    step = float(thresholds[0, 1] - thresholds[0, 0]) if count > 1 else 1.0
    even = step > 0 and np.array_equal(thresholds, first[:, None] + step * np.arange(count))
    zero = -bias / scale
    if isinstance(walk.value(node, 0), Source):
        return _entered(walk, node, thresholds, step if even else math.nan, scale, zero)
    if not even or zero % 1 or step != float(np.float32(step)):
        return _counted(walk, node, thresholds, scale, zero)
    value = _above(walk, node, first - step)
    target = replace(walk.target(np.array(step), np.zeros(1), 0, count, node), rounding="floor")
    made = quantized(walk, node, value, target)
    source = walk.interpret(made.source, float(np.float32(scale)), int(zero))
    return replace(made, integer=False, source=source)


def _counted(walk: Walk, node: Node, thresholds: Array, scale: float, zero: float) -> Value:
    """A table of how many thresholds of its channel each word reaches, as a quantization."""
    parts = 1 if zero % 1 == 0 else 2  # an out_bias half-way between two steps: half of them
    if zero * parts % 1 or scale / parts != float(np.float32(scale / parts)):
        raise node.refuse(f"an out_bias {-zero * scale:g} beside an out_scale {scale:g}",
                          "a multiple of half of it")  # fmt: skip
    value = walk.pending(node, 0)
    if value.integer:
        raise node.refuse("thresholds of integers, whose scale is not given", "DequantizeLinear")
    curve = function_of(walk, node, 0)
    require_room(walk, node, curve, len(thresholds))
    axis = _channels(node, thresholds, 1 + len(value.shape))
    lay = [1] * (1 + len(value.shape))
    lay[max(axis - 1, 0)] = len(thresholds)
    columns = [column.reshape(lay) for column in thresholds.T]

    def count(x: Floats) -> Floats:
        reached = sum((x >= column).astype(np.int64) for column in columns)
        return np.asarray((reached - zero) * scale)

    lo, hi = round(-zero * parts), round((thresholds.shape[1] - zero) * parts)
    origin = round(zero * parts) if parts == 1 else 0
    target = walk.target(np.array(scale / parts), np.array([origin]), lo + origin, hi + origin,
                         node)  # fmt: skip
    made = quantized(walk, node, drawn(node, value, curve.then(count)), target)
    return replace(made, integer=False)


def _entered(
    walk: Walk, node: Node, thresholds: Array, step: float, scale: float, zero: float
) -> Value:
    """Thresholds of a real input: a rounding, where float32 has it exactly, or a comparison."""
    first, count = float(thresholds[0, 0]), thresholds.shape[1]
    start = 2 * first / step if step > 0 else math.nan
    exact = math.frexp(step)[0] == 0.5 and start % 1 == 0 and abs(start) < 1 << 20
    if zero % 1:
        raise node.refuse(f"an out_bias {-zero * scale:g} beside an out_scale {scale:g}",
                          "a multiple of it")  # fmt: skip
    if len(thresholds) > 1 or not exact:
        return _reached(walk, node, thresholds, scale, int(zero))
    rounding = "floor" if start % 2 == 0 else "half-up"
    least = math.ceil(start / 2) - 1  # the word below the first threshold
    target = walk.target(np.array(step), np.zeros(1), least, least + count, node)
    made = quantized(walk, node, walk.value(node, 0), replace(target, rounding=rounding))
    source = walk.interpret(made.source, float(np.float32(scale)), int(zero) + least)
    return replace(made, integer=False, source=source)


def _reached(walk: Walk, node: Node, thresholds: Array, scale: float, zero: int) -> Value:
    """Any thresholds of a real input: they are compared where it enters."""
    value = walk.value(node, 0)
    assert isinstance(value, Source)
    axis = _channels(node, thresholds, 1 + len(value.shape)) - 1
    lines = np.asarray(thresholds, np.float32)
    rising = bool((np.diff(lines, axis=1) >= 0).all())
    if value.steps or value.bounds.any or not rising or (len(lines) > 1 and value.chain):
        raise node.refuse("thresholds of a real input after arithmetic, clips or moves, or falling",
                          "rising thresholds of the input itself")  # fmt: skip
    words = holding(0, thresholds.shape[1])
    shape = value.chain[0].before if value.chain else value.shape
    tensor = Tensor(shape, words.bits, False, float(np.float32(scale)), zero)
    listed = tuple(tuple(line) for line in lines.astype(float).tolist())
    entry = Entry(value.name, lo=0, along=max(axis, 0), thresholds=listed)
    name = walk.build.new_name(f"{value.name} (thresholds)")
    walk.build.add_input(name, tensor, entry)
    walk.build.fate(node, f"input {name!r} is compared on entry")
    return Pending(value.shape, source=name, chain=value.chain, nodes=(node.index,))


def _channels(node: Node, thresholds: Array, rank: int) -> int:
    """Where the channels lie that thresholds belong to."""
    layout = str(node.attribute("data_layout", "NCHW"))
    if layout not in ("NCHW", "NC", "NHWC"):
        raise node.refuse(f"data_layout {layout}", "NCHW, NC or NHWC")
    if len(thresholds) > 1 and rank not in (2, 4):
        raise node.refuse(f"thresholds for each channel of {rank} axes", "2 or 4 axes")
    return rank - 1 if layout == "NHWC" else min(1, rank - 1)


def _above(walk: Walk, node: Node, thresholds: Array) -> Value:
    """How far a value lies above thresholds, one or one for each channel."""
    value = walk.value(node, 0)
    if not isinstance(value, Pending | Source) or (thresholds == 0).all():
        return value
    rank = 1 + len(value.shape)
    axis = _channels(node, thresholds, rank)
    return plus_constant(walk, node, value, Const(spread(thresholds, axis, rank)), -1)


def _number(walk: Walk, node: Node, index: int) -> float:
    values = walk.constant(node, index)
    if values.size != 1 or not math.isfinite(values.item()):
        raise node.refuse(f"input {node.inputs[index]!r} is no finite number", "one number")
    return float(values.item())


QUANT = handles(_quant, "signed narrow rounding_mode", 4)
HANDLERS: dict[tuple[str, str], Handler] = {}
for _domain in DOMAINS:
    HANDLERS |= {
        (_domain, "Quant"): QUANT,
        (_domain, "IntQuant"): QUANT,
        (_domain, "BipolarQuant"): handles(_bipolar_quant, inputs=2),
        (_domain, "Trunc"): handles(_trunc, "rounding_mode", 5),
        (_domain, "MultiThreshold"): handles(
            _multi_threshold, "data_layout out_bias out_dtype out_scale", 2
        ),
    }
