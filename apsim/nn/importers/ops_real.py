"""What ONNX's ordinary operators mean for values that stand between two quantizations."""

from __future__ import annotations

import math

import numpy as np

from apsim.nn.importers.constants import Const, ConstReal
from apsim.nn.importers.graph import Node
from apsim.nn.importers.pending import PLACEHOLDER, Pending, Value
from apsim.nn.importers.walk import Handler, Walk, handles
from apsim.nn.importers.weights import add_bias, fold_zero_point, scale_outputs, weight_fields
from apsim.nn.importers.windows import lifted, window_of
from apsim.nn.model import (
    AvgPool,
    Conv2d,
    Linear,
    MatMul,
    MaxPool,
    Reshape,
    Transpose,
)
from apsim.nn.model.windows import plane

__all__ = [
    "HANDLERS", "WINDOW", "clip_bounds", "convolution", "line", "matrix_product", "name_of",
    "pool_mean", "product_of",
]  # fmt: skip

MOST_PLACES = 1 << 26
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
        return line(node, value)
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


def line(node: Node, value: Pending) -> Pending:
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
    value_in = walk.pending(node, 0)
    if len(walk.build.tensors[x].shape) != 1 + value_in.rows:
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
    first, second = walk.value(node, 0), walk.value(node, 1)
    mixed = isinstance(first, Const | ConstReal) or isinstance(second, Pending)
    pair = [one for one in (first, second) if isinstance(one, Pending) and one.rows]
    if mixed and any(len(one.shape) < 3 for one in pair):
        raise node.refuse("a product that mixes rows of which the batch is a part",
                          "weights as the second factor")  # fmt: skip
    if isinstance(first, Const | ConstReal):
        return _constant_first(walk, node, first, second)
    if isinstance(second, Pending):
        return _product_of_tensors(walk, node)
    x = walk.tensor(node, 0)
    return matrix_product(walk, node, x, _two_axes(walk, node, second, x), True)


def _two_axes(walk: Walk, node: Node, weights: Value, x: str) -> Value:
    """Weights without leading axes of size 1, of which they give the product none."""
    rank = 1 + len(walk.build.tensors[x].shape)
    if isinstance(weights, ConstReal) and weights.integers.ndim > max(rank, 2):
        raise node.refuse(
            f"weights with {weights.integers.ndim} axes beside a tensor with {rank}, to which "
            "they give more", "weights with 2 axes",
        )  # fmt: skip
    if isinstance(weights, ConstReal) and weights.integers.shape[:-2] == (1,) * (
        weights.integers.ndim - 2
    ):
        return weights.moved(lambda a: a.reshape(a.shape[-2:]))
    return weights


def _constant_first(walk: Walk, node: Node, weights: Value, value: Value) -> Pending:
    """Weights [O, I] times a tensor [N, ..., I, U]: its turned rows times them."""
    x = walk.tensor(node, 1)
    rank = len(walk.build.tensors[x].shape)
    if rank < 2:
        raise node.refuse("a constant times a tensor whose rows are the batch",
                          "a tensor [N, ..., K, U]")  # fmt: skip
    turn = (*range(rank - 2), rank - 1, rank - 2)
    weights = _two_axes(walk, node, weights, x)
    made = matrix_product(walk, node, walk.build.transposed(x, turn), weights, False)
    back = Transpose(name=f"{name_of(node)} (axes)", inputs=(), output="", axes=turn)
    return made.then(back, [made.shape[axis] for axis in turn], node.index)


def _product_of_tensors(walk: Walk, node: Node) -> Pending:
    """Two activations multiplied as matrices; a number that either was multiplied by is kept."""
    (a, by), (b, more) = _factor(walk, node, 0), _factor(walk, node, 1)
    return product_of(walk, node, a, b, by * more)


def _factor(walk: Walk, node: Node, index: int) -> tuple[str, float]:
    """A factor's tensor, and the number it was multiplied by and not rounded."""
    value = walk.pending(node, index)
    curve = value.curve
    if curve is None or not curve.times > 0 or value.bounds.any or value.integer:
        return walk.tensor(node, index), 1.0
    shape = walk.build.tensors[curve.tensor].shape
    bare = Pending(shape, source=curve.tensor, chain=value.chain[curve.behind :])
    return walk.build.settle(bare, walk.build.new_name(f"{node.inputs[index]} (before)")), (
        curve.times
    )


def product_of(walk: Walk, node: Node, a: str, b: str, gain: float = 1.0) -> Pending:
    """[N, ..., T, K] times [N, ..., K, U], not rounded yet; leading axes broadcast."""
    left, right = (walk.build.tensors[name].shape for name in (a, b))
    refused = node.refuse(f"a product of tensors {[list(left), list(right)]}",
                          "[N, ..., T, K] times [N, ..., K, U]")  # fmt: skip
    if len(left) < 2 or len(left) != len(right) or left[-1] != right[-2]:
        raise refused
    try:
        lead = np.broadcast_shapes(left[:-2], right[:-2])
    except ValueError:
        raise refused from None
    if math.prod(lead) * max(math.prod(left[-2:]), math.prod(right[-2:])) > MOST_PLACES:
        raise refused
    pair = [walk.build.spread(n, (*lead, *s[-2:])) for n, s in ((a, left), (b, right))]
    layer = MatMul(name=name_of(node), inputs=(pair[0], pair[1]), output="", gain=gain,
                   requant=PLACEHOLDER)  # fmt: skip
    return Pending((*lead, left[-2], right[-1]), layer=layer, nodes=(node.index,))


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
        return line(node, _pool_max(lifted(node), value, (1, *kernel)))
    window = window_of(node, kernel, value.shape[1:])
    if max(window.dilation) > 1 and str(node.attribute("auto_pad", "NOTSET")).startswith("SAME"):
        raise node.refuse("a dilated pool with auto_pad = SAME, which its evaluators pad unalike",
                          "pads")  # fmt: skip
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
        return line(node, pool_mean(walk, lifted(node), high, None if whole else (1, *kernel)))
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
    ("", "Gemm"): handles(_gemm, "alpha beta transA transB", 3, rows=True),
    ("", "MatMul"): handles(_matmul, inputs=2, rows=True),
    ("", "MaxPool"): handles(_max_pool, f"{WINDOW} storage_order"),
    ("", "GlobalMaxPool"): handles(_global_max_pool),
    ("", "AveragePool"): handles(_average_pool, f"{WINDOW} count_include_pad"),
    ("", "GlobalAveragePool"): handles(_global_average_pool),
    (CHANNELS_LAST, "Conv"): handles(_channels_last_conv, CONV, 3),
    (CHANNELS_LAST, "MaxPool"): handles(_channels_last_max_pool, WINDOW),
}
