"""Sums of integers as tensors: of a layer that nothing rounds, or that several roundings share.

The rule: a layer with weights runs once, however many quantizations or functions take its sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from apsim.errors import ModelError
from apsim.nn import rules
from apsim.nn.importers.drawing import Span
from apsim.nn.importers.pending import PLACEHOLDER, Pending
from apsim.nn.model import Add, Layer, Linear, Requantize, Tensor, Weighted
from apsim.nn.model.words import holding
from apsim.nn.rules import factors, ranges

if TYPE_CHECKING:
    from apsim.nn.importers.builder import Builder

__all__ = ["given_out", "of_sums", "raw_sums", "shared"]


def shared(build: Builder, first: Weighted, output: str, layer: Weighted) -> bool:
    """Whether the sums of a layer that made `output` serve another: unit and shift agree."""
    scales = [np.asarray(one.weight_scale, np.float64) for one in (first, layer)]
    shifts = [np.zeros(1) if one.shift is None else one.shift for one in (first, layer)]
    single = scales[1].size == 1 and not any(shift.any() for shift in shifts)
    if not single and len(build.tensors[output].shape) not in (1, 3):
        return False  # the factors of a `Requantize` run along its first axis
    pairs = (np.broadcast_arrays(*pair) for pair in (scales, shifts))
    return build.rule != "tflite" and all(np.array_equal(a, b) for a, b in pairs)


def of_sums(build: Builder, output: str, name: str) -> Requantize:
    """A requantization of the sums that `output` was made of, which get a tensor now."""
    maker = _maker(build, output)
    if isinstance(maker, Weighted):
        _part(build, maker)
        maker = _maker(build, output)
    return Requantize(name=name, inputs=maker.inputs, output=name, requant=PLACEHOLDER)


def _part(build: Builder, layer: Weighted) -> None:
    """Part a layer with weights from its requantization."""
    assert layer.requant is not None
    index = build.layers.index(layer)
    sums = build.new_name(f"{layer.name} (sums)")
    tensor = _tensor_of(build, layer, build.tensors[layer.output].shape, exact=True)
    build.tensors[sums] = tensor
    move = Requantize(
        name=build.layer_name(layer.output), inputs=(sums,), output=layer.output,
        relu=layer.relu, requant=layer.requant,
    )  # fmt: skip
    clip = factors.clip_in(layer.requant)
    moved = factors.refill(build.context(move), move, build.rule, clip)
    bare = replace(layer, output=sums, requant=None, relu=False, shift=None)
    build.layers[index : index + 1] = [bare, moved]


def _maker(build: Builder, output: str) -> Layer:
    return next(layer for layer in build.layers if layer.output == output)


def raw_sums(build: Builder, layer: Weighted, shape: tuple[int, ...], nodes: Sequence[int]) -> str:
    """The accumulators of a layer as a tensor of their own, without its real bias; once."""
    bare = replace(layer, requant=None, relu=False, shift=None)

    def make() -> str:
        output = build.new_name(f"{layer.name} (sums)")
        tensor = _tensor_of(build, bare, shape, exact=True)
        within = ranges.of_layer(build.context(bare), bare).shifted(bare.bias)
        axis = len(shape) - 1 if isinstance(layer, Linear) else 0
        build.spans[output] = Span(within.low, within.high, axis)
        return build.emit(replace(bare, output=output), tensor, nodes)

    key = ("raw sums", layer.inputs, id(layer.weights), id(layer.bias))
    return build.once(key, layer, make)


def given_out(build: Builder, value: Pending, layer: Weighted | Add, name: str) -> str:
    """A last layer whose output is its accumulator, in its own unit."""
    inputs = [build.tensors[one] for one in layer.inputs]
    bare = replace(layer, output=name, requant=None, relu=value.bounds.relu)
    if isinstance(bare, Add):
        if len(inputs) > 2:
            raise ModelError(f"tensor {name!r}: a sum of {len(inputs)} tensors, not rounded")
        zeros = inputs[0].zero_point + bare.multipliers[1] * inputs[1].zero_point
        if inputs[0].scale != inputs[1].scale:
            raise ModelError(f"tensor {name!r}: unequal scales added and not rounded")
        tensor = Tensor(value.shape, max(t.bits for t in inputs) + 2, True, inputs[0].scale)
        return build.emit(replace(bare, bias=-zeros), tensor, value.nodes)
    if bare.relu and bare.shift is not None:
        raise ModelError(f"tensor {name!r}: a ReLU of sums with a real bias, not rounded")
    tensor = _tensor_of(build, bare, value.shape)
    return build.emit(replace(bare, shift=None), tensor, value.nodes)


def _tensor_of(
    build: Builder, layer: Weighted, shape: tuple[int, ...], exact: bool = False
) -> Tensor:
    """The tensor of a layer's accumulators: 32 or 64 bits, or `exact`ly what they need."""
    given = build.tensors[layer.inputs[0]]
    steps = rules.one_scale(given) * np.asarray(layer.weight_scale, np.float64)
    shift = np.zeros(1) if layer.shift is None else layer.shift
    within = ranges.of_layer(build.context(layer), layer)
    low = min(int((within.low + layer.bias).min()), int(within.low.min()))
    high = max(int((within.high + layer.bias).max()), int(within.high.max()))
    bits = holding(min(low, -1), high).bits
    wide = bits if exact else 32 if bits <= 32 else 64
    return Tensor(shape, wide, True, _one_or_all(steps), shift=_one_or_all(shift))


def _one_or_all(values: Any) -> float | tuple[float, ...]:
    listed = tuple(float(v) for v in np.ravel(values))
    return listed[0] if len(set(listed)) == 1 else listed
