"""The counts that a run of a model will take, layer by layer, before anything runs.

The rule: shapes, widths and constants only; closed forms and the fold of a run on the same
chip and kind, so that a run must count the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from apsim.counts import Counts
from apsim.errors import ModelError
from apsim.functions.cnn import default_scheme
from apsim.nn.model import (
    Add,
    AvgPool,
    Conv2d,
    Layer,
    Linear,
    MaxPool,
    Model,
    Relu,
    Requantize,
    Weighted,
)  # fmt: skip
from apsim.nn.model.windows import kernel_of, window_counts
from apsim.nn.model.words import Words, common, holding
from apsim.nn.on_ap import forecast, settle
from apsim.nn.on_ap.layer_run import Forecast
from apsim.program import ApKind

__all__ = ["predicted"]


@dataclass(frozen=True)
class Setting:
    """What a run is made with: a batch on CAPs of a kind and size; who requantizes."""

    images: int
    kind: ApKind
    rows: int
    requant: str

    @property
    def on_ap(self) -> bool:
        """Whether accumulators become activations on the AP."""
        return self.requant == "ap"

    def words(self, model: Model, tensor: str) -> int:
        """Words of a tensor, over the batch."""
        return int(np.prod(model.tensors[tensor].shape)) * self.images


def predicted(
    model: Model, images: int, kind: ApKind, rows: int, requant: str = "host"
) -> dict[str, Forecast]:
    """For each layer that the AP runs, what a run will count and what the paper prints.

    `requant` is who turns accumulators into activations, "host" or "ap".  Raises
    `ModelError` where a count depends on data: a ReLU of sums that nobody requantizes.
    """
    setting, found = Setting(images, kind, rows, requant), {}
    for layer in model.layers:
        sizes = None if layer.host else _SIZES.get(type(layer))
        if sizes is not None:
            whole = sizes(model, layer, setting)
            if whole.loads:
                found[layer.name] = whole
    return found


def _products(model: Model, layer: Conv2d | Linear, on: Setting) -> Forecast:
    groups = layer.groups if isinstance(layer, Conv2d) else 1
    outputs = on.words(model, layer.output)
    bits, length = model.tensors[layer.inputs[0]].bits, int(np.prod(layer.weights.shape[1:]))
    each = forecast.products(outputs // groups, length, bits, layer.weight_bits, on.kind, on.rows)
    return each * groups + _settled(model, layer, on)


def _settled(model: Model, layer: Weighted | Add | Requantize, on: Setting) -> Forecast:
    """Bias, rule and ReLU: on the AP, or a ReLU between two steps of the host."""
    words, requant = on.words(model, layer.output), layer.requant
    plan = settle.plan_of(model, layer) if on.on_ap else None
    if plan is not None:
        if requant is None and not (layer.relu or np.any(layer.bias)):
            return Forecast()
        width = requant.width if requant else plan[0].recipe.width
        paper = forecast.relu(words, width, on.rows).paper if layer.relu else Counts()
        return _requantized(words, plan, on, paper)
    if not layer.relu:
        return Forecast()
    if requant is None:
        raise ModelError(f"layer {layer.name!r}: the width of its ReLU depends on the sums")
    return forecast.relu(words, requant.width, on.rows)


def _requantized(words: int, plan: settle.Plan, on: Setting, paper: Counts) -> Forecast:
    """Each recipe on the words of its channels."""
    channels = sum(len(share.channels) for share in plan)
    sizes = [(words // channels * len(share.channels), share.recipe) for share in plan]
    return forecast.requantize(sizes, on.rows, paper)


def _max_pool(model: Model, layer: MaxPool, on: Setting) -> Forecast:
    windows, window = on.words(model, layer.output), int(np.prod(kernel_of(layer)))
    if window == 1:  # the word itself
        return Forecast()
    bits, scheme = model.tensors[layer.inputs[0]].bits, default_scheme(on.kind)
    return forecast.max_pool(windows, window, bits, on.kind, on.rows, scheme)


def _average_pool(model: Model, layer: AvgPool, on: Setting) -> Forecast:
    windows, window = on.words(model, layer.output), int(np.prod(kernel_of(layer)))
    bits, divided = model.tensors[layer.inputs[0]].bits, Forecast()
    if on.on_ap:
        height, width = model.tensors[layer.inputs[0]].shape[1:]
        plan = settle.plan_of_mean(model, layer, window_counts(layer, height, width))
        divided = Forecast() if plan is None else _requantized(windows, plan, on, Counts())
    if window == 1:
        return divided
    return forecast.average_pool(windows, window, bits, on.kind, on.rows) + divided


def _add(model: Model, layer: Add, on: Setting) -> Forecast:
    """A plain addition, or a dot product of two words and two constants where scales differ."""
    words = on.words(model, layer.output)
    kinds = [Words.of(model.tensors[name]) for name in layer.inputs]
    if layer.branches:
        kinds = [Words(branch.width, True) for branch in layer.branches]
    bits = common(*kinds).bits
    if layer.multipliers == (1, 1):
        added = forecast.add(words, bits, on.rows)
    else:
        constants = holding(min(layer.multipliers), max(layer.multipliers))
        added = forecast.products(words, 2, bits, constants.bits, on.kind, on.rows)
    return _branches(model, layer, on) + added + _settled(model, layer, on)


def _branches(model: Model, layer: Add, on: Setting) -> Forecast:
    """The branches that are requantized one by one, on the AP where it does that."""
    plans = settle.plans_of_branches(model, layer) if on.on_ap and layer.branches else None
    each = (
        _requantized(on.words(model, name), plan, on, Counts())
        for name, plan in zip(layer.inputs, plans or (), strict=False)
    )
    return sum(each, Forecast())


def _relu(model: Model, layer: Relu, on: Setting) -> Forecast:
    tensor, words = model.tensors[layer.inputs[0]], on.words(model, layer.output)
    zero = tensor.zero_point
    if zero and on.on_ap:
        paper = forecast.relu(words, tensor.bits, on.rows).paper
        return _requantized(words, settle.plan_of_relu(model, layer), on, paper)
    bits = holding(tensor.lo - zero, tensor.hi - zero).bits + (tensor.lo - zero >= 0)
    return forecast.relu(words, bits, on.rows)


_SIZES: dict[type[Layer], Callable[[Model, Any, Setting], Forecast]] = {
    Conv2d: _products,
    Linear: _products,
    MaxPool: _max_pool,
    AvgPool: _average_pool,
    Add: _add,
    Relu: _relu,
    Requantize: _settled,
}
