"""Which recipes turn a layer's sums into its integers on the AP: what `--requant ap` runs.

The rule: None where no integer arithmetic gives the layer's rule, which leaves it to the host.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from apsim.nn import rules
from apsim.nn.model import (
    Add,
    AvgPool,
    MatMul,
    Model,
    Multiply,
    Relu,
    Requant,
    Requantize,
    Sum,
    Weighted,
)
from apsim.nn.model.windows import window_counts
from apsim.nn.rules import ranges
from apsim.nn.rules.multipliers import divided, integers
from apsim.nn.rules.ranges import Range
from apsim.nn.rules.recipes import Share, on_ap, shares

__all__ = ["Shares", "of_branches", "of_mean", "of_relu", "of_sums"]

Shares = tuple[Share, ...]
FAR = 1 << 60
AS_IT_IS = rules.requant("dyadic(1,floor)", 1.0, lo=-FAR, hi=FAR)


def of_sums(
    model: Model, layer: Weighted | Add | Requantize | Multiply | Sum | MatMul
) -> Shares | None:
    """Bias, scaling, ReLU, zero point and clip of a layer's sums.

    Where each place has a bias of its own, each place is a channel, in row-major order.
    """
    within, bias = ranges.of_layer(model, layer), np.atleast_1d(getattr(layer, "bias", 0))
    rule: Requant | None = layer.requant or AS_IT_IS
    if bias.ndim > 1 and rule is not None:
        places = bias.size // bias.shape[-1]
        within = Range(np.tile(within.low, places), np.tile(within.high, places))
        rule, bias = _at_every_place(rule, places), bias.ravel()
    if rule is not None and not on_ap(rule):
        rule = integers(rule, within.shifted(bias))
    return None if rule is None else shares(rule, within, bias, relu=layer.relu)


def _at_every_place(rule: Requant, places: int) -> Requant:
    """A rule of one factor, or one for each channel, over `places` times as many channels."""
    per_channel: dict[str, Any] = {
        name: np.tile(values, places)
        for name in ("scale", "mantissa", "exponent", "offset")
        if (values := getattr(rule, name)).size > 1
    }
    return replace(rule, **per_channel)


def of_relu(model: Model, layer: Relu) -> Shares:
    """max(x, zero point) by a clamp at the zero point, which nobody has to subtract."""
    tensor = model.tensors[layer.inputs[0]]
    bounded = rules.requant("dyadic(1,floor)", 1.0, lo=tensor.zero_point, hi=FAR)
    return shares(bounded, Range.between(tensor.lo, tensor.hi), np.zeros(1, np.int64))


def of_branches(model: Model, layer: Add) -> tuple[Shares, ...] | None:
    """Each branch of an addition, requantized by itself as its specification does."""
    if not all(map(on_ap, layer.branches or ())):
        return None
    found = []
    for name, zero, branch in zip(
        layer.inputs, layer.branch_zero_points, layer.branches or (), strict=True
    ):
        tensor, top = model.tensors[name], 1 << (branch.width - 1)
        bounded = replace(branch, zero_point=0, lo=-top, hi=top - 1)
        within = Range.between(tensor.lo, tensor.hi)
        found.append(shares(bounded, within, np.array([-zero]), lift=layer.branch_shift))
    return tuple(found)


def of_mean(model: Model, layer: AvgPool) -> Shares | None:
    """The division of the sums of windows, None where none is exact."""
    within = ranges.of_layer(model, layer)
    counts = window_counts(layer, *model.tensors[layer.inputs[0]].shape[1:])
    found = divided(layer.requant, counts, within, layer.bias)
    return None if found is None else shares(found[0], within, np.array([found[1]]))
