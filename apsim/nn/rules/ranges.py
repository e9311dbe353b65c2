"""How far the accumulators of a layer can reach, before any input is seen.

The rule: bounds come from the weights and from the widths of the inputs, never from
data, so that a program is the same for every image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apsim.nn import exact
from apsim.nn.model import (
    Add,
    AvgPool,
    Integers,
    MatMul,
    Model,
    Multiply,
    Requantize,
    Sum,
    Weighted,
)

__all__ = ["Range", "of_layer"]

Summing = Weighted | AvgPool | Add | Requantize | Multiply | MatMul | Sum


@dataclass(frozen=True, eq=False)
class Range:
    """The least and the greatest value, of all channels or of each: int64[1 or channels]."""

    low: Integers
    high: Integers

    @classmethod
    def between(cls, low: int, high: int) -> Range:
        """One range for all channels."""
        return cls(np.array([low], np.int64), np.array([high], np.int64))

    def shifted(self, by: Integers) -> Range:
        """The same with a constant added, one or one for each channel."""
        return Range(self.low + by, self.high + by)


def of_layer(model: Model, layer: Summing) -> Range:
    """What a layer's sum can be before its bias is added: of each channel where it has weights."""
    if isinstance(layer, Weighted):
        return _of_weights(model, layer)
    tensors = [model.tensors[name] for name in layer.inputs]
    if isinstance(layer, Add):
        return _of_addition(layer, [np.array([tensor.lo, tensor.hi]) for tensor in tensors])
    if isinstance(layer, Multiply | MatMul):
        return _of_products(model, layer)
    words = layer.kernel[0] * layer.kernel[1] if isinstance(layer, AvgPool) else 1
    if isinstance(layer, Sum):
        words = int(np.prod([tensors[0].shape[axis] for axis in layer.axes]))
    return Range.between(words * tensors[0].lo, words * tensors[0].hi)


def _of_products(model: Model, layer: Multiply | MatMul) -> Range:
    """One product of two words less their zero points, or the sum of as many as a row has."""
    tensors = [model.tensors[name] for name in layer.inputs]
    (a, b), (c, d) = ((t.lo - t.zero_point, t.hi - t.zero_point) for t in tensors)
    ends = (a * c, a * d, b * c, b * d)
    words = tensors[0].shape[-1] if isinstance(layer, MatMul) else 1
    return Range.between(words * min(ends), words * max(ends))


def _of_weights(model: Model, layer: Weighted) -> Range:
    """The sums of x * w of each output channel, no bias, for any inputs of their width."""
    tensor = model.tensors[layer.inputs[0]]
    weights = layer.weights.reshape(len(layer.weights), -1).astype(np.int64)
    above, below = np.maximum(weights, 0).sum(axis=1), np.minimum(weights, 0).sum(axis=1)
    return Range(
        above * tensor.lo + below * tensor.hi,
        above * tensor.hi + below * tensor.lo,
    )


def _of_addition(layer: Add, ends: list[Integers]) -> Range:
    """The sum of two words times their multipliers; a rounded branch rises with its word."""
    if layer.branches:
        ends = [end[0] for end in exact.branches(layer, [end[None] for end in ends])]
    low, high = np.sum(
        [sorted(np.asarray(end) * m) for end, m in zip(ends, layer.multipliers, strict=True)],
        axis=0,
    )
    return Range.between(int(low), int(high))
