"""Bias, rule and ReLU of a layer as passes on the AP: what `--requant ap` runs.

The rule: sums in, the layer's integers out, and a part for what it took; nothing is
added, scaled or clipped by the host.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apsim.counts import Counts
from apsim.nn import rules
from apsim.nn.model import Add, AvgPool, Integers, Model, Relu, Requant, Requantize, Weighted
from apsim.nn.on_ap import forecast, work
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import Part
from apsim.nn.rules import ranges
from apsim.nn.rules.multipliers import divided, integers
from apsim.nn.rules.ranges import Range
from apsim.nn.rules.recipes import Share, on_ap, shares

__all__ = [
    "branches", "mean", "plan_of", "plan_of_mean", "plan_of_relu", "plans_of_branches", "relu",
    "settle",
]  # fmt: skip

Plan = tuple[Share, ...]
FAR = 1 << 60
AS_IT_IS = rules.requant("dyadic(1,floor)", 1.0, lo=-FAR, hi=FAR)


def settle(
    model: Model, layer: Weighted | Add | Requantize, sums: Integers, axis: int, chip: Chip
) -> tuple[Integers, tuple[Part, ...]] | None:
    """A layer's output from its sums: bias, scaling, ReLU, zero point and clip on the AP.

    Without a requantization it is bias and ReLU, and nothing runs where there is neither.
    None where the host requantizes, because the chip or the rule leaves it to it.
    """
    if chip.requant == "host":
        return None
    bias, requant = np.atleast_1d(layer.bias), layer.requant
    if requant is None and not (layer.relu or bias.any()):
        return sums, ()
    plan = plan_of(model, layer)
    if plan is None:
        return None
    width = requant.width if requant else plan[0].recipe.width
    paper = forecast.relu(sums.size, width, chip.design.rows).paper if layer.relu else Counts()
    done = f"requantize ({requant.rule})" if requant else "bias"
    output, part = work.requantize(chip, sums, plan, axis, done + " and relu" * layer.relu, paper)
    return output, (part,)


def plan_of(model: Model, layer: Weighted | Add | Requantize) -> Plan | None:
    """Recipes for a layer's sums, None where no integer arithmetic gives its rule."""
    within, bias = ranges.of_layer(model, layer), np.atleast_1d(layer.bias)
    rule: Requant | None = layer.requant or AS_IT_IS
    if rule is not None and not on_ap(rule):
        rule = integers(rule, within.shifted(bias))
    return None if rule is None else shares(rule, within, bias, relu=layer.relu)


def relu(model: Model, layer: Relu, values: Integers, chip: Chip) -> tuple[Integers, Part]:
    """max(x, zero point) by a clamp at the zero point, which nobody has to subtract."""
    tensor, plan = model.tensors[layer.inputs[0]], plan_of_relu(model, layer)
    paper = forecast.relu(values.size, tensor.bits, chip.design.rows).paper
    return work.requantize(chip, values, plan, 1, "relu at the zero point", paper)


def plan_of_relu(model: Model, layer: Relu) -> Plan:
    """The recipe that clamps words at their zero point."""
    tensor = model.tensors[layer.inputs[0]]
    bounded = rules.requant("dyadic(1,floor)", 1.0, lo=tensor.zero_point, hi=FAR)
    return shares(bounded, Range.between(tensor.lo, tensor.hi), np.zeros(1, np.int64))


def branches(
    model: Model, layer: Add, inputs: list[Integers], chip: Chip
) -> tuple[list[Integers], tuple[Part, ...]] | None:
    """The branches of an addition, each requantized by itself, as its specification does."""
    plans = None if chip.requant == "host" else plans_of_branches(model, layer)
    if plans is None:
        return None
    ran = [
        work.requantize(chip, values, plan, 1, f"requantize branch ({branch.rule})")
        for values, plan, branch in zip(inputs, plans, layer.branches or (), strict=True)
    ]
    return [values for values, _ in ran], tuple(part for _, part in ran)


def plans_of_branches(model: Model, layer: Add) -> tuple[Plan, ...] | None:
    """Recipes for each branch of an addition, None where a branch's rule is no integer one."""
    if not all(map(on_ap, layer.branches or ())):
        return None
    plans = []
    for name, zero, branch in zip(
        layer.inputs, layer.branch_zero_points, layer.branches or (), strict=True
    ):
        tensor, top = model.tensors[name], 1 << (branch.width - 1)
        bounded = replace(branch, zero_point=0, lo=-top, hi=top - 1)
        within = Range.between(tensor.lo, tensor.hi)
        plans.append(shares(bounded, within, np.array([-zero]), lift=layer.branch_shift))
    return tuple(plans)


def mean(
    model: Model, layer: AvgPool, sums: Integers, counts: Integers, chip: Chip
) -> tuple[Integers, Part] | None:
    """The average of each window from its sum, or None where the division is the host's."""
    plan = None if chip.requant == "host" else plan_of_mean(model, layer, counts)
    if plan is None:
        return None
    return work.requantize(chip, sums, plan, 1, f"divide ({layer.requant.rule})")


def plan_of_mean(model: Model, layer: AvgPool, counts: Integers) -> Plan | None:
    """Recipes that divide the sums of windows of `counts` words, None where none is exact."""
    within = ranges.of_layer(model, layer)
    found = divided(layer.requant, counts, within, layer.bias)
    return None if found is None else shares(found[0], within, np.array([found[1]]))
