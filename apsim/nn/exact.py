"""The definition of every layer, in plain integers.

The rule: no im2col, no CAM, no shortcut; a convolution here is a sum of shifted slices,
so that agreement with the runtime means something.  Arrays are int64, batch first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.errors import InputError
from apsim.layout import array_of
from apsim.nn import rules
from apsim.nn.model import (
    Add,
    ArgMax,
    AvgPool,
    Concat,
    Conv2d,
    Flatten,
    Integers,
    Interpolate,
    Layer,
    Linear,
    MatMul,
    Maximum,
    MaxPool,
    Model,
    Multiply,
    Normalize,
    Rearrange,
    Relu,
    Requant,
    Requantize,
    Reshape,
    Softmax,
    Steps,
    Sum,
    Table,
    Transpose,
    Weighted,
)  # fmt: skip
from apsim.nn.model.inputs import checked_inputs
from apsim.nn.model.windows import out_size, window_counts
from apsim.nn.rules import float32, litert, normalize

__all__ = [
    "accumulate", "activations", "add", "average_pool", "branches", "checked_inputs", "conv2d",
    "layer_output", "linear", "max_pool", "relu", "run",
]  # fmt: skip

Padding = int | tuple[int, int] | tuple[int, int, int, int]
Tensors = Mapping[str, Integers]


def conv2d(
    x: npt.ArrayLike,
    weights: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: int | tuple[int, int] = 1,
    padding: Padding = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    pad_value: int = 0,
) -> Integers:
    """Convolve x [N, I, H, W] with weights [O, I / groups, kh, kw]; gives [N, O, H', W'].

    Accumulators are not requantized.  `padding` is one number, (height, width), or
    (top, left, bottom, right).

    >>> conv2d([[[[1, 2], [3, 4]]]], [[[[1, 1], [1, 1]]]]).item()
    10
    """
    x, weights = _whole("x", x), _whole("weights", weights)
    fit = (x.ndim, weights.ndim) == (4, 4) and x.shape[1] == weights.shape[1] * groups
    if not fit or len(weights) % groups:
        raise InputError(
            f"conv2d: wanted x [N, I, H, W] and weights [O, I / {groups}, kh, kw], "
            f"O in {groups} groups, got {x.shape} and {weights.shape}"
        )
    taps = _taps(x, weights.shape[2:], stride, padding, dilation, pad_value)
    total = sum(_multiply(weights[:, :, i, j], plane, groups) for (i, j), plane in taps.items())
    return np.asarray(total) + _column(bias, len(weights))


def _whole(name: str, values: npt.ArrayLike) -> Integers:
    """The values as int64; raises `InputError` for what is no whole number below 2**63."""
    array = array_of(name, values)
    if array.dtype.kind not in "iub" and not (array.dtype.kind == "f" and _are_whole(array)):
        raise InputError(f"{name}: wanted integers, got {array.dtype}")
    if array.dtype.kind == "u" and array.max(initial=0) > np.iinfo(np.int64).max:
        raise InputError(f"{name}: wanted integers below 2**63, got {array.max()}")
    return array.astype(np.int64, copy=False)


def _are_whole(real: npt.NDArray[Any]) -> bool:
    """Whether real numbers are integers of 64 bits."""
    return bool((np.abs(real) < 2.0**63).all() and not (real % 1).any())


def _multiply(weights: Integers, plane: Integers, groups: int) -> Integers:
    """One tap of every kernel times its slice: [O, I / g] and [N, I, H, W] give [N, O, H, W]."""
    batch, channels, height, width = plane.shape
    rows = plane.reshape(batch, groups, channels // groups, height * width)
    each = weights.reshape(groups, -1, channels // groups)
    return _dot(each, rows).reshape(batch, len(weights), height, width)


def _dot(a: Integers, b: Integers) -> Integers:
    """a @ b; in float64 where every partial sum is an integer below 2**53, hence exact."""
    most = float(np.abs(a).max(initial=0)) * float(np.abs(b).max(initial=0)) * a.shape[-1]
    if most < 1 << 53:
        return np.asarray(a.astype(np.float64) @ b.astype(np.float64)).astype(np.int64)
    return np.asarray(a @ b)


def _column(bias: npt.ArrayLike | None, channels: int) -> Integers:
    values = np.zeros(channels, np.int64) if bias is None else _whole("bias", bias)
    if values.size not in (1, channels):
        raise InputError(f"bias: wanted 1 or {channels} numbers, got {values.shape}")
    return values.reshape(-1, 1, 1)


def _taps(
    x: Integers,
    kernel: tuple[int, ...],
    stride: int | tuple[int, int],
    padding: Padding,
    dilation: int | tuple[int, int],
    pad_value: int,
) -> dict[tuple[int, int], Integers]:
    """The slice of padded x that each position (i, j) of the kernel meets, [N, C, H', W']."""
    (down, along), (tall, wide) = _pair(stride), _pair(dilation)
    top, left, bottom, right = _four(padding)
    size = [
        out_size(x.shape[2], kernel[0], down, tall, top + bottom),
        out_size(x.shape[3], kernel[1], along, wide, left + right),
    ]
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=pad_value)
    return {
        (i, j): padded[
            :, :, i * tall : i * tall + size[0] * down : down,
            j * wide : j * wide + size[1] * along : along,
        ]
        for i in range(kernel[0])
        for j in range(kernel[1])
    }  # fmt: skip


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _four(padding: Padding) -> tuple[int, int, int, int]:
    if isinstance(padding, int):
        return (padding,) * 4
    return (*padding, *padding) if len(padding) == 2 else padding


def linear(x: npt.ArrayLike, weights: npt.ArrayLike, bias: npt.ArrayLike = 0) -> Integers:
    """Multiply the last axis of x [..., I] with weights [O, I]; gives [..., O].

    `bias` is one number, one for each output, or one for each place of the output.

    >>> linear([[1, 2]], [[3, 4], [5, 6]], bias=[0, 100]).tolist()
    [[11, 117]]
    """
    x, weights = _whole("x", x), np.asarray(weights)
    if weights.dtype.kind not in "iub" or weights.ndim != 2 or x.shape[-1:] != weights.shape[1:]:
        raise InputError(
            f"linear: wanted x [..., I] and weights of integers [O, I], "
            f"got {x.shape} and {weights.dtype} {weights.shape}"
        )
    blocks = np.array_split(weights, max(1, weights.size >> 24))  # wide copies of a part at a time
    products = [_dot(x, block.astype(np.int64).T) for block in blocks]
    return np.concatenate(products, axis=-1) + _whole("bias", bias)


def max_pool(
    x: npt.ArrayLike,
    kernel: int | tuple[int, int],
    *,
    stride: int | tuple[int, int] | None = None,
    padding: Padding = 0,
    dilation: int | tuple[int, int] = 1,
) -> Integers:
    """Give the greatest value of each window of x [N, C, H, W]; padding never wins.

    >>> max_pool([[[[1, 2], [3, 4]]]], 2).item()
    4
    """
    x = _whole("x", x)
    size, lowest = _pair(kernel), np.iinfo(np.int64).min
    taps = _taps(x, size, size if stride is None else stride, padding, dilation, lowest)
    return np.asarray(np.maximum.reduce(list(taps.values())))


def average_pool(
    x: npt.ArrayLike,
    kernel: int | tuple[int, int],
    *,
    stride: int | tuple[int, int] | None = None,
    padding: Padding = 0,
    pad_value: int = 0,
) -> Integers:
    """Give the sum (not yet divided) of each window of x [N, C, H, W].

    >>> average_pool([[[[1, 2], [3, 4]]]], 2).item()
    10
    """
    x = _whole("x", x)
    size = _pair(kernel)
    taps = _taps(x, size, size if stride is None else stride, padding, 1, pad_value)
    return np.asarray(sum(taps.values()))


def add(a: npt.ArrayLike, b: npt.ArrayLike, multipliers: tuple[int, int] = (1, 1)) -> Integers:
    """Give ma * a + mb * b."""
    ma, mb = _whole("multipliers", multipliers)
    return np.asarray(_whole("a", a) * ma + _whole("b", b) * mb)


def relu(x: npt.ArrayLike, zero_point: int = 0) -> Integers:
    """Give max(x, zero point)."""
    return np.maximum(_whole("x", x), zero_point)


def accumulate(model: Model, layer: Layer, tensors: Tensors) -> Integers:
    """Give what a layer computes before it is requantized: the AP's part of it."""
    inputs: list[Integers] = [np.asarray(tensors[name], np.int64) for name in layer.inputs]
    return _ACCUMULATE[type(layer)](model, layer, inputs)


def activations(model: Model, layer: Layer, acc: Integers) -> Integers:
    """Turn the accumulators of a layer into its output: scale, ReLU, finish."""
    requant: Requant | None = getattr(layer, "requant", None)
    if requant is None:
        return np.maximum(acc, 0) if getattr(layer, "relu", False) else acc
    if isinstance(layer, AvgPool):
        height, width = model.tensors[layer.inputs[0]].shape[1:]
        return rules.finish(
            rules.divide(acc, requant, window_counts(layer, height, width)), requant
        )
    if isinstance(layer, Interpolate):
        parts = np.array([layer.grid[0] * layer.grid[1]])
        return rules.finish(rules.divide(acc, requant, parts), requant)
    q = rules.scale(acc, requant, axis=-1 if isinstance(layer, Linear) else 1)
    return rules.finish(np.maximum(q, 0) if getattr(layer, "relu", False) else q, requant)


def branches(layer: Add, inputs: Sequence[Integers]) -> list[Integers]:
    """Round each branch of an addition, where its specification does that first."""
    return [
        rules.scale((values - zero) << layer.branch_shift, branch)
        for values, zero, branch in zip(
            inputs, layer.branch_zero_points, layer.branches or (), strict=True
        )
    ]


def layer_output(model: Model, layer: Layer, tensors: Tensors) -> Integers:
    """Run one layer on the tensors it names; with an oracle's tensors, teacher-forced."""
    if layer.host:
        return float32.output(model, layer, [np.asarray(tensors[n]) for n in layer.inputs])
    return activations(model, layer, accumulate(model, layer, tensors))


def run(model: Model, x: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, Integers]:
    """Run a model on integers [N, ...] and give every tensor by name.

    `x` is one array, or one for each input by name (states by theirs, where they are not
    to start anew).  Raises `InputError` where a shape or a value does not fit the input
    tensor.
    """
    tensors = checked_inputs(model, x)
    for layer in model.layers:
        tensors[layer.output] = layer_output(model, layer, tensors)
    return tensors


def _conv2d(model: Model, layer: Conv2d, inputs: list[Integers]) -> Integers:
    return conv2d(
        inputs[0],
        layer.weights,
        layer.bias,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
        pad_value=model.tensors[layer.inputs[0]].zero_point,
    )


def _linear(model: Model, layer: Weighted, inputs: list[Integers]) -> Integers:
    return linear(inputs[0], layer.weights, layer.bias)


def _max_pool(model: Model, layer: MaxPool, inputs: list[Integers]) -> Integers:
    return max_pool(
        inputs[0],
        layer.kernel,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
    )


def _average_pool(model: Model, layer: AvgPool, inputs: list[Integers]) -> Integers:
    zero = model.tensors[layer.inputs[0]].zero_point
    total = average_pool(
        inputs[0], layer.kernel, stride=layer.stride, padding=layer.padding, pad_value=zero
    )
    return total + layer.bias


def _add(model: Model, layer: Add, inputs: list[Integers]) -> Integers:
    if layer.branches is not None:
        inputs = branches(layer, inputs)
    return add(inputs[0], inputs[1], layer.multipliers) + layer.bias


def _relu(model: Model, layer: Relu, inputs: list[Integers]) -> Integers:
    return relu(inputs[0], model.tensors[layer.inputs[0]].zero_point)


def _reshape(model: Model, layer: Layer, inputs: list[Integers]) -> Integers:
    return inputs[0].reshape(len(inputs[0]), *model.tensors[layer.output].shape)


def _transpose(model: Model, layer: Transpose, inputs: list[Integers]) -> Integers:
    return inputs[0].transpose(0, *(axis + 1 for axis in layer.axes))


def _concat(model: Model, layer: Concat, inputs: list[Integers]) -> Integers:
    return np.concatenate(inputs, axis=layer.axis + 1)


def _requantize(model: Model, layer: Requantize, inputs: list[Integers]) -> Integers:
    return inputs[0] + layer.bias


def _table(model: Model, layer: Table, inputs: list[Integers]) -> Integers:
    which = np.broadcast_to(layer.which, model.tensors[layer.output].shape or (1,))
    return layer.values.astype(np.int64)[which, inputs[0] - model.tensors[layer.inputs[0]].lo]


def _steps(model: Model, layer: Steps, inputs: list[Integers]) -> Integers:
    which = np.broadcast_to(layer.which, model.tensors[layer.output].shape or (1,))
    found = np.zeros(inputs[0].shape, np.int64)
    for line, (breaks, values) in enumerate(zip(layer.breaks, layer.values, strict=True)):
        here = np.broadcast_to(which == line, found.shape)
        reached = np.searchsorted(breaks, inputs[0][here], side="right")
        found[here] = values.astype(np.int64)[reached]
    return found


def _rearrange(model: Model, layer: Rearrange, inputs: list[Integers]) -> Integers:
    words = np.concatenate([values.reshape(len(values), -1) for values in inputs], axis=1)
    fill = layer.fill + model.tensors[layer.output].zero_point
    moved = np.where(layer.index < 0, fill, words[:, np.maximum(layer.index, 0)])
    return np.asarray(moved, np.int64)


def _product(model: Model, layer: Multiply, inputs: list[Integers]) -> Integers:
    a, b = (x - model.tensors[n].zero_point for x, n in zip(inputs, layer.inputs, strict=True))
    return np.asarray(a * b)


def _maximum(model: Model, layer: Maximum, inputs: list[Integers]) -> Integers:
    return np.asarray((np.minimum if layer.least else np.maximum)(*inputs))


def _sum(model: Model, layer: Sum, inputs: list[Integers]) -> Integers:
    total = inputs[0].sum(axis=tuple(axis + 1 for axis in layer.axes), dtype=np.int64)
    return np.asarray(total.reshape(len(total), *model.tensors[layer.output].shape) + layer.bias)


def _matmul(model: Model, layer: MatMul, inputs: list[Integers]) -> Integers:
    a, b = (x - model.tensors[n].zero_point for x, n in zip(inputs, layer.inputs, strict=True))
    return _dot(a, b.swapaxes(-1, -2) if layer.transposed else b)


def _interpolate(model: Model, layer: Interpolate, inputs: list[Integers]) -> Integers:
    """Weights add up to 2**20; halves of it are added away from zero, then it is truncated.

    Where it is requantized, sums of words less their zero point with any grid's weights.
    """
    if layer.fractions:
        return float32.interpolate(layer, inputs[0])
    x, total = inputs[0], np.zeros((), np.int64)
    if layer.requant is not None:
        x = x - model.tensors[layer.inputs[0]].zero_point
    for side in (0, 1):
        rows = layer.rows[:, 2] if side else layer.grid[0] - layer.rows[:, 2]
        for edge in (0, 1):
            columns = layer.columns[:, 2] if edge else layer.grid[1] - layer.columns[:, 2]
            near = x[:, :, layer.rows[:, side]][..., layer.columns[:, edge]]
            total = total + near * (rows[:, None] * columns[None, :])
    if layer.requant is not None:
        return total
    halves = total + np.where(total >= 0, 1 << 19, -(1 << 19))
    return np.asarray(np.where(halves >= 0, halves >> 20, -(-halves >> 20)))


def _softmax(model: Model, layer: Softmax, inputs: list[Integers]) -> Integers:
    given, output = model.tensors[layer.inputs[0]], model.tensors[layer.output]
    if layer.rule == "litert":
        return litert.softmax(inputs[0], layer.factor, output, given.bits)
    if layer.halving is not None:
        return normalize.ita_softmax(inputs[0], layer.halving)
    if layer.table is not None:
        return normalize.softmax(inputs[0], layer.table, layer.mask)
    return normalize.softmax_real(inputs[0], layer.factor, output, layer.rule == "ort-fused")


def _normalize(model: Model, layer: Normalize, inputs: list[Integers]) -> Integers:
    if layer.rule == "ap":
        return normalize.norm(inputs[0], centred=layer.kind == "layer")
    given, output = model.tensors[layer.inputs[0]], model.tensors[layer.output]
    return normalize.norm_real(inputs[0], layer, given, output)


def _arg_max(model: Model, layer: ArgMax, inputs: list[Integers]) -> Integers:
    find = np.argmin if layer.least else np.argmax
    found = find(inputs[0], axis=layer.axis + 1)
    return np.asarray(found.reshape(len(found), *model.tensors[layer.output].shape), np.int64)


_ACCUMULATE: dict[type[Layer], Callable[[Model, Any, list[Integers]], Integers]] = {
    Conv2d: _conv2d,
    Linear: _linear,
    MaxPool: _max_pool,
    AvgPool: _average_pool,
    Add: _add,
    Relu: _relu,
    Flatten: _reshape,
    Reshape: _reshape,
    Transpose: _transpose,
    Concat: _concat,
    Requantize: _requantize,
    Table: _table,
    Steps: _steps,
    Rearrange: _rearrange,
    Multiply: _product,
    Maximum: _maximum,
    Sum: _sum,
    MatMul: _matmul,
    Interpolate: _interpolate,
    Softmax: _softmax,
    Normalize: _normalize,
    ArgMax: _arg_max,
}
