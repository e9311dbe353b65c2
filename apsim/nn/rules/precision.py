"""Bit fluidity: the same loaded network at other widths, layer by layer (paper, V.B).

The rule: real weights and ranges stay as they are; only integers and factors are made
anew, so switching costs a rounding of the weights and no rebuild of the network.

A list of widths has one entry for each layer of `Model.fluid`: n for n-bit inputs and n-bit
weights, or a pair (input bits, weight bits).  A product of two tensors takes its two inputs at
those widths, the AP's softmax its scores at n bits, its table being made anew.  Constants beside
such words are rounded to their new steps.  A layer whose
tensors and weights keep their widths is the one that it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from apsim.errors import InputError, ModelError
from apsim.nn.model import (
    Entry,
    Floats,
    Integers,
    Layer,
    Model,
    Rearrange,
    Requant,
    Softmax,
    Tensor,
    Weighted,
)  # fmt: skip
from apsim.nn.model.check import verify
from apsim.nn.model.shapes import WIDEST_SCORE
from apsim.nn.model.words import holding
from apsim.nn.rules import one_scale, ranges
from apsim.nn.rules.factors import Clip, clip_in, refill
from apsim.nn.rules.normalize import exponential
from apsim.nn.rules.widths import Plan

__all__ = ["Widths", "at", "quantize_weights", "weight_scale", "with_rule"]

Widths = int | Sequence[int | tuple[int, int]]
_NARROWEST, _WIDEST = 2, 16


def weight_scale(real: npt.NDArray[np.floating], bits: int, per_channel: bool = True) -> Floats:
    """The step of a symmetric grid of `bits` bits for weights [O, ...].

    2 * mean|w| / sqrt(top) (LSQ, Esser et al. 2020), but never coarser than the greatest
    weight needs: narrow grids cut the tail off, wide ones hold every weight.
    """
    top = (1 << (bits - 1)) - 1
    size = np.abs(real.reshape(len(real) if per_channel else 1, -1)).astype(np.float64)
    step = np.minimum(size.max(axis=1) / top, 2 * size.mean(axis=1) / np.sqrt(top))
    return np.where(step > 0, step, 1.0).astype(np.float32).astype(np.float64)


def quantize_weights(real: npt.NDArray[np.floating], bits: int, scale: Floats) -> Integers:
    """Round real weights [O, ...] to the grid of `scale`, saturated to `bits` signed bits."""
    top = (1 << (bits - 1)) - 1
    steps = np.rint(real / scale.reshape(-1, *[1] * (real.ndim - 1)))
    return np.clip(steps, -top - 1, top).astype(np.int8 if bits <= 8 else np.int16)


def with_rule(model: Model, rule: str) -> Model:
    """The model under another requantization rule."""
    layers = tuple(refill(model, layer, rule) for layer in model.layers)
    return verify(model.replace(rule=rule, layers=layers))


def at(model: Model, bits: Widths) -> Model:
    """The model with each layer at the widths of `bits` (see the module's header).

    Raises `InputError` where the list does not fit the model, `ModelError` where a
    tensor has no scale to begin from.
    """
    widths = _widths(model, bits)
    wanted = {layer.name: pair for layer, pair in zip(model.fluid, widths, strict=True)}
    given = {
        layer.name: wanted[layer.name][: len(layer.inputs)] for layer in model.fluid
    }  # fmt: skip
    new = Plan(model, given).model_with_tensors()
    layers, tensors = [], dict(new.tensors)
    before = {layer.name: layer for layer in model.layers}
    for layer in new.layers:
        own = before.get(layer.name)
        if own is not None and _stays(model, tensors, own, layer, wanted.get(layer.name)):
            layers.append(layer)
            continue
        if isinstance(layer, Weighted):
            assert own is not None
            old = model.tensors[own.inputs[0]]
            layer = _reweigh(layer, wanted[layer.name][1], old, tensors[layer.inputs[0]])
            if layer.requant is None:
                tensors[layer.output] = _accumulator(new, layer, tensors)
        if isinstance(layer, Softmax) and own is not None:
            layer = _softmax(layer, model.tensors[own.inputs[0]], tensors[layer.inputs[0]])
        if isinstance(layer, Rearrange) and layer.fill.any():
            layer = _constants(layer, model.tensors[layer.output], tensors[layer.output])
        resized = new.replace(tensors=tensors)
        layers.append(refill(resized, layer, new.rule, _clip(model, resized, layer)))
    entries = {
        name: _entry(entry, model.tensors[name], tensors[name])
        for name, entry in model.entries.items()
    }
    return verify(new.replace(layers=tuple(layers), tensors=tensors, entries=entries))


def _stays(
    model: Model, tensors: Mapping[str, Tensor], own: Layer, layer: Layer,
    wanted: tuple[int, int] | None,
) -> bool:  # fmt: skip
    """Whether a layer's tensors and weights keep their widths."""
    names = (*layer.inputs, layer.output)
    same = all(model.tensors.get(name) == tensors[name] for name in names)
    heavy = isinstance(layer, Weighted) and wanted is not None and wanted[1] != layer.weight_bits
    return same and own.inputs == layer.inputs and not heavy


def _softmax(layer: Softmax, old: Tensor, new: Tensor) -> Softmax:
    """The same softmax of scores that were `old` and are `new`: a step of them is another."""
    factor = layer.factor * one_scale(new) / one_scale(old)
    if layer.table is None:
        return replace(layer, factor=factor)
    return replace(layer, factor=factor, table=exponential(factor, new.bits))


def _constants(layer: Rearrange, old: Tensor, new: Tensor) -> Rearrange:
    """The same constants in the steps of the new width, saturated to it."""
    steps = np.rint(layer.fill * (one_scale(old) / one_scale(new))).astype(np.int64)
    zero = new.zero_point
    return replace(layer, fill=np.clip(steps, new.lo - zero, new.hi - zero))


def _entry(entry: Entry, old: Tensor, new: Tensor) -> Entry:
    """How numbers enter the same input at another width: real bounds stay where they are."""
    if old == new:
        return entry
    if entry.thresholds:
        raise ModelError(f"input {entry.name!r} enters by thresholds, so it keeps its width")
    step = one_scale(old) / one_scale(new)

    def moved(end: int | None, whole: int) -> int | None:
        if end is None or end == whole:
            return None
        return round((end - old.zero_point) * step) + new.zero_point

    return replace(entry, lo=moved(entry.lo, old.lo), hi=moved(entry.hi, old.hi))


def _accumulator(model: Model, layer: Weighted, tensors: Mapping[str, Tensor]) -> Tensor:
    """The output of a layer that gives its accumulators: its unit is sx * sw, as wide as needed."""
    assert layer.weight_scale is not None
    steps = one_scale(tensors[layer.inputs[0]]) * layer.weight_scale
    scale = tuple(float(step) for step in steps)
    within = ranges.of_layer(model.replace(tensors=tensors), layer)
    ends = [end for one in (within, within.shifted(layer.bias)) for end in (one.low, one.high)]
    words = holding(min(int(end.min()) for end in ends), max(int(end.max()) for end in ends))
    old = tensors[layer.output]
    wide = max(old.bits, words.bits + (not words.signed))
    return replace(old, bits=wide, scale=scale[0] if len(scale) == 1 else scale)


def _clip(before: Model, after: Model, layer: Layer) -> Clip | None:
    """The real bounds of a layer's output (a ReLU6's, say) in its new integers."""
    requant: Requant | None = getattr(layer, "requant", None)
    new = after.tensors[layer.output]
    old = before.tensors.get(layer.output)
    if requant is None or old is None:
        return Clip(new.lo, new.hi)
    step = one_scale(old) / one_scale(new)
    lo, hi = (round((end - old.zero_point) * step) for end in (requant.lo, requant.hi))
    kept = clip_in(requant)
    return Clip(
        new.lo if requant.lo == old.lo else max(new.lo, lo + new.zero_point),
        new.hi if requant.hi == old.hi else min(new.hi, hi + new.zero_point),
        new.zero_point if kept.parity else 0,
        kept.rounding,
    )


def _widths(model: Model, bits: Widths) -> list[tuple[int, int]]:
    count = len(model.fluid)
    listed = [bits] * count if isinstance(bits, int) else list(bits)
    pairs = [(entry, entry) if isinstance(entry, int) else entry for entry in listed]
    if len(pairs) != count:
        names = ", ".join(layer.name for layer in model.fluid)
        raise InputError(f"expected {count} widths, one for each of {names}; got {len(pairs)}")
    for layer, pair in zip(model.fluid, pairs, strict=True):
        if not all(_NARROWEST <= width <= _WIDEST for width in pair):
            raise InputError(f"layer {layer.name!r}: widths must lie in 2..16, got {pair}")
        if isinstance(layer, Softmax) and (pair[0] != pair[1] or pair[0] > WIDEST_SCORE):
            raise InputError(
                f"layer {layer.name!r}: wanted one width of its scores, 2 to {WIDEST_SCORE}, "
                f"got {pair}"
            )
    return pairs


def _reweigh(layer: Weighted, bits: int, old: Tensor, new: Tensor) -> Weighted:
    """The layer with weights of another width; its input was `old` and is now `new`."""
    if layer.weight_scale is None:
        raise ModelError(f"layer {layer.name!r} has no weight scale, so no other width")
    kept = layer.real_weights is None and bits == layer.weight_bits
    real = _real_weights(layer)
    scale = weight_scale(real, bits, layer.weight_scale.size > 1)
    weights = quantize_weights(real, bits, scale)
    if kept:
        scale, weights = layer.weight_scale, layer.weights
    bias = np.rint(_real_bias(layer, old) / (one_scale(new) * scale)).astype(np.int64)
    sums = weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64)
    return replace(
        layer,
        weights=weights,
        weight_bits=bits,
        weight_signed=True if not kept else layer.weight_signed,
        weight_scale=scale,
        bias=bias - new.zero_point * sums,
    )


def _real_weights(layer: Weighted) -> npt.NDArray[np.floating]:
    if layer.real_weights is not None:
        return layer.real_weights
    assert layer.weight_scale is not None
    return layer.weights * layer.weight_scale.reshape(-1, *[1] * (layer.weights.ndim - 1))


def _real_bias(layer: Weighted, x: Tensor) -> npt.NDArray[np.floating]:
    if layer.real_bias is not None:
        return layer.real_bias
    assert layer.weight_scale is not None
    sums = layer.weights.reshape(len(layer.weights), -1).sum(axis=1, dtype=np.int64)
    return np.asarray((layer.bias + x.zero_point * sums) * (one_scale(x) * layer.weight_scale))
