"""Operators that carry their quantization with them: ONNX's QLinear*, *Integer, ORT's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apsim.nn.importers.constants import Const, ConstReal, spread
from apsim.nn.importers.graph import Array, Node
from apsim.nn.importers.ops_elementwise import (
    add_tensors,
    multiply_tensors,
    plus_constant,
    times,
)
from apsim.nn.importers.ops_quant import dequantized, quantized
from apsim.nn.importers.ops_real import WINDOW, convolution, matrix_product, pool_mean, product_of
from apsim.nn.importers.ops_shape import joined
from apsim.nn.importers.ops_where import chosen
from apsim.nn.importers.pending import Pending, Target, Value
from apsim.nn.importers.walk import ANY, Handler, Walk, handles
from apsim.nn.importers.weights import add_bias, scale_outputs
from apsim.nn.model import AvgPool, Entry

__all__ = ["HANDLERS", "real_input", "rounded_output"]

ORT = "com.microsoft"


def real_input(walk: Walk, node: Node, x: int, scale: int, zero: int) -> str:
    """The tensor of an input, with the scale and zero point that other inputs give."""
    step = np.asarray(walk.constant(node, scale), np.float64)
    value = dequantized(walk, node, x, step, walk.whole(node, zero, 0))
    if not value.source:
        raise node.refuse(f"input {node.inputs[x]!r} holds sums that were not rounded")
    return value.source


def _weights(walk: Walk, node: Node, w: int, scale: int, zero: int, axis: int) -> Value:
    """Constant integer weights with their scales and zero points along `axis`."""
    value = walk.value(node, w)
    if not isinstance(value, Const):
        raise node.refuse(f"input {node.inputs[w]!r} must be constant weights")
    step = walk.constant(node, scale) if scale >= 0 else np.ones(1)
    if not (np.isfinite(step).all() and (step > 0).all()):
        raise node.refuse("a scale of the weights that is not positive and finite")
    lo, hi = walk.bounds(node, w)
    laid = (
        _laid(node, part, value.array.shape, axis) for part in (step, walk.whole(node, zero, 0))
    )
    scales, zeros = laid
    return ConstReal(value.array, scales.astype(np.float64), zeros, lo, hi)


def _laid(node: Node, values: Array, shape: tuple[int, ...], axis: int) -> Array:
    """Scales or zero points of weights: one, a vector along `axis`, or of their own shape."""
    rank = len(shape)
    full = values if np.ndim(values) == rank else spread(values, axis, rank)
    if np.ndim(values) not in (0, 1, rank) or any(
        size not in (1, here) for size, here in zip(full.shape, shape, strict=True)
    ):
        raise node.refuse(
            f"scales or zero points of shape {list(np.shape(values))} beside weights {list(shape)}",
            "one number, or one for each output",
        )
    return full


def rounded_output(walk: Walk, node: Node, scale: int, zero: int, zero_first: bool) -> Target:
    """The output of a node; `zero_first` adds the zero point before rounding ties."""
    lo, hi = walk.bounds(node, zero) if walk.has(node, zero) else (0, 255)
    target = walk.target(walk.constant(node, scale), walk.whole(node, zero, 0), lo, hi, node)
    return replace(target, parity=target.tensor.zero_point if zero_first else 0)


def _reference_order(walk: Walk) -> bool:
    """ONNX's own evaluator adds the zero point before it rounds; onnxruntime after."""
    return walk.build.rule == "onnx-exact"


def _qlinear_conv(walk: Walk, node: Node) -> Value:
    value = convolution(
        walk, node, real_input(walk, node, 0, 1, 2), _weights(walk, node, 3, 4, 5, axis=0)
    )
    if walk.has(node, 8):
        value = add_bias(walk, node, value, walk.value(node, 8), own=True)
    return quantized(walk, node, value, rounded_output(walk, node, 6, 7, _reference_order(walk)))


def _qlinear_matmul(walk: Walk, node: Node) -> Value:
    x = real_input(walk, node, 0, 1, 2)
    if isinstance(walk.value(node, 3), Const):
        value = matrix_product(walk, node, x, _weights(walk, node, 3, 4, 5, axis=1), True)
    else:
        value = product_of(walk, node, x, real_input(walk, node, 3, 4, 5))
    return quantized(walk, node, value, rounded_output(walk, node, 6, 7, _reference_order(walk)))


def _integer_input(walk: Walk, node: Node, zero: int) -> str:
    """The first input as raw integers with a zero point: real values at scale 1."""
    offset = walk.whole(node, zero, 0)
    if offset.size != 1:
        raise node.refuse("an input with a zero point for each row", "one zero point")
    name = walk.build.settle(walk.pending(node, 0), node.inputs[0])
    tensor = walk.build.tensors[name]
    if tensor.scale is None:  # the graph's own integers: real values would be a guess
        walk.build.entries[name] = Entry(name, rounding="none")
    step = tensor.scale if isinstance(tensor.scale, float) else 1.0
    return walk.interpret(name, step, int(offset.ravel()[0]))


def _in_units(walk: Walk, value: Pending) -> Pending:
    """Accumulators as the integers they are, whatever the input's scale was."""
    layer = value.weighted
    assert layer is not None
    scale = walk.build.tensors[layer.inputs[0]].scale
    assert isinstance(scale, float)
    unit = np.asarray(layer.weight_scale) / scale
    return replace(value, layer=replace(layer, weight_scale=unit), integer=True)


def _conv_integer(walk: Walk, node: Node) -> Value:
    weights = _weights(walk, node, 1, -1, 3, axis=0)
    return _in_units(walk, convolution(walk, node, _integer_input(walk, node, 2), weights))


def _matmul_integer(walk: Walk, node: Node) -> Value:
    weights = _weights(walk, node, 1, -1, 3, axis=1)
    x = _integer_input(walk, node, 2)
    return _in_units(walk, matrix_product(walk, node, x, weights, True))


def _qgemm(walk: Walk, node: Node) -> Value:
    """ORT QGemm: a, its scale and zero point, b likewise, bias, then the output's."""
    if node.attribute("transA", 0):
        raise node.refuse("a transposed first operand", "QGemm with transA = 0")
    flip = not node.attribute("transB", 0)
    weights = _weights(walk, node, 3, 4, 5, axis=1 if flip else 0)
    value = matrix_product(walk, node, real_input(walk, node, 0, 1, 2), weights, flip)
    alpha = node.attribute("alpha", 1.0)
    value = value if alpha == 1 else scale_outputs(node, value, np.array(alpha))
    if walk.has(node, 6):
        value = add_bias(walk, node, value, walk.value(node, 6))
    if not walk.has(node, 7):
        return value
    return quantized(walk, node, value, rounded_output(walk, node, 7, 8, zero_first=False))


def _either(walk: Walk, node: Node, x: int, scale: int, zero: int) -> Value:
    """The real values of an input with its scale and zero point: a tensor's or constants."""
    if not isinstance(walk.value(node, x), Const):
        name = real_input(walk, node, x, scale, zero)
        return Pending(walk.build.tensors[name].shape, source=name)
    return _weights(walk, node, x, scale, zero, axis=0)


def _pair(walk: Walk, node: Node, first: int) -> tuple[Pending, Value]:
    """Two operands of three inputs each, a tensor before a constant."""
    one, other = (_either(walk, node, i, i + 1, i + 2) for i in (first, first + 3))
    one, other = (other, one) if isinstance(other, Pending) else (one, other)
    if not isinstance(one, Pending):
        raise node.refuse("two constants")
    return one, other


def _qlinear_add(walk: Walk, node: Node) -> Value:
    a, b = _pair(walk, node, 0)
    if isinstance(b, Pending):
        value: Value = add_tensors(walk, node, [a.source, b.source])
    else:
        assert isinstance(b, ConstReal)
        value = plus_constant(walk, _beside(walk, node, a), a, b, 1)
    return quantized(walk, node, value, rounded_output(walk, node, 6, 7, zero_first=True))


def _qlinear_mul(walk: Walk, node: Node) -> Value:
    a, b = _pair(walk, node, 0)
    if isinstance(b, Pending):
        value: Value = multiply_tensors(walk, node, a.source, b.source)
    else:
        assert isinstance(b, ConstReal)
        value = times(walk, _beside(walk, node, a), a, b)
    return quantized(walk, node, value, rounded_output(walk, node, 6, 7, zero_first=True))


def _beside(walk: Walk, node: Node, value: Pending) -> Node:
    """The node as one of the plain operator, whose input is the real value."""
    walk.values[value.source] = value
    return replace(node, inputs=(value.source,))


def _qlinear_where(walk: Walk, node: Node) -> Value:
    """ORT QLinearWhere: the condition, three inputs for each value, the output's two."""
    pair = [_either(walk, node, i, i + 1, i + 2) for i in (1, 4)]
    value = chosen(node, walk.constant(node, 0), pair)
    return quantized(walk, node, value, rounded_output(walk, node, 7, 8, zero_first=False))


def _qlinear_average_pool(walk: Walk, node: Node) -> Value:
    _channels_first(node)
    x, kernel = real_input(walk, node, 0, 1, 2), tuple(node.attribute("kernel_shape", ()))
    value = pool_mean(walk, node, x, kernel)
    over = isinstance(value.layer, AvgPool) and value.layer.padding != value.layer.counted
    if over and node.attribute("count_include_pad", 0):
        raise node.refuse("windows over the end of what is padded (ceil_mode) with "
                          "count_include_pad = 1", "one of them")  # fmt: skip
    return quantized(walk, node, value, rounded_output(walk, node, 3, 4, zero_first=True))


def _qlinear_global_average_pool(walk: Walk, node: Node) -> Value:
    _channels_first(node)
    x = real_input(walk, node, 0, 1, 2)
    value = pool_mean(walk, node, x)
    return quantized(walk, node, value, rounded_output(walk, node, 3, 4, zero_first=False))


def _channels_first(node: Node) -> None:
    if node.attribute("channels_last", 0):
        raise node.refuse("channels last", "channels_last = 0")


def _qlinear_concat(walk: Walk, node: Node) -> Value:
    """ORT QLinearConcat: the output's scale and zero point, then three inputs for each part."""
    parts = tuple(_part(walk, node, first) for first in range(2, len(node.inputs), 3))
    value = joined(node, parts, int(node.attribute("axis", 1)))
    return quantized(walk, node, value, rounded_output(walk, node, 0, 1, zero_first=False))


def _part(walk: Walk, node: Node, first: int) -> Pending:
    name = real_input(walk, node, first, first + 1, first + 2)
    return Pending(walk.build.tensors[name].shape, source=name)


CONV = "auto_pad dilations group kernel_shape pads strides"
HANDLERS: dict[tuple[str, str], Handler] = {
    ("", "QLinearConv"): handles(_qlinear_conv, CONV, 9),
    ("", "QLinearMatMul"): handles(_qlinear_matmul, inputs=8),
    ("", "ConvInteger"): handles(_conv_integer, CONV, 4),
    ("", "MatMulInteger"): handles(_matmul_integer, inputs=4),
    (ORT, "QGemm"): handles(_qgemm, "alpha transA transB", 9),
    (ORT, "QLinearAdd"): handles(_qlinear_add, inputs=8),
    (ORT, "QLinearMul"): handles(_qlinear_mul, inputs=8),
    (ORT, "QLinearWhere"): handles(_qlinear_where, inputs=9),
    (ORT, "QLinearAveragePool"): handles(
        _qlinear_average_pool, f"{WINDOW} channels_last count_include_pad", 5
    ),
    (ORT, "QLinearGlobalAveragePool"): handles(_qlinear_global_average_pool, "channels_last", 5),
    (ORT, "QLinearConcat"): handles(_qlinear_concat, "axis", ANY),
}
