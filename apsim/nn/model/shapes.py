"""What shapes the layers of a model must have, and what their outputs have then.

The rule: a shape that does not follow from the inputs is a `ModelError` with its place; which
widths and rules go together is `check`'s matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from apsim.errors import ModelError
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
    Requantize,
    Reshape,
    Softmax,
    Steps,
    Sum,
    Table,
    Tensor,
    Transpose,
)
from apsim.nn.model.windows import kernel_of, plane

__all__ = [
    "LARGEST", "OF_TWO", "SHAPES", "WIDEST_ACTIVATION", "WIDEST_SCORE", "inside", "need",
]  # fmt: skip

WIDEST_ACTIVATION = 16
LARGEST = 1 << 31  # what strides and the like, and the values of one tensor, stay below
FINEST_GRID = 1 << 20  # parts of the way from a neighbour to the next
WIDEST_FACTOR = 24  # of a product of two words
WIDEST_SCORE = 12  # of the AP's softmax: its exponential is a table of passes
WIDEST_SHIFT = 32  # of ITA's
SOFTMAX_RULES = ("litert", "real", "ort-fused", "ap", "ita")
Shape = tuple[int, ...]


def need(right: bool, place: str, wanted: str, came: object) -> None:
    if not right:
        raise ModelError(f"{place}: expected {wanted}, got {came}")


def inside(values: np.ndarray[Any, Any], tensor: Tensor, place: str, what: str) -> None:
    ends = (int(values.min()), int(values.max())) if values.size else (tensor.lo, tensor.lo)
    fits = values.dtype.kind in "iu" and tensor.lo <= ends[0] and ends[1] <= tensor.hi
    need(fits, place, f"{what} in {tensor.lo}..{tensor.hi}", f"{ends[0]}..{ends[1]}")


def _conv2d(layer: Conv2d, shapes: list[Shape], place: str, model: Model) -> Shape:
    need(layer.weights.ndim == 4, place, "weights [O, I / groups, kh, kw]",
          list(layer.weights.shape))  # fmt: skip
    need(len(shapes[0]) == 3, place, "an input [C, H, W]", list(shapes[0]))
    outs, each = layer.weights.shape[:2]
    channels, groups = shapes[0][0], layer.groups
    splits = groups >= 1 and outs % groups == 0 and each * groups == channels
    need(splits, place, f"{each} x groups input channels and outputs divisible by groups",
          f"{channels} inputs, {outs} outputs, {groups} groups")  # fmt: skip
    return (outs, *_windows(layer, shapes[0], place))


def _windows(layer: Conv2d | MaxPool | AvgPool, shape: Shape, place: str) -> Shape:
    numbers = (*layer.stride, *getattr(layer, "dilation", (1, 1)), *getattr(layer, "kernel", (1,)))
    numbers = (*numbers, *kernel_of(layer))
    ranged = all(1 <= n < LARGEST for n in numbers)
    need(ranged, place, f"kernel, stride, dilation from 1 to {LARGEST - 1}", numbers)
    ranged = all(0 <= n < LARGEST for n in layer.padding)
    need(ranged, place, f"padding from 0 to {LARGEST - 1}", layer.padding)
    size = plane(layer, *shape[1:])
    need(all(size), place, "a plane that holds at least one window", f"{list(shape)}")
    if not isinstance(layer, Conv2d):
        _no_empty_window(layer, shape, size, place)
    return size


def _no_empty_window(layer: MaxPool | AvgPool, shape: Shape, size: Shape, place: str) -> None:
    """Each window of a pool holds a value, not padding alone."""
    dilation = layer.dilation if isinstance(layer, MaxPool) else (1, 1)
    for axis in (0, 1):
        kernel, step = layer.kernel[axis], dilation[axis]
        need(layer.padding[axis] <= step * (kernel - 1), place,
              f"padding less than the window of {list(layer.kernel)}", layer.padding)  # fmt: skip
        starts = np.arange(size[axis], dtype=np.int64) * layer.stride[axis] - layer.padding[axis]
        first = starts + np.maximum(0, -(starts // step)) * step  # the first tap inside
        last = starts + step * (kernel - 1)
        full = (first < shape[1 + axis]) & (first <= last)
        came = f"window {int(np.argmin(full))} of axis {axis + 1}, padding {layer.padding}"
        need(bool(full.all()), place, "windows that hold more than padding", came)


def _linear(layer: Linear, shapes: list[Shape], place: str, model: Model) -> Shape:
    need(layer.weights.ndim == 2, place, "weights [O, I]", list(layer.weights.shape))
    wanted = layer.weights.shape[1]
    last = shapes[0][-1] if shapes[0] else 0
    need(last == wanted, place, f"{wanted} input features", list(shapes[0]))
    return (*shapes[0][:-1], len(layer.weights))


def _pool(layer: MaxPool | AvgPool, shapes: list[Shape], place: str, model: Model) -> Shape:
    need(len(shapes[0]) == 3, place, "an input [C, H, W]", list(shapes[0]))
    return (shapes[0][0], *_windows(layer, shapes[0], place))


def _add(layer: Add, shapes: list[Shape], place: str, model: Model) -> Shape:
    need(shapes[0] == shapes[1], place, "two inputs of one shape", shapes)
    return shapes[0]


def _same(layer: Layer, shapes: list[Shape], place: str, model: Model) -> Shape:
    return shapes[0]


def _flat(layer: Layer, shapes: list[Shape], place: str, model: Model) -> Shape:
    return (math.prod(shapes[0]),)


def _reshape(layer: Reshape, shapes: list[Shape], place: str, model: Model) -> Shape:
    shape = model.tensors[layer.output].shape
    equal = math.prod(shape) == math.prod(shapes[0])
    need(equal, place, f"as many values as {list(shapes[0])}", list(shape))
    return shape


def _transpose(layer: Transpose, shapes: list[Shape], place: str, model: Model) -> Shape:
    axes = layer.axes
    need(sorted(axes) == list(range(len(shapes[0]))), place, "each axis once", axes)
    return tuple(shapes[0][axis] for axis in axes)


def _concat(layer: Concat, shapes: list[Shape], place: str, model: Model) -> Shape:
    axis = layer.axis
    need(0 <= axis < len(shapes[0]), place, "an axis of the inputs", axis)
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    need(len(others) == 1, place, f"inputs that differ in axis {axis} only", shapes)
    joined = _sum(shape[axis] for shape in shapes)
    return (*shapes[0][:axis], joined, *shapes[0][axis + 1 :])


def _table(layer: Table, shapes: list[Shape], place: str, model: Model) -> Shape:
    given, output = model.tensors[layer.inputs[0]], model.tensors[layer.output]
    need(given.bits <= WIDEST_ACTIVATION, place, "an input of at most 16 bits", given.bits)
    lines = layer.values.shape[:1]
    need(layer.values.shape == (*lines, 1 << given.bits), place,
          f"tables of {1 << given.bits} values", list(layer.values.shape))  # fmt: skip
    inside(layer.values, output, place, "values")
    _spread(layer.which, shapes[0], place)
    known = layer.which.min() >= 0 and layer.which.max() < lines[0]
    need(bool(known), place, f"one of {lines[0]} tables", f"{layer.which.max()}")
    return shapes[0]


def _steps(layer: Steps, shapes: list[Shape], place: str, model: Model) -> Shape:
    given, output = model.tensors[layer.inputs[0]], model.tensors[layer.output]
    lines, count = layer.breaks.shape if layer.breaks.ndim == 2 else (0, 0)
    whole = layer.values.shape == (lines, count + 1) and lines > 0
    need(whole, place, f"one value more than breaks {list(layer.breaks.shape)}",
         list(layer.values.shape))  # fmt: skip
    rising = layer.breaks[:, 1:] >= layer.breaks[:, :-1]  # differences of wide ones wrap around
    need(bool(rising.all()), place, "rising breaks", "others")
    inside(layer.values, output, place, "values")
    _spread(layer.which, shapes[0], place)
    known = layer.which.min() >= 0 and layer.which.max() < lines
    need(bool(known), place, f"one of {lines} lines", f"{layer.which.max()}")
    unit = given.scale if isinstance(given.scale, tuple) else (given.scale,)
    need(unit == layer.unit, place, f"words in the unit {layer.unit[:4]} that the steps of "
         f"{layer.function} were made for", unit[:4])  # fmt: skip
    return shapes[0]


def _spread(values: np.ndarray[Any, Any], shape: Shape, place: str) -> None:
    """One value, or an array that numpy lays along the given shape."""
    try:
        fits = values.size > 0 and np.broadcast_shapes(values.shape, shape or (1,)) == (
            shape or (1,)
        )
    except ValueError:
        fits = False
    need(fits, place, f"an array that broadcasts to {list(shape)}", list(values.shape))


def _rearrange(layer: Rearrange, shapes: list[Shape], place: str, model: Model) -> Shape:
    output, words = model.tensors[layer.output], _sum(math.prod(shape) for shape in shapes)
    index = layer.index
    known = index.dtype.kind in "iu" and index.min() >= -1 and index.max() < words
    need(bool(known), place, f"places in -1..{words - 1}", f"{index.min()}..{index.max()}")
    _spread(layer.fill, output.shape, place)
    if (index < 0).any():
        inside(layer.fill + output.zero_point, output, place, "constants")
    kinds = [model.tensors[name] for name in layer.inputs]
    fits = all(output.lo <= one.lo and one.hi <= output.hi for one in kinds)
    need(fits or bool((index < 0).all()), place, "an output as wide as its inputs", output)
    return index.shape


def _two_alike(layer: Layer, shapes: list[Shape], place: str, model: Model) -> Shape:
    for name in layer.inputs:
        narrow = model.tensors[name].bits <= WIDEST_FACTOR
        need(narrow, place, f"inputs of at most {WIDEST_FACTOR} bits", model.tensors[name].bits)
    return _add(layer, shapes, place, model)  # type: ignore[arg-type]


def _reduced(layer: Sum, shapes: list[Shape], place: str, model: Model) -> Shape:
    rank, shape = len(shapes[0]), model.tensors[layer.output].shape
    sound = bool(layer.axes) and len(set(layer.axes)) == len(layer.axes)
    sound = sound and all(0 <= axis < rank for axis in layer.axes)
    need(sound, place, "axes of the input, each once", layer.axes)
    kept = [size for axis, size in enumerate(shapes[0]) if axis not in layer.axes]
    need(math.prod(kept) == math.prod(shape), place, f"{math.prod(kept)} sums", list(shape))
    return shape


def _matmul(layer: MatMul, shapes: list[Shape], place: str, model: Model) -> Shape:
    a, b = shapes
    need(len(a) == len(b) >= 2 and a[:-2] == b[:-2], place, "two inputs of equal leading axes",
          shapes)  # fmt: skip
    inner, outer = (b[-1], b[-2]) if layer.transposed else (b[-2], b[-1])
    need(a[-1] == inner, place, f"{a[-1]} values to multiply", inner)
    for name in layer.inputs:
        narrow = model.tensors[name].bits <= WIDEST_ACTIVATION
        need(narrow, place, f"an input of at most 16 bits ({name})", model.tensors[name].bits)
    return (*a[:-1], outer)


def _interpolate(layer: Interpolate, shapes: list[Shape], place: str, model: Model) -> Shape:
    need(len(shapes[0]) == 3, place, "an input [C, H, W]", list(shapes[0]))
    need(min(layer.grid) >= 1 and max(layer.grid) < FINEST_GRID, place,
         f"a grid of 1..{FINEST_GRID - 1} parts", layer.grid)  # fmt: skip
    for lines, size, parts in zip(
        (layer.rows, layer.columns), shapes[0][1:], layer.grid, strict=True
    ):
        shaped = lines.ndim == 2 and lines.shape[1] == 3
        need(shaped, place, "neighbours and weights [n, 3]", list(lines.shape))
        near = lines[:, :2].min() >= 0 and lines[:, :2].max() < size
        weighed = np.abs(lines[:, 2]).max() <= parts
        need(bool(near and weighed), place, f"neighbours in 0..{size - 1}, weights to {parts}",
              [lines.min(axis=0).tolist(), lines.max(axis=0).tolist()])  # fmt: skip
    return (shapes[0][0], len(layer.rows), len(layer.columns))


def _softmax(layer: Softmax, shapes: list[Shape], place: str, model: Model) -> Shape:
    given, output = model.tensors[layer.inputs[0]], model.tensors[layer.output]
    need(layer.rule in SOFTMAX_RULES, place, f"a rule of {', '.join(SOFTMAX_RULES)}",
         repr(layer.rule))  # fmt: skip
    need(math.isfinite(layer.factor) and layer.factor > 0, place, "a positive finite factor",
          layer.factor)  # fmt: skip
    need(bool(shapes[0]), place, "an input of at least one axis", list(shapes[0]))
    need((layer.table is not None) == (layer.rule == "ap"), place,
         "a table for rule ap and for no other", layer.rule)  # fmt: skip
    if layer.mask is not None:
        _mask(layer.mask, layer.rule, shapes[0], place)
    if layer.rule == "litert":
        wide = {8: (8, 16), 16: (16,)}.get(given.bits, ())
        need(output.bits in wide, place, "8 or 16 bits in, and as many out", f"{given} {output}")
    elif layer.rule == "ita":
        shift = layer.halving
        need(shift is not None and shift <= WIDEST_SHIFT, place,
             f"a factor of ln 2 / 2**k, k up to {WIDEST_SHIFT} (rule ita)",
             layer.factor)  # fmt: skip
        _probabilities(given, output, place)
    elif layer.table is not None:
        _exponential(layer.table, given, place)
        _probabilities(given, output, place)
    else:
        _real_island(given, output, place)
    return shapes[0]


def _mask(mask: Integers, rule: str, shape: Shape, place: str) -> None:
    """Words that have no part: of the AP's own rule, some left in each line."""
    need(rule == "ap", place, "a mask for rule ap and for no other", rule)
    ends = zip(reversed(mask.shape), reversed(shape), strict=False)
    fits = mask.ndim <= len(shape) and all(size in (1, whole) for size, whole in ends)
    need(fits, place, f"a mask that broadcasts to {list(shape)}", list(mask.shape))
    sound = np.isin(mask, (0, 1)).all() and not np.broadcast_to(mask, shape).all(axis=-1).any()
    need(bool(sound), place, "a mask of 0 and 1 with a 0 in each line", "another")


def _probabilities(given: Tensor, output: Tensor, place: str) -> None:
    """Words that the AP's softmax takes and gives."""
    need(given.bits <= WIDEST_SCORE, place, f"an input of at most {WIDEST_SCORE} bits", given)
    plain = (output.bits, output.signed, output.zero_point) == (8, False, 0)
    need(plain, place, "an output u8 with zero point 0", output)
    need(output.scale in (None, 1 / 256), place, "an output in units of 1/256", output.scale)


def _exponential(table: Integers, given: Tensor, place: str) -> None:
    """The table of the AP's softmax: 8 bits, no divisor of 0."""
    whole = table.shape == (1 << given.bits,) and table.dtype.kind in "iu"
    need(whole, place, f"a table of {1 << given.bits} integers", f"{table.dtype} {table.shape}")
    came = f"{table[0]} at 0, {table.min()}..{table.max()}"
    sound = table.min() >= 0 and table.max() <= 255 and table[0] >= 1
    need(bool(sound), place, "a table in 0..255, 1 or more at 0", came)


def _real_island(given: Tensor, output: Tensor, place: str) -> None:
    """What dequantizes and quantizes needs words of at most 16 bits, and a scale to give."""
    narrow = max(given.bits, output.bits) <= WIDEST_ACTIVATION
    need(narrow, place, "at most 16 bits in and out", f"{given} {output}")
    need(isinstance(output.scale, float), place, "one scale of the output", output.scale)


def _normalize(layer: Normalize, shapes: list[Shape], place: str, model: Model) -> Shape:
    given, output = model.tensors[layer.inputs[0]], model.tensors[layer.output]
    need(layer.kind in ("layer", "rms"), place, "the kind layer or rms", repr(layer.kind))
    need(layer.rule in ("ap", "real"), place, "the rule ap or real", repr(layer.rule))
    need(bool(shapes[0]), place, "an input of at least one axis", list(shapes[0]))
    check = _norm_on_ap if layer.rule == "ap" else _real_norm
    check(layer, given, output, place)
    return shapes[0]


def _norm_on_ap(layer: Normalize, given: Tensor, output: Tensor, place: str) -> None:
    size = given.shape[-1]
    need(2 * given.bits + 2 * size.bit_length() <= 62, place,
         "an input whose squares sum up to 62 bits", given)  # fmt: skip
    plain = given.signed and given.zero_point == 0
    need(layer.kind == "layer" or plain, place, "a signed input with zero point 0", given)
    plain = (output.bits, output.signed, output.zero_point) == (8, True, 0)
    need(plain, place, "an output s8 with zero point 0", output)
    need(output.scale in (None, 1 / 32), place, "an output in units of 1/32", output.scale)
    bare = layer.gamma is None and layer.beta is None and layer.epsilon == 0
    need(bare, place, "no gamma, beta or epsilon (rule ap)", "some")


def _real_norm(layer: Normalize, given: Tensor, output: Tensor, place: str) -> None:
    _real_island(given, output, place)
    need(isinstance(given.scale, float), place, "one scale of the input", given.scale)
    need(math.isfinite(layer.epsilon) and layer.epsilon > 0, place, "a positive finite epsilon",
         layer.epsilon)  # fmt: skip
    for values in (layer.gamma, layer.beta):
        sound = values is None or (values.shape == given.shape[-1:] and np.isfinite(values).all())
        need(bool(sound), place, f"{given.shape[-1]} finite values of gamma and beta",
             None if values is None else list(values.shape))  # fmt: skip


def _arg_max(layer: ArgMax, shapes: list[Shape], place: str, model: Model) -> Shape:
    shape, axis = shapes[0], layer.axis
    need(0 <= axis < len(shape), place, "an axis of the input", axis)
    need(shape[axis] - 1 <= model.tensors[layer.output].hi, place, f"{shape[axis]} places at most",
          model.tensors[layer.output])  # fmt: skip
    kept, given = (*shape[:axis], *shape[axis + 1 :]), model.tensors[layer.output].shape
    need(math.prod(kept) == math.prod(given), place, f"output shape {list(kept)}", list(given))
    return given


def _sum(sizes: Iterable[int]) -> int:
    return int(np.sum(list(sizes)))


SHAPES: dict[type[Layer], Callable[[Any, list[Shape], str, Model], Shape]] = {
    Conv2d: _conv2d,
    Linear: _linear,
    MaxPool: _pool,
    AvgPool: _pool,
    Add: _add,
    Relu: _same,
    Requantize: _same,
    Flatten: _flat,
    Reshape: _reshape,
    Transpose: _transpose,
    Concat: _concat,
    Table: _table,
    Steps: _steps,
    Rearrange: _rearrange,
    Multiply: _two_alike,
    Maximum: _two_alike,
    Sum: _reduced,
    MatMul: _matmul,
    Interpolate: _interpolate,
    Softmax: _softmax,
    Normalize: _normalize,
    ArgMax: _arg_max,
}
OF_TWO = (Add, Multiply, Maximum, MatMul)
