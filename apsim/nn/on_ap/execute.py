"""One layer on a chip: what runs on the AP, and what the host does around it.

The rule: multiplications, additions, maxima and ReLU are parts on the AP; reshaping,
constants (bias, zero points) and the requantization rule are the host's, or where the plan
says so the AP's as well.  What runs is the plan's (`apsim.nn.on_ap.plan`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from apsim.nn import exact, rules
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
    Requant,
    Requantize,
    Softmax,
    Sum,
    Table,
    Tensor,
    Weighted,
)  # fmt: skip
from apsim.nn.model.windows import plane, window_counts
from apsim.nn.model.words import Words, holding
from apsim.nn.on_ap import patches, tasks, work
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.layer_run import Choice, Part
from apsim.nn.on_ap.plan import Plan, plan_of
from apsim.nn.on_ap.tasks import Requantization, Setting, Task

__all__ = ["RUN", "Executed", "execute", "macs"]

Progress = Callable[[int], None]
L = TypeVar("L", bound=Layer)
P = TypeVar("P", Conv2d, MaxPool, AvgPool)
Tensors = Mapping[str, Integers]


@dataclass(frozen=True)
class Executed:
    """A layer's output, the parts that ran on the AP, what the host did, and the mapping."""

    output: Integers
    parts: tuple[Part, ...]
    host: tuple[str, ...]
    choice: Choice | None = None


def execute(
    model: Model, layer: Layer, tensors: Tensors, chip: Chip, progress: Progress = lambda _: None
) -> Executed:
    """Run one layer on the tensors it names; raises `ProgramError` where a CAP is too small."""
    images = len(tensors[layer.inputs[0]])
    design = chip.design
    on = Setting(chip.kind, design.rows, images, chip.requant, chip.mapping, design.columns,
                 chip.cost, design.shared, chip.broadcast, chip.array)  # fmt: skip
    plan = plan_of(model, layer, on)
    if plan is None:
        output = exact.layer_output(model, layer, tensors)
        return Executed(output, (), (layer.on_host,))
    inputs = [np.asarray(tensors[name], np.int64) for name in layer.inputs]
    chip.clock.take()  # whatever a layer before, that failed, has left
    return RUN[type(layer)](Job(model, layer, plan, on, chip, progress), *inputs)


def macs(model: Model, layer: Layer, batch: int) -> int:
    """Multiplications of a layer, for `batch` inputs."""
    if isinstance(layer, Weighted):
        outputs = int(np.prod(model.tensors[layer.output].shape)) * batch
        return outputs * int(np.prod(layer.weights.shape[1:]))
    if isinstance(layer, Multiply | MatMul):
        length = model.tensors[layer.inputs[0]].shape[-1] if isinstance(layer, MatMul) else 1
        return int(np.prod(model.tensors[layer.output].shape)) * batch * length
    return 0


@dataclass(frozen=True)
class Job(Generic[L]):
    """A layer to be run by its plan, and where."""

    model: Model
    layer: L
    plan: Plan
    on: Setting
    chip: Chip
    progress: Progress

    @property
    def act(self) -> Tensor:
        """The layer's first input."""
        return self.model.tensors[self.layer.inputs[0]]

    def done(self, output: Integers, *parts: Part) -> Executed:
        """What the layer gives, with what the plan leaves to the host."""
        return Executed(output, parts, self.plan.host, self.plan.choice)


def _conv2d(job: Job[Conv2d], x: Integers) -> Executed:
    layer = job.layer
    job.chip.clock.turn("load")
    columns = patches.columns(*patches.narrow(job.act, x, layer, job.act.zero_point))
    weights = layer.weights.reshape(layer.groups, -1, columns.shape[2])
    values, parts = _products(job, columns, weights)
    height, width = plane(layer, *x.shape[2:])
    acc = np.concatenate(values) if len(values) > 1 else values[0]
    acc = acc.reshape(-1, len(x), height, width).swapaxes(0, 1)
    return _from_sums(job, acc, 1, parts)


def _linear(job: Job[Linear], x: Integers) -> Executed:
    flat = x.reshape(-1, x.shape[-1])
    values, parts = _products(job, [flat], [job.layer.weights])
    return _from_sums(job, values[0].T.reshape(*x.shape[:-1], -1), -1, parts)


def _products(
    job: Job[Any], x: Iterable[Integers], weights: Iterable[Integers]
) -> tuple[list[Integers], list[Part]]:
    """Sums [i, u] and parts of each group, as the mapping lays them out."""
    choice = job.plan.choice
    run = work.MAPPINGS[choice.mapping if choice else "im2col"]
    ran = [
        run(job.chip, task, some, others, job.progress)
        for task, some, others in zip(job.plan.body, x, weights, strict=True)
    ]
    return [values for values, _ in ran], [part for _, part in ran]


def _from_sums(
    job: Job[Any], sums: Integers, axis: int, parts: Sequence[Part]
) -> Executed:  # fmt: skip
    """A layer's integers from its sums.

    Bias added, the rule applied on the host, and between its two steps ReLU on the AP; or all
    of it on the AP.
    """
    layer, plan = job.layer, job.plan
    if plan.requant == "ap":
        shape = sums.shape
        if np.ndim(getattr(layer, "bias", 0)) > 1:  # each place is a channel
            sums, axis = sums.reshape(len(sums), -1), 1
        for task in plan.after:
            assert isinstance(task, Requantization)
            sums, part = work.requantize(job.chip, task, sums, axis)
            parts = [*parts, part]
        return job.done(sums.reshape(shape), *parts)
    requant: Requant | None = layer.requant
    bias = 0 if tasks.hold_bias(plan.body) else getattr(layer, "bias", 0)
    acc = sums + _along(bias, sums.ndim, axis)
    q = acc if requant is None else rules.scale(acc, requant, axis=axis)
    if layer.relu:
        q, part = work.rowwise(job.chip, _host_relu(job, q), q)
        parts = [*parts, part]
    return job.done(q if requant is None else rules.finish(q, requant), *parts)


def _host_relu(job: Job[Any], q: Integers) -> Task:
    """The ReLU that is planned, or one as wide as the sums turn out to be."""
    if job.plan.after:
        return job.plan.after[0]
    return tasks.relu(q.size, holding(int(q.min()), int(q.max())).bits, job.on)


def _along(bias: Integers | int, axes: int, axis: int) -> Integers:
    """A bias, one, one for each channel, or one for each place, laid along an axis."""
    if np.ndim(bias) > 1:
        return np.asarray(bias, np.int64)
    shape = [1] * axes
    if axis < len(shape):  # else the batch alone
        shape[axis] = -1
    return np.asarray(bias, np.int64).reshape(shape)


def _max_pool(job: Job[MaxPool], x: Integers) -> Executed:
    job.chip.clock.turn("load")
    windows = patches.windows(*patches.narrow(job.act, x, job.layer, job.act.lo))
    maxima, parts = _over_windows(job, windows)
    return job.done(_planes(job, maxima, x), *parts)


def _average_pool(job: Job[AvgPool], x: Integers) -> Executed:
    layer = job.layer
    job.chip.clock.turn("load")
    windows = patches.windows(*patches.narrow(job.act, x, layer, job.act.zero_point))
    sums, parts = _over_windows(job, windows)
    total = _planes(job, sums, x)
    if job.plan.requant == "ap":
        return _from_sums(job, total, 1, parts)
    counts = window_counts(layer, *x.shape[2:])
    mean = rules.divide(total + layer.bias, layer.requant, counts)
    return job.done(rules.finish(mean, layer.requant), *parts)


def _over_windows(job: Job[Any], windows: Integers) -> tuple[Integers, tuple[Part, ...]]:
    """Windows brought to a word each; a window of one word is that word, and nothing runs."""
    if not job.plan.body:
        return windows[:, 0].astype(np.int64), ()
    values, part = work.grouped(job.chip, job.plan.body[0], windows)
    return values, (part,)


def _planes(job: Job[P], values: Integers, x: Integers) -> Integers:
    return values.reshape(*x.shape[:2], *plane(job.layer, *x.shape[2:]))


def _add(job: Job[Add], *inputs: Integers) -> Executed:
    """A plain addition, or where scales differ a dot product of two words and two constants."""
    layer, parts = job.layer, []
    if job.plan.before:
        ran = [
            work.requantize(job.chip, task, values, 1)
            for task, values in zip(job.plan.before, inputs, strict=True)
        ]
        inputs, parts = tuple(values for values, _ in ran), [part for _, part in ran]
    elif layer.branches:
        inputs = tuple(exact.branches(layer, list(inputs)))
    (task,) = job.plan.body
    if layer.multipliers == (1, 1):
        acc, part = work.rowwise(job.chip, task, *inputs)
    else:
        job.chip.clock.turn("load")
        pairs = np.stack([values.ravel() for values in inputs], axis=1)
        constants = np.array([layer.multipliers], np.int64)
        acc, part = work.products(job.chip, task, pairs, constants, job.progress)
        acc = acc.reshape(inputs[0].shape)
    return _from_sums(job, acc, 1, [*parts, part])


def _relu(job: Job[Relu], x: Integers) -> Executed:
    if job.plan.requant == "ap":
        return _from_sums(job, x, 1, [])
    zero = job.act.zero_point
    values, part = work.rowwise(job.chip, job.plan.body[0], x - zero)
    return job.done(values + zero, part)


def _requantize(job: Job[Requantize], x: Integers) -> Executed:
    return _from_sums(job, x, 1, [])


def _less_zero(job: Job[Any], inputs: Iterable[Integers]) -> list[Integers]:
    """Inputs less their zero points."""
    zeros = [job.model.tensors[name].zero_point for name in job.layer.inputs]
    return [x - zero for x, zero in zip(inputs, zeros, strict=True)]


def _multiply(job: Job[Multiply], *inputs: Integers) -> Executed:
    products, part = work.rowwise(job.chip, job.plan.body[0], *_less_zero(job, inputs))
    return _from_sums(job, products, 1, [part])


def _matmul(job: Job[MatMul], *inputs: Integers) -> Executed:
    """One product of matrices after the other: [T, K] and [U, K] give [T, U].

    Both factors are data, so that the mapping is im2col's whatever was asked for.
    """
    a, b = _less_zero(job, inputs)
    b = b if job.layer.transposed else b.swapaxes(-1, -2)
    x, weights = (m.reshape(-1, *m.shape[-2:]) for m in (b, a))
    ran = [
        work.products(job.chip, task, some, others, job.progress)
        for task, some, others in zip(job.plan.body, x, weights, strict=True)
    ]
    sums = np.stack([values for values, _ in ran]).reshape(*a.shape[:-1], -1)
    return _from_sums(job, sums, 1, [part for _, part in ran])


def _maximum(job: Job[Maximum], *inputs: Integers) -> Executed:
    greatest, part = work.rowwise(job.chip, job.plan.body[0], *inputs)
    return job.done(greatest, part)


def _sum(job: Job[Sum], x: Integers) -> Executed:
    axes = tuple(axis + 1 for axis in job.layer.axes)
    kept = np.moveaxis(x, axes, range(x.ndim - len(axes), x.ndim))
    windows = kept.reshape(-1, int(np.prod([x.shape[axis] for axis in axes])))
    words = Words.of(job.act)
    sums, parts = _over_windows(job, words.narrow(windows))
    shaped = sums.reshape(len(x), *job.model.tensors[job.layer.output].shape)
    return _from_sums(job, shaped, 1 if shaped.ndim > 1 else 0, parts)


def _table(job: Job[Table], x: Integers) -> Executed:
    which = np.broadcast_to(job.layer.which, x.shape[1:]).ravel()
    task = job.plan.body[0]
    values, part = work.looked_up(job.chip, task, x.reshape(len(x), -1), which)
    return job.done(values.reshape(x.shape), part)


def _by_groups(job: Job[Softmax | Normalize], x: Integers) -> Executed:
    """Words of the last axis, a group each."""
    # of words in offset binary an unsigned one is the pattern, and no mean or maximum minds
    operands = [x if job.act.signed else x - (1 << (job.act.bits - 1))]
    if isinstance(job.layer, Softmax) and job.layer.mask is not None:
        operands.append(np.broadcast_to(job.layer.mask, x.shape))
    lines = (some.reshape(-1, x.shape[-1]) for some in operands)
    values, part = work.grouped(job.chip, job.plan.body[0], *lines)
    return job.done(values.reshape(x.shape), part)


RUN: dict[type[Layer], Callable[..., Executed]] = {
    Conv2d: _conv2d,
    Linear: _linear,
    MaxPool: _max_pool,
    AvgPool: _average_pool,
    Add: _add,
    Relu: _relu,
    Requantize: _requantize,
    Multiply: _multiply,
    MatMul: _matmul,
    Maximum: _maximum,
    Sum: _sum,
    Table: _table,
    Softmax: _by_groups,
    Normalize: _by_groups,
}
