"""Bias, rule and ReLU of a layer as passes on the AP: what `--requant ap` runs.

The rule: sums in, the layer's integers out, and a part for what it took; nothing is
added, scaled or clipped by the host.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apsim.counts import Counts
from apsim.nn import forecast, parts, ranges, rules
from apsim.nn.chip import Chip
from apsim.nn.dividers import divided
from apsim.nn.model import Add, AvgPool, Integers, Model, Requant, Requantize, Weighted
from apsim.nn.part import Part
from apsim.nn.ranges import Range
from apsim.nn.recipes import on_ap, shares

__all__ = ["branches", "mean", "possible", "settle"]

FAR = 1 << 60
AS_IT_IS = rules.requant("dyadic(1,floor)", 1.0, lo=-FAR, hi=FAR)


def possible(chip: Chip, requant: Requant | None) -> bool:
    """Whether the chip is to requantize, and the rule is one that an AP can carry out."""
    return chip.requant == "ap" and (requant is None or on_ap(requant))


def settle(
    model: Model, layer: Weighted | Add | Requantize, sums: Integers, axis: int, chip: Chip
) -> tuple[Integers, tuple[Part, ...]]:
    """A layer's output from its sums: bias, scaling, ReLU, zero point and clip on the AP.

    Without a requantization it is bias and ReLU, and nothing runs where there is neither.
    """
    bias, requant = np.atleast_1d(layer.bias), layer.requant
    if requant is None and not (layer.relu or bias.any()):
        return sums, ()
    within = ranges.of_layer(model, layer)
    plan = shares(requant or AS_IT_IS, within, bias, relu=layer.relu)
    width = requant.width if requant else plan[0].recipe.width
    paper = forecast.relu(sums.size, width, chip.design.rows).paper if layer.relu else Counts()
    done = f"requantize ({requant.rule})" if requant else "bias"
    output, part = parts.requantize(chip, sums, plan, axis, done + " and relu" * layer.relu, paper)
    return output, (part,)


def branches(
    model: Model, layer: Add, inputs: list[Integers], chip: Chip
) -> tuple[list[Integers], tuple[Part, ...]]:
    """The branches of an addition, each requantized by itself, as its specification does."""
    ran = []
    for name, values, zero, branch in zip(
        layer.inputs, inputs, layer.branch_zero_points, layer.branches or (), strict=True
    ):
        tensor, top = model.tensors[name], 1 << (branch.width - 1)
        plan = shares(
            replace(branch, zero_point=0, lo=-top, hi=top - 1), Range.between(tensor.lo, tensor.hi),
            np.array([-zero]), lift=layer.branch_shift,
        )  # fmt: skip
        ran.append(parts.requantize(chip, values, plan, 1, f"requantize branch ({branch.rule})"))
    return [values for values, _ in ran], tuple(part for _, part in ran)


def mean(
    model: Model, layer: AvgPool, sums: Integers, counts: Integers, chip: Chip
) -> tuple[Integers, Part] | None:
    """The average of each window from its sum, or None where the division is the host's."""
    within = ranges.of_layer(model, layer)
    found = divided(layer.requant, counts, within, layer.bias)
    if found is None:
        return None
    plan = shares(found[0], within, np.array([found[1]]))
    return parts.requantize(chip, sums, plan, 1, f"divide ({layer.requant.rule})")
