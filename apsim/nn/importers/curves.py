"""A value as a real function of one integer tensor, while it is one.

The rule: a curve goes with the value it describes and is dropped where anything else than a
number or a function is applied to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from apsim.nn.importers.graph import Node
from apsim.nn.importers.pending import Curve, Pending, Value
from apsim.nn.importers.walk import Walk
from apsim.nn.model import Floats, Table

__all__ = ["Curve", "combined", "curve_of", "drawn", "is_drawn"]

NO_VALUES = np.zeros((1, 1), np.int64)  # made when the target is known
ONE_TABLE = np.zeros((), np.int32)


def curve_of(walk: Walk, value: Value) -> Curve | None:
    """The function that a value is, its bounds with it; None where it is none."""
    if not isinstance(value, Pending) or value.chain or value.integer or value.parts:
        return None
    curve = value.curve or (Curve(value.source) if value.source else None)
    if curve is None or not value.bounds.any:
        return curve
    lo, hi = value.bounds.lo, value.bounds.hi
    return curve.then(lambda x: np.clip(x, lo, hi))


def drawn(node: Node, value: Pending, curve: Curve) -> Pending:
    """A value that is a function and nothing else."""
    layer = Table(name=node.name or node.outputs[0], inputs=(curve.tensor,), output="",
                  values=NO_VALUES, which=ONE_TABLE, function=node.op.lower())  # fmt: skip
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
    first, second = curve_of(walk, a), curve_of(walk, b)
    if first is None or second is None or first.tensor != second.tensor:
        return None
    f, g = first.function, second.function
    assert isinstance(a, Pending)
    return drawn(node, a, replace(first, function=lambda x: what(f(x), g(x))))
