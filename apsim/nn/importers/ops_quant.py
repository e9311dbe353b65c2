"""Where real numbers become integers and back: QDQ and its Clip; QONNX's are in `ops_qonnx`."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from apsim.nn.importers.constants import Const, ConstReal, spread
from apsim.nn.importers.graph import Array, Node
from apsim.nn.importers.narrowing import narrow
from apsim.nn.importers.ops_real import clip_bounds
from apsim.nn.importers.pending import Pending, Source, Target, Value
from apsim.nn.importers.walk import Handler, Walk, handles
from apsim.nn.importers.weights import scale_outputs
from apsim.nn.model.words import holding

__all__ = ["HANDLERS", "dequantized", "quantized", "require_finite"]

ORT = "com.microsoft"
ZERO = np.zeros(1, np.int64)


def quantized(walk: Walk, node: Node, value: Value, target: Target) -> Pending:
    """The integers of a value, in the tensor that the node's output names."""
    name = node.outputs[0]
    if isinstance(value, Source):
        made = walk.build.enter(value, name, target)
        walk.build.fate(node, f"input {made!r} is quantized on entry")
    elif isinstance(value, Pending):
        value = walk.real(value, node.inputs[0])
        made = walk.build.finish(replace(value, nodes=(*value.nodes, node.index)), name, target)
        walk.build.fates.setdefault(node.index, f"tensor {made!r}, which has this scale already")
    else:
        raise node.refuse("a constant where a tensor was expected")
    return Pending(walk.build.tensors[made].shape, source=made, integer=True)


def _refuse_blocks(node: Node) -> None:
    if node.attribute("block_size", 0):
        raise node.refuse("scales for blocks of values", "one scale for each output channel")


def _quantize_linear(walk: Walk, node: Node) -> Value:
    _refuse_blocks(node)
    scale = _scale(node, walk)
    lo, hi = walk.bounds(node, 2) if walk.has(node, 2) else _output_range(node)
    zero = walk.whole(node, 2, 0)
    value = walk.value(node, 0)
    if isinstance(value, Const | ConstReal):
        real = value.array if isinstance(value, Const) else value.real.astype(np.float32)
        return _quantized_constant(node, real, scale, zero, lo, hi)
    return quantized(walk, node, value, walk.target(scale, zero, lo, hi, node))


def _output_range(node: Node) -> tuple[int, int]:
    """The range of `output_dtype` (opset 21), unsigned 8 bits where nothing says otherwise."""
    code = node.attribute("output_dtype", 0)
    widths = {0: (0, 255), 2: (0, 255), 3: (-128, 127), 4: (0, 65535), 5: (-32768, 32767),
              21: (0, 15), 22: (-8, 7), 25: (0, 3), 26: (-2, 1)}  # fmt: skip
    if code not in widths:
        raise node.refuse(f"output type {code}", "integers of 2, 4, 8 or 16 bits")
    return widths[code]


def _scale(node: Node, walk: Walk) -> Array:
    """The scale of Q or DQ, which ONNX wants as real numbers."""
    scale = walk.constant(node, 1)
    if np.asarray(scale).dtype.kind != "f":
        raise node.refuse(f"a scale of type {np.asarray(scale).dtype}", "one of real numbers")
    return scale


def require_finite(node: Node, real: Array, scale: Array) -> None:
    """Refuse numbers that no quantization has."""
    if not (np.isfinite(real).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise node.refuse("weights or scales that are NaN, infinite, zero or negative",
                          "finite weights and positive scales")  # fmt: skip


def _laid(walk: Walk, node: Node, values: Array, shape: tuple[int, ...]) -> Array:
    """Scales or zero points beside a constant of `shape`: one, or a vector along `axis`."""
    axis = int(node.attribute("axis", 1))
    if np.size(values) > 1:
        fits = np.ndim(values) == 1 and -len(shape) <= axis < len(shape)
        if not fits or np.size(values) != shape[axis]:
            raise node.refuse(
                f"scales or zero points of shape {list(np.shape(values))} along axis {axis} of "
                f"{list(shape)}", "one number, or one for each entry of the axis",
            )  # fmt: skip
    return spread(values, axis, len(shape))


def _quantized_constant(
    node: Node, real: Array, scale: Array, zero: Array, lo: int, hi: int
) -> Const:
    """Weights stored as real numbers and quantized by the graph itself."""
    require_finite(node, real, scale)
    axis = int(node.attribute("axis", 1)) % max(1, real.ndim)
    step, offset = (spread(part, axis, real.ndim) for part in (scale, zero))
    integers = np.rint(real / step.astype(np.float32)) + offset
    kind = np.int8 if lo >= -128 and hi <= 127 else np.int32
    return Const(np.clip(integers, lo, hi).astype(kind), lo, hi)


def _dequantize_linear(walk: Walk, node: Node) -> Value:
    _refuse_blocks(node)
    value = walk.value(node, 0)
    scale = np.asarray(_scale(node, walk), np.float64)
    zero = walk.whole(node, 2, 0)
    if isinstance(value, Const):
        lo, hi = walk.bounds(node, 0)
        walk.build.fate(node, "constant: weights or biases of the layer that uses it")
        shape = value.array.shape
        step, offset = _laid(walk, node, scale, shape), _laid(walk, node, zero, shape)
        if not (np.isfinite(step).all() and (step >= 0).all()):
            raise node.refuse("a scale that is NaN, infinite or negative", "positive scales")
        if step.all():
            return ConstReal(value.array, step, offset, lo, hi)
        dead = np.broadcast_to(step == 0, shape)  # scale 0: zero whatever the integers are
        kept = np.where(dead, np.broadcast_to(offset, shape), value.array).astype(np.int64)
        return ConstReal(kept, np.where(step == 0, 1.0, step), offset, lo, hi)
    return dequantized(walk, node, 0, scale, zero)


def dequantized(walk: Walk, node: Node, index: int, scale: Array, zero: Array) -> Pending:
    """An integer input of a node, a tensor or accumulators, with its real meaning."""
    value = walk.pending(node, index)
    if value.weighted is not None:
        if np.any(zero):
            raise node.refuse("accumulators with a zero point", "zero point 0")
        if np.ndim(scale) == 1 and np.size(scale) > 1:
            axis = int(node.attribute("axis", 1)) % (1 + len(value.shape))
            scale = spread(scale, axis, 1 + len(value.shape))
        return scale_outputs(node, replace(value, integer=False), scale)
    target = walk.target(scale, zero, 0, 1, node)  # for its checks
    name = walk.build.settle(value, node.inputs[index])
    assert isinstance(target.tensor.scale, float)
    made = walk.interpret(name, target.tensor.scale, target.tensor.zero_point)
    walk.build.fate(node, f"the real meaning of tensor {made!r}")
    return Pending(value.shape, source=made)


def _clip(walk: Walk, node: Node) -> Value:
    """On real values a bound; on integers, what tells their width (QCDQ)."""
    lo, hi = clip_bounds(walk, node)
    value = walk.value(node, 0)
    if isinstance(value, Const):
        low, high = (min(max(end, lo), hi) for end in walk.bounds(node, 0))
        return Const(np.clip(value.array, int(low), int(high)), int(low), int(high))
    if isinstance(value, ConstReal):
        return Const(np.minimum(np.maximum(value.real, lo), hi).astype(np.float32))
    return _bounded(walk, node, lo, hi)


def _bounded(walk: Walk, node: Node, lo: float, hi: float) -> Value:
    value = walk.value(node, 0)
    if isinstance(value, Source):
        return replace(value, bounds=value.bounds.then(lo, hi))
    value = walk.pending(node, 0)
    if not value.integer or value.layer is not None:
        return value.clipped(lo, hi, node.index)
    name = walk.build.settle(value, node.inputs[0])
    tensor = walk.build.tensors[name]
    first, last = (int(min(max(end, lo), hi)) for end in (tensor.lo, tensor.hi))
    alone = name == node.inputs[0] and walk.uses[name] == 1  # no other name, no other user
    wanted = node.outputs[0]
    if alone and wanted not in walk.build.tensors and narrow(walk.build, name, first, last, wanted):
        walk.build.fate(node, f"the width of tensor {wanted!r}")
        return replace(value, source=wanted)
    return _narrowed(walk, node, name, first, last)


def _narrowed(walk: Walk, node: Node, name: str, lo: int, hi: int) -> Pending:
    """Integers clipped by a layer of its own: no layer of this network rounds them."""
    tensor = walk.build.tensors[name]
    if tensor.scale is None or not isinstance(tensor.scale, float):
        name = walk.interpret(name, 1.0, 0)
        tensor = walk.build.tensors[name]
    words = holding(min(lo, tensor.zero_point), max(hi, tensor.zero_point))
    target = Target(replace(tensor, bits=words.bits, signed=words.signed), lo, hi)
    value = Pending(tensor.shape, source=name, nodes=(node.index,))
    made = walk.build.finish(value, node.outputs[0], target)
    walk.build.fates.setdefault(node.index, f"no work: {name!r} lies in {lo}..{hi}")
    return Pending(tensor.shape, source=made, integer=True)


def _relu(walk: Walk, node: Node) -> Value:
    """max(x, 0): on integers of the integers themselves, whatever their zero point."""
    return _bounded(walk, node, 0.0, math.inf)


QUANTIZE = handles(_quantize_linear, "axis block_size output_dtype saturate", 3, rows=True)
DEQUANTIZE = handles(_dequantize_linear, "axis block_size", 3, rows=True)
HANDLERS: dict[tuple[str, str], Handler] = {
    ("", "QuantizeLinear"): QUANTIZE,
    ("", "DequantizeLinear"): DEQUANTIZE,
    (ORT, "QuantizeLinear"): QUANTIZE,
    (ORT, "DequantizeLinear"): DEQUANTIZE,
    ("", "Clip"): handles(_clip, "max min", 3, rows=True),
    ("", "Relu"): handles(_relu, rows=True),
}
