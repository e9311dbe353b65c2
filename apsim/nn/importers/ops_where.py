"""Where: one of two values in each place, by a constant condition.

The rule: rounding knows no neighbours, so what is chosen is rounded first, then moved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from apsim.nn.importers.constants import Const, ConstReal
from apsim.nn.importers.graph import Array, Node
from apsim.nn.importers.ops_elementwise import MOST_PLACES, numbers_of
from apsim.nn.importers.pending import Joint, Pending, Source, Value
from apsim.nn.importers.walk import Handler, Walk, handles

__all__ = ["HANDLERS", "chosen"]

Number = Const | ConstReal


def _where(walk: Walk, node: Node) -> Value:
    """Where a constant condition holds the first value, else the second."""
    values = [walk.value(node, 1), walk.value(node, 2)]
    if any(isinstance(one, Source) for one in values):
        walk.pending(node, 1 if isinstance(values[0], Source) else 2)  # refused, or quantized
        values = [walk.value(node, 1), walk.value(node, 2)]
    if any(isinstance(one, Pending) and one.integer for one in values):
        raise node.refuse("a choice among integers, whose scale is not given", "DequantizeLinear")
    return chosen(node, walk.constant(node, 0), values)


def chosen(node: Node, condition: Array, values: Sequence[Value]) -> Pending:
    """One of two values in each place: words of tensors are moved, numbers stand beside them."""
    ranks = [1 + len(one.shape) for one in values if isinstance(one, Pending)]
    arrays = [condition, *(numbers_of(one) for one in values if isinstance(one, Number))]
    rank = max(*ranks, *(array.ndim for array in arrays))
    if min(ranks) != rank:
        raise node.refuse(f"tensors of {ranks} axes beside constants of more", "as many axes")
    sizes = [one.shape for one in values if isinstance(one, Pending)]
    laid = [array.reshape((*[1] * (rank - array.ndim), *array.shape)) for array in arrays]
    if any(array.shape[0] != 1 for array in laid):
        raise node.refuse("a choice that differs from one input to another", "one for all")
    try:
        shape = np.broadcast_shapes(*sizes, *(array.shape[1:] for array in laid))
    except ValueError:
        raise node.refuse("shapes that do not broadcast to one") from None
    if math.prod(shape) > MOST_PLACES:
        raise node.refuse(f"a result of {list(shape)}", f"at most {MOST_PLACES} places")
    return _picked(node, np.asarray(laid[0][0], bool), values, shape)


def _picked(
    node: Node, condition: Array, values: Sequence[Value], shape: tuple[int, ...]
) -> Pending:
    parts: list[Pending] = []
    places, fills, ahead = [], [], 0
    for one in values:
        if isinstance(one, Pending):
            words = np.arange(math.prod(one.shape)).reshape(one.shape) + ahead
            places.append(np.broadcast_to(words, shape))
            fills.append(np.zeros(shape))
            parts.append(one)
            ahead += math.prod(one.shape)
            continue
        real = np.asarray(numbers_of(one), np.float64)
        if np.isnan(real).any():
            raise node.refuse("a number to choose that is none")
        rest = real.shape[1:] if real.ndim > len(shape) else real.shape
        places.append(np.full(shape, -1))
        fills.append(np.broadcast_to(real.reshape(rest), shape))
    index: Array = np.where(condition, places[0], places[1])
    fill: Array = np.where(condition, fills[0], fills[1])
    joint = Joint("pick", index=index.astype(np.int64), fill=fill)
    return Pending(shape, parts=tuple(parts), joint=joint, nodes=(node.index,))


HANDLERS: dict[tuple[str, str], Handler] = {("", "Where"): handles(_where, inputs=3)}
