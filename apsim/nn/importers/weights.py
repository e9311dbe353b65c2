"""Constants as the weights and biases of integer layers.

The rule: zero points of weights are subtracted here, signs of scales are moved into the
weights here, and biases become integers here where they are ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from apsim.nn import rules
from apsim.nn.importers.constants import Const, ConstReal, along
from apsim.nn.importers.graph import Array, Node
from apsim.nn.importers.pending import Pending, Value
from apsim.nn.importers.walk import Walk
from apsim.nn.model import Floats, Integers, Weighted
from apsim.nn.model.words import holding

__all__ = ["add_bias", "fold_zero_point", "scale_outputs", "weight_fields"]

ROUNDED = 2.0**-22  # sx * sw in float32, where some round it twice
WIDEST_BIAS = 1 << 63


def weight_fields(node: Node, value: Value, transpose: bool = False) -> dict[str, Any]:
    """The fields of a layer with these weights [O, ...]; raises where they are not quantized."""
    if isinstance(value, Const) and _whole(value.array):
        value = _as_integers(value.array)
    if isinstance(value, Const) and value.array.dtype.kind == "f":
        raise node.refuse(
            "the weights are real numbers", "weights through QuantizeLinear and DequantizeLinear"
        )
    if not isinstance(value, ConstReal):
        raise node.refuse("the weights must be constants")
    if not value.integers.size:
        raise node.refuse(f"weights of shape {list(value.integers.shape)}, which hold nothing")
    if transpose:
        value = value.moved(np.transpose)
    if any(size > 1 for part in (value.scale, value.zero) for size in part.shape[1:]):
        raise node.refuse("weights with a scale along their inputs", "one scale for each output")
    integers, bits, signed = _without_zero(value)
    return {
        "weights": np.ascontiguousarray(integers),
        "weight_bits": bits,
        "weight_signed": signed,
        "weight_scale": np.asarray(value.scale, np.float64).ravel(),
        "bias": np.zeros(len(integers), np.int64),
    }


def _whole(real: Array) -> bool:
    """Whether real weights are small integers, as FINN writes them."""
    small = real.dtype.kind == "f" and real.size > 0 and bool((np.abs(real) < 1 << 15).all())
    return small and np.array_equal(real, np.rint(real))


def _as_integers(real: Array) -> ConstReal:
    """Real weights that are integers, at scale 1."""
    lo, hi = min(int(real.min()), 0), int(real.max())
    one = (1,) * real.ndim
    integers = real.astype(np.int8 if holding(lo, hi).bits <= 7 else np.int16)
    return ConstReal(integers, np.ones(one), np.zeros(one, np.int64), lo, hi)


def _without_zero(value: ConstReal) -> tuple[Integers, int, bool]:
    """The integers less their zero points, and the width that holds them."""
    words = holding(value.lo, value.hi)
    if not value.zero.any():
        return value.integers, words.bits, words.signed
    less = value.less_zero
    needed = holding(min(int(less.min()), -1), int(less.max())).bits
    return less.astype(np.int16 if needed <= 16 else np.int64), max(words.bits, needed), True


def add_bias(
    walk: Walk, node: Node, value: Pending, bias: Value, sign: int = 1, own: bool = False
) -> Pending:
    """The accumulators of `value` with a constant added along their channels.

    A bias quantized in the accumulator's unit is added to the integers; any other stays
    real and is added before rounding.  `own` marks an operator's own bias [channels].
    """
    layer = value.weighted
    assert layer is not None  # its own bias comes first
    shape, axis = (value.shape, value.channel_axis) if not own else ((), 0)

    def laid(values: Array) -> Array:
        if own and np.shape(values) != (len(layer.weights),):
            raise node.refuse(f"a bias of shape {list(np.shape(values))}",
                              f"shape [{len(layer.weights)}]")  # fmt: skip
        return np.ravel(values) if own else along(node, values, shape, axis)

    if isinstance(bias, Const) and bias.array.dtype.kind in "iu":
        return _plus(node, value, laid(bias.array), sign)
    unit = rules.one_scale(walk.build.tensors[layer.inputs[0]]) * np.asarray(layer.weight_scale)
    if isinstance(bias, ConstReal):
        step = np.broadcast_to(bias.scale, bias.integers.shape)
        if _same_unit(laid(step), unit):
            return _plus(node, value, laid(bias.less_zero), sign)
    real = bias.real if isinstance(bias, ConstReal) else _array(node, bias)
    had = np.zeros(1) if layer.shift is None else layer.shift
    shift = np.broadcast_to(had + sign * laid(np.asarray(real, np.float64)), len(layer.weights))
    if not np.isfinite(shift).all():
        raise node.refuse("an added constant that is NaN or infinite")
    return replace(value, curve=None, layer=replace(layer, shift=shift if shift.any() else None))


def _plus(node: Node, value: Pending, added: Array, sign: int) -> Pending:
    """The accumulators with integers added, in numbers of any size."""
    layer = value.weighted
    assert layer is not None
    total = layer.bias.astype(object) + sign * added.astype(object)
    if max(map(abs, total)) >= WIDEST_BIAS:
        raise node.refuse("a bias that does not fit 64 bits")
    return replace(value, curve=None, layer=replace(layer, bias=total.astype(np.int64)))


def _same_unit(scale: Floats, unit: Floats) -> bool:
    """Whether a bias is written in the accumulators' unit, to within float32's rounding."""
    if scale.size not in (1, unit.size) and unit.size != 1:
        return False
    return bool(np.all(np.abs(scale - unit) <= ROUNDED * unit))


def _array(node: Node, value: Value) -> Array:
    if not isinstance(value, Const):
        raise node.refuse("the added or multiplied values must be constants")
    return value.array


def scale_outputs(node: Node, value: Pending, factors: Array) -> Pending:
    """The accumulators of `value` times a constant along their channels."""
    layer = value.weighted
    assert layer is not None
    by = along(node, np.asarray(factors, np.float64), value.shape, value.channel_axis)
    if not (np.isfinite(by).all() and (by != 0).all()):
        raise node.refuse("a factor that is zero or not finite", "factors other than zero")
    scale = np.asarray(layer.weight_scale) * np.abs(by)
    shift = None if layer.shift is None else layer.shift * by
    layer = replace(layer, weight_scale=scale, shift=shift)
    layer = _negated(layer, by < 0) if (by < 0).any() else layer
    return replace(value, curve=None, layer=layer)


def _negated(layer: Weighted, channels: Array) -> Weighted:
    """The layer with the weights and biases of some output channels negated."""
    sign = np.where(np.broadcast_to(channels, (len(layer.weights),)), -1, 1)
    weights = layer.weights.astype(np.int32) * sign.reshape(-1, *[1] * (layer.weights.ndim - 1))
    needed = holding(min(int(weights.min()), -1), int(weights.max())).bits
    return replace(
        layer,
        weights=weights.astype(np.int8 if needed <= 8 else np.int32),
        weight_bits=max(needed, layer.weight_bits),
        weight_signed=True,
        bias=layer.bias * sign,
    )


def fold_zero_point(walk: Walk, node: Node, layer: Weighted) -> Weighted:
    """The layer with its input's zero point folded into the bias."""
    zero = walk.build.tensors[layer.inputs[0]].zero_point
    sums = layer.weights.reshape(len(layer.weights), -1).sum(axis=1, dtype=np.int64)
    folded = layer.bias.astype(object) - zero * sums.astype(object)
    if max(map(abs, folded)) >= WIDEST_BIAS:
        raise node.refuse(f"an input with zero point {zero}: its sums do not fit 64 bits")
    return replace(layer, bias=folded.astype(np.int64))
