"""The two functions that onnxruntime computes in floating point, as it does on x86.

The rule: only layers under the rule ort-f32 that say `host` come here; every step is one
float32 operation in onnxruntime's order, because its rounding depends on that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.nn.model import Add, AvgPool, Integers, Interpolate, Layer, Model, Requant, Tensor
from apsim.nn.model.windows import plane, window_counts
from apsim.nn.rules import one_scale

__all__ = ["interpolate", "output"]

Array = npt.NDArray[Any]


def output(model: Model, layer: Layer, inputs: Sequence[Integers]) -> Integers:
    """The output of a layer that runs on the host in float32."""
    if isinstance(layer, Add):
        return _add(layer, inputs)
    assert isinstance(layer, AvgPool)
    x, y = model.tensors[layer.inputs[0]], model.tensors[layer.output]
    return _average_pool(layer, x, y, inputs[0])


def _add(layer: Add, inputs: Sequence[Integers]) -> Integers:
    """rint(((zy - (ra * za + rb * zb)) + a * ra) + b * rb), ra = sa / sy: QLinearAdd."""
    assert layer.branches is not None and layer.requant is not None
    ra, rb = (np.float32(branch.scale[0]) for branch in layer.branches)
    za, zb = (np.float32(zero) for zero in layer.branch_zero_points)
    a, b = (values.astype(np.float32) for values in inputs)
    start = np.float32(layer.requant.zero_point) - (ra * za + rb * zb)
    return _rounded((start + a * ra) + b * rb, layer.requant, layer.relu)


def _average_pool(layer: AvgPool, x: Tensor, y: Tensor, values: Integers) -> Integers:
    """rint(sum of sx * (x - zx) in window order / count / sy + zy): QLinearAveragePool."""
    real = (values - x.zero_point).astype(np.float32) * np.float32(one_scale(x))
    top, left, bottom, right = layer.padding
    padded = np.pad(real, ((0, 0), (0, 0), (top, bottom), (left, right)))
    rows, columns = plane(layer, *values.shape[2:])
    down, along = layer.stride
    total = np.zeros((*values.shape[:2], rows, columns), np.float32)
    for i in range(layer.kernel[0]):
        for j in range(layer.kernel[1]):
            total += padded[:, :, i : i + rows * down : down, j : j + columns * along : along]
    counts = window_counts(layer, *values.shape[2:]).astype(np.float32)
    steps = total / counts / np.float32(one_scale(y)) + np.float32(y.zero_point)
    return _rounded(steps, layer.requant)


def interpolate(layer: Interpolate, values: Integers) -> Integers:
    """Four neighbours of words without sign, weighed in float32 as LiteRT's kernel does."""
    down, along = (np.asarray(part, np.float32) for part in layer.fractions)
    down, one = down[:, None], np.float32(1)
    real = values.astype(np.float32)

    def near(side: int, edge: int) -> Array:
        return np.asarray(real[:, :, layer.rows[:, side]][..., layer.columns[:, edge]])

    total = near(0, 0) * (one - down) * (one - along)
    total = total + near(1, 0) * down * (one - along)
    total = total + near(0, 1) * (one - down) * along
    total = total + near(1, 1) * down * along
    return np.asarray(np.trunc(total + np.float32(0.5)), np.int64)


def _rounded(steps: Array, requant: Requant, relu: bool = False) -> Integers:
    """Output steps, the zero point among them, as clipped integers."""
    lo = max(requant.lo, requant.zero_point) if relu else requant.lo
    return np.asarray(np.clip(np.rint(steps), lo, requant.hi), np.int64)
