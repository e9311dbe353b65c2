"""Whether an integer differs only because the judge computes in float32.

The rule: a difference is explained by arithmetic, or not at all.  Two things are asked.
Is ours what the file says?  Its exact value before the rounding, in float64, must round to
it, but for the one rounding of the factor that the rule in force names.  Can float32 have
given theirs?  The exact value must lie as near to it as any summation in float32 stays:
|fl(sum) - sum| <= (n + 8) * 2**-24 * sum |terms| (Higham, Accuracy and Stability, 4.2).
A value that lies exactly half-way is a tie, proved in integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from apsim.nn import exact
from apsim.nn.judges.reading import Array, Rounding
from apsim.nn.model import (
    Add,
    AvgPool,
    Floats,
    Integers,
    Interpolate,
    Layer,
    Model,
    Requantize,
    Tensor,
    Weighted,
)
from apsim.nn.model.windows import window_counts

__all__ = ["FLOAT32", "FLOAT64", "allowed", "explained", "half_way", "reach", "real_explained"]

FLOAT32 = 2.0**-24
FLOAT64 = 2.0**-40  # sums of float64, with room to spare
FUNCTION = 2.0**-14  # of the range: what float32 makes of tables, of products of two tensors
MOVES = ("flatten", "reshape", "transpose", "concat", "max_pool", "relu", "rearrange", "maximum")
Tensors = Mapping[str, Integers]


def explained(
    ours: Integers,
    theirs: Array,
    rounding: Rounding,
    reach: float,
    own: tuple[float, float],
    zero: int,
) -> Array:
    """Where ours is the file's exact value, rounded, and float32 can have given theirs.

    `reach` is what float32 may be off by, in steps, `own` what the rule in force may be
    (`allowed`), relative to the value; `zero` is the zero point of the tensor.
    """
    steps = np.asarray(rounding.steps, np.float64)
    if steps.shape != ours.shape:
        return np.zeros(ours.shape, bool)
    relative, absolute = own
    off = relative * np.abs(steps - zero) + absolute + FLOAT64 * (reach / FLOAT32 + 1)
    return _within(ours, rounding, off) & _within(theirs, rounding, np.float64(reach))


def allowed(model: Model, layer: Layer, reach: float) -> tuple[float, float]:
    """What the rules of ONNX may be off the file's exact value: relative to it, and besides.

    They keep a factor as float32, which is a product and a quotient of float32 numbers;
    where a constant was multiplied into the weights' scale it was rounded once more.  A
    bias stands in a scale that was a rounded product, and where it is real the sum is so
    much more than the value; in a sum of branches each has a factor of its own.  Without a
    real bias, what is added is the nudge that keeps a product on its step (`factors`).
    """
    if isinstance(layer, Add):
        return 0.0, reach
    requant = getattr(layer, "requant", None)
    if requant is None:
        return 4 * FLOAT32, 0.0
    real = np.abs(requant.offset) * np.exp2(-requant.exponent.astype(np.float64))
    whole = np.zeros(1)
    summed = _summed(model, layer)
    if summed is not None:
        whole = np.abs(_file_bias(model, summed)) * requant.scale
    biased = getattr(layer, "shift", None) is not None or np.any(_shift_of(model, layer))
    nudge = 0.0 if biased else float(real.max())
    return 4 * FLOAT32, FLOAT32 * float(4 * real.max() + 2 * whole.max(initial=0)) + nudge


def _shift_of(model: Model, layer: Layer) -> Any:
    return model.tensors[layer.inputs[0]].shift


def _summed(model: Model, layer: Layer) -> Weighted | None:
    """The layer whose sums a layer requantizes: itself, or the one before it."""
    if isinstance(layer, Weighted):
        return layer
    found = next((one for one in model.layers if one.output == layer.inputs[0]), None)
    return found if isinstance(found, Weighted) and found.requant is None else None


def _file_bias(model: Model, layer: Weighted) -> Integers:
    """The bias without the input's zero point, which is folded into it."""
    sums = layer.weights.reshape(len(layer.weights), -1).sum(axis=1, dtype=np.int64)
    return np.asarray(layer.bias + model.tensors[layer.inputs[0]].zero_point * sums)


def _within(integers: Array, rounding: Rounding, off: Any) -> Array:
    """Where a value no further off than so much rounds to these integers."""
    low, high = rounding.finish(rounding.steps - off), rounding.finish(rounding.steps + off)
    return np.asarray((low <= integers) & (integers <= high))


def real_explained(ours: Integers, steps: Floats, theirs: Floats, reach: float) -> Array:
    """The same for real outputs, which nothing rounds: accumulators in their own unit."""
    own = np.abs(steps - ours) <= 1e-6 + FLOAT64 * reach / FLOAT32
    return np.asarray(own & (np.abs(theirs - steps) <= reach))


def reach(model: Model, name: str, tensors: Tensors) -> float:
    """What a float32 evaluation of a tensor may be off by, in its steps: the bound above."""
    layer = next((one for one in model.layers if one.output == name), None)
    if layer is None:
        return 0.0
    terms, size = _terms(model, layer, tensors)
    if terms:
        return (terms + 8) * FLOAT32 * size
    if layer.op in MOVES:
        return max(reach(model, one, tensors) for one in layer.inputs)
    y = model.tensors[name]
    return FUNCTION * float(max(abs(y.lo), abs(y.hi)))


def _terms(model: Model, layer: Layer, tensors: Tensors) -> tuple[int, float]:
    """How many terms a layer sums, and the greatest sum of their magnitudes, in steps."""
    y = model.tensors[layer.output]
    if isinstance(layer, Weighted):
        return _weighted_terms(model, layer, tensors, y)
    if isinstance(layer, Interpolate):
        return 8, 2 * _magnitude(model, layer.inputs[0], tensors) / _step(y) + abs(y.zero_point)
    if isinstance(layer, Add | AvgPool | Requantize):
        sizes = [_magnitude(model, name, tensors) for name in layer.inputs]
        many = layer.kernel[0] * layer.kernel[1] if isinstance(layer, AvgPool) else len(sizes)
        gain = layer.gain if isinstance(layer, AvgPool) else 1.0
        return many + 1, sum(sizes) * gain / _step(y) + abs(y.zero_point)
    return 0, 0.0


def _weighted_terms(
    model: Model, layer: Weighted, tensors: Tensors, y: Tensor
) -> tuple[int, float]:
    x = model.tensors[layer.inputs[0]]
    many = int(np.prod(layer.weights.shape[1:]))
    most = float(np.abs(tensors[layer.inputs[0]] - x.zero_point).max(initial=0))
    weights = np.abs(layer.weights.reshape(len(layer.weights), -1).astype(np.float64))
    sums = weights.sum(axis=1) * most + np.abs(_file_bias(model, layer))
    scale = np.ones(1) if layer.requant is None else layer.requant.scale
    real = 0.0 if layer.shift is None or layer.requant is None else np.abs(layer.shift) / _step(y)
    return many + 2, float((sums * scale + real).max()) + abs(y.zero_point)


def _magnitude(model: Model, name: str, tensors: Tensors) -> float:
    tensor = model.tensors[name]
    return float(np.abs(tensors[name] - tensor.zero_point).max(initial=0)) * _step(tensor)


def _step(tensor: Tensor) -> float:
    return tensor.scale if isinstance(tensor.scale, float) else 1.0


def half_way(model: Model, layer: Layer, tensors: Tensors, where: Array) -> Array:
    """Where, of the places marked, the exact value lies half-way between two integers.

    Worked out in Python's own integers: (sum * M + offset) / (2**e * count) has a
    remainder of one half.  False for layers that round nothing, or in several steps.
    """
    found = np.zeros(where.shape, bool)
    requant = getattr(layer, "requant", None)
    if requant is None or layer.host or getattr(layer, "branches", None) is not None:
        return found
    total = exact.accumulate(model, layer, tensors)
    axis = total.ndim - 1 if layer.op == "linear" else min(1, total.ndim - 1)
    lay = [1] * total.ndim
    lay[axis] = -1
    counts: Integers = np.ones(1, np.int64)
    if isinstance(layer, AvgPool):
        counts = window_counts(layer, *model.tensors[layer.inputs[0]].shape[1:])
    if isinstance(layer, Interpolate):
        counts = np.array([layer.grid[0] * layer.grid[1]])
    parts = [np.broadcast_to(part.reshape(lay), total.shape)[where]
             for part in (requant.mantissa, requant.offset, requant.exponent)]  # fmt: skip
    sums, count = total[where], np.broadcast_to(counts, total.shape)[where]
    found[where] = [_is_half(*map(int, line)) for line in zip(sums, count, *parts, strict=True)]
    return found


def _is_half(total: int, count: int, mantissa: int, offset: int, exponent: int) -> bool:
    up, down = max(-exponent, 0), max(exponent, 0)
    above, below = 2 * ((total * mantissa << up) + offset), count << down
    return above % below == 0 and (above // below) % 2 == 1
