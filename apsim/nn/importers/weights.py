"""Constants as the weights and biases of integer layers.

The rule: zero points of weights are subtracted here, signs of scales are moved into the
weights here, and biases become integers here where they are ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from apsim.nn import rules
from apsim.nn.importers.graph import Array, Const, Node
from apsim.nn.importers.pending import ConstReal, Pending, Value
from apsim.nn.importers.walk import Walk
from apsim.nn.importers.width import width_of
from apsim.nn.model import Floats, Integers, Weighted

__all__ = ["add_bias", "scale_outputs", "weight_fields"]

SAME_SCALE = 1e-4  # exporters store sx * sw rounded to float32, and some round it twice


def weight_fields(node: Node, value: Value, transpose: bool = False) -> dict[str, Any]:
    """The fields of a layer with these weights [O, ...]; raises where they are not quantized."""
    if isinstance(value, Const) and value.array.dtype.kind == "f":
        raise node.refuse(
            "the weights are real numbers", "weights through QuantizeLinear and DequantizeLinear"
        )
    if not isinstance(value, ConstReal):
        raise node.refuse("the weights must be constants")
    if transpose:
        axis = value.integers.ndim - 1 - value.axis
        value = replace(value, integers=value.integers.T, axis=axis)
    if max(value.scale.size, value.zero.size) > 1 and value.axis != 0:
        raise node.refuse("weights with a scale along their inputs", "one scale for each output")
    integers, bits, signed = _without_zero(value)
    return {
        "weights": np.ascontiguousarray(integers),
        "weight_bits": bits,
        "weight_signed": signed,
        "weight_scale": np.asarray(value.scale, np.float64).ravel(),
        "bias": np.zeros(len(integers), np.int64),
    }


def _without_zero(value: ConstReal) -> tuple[Integers, int, bool]:
    """The integers less their zero points, and the width that holds them."""
    bits, signed = width_of(value.lo, value.hi)
    if not value.zero.any():
        return value.integers, bits, signed
    zero = value.zero.reshape(-1, *[1] * (value.integers.ndim - 1)).astype(np.int32)
    less = value.integers.astype(np.int32) - zero
    needed, _ = width_of(min(int(less.min()), -1), int(less.max()))
    return less.astype(np.int16 if needed <= 16 else np.int32), max(bits, needed), True


def add_bias(walk: Walk, node: Node, value: Pending, bias: Value, sign: int = 1) -> Pending:
    """The accumulators of `value` with a constant added along their channels.

    A bias quantized in the accumulator's unit is added to the integers; any other stays
    real and is added before rounding.
    """
    layer = value.weighted
    assert layer is not None
    channels = len(layer.weights)
    if isinstance(bias, Const) and bias.array.dtype.kind in "iu":
        added = _vector(node, bias.array, channels).astype(np.int64)
        return replace(value, layer=replace(layer, bias=layer.bias + sign * added))
    unit = rules.one_scale(walk.build.tensors[layer.inputs[0]]) * np.asarray(layer.weight_scale)
    if isinstance(bias, ConstReal) and _same_unit(bias.scale, unit):
        added = (bias.integers.astype(np.int64) - bias.zero).ravel()
        added = _vector(node, added, channels).astype(np.int64)
        return replace(value, layer=replace(layer, bias=layer.bias + sign * added))
    real = bias.real if isinstance(bias, ConstReal) else _array(node, bias)
    had = np.zeros(channels) if layer.shift is None else layer.shift
    shift = had + sign * _vector(node, real, channels)
    return replace(value, layer=replace(layer, shift=shift))


def _same_unit(scale: Floats, unit: Floats) -> bool:
    if scale.size not in (1, unit.size) and unit.size != 1:
        return False
    return bool(np.all(np.abs(scale / unit - 1) < SAME_SCALE))


def _array(node: Node, value: Value) -> Array:
    if not isinstance(value, Const):
        raise node.refuse("the added or multiplied values must be constants")
    return value.array


def _vector(node: Node, values: Array, channels: int) -> Array:
    """One entry for each channel of what broadcasts along them."""
    flat = np.ravel(values)
    if flat.size not in (1, channels):
        raise node.refuse(f"a constant of shape {list(values.shape)}",
                          f"one value, or one for each of {channels} channels")  # fmt: skip
    return np.broadcast_to(flat, (channels,))


def scale_outputs(node: Node, value: Pending, factors: Array) -> Pending:
    """The accumulators of `value` times a constant along their channels."""
    layer = value.weighted
    assert layer is not None
    by = _vector(node, np.asarray(factors, np.float64), len(layer.weights))
    if not (np.isfinite(by).all() and (by != 0).all()):
        raise node.refuse("a factor that is zero or not finite")
    if np.size(factors) == 1 and by[0] > 0:
        by = by[:1]
    scale = np.asarray(layer.weight_scale) * np.abs(by)
    shift = None if layer.shift is None else layer.shift * by
    layer = replace(layer, weight_scale=scale, shift=shift)
    return replace(value, layer=_negated(layer, by < 0) if (by < 0).any() else layer)


def _negated(layer: Weighted, channels: Array) -> Weighted:
    """The layer with the weights and biases of some output channels negated."""
    sign = np.where(np.broadcast_to(channels, (len(layer.weights),)), -1, 1)
    weights = layer.weights.astype(np.int32) * sign.reshape(-1, *[1] * (layer.weights.ndim - 1))
    needed, _ = width_of(min(int(weights.min()), -1), int(weights.max()))
    return replace(
        layer,
        weights=weights.astype(np.int8 if needed <= 8 else np.int32),
        weight_bits=max(needed, layer.weight_bits),
        weight_signed=True,
        bias=layer.bias * sign,
    )


def fold_zero_point(walk: Walk, layer: Weighted, rows: Sequence[int] = ()) -> Weighted:
    """The layer with its input's zero point folded into the bias."""
    zero = walk.build.tensors[layer.inputs[0]].zero_point
    sums = layer.weights.reshape(len(layer.weights), -1).sum(axis=1, dtype=np.int64)
    return replace(layer, bias=layer.bias - zero * sums)
