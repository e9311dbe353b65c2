"""One layer on a chip: what runs on the AP, and what the host does around it.

The rule: multiplications, additions, maxima and ReLU are parts on the AP; reshaping,
constants (bias, zero points) and the requantization rule are the host's, or where the chip
says so, and the rule can be carried out there, the AP's as well (`settle`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from apsim.nn import exact, rules
from apsim.nn.model import (
    Add,
    AvgPool,
    Conv2d,
    Integers,
    Layer,
    Linear,
    MaxPool,
    Model,
    Relu,
    Requantize,
    Tensor,
    Weighted,
)  # fmt: skip
from apsim.nn.model.windows import plane, window_counts
from apsim.nn.model.words import Words, common, holding
from apsim.nn.on_ap import patches, settle, work
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import Part

__all__ = ["Executed", "execute", "macs"]

Progress = Callable[[int], None]
Patched = TypeVar("Patched", Conv2d, MaxPool, AvgPool)
Tensors = Mapping[str, Integers]
_NO_HOST: tuple[str, ...] = ()
_NO_PARTS: tuple[Part, ...] = ()


@dataclass(frozen=True)
class Executed:
    """A layer's output, the parts that ran on the AP, and what the host did."""

    output: Integers
    parts: tuple[Part, ...]
    host: tuple[str, ...]


def execute(
    model: Model, layer: Layer, tensors: Tensors, chip: Chip, progress: Progress = lambda _: None
) -> Executed:
    """Run one layer on the tensors it names; raises `ProgramError` where a CAP is too small."""
    run = None if layer.host else _RUN.get(type(layer))
    if run is None:
        output = exact.layer_output(model, layer, tensors)
        return Executed(output, (), (layer.host or "reshape",))
    inputs = [np.asarray(tensors[name], np.int64) for name in layer.inputs]
    chip.clock.take()  # whatever a layer before, that failed, has left
    return run(model, layer, inputs, chip, progress)


def macs(model: Model, layer: Layer, batch: int) -> int:
    """Multiplications of a layer, for `batch` inputs."""
    if isinstance(layer, Weighted):
        outputs = int(np.prod(model.tensors[layer.output].shape)) * batch
        return outputs * int(np.prod(layer.weights.shape[1:]))
    return 0


def _conv2d(
    model: Model, layer: Conv2d, inputs: list[Integers], chip: Chip, progress: Progress
) -> Executed:
    act = model.tensors[layer.inputs[0]]
    chip.clock.turn("load")
    columns = patches.columns(*_narrow(act, inputs[0], layer, act.zero_point))
    weights = layer.weights.reshape(layer.groups, -1, columns.shape[2])
    ran = [
        _products(chip, x, w, Words.of(act), layer, progress)
        for x, w in zip(columns, weights, strict=True)
    ]
    height, width = plane(layer, *inputs[0].shape[2:])
    acc = np.concatenate([values for values, _ in ran]) if len(ran) > 1 else ran[0][0]
    acc = acc.reshape(-1, len(inputs[0]), height, width).swapaxes(0, 1)
    return _settled(model, layer, acc, 1, chip, [p for _, p in ran], "im2col")


def _narrow(tensor: Tensor, x: Integers, layer: Patched, pad: int) -> tuple[Integers, Patched, int]:
    """What `patches` takes, in the narrowest type; `InputError` for what is wider than its tensor.

    Padding is held to that as well, where there is any.
    """
    words = Words.of(tensor)
    return words.narrow(x), layer, int(words.narrow(pad)) if any(layer.padding) else 0


def _linear(
    model: Model, layer: Linear, inputs: list[Integers], chip: Chip, progress: Progress
) -> Executed:
    act, x = model.tensors[layer.inputs[0]], inputs[0]
    flat = x.reshape(-1, x.shape[-1])
    values, part = _products(chip, flat, layer.weights, Words.of(act), layer, progress)
    acc = values.T.reshape(*x.shape[:-1], -1)
    return _settled(model, layer, acc, -1, chip, [part])


def _products(
    chip: Chip, x: Integers, weights: Integers, act: Words, layer: Weighted, progress: Progress
) -> tuple[Integers, Part]:
    weight = Words(layer.weight_bits, layer.weight_signed)
    return work.products(chip, x, weights, act, weight, progress)


def _settled(
    model: Model,
    layer: Weighted | Add | Requantize,
    sums: Integers,
    axis: int,
    chip: Chip,
    ran: Sequence[Part],
    *host: str,
) -> Executed:
    """Bias added, the rule applied on the host, and between its two steps ReLU on the AP.

    All of it on the AP where the chip is to do that and the rule can be carried out there.
    """
    requant, done = layer.requant, (*host, "bias")
    settled = settle.settle(model, layer, sums, axis, chip)
    if settled:
        return Executed(settled[0], (*ran, *settled[1]), host)
    acc = sums + _along(layer.bias, sums.ndim, axis)
    q = acc if requant is None else rules.scale(acc, requant, axis=axis)
    if layer.relu:
        bits = requant.width if requant else holding(int(q.min()), int(q.max())).bits
        q, part = work.relu(chip, q, bits)
        ran = [*ran, part]
    if requant is None:
        return Executed(q, tuple(ran), done)
    return Executed(rules.finish(q, requant), tuple(ran), (*done, f"requantize ({requant.rule})"))


def _along(bias: Integers | int, axes: int, axis: int) -> Integers:
    """A bias, one or one for each channel, laid along an axis."""
    shape = [1] * axes
    shape[axis] = -1
    return np.asarray(bias, np.int64).reshape(shape)


def _max_pool(
    model: Model, layer: MaxPool, inputs: list[Integers], chip: Chip, progress: Progress
) -> Executed:
    act = model.tensors[layer.inputs[0]]
    chip.clock.turn("load")
    windows = patches.windows(*_narrow(act, inputs[0], layer, act.lo))
    values, ran = _over_windows(work.max_pool, chip, windows, Words.of(act))
    return Executed(_planes(values, layer, inputs[0]), ran, ("windows",))


def _average_pool(
    model: Model, layer: AvgPool, inputs: list[Integers], chip: Chip, progress: Progress
) -> Executed:
    act = model.tensors[layer.inputs[0]]
    chip.clock.turn("load")
    windows = patches.windows(*_narrow(act, inputs[0], layer, act.zero_point))
    sums, ran = _over_windows(work.average_pool, chip, windows, Words.of(act))
    total, counts = _planes(sums, layer, inputs[0]), window_counts(layer, *inputs[0].shape[2:])
    mean = settle.mean(model, layer, total, counts, chip)
    if mean:
        return Executed(mean[0], (*ran, mean[1]), ("windows",))
    output = rules.finish(rules.divide(total + layer.bias, layer.requant, counts), layer.requant)
    return Executed(output, ran, ("windows", f"divide ({layer.requant.rule})"))


def _over_windows(
    run: Callable[[Chip, Integers, Words], tuple[Integers, Part]],
    chip: Chip,
    windows: Integers,
    act: Words,
) -> tuple[Integers, tuple[Part, ...]]:
    """Windows brought to a word each; a window of one word is that word, and nothing runs."""
    if windows.shape[1] == 1:
        return windows[:, 0].astype(np.int64), ()
    values, part = run(chip, windows, act)
    return values, (part,)


def _planes(values: Integers, layer: MaxPool | AvgPool, x: Integers) -> Integers:
    return values.reshape(*x.shape[:2], *plane(layer, *x.shape[2:]))


def _add(
    model: Model, layer: Add, inputs: list[Integers], chip: Chip, progress: Progress
) -> Executed:
    """A plain addition, or where scales differ a dot product of two words and two constants."""
    kinds = [Words.of(model.tensors[name]) for name in layer.inputs]
    host, rounded = _NO_HOST, _NO_PARTS
    if layer.branches:
        found = settle.branches(model, layer, inputs, chip)
        if found:
            inputs, rounded = found
        else:
            inputs, host = exact.branches(layer, inputs), ("rounding of the branches",)
        kinds = [Words(branch.width, True) for branch in layer.branches]
    words = common(*kinds)
    if layer.multipliers == (1, 1):
        acc, part = work.add(chip, inputs[0], inputs[1], words)
    else:
        chip.clock.turn("load")
        pairs = np.stack([values.ravel() for values in inputs], axis=1)
        constants = np.array([layer.multipliers], np.int64)
        weight = holding(min(layer.multipliers), max(layer.multipliers))
        acc, part = work.products(chip, pairs, constants, words, weight, progress)
        acc = acc.reshape(inputs[0].shape)
    return _settled(model, layer, acc, 1, chip, [*rounded, part], *host)


def _relu(
    model: Model, layer: Relu, inputs: list[Integers], chip: Chip, progress: Progress
) -> Executed:
    tensor = model.tensors[layer.inputs[0]]
    zero = tensor.zero_point
    if zero and chip.requant == "ap":
        output, part = settle.relu(model, layer, inputs[0], chip)
        return Executed(output, (part,), ())
    bits = holding(tensor.lo - zero, tensor.hi - zero).bits + (tensor.lo - zero >= 0)
    values, part = work.relu(chip, inputs[0] - zero, bits)
    return Executed(values + zero, (part,), ("zero point",) if zero else ())


def _requantize(
    model: Model, layer: Requantize, inputs: list[Integers], chip: Chip, progress: Progress
) -> Executed:
    return _settled(model, layer, inputs[0], 1, chip, [])


_RUN: dict[type[Layer], Callable[..., Executed]] = {
    Conv2d: _conv2d,
    Linear: _linear,
    MaxPool: _max_pool,
    AvgPool: _average_pool,
    Add: _add,
    Relu: _relu,
    Requantize: _requantize,
}
