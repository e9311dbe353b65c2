"""From scales to requantization factors: what each rule makes of sx, sw and sy.

The rule: the only place where a scale is divided by a scale.  Importers, `precision`
(other widths) and `with_rule` (another rule) all build their requantizations here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from apsim.errors import ModelError
from apsim.nn import rules
from apsim.nn.model import (
    Add,
    AvgPool,
    Floats,
    Interpolate,
    Layer,
    Linear,
    MatMul,
    Model,
    Multiply,
    Requant,
    Sum,
    Table,
    Tensor,
    Weighted,
)
from apsim.nn.model import Requantize as Move
from apsim.nn.rules import one_scale

__all__ = [
    "Clip",
    "clip_in",
    "clip_of",
    "fill_add",
    "fill_move",
    "fill_pool",
    "fill_weighted",
    "refill",
]

FLOAT32_ADD = "ort-f32 adds its two branches in float32, zero points first"
FLOAT32_MEAN = "ort-f32 sums real values in float32 in the order of the window"
FINE = 12  # a real bias is kept to 2**-13 output steps or better
TINY = 30  # sums below 2**-30 output steps decide nothing beside a real bias
WIDE = (-(1 << 30), (1 << 30) - 1)
NEAR = 24  # bits of the sums for which a product on a step is known to be on it
SIDES: dict[str, tuple[Callable[[Fraction], int], int]] = {
    "floor": (round, 1), "half-up": (round, 1), "ceil": (round, -1), "half-down": (round, -1),
    "toward-zero": (math.ceil, 0), "half-away": (math.ceil, 0),
    "away-from-zero": (math.floor, 0), "half-zero": (math.floor, 0),
}  # fmt: skip
"""How a mantissa is rounded, which way a product is put: a mode keeps what lies on a step."""


@dataclass(frozen=True)
class Clip:
    """Bounds of an output integer, and where its specification says more, how it rounds.

    `rounding` is a mode of `rules.MODES`, "sign", or None for the rule's own.
    """

    lo: int
    hi: int
    parity: int = 0
    rounding: str | None = None


def clip_of(tensor: Tensor) -> Clip:
    """The whole range of a tensor's width."""
    return Clip(tensor.lo, tensor.hi)


def _requant(rule: str, factor: float | Floats, y: Tensor, clip: Clip) -> Requant:
    rounding = clip.rounding
    if rounding == "sign":
        rule, rounding = "sign", None
    return rules.requant(
        rule,
        factor,
        zero_point=y.zero_point,
        lo=clip.lo,
        hi=clip.hi,
        parity=clip.parity,
        rounding=rounding,
    )


def _to_the_grid(requant: Requant, above: Sequence[Fraction], below: float) -> Requant:
    """The same, right where the exact product lies on a step, which no factor in binary hits.

    sums * p / q, p / q = above / below in lowest terms, lie on a step or 1/q away from it: a
    mantissa of 31 bits decides them all, put to the side that a mode rounds back from, by its
    own rounding or by half a unit of the mantissa for each of 2**NEAR sums.  Where q is so
    great that this is more than 1/q, hardly a sum is a multiple of it; half-even, which looks
    to both sides, has the tie of its rule.
    """
    if requant.rule != "onnx-exact" or requant.offset.any() or requant.rounding not in SIDES:
        return requant
    ratios = [part / Fraction(below) for part in above]
    exponents = [31 - math.frexp(float(ratio))[1] for ratio in ratios]
    exact = [r * Fraction(2) ** e for r, e in zip(ratios, exponents, strict=True)]
    if all(part.denominator == 1 for part in exact) or any(
        r.denominator << NEAR > 1 << max(e, 0) for r, e in zip(ratios, exponents, strict=True)
    ):
        return requant
    mantissa, offset = SIDES[requant.rounding]
    return replace(
        requant, scale=np.array([float(ratio) for ratio in ratios]),
        mantissa=np.array([mantissa(part) for part in exact]), exponent=np.array(exponents),
        offset=np.full(len(ratios), offset << (NEAR - 1)),
    )  # fmt: skip


def clip_in(requant: Requant) -> Clip:
    """The bounds and the rounding of a requantization, without its factor."""
    own = rules.parse(requant.rule)[1]
    rounding = None if requant.rounding == own else requant.rounding
    rounding = "sign" if requant.rule == "sign" else rounding
    return Clip(requant.lo, requant.hi, requant.parity, rounding)


def _ratio(rule: str, above: Any, below: float) -> Any:
    """above / below, in float32 where the rule's specification computes in float32."""
    if rule in ("onnx-exact", "ort-f32"):
        return np.float64(np.float32(above) / np.float32(below))
    return np.float64(above) / np.float64(below)


def _variant(rule: str, layer: Layer, x: Tensor) -> str:
    """TFLite has one rule for each kind of kernel; the others have one for all."""
    if rule != "tflite":
        return rule
    if isinstance(layer, Linear) and layer.sum_bits != 32:
        return "tflite-float"
    wide = x.bits > 8 and not (isinstance(layer, Weighted) and layer.sum_bits == 32)
    return "tflite-16x8" if wide else "tflite"


def fill_weighted(rule: str, layer: Weighted, x: Tensor, y: Tensor, clip: Clip) -> Requant:
    """The requantization of a convolution or linear layer: factor sx * sw / sy."""
    if layer.weight_scale is None:
        raise ModelError(f"layer {layer.name!r} has no weight scale, so no other rule or width")
    rule = _variant(rule, layer, x)
    weight = np.asarray(layer.weight_scale, np.float64)
    if rule in ("onnx-exact", "ort-f32"):
        product = np.float32(one_scale(x)) * weight.astype(np.float32)
        factor = (product / np.float32(one_scale(y))).astype(np.float64)
    elif rule == "tflite" and not x.signed:  # 8 bits without sign: the product in float32
        factor = _product32(one_scale(x), weight) / one_scale(y)
    else:
        factor = one_scale(x) * weight / one_scale(y)
    requant = _requant(rule, factor, y, clip)
    if layer.shift is None:
        return _to_the_grid(requant, _products(one_scale(x), weight), one_scale(y))
    return _shifted(_within_reach(requant, layer, x, y), layer.shift / one_scale(y))


def _within_reach(requant: Requant, layer: Weighted, x: Tensor, y: Tensor) -> Requant:
    """Factors so small that no real bias fits beside them, with the bits that sums can show.

    A channel whose sums stay below 2**-TINY steps of the output keeps fewer bits of its factor.
    """
    assert layer.shift is not None
    steps = np.abs(np.atleast_1d(layer.shift)) / one_scale(y)
    room = 60 - np.ceil(np.log2(np.maximum(steps, 1))).astype(np.int64)
    spare = np.maximum(requant.exponent - room, 0)
    weights = np.abs(layer.weights.reshape(len(layer.weights), -1).astype(np.float64))
    most = weights.sum(axis=1) * max(abs(x.lo), abs(x.hi)) + np.abs(layer.bias)
    lost = np.ldexp(most / 2, -np.broadcast_to(room, most.shape))
    if not spare.any() or (lost[np.broadcast_to(spare > 0, lost.shape)] > 2.0**-TINY).any():
        return requant
    mantissa, exponent, spare = np.broadcast_arrays(requant.mantissa, requant.exponent, spare)
    less = np.array([m if k == 0 else (m >> k) + (m >> (k - 1) & 1) if k < 62 else 0
                     for m, k in zip(mantissa.tolist(), spare.tolist(), strict=True)])  # fmt: skip
    return replace(requant, mantissa=less.astype(np.int64), exponent=exponent - spare)


def _products(a: float, b: Any) -> list[Fraction]:
    """The exact products of a number and others."""
    return [Fraction(a) * Fraction(each) for each in np.ravel(b).tolist()]


def _product32(a: float, b: Any) -> Any:
    """a * b rounded to float32."""
    return np.float64(np.float32(a) * np.asarray(b, np.float32))


def fill_product(
    rule: str, layer: Multiply | MatMul, inputs: Sequence[Tensor], y: Tensor, clip: Clip
) -> Requant:
    """The requantization of a product of two tensors: factor sa * sb / sy.

    TFLite computes MUL's in float32 throughout, BATCH_MATMUL's product alone, and that of
    a fully connected layer not at all.
    """
    a, b = (one_scale(tensor) for tensor in inputs)
    if rule != "tflite":
        product = np.float64(np.float32(a) * np.float32(b)) * layer.gain
        factor = _ratio(rule, product, one_scale(y))
    elif isinstance(layer, Multiply):
        factor = np.float64(np.float32(_product32(a, b)) / np.float32(one_scale(y)))
    elif layer.dense:
        rule, factor = "tflite-float", np.float64(a * b / one_scale(y))
    else:
        factor = _product32(a, b) / one_scale(y)
        rule = "tflite-16x8" if inputs[0].bits > 8 else rule
    exact = [part * Fraction(layer.gain) for part in _products(a, b)]
    return _to_the_grid(_requant(rule, factor, y, clip), exact, one_scale(y))


def fill_interpolate(
    rule: str, layer: Interpolate, x: Tensor, y: Tensor, clip: Clip
) -> Interpolate:
    """A weighed mean of neighbours: factor sx / sy, the grid divides at run time."""
    if rule == "ort-f32" or rule.startswith("tflite"):
        raise ModelError(f"layer {layer.name!r}: rule {rule} weighs neighbours in its own way, "
                         "which is not known; use onnx-exact")  # fmt: skip
    factor = _ratio(rule, one_scale(x), one_scale(y))
    requant = _to_the_grid(_requant(rule, factor, y, clip), [Fraction(one_scale(x))], one_scale(y))
    return replace(layer, requant=requant)


def fill_sum(rule: str, layer: Sum, x: Tensor, y: Tensor, clip: Clip) -> Sum:
    """A sum or a mean over axes: factor sx / sy, divided by the number of words for a mean.

    TFLite divides the 31-bit mantissa, shifted left as far as it goes.
    """
    words = int(np.prod([x.shape[axis] for axis in layer.axes]))
    factor = float(_ratio(rule, one_scale(x), one_scale(y)))
    requant = _requant(rule, factor / words if layer.mean and rule != "tflite" else factor, y, clip)
    if layer.mean and rule == "tflite":
        power = 31 - int(requant.exponent[0])
        left = max(min(words.bit_length() - 1, 32, 31 + power), 0)
        requant = replace(
            requant, scale=requant.scale / words, mantissa=(requant.mantissa << left) // words,
            exponent=requant.exponent + left,
        )  # fmt: skip
    return replace(layer, bias=-words * x.zero_point, requant=requant)


def _shifted(requant: Requant, steps: Floats) -> Requant:
    """The requantization with a real number of output steps added before it rounds."""
    if requant.rule.startswith(("ort", "tflite")):
        raise ModelError(f"rule {requant.rule} has no real bias; use onnx-exact")
    scaled = np.ldexp(steps, requant.exponent.astype(np.int64))
    offset = np.rint(scaled)
    if not (np.abs(offset) < 2.0**62).all():
        raise ModelError(
            f"a real bias of {np.abs(steps).max():g} output steps does not fit 64 bits"
        )
    if ((requant.exponent < FINE) & (scaled != offset)).any():
        raise ModelError(f"a factor of {requant.scale.max():g} is too coarse for a real bias")
    return replace(requant, offset=offset.astype(np.int64))


def fill_pool(rule: str, layer: AvgPool, x: Tensor, y: Tensor, clip: Clip) -> AvgPool:
    """An average pool with its bias and its factor sx / sy (the count divides at run time)."""
    factor = _ratio(rule, one_scale(x) * layer.gain, one_scale(y))
    if rule == "ort-f32":  # QLinearGlobalAveragePool: sx / (sy * count), in float32
        count = np.float32(layer.kernel[0] * layer.kernel[1])
        factor = np.float64(np.float32(one_scale(x)) / (np.float32(one_scale(y)) * count))
    if clip.rounding == "sign":
        raise ModelError(f"layer {layer.name!r}: the sign of a mean; quantize it to 2 bits or more")
    if rule == "tflite" and factor != 1:
        raise ModelError(f"layer {layer.name!r}: tflite averages without rescaling, got {factor}")
    height, width = layer.kernel
    requant = _requant(rule, factor, y, clip)
    requant = _to_the_grid(requant, _products(one_scale(x), layer.gain), one_scale(y))
    host = FLOAT32_MEAN if rule == "ort-f32" and not layer.whole_plane else ""
    return replace(layer, bias=-x.zero_point * height * width, requant=requant, host=host)


def fill_move(rule: str, layer: Move, x: Tensor, y: Tensor, clip: Clip) -> Move:
    """A change of scale, zero point or width, or sums with a scale and a shift for each channel.

    Under onnx-exact the ratio of two scales of activations keeps 31 bits: no specification
    rounds it to float32, as it does the factor of a convolution.
    """
    scales = one_scale(x) if x.scale is None else np.asarray(x.scale)
    requant = _requant(rule, _ratio(rule, scales, one_scale(y)), y, clip)
    if rule == "onnx-exact" and x.bits <= 16 and clip.rounding != "sign":
        ratio = np.atleast_1d(np.asarray(scales, np.float64) / one_scale(y))
        mantissa, exponent = rules.multiplier(ratio, 31)
        requant = replace(requant, scale=ratio, mantissa=mantissa, exponent=exponent)
    if np.any(x.shift):
        requant = _shifted(requant, np.atleast_1d(x.shift) / one_scale(y))
    requant = _to_the_grid(requant, _products(1.0, scales), one_scale(y))
    return replace(layer, bias=-x.zero_point, requant=requant)


def fill_add(rule: str, layer: Add, inputs: Sequence[Tensor], y: Tensor, clip: Clip) -> Add:
    """An addition under a rule.

    onnx-exact: one exact sum, rounded once, with integer multipliers where scales differ.
    tflite and dyadic: each branch rounded, then added.  ort-f32: float32, on the host.
    """
    sign = -1 if layer.multipliers[1] < 0 else 1  # a difference
    plain = replace(
        layer, multipliers=(1, sign), bias=0, branches=None, branch_zero_points=(0, 0),
        branch_shift=0, host="",
    )  # fmt: skip
    scales = [one_scale(tensor) for tensor in inputs]
    zeros = (inputs[0].zero_point, inputs[1].zero_point)
    if rule == "tflite":
        return _add_tflite(plain, scales, zeros, y, clip, shift=20 if y.bits <= 8 else 15)
    ratios = [_ratio(rule, scale, one_scale(y)) for scale in scales]
    if rule == "onnx-exact":
        return _add_exact(plain, ratios, zeros, y, clip)
    branches = [rules.requant(rule, ratio, lo=WIDE[0], hi=WIDE[1]) for ratio in ratios]
    return replace(
        plain,
        branches=(branches[0], branches[1]),
        branch_zero_points=zeros,
        requant=_requant(rule, 1.0, y, clip),
        host=FLOAT32_ADD if rule == "ort-f32" else "",
    )


def _add_exact(
    layer: Add, ratios: list[float], zeros: tuple[int, int], y: Tensor, clip: Clip
) -> Add:
    """ma * a + mb * b at the finer of the two exponents; 1 and +-1 where the scales are equal."""
    sign = layer.multipliers[1]
    if ratios[0] == ratios[1]:
        requant = _requant("onnx-exact", ratios[0], y, clip)
        return replace(layer, bias=-zeros[0] - sign * zeros[1], requant=requant)
    mantissas, exponents = rules.multiplier(np.asarray(ratios), 24)
    finest = int(exponents.max())
    wide = [int(m) << (finest - int(e)) for m, e in zip(mantissas, exponents, strict=True)]
    spare = min((m & -m).bit_length() - 1 for m in wide)
    ma, mb = wide[0] >> spare, sign * (wide[1] >> spare)
    requant = _requant("onnx-exact", 1.0, y, clip)
    requant = replace(
        requant,
        scale=np.array([2.0 ** (spare - finest)]),
        mantissa=np.ones(1, np.int64),
        exponent=np.array([finest - spare]),
    )
    return replace(
        layer, multipliers=(ma, mb), bias=-(ma * zeros[0] + mb * zeros[1]), requant=requant
    )


def _add_tflite(
    layer: Add, scales: list[float], zeros: tuple[int, int], y: Tensor, clip: Clip, shift: int
) -> Add:
    """Each branch shifted left, scaled to twice the greater scale, added, scaled to sy."""
    twice = 2 * max(scales)
    a, b = (rules.requant("tflite", s / twice, lo=WIDE[0], hi=WIDE[1]) for s in scales)
    factor = twice / ((1 << shift) * one_scale(y))
    return replace(
        layer,
        branches=(a, b),
        branch_zero_points=zeros,
        branch_shift=shift,
        requant=_requant("tflite", factor, y, clip),
    )


def refill(model: Model, layer: Layer, rule: str, clip: Clip | None = None) -> Layer:
    """The layer with its requantization made anew from the scales of the model's tensors.

    Raises `ModelError` where the layer does not know the scales it needs.
    """
    if isinstance(layer, Table):
        return _same_table(model, layer)
    requant: Requant | None = getattr(layer, "requant", None)
    if requant is None:
        return layer
    kept = clip or clip_in(requant)
    inputs, y = [model.tensors[name] for name in layer.inputs], model.tensors[layer.output]
    if isinstance(layer, Weighted):
        return replace(layer, requant=fill_weighted(rule, layer, inputs[0], y, kept))
    if isinstance(layer, AvgPool):
        return fill_pool(rule, layer, inputs[0], y, kept)
    if isinstance(layer, Move):
        return fill_move(rule, layer, inputs[0], y, kept)
    if isinstance(layer, Multiply | Add) and _own_rounding(rule, requant):
        return layer
    if isinstance(layer, Multiply | MatMul):
        return replace(layer, requant=fill_product(rule, layer, inputs, y, kept))
    if isinstance(layer, Interpolate):
        return fill_interpolate(rule, layer, inputs[0], y, kept)
    if isinstance(layer, Sum):
        return fill_sum(rule, layer, inputs[0], y, kept)
    assert isinstance(layer, Add)
    return fill_add(rule, layer, inputs, y, kept)


def _own_rounding(rule: str, requant: Requant) -> bool:
    """Whether an operator of the file rounds in a way of its own, whatever the rule is."""
    return requant.rule.startswith("dyadic(1,") and not rule.startswith("dyadic(")


def _same_table(model: Model, layer: Table) -> Table:
    """A table holds for the width that it was made for and for no other."""
    bits = model.tensors[layer.inputs[0]].bits
    if layer.values.shape[1] != 1 << bits:
        raise ModelError(
            f"layer {layer.name!r} is a table of {layer.values.shape[1]} words ({layer.function}), "
            f"so its input keeps its width; {bits} bits were asked for"
        )
    return layer
