"""What ONNX's ordinary operators mean for values that stand between two quantizations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from apsim.nn.importers.builder import PLACEHOLDER
from apsim.nn.importers.graph import Array, Const, Node
from apsim.nn.importers.pending import ConstReal, Pending, Source, Value
from apsim.nn.importers.walk import Handler, Walk
from apsim.nn.importers.weights import add_bias, fold_zero_point, scale_outputs, weight_fields
from apsim.nn.importers.windows import window_of
from apsim.nn.model import Add, AvgPool, Conv2d, Linear, MaxPool
from apsim.nn.model.windows import plane

__all__ = ["HANDLERS", "convolution", "matrix_product", "pool_mean"]


def name_of(node: Node) -> str:
    """What the layer of a node is called."""
    return node.name or node.outputs[0]


def convolution(walk: Walk, node: Node, x: str, weights: Value) -> Pending:
    """Accumulators of a convolution of the tensor x, no bias yet."""
    given = walk.build.tensors[x]
    fields = weight_fields(node, weights)
    window = window_of(node, fields["weights"].shape[2:], given.shape[1:])
    layer = Conv2d(
        name=name_of(node), inputs=(x,), output="", stride=window.stride,
        padding=window.padding, dilation=window.dilation,
        groups=int(node.attribute("group", 1)), **fields,
    )  # fmt: skip
    shape = (len(layer.weights), *plane(layer, *given.shape[1:]))
    return Pending(shape, layer=fold_zero_point(walk, layer), nodes=(node.index,))


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
    return Pending(shape, layer=fold_zero_point(walk, layer), nodes=(node.index,))


def _conv(walk: Walk, node: Node) -> Value:
    value = convolution(walk, node, walk.tensor(node, 0), walk.value(node, 1))
    return add_bias(walk, node, value, walk.value(node, 2)) if walk.has(node, 2) else value


def _gemm(walk: Walk, node: Node) -> Value:
    if node.attribute("transA", 0):
        raise node.refuse("a transposed first operand", "Gemm with transA = 0")
    x = walk.tensor(node, 0)
    flip = not node.attribute("transB", 0)
    value = matrix_product(walk, node, x, walk.value(node, 1), flip)
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    value = value if alpha == 1 else scale_outputs(node, value, np.array(alpha))
    if not walk.has(node, 2) or beta == 0:
        return value
    bias = walk.value(node, 2)
    if beta != 1:
        bias = Const(walk.constant(node, 2) * beta)
    return add_bias(walk, node, value, bias)


def _matmul(walk: Walk, node: Node) -> Value:
    return matrix_product(walk, node, walk.tensor(node, 0), walk.value(node, 1), True)


def _add(walk: Walk, node: Node) -> Value:
    return _sum(walk, node, 1)


def _sub(walk: Walk, node: Node) -> Value:
    return _sum(walk, node, -1)


def _sum(walk: Walk, node: Node, sign: int) -> Value:
    first, second = walk.value(node, 0), walk.value(node, 1)
    if isinstance(first, Const | ConstReal) and sign == 1:
        first, second = second, first
    if isinstance(second, Const | ConstReal):
        return _plus_constant(walk, node, first, second, sign)
    if sign < 0:
        raise node.refuse("the difference of two tensors", "Add")
    return add_tensors(walk, node, walk.tensor(node, 0), walk.tensor(node, 1))


def add_tensors(walk: Walk, node: Node, a: str, b: str) -> Pending:
    """The sum of two tensors of one shape, not rounded yet."""
    shapes = [walk.build.tensors[name].shape for name in (a, b)]
    if shapes[0] != shapes[1]:
        raise node.refuse(f"an addition of shapes {shapes}", "two tensors of one shape")
    layer = Add(name=name_of(node), inputs=(a, b), output="", requant=PLACEHOLDER)
    return Pending(shapes[0], layer=layer, nodes=(node.index,))


def _plus_constant(walk: Walk, node: Node, value: Value, added: Value, sign: int) -> Value:
    if isinstance(value, Source):
        return replace(value, shift=value.shift + sign * _scalar(node, _numbers(added)))
    value = _channelled(walk, node, value)
    return add_bias(walk, node, _noted(value, node), added, sign)


def _numbers(value: Value) -> Array:
    """The real numbers of a constant."""
    assert isinstance(value, Const | ConstReal)
    return value.array if isinstance(value, Const) else value.real


def _scalar(node: Node, values: Array) -> float:
    if np.size(values) != 1:
        raise node.refuse("a vector applied to a real input", "one number for the whole input")
    return float(np.ravel(values)[0])


def _noted(value: Pending, node: Node) -> Pending:
    return replace(value, nodes=(*value.nodes, node.index))


def _channelled(walk: Walk, node: Node, value: Value) -> Pending:
    """Accumulators with channels: those of a layer, or of a 1x1 convolution by ones."""
    if isinstance(value, Pending) and value.integer:
        raise node.refuse("arithmetic on integers, which wraps around", "DequantizeLinear first")
    if isinstance(value, Pending) and value.weighted is not None:
        return value
    if isinstance(value, Pending) and value.plain and len(value.shape) == 3:
        channels = value.shape[0]
        ones = ConstReal(
            np.ones((channels, 1, 1, 1), np.int8), np.ones(1), np.zeros(1, np.int64), 0, 0, 1
        )
        plain = replace(node, attributes={"group": channels})
        return convolution(walk, plain, value.source, ones)
    raise node.refuse(
        "a constant combined with a value that is no fresh convolution or matrix product",
        "BatchNormalization, Add or Mul directly after Conv, Gemm or MatMul",
    )


def _mul(walk: Walk, node: Node) -> Value:
    first, second = walk.value(node, 0), walk.value(node, 1)
    if isinstance(first, Const | ConstReal):
        first, second = second, first
    if not isinstance(second, Const | ConstReal):
        raise node.refuse("the product of two tensors", "Mul with a constant")
    return _times(walk, node, first, np.asarray(_numbers(second), np.float64))


def _div(walk: Walk, node: Node) -> Value:
    by = np.asarray(walk.constant(node, 1), np.float64)
    return _times(walk, node, walk.value(node, 0), 1 / by)


def _times(walk: Walk, node: Node, value: Value, by: Array) -> Value:
    if isinstance(value, Source):
        factor = _scalar(node, by)
        return replace(value, factor=value.factor * factor, shift=value.shift * factor)
    if isinstance(value, Pending) and isinstance(value.layer, AvgPool) and value.fresh:
        layer = replace(value.layer, gain=value.layer.gain * _scalar(node, by))
        return replace(_noted(value, node), layer=layer)
    return scale_outputs(node, _noted(_channelled(walk, node, value), node), by)


def _batch_normalization(walk: Walk, node: Node) -> Value:
    gamma, beta, mean, variance = (
        np.asarray(walk.constant(node, i), np.float64) for i in range(1, 5)
    )
    factor = gamma / np.sqrt(variance + node.attribute("epsilon", 1e-5))
    value = _noted(_channelled(walk, node, walk.value(node, 0)), node)
    value = scale_outputs(node, value, factor)
    return add_bias(walk, node, value, Const(beta - mean * factor))


def _relu(walk: Walk, node: Node) -> Value:
    return walk.pending(node, 0).clipped(0.0, math.inf, node.index)


def clip_bounds(walk: Walk, node: Node) -> tuple[float, float]:
    """The bounds of a Clip, written as attributes or as inputs."""
    lo = walk.constant(node, 1, np.array(node.attribute("min", -math.inf)))
    hi = walk.constant(node, 2, np.array(node.attribute("max", math.inf)))
    return float(lo), float(hi)


def _max_pool(walk: Walk, node: Node) -> Value:
    if len(node.outputs) > 1 and walk.uses.get(node.outputs[1]):
        raise node.refuse("the indices of the maxima", "MaxPool with one output")
    value = walk.pending(node, 0)
    kernel = tuple(node.attribute("kernel_shape", ()))
    return _pool_max(node, value, kernel)


def _pool_max(node: Node, value: Pending, kernel: tuple[int, ...]) -> Pending:
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
    if tuple(node.attribute("dilations", (1, 1))) != (1, 1):
        raise node.refuse("a dilated average pool", "dilations = 1")
    return pool_mean(walk, node, walk.tensor(node, 0), tuple(node.attribute("kernel_shape", ())))


def pool_mean(walk: Walk, node: Node, x: str, kernel: tuple[int, ...] | None = None) -> Pending:
    """The mean over windows of the tensor x (the whole plane), not rounded yet."""
    given = walk.build.tensors[x]
    whole, kernel = kernel is None, given.shape[1:] if kernel is None else kernel
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


HANDLERS: dict[tuple[str, str], Handler] = {
    ("", "Conv"): _conv,
    ("", "Gemm"): _gemm,
    ("", "MatMul"): _matmul,
    ("", "Add"): _add,
    ("", "Sub"): _sub,
    ("", "Mul"): _mul,
    ("", "Div"): _div,
    ("", "BatchNormalization"): _batch_normalization,
    ("", "Relu"): _relu,
    ("", "MaxPool"): _max_pool,
    ("", "GlobalMaxPool"): _global_max_pool,
    ("", "AveragePool"): _average_pool,
    ("", "GlobalAveragePool"): _global_average_pool,
}
