"""What a layer rounds, held against what the file rounds: before the rounding, in float64.

The rule: integers tell little of a bias that is one off, for few of them change; the
numbers that they are rounded from tell all.  They may part by what the rule in force rounds
its factor (`ties.allowed`), and by nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from apsim.nn import exact
from apsim.nn.judges import ties
from apsim.nn.judges.reading import Array, Rounding
from apsim.nn.model import (
    AvgPool,
    Flatten,
    Floats,
    Integers,
    Interpolate,
    Layer,
    Model,
    Requant,
    Reshape,
)
from apsim.nn.model.windows import window_counts

__all__ = ["parted"]

Tensors = Mapping[str, Integers]


def parted(
    model: Model, name: str, tensors: Tensors, rounding: Rounding
) -> tuple[Floats, Array] | None:
    """What the layer that makes a tensor rounds, in steps, and where the file rounds otherwise.

    None where no single rounding makes it; the ends of its range, and what a ReLU made
    zero, are left out.
    """
    layer = _maker(model, name)
    given = np.asarray(rounding.steps, np.float64)
    steps = None if layer is None else _unrounded(model, layer, tensors)
    if layer is None or steps is None or steps.size != given.size or len(steps) != len(given):
        return None
    if np.array_equal(given, np.rint(given)):  # integers of this scale that are rounded again
        return None
    steps = steps.reshape(given.shape)
    requant: Requant = layer.requant  # type: ignore[attr-defined]
    reach = ties.reach(model, layer.output, tensors)
    relative, absolute = ties.allowed(model, layer, reach)
    off = relative * np.abs(given - requant.zero_point) + absolute
    off = off + ties.FLOAT64 * (reach / ties.FLOAT32 + 1)
    lo = max(requant.lo, requant.zero_point) if getattr(layer, "relu", False) else requant.lo
    edge = 0.5 if requant.rounding.startswith("half") else 1.0
    inside = _inside(steps, lo + edge, requant.hi - edge)
    inside |= _inside(given, lo + edge, requant.hi - edge)
    return steps, np.asarray(inside & ~(np.abs(given - steps) <= off))


def _inside(steps: Floats, lo: float, hi: float) -> Array:
    """Where the integer lies between the ends, which clips make of any number beyond them."""
    return np.asarray((steps > lo) & (steps < hi))


def _maker(model: Model, name: str) -> Layer | None:
    """The layer that makes the integers of a tensor, whatever shape they were given then."""
    layer = next((one for one in model.layers if one.output == name), None)
    while isinstance(layer, Flatten | Reshape):
        before = layer.inputs[0]
        layer = next((one for one in model.layers if one.output == before), None)
    return layer


def _unrounded(model: Model, layer: Layer, tensors: Tensors) -> Floats | None:
    """What a layer rounds, in steps with the zero point; None where it is no single rounding."""
    requant = getattr(layer, "requant", None)
    if requant is None or layer.host or requant.rule != "onnx-exact":
        return None
    total = exact.accumulate(model, layer, tensors).astype(np.float64)
    lay = [1] * total.ndim
    lay[total.ndim - 1 if layer.op == "linear" else min(1, total.ndim - 1)] = -1
    mantissa, offset, exponent = (
        part.astype(np.float64).reshape(lay)
        for part in (requant.mantissa, requant.offset, requant.exponent)
    )
    steps = (total * mantissa + offset) * np.exp2(-exponent)
    if isinstance(layer, AvgPool):
        steps = steps / window_counts(layer, *model.tensors[layer.inputs[0]].shape[1:])
    if isinstance(layer, Interpolate):
        steps = steps / (layer.grid[0] * layer.grid[1])
    return np.asarray(steps + requant.zero_point, np.float64)
