"""Where real numbers become integers and back: QDQ, its Clip, and QONNX's operators."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from apsim.nn.importers.graph import Array, Const, Node
from apsim.nn.importers.ops_real import clip_bounds
from apsim.nn.importers.pending import ConstReal, Pending, Source, Target, Value
from apsim.nn.importers.walk import Handler, Walk
from apsim.nn.importers.weights import scale_outputs
from apsim.nn.importers.width import width_of
from apsim.nn.model import AvgPool, Tensor

__all__ = ["HANDLERS", "dequantized", "quantized"]

QONNX_ROUNDING = {
    "ROUND": None,
    "HALF_EVEN": None,
    "CEIL": "ceil",
    "FLOOR": "floor",
    "UP": "away-from-zero",
    "DOWN": "toward-zero",
    "ROUND_TO_ZERO": "toward-zero",
    "HALF_UP": "half-away",
    "HALF_DOWN": "half-zero",
}


def quantized(walk: Walk, node: Node, value: Value, target: Target) -> Pending:
    """The integers of a value, in the tensor that the node's output names."""
    name = node.outputs[0]
    if isinstance(value, Source):
        made = walk.build.enter(value, name, target)
        walk.build.fate(node, f"input {made!r} is quantized on entry")
    elif isinstance(value, Pending):
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
    zero = walk.constant(node, 2, np.zeros(1, np.int64)).astype(np.int64)
    value = walk.value(node, 0)
    if isinstance(value, Const):
        return _quantized_constant(node, value.array, scale, zero, lo, hi)
    return quantized(walk, node, value, walk.target(scale, zero, lo, hi, node))


def _output_range(node: Node) -> tuple[int, int]:
    """The range of `output_dtype` (opset 21), unsigned 8 bits where nothing says otherwise."""
    code = node.attribute("output_dtype", 0)
    widths = {0: (0, 255), 2: (0, 255), 3: (-128, 127), 4: (0, 65535), 5: (-32768, 32767),
              21: (0, 15), 22: (-8, 7), 25: (0, 3), 26: (-2, 1)}  # fmt: skip
    if code not in widths:
        raise node.refuse(f"output type {code}", "integers of 2, 4, 8 or 16 bits")
    return widths[code]


def _along(values: Array, axis: int, rank: int) -> Array:
    shape = [1] * rank
    if np.size(values) > 1:
        shape[axis] = -1
    return np.reshape(values, shape)


def _scale(node: Node, walk: Walk) -> Array:
    """The scale of Q or DQ, which ONNX wants as real numbers."""
    scale = walk.constant(node, 1)
    if np.asarray(scale).dtype.kind != "f":
        raise node.refuse(f"a scale of type {np.asarray(scale).dtype}", "one of real numbers")
    return scale


def _require_finite(node: Node, real: Array, scale: Array) -> None:
    if not (np.isfinite(real).all() and np.isfinite(scale).all() and (scale > 0).all()):
        raise node.refuse("weights or scales that are NaN, infinite, zero or negative")


def _quantized_constant(
    node: Node, real: Array, scale: Array, zero: Array, lo: int, hi: int
) -> Const:
    """Weights stored as real numbers and quantized by the graph itself."""
    _require_finite(node, real, scale)
    axis = int(node.attribute("axis", 1)) % max(1, real.ndim)
    step, offset = (_along(part, axis, real.ndim) for part in (scale, zero))
    integers = np.rint(real / step.astype(np.float32)) + offset
    kind = np.int8 if lo >= -128 and hi <= 127 else np.int32
    return Const(np.clip(integers, lo, hi).astype(kind), lo, hi)


def _dequantize_linear(walk: Walk, node: Node) -> Value:
    _refuse_blocks(node)
    value = walk.value(node, 0)
    scale = np.asarray(_scale(node, walk), np.float64)
    zero = walk.constant(node, 2, np.zeros(1, np.int64)).astype(np.int64)
    if isinstance(value, Const):
        lo, hi = walk.bounds(node, 0)
        axis = int(node.attribute("axis", 1)) % max(1, value.array.ndim)
        walk.build.fate(node, "constant: weights or biases of the layer that uses it")
        return ConstReal(value.array, np.atleast_1d(scale), np.atleast_1d(zero), axis, lo, hi)
    return dequantized(walk, node, 0, scale, zero)


def dequantized(walk: Walk, node: Node, index: int, scale: Array, zero: Array) -> Pending:
    """An integer input of a node, a tensor or accumulators, with its real meaning."""
    value = walk.pending(node, index)
    if value.weighted is not None:
        if np.any(zero):
            raise node.refuse("accumulators with a zero point", "zero point 0")
        return scale_outputs(node, replace(value, integer=False), scale)
    if np.size(scale) != 1 or np.size(zero) != 1:
        raise node.refuse(
            "activations with a scale for each channel", "one scale for the whole tensor"
        )
    name = walk.build.settle(value, node.inputs[index])
    step = float(np.float32(np.ravel(scale)[0]))
    made = walk.interpret(name, step, int(np.ravel(zero)[0]))
    walk.build.fate(node, f"the real meaning of tensor {made!r}")
    return Pending(value.shape, source=made)


def _clip(walk: Walk, node: Node) -> Value:
    """On real values a bound; on integers, what tells their width (QCDQ)."""
    lo, hi = clip_bounds(walk, node)
    value = walk.value(node, 0)
    if isinstance(value, Const):
        low, high = walk.bounds(node, 0)
        narrow = max(low, int(max(lo, low))), min(high, int(min(hi, high)))
        return Const(np.clip(value.array, *narrow), *narrow)
    value = walk.pending(node, 0)
    if not value.integer:
        return value.clipped(lo, hi, node.index)
    name = walk.build.settle(value, node.inputs[0])
    tensor = walk.build.tensors[name]
    bounds = int(max(lo, tensor.lo)), int(min(hi, tensor.hi))
    alone = name == node.inputs[0] and walk.uses[name] == 1  # no other name, no other user
    if alone and walk.build.narrow(name, *bounds):
        walk.build.fate(node, f"the width of tensor {name!r}")
        return value
    return _narrowed(walk, node, name, *bounds)


def _narrowed(walk: Walk, node: Node, name: str, lo: int, hi: int) -> Pending:
    """Integers clipped by a layer of its own: no layer of this network rounds them."""
    if walk.build.tensors[name].scale is None:
        name = walk.interpret(name, 1.0, 0)
    tensor = walk.build.tensors[name]
    bits, signed = width_of(lo, hi)
    target = Target(replace(tensor, bits=bits, signed=signed), lo, hi)
    value = Pending(tensor.shape, source=name, nodes=(node.index,))
    made = walk.build.finish(value, node.outputs[0], target)
    walk.build.fates.setdefault(node.index, f"no work: {name!r} lies in {lo}..{hi}")
    return Pending(tensor.shape, source=made, integer=True)


def _quant(walk: Walk, node: Node) -> Value:
    """QONNX Quant: integers of any width, given back as real values at once."""
    signed, narrow = bool(node.attribute("signed", 1)), bool(node.attribute("narrow", 0))
    bits = math.ceil(float(np.ravel(walk.constant(node, 3))[0]))
    lo = -(1 << (bits - 1)) + narrow if signed else 0
    hi = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1 - narrow
    scale, zero = walk.constant(node, 1), np.rint(walk.constant(node, 2)).astype(np.int64)
    rounding = QONNX_ROUNDING.get(str(node.attribute("rounding_mode", "ROUND")).upper(), "?")
    if rounding == "?":
        raise node.refuse(
            f"rounding mode {node.attribute('rounding_mode', '')}", ", ".join(QONNX_ROUNDING)
        )
    if rounding not in (None, "floor", "ceil") and zero.any():
        raise node.refuse(f"rounding mode {rounding} with a zero point", "zero point 0")
    value = walk.value(node, 0)
    if isinstance(value, Const):
        return _quant_constant(node, value.array, scale, zero, lo, hi)
    target = replace(
        walk.target(scale, zero, lo, hi, node), parity=int(zero.ravel()[0]), rounding=rounding
    )
    return replace(quantized(walk, node, value, target), integer=False)


def _quant_constant(
    node: Node, real: Array, scale: Array, zero: Array, lo: int, hi: int
) -> ConstReal:
    _require_finite(node, real, scale)
    steps = np.clip(real / scale.astype(np.float32) + zero, lo, hi)
    kind = np.int8 if lo >= -128 and hi <= 127 else np.int32
    axis = int(np.argmax(scale.shape)) if scale.size > 1 else 0
    if node.attribute("rounding_mode", "ROUND").upper() not in ("ROUND", "HALF_EVEN"):
        raise node.refuse("weights rounded another way", "rounding mode ROUND")
    integers = np.rint(steps).astype(kind)
    return ConstReal(
        integers, scale.ravel().astype(np.float64), zero.ravel().astype(np.int64), axis, lo, hi
    )


def _bipolar_quant(walk: Walk, node: Node) -> Value:
    """QONNX BipolarQuant: +1 from zero upwards, else -1; two bits in two's complement."""
    scale = walk.constant(node, 1)
    value = walk.value(node, 0)
    if isinstance(value, Const):
        signs = np.where(value.array >= 0, 1, -1).astype(np.int8)
        step = np.ravel(scale).astype(np.float64)
        return ConstReal(signs, step, np.zeros(1, np.int64), 0, -1, 1)
    target = replace(walk.target(scale, np.zeros(1), -1, 1, node), rounding="sign")
    return replace(quantized(walk, node, value, target), integer=False)


def _trunc(walk: Walk, node: Node) -> Value:
    """QONNX Trunc: the integers lose their low bits (after an average pool of sums)."""
    scale, zero = float(walk.constant(node, 1)), float(walk.constant(node, 2))
    dropped = int(walk.constant(node, 3)) - int(walk.constant(node, 4))
    mode = str(node.attribute("rounding_mode", "FLOOR")).upper()
    value = walk.pending(node, 0)
    layer = value.layer
    if zero != 0 or mode != "FLOOR" or not isinstance(layer, AvgPool):
        raise node.refuse("Trunc of anything but the sum of an average pool",
                          "AveragePool, Mul by the window's size, Trunc with FLOOR")  # fmt: skip
    given = walk.build.tensors[layer.inputs[0]]
    size = layer.kernel[0] * layer.kernel[1]
    if layer.gain != size or given.scale != np.float32(scale) or given.zero_point:
        raise node.refuse("Trunc of a value that is no sum of integers in its own scale",
                          "AveragePool and Mul by the window's size before it")  # fmt: skip
    bits = int(walk.constant(node, 4))
    step = float(np.float32(scale * 2**dropped))
    tensor = Tensor((), bits, given.signed, step)
    target = Target(tensor, tensor.lo, tensor.hi, rounding="floor")
    made = quantized(walk, node, value, target)
    renamed = walk.interpret(made.source, float(np.float32(scale)), 0)
    return replace(made, integer=False, source=renamed)


HANDLERS: dict[tuple[str, str], Handler] = {
    ("", "QuantizeLinear"): _quantize_linear,
    ("", "DequantizeLinear"): _dequantize_linear,
    ("", "Clip"): _clip,
}
for _domain in ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general"):
    HANDLERS |= {
        (_domain, "Quant"): _quant,
        (_domain, "IntQuant"): _quant,
        (_domain, "BipolarQuant"): _bipolar_quant,
        (_domain, "Trunc"): _trunc,
    }
