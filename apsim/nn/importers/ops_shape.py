"""Operators that move values without changing them: reshape, transpose, join, pass on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from apsim.nn.importers.graph import Const, Node
from apsim.nn.importers.ops_real import name_of, pool_mean
from apsim.nn.importers.pending import Chained, ConstReal, Pending, Source, Value
from apsim.nn.importers.walk import Handler, Walk
from apsim.nn.model import Flatten, Layer, Reshape, Transpose

__all__ = ["HANDLERS"]

REAL = (1, 10, 11, 16)  # ONNX's codes of float, float16, double, bfloat16
INTEGERS = {code: (-(1 << bits - 1), (1 << bits - 1) - 1) for code, bits in
            {3: 8, 5: 16, 6: 32, 7: 64}.items()}  # fmt: skip
INTEGERS |= {code: (0, (1 << bits) - 1) for code, bits in {2: 8, 4: 16, 12: 32, 13: 64}.items()}


def _move(node: Node, value: Value, kind: type[Layer], shape: Sequence[int], **more: Any) -> Value:
    """A value after a layer that only moves it; nothing where the shape stays."""
    if not isinstance(value, Pending | Source):
        raise node.refuse("a constant where a tensor was expected")
    if tuple(shape) == value.shape and kind is not Transpose:
        return value
    layer = kind(name=name_of(node), inputs=(), output="", **more)
    if isinstance(value, Source):
        step = Chained(layer, value.shape, tuple(shape))
        return replace(value, shape=step.shape, chain=(*value.chain, step))
    return value.then(layer, shape, node.index)


def _flatten(walk: Walk, node: Node) -> Value:
    value = _moved(walk, node)
    if node.attribute("axis", 1) != 1:
        raise node.refuse(f"axis {node.attribute('axis', 1)}", "Flatten with axis = 1")
    return _move(node, value, Flatten, (math.prod(value.shape),))


def _moved(walk: Walk, node: Node) -> Pending | Source:
    value = walk.value(node, 0)
    if not isinstance(value, Pending | Source):
        raise node.refuse("a constant where a tensor was expected")
    return value


def _reshape(walk: Walk, node: Node) -> Value:
    value = _moved(walk, node)
    wanted = [int(size) for size in np.ravel(walk.constant(node, 1))]
    whole = math.prod(value.shape)
    shape = [
        value.shape[i] if size == 0 and i < len(value.shape) else size
        for i, size in enumerate(wanted[1:])
    ]
    if shape.count(-1) == 1:
        rest = -math.prod(shape)
        shape[shape.index(-1)] = whole // rest if rest and whole % rest == 0 else 0
    if not wanted or math.prod(shape) != whole:
        raise node.refuse(
            f"shape {wanted} for [N, {', '.join(map(str, value.shape))}]",
            "a shape that keeps the batch axis first",
        )
    return _move(node, value, Flatten if len(shape) == 1 else Reshape, shape)


def _transpose(walk: Walk, node: Node) -> Value:
    value = walk.value(node, 0)
    if isinstance(value, ConstReal):
        return _transposed(node, value)
    value = _moved(walk, node)
    order = list(node.attribute("perm", range(len(value.shape), -1, -1)))
    if order[0] != 0:
        raise node.refuse(f"order {order}", "an order that keeps the batch axis first")
    axes = tuple(axis - 1 for axis in order[1:])
    if axes == tuple(range(len(axes))):
        return value
    return _move(node, value, Transpose, [value.shape[axis] for axis in axes], axes=axes)


def _transposed(node: Node, value: ConstReal) -> ConstReal:
    order = list(node.attribute("perm", range(value.integers.ndim - 1, -1, -1)))
    return replace(value, integers=value.integers.transpose(order), axis=order.index(value.axis))


def _squeeze(walk: Walk, node: Node) -> Value:
    value = _moved(walk, node)
    axes = _axes(walk, node, 1 + len(value.shape))
    if not axes:
        axes = [i + 1 for i, size in enumerate(value.shape) if size == 1]
    if 0 in axes:
        raise node.refuse("the batch axis squeezed away", "axes from 1 on")
    shape = [size for i, size in enumerate(value.shape) if i + 1 not in axes]
    return _move(node, value, Reshape, shape)


def _unsqueeze(walk: Walk, node: Node) -> Value:
    value = _moved(walk, node)
    shape = [0, *value.shape]
    for axis in sorted(_axes(walk, node, 1 + len(shape))):
        if axis == 0:
            raise node.refuse("an axis before the batch axis", "axes from 1 on")
        shape.insert(axis, 1)
    return _move(node, value, Reshape, shape[1:])


def _axes(walk: Walk, node: Node, rank: int) -> list[int]:
    """Axes given as an attribute (before opset 13) or as an input, counted from the front."""
    given = node.attribute("axes", ())
    if walk.has(node, 1):
        given = np.ravel(walk.constant(node, 1))
    return [int(axis) % rank for axis in given]


def _concat(walk: Walk, node: Node) -> Value:
    parts = tuple(walk.pending(node, i) for i in range(len(node.inputs)))
    return joined(node, parts, int(node.attribute("axis", 1)))


def joined(node: Node, parts: tuple[Pending, ...], axis: int) -> Pending:
    """Values side by side along an axis that is not the batch."""
    rank = 1 + len(parts[0].shape)
    axis = axis % rank
    if axis == 0:
        raise node.refuse("tensors joined along the batch", "axis from 1 on")
    shape = list(parts[0].shape)
    shape[axis - 1] = sum(part.shape[axis - 1] for part in parts)
    return Pending(tuple(shape), parts=parts, axis=axis - 1, nodes=(node.index,))


def _same(walk: Walk, node: Node) -> Value:
    return walk.value(node, 0)


def _cast(walk: Walk, node: Node) -> Value:
    """Only the name of the type changes: accumulators as real numbers, say."""
    value = walk.value(node, 0)
    if isinstance(value, Pending) and value.integer and node.attribute("to", 1) not in REAL:
        return _as_integers(walk, node, value)
    if isinstance(value, Pending) and value.integer:
        walk.build.fate(node, "no work: the same integers")
        source = walk.interpret(value.source, 1.0, 0) if value.source else ""
        return replace(value, integer=False, source=source)
    return value


def _as_integers(walk: Walk, node: Node, value: Pending) -> Value:
    """Integers of another type: the same ones, where that type holds them all."""
    lo, hi = INTEGERS.get(node.attribute("to", 0), (0, -1))
    tensor = walk.build.tensors.get(value.source)
    if lo <= -(1 << 31) and hi >= (1 << 31) - 1:
        return value
    if tensor is None or not lo <= tensor.lo <= tensor.hi <= hi:
        raise node.refuse("a cast to a type that may not hold the integers", "QuantizeLinear")
    return value


def _shape(walk: Walk, node: Node) -> Value:
    """A shape, with -1 for the batch."""
    return Const(np.array([-1, *_moved(walk, node).shape], np.int64))


def _mean(walk: Walk, node: Node) -> Value:
    """The mean over both axes of a plane is a global average pool."""
    x = walk.tensor(node, 0)
    given = walk.build.tensors[x].shape
    axes = sorted(_axes(walk, node, 1 + len(given)))
    if len(given) != 3 or axes != [2, 3]:
        raise node.refuse(f"a mean over axes {axes}", "a mean over axes 2 and 3 of [N, C, H, W]")
    value = pool_mean(walk, replace(node, attributes={}), x)
    kept = node.attribute("keepdims", 1)
    return value if kept else _move(node, value, Flatten, (given[0],))


def _last_only(walk: Walk, node: Node) -> Value:
    """Softmax and the like at the very end: it does not change which class wins."""
    if node.outputs[0] not in walk.graph.outputs:
        where = walk.in_real_numbers(node)
        raise node.refuse(
            f"a nonlinear function inside the network{where}", "Relu, Clip or MaxPool"
        )
    walk.build.fate(node, "left to the host: the model ends with this node's input")
    return walk.value(node, 0)


HANDLERS: dict[tuple[str, str], Handler] = {
    ("", "Flatten"): _flatten,
    ("", "Reshape"): _reshape,
    ("", "Transpose"): _transpose,
    ("", "Squeeze"): _squeeze,
    ("", "Unsqueeze"): _unsqueeze,
    ("", "Concat"): _concat,
    ("", "Identity"): _same,
    ("", "Dropout"): _same,
    ("", "Cast"): _cast,
    ("", "Shape"): _shape,
    ("", "ReduceMean"): _mean,
    ("", "Softmax"): _last_only,
    ("", "LogSoftmax"): _last_only,
}
