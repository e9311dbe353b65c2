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
    AvgPool,
    Concat,
    Conv2d,
    Entry,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    Model,
    Relu,
    Requant,
    Requantize,
    Reshape,
    Tensor,
    Transpose,
    Weighted,
)  # fmt: skip
from apsim.nn.model.windows import plane
from apsim.nn.rules.rounding import MODES

__all__ = ["verify", "weights_range"]

WIDEST_ACTIVATION, WIDEST_WEIGHT, WIDEST_ACCUMULATOR = 16, 17, 64
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
    for layer in model.layers:
        place = f"layer {layer.name!r}"
        for name in layer.inputs:
            _need(name in made, place, "inputs made by earlier layers", repr(name))
        _need(layer.output in model.tensors, place, "a declared output", repr(layer.output))
        _need(layer.output not in made, place, "a new output", repr(layer.output))
        made.add(layer.output)
    for name in model.outputs:
        _need(name in made, "outputs", "a tensor that some layer makes", repr(name))
    names = [layer.name for layer in model.layers]
    twice = sorted({name for name in names if names.count(name) > 1})
    _need(not twice, "layers", "distinct names", twice)


def _tensor(name: str, tensor: Tensor) -> None:
    place = f"tensor {name!r}"
    sizes = all(size >= 1 for size in tensor.shape)
    _need(sizes, place, "sizes of at least 1", list(tensor.shape))
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


def _layer(model: Model, layer: Layer, place: str) -> None:
    wanted = 2 if isinstance(layer, Add) else len(layer.inputs) or 1
    if not isinstance(layer, Concat | Add):
        wanted = 1
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
        if layer.requant is None:
            _accumulators(layer, inputs[0], output, place)
    _requant(layer, getattr(layer, "requant", None), output, place)


def _requant(layer: Layer, requant: Requant | None, output: Tensor, place: str) -> None:
    if requant is None:
        return
    channels = output.shape[-1 if isinstance(layer, Linear) else 0]
    for name in ("scale", "mantissa", "exponent", "offset"):
        size = getattr(requant, name).size
        _need(size in (1, channels), place, f"1 or {channels} entries of {name}", size)
    rules.parse(requant.rule)
    _need(requant.rounding in MODES, place, "a rounding mode", repr(requant.rounding))
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
    _need(shape == weights.shape[:1], place, f"{len(weights)} biases", list(shape))


def _accumulators(layer: Weighted, given: Tensor, output: Tensor, place: str) -> None:
    """Without a requantization, the output must hold the greatest sum there can be."""
    reach = np.abs(layer.weights.astype(np.float64)).reshape(len(layer.weights), -1).sum(axis=1)
    top = float((reach * max(given.hi, -given.lo) + np.abs(layer.bias)).max())
    bits = 1 + math.ceil(math.log2(top + 1))
    _need(output.signed and output.bits >= bits, place,
          f"an output of {bits} signed bits", output)  # fmt: skip


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
    _need(all(n >= 1 for n in numbers), place, "positive kernel, stride, dilation", numbers)
    _need(all(n >= 0 for n in layer.padding), place, "padding >= 0", layer.padding)
    size = plane(layer, *shape[1:])
    _need(all(size), place, "a plane that holds at least one window", f"{list(shape)}")
    return size


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
}
