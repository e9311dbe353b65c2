"""Everything that decides whether a model is consistent lives here.

The rule: a model that passes `verify` can run; whatever fails is a `ModelError` that
names the model, the layer, what was wanted and what came.
"""

from __future__ import annotations

import math
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
    Layer,
    Linear,
    Model,
    Rearrange,
    Requant,
    Requantize,
    State,
    Tensor,
    Weighted,
)  # fmt: skip
from apsim.nn.model.shapes import LARGEST, OF_TWO, SHAPES, WIDEST_ACTIVATION, inside, need
from apsim.nn.rules.rounding import MODES

__all__ = ["verify", "weights_range"]

WIDEST_WEIGHT, WIDEST_ACCUMULATOR = 17, 64
FARTHEST = 1200  # of an exponent: float64 reaches 1074 and 53 bits more


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


def _names(model: Model) -> None:
    """Each tensor is produced once, before it is used; each layer name is used once."""
    made: set[str] = set()
    for name in model.inputs:
        need(name in model.tensors, "inputs", "a tensor of the model", repr(name))
        made.add(name)
    for state in model.states:
        known = state.read in model.tensors and state.read not in made
        need(known, "states", "a tensor of the model that nothing else makes", repr(state.read))
        made.add(state.read)
    for layer in model.layers:
        place = f"layer {layer.name!r}"
        for name in layer.inputs:
            need(name in made, place, "inputs made by earlier layers", repr(name))
        need(layer.output in model.tensors, place, "a declared output", repr(layer.output))
        need(layer.output not in made, place, "a new output", repr(layer.output))
        made.add(layer.output)
    for name in (*model.outputs, *(state.written for state in model.states)):
        need(name in made, "outputs", "a tensor that some layer makes", repr(name))
    for name in model.unbatched:
        need(name in model.outputs, "unbatched", "an output of the model", repr(name))
    names = [layer.name for layer in model.layers]
    twice = sorted({name for name in names if names.count(name) > 1})
    need(not twice, "layers", "distinct names", twice)


def _tensor(name: str, tensor: Tensor) -> None:
    place = f"tensor {name!r}"
    sizes = all(size >= 1 for size in tensor.shape)
    need(sizes, place, "sizes of at least 1", list(tensor.shape))
    need(math.prod(tensor.shape) < LARGEST, place, f"less than {LARGEST} values",
          list(tensor.shape))  # fmt: skip
    need(1 <= tensor.bits <= WIDEST_ACCUMULATOR, place, "1..64 bits", tensor.bits)
    scales = tensor.scale if isinstance(tensor.scale, tuple) else (tensor.scale or 1.0,)
    positive = all(math.isfinite(scale) and scale > 0 for scale in scales)
    need(positive, place, "positive finite scales", tensor.scale)


def _finite(by: float | tuple[float, ...]) -> bool:
    return bool(np.isfinite(by).all())


def _entry(model: Model, name: str, entry: Entry) -> None:
    place, known = f"entry of {name!r}", (*MODES, "sign", "none")
    need(name in model.inputs, place, "an input of the model", repr(name))
    need(entry.rounding in known, place, "a rounding mode", repr(entry.rounding))
    finite = bool(_finite(entry.factor) and np.all(entry.factor) and _finite(entry.shift))
    need(finite, place, "a finite factor and shift", (entry.factor, entry.shift))
    lines = np.array(entry.thresholds, np.float64) if entry.thresholds else np.zeros((1, 1))
    rising = bool(np.isfinite(lines).all() and (np.diff(lines, axis=1) >= 0).all())
    need(rising, place, "rising, finite thresholds", "others")
    shape = model.tensors[name].shape
    sizes = (1, shape[entry.along]) if entry.along < len(shape) else (1,)
    need(len(lines) in sizes, place, f"1 line of thresholds, or one for each of {sizes[-1]}",
         len(lines))  # fmt: skip
    known_steps = all(kind in ("add", "sub", "mul", "div") and _finite(by)
                      for kind, by in entry.steps)  # fmt: skip
    need(known_steps, place, "steps of add, sub, mul and div", entry.steps)
    numbers = [entry.factor, entry.shift, *(by for _, by in entry.steps)]
    counts = {len(by) for by in numbers if isinstance(by, tuple)}
    need(counts <= {sizes[-1]}, place, f"1 number in each step, or {sizes[-1]}", counts)


def _state(model: Model, state: State) -> None:
    """What is written must be what can be read, and so must the start."""
    place = f"state {state.read!r}"
    read, written = model.tensors[state.read], model.tensors[state.written]
    same = (read.shape, read.lo, read.hi) == (written.shape, written.lo, written.hi)
    need(same, place, f"{read} written to it", written)
    need(state.start.shape == read.shape, place, f"a start {list(read.shape)}",
          list(state.start.shape))  # fmt: skip
    inside(state.start, read, place, "a start")


def _layer(model: Model, layer: Layer, place: str) -> None:
    wanted = len(layer.inputs) or 1
    if not isinstance(layer, Concat | Rearrange):
        wanted = 2 if isinstance(layer, OF_TWO) else 1
    need(len(layer.inputs) == wanted, place, f"{wanted} inputs", len(layer.inputs))
    inputs = [model.tensors[name] for name in layer.inputs]
    for name, tensor in zip(layer.inputs, inputs, strict=True):
        if isinstance(layer, Weighted):
            narrow = tensor.bits <= WIDEST_ACTIVATION
            need(narrow, place, f"an input of at most 16 bits ({name})", tensor.bits)
    shape = SHAPES[type(layer)](layer, [t.shape for t in inputs], place, model)
    output = model.tensors[layer.output]
    need(output.shape == shape, place, f"output shape {list(shape)}", list(output.shape))
    if isinstance(layer, Weighted):
        _weights(layer, place, output)
    if isinstance(layer, Weighted | Add | AvgPool | Requantize):
        _sums(layer, inputs, output, place)
    if isinstance(layer, Conv2d | AvgPool) and any(layer.padding):
        inside = inputs[0].lo <= inputs[0].zero_point <= inputs[0].hi
        need(inside, place, f"padding with a zero point in {inputs[0].lo}..{inputs[0].hi}",
              inputs[0].zero_point)  # fmt: skip
    requant: Requant | None = getattr(layer, "requant", None)
    _requant(layer, requant, output, place)
    in_float32 = isinstance(layer, Add | AvgPool) and requant and requant.rule == "ort-f32"
    need(not layer.host or bool(in_float32), place, "no part of the host's", repr(layer.host))


def _requant(layer: Layer, requant: Requant | None, output: Tensor, place: str) -> None:
    if requant is None:
        return
    channels = output.shape[-1 if isinstance(layer, Linear) else 0] if output.shape else 1
    for name in ("scale", "mantissa", "exponent", "offset"):
        size = getattr(requant, name).size
        need(size in (1, channels), place, f"1 or {channels} entries of {name}", size)
    rules.parse(requant.rule)
    need(requant.rounding in MODES, place, "a rounding mode", repr(requant.rounding))
    mantissas, exponents = (getattr(requant, name) for name in ("mantissa", "exponent"))
    whole = all(
        getattr(requant, name).dtype.kind == "i" for name in ("mantissa", "exponent", "offset")
    )
    need(whole, place, "signed integers as mantissa, exponent and offset", "others")
    real = bool(np.isfinite(requant.scale).all() and (requant.scale >= 0).all())
    need(real, place, "finite factors from 0 on", requant.scale.ravel()[:4])
    need(abs(requant.parity) < 1 << 32, place, "a parity below 2**32", requant.parity)
    fits = bool((mantissas >= 0).all() and (mantissas < 1 << 32).all())
    need(fits, place, "mantissas from 0 to 2**32 - 1", mantissas.ravel()[:4])
    near = bool((np.abs(exponents) <= FARTHEST).all())
    need(near, place, f"exponents of at most {FARTHEST}", exponents.ravel()[:4])
    clip = (requant.lo, requant.hi)
    inside = output.lo <= requant.lo <= requant.hi <= output.hi
    need(inside, place, f"a clip inside {output.lo}..{output.hi}", clip)
    same = requant.zero_point == output.zero_point
    need(same, place, f"the output's zero point {output.zero_point}", requant.zero_point)


def weights_range(bits: int, signed: bool) -> tuple[int, int]:
    """The least and greatest weight of a width."""
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def _weights(layer: Weighted, place: str, output: Tensor) -> None:
    bits, weights = layer.weight_bits, layer.weights
    need(1 <= bits <= WIDEST_WEIGHT, place, "1..17 weight bits", bits)
    scale = 0.0 if layer.weight_scale is None else layer.weight_scale
    need(bool(np.isfinite(scale).all()), place, "finite scales of weights", np.ravel(scale)[:4])
    need(weights.dtype.kind in "iu", place, "integer weights", weights.dtype)
    low, high = weights_range(bits, layer.weight_signed)
    fits = weights.size == 0 or (weights.min() >= low and weights.max() <= high)
    if not fits:
        need(False, place, f"weights in {low}..{high}", f"{weights.min()}..{weights.max()}")
    shape = layer.bias.shape
    fits = layer.bias.dtype.kind == "i" and layer.bias.dtype.itemsize <= 8
    need(fits, place, "biases of at most 64 signed bits", layer.bias.dtype)
    known = shape == weights.shape[:1] or (isinstance(layer, Linear) and shape == output.shape)
    need(known, place, f"{len(weights)} biases", list(shape))


def _sums(layer: Any, inputs: list[Tensor], output: Tensor, place: str) -> None:
    """No sum there can be leaves 64 bits, nor the output where nothing requantizes it."""
    low, high = _reach(layer, inputs, place)
    needed = 1 + max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0)
    need(needed <= WIDEST_ACCUMULATOR, place, f"sums of at most {WIDEST_ACCUMULATOR} signed bits",
          f"{needed} bits ({low}..{high})")  # fmt: skip
    if getattr(layer, "requant", None) is None:
        holds = output.signed and output.bits >= needed
        need(holds, place, f"an output of {needed} signed bits", output)


def _reach(layer: Any, inputs: list[Tensor], place: str) -> tuple[int, int]:
    """The least and the greatest sum of a layer for any inputs, with and without its bias.

    In Python's integers, which do not wrap.
    """
    if isinstance(layer, Weighted):
        ends = _products(layer, inputs[0])
        biases = [int(bias) for bias in layer.bias.reshape(-1, len(ends)).T.flat]
        ends = [end for end in ends for _ in range(layer.bias.size // len(ends))]
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
    need(0 <= layer.branch_shift <= 32, place, "a branch shift of 0..32", layer.branch_shift)
    ends = []
    for tensor, zero, branch, times in zip(
        inputs, layer.branch_zero_points, layer.branches, layer.multipliers, strict=True
    ):
        far = [(end - zero) << layer.branch_shift for end in (tensor.lo, tensor.hi)]
        need(max(map(abs, far)) < 1 << 62, place, "branches of at most 62 bits", far)
        rounded = [int(end) * times for end in rules.scale(np.array(far), branch, axis=0)]
        ends.append((min(rounded), max(rounded)))  # a rounded branch rises with its word
    return ends
