"""What ONNX's ordinary operators mean for values that stand between two quantizations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from apsim.nn.importers.builder import PLACEHOLDER
from apsim.nn.importers.constants import Const, ConstReal, single
from apsim.nn.importers.curves import combined, curve_of, drawn, is_drawn
from apsim.nn.importers.graph import Array, Node
from apsim.nn.importers.pending import Pending, Source, Value
from apsim.nn.importers.walk import ANY, Handler, Walk, handles
from apsim.nn.importers.weights import add_bias, fold_zero_point, scale_outputs, weight_fields
from apsim.nn.importers.windows import lifted, window_of
from apsim.nn.model import (
    Add,
    AvgPool,
    Conv2d,
    Floats,
    Linear,
    MatMul,
    Maximum,
    MaxPool,
    Multiply,
    Reshape,
    Transpose,
)
from apsim.nn.model.windows import plane

__all__ = [
    "HANDLERS", "add_tensors", "convolution", "matrix_product", "name_of", "plus_constant",
    "pool_mean",
]  # fmt: skip

WINDOW = "auto_pad ceil_mode dilations kernel_shape pads strides"


def name_of(node: Node) -> str:
    """What the layer of a node is called."""
    return node.name or node.outputs[0]


def convolution(walk: Walk, node: Node, x: str, weights: Value) -> Pending:
    """Accumulators of a convolution of the tensor x, no bias yet; one over one axis in a plane."""
    given = walk.build.tensors[x]
    if isinstance(weights, ConstReal) and weights.integers.ndim == 3 and len(given.shape) == 2:
        plane_of = walk.build.reshaped(x, (given.shape[0], 1, given.shape[1]))
        flat = weights.moved(lambda a: a.reshape(*a.shape[:2], 1, a.shape[2]))
        value = convolution(walk, lifted(node), plane_of, flat)
        return _line(node, value)
    fields = weight_fields(node, weights)
    kernel = fields["weights"].shape[2:]
    if tuple(node.attribute("kernel_shape", kernel)) != kernel:
        raise node.refuse(f"kernel_shape {list(node.attribute('kernel_shape', ()))} beside "
                          f"weights {list(fields['weights'].shape)}")  # fmt: skip
    window = window_of(node, kernel, given.shape[1:])
    layer = Conv2d(
        name=name_of(node), inputs=(x,), output="", stride=window.stride,
        padding=window.padding, dilation=window.dilation,
        groups=int(node.attribute("group", 1)), **fields,
    )  # fmt: skip
    shape = (len(layer.weights), *plane(layer, *given.shape[1:]))
    return Pending(shape, layer=fold_zero_point(walk, node, layer), nodes=(node.index,))


def _line(node: Node, value: Pending) -> Pending:
    """A plane of height 1 as the line that the file has."""
    layer = Reshape(name=f"{name_of(node)} (line)", inputs=(), output="")
    return value.then(layer, (value.shape[0], value.shape[2]), node.index)


def matrix_product(walk: Walk, node: Node, x: str, weights: Value, transpose: bool) -> Pending:
    """Accumulators of x times weights [I, O] (or [O, I], not transposed), no bias yet."""
    if isinstance(weights, ConstReal) and weights.integers.ndim != 2:
        raise node.refuse(f"weights with {weights.integers.ndim} axes", "weights with 2 axes")
    layer = Linear(
        name=name_of(node), inputs=(x,), output="", **weight_fields(node, weights, transpose)
    )
    given = walk.build.tensors[x].shape
    if not given or given[-1] != layer.weights.shape[1]:
        raise node.refuse(
            f"an input of shape [N, {', '.join(map(str, given))}] times weights "
            f"{list(layer.weights.shape)}", "a batch of vectors as long as the weights' rows",
        )  # fmt: skip
    shape = (*given[:-1], len(layer.weights))
    return Pending(shape, layer=fold_zero_point(walk, node, layer), nodes=(node.index,))


def _conv(walk: Walk, node: Node) -> Value:
    value = convolution(walk, node, walk.tensor(node, 0), walk.value(node, 1))
    if not walk.has(node, 2):
        return value
    return add_bias(walk, node, value, walk.value(node, 2), own=True)


def _gemm(walk: Walk, node: Node) -> Value:
    if node.attribute("transA", 0):
        raise node.refuse("a transposed first operand", "Gemm with transA = 0")
    x = walk.tensor(node, 0)
    if len(walk.build.tensors[x].shape) != 1:
        raise node.refuse(f"an input with {1 + len(walk.build.tensors[x].shape)} axes", "2 axes")
    flip = not node.attribute("transB", 0)
    value = matrix_product(walk, node, x, walk.value(node, 1), flip)
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    value = value if alpha == 1 else scale_outputs(node, value, np.array(alpha))
    if not walk.has(node, 2) or beta == 0:
        return value
    bias = walk.value(node, 2)
    if beta != 1:
        bias = Const(walk.constant(node, 2) * np.float64(beta))
    return add_bias(walk, node, value, bias)


def _matmul(walk: Walk, node: Node) -> Value:
    if isinstance(walk.value(node, 1), Pending):
        return _product_of_tensors(walk, node)
    return matrix_product(walk, node, walk.tensor(node, 0), walk.value(node, 1), True)


def _product_of_tensors(walk: Walk, node: Node) -> Pending:
    """Two activations multiplied as matrices; leading axes must be equal."""
    a, b = walk.tensor(node, 0), walk.tensor(node, 1)
    left, right = (walk.build.tensors[name].shape for name in (a, b))
    if len(left) < 2 or left[:-2] != right[:-2] or left[-1:] != right[-2:-1]:
        raise node.refuse(f"a product of tensors {[list(left), list(right)]}",
                          "[N, ..., T, K] times [N, ..., K, U]")  # fmt: skip
    layer = MatMul(name=name_of(node), inputs=(a, b), output="", requant=PLACEHOLDER)
    return Pending((*left[:-1], right[-1]), layer=layer, nodes=(node.index,))


def _add(walk: Walk, node: Node) -> Value:
    return _sum(walk, node, 1)


def _sub(walk: Walk, node: Node) -> Value:
    return _sum(walk, node, -1)


def _sum(walk: Walk, node: Node, sign: int) -> Value:
    first, second = walk.value(node, 0), walk.value(node, 1)
    both = combined(walk, node, first, second, np.add if sign == 1 else np.subtract)
    if both is not None:
        return both
    if isinstance(first, Const | ConstReal) and sign == 1:
        first, second = second, first
    if isinstance(second, Const | ConstReal):
        return plus_constant(walk, node, first, second, sign)
    if isinstance(first, Const | ConstReal):  # c - x = -x + c
        turned = _with_number(walk, node, second, _numbers(first), lambda x, c: c - x)
        if turned is not None and is_drawn(second):
            return turned
        less = scale_outputs(node, _noted(_channelled(walk, node, second), node), np.array(-1.0))
        return add_bias(walk, node, less, first)
    return add_tensors(walk, node, walk.tensor(node, 0), walk.tensor(node, 1), sign)


def _sum_of_any(walk: Walk, node: Node) -> Value:
    """Sum takes any number of inputs; one is itself, two are an addition."""
    if len(node.inputs) == 1:
        return walk.value(node, 0)
    if len(node.inputs) > 2:
        raise node.refuse(f"a sum of {len(node.inputs)} tensors", "Add, quantized, and Add again")
    return _sum(walk, node, 1)


def add_tensors(walk: Walk, node: Node, a: str, b: str, sign: int = 1) -> Pending:
    """The sum or the difference of two tensors of one shape, not rounded yet."""
    shape = _one_shape(walk, node, a, b)
    layer = Add(name=name_of(node), inputs=(a, b), output="", requant=PLACEHOLDER,
                multipliers=(1, sign))  # fmt: skip
    return Pending(shape, layer=layer, nodes=(node.index,))


def _one_shape(walk: Walk, node: Node, a: str, b: str) -> tuple[int, ...]:
    shapes = [walk.build.tensors[name].shape for name in (a, b)]
    if shapes[0] != shapes[1]:
        raise node.refuse(f"{node.op} of shapes {shapes}", "two tensors of one shape")
    return shapes[0]


def _extreme(walk: Walk, node: Node) -> Value:
    """Max and Min: of a tensor and numbers a bound, of two tensors of one scale a layer."""
    least = node.op == "Min"
    values = [walk.value(node, index) for index in range(len(node.inputs))]
    tensors = [value for value in values if not isinstance(value, Const | ConstReal)]
    if len(tensors) == 1 and isinstance(tensors[0], Pending | Source):
        value = tensors[0]
        if isinstance(value, Pending) and value.integer:
            raise node.refuse(f"{node.op} of integers and constants", "Clip")
        for constant in (one for one in values if isinstance(one, Const | ConstReal)):
            end = single(node, _numbers(constant), value.shape)
            low, high = (-math.inf, end) if least else (end, math.inf)
            value = _clipped(value, low, high, node)
        return value
    if len(values) != 2 or len(tensors) != 2:
        raise node.refuse(f"{node.op} of {len(tensors)} tensors", "two tensors, or one and numbers")
    return _greater(walk, node, least)


def _clipped(value: Pending | Source, low: float, high: float, node: Node) -> Pending | Source:
    if math.isnan(low) or math.isnan(high):
        raise node.refuse("a bound that is no number")
    if isinstance(value, Source):
        return replace(value, bounds=value.bounds.then(low, high))
    return value.clipped(low, high, node.index)


def _greater(walk: Walk, node: Node, least: bool) -> Pending:
    a, b = walk.tensor(node, 0), walk.tensor(node, 1)
    shape = _one_shape(walk, node, a, b)
    kinds = [replace(walk.build.tensors[name], shape=()) for name in (a, b)]
    if kinds[0] != kinds[1]:
        raise node.refuse(f"{node.op} of tensors of unequal scales", "one quantization for both")
    output = walk.build.new_name(f"{node.outputs[0]} (integers)")
    layer = Maximum(name=name_of(node), inputs=(a, b), output=output, least=least)
    tensor = replace(kinds[0], shape=shape)
    return Pending(shape, source=walk.build.emit(layer, tensor, [node.index]), nodes=(node.index,))


def plus_constant(walk: Walk, node: Node, value: Value, added: Value, sign: int) -> Value:
    """A value with a constant added, or subtracted where `sign` is -1."""
    if isinstance(value, Source):
        return _stepped(node, value, "add" if sign > 0 else "sub", _numbers(added))
    alone = _with_number(walk, node, value, _numbers(added), np.add if sign > 0 else np.subtract)
    if alone is not None and is_drawn(value):
        return alone
    sums = add_bias(walk, node, _noted(_channelled(walk, node, value), node), added, sign)
    return replace(sums, curve=alone.curve if alone is not None else None)


def _with_number(
    walk: Walk, node: Node, value: Value, numbers: Array, what: Callable[[Floats, Any], Floats]
) -> Pending | None:
    """A function of one tensor with one number applied; None where it is none, or many."""
    curve = curve_of(walk, value)
    if curve is None or not isinstance(value, Pending) or numbers.ndim > 1 + len(value.shape):
        return None
    if numbers.size == 0 or (numbers != numbers.ravel()[0]).any() or numbers.shape[:1] > (1,):
        return None
    number = float(numbers.ravel()[0])
    return drawn(node, value, curve.then(lambda x: what(x, number)))


def _stepped(node: Node, value: Source, kind: str, by: Array) -> Source:
    """A real input after one more step of arithmetic with one number."""
    number = single(node, by, value.shape)
    if not math.isfinite(number) or (kind in ("mul", "div") and number == 0):
        raise node.refuse(f"{number:g} applied to a real input", "a finite number other than 0")
    if value.bounds.any:
        raise node.refuse("arithmetic on a real input that was clipped", "the Clip after it")
    return replace(value, steps=(*value.steps, (kind, number)))


def _numbers(value: Value) -> Array:
    """The real numbers of a constant."""
    assert isinstance(value, Const | ConstReal)
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
    return next(name for name in node.inputs if walk.values.get(name) is value)


def _mul(walk: Walk, node: Node) -> Value:
    first, second = walk.value(node, 0), walk.value(node, 1)
    if isinstance(first, Const | ConstReal):
        first, second = second, first
    both = combined(walk, node, first, second, np.multiply)
    if both is not None:
        return both
    if not isinstance(second, Const | ConstReal):
        a, b = walk.tensor(node, 0), walk.tensor(node, 1)
        layer = Multiply(name=name_of(node), inputs=(a, b), output="", requant=PLACEHOLDER)
        return Pending(_one_shape(walk, node, a, b), layer=layer, nodes=(node.index,))
    if isinstance(first, Source):
        return _stepped(node, first, "mul", _numbers(second))
    return _times(walk, node, first, np.asarray(_numbers(second), np.float64))


def _div(walk: Walk, node: Node) -> Value:
    value, by = walk.value(node, 0), walk.constant(node, 1)
    if isinstance(value, Source):
        return _stepped(node, value, "div", by)
    if isinstance(value, Const | ConstReal):
        raise node.refuse("a number divided by a tensor", "Reciprocal and Mul")
    if not by.all():
        raise node.refuse("a division by zero")
    return _times(walk, node, value, 1 / np.asarray(by, np.float64))


def _times(walk: Walk, node: Node, value: Value, by: Array) -> Value:
    alone = _with_number(walk, node, value, by, np.multiply)
    if alone is not None and is_drawn(value):
        return alone
    if isinstance(value, Pending) and isinstance(value.layer, AvgPool) and value.reordered:
        factor = single(node, by, value.shape)
        if not (math.isfinite(factor) and factor > 0):
            raise node.refuse(f"a mean times {factor:g}", "a positive factor")
        layer = replace(value.layer, gain=value.layer.gain * factor)
        return replace(_noted(value, node), layer=layer)
    scaled = scale_outputs(node, _noted(_channelled(walk, node, value), node), by)
    return replace(scaled, curve=alone.curve if alone is not None else None)


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


def clip_bounds(walk: Walk, node: Node) -> tuple[float, float]:
    """The bounds of a Clip, written as attributes or as inputs."""
    ends = [
        walk.constant(node, index, np.asarray(node.attribute(name, end)))
        for index, name, end in ((1, "min", -math.inf), (2, "max", math.inf))
    ]
    if any(np.size(end) != 1 or np.isnan(end).any() for end in ends):
        raise node.refuse("bounds that are no two numbers")
    return float(ends[0].item()), float(ends[1].item())


def _max_pool(walk: Walk, node: Node) -> Value:
    return _pool_max(node, walk.pending(node, 0), _kernel(node))


def _kernel(node: Node) -> tuple[int, ...]:
    return tuple(int(size) for size in node.attribute("kernel_shape", ()))


def _pool_max(node: Node, value: Pending, kernel: tuple[int, ...]) -> Pending:
    if len(value.shape) == 2 and len(kernel) == 1:
        high = Reshape(name=f"{name_of(node)} (plane)", inputs=(), output="")
        value = value.then(high, (value.shape[0], 1, value.shape[1]), node.index)
        return _line(node, _pool_max(lifted(node), value, (1, *kernel)))
    window = window_of(node, kernel, value.shape[1:])
    layer = MaxPool(
        name=name_of(node), inputs=(), output="", kernel=window.kernel, stride=window.stride,
        padding=window.padding, dilation=window.dilation,
    )  # fmt: skip
    shape = (value.shape[0], *plane(layer, *value.shape[1:]))
    return value.then(layer, shape, node.index)


def _global_max_pool(walk: Walk, node: Node) -> Value:
    value = walk.pending(node, 0)
    return _pool_max(node, value, value.shape[1:])


def _average_pool(walk: Walk, node: Node) -> Value:
    if any(step != 1 for step in node.attribute("dilations", (1, 1))):
        raise node.refuse("a dilated average pool", "dilations = 1")
    return pool_mean(walk, node, walk.tensor(node, 0), _kernel(node))


def pool_mean(walk: Walk, node: Node, x: str, kernel: tuple[int, ...] | None = None) -> Pending:
    """The mean over windows of the tensor x (the whole plane), not rounded yet."""
    given = walk.build.tensors[x]
    whole, kernel = kernel is None, given.shape[1:] if kernel is None else kernel
    if len(given.shape) == 2 and len(kernel) == 1:
        high = walk.build.reshaped(x, (given.shape[0], 1, given.shape[1]))
        return _line(node, pool_mean(walk, lifted(node), high, None if whole else (1, *kernel)))
    window = window_of(node, kernel, given.shape[1:])
    counts = bool(node.attribute("count_include_pad", 0))
    layer = AvgPool(
        name=name_of(node), inputs=(x,), output="", kernel=window.kernel, stride=window.stride,
        padding=window.padding, counted=window.counted if counts else (0, 0, 0, 0),
        whole_plane=whole, requant=PLACEHOLDER,
    )  # fmt: skip
    shape = (given.shape[0], *plane(layer, *given.shape[1:]))
    return Pending(shape, layer=layer, nodes=(node.index,))


def _global_average_pool(walk: Walk, node: Node) -> Value:
    return pool_mean(walk, node, walk.tensor(node, 0))


def _channels_last_conv(walk: Walk, node: Node) -> Value:
    """QONNX's Conv of [N, H, W, C] with weights [O, kh, kw, I]."""
    weights = walk.value(node, 1)
    if isinstance(weights, ConstReal) and weights.integers.ndim == 4:
        weights = weights.moved(lambda a: a.transpose(0, 3, 1, 2))
    x = walk.tensor(node, 0)
    if len(walk.build.tensors[x].shape) != 3:
        raise node.refuse("channels last of no plane", "[N, H, W, C]")
    value = convolution(walk, node, walk.build.transposed(x, TO_PLANES), weights)
    if walk.has(node, 2):
        value = add_bias(walk, node, value, walk.value(node, 2), own=True)
    return _turned(node, value, FROM_PLANES)


def _channels_last_max_pool(walk: Walk, node: Node) -> Value:
    value = walk.pending(node, 0)
    if len(value.shape) != 3:
        raise node.refuse("channels last of no plane", "[N, H, W, C]")
    return _turned(
        node, _pool_max(node, _turned(node, value, TO_PLANES), _kernel(node)), FROM_PLANES
    )


def _turned(node: Node, value: Pending, axes: tuple[int, ...]) -> Pending:
    layer = Transpose(name=f"{name_of(node)} (axes)", inputs=(), output="", axes=axes)
    return value.then(layer, tuple(value.shape[axis] for axis in axes), node.index)


TO_PLANES, FROM_PLANES = (2, 0, 1), (1, 2, 0)
CHANNELS_LAST = "qonnx.custom_op.channels_last"
CONV = "auto_pad dilations group kernel_shape pads strides"
HANDLERS: dict[tuple[str, str], Handler] = {
    ("", "Conv"): handles(_conv, CONV, 3),
    ("", "Gemm"): handles(_gemm, "alpha beta transA transB", 3),
    ("", "MatMul"): handles(_matmul, inputs=2),
    ("", "Add"): handles(_add, inputs=2),
    ("", "Sub"): handles(_sub, inputs=2),
    ("", "Mul"): handles(_mul, inputs=2),
    ("", "Div"): handles(_div, inputs=2),
    ("", "Sum"): handles(_sum_of_any, inputs=ANY),
    ("", "Max"): handles(_extreme, inputs=ANY),
    ("", "Min"): handles(_extreme, inputs=ANY),
    ("", "BatchNormalization"): handles(_batch_normalization, "epsilon momentum", 5),
    ("", "MaxPool"): handles(_max_pool, f"{WINDOW} storage_order"),
    ("", "GlobalMaxPool"): handles(_global_max_pool),
    ("", "AveragePool"): handles(_average_pool, f"{WINDOW} count_include_pad"),
    ("", "GlobalAveragePool"): handles(_global_average_pool),
    (CHANNELS_LAST, "Conv"): handles(_channels_last_conv, CONV, 3),
    (CHANNELS_LAST, "MaxPool"): handles(_channels_last_max_pool, WINDOW),
}
