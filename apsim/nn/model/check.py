"""Everything that decides whether a model is consistent lives here.

The rule: a model that passes `verify` can run; whatever fails is a `ModelError` that
names the model, the layer, what was wanted and what came.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from apsim.errors import ModelError
from apsim.nn import rules
from apsim.nn.model import (
    Add,
    ArgMax,
    AvgPool,
    Concat,
    Conv2d,
    Entry,
    Flatten,
    Interpolate,
    Layer,
    Linear,
    MatMul,
    Maximum,
    MaxPool,
    Model,
    Multiply,
    Rearrange,
    Relu,
    Requant,
    Requantize,
    Reshape,
    Softmax,
    State,
    Sum,
    Table,
    Tensor,
    Transpose,
    Weighted,
)  # fmt: skip
from apsim.nn.model.windows import kernel_of, plane
from apsim.nn.rules.rounding import MODES

__all__ = ["verify", "weights_range"]

WIDEST_ACTIVATION, WIDEST_WEIGHT, WIDEST_ACCUMULATOR = 16, 17, 64
FARTHEST = 1200  # of an exponent: float64 reaches 1074 and 53 bits more
LARGEST = 1 << 31  # what strides and the like, and the values of one tensor, stay below
WIDEST_FACTOR = 24  # of a product of two words
Shape = tuple[int, ...]


def verify(model: Model, where: str = "") -> Model:
    """Give the model back, or raise `ModelError`; `where` says which file it came from."""
    place = f"{where}: " if where else f"model {model.name!r}: "
    try:
        _names(model)
        for name, tensor in model.tensors.items():
            _tensor(name, tensor)
        for name, entry in model.entries.items():
            _entry(model, name, entry)
        for state in model.states:
            _state(model, state)
        for index, layer in enumerate(model.layers):
            _layer(model, layer, f"layer {index} {layer.name!r} ({layer.op})")
    except ModelError as error:
        raise ModelError(place + str(error)) from None
    return model


def _need(right: bool, place: str, wanted: str, came: object) -> None:
    if not right:
        raise ModelError(f"{place}: expected {wanted}, got {came}")


def _names(model: Model) -> None:
    """Each tensor is produced once, before it is used; each layer name is used once."""
    made: set[str] = set()
    for name in model.inputs:
        _need(name in model.tensors, "inputs", "a tensor of the model", repr(name))
        made.add(name)
    for state in model.states:
        known = state.read in model.tensors and state.read not in made
        _need(known, "states", "a tensor of the model that nothing else makes", repr(state.read))
        made.add(state.read)
    for layer in model.layers:
        place = f"layer {layer.name!r}"
        for name in layer.inputs:
            _need(name in made, place, "inputs made by earlier layers", repr(name))
        _need(layer.output in model.tensors, place, "a declared output", repr(layer.output))
        _need(layer.output not in made, place, "a new output", repr(layer.output))
        made.add(layer.output)
    for name in (*model.outputs, *(state.written for state in model.states)):
        _need(name in made, "outputs", "a tensor that some layer makes", repr(name))
    names = [layer.name for layer in model.layers]
    twice = sorted({name for name in names if names.count(name) > 1})
    _need(not twice, "layers", "distinct names", twice)


def _tensor(name: str, tensor: Tensor) -> None:
    place = f"tensor {name!r}"
    sizes = all(size >= 1 for size in tensor.shape)
    _need(sizes, place, "sizes of at least 1", list(tensor.shape))
    _need(math.prod(tensor.shape) < LARGEST, place, f"less than {LARGEST} values",
          list(tensor.shape))  # fmt: skip
    _need(1 <= tensor.bits <= WIDEST_ACCUMULATOR, place, "1..64 bits", tensor.bits)
    scales = tensor.scale if isinstance(tensor.scale, tuple) else (tensor.scale or 1.0,)
    positive = all(math.isfinite(scale) and scale > 0 for scale in scales)
    _need(positive, place, "positive finite scales", tensor.scale)


def _entry(model: Model, name: str, entry: Entry) -> None:
    place, known = f"entry of {name!r}", (*MODES, "sign", "none")
    _need(name in model.inputs, place, "an input of the model", repr(name))
    _need(entry.rounding in known, place, "a rounding mode", repr(entry.rounding))
    finite = math.isfinite(entry.factor) and entry.factor != 0 and math.isfinite(entry.shift)
    _need(finite, place, "a finite factor and shift", (entry.factor, entry.shift))
    known_steps = all(kind in ("add", "sub", "mul", "div") and math.isfinite(by)
                      for kind, by in entry.steps)  # fmt: skip
    _need(known_steps, place, "steps of add, sub, mul and div", entry.steps)


def _state(model: Model, state: State) -> None:
    """What is written must be what can be read, and so must the start."""
    place = f"state {state.read!r}"
    read, written = model.tensors[state.read], model.tensors[state.written]
    same = (read.shape, read.lo, read.hi) == (written.shape, written.lo, written.hi)
    _need(same, place, f"{read} written to it", written)
    _need(state.start.shape == read.shape, place, f"a start {list(read.shape)}",
          list(state.start.shape))  # fmt: skip
    _inside(state.start, read, place, "a start")


def _inside(values: np.ndarray[Any, Any], tensor: Tensor, place: str, what: str) -> None:
    ends = (int(values.min()), int(values.max())) if values.size else (tensor.lo, tensor.lo)
    fits = values.dtype.kind in "iu" and tensor.lo <= ends[0] and ends[1] <= tensor.hi
    _need(fits, place, f"{what} in {tensor.lo}..{tensor.hi}", f"{ends[0]}..{ends[1]}")


def _layer(model: Model, layer: Layer, place: str) -> None:
    wanted = len(layer.inputs) or 1
    if not isinstance(layer, Concat | Rearrange):
        wanted = 2 if isinstance(layer, _OF_TWO) else 1
    _need(len(layer.inputs) == wanted, place, f"{wanted} inputs", len(layer.inputs))
    inputs = [model.tensors[name] for name in layer.inputs]
    for name, tensor in zip(layer.inputs, inputs, strict=True):
        if isinstance(layer, Weighted):
            narrow = tensor.bits <= WIDEST_ACTIVATION
            _need(narrow, place, f"an input of at most 16 bits ({name})", tensor.bits)
    shape = _SHAPES[type(layer)](layer, [t.shape for t in inputs], place, model)
    output = model.tensors[layer.output]
    _need(output.shape == shape, place, f"output shape {list(shape)}", list(output.shape))
    if isinstance(layer, Weighted):
        _weights(layer, place)
    if isinstance(layer, Weighted | Add | AvgPool | Requantize):
        _sums(layer, inputs, output, place)
    if isinstance(layer, Conv2d | AvgPool) and any(layer.padding):
        inside = inputs[0].lo <= inputs[0].zero_point <= inputs[0].hi
        _need(inside, place, f"padding with a zero point in {inputs[0].lo}..{inputs[0].hi}",
              inputs[0].zero_point)  # fmt: skip
    _requant(layer, getattr(layer, "requant", None), output, place)


def _requant(layer: Layer, requant: Requant | None, output: Tensor, place: str) -> None:
    if requant is None:
        return
    channels = output.shape[-1 if isinstance(layer, Linear) else 0] if output.shape else 1
    for name in ("scale", "mantissa", "exponent", "offset"):
        size = getattr(requant, name).size
        _need(size in (1, channels), place, f"1 or {channels} entries of {name}", size)
    rules.parse(requant.rule)
    _need(requant.rounding in MODES, place, "a rounding mode", repr(requant.rounding))
    mantissas, exponents = (getattr(requant, name) for name in ("mantissa", "exponent"))
    whole = all(
        getattr(requant, name).dtype.kind == "i" for name in ("mantissa", "exponent", "offset")
    )
    _need(whole, place, "signed integers as mantissa, exponent and offset", "others")
    fits = bool((mantissas >= 0).all() and (mantissas < 1 << 32).all())
    _need(fits, place, "mantissas from 0 to 2**32 - 1", mantissas.ravel()[:4])
    near = bool((np.abs(exponents) <= FARTHEST).all())
    _need(near, place, f"exponents of at most {FARTHEST}", exponents.ravel()[:4])
    clip = (requant.lo, requant.hi)
    inside = output.lo <= requant.lo <= requant.hi <= output.hi
    _need(inside, place, f"a clip inside {output.lo}..{output.hi}", clip)
    same = requant.zero_point == output.zero_point
    _need(same, place, f"the output's zero point {output.zero_point}", requant.zero_point)


def weights_range(bits: int, signed: bool) -> tuple[int, int]:
    """The least and greatest weight of a width."""
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def _weights(layer: Weighted, place: str) -> None:
    bits, weights = layer.weight_bits, layer.weights
    _need(1 <= bits <= WIDEST_WEIGHT, place, "1..17 weight bits", bits)
    _need(weights.dtype.kind in "iu", place, "integer weights", weights.dtype)
    low, high = weights_range(bits, layer.weight_signed)
    fits = weights.size == 0 or (weights.min() >= low and weights.max() <= high)
    if not fits:
        _need(False, place, f"weights in {low}..{high}", f"{weights.min()}..{weights.max()}")
    shape = layer.bias.shape
    fits = layer.bias.dtype.kind == "i" and layer.bias.dtype.itemsize <= 8
    _need(fits, place, "biases of at most 64 signed bits", layer.bias.dtype)
    _need(shape == weights.shape[:1], place, f"{len(weights)} biases", list(shape))


def _sums(layer: Any, inputs: list[Tensor], output: Tensor, place: str) -> None:
    """No sum there can be leaves 64 bits, nor the output where nothing requantizes it."""
    low, high = _reach(layer, inputs, place)
    needed = 1 + max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0)
    _need(needed <= WIDEST_ACCUMULATOR, place, f"sums of at most {WIDEST_ACCUMULATOR} signed bits",
          f"{needed} bits ({low}..{high})")  # fmt: skip
    if getattr(layer, "requant", None) is None:
        holds = output.signed and output.bits >= needed
        _need(holds, place, f"an output of {needed} signed bits", output)


def _reach(layer: Any, inputs: list[Tensor], place: str) -> tuple[int, int]:
    """The least and the greatest sum of a layer for any inputs, with and without its bias.

    In Python's integers, which do not wrap.
    """
    if isinstance(layer, Weighted):
        ends = _products(layer, inputs[0])
        biases = [int(bias) for bias in layer.bias]
    else:
        given = [(tensor.lo, tensor.hi) for tensor in inputs]
        if isinstance(layer, AvgPool):
            words = layer.kernel[0] * layer.kernel[1]
            given = [(words * low, words * high) for low, high in given]
        if isinstance(layer, Add):
            given = _branches(layer, inputs, place)
        ends, biases = [(sum(e[0] for e in given), sum(e[1] for e in given))], [int(layer.bias)]
    lows = [low + min(bias, 0) for (low, _), bias in zip(ends, biases, strict=True)]
    highs = [high + max(bias, 0) for (_, high), bias in zip(ends, biases, strict=True)]
    return min(lows), max(highs)


def _products(layer: Weighted, x: Tensor) -> list[tuple[int, int]]:
    """The least and the greatest sum of x * w of each output channel."""
    weights = layer.weights.reshape(len(layer.weights), -1).astype(np.int64)
    above, below = np.maximum(weights, 0).sum(axis=1), np.minimum(weights, 0).sum(axis=1)
    return [
        (int(up) * x.lo + int(down) * x.hi, int(up) * x.hi + int(down) * x.lo)
        for up, down in zip(above, below, strict=True)
    ]


def _branches(layer: Add, inputs: list[Tensor], place: str) -> list[tuple[int, int]]:
    """How far each branch of an addition reaches, requantized or multiplied."""
    if layer.branches is None:
        return [
            (min(m * t.lo, m * t.hi), max(m * t.lo, m * t.hi))
            for m, t in zip(layer.multipliers, inputs, strict=True)
        ]
    _need(0 <= layer.branch_shift <= 32, place, "a branch shift of 0..32", layer.branch_shift)
    ends = []
    for tensor, zero, branch, times in zip(
        inputs, layer.branch_zero_points, layer.branches, layer.multipliers, strict=True
    ):
        far = [(end - zero) << layer.branch_shift for end in (tensor.lo, tensor.hi)]
        _need(max(map(abs, far)) < 1 << 62, place, "branches of at most 62 bits", far)
        rounded = [int(end) * times for end in rules.scale(np.array(far), branch, axis=0)]
        ends.append((min(rounded), max(rounded)))  # a rounded branch rises with its word
    return ends


def _conv2d(layer: Conv2d, shapes: list[Shape], place: str, model: Model) -> Shape:
    _need(layer.weights.ndim == 4, place, "weights [O, I / groups, kh, kw]",
          list(layer.weights.shape))  # fmt: skip
    _need(len(shapes[0]) == 3, place, "an input [C, H, W]", list(shapes[0]))
    outs, each = layer.weights.shape[:2]
    channels, groups = shapes[0][0], layer.groups
    splits = groups >= 1 and outs % groups == 0 and each * groups == channels
    _need(splits, place, f"{each} x groups input channels and outputs divisible by groups",
          f"{channels} inputs, {outs} outputs, {groups} groups")  # fmt: skip
    return (outs, *_windows(layer, shapes[0], place))


def _windows(layer: Conv2d | MaxPool | AvgPool, shape: Shape, place: str) -> Shape:
    numbers = (*layer.stride, *getattr(layer, "dilation", (1, 1)), *getattr(layer, "kernel", (1,)))
    numbers = (*numbers, *kernel_of(layer))
    ranged = all(1 <= n < LARGEST for n in numbers)
    _need(ranged, place, f"kernel, stride, dilation from 1 to {LARGEST - 1}", numbers)
    ranged = all(0 <= n < LARGEST for n in layer.padding)
    _need(ranged, place, f"padding from 0 to {LARGEST - 1}", layer.padding)
    size = plane(layer, *shape[1:])
    _need(all(size), place, "a plane that holds at least one window", f"{list(shape)}")
    if not isinstance(layer, Conv2d):
        _no_empty_window(layer, shape, size, place)
    return size


def _no_empty_window(layer: MaxPool | AvgPool, shape: Shape, size: Shape, place: str) -> None:
    """Each window of a pool holds a value, not padding alone."""
    dilation = layer.dilation if isinstance(layer, MaxPool) else (1, 1)
    for axis in (0, 1):
        kernel, step = layer.kernel[axis], dilation[axis]
        _need(layer.padding[axis] <= step * (kernel - 1), place,
              f"padding less than the window of {list(layer.kernel)}", layer.padding)  # fmt: skip
        starts = np.arange(size[axis], dtype=np.int64) * layer.stride[axis] - layer.padding[axis]
        first = starts + np.maximum(0, -(starts // step)) * step  # the first tap inside
        last = starts + step * (kernel - 1)
        full = (first < shape[1 + axis]) & (first <= last)
        came = f"window {int(np.argmin(full))} of axis {axis + 1}, padding {layer.padding}"
        _need(bool(full.all()), place, "windows that hold more than padding", came)


def _linear(layer: Linear, shapes: list[Shape], place: str, model: Model) -> Shape:
    _need(layer.weights.ndim == 2, place, "weights [O, I]", list(layer.weights.shape))
    wanted = layer.weights.shape[1]
    last = shapes[0][-1] if shapes[0] else 0
    _need(last == wanted, place, f"{wanted} input features", list(shapes[0]))
    return (*shapes[0][:-1], len(layer.weights))


def _pool(layer: MaxPool | AvgPool, shapes: list[Shape], place: str, model: Model) -> Shape:
    _need(len(shapes[0]) == 3, place, "an input [C, H, W]", list(shapes[0]))
    return (shapes[0][0], *_windows(layer, shapes[0], place))


def _add(layer: Add, shapes: list[Shape], place: str, model: Model) -> Shape:
    _need(shapes[0] == shapes[1], place, "two inputs of one shape", shapes)
    return shapes[0]


def _same(layer: Layer, shapes: list[Shape], place: str, model: Model) -> Shape:
    return shapes[0]


def _flat(layer: Layer, shapes: list[Shape], place: str, model: Model) -> Shape:
    return (math.prod(shapes[0]),)


def _reshape(layer: Reshape, shapes: list[Shape], place: str, model: Model) -> Shape:
    shape = model.tensors[layer.output].shape
    equal = math.prod(shape) == math.prod(shapes[0])
    _need(equal, place, f"as many values as {list(shapes[0])}", list(shape))
    return shape


def _transpose(layer: Transpose, shapes: list[Shape], place: str, model: Model) -> Shape:
    axes = layer.axes
    _need(sorted(axes) == list(range(len(shapes[0]))), place, "each axis once", axes)
    return tuple(shapes[0][axis] for axis in axes)


def _concat(layer: Concat, shapes: list[Shape], place: str, model: Model) -> Shape:
    axis = layer.axis
    _need(0 <= axis < len(shapes[0]), place, "an axis of the inputs", axis)
    others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    _need(len(others) == 1, place, f"inputs that differ in axis {axis} only", shapes)
    joined = _sum(shape[axis] for shape in shapes)
    return (*shapes[0][:axis], joined, *shapes[0][axis + 1 :])


def _table(layer: Table, shapes: list[Shape], place: str, model: Model) -> Shape:
    given, output = model.tensors[layer.inputs[0]], model.tensors[layer.output]
    _need(given.bits <= WIDEST_ACTIVATION, place, "an input of at most 16 bits", given.bits)
    lines = layer.values.shape[:1]
    _need(layer.values.shape == (*lines, 1 << given.bits), place,
          f"tables of {1 << given.bits} values", list(layer.values.shape))  # fmt: skip
    _inside(layer.values, output, place, "values")
    _spread(layer.which, shapes[0], place)
    known = layer.which.min() >= 0 and layer.which.max() < lines[0]
    _need(bool(known), place, f"one of {lines[0]} tables", f"{layer.which.max()}")
    return shapes[0]


def _spread(values: np.ndarray[Any, Any], shape: Shape, place: str) -> None:
    """One value, or an array that numpy lays along the given shape."""
    try:
        fits = values.size > 0 and np.broadcast_shapes(values.shape, shape or (1,)) == (
            shape or (1,)
        )
    except ValueError:
        fits = False
    _need(fits, place, f"an array that broadcasts to {list(shape)}", list(values.shape))


def _rearrange(layer: Rearrange, shapes: list[Shape], place: str, model: Model) -> Shape:
    output, words = model.tensors[layer.output], _sum(math.prod(shape) for shape in shapes)
    index = layer.index
    known = index.dtype.kind in "iu" and index.min() >= -1 and index.max() < words
    _need(bool(known), place, f"places in -1..{words - 1}", f"{index.min()}..{index.max()}")
    _spread(layer.fill, output.shape, place)
    if (index < 0).any():
        _inside(layer.fill + output.zero_point, output, place, "constants")
    kinds = [model.tensors[name] for name in layer.inputs]
    fits = all(output.lo <= one.lo and one.hi <= output.hi for one in kinds)
    _need(fits or bool((index < 0).all()), place, "an output as wide as its inputs", output)
    return index.shape


def _two_alike(layer: Layer, shapes: list[Shape], place: str, model: Model) -> Shape:
    for name in layer.inputs:
        narrow = model.tensors[name].bits <= WIDEST_FACTOR
        _need(narrow, place, f"inputs of at most {WIDEST_FACTOR} bits", model.tensors[name].bits)
    return _add(layer, shapes, place, model)  # type: ignore[arg-type]


def _reduced(layer: Sum, shapes: list[Shape], place: str, model: Model) -> Shape:
    rank, shape = len(shapes[0]), model.tensors[layer.output].shape
    sound = bool(layer.axes) and len(set(layer.axes)) == len(layer.axes)
    sound = sound and all(0 <= axis < rank for axis in layer.axes)
    _need(sound, place, "axes of the input, each once", layer.axes)
    kept = [size for axis, size in enumerate(shapes[0]) if axis not in layer.axes]
    _need(math.prod(kept) == math.prod(shape), place, f"{math.prod(kept)} sums", list(shape))
    return shape


def _matmul(layer: MatMul, shapes: list[Shape], place: str, model: Model) -> Shape:
    a, b = shapes
    _need(len(a) == len(b) >= 2 and a[:-2] == b[:-2], place, "two inputs of equal leading axes",
          shapes)  # fmt: skip
    inner, outer = (b[-1], b[-2]) if layer.transposed else (b[-2], b[-1])
    _need(a[-1] == inner, place, f"{a[-1]} values to multiply", inner)
    for name in layer.inputs:
        narrow = model.tensors[name].bits <= WIDEST_ACTIVATION
        _need(narrow, place, f"an input of at most 16 bits ({name})", model.tensors[name].bits)
    return (*a[:-1], outer)


def _interpolate(layer: Interpolate, shapes: list[Shape], place: str, model: Model) -> Shape:
    _need(len(shapes[0]) == 3, place, "an input [C, H, W]", list(shapes[0]))
    for lines, size in zip((layer.rows, layer.columns), shapes[0][1:], strict=True):
        shaped = lines.ndim == 2 and lines.shape[1] == 3
        _need(shaped, place, "neighbours and weights [n, 3]", list(lines.shape))
        near = lines[:, :2].min() >= 0 and lines[:, :2].max() < size
        weighed = np.abs(lines[:, 2]).max() <= 1024
        _need(bool(near and weighed), place, f"neighbours in 0..{size - 1}, weights to 1024",
              [lines.min(axis=0).tolist(), lines.max(axis=0).tolist()])  # fmt: skip
    return (shapes[0][0], len(layer.rows), len(layer.columns))


def _softmax(layer: Softmax, shapes: list[Shape], place: str, model: Model) -> Shape:
    given, output = model.tensors[layer.inputs[0]], model.tensors[layer.output]
    wide = {8: (8, 16), 16: (16,)}.get(given.bits, ())
    _need(output.bits in wide, place, "8 or 16 bits in, and as many out", f"{given} {output}")
    _need(math.isfinite(layer.factor) and layer.factor > 0, place, "a positive finite factor",
          layer.factor)  # fmt: skip
    _need(bool(shapes[0]), place, "an input of at least one axis", list(shapes[0]))
    return shapes[0]


def _arg_max(layer: ArgMax, shapes: list[Shape], place: str, model: Model) -> Shape:
    shape, axis = shapes[0], layer.axis
    _need(0 <= axis < len(shape), place, "an axis of the input", axis)
    _need(shape[axis] - 1 <= model.tensors[layer.output].hi, place, f"{shape[axis]} places at most",
          model.tensors[layer.output])  # fmt: skip
    kept, given = (*shape[:axis], *shape[axis + 1 :]), model.tensors[layer.output].shape
    _need(math.prod(kept) == math.prod(given), place, f"output shape {list(kept)}", list(given))
    return given


def _sum(sizes: Iterable[int]) -> int:
    return int(np.sum(list(sizes)))


_SHAPES: dict[type[Layer], Callable[[Any, list[Shape], str, Model], Shape]] = {
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
    Rearrange: _rearrange,
    Multiply: _two_alike,
    Maximum: _two_alike,
    Sum: _reduced,
    MatMul: _matmul,
    Interpolate: _interpolate,
    Softmax: _softmax,
    ArgMax: _arg_max,
}
_OF_TWO = (Add, Multiply, Maximum, MatMul)
