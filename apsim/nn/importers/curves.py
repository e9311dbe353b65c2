"""A value as a real function of one integer tensor, while it is one.

The rule: a curve goes with the value it describes and is dropped where anything else than a
number or a function is applied to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from apsim.nn.importers.accumulators import raw_sums
from apsim.nn.importers.drawing import MOST_WORDS
from apsim.nn.importers.graph import Node
from apsim.nn.importers.pending import Curve, Pending, Value
from apsim.nn.importers.walk import Walk
from apsim.nn.model import Floats, Table, Weighted

__all__ = [
    "Curve", "combined", "curve_of", "drawn", "function_of", "is_drawn", "require_room",
    "sums_curve",
]  # fmt: skip

NO_VALUES = np.zeros((1, 1), np.int64)  # made when the target is known
ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min")
ONE_TABLE = np.zeros((), np.int32)


def curve_of(walk: Walk, value: Value) -> Curve | None:
    """The function that a value is, its bounds with it; None where it is none."""
    if not isinstance(value, Pending) or value.integer or value.parts:
        return None
    curve = value.curve
    if curve is None and value.source:
        curve = Curve(value.source, times=1.0)
    if curve is None or len(value.chain) != curve.behind:
        return None
    if not value.bounds.any:
        return curve
    lo, hi = value.bounds.lo, value.bounds.hi
    return curve.then(lambda x: np.clip(x, lo, hi))


def sums_curve(walk: Walk, value: Value) -> Curve | None:
    """The function of a layer's sums of integers that a value is; None where it is none."""
    if not isinstance(value, Pending) or value.chain or value.integer or value.curve:
        return None
    layer = value.layer
    if not isinstance(layer, Weighted) or layer.weight_scale is None:
        return None
    name = raw_sums(walk.build, layer, value.shape, value.nodes)
    span = walk.build.spans[name]
    had = walk.build.unit(layer.inputs[0]) * np.asarray(layer.weight_scale, np.float64)
    times = had / np.asarray(walk.build.tensors[name].scale, np.float64)
    shift = np.zeros(1) if layer.shift is None else layer.shift
    by, more = (_along(part, span.axis, len(value.shape)) for part in (times, shift))
    lo, hi = value.bounds.lo, value.bounds.hi
    return Curve(name, lambda x: np.clip(x * by + more, lo, hi))


def _along(values: Floats, axis: int, rank: int) -> Floats:
    """One number, or one for each channel, beside places and the words of each."""
    lay = [1] * (rank + 1)
    lay[axis] = -1
    return np.reshape(values, lay) if np.size(values) > 1 else np.reshape(values, [1] * (rank + 1))


def function_of(walk: Walk, node: Node, index: int) -> Curve:
    """An input of a node as a function of words: its own, or of the sums it is made of."""
    value = walk.value(node, index)
    curve = curve_of(walk, value) or sums_curve(walk, value)
    return curve or Curve(walk.tensor(node, index), times=1.0)


def require_room(walk: Walk, node: Node, curve: Curve, places: int) -> None:
    """Refuse a function that differs in so many places that its tables would be too large."""
    bits = walk.build.tensors[curve.tensor].bits
    if places << bits > MOST_WORDS:
        raise node.refuse(f"a function that differs in {places} places of {bits}-bit words",
                          f"at most {MOST_WORDS >> bits} places")  # fmt: skip


def drawn(node: Node, value: Pending, curve: Curve) -> Pending:
    """A value that is a function and nothing else; arithmetic keeps the function's name."""
    called = node.op.lower()
    if node.op in ARITHMETIC and isinstance(value.layer, Table):
        called = value.layer.function
    layer = Table(name=node.name or node.outputs[0], inputs=(curve.tensor,), output="",
                  values=NO_VALUES, which=ONE_TABLE, function=called)  # fmt: skip
    return Pending(value.shape, layer=layer, nodes=(*value.nodes, node.index), curve=curve)


def is_drawn(value: Value) -> bool:
    """Whether a value is a function and no layer computes it otherwise."""
    return isinstance(value, Pending) and isinstance(value.layer, Table)


def combined(
    walk: Walk, node: Node, a: Value, b: Value, what: Callable[[Floats, Floats], Floats]
) -> Pending | None:
    """Two functions of one tensor as one; None where they are not."""
    if not (is_drawn(a) or is_drawn(b)):
        return None
    first, second = (curve_of(walk, one) or sums_curve(walk, one) for one in (a, b))
    if first is None or second is None or first.tensor != second.tensor:
        return None
    f, g = first.function, second.function
    assert isinstance(a, Pending) and isinstance(b, Pending)
    made = a if is_drawn(a) else replace(a, layer=b.layer)
    nodes = tuple(dict.fromkeys((*a.nodes, *b.nodes)))
    return drawn(node, replace(made, nodes=nodes), Curve(first.tensor, lambda x: what(f(x), g(x))))
