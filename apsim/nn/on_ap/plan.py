"""What runs for a layer: which functions, on which words, in which loads, before any runs.

The rule: shapes, widths and constants only.  `execute` carries a plan out on data, and
`predicted` adds up its closed forms; both read the same plan, so that neither knows a rule
that the other does not.

A layer kind is a row of `PLANS` here and a row of `execute.RUN`; a way to lay products over
CAPs is a row of `MAPPINGS` here and a row of `work.MAPPINGS`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np

from apsim.ap_kind import ApKind
from apsim.errors import ModelError, ProgramError
from apsim.lut.model import WIDEST_INPUT
from apsim.nn.model import (
    Add,
    AvgPool,
    Conv2d,
    Integers,
    Layer,
    Linear,
    MatMul,
    Maximum,
    MaxPool,
    Model,
    Multiply,
    Normalize,
    Relu,
    Requantize,
    Softmax,
    Sum,
    Table,
    Weighted,
)  # fmt: skip
from apsim.nn.model.windows import kernel_of
from apsim.nn.model.words import Words, common, holding
from apsim.nn.on_ap import choices, tasks
from apsim.nn.on_ap.layer_run import NOTHING, Choice, Forecast
from apsim.nn.on_ap.tasks import Requantization, Setting, Task

MOST_TABLES = 64  # of one layer: a list takes 50 ms to find
HOST_BRANCHES = ("rounding of the branches",)
TWO_ACTIVATIONS = Choice("im2col", "a product of two activations, which no program can hold")
__all__ = ["MAPPINGS", "PLANS", "Plan", "body_of", "chosen", "fitting", "plan_of", "predicted"]


@dataclass(frozen=True)
class Plan:
    """Tasks of a layer in their order, and what the host does.

    `before` is done to each input by itself, `body` is the layer's own work (a task for each
    group of a convolution), `after` makes activations of its sums.  `requant` says who that
    is: on the "host", `after` is at most a ReLU between two steps of its rule.  `unknown` says
    why no forecast can be made, where the size of a task depends on data.  `choice` says how
    products of weights are laid out, where there are any.
    """

    body: tuple[Task, ...] = ()
    after: tuple[Task, ...] = ()
    before: tuple[Requantization, ...] = ()
    host: tuple[str, ...] = ()
    requant: str = "host"
    unknown: str = ""
    choice: Choice | None = None

    @property
    def forecast(self) -> Forecast:
        """Closed forms times loads; raises `ModelError` where they depend on data."""
        if self.unknown:
            raise ModelError(self.unknown)
        every = (*self.before, *self.body, *self.after)
        return sum((task.forecast for task in every), Forecast())


def plan_of(model: Model, layer: Layer, on: Setting) -> Plan | None:
    """The plan of a layer, None where the AP has no part in it.

    Raises `ProgramError` where a CAP is too small.
    """
    make = None if layer.host else PLANS.get(type(layer))
    return None if make is None else make(model, layer, on)


def predicted(
    model: Model,
    images: int,
    kind: ApKind,
    rows: int,
    requant: str = "host",
    mapping: str = "im2col",
    columns: int = 160,
    broadcast: str = "group",
) -> dict[str, Forecast]:
    """For each layer that the AP runs, what a run will count and what the paper prints.

    `requant` is who turns accumulators into activations, "host" or "ap"; `mapping` and
    `broadcast` as in `Setting`.  Raises `ModelError` where a count depends on data: a ReLU of
    sums that nobody requantizes.
    """
    on = Setting(kind, rows, images, requant, mapping, columns, broadcast=broadcast)
    found = {}
    for layer in model.layers:
        plan = plan_of(model, layer, on)
        whole = plan.forecast if plan else Forecast()
        if whole.loads:
            found[layer.name] = whole
    return found


def _count(model: Model, tensor: str, on: Setting) -> int:
    """Words of a tensor, over the batch."""
    return int(np.prod(model.tensors[tensor].shape)) * on.images


def _words(model: Model, layer: Layer) -> Words:
    return Words.of(model.tensors[layer.inputs[0]])


def _im2col(layer: Weighted, outputs: int, act: Words, on: Setting) -> tuple[Task, ...]:
    """A product in each row, weights stored beside activations (the paper's mapping)."""
    groups = layer.groups if isinstance(layer, Conv2d) else 1
    length = int(np.prod(layer.weights.shape[1:]))
    weight = Words(layer.weight_bits, layer.weight_signed)
    return (tasks.products(outputs // groups, length, act, weight, on),) * groups


def _weights(layer: Weighted, outputs: int, act: Words, on: Setting) -> tuple[Task, ...]:
    """A pixel in each row, weights as digits in the program."""
    groups = layer.groups if isinstance(layer, Conv2d) else 1
    lines = layer.weights.reshape(groups, -1, int(np.prod(layer.weights.shape[1:])))
    pixels = outputs // len(layer.weights)

    def made(bias: Integers | None) -> tuple[Task, ...]:
        return tuple(
            tasks.weighted_sums(some, pixels, act, on, bias=mine, beside=groups)
            for some, mine in zip(lines, repeat(None) if bias is None else bias, strict=False)
        )

    if on.requant == "ap" or np.ndim(layer.bias) > 1:
        return made(None)  # recipes add the bias, or the host does where places have their own
    body = made(np.broadcast_to(layer.bias, len(layer.weights)).reshape(groups, -1))
    return body if tasks.hold_bias(body) else made(None)


MAPPINGS: dict[str, Callable[[Weighted, int, Words, Setting], tuple[Task, ...]]] = {
    "im2col": _im2col,
    "weights": _weights,
}
"""Tasks for the products of a layer, one for each group, from its outputs over the batch."""


def _conv2d(model: Model, layer: Conv2d, on: Setting) -> Plan:
    return _weighted(model, layer, on, host=("im2col",))


def _linear(model: Model, layer: Linear, on: Setting) -> Plan:
    return _weighted(model, layer, on)


def _weighted(
    model: Model, layer: Conv2d | Linear, on: Setting, host: tuple[str, ...] = ()
) -> Plan:  # fmt: skip
    choice, body = chosen(model, layer, on)
    return replace(_from_sums(model, layer, on, body, host=host), choice=choice)


def body_of(model: Model, layer: Weighted, on: Setting) -> tuple[Task, ...]:
    """A layer's products by the mapping that is asked for; `ProgramError` where it does not fit."""
    outputs = _count(model, layer.output, on)
    return MAPPINGS[on.mapping](layer, outputs, _words(model, layer), on)


def fitting(model: Model, layer: Weighted, on: Setting) -> tuple[Task, ...]:
    """`body_of`, of which the programs of all loads fit a CAP's columns, or `ProgramError`."""
    body = body_of(model, layer, on)
    for loads in body[0].loads:  # the same for each group of the layer
        groups, _ = next(loads.fold.sizes())
        loads.program(groups).require(on.rows, on.columns, "a CAP")
    return body


def chosen(model: Model, layer: Weighted, on: Setting) -> tuple[Choice, tuple[Task, ...]]:
    """A layer's products by the mapping that is asked for, or by the one that costs less."""
    if on.mapping != "auto":
        body = {on.mapping: body_of(model, layer, on)}
        if on.mapping == "weights":
            with suppress(ProgramError):
                body["im2col"] = fitting(model, layer, replace(on, mapping="im2col"))
        return choices.asked(body, on), body[on.mapping]
    offers: dict[str, tuple[Task, ...]] = {}
    refused: dict[str, str] = {}
    for name in MAPPINGS:
        try:
            offers[name] = fitting(model, layer, replace(on, mapping=name))
        except ProgramError as error:
            refused[name] = f"{name}: {str(error).removeprefix(f'{name}: ')}"
    if not offers:
        raise ProgramError("; ".join(refused.values()))
    choice = choices.cheaper(offers, refused, on)
    return choice, offers[choice.mapping]


def _from_sums(
    model: Model,
    layer: Weighted | Add | Requantize | Multiply | Sum | MatMul,
    on: Setting,
    body: tuple[Task, ...] = (),
    before: tuple[Requantization, ...] = (),
    host: tuple[str, ...] = (),
) -> Plan:
    """Bias, rule and ReLU of a layer's sums: on the AP, or the host's with a ReLU in between."""
    count, requant = _count(model, layer.output, on), layer.requant
    if on.requant == "ap":
        from apsim.nn.on_ap import layer_recipes  # as below: no other plans want it

        if requant is None and not (layer.relu or np.any(getattr(layer, "bias", 0))):
            return Plan(body, (), before, host, "ap")
        shares = layer_recipes.of_sums(model, layer)
        if shares is not None:
            width = requant.width if requant else shares[0].recipe.width
            paper = tasks.relu(count, width, on).forecast.paper if layer.relu else NOTHING
            done = (f"requantize ({requant.rule})" if requant else "bias") + (
                " and relu" * layer.relu
            )
            after = tasks.requantized(done, count, shares, on, paper)
            return Plan(body, (after,), before, host, "ap")
    own = ("bias",) if hasattr(layer, "bias") and not tasks.hold_bias(body) else ()
    by_host = (*host, *own, *([f"requantize ({requant.rule})"] if requant else []))
    if not layer.relu:
        return Plan(body, (), before, by_host)
    if requant is None:
        unknown = f"layer {layer.name!r}: the width of its ReLU depends on the sums"
        return Plan(body, (), before, by_host, unknown=unknown)
    return Plan(body, (tasks.relu(count, requant.width, on),), before, by_host)


def _max_pool(model: Model, layer: MaxPool, on: Setting) -> Plan:
    windows, window = _count(model, layer.output, on), int(np.prod(kernel_of(layer)))
    body = (tasks.window_maxima(windows, window, _words(model, layer), on),) * (window > 1)
    return Plan(body, host=("windows",))


def _average_pool(model: Model, layer: AvgPool, on: Setting) -> Plan:
    """A window of one word is that word, and nothing runs."""
    windows, window = _count(model, layer.output, on), int(np.prod(kernel_of(layer)))
    body = (tasks.window_sums(windows, window, _words(model, layer), on),) * (window > 1)
    rule = f"divide ({layer.requant.rule})"
    by_host = Plan(body, host=("windows", rule))
    if on.requant != "ap":
        return by_host
    from apsim.nn.on_ap import layer_recipes

    shares = layer_recipes.of_mean(model, layer)
    if shares is None:
        return by_host
    return Plan(body, (tasks.requantized(rule, windows, shares, on),), host=("windows",),
                requant="ap")  # fmt: skip


def _add(model: Model, layer: Add, on: Setting) -> Plan:
    """A plain addition, or where scales differ a dot product of two words and two constants."""
    count = _count(model, layer.output, on)
    kinds = [Words.of(model.tensors[name]) for name in layer.inputs]
    before, host = _branches(model, layer, on) if layer.branches else ((), ())
    if layer.branches:
        kinds = [Words(branch.width, True) for branch in layer.branches]
    words = common(*kinds)
    if layer.multipliers == (1, 1):
        body = tasks.add(count, words, on)
    else:
        constants = holding(min(layer.multipliers), max(layer.multipliers))
        body = tasks.products(count, 2, words, constants, on)
    return _from_sums(model, layer, on, (body,), before, host)


def _branches(
    model: Model, layer: Add, on: Setting
) -> tuple[tuple[Requantization, ...], tuple[str, ...]]:  # fmt: skip
    """The branches that are requantized one by one, on the AP where it does that."""
    if on.requant != "ap":
        return (), HOST_BRANCHES
    from apsim.nn.on_ap import layer_recipes

    found = layer_recipes.of_branches(model, layer)
    if found is None:
        return (), HOST_BRANCHES
    return tuple(
        tasks.requantized(f"requantize branch ({branch.rule})", _count(model, name, on), shares, on)
        for name, shares, branch in zip(layer.inputs, found, layer.branches or (), strict=True)
    ), ()


def _relu(model: Model, layer: Relu, on: Setting) -> Plan:
    tensor, count = model.tensors[layer.inputs[0]], _count(model, layer.output, on)
    zero = tensor.zero_point
    if zero and on.requant == "ap":
        from apsim.nn.on_ap import layer_recipes

        paper, shares = tasks.relu(count, tensor.bits, on).forecast.paper, layer_recipes.of_relu
        task = tasks.requantized("relu at the zero point", count, shares(model, layer), on, paper)
        return Plan((), (task,), requant="ap")
    bits = holding(tensor.lo - zero, tensor.hi - zero).bits + (tensor.lo - zero >= 0)
    return Plan((tasks.relu(count, bits, on),), host=("zero point",) if zero else ())


def _factors(model: Model, layer: Multiply | MatMul) -> tuple[Words, Words]:
    """Both inputs less their zero points."""
    a, b = (model.tensors[name] for name in layer.inputs)
    return (
        holding(a.lo - a.zero_point, a.hi - a.zero_point),
        holding(b.lo - b.zero_point, b.hi - b.zero_point),
    )


def _zero_points(model: Model, layer: Multiply | MatMul) -> tuple[str, ...]:
    zeros = any(model.tensors[name].zero_point for name in layer.inputs)
    return ("zero points",) if zeros else ()


def _multiply(model: Model, layer: Multiply, on: Setting) -> Plan:
    task = tasks.multiply(_count(model, layer.output, on), *_factors(model, layer), on)
    return _from_sums(model, layer, on, (task,), host=_zero_points(model, layer))


def _matmul(model: Model, layer: MatMul, on: Setting) -> Plan:
    """A product of two matrices for each image and each of the leading axes."""
    *lead, rows, length = model.tensors[layer.inputs[0]].shape
    outputs = rows * model.tensors[layer.output].shape[-1]
    a, b = _factors(model, layer)
    task = tasks.products(outputs, length, b, a, on)  # rows of a are the weights of im2col
    body = (task,) * (int(np.prod(lead)) * on.images)
    done = _from_sums(model, layer, on, body, host=_zero_points(model, layer))
    return done if on.mapping == "im2col" else replace(done, choice=TWO_ACTIVATIONS)


def _maximum(model: Model, layer: Maximum, on: Setting) -> Plan:
    words = common(*(Words.of(model.tensors[name]) for name in layer.inputs))
    function = "min" if layer.least else "max"
    return Plan((tasks.extremes(function, _count(model, layer.output, on), words, on),))


def _sum(model: Model, layer: Sum, on: Setting) -> Plan | None:
    """Sums as those of windows; the host's where one is longer than a CAP holds."""
    shape = model.tensors[layer.inputs[0]].shape
    window = int(np.prod([shape[axis] for axis in layer.axes]))
    if (window + 1) // 2 > on.rows:
        return None
    count = _count(model, layer.output, on)
    body = (tasks.window_sums(count, window, _words(model, layer), on),) * (window > 1)
    return _from_sums(model, layer, on, body, host=("windows",))


def _table(model: Model, layer: Table, on: Setting) -> Plan | None:
    """A list of passes for each table; wider words, and more tables, stay on the host."""
    x, y = (Words.of(model.tensors[name]) for name in (layer.inputs[0], layer.output))
    if x.bits > WIDEST_INPUT:
        return None
    places = np.broadcast_to(layer.which, model.tensors[layer.output].shape)
    numbers, counts = np.unique(places, return_counts=True)
    if len(numbers) > MOST_TABLES:
        return None
    listed = [
        (int(count) * on.images, layer.values[number].tolist())
        for number, count in zip(numbers, counts, strict=True)
    ]
    return Plan((tasks.looked_up(layer.function, listed, x, y, on),))


def _softmax(model: Model, layer: Softmax, on: Setting) -> Plan | None:
    """The AP's own rules; real numbers, and TFLite's fixed point, are islands of the host."""
    if layer.rule == "ita":
        return _by_groups(model, layer, "ita_softmax", on, shift=layer.halving)
    if layer.table is None:
        return None
    values: dict[str, Any] = {"values": tuple(layer.table.tolist())}
    if layer.mask is not None:
        values["masked"] = True
    return _by_groups(model, layer, "softmax", on, **values)


def _normalize(model: Model, layer: Normalize, on: Setting) -> Plan | None:
    """Likewise."""
    return _by_groups(model, layer, f"{layer.kind}_norm", on) if layer.rule == "ap" else None


def _by_groups(model: Model, layer: Layer, function: str, on: Setting, **more: Any) -> Plan:
    """Words of the last axis, a group each."""
    tensor = model.tensors[layer.inputs[0]]
    groups = _count(model, layer.inputs[0], on) // tensor.shape[-1]
    return Plan((tasks.normalized(function, groups, tensor.shape[-1], tensor.bits, on, **more),))


PLANS: dict[type[Layer], Callable[[Model, Any, Setting], Plan | None]] = {
    Conv2d: _conv2d,
    Linear: _linear,
    MaxPool: _max_pool,
    AvgPool: _average_pool,
    Add: _add,
    Relu: _relu,
    Requantize: _from_sums,
    Multiply: _multiply,
    MatMul: _matmul,
    Maximum: _maximum,
    Sum: _sum,
    Table: _table,
    Softmax: _softmax,
    Normalize: _normalize,
}
