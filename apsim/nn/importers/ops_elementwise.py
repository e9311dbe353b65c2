"""Operators that combine values place by place: sums, products, the greater one, where.

The rule: numbers beside a tensor go into the layer that made it, or into a table of its
words; two tensors of unlike shapes are brought to one by a move.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from apsim.nn.importers.constants import Const, ConstReal, along, beside, single
from apsim.nn.importers.curves import combined, curve_of, drawn, is_drawn, require_room
from apsim.nn.importers.graph import Array, Node, Refusal
from apsim.nn.importers.ops_real import convolution, name_of
from apsim.nn.importers.pending import (
    PLACEHOLDER,
    Bounds,
    Chained,
    Joint,
    Pending,
    Source,
    Value,
)
from apsim.nn.importers.walk import ANY, Handler, Walk, handles
from apsim.nn.importers.weights import add_bias, scale_outputs
from apsim.nn.model import Add, AvgPool, Floats, MatMul, Multiply, Rearrange, Reshape, Tensor
from apsim.nn.model.words import holding
from apsim.nn.rules import real

__all__ = ["HANDLERS", "add_tensors", "multiply_tensors", "numbers_of", "plus_constant", "times"]

MOST_PLACES = 1 << 26
Number = Const | ConstReal


def _add(walk: Walk, node: Node) -> Value:
    return _sum(walk, node, 1)


def _sub(walk: Walk, node: Node) -> Value:
    return _sum(walk, node, -1)


def _sum(walk: Walk, node: Node, sign: int) -> Value:
    first, second = walk.value(node, 0), walk.value(node, 1)
    both = combined(walk, node, first, second, np.add if sign == 1 else np.subtract)
    if both is not None:
        return both
    if isinstance(first, Number) and sign == 1:
        first, second = second, first
    if isinstance(second, Number):
        return plus_constant(walk, node, first, second, sign)
    if isinstance(first, Number):
        return _less_than_constant(walk, node, first, second)
    return add_tensors(walk, node, [walk.tensor(node, i) for i in (0, 1)], sign)


def _less_than_constant(walk: Walk, node: Node, number: Number, value: Value) -> Value:
    """c - x = -x + c."""
    if isinstance(value, Source):
        turned_round = _stepped(node, value, "mul", np.array(-1.0))
        return _stepped(node, turned_round, "add", numbers_of(number))
    turned = _with_numbers(walk, node, value, numbers_of(number), lambda x, c: c - x)
    if turned is not None and (is_drawn(value) or not _laid(walk, node, value, number)):
        return turned
    less = scale_outputs(node, _noted(_channelled(walk, node, value), node), np.array(-1.0))
    return add_bias(walk, node, less, number)


def _sum_of_any(walk: Walk, node: Node) -> Value:
    """Sum takes any number of inputs: tensors are added at once, numbers beside them."""
    values = [walk.value(node, index) for index in range(len(node.inputs))]
    tensors = [i for i, value in enumerate(values) if not isinstance(value, Number)]
    if not tensors:
        raise node.refuse("a sum of constants alone")
    if len(values) == 1:
        return values[0]
    if len(values) == 2:
        return _sum(walk, node, 1)
    numbers = [value for value in values if isinstance(value, Number)]
    if not numbers:
        return add_tensors(walk, node, [walk.tensor(node, i) for i in tensors])
    total = Const(np.asarray(sum(numbers_of(one) for one in numbers)))
    if len(tensors) > 1:
        raise node.refuse(f"a sum of {len(tensors)} tensors and constants", "Add for the constants")
    return plus_constant(walk, node, values[tensors[0]], total, 1)


def add_tensors(walk: Walk, node: Node, names: Sequence[str], sign: int = 1) -> Pending:
    """The sum of tensors, or the difference of two, not rounded yet."""
    names, shape = _one_shape(walk, node, names)
    layer = Add(name=name_of(node), inputs=tuple(names), output="", requant=PLACEHOLDER,
                multipliers=(1, sign))  # fmt: skip
    return Pending(shape, layer=layer, nodes=(node.index,))


def multiply_tensors(walk: Walk, node: Node, a: str, b: str) -> Pending:
    """The product of two tensors place by place, not rounded yet."""
    names, shape = _one_shape(walk, node, (a, b))
    layer = Multiply(name=name_of(node), inputs=tuple(names), output="", requant=PLACEHOLDER)
    return Pending(shape, layer=layer, nodes=(node.index,))


def _one_shape(
    walk: Walk, node: Node, names: Sequence[str]
) -> tuple[list[str], tuple[int, ...]]:  # fmt: skip
    """Tensors brought to the one shape that ONNX's broadcasting gives them."""
    shapes = [walk.build.tensors[name].shape for name in names]
    try:
        whole = np.broadcast_shapes(*shapes)
    except ValueError:
        whole = ()
    if len({len(shape) for shape in shapes}) != 1 or len(whole) != len(shapes[0]):
        raise node.refuse(f"{node.op} of shapes {shapes}",
                          "tensors that broadcast to one shape, of as many axes")  # fmt: skip
    if math.prod(whole) > MOST_PLACES:
        raise node.refuse(f"a result of {list(whole)}", f"at most {MOST_PLACES} places")
    return [walk.build.spread(name, whole) for name in names], whole


def _extreme(walk: Walk, node: Node) -> Value:
    """Max and Min: of a tensor and numbers a bound or a table, of tensors a layer."""
    values = [walk.value(node, index) for index in range(len(node.inputs))]
    tensors = [i for i, value in enumerate(values) if not isinstance(value, Number)]
    if not tensors:
        raise node.refuse(f"{node.op} of constants alone")
    value = values[tensors[0]] if len(tensors) == 1 else _greatest(walk, node, tensors)
    if isinstance(value, Pending) and value.integer and len(values) > len(tensors):
        raise node.refuse(f"{node.op} of integers and constants", "Clip")
    for number in (one for one in values if isinstance(one, Number)):
        value = _bounded_by(walk, node, value, numbers_of(number))
    return value


def _bounded_by(walk: Walk, node: Node, value: Value, numbers: Array) -> Value:
    least = node.op == "Min"
    if np.isnan(numbers).any():
        raise node.refuse("a bound that is no number")
    if isinstance(value, Pending) and numbers.size > 1 and (numbers != numbers.ravel()[0]).any():
        what: Callable[[Floats, Any], Floats] = np.minimum if least else np.maximum
        made = _with_numbers(walk, node, value, numbers, what)
        if made is None:
            raise node.refuse("a bound for each place of what is not rounded yet",
                              "QuantizeLinear and DequantizeLinear before it")  # fmt: skip
        return made
    assert isinstance(value, Pending | Source)
    end = single(node, numbers, value.shape)
    low, high = (-math.inf, end) if least else (end, math.inf)
    if isinstance(value, Source):
        return replace(value, bounds=value.bounds.then(low, high))
    return value.clipped(low, high, node.index)


def _greatest(walk: Walk, node: Node, tensors: Sequence[int]) -> Pending:
    """The greatest of tensors: rounding is monotone, so they are rounded first."""
    a, b = (walk.value(node, i) for i in tensors[:2])
    what = np.minimum if node.op == "Min" else np.maximum
    both = combined(walk, node, a, b, what) if len(tensors) == 2 else None
    if both is not None:
        return both
    given = [walk.pending(node, i) for i in tensors]
    unrounded = any(one.layer is not None or one.parts for one in given)
    if unrounded and len({one.shape for one in given}) == 1 and not any(o.integer for o in given):
        joint = Joint("min" if node.op == "Min" else "max")
        return Pending(given[0].shape, parts=tuple(given), joint=joint, nodes=(node.index,))
    names, shape = _one_shape(walk, node, [walk.tensor(node, i) for i in tensors])
    parts = tuple(Pending(shape, source=name) for name in names)
    kind = "min" if node.op == "Min" else "max"
    value = Pending(shape, parts=parts, joint=Joint(kind), nodes=(node.index,))
    if len({replace(walk.build.tensors[name], shape=()) for name in names}) > 1:
        return value
    made = walk.build.settle(value, walk.build.new_name(f"{node.outputs[0]} (integers)"))
    return Pending(shape, source=made, nodes=(node.index,))


def plus_constant(walk: Walk, node: Node, value: Value, added: Number, sign: int) -> Value:
    """A value with a constant added, or subtracted where `sign` is -1."""
    numbers = numbers_of(added)
    if isinstance(value, Source):
        return _stepped(node, value, "add" if sign > 0 else "sub", numbers)
    what: Callable[[Floats, Any], Floats] = np.add if sign > 0 else np.subtract
    alone = _with_numbers(walk, node, value, numbers, what)
    if alone is not None and is_drawn(value):
        return alone
    if not _laid(walk, node, value, added):
        beside_it = _as_tensor(walk, node, value, added)
        if beside_it:
            return add_tensors(walk, node, [_own(walk, node, value), beside_it], sign)
        if alone is not None:
            return alone
    sums = add_bias(walk, node, _noted(_channelled(walk, node, value), node), added, sign)
    return _still(sums, alone)


def _still(value: Pending, alone: Pending | None, by: float = math.nan) -> Pending:
    """A layer's value that is still a function of its tensor, where it is."""
    if alone is None or alone.curve is None:
        return replace(value, curve=None)
    curve = replace(alone.curve, behind=len(value.chain), times=by)
    return replace(value, curve=curve)


def _with_numbers(
    walk: Walk, node: Node, value: Value, numbers: Array, what: Callable[[Floats, Any], Floats]
) -> Pending | None:
    """A function of one tensor with numbers applied; None where the value is none."""
    curve = curve_of(walk, value)
    if curve is None or not isinstance(value, Pending) or numbers.size == 0:
        return None
    try:
        by = beside(node, np.asarray(numbers, np.float64), value.shape)[..., None]
    except Refusal:
        return None
    require_room(walk, node, curve, by.size)
    number = by if by.size > 1 else float(by.item())
    return drawn(node, value, curve.then(lambda x: what(x, number)))


def _laid(walk: Walk, node: Node, value: Value, number: Number) -> bool:
    """Whether a constant is one number or lies along the channels of a value."""
    if not isinstance(value, Pending):
        return True
    axis = value.channel_axis if value.weighted is not None else 1
    try:
        along(node, numbers_of(number), value.shape, axis)
    except Refusal:
        return False
    return True


def _as_tensor(walk: Walk, node: Node, value: Value, number: Number) -> str:
    """A quantized constant of one scale as a tensor beside one; empty where it is none."""
    plain = isinstance(value, Pending) and value.source and not value.bounds.any
    if not plain or not isinstance(number, ConstReal):
        return ""
    if number.scale.size != 1 or number.zero.size != 1:
        return ""
    like = _own(walk, node, value)
    shape = walk.build.tensors[like].shape
    try:
        words = beside(node, number.integers, shape).astype(np.int64)
    except Refusal:
        return ""
    zero = int(number.zero.item())
    kind = holding(min(number.lo, zero), max(number.hi, zero))
    tensor = Tensor(shape, kind.bits, kind.signed, float(np.float32(number.scale.item())), zero)
    output = walk.build.new_name(f"{name_of(node)} (constant)")
    fill = np.broadcast_to(words, shape) - zero
    layer = Rearrange(name=output, inputs=(like,), output=output, index=np.full(shape, -1),
                      fill=fill, what="constant")  # fmt: skip
    return walk.build.emit(layer, tensor, [node.index])


def _own(walk: Walk, node: Node, value: Value) -> str:
    assert isinstance(value, Pending)
    return walk.build.settle(value, _before(node, walk, value))


def _stepped(node: Node, value: Source, kind: str, by: Array) -> Source:
    """A real input after one more step of arithmetic: one number, or one for each channel."""
    laid = beside(node, np.asarray(by, np.float64), value.shape)
    if not np.isfinite(laid).all() or (kind in ("mul", "div") and not laid.all()):
        bad = ", ".join(f"{number:g}" for number in laid.ravel()[:4])
        raise node.refuse(f"{bad} applied to a real input", "finite numbers other than 0")
    if value.bounds.any:
        raise node.refuse("arithmetic on a real input that was clipped", "the Clip after it")
    if value.bits != 32:
        raise node.refuse(f"arithmetic in float{value.bits} on a real input", "float")
    if laid.size == 1:
        number = float(laid.item())
        chain = tuple(_refilled(one, kind, number) for one in value.chain)
        return replace(value, steps=(*value.steps, (kind, number)), chain=chain)
    axis = _axis_of(node, value, laid)
    return replace(value, steps=(*value.steps, (kind, tuple(laid.ravel().tolist()))), along=axis)


def _refilled(one: Chained, kind: str, number: float) -> Chained:
    """A step with what arithmetic after it makes of the number that it puts beside values."""
    fill = real.STEPS[kind](np.float32(one.fill), np.float32(number))
    return replace(one, fill=float(fill))


def _axis_of(node: Node, value: Source, laid: Floats) -> int:
    """The one axis (the batch not counted) along which numbers beside a real input differ."""
    varying = [axis for axis, size in enumerate(laid.shape) if size > 1]
    known = {value.along for _, by in value.steps if isinstance(by, tuple)}
    if value.chain or len(varying) > 1 or not known <= set(varying):
        raise node.refuse(
            f"a constant of shape {list(laid.shape)} on the real input {value.name!r}"
            f"{', which was moved before' if value.chain else ''}",
            "one number, or one for each place of one axis of the input as it is given; a "
            "quantization before it",
        )
    return varying[0]


def numbers_of(value: Value) -> Array:
    """The real numbers of a constant."""
    assert isinstance(value, Number)
    return value.array if isinstance(value, Const) else value.real


def _noted(value: Pending, node: Node) -> Pending:
    return replace(value, nodes=(*value.nodes, node.index))


def _channelled(walk: Walk, node: Node, value: Value) -> Pending:
    """Accumulators with channels: those of a layer, or of a 1x1 convolution by ones."""
    if isinstance(value, Pending) and value.integer:
        raise node.refuse("arithmetic on integers, which wraps around", "DequantizeLinear first")
    if isinstance(value, Pending) and value.weighted is not None:
        return value
    if isinstance(value, Pending) and value.source and value.shape:
        return _by_ones(walk, node, value)
    raise node.refuse(
        "a constant combined with a value that is no fresh convolution or matrix product",
        "BatchNormalization, Add or Mul directly after Conv, Gemm or MatMul",
    )


def _by_ones(walk: Walk, node: Node, value: Pending) -> Pending:
    """A tensor [N, C, ...] as the sums of a 1x1 convolution by ones, channel by channel."""
    channels, shape = value.shape[0], value.shape
    ones = ConstReal(np.ones((channels, 1, 1, 1), np.int8), np.ones((1,) * 4),
                     np.zeros((1,) * 4, np.int64), 0, 1)  # fmt: skip
    plain = replace(node, attributes={"group": channels}, defaults={})
    name = walk.build.settle(value, _before(node, walk, value))
    if len(shape) == 3:
        return convolution(walk, plain, name, ones)
    name = walk.build.reshaped(name, (channels, 1, math.prod(shape[1:])))
    back = Reshape(name=f"{name_of(node)} (shape)", inputs=(), output="")
    return convolution(walk, plain, name, ones).then(back, shape, node.index)


def _before(node: Node, walk: Walk, value: Pending) -> str:
    """What the file calls a value that a node takes."""
    found = (name for name in node.inputs if walk.values.get(name) is value)
    return next(found, f"{node.outputs[0]} (before)")


def _mul(walk: Walk, node: Node) -> Value:
    first, second = walk.value(node, 0), walk.value(node, 1)
    if isinstance(first, Number):
        first, second = second, first
    both = combined(walk, node, first, second, np.multiply)
    if both is not None:
        return both
    if not isinstance(second, Number):
        return multiply_tensors(walk, node, walk.tensor(node, 0), walk.tensor(node, 1))
    if isinstance(first, Source):
        return _stepped(node, first, "mul", numbers_of(second))
    return times(walk, node, first, second)


def _div(walk: Walk, node: Node) -> Value:
    value, by = walk.value(node, 0), walk.constant(node, 1)
    if isinstance(value, Source):
        return _stepped(node, value, "div", by)
    if isinstance(value, Number):
        raise node.refuse("a number divided by a tensor", "Reciprocal and Mul")
    if not by.all():
        raise node.refuse("a division by zero")
    return times(walk, node, value, Const(1 / np.asarray(by, np.float64)))


def times(walk: Walk, node: Node, value: Value, number: Number) -> Value:
    """A value times a constant."""
    by = np.asarray(numbers_of(number), np.float64)
    alone = _with_numbers(walk, node, value, by, np.multiply)
    if alone is not None and is_drawn(value):
        return alone
    bare, after = _before_bounds(value, by)
    if after is not None:
        made = times(walk, _of(walk, node, bare), bare, number)
        assert isinstance(made, Pending)
        return made.clipped(after.lo, after.hi)
    gaining = isinstance(value, Pending) and isinstance(value.layer, AvgPool | MatMul | Multiply)
    if gaining and isinstance(value, Pending) and value.reordered and value.factor == 1:
        return _gained(node, value, by)
    if not _laid(walk, node, value, number):
        other = _as_tensor(walk, node, value, number)
        if other:
            return multiply_tensors(walk, node, _own(walk, node, value), other)
        if alone is not None:
            return alone
    if alone is not None and not by.all():
        return alone
    if _unlike(value) and by.size == 1 and math.isfinite(by.item()) and by.item() > 0:
        assert isinstance(value, Pending)
        single(node, by, value.shape)  # gives the value no more axes
        return replace(_noted(value, node), factor=value.factor * float(by.item()))
    scaled = scale_outputs(node, _noted(_channelled(walk, node, value), node), by)
    curve = curve_of(walk, value)
    one = curve is not None and by.size == 1
    return _still(scaled, alone, curve.times * float(by.item()) if curve and one else math.nan)


def _before_bounds(value: Value, by: Array) -> tuple[Value, Bounds | None]:
    """A bounded value before its bounds, and these times positive numbers; None where unlike."""
    if not isinstance(value, Pending) or not value.bounds.any or not (by > 0).all():
        return value, None
    ends = value.bounds
    if by.size > 1 and not (ends.lo in (0, -math.inf) and ends.hi == math.inf):
        return value, None
    factor = float(by.ravel()[0])
    return replace(value, bounds=Bounds()), Bounds(ends.lo * factor, ends.hi * factor)


def _of(walk: Walk, node: Node, value: Value) -> Node:
    """The node with another value than the file's as its first input."""
    name = walk.build.new_name(f"{node.inputs[0]} (before its bounds)")
    walk.values[name] = value
    return replace(node, inputs=(name, *node.inputs[1:]))


def _unlike(value: Value) -> bool:
    """Whether a value is neither a layer's with weights nor a tensor's: a number is kept beside."""
    if not isinstance(value, Pending) or value.integer:
        return False
    return value.weighted is None and not value.source


def _gained(node: Node, value: Pending, by: Array) -> Pending:
    """A mean or a product of tensors times a number, which goes into its factor."""
    layer = value.layer
    assert isinstance(layer, AvgPool | MatMul | Multiply)
    what = "a mean" if isinstance(layer, AvgPool) else "a product of tensors"
    if not value.reordered:
        raise node.refuse(f"{what} times a number after something else",
                          "the number directly after it")  # fmt: skip
    factor = single(node, by, value.shape)
    if not (math.isfinite(factor) and factor > 0):
        raise node.refuse(f"{what} times {factor:g}", "a positive factor")
    return replace(_noted(value, node), layer=replace(layer, gain=layer.gain * factor))


def _batch_normalization(walk: Walk, node: Node) -> Value:
    gamma, beta, mean, variance = (
        np.asarray(walk.constant(node, i), np.float64) for i in range(1, 5)
    )
    value = _noted(_channelled(walk, node, walk.value(node, 0)), node)
    shape = value.shape[:1]
    for index, values in enumerate((gamma, beta, mean, variance), 1):
        if values.shape != shape:
            raise node.refuse(f"input {index} of shape {list(values.shape)}", f"{list(shape)}")
    factor = gamma / np.sqrt(variance + node.attribute("epsilon", 1e-5))
    lay = (-1, *[1] * (len(value.shape) - 1))  # channels are the second axis
    value = scale_outputs(node, value, factor.reshape(lay))
    return add_bias(walk, node, value, Const((beta - mean * factor).reshape(lay)))


HANDLERS: dict[tuple[str, str], Handler] = {
    ("", "Add"): handles(_add, inputs=2, rows=True),
    ("", "Sub"): handles(_sub, inputs=2, rows=True),
    ("", "Mul"): handles(_mul, inputs=2, rows=True),
    ("", "Div"): handles(_div, inputs=2, rows=True),
    ("", "Sum"): handles(_sum_of_any, inputs=ANY),
    ("", "Max"): handles(_extreme, inputs=ANY),
    ("", "Min"): handles(_extreme, inputs=ANY),
    ("", "BatchNormalization"): handles(_batch_normalization, "epsilon momentum", 5),
}
