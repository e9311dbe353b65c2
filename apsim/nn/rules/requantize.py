"""How accumulators become activations: the requantization rules, each in exact arithmetic.

The rule: a specification's rounding is stated here and nowhere else.  Every layer is
requantized in two steps, so that the ReLU may run between them, on the AP:

    q = scale(acc, requant)          signed, `requant.width` bits, saturated
    q = max(q, 0)                    where the layer has a ReLU
    y = finish(q, requant)           clip(q + zero_point, lo, hi)

| rule             | q                                                                    |
|------------------|----------------------------------------------------------------------|
| onnx-exact       | round half even(acc * M / 2**e), M the 24-bit mantissa of float32 s    |
| ort-f32          | rint(float32(acc) * float32 s): what onnxruntime computes on x86      |
| tflite           | 31-bit M; doubling high multiply (half up), then shift (half away)     |
| tflite-float     | round half away(float64(acc) * float64 s): fully connected, float path |
| tflite-16x8      | 16-bit M, one rounding half up: 16-bit activations                     |
| dyadic(k,mode)   | round by mode(acc * M / 2**e), M the k-bit mantissa of s (HAWQ: 31)    |
| sign             | +1 where acc * M + offset >= 0, else -1: QONNX BipolarQuant            |

Average pooling divides by the window count as well: `divide`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from apsim.errors import ModelError
from apsim.nn.model import Floats, Integers, Requant, Tensor
from apsim.nn.rules.rounding import MODES, fits_64_bits, round_divide, widen

__all__ = ["FAMILIES", "divide", "finish", "multiplier", "one_scale", "parse", "requant", "scale"]

Array = npt.NDArray[Any]
FAMILIES = ("onnx-exact", "ort-f32", "tflite", "dyadic(k,mode)")
_DYADIC = re.compile(r"dyadic\((\d+),([a-z-]+)\)")
_MANTISSA_BITS = {
    "onnx-exact": 24, "ort-f32": 24, "tflite": 31, "tflite-float": 31, "tflite-16x8": 31,
    "sign": 24,
}  # fmt: skip


def requant(
    rule: str,
    factor: float | Sequence[float] | npt.NDArray[np.floating[Any]],
    *,
    zero_point: int = 0,
    lo: int,
    hi: int,
    rounding: str | None = None,
    parity: int = 0,
    offset: Sequence[int] | Integers = (0,),
) -> Requant:
    """Build the requantization of a layer from its real factor, input scales / output scale.

    `factor` has one entry or one for each output channel.  Raises `ModelError` for an
    unknown rule and for a factor that is not a positive finite number.
    """
    bits, mode = parse(rule)
    real = np.atleast_1d(np.asarray(factor, np.float64))
    if rule in ("onnx-exact", "ort-f32"):
        real = real.astype(np.float32).astype(np.float64)
    mantissa, exponent = multiplier(real, bits)
    if rule == "sign":
        rounding = "floor"
    if rounding not in (None, mode) and rule.startswith(("ort", "tflite")):
        raise ModelError(f"rule {rule} rounds in one way only, it cannot round {rounding}")
    if rule == "tflite":
        mantissa, exponent = np.where(exponent > 62, 0, mantissa), np.minimum(exponent, 62)
    if rule == "tflite-16x8":
        mantissa, exponent = _reduced(mantissa, exponent)
    shift = np.atleast_1d(np.asarray(offset, np.int64))
    return Requant(
        rule, real, mantissa, exponent, zero_point, lo, hi, rounding or mode, parity, shift
    )


def one_scale(tensor: Tensor, what: str = "a tensor") -> float:
    """Give the scale of a tensor that has exactly one; raises `ModelError` otherwise."""
    if not isinstance(tensor.scale, float):
        raise ModelError(f"{what} needs one scale to be requantized, it has {tensor.scale}")
    return tensor.scale


def parse(rule: str) -> tuple[int, str]:
    """Give the mantissa bits and rounding mode of a rule; `ModelError` where it is unknown."""
    found = _DYADIC.fullmatch(rule.replace(" ", ""))
    if found and found[2] in MODES and 1 <= int(found[1]) <= 31:
        return int(found[1]), found[2]
    if rule in _MANTISSA_BITS:
        return _MANTISSA_BITS[rule], "half-up" if rule == "tflite-16x8" else "half-even"
    raise ModelError(
        f"unknown requantization rule {rule!r}; known: {', '.join(FAMILIES)} with k in 1..31 "
        f"and mode one of {', '.join(MODES)}"
    )


def multiplier(factor: Floats, bits: int) -> tuple[Integers, Integers]:
    """Give integers (M, e) of `bits` bits with factor = M * 2**-e, M rounded half up.

    Exact where `factor` has no more than `bits` significant bits, as float32 has 24.
    """
    if not (np.isfinite(factor).all() and (factor > 0).all()):
        raise ModelError(f"a requantization factor must be positive and finite, got {factor}")
    fraction, power = np.frexp(factor)
    mantissa = np.floor(np.ldexp(fraction, bits) + 0.5).astype(np.int64)
    carried = mantissa == 1 << bits
    mantissa[carried] >>= 1
    return mantissa, bits - (power.astype(np.int64) + carried)


def _reduced(mantissa: Integers, exponent: Integers) -> tuple[Integers, Integers]:
    """The 16-bit multiplier that TFLite makes of the 31-bit one for 16-bit activations."""
    reduced = np.where(mantissa < 0x7FFF0000, (mantissa + (1 << 15)) >> 16, 0x7FFF)
    return reduced, exponent - 16


def scale(acc: Array, requant: Requant, axis: int = 1) -> Integers:
    """Scale and round accumulators to q, saturated to `requant.width` signed bits.

    `axis` is the one that per-channel factors run along.
    """
    steps = {"ort-f32": _float32, "tflite": _twice, "tflite-float": _float64, "sign": _sign}
    step = steps.get(requant.rule, _exact)
    return _saturate(step(acc, requant, _Channel(acc.ndim, axis)), requant)


def finish(q: Array, requant: Requant) -> Integers:
    """Add the zero point and clip to lo..hi."""
    y: Integers = np.clip(q + requant.zero_point, requant.lo, requant.hi).astype(np.int64)
    return y


def divide(total: Array, requant: Requant, counts: Array) -> Integers:
    """Make q of the sum over a window of `counts` values, their zero points subtracted.

    TFLite divides the raw sum, so that the zero point takes part in its rounding; under
    ort-f32 the factor has the count in it already.
    """
    counts = np.broadcast_to(np.asarray(counts, np.int64), total.shape)
    if requant.rule.startswith("tflite"):
        raw = total + requant.zero_point * counts
        return _saturate(round_divide(raw, counts, "half-away") - requant.zero_point, requant)
    if requant.rule == "ort-f32":
        return _saturate(_float32(total, requant, _Channel(total.ndim, 1)), requant)
    return _saturate(_exact(total, requant, _Channel(total.ndim, 1), counts), requant)


def _saturate(q: Array, requant: Requant) -> Integers:
    top = 1 << (requant.width - 1)
    saturated: Integers = np.clip(q, -top, top - 1).astype(np.int64)
    return saturated


class _Channel:
    """Lays a vector, one entry for each channel, along the channel axis of an array."""

    def __init__(self, ndim: int, axis: int) -> None:
        self.shape = [1] * ndim
        self.axis = axis

    def __call__(self, values: Array) -> Array:
        shape = list(self.shape)
        if values.size > 1:
            shape[self.axis] = -1
        return values.reshape(shape)


def _exact(acc: Array, requant: Requant, lay: _Channel, counts: Array | None = None) -> Array:
    """round((acc * M + offset) / (2**e * counts)), in 64 bits where they suffice."""
    one = np.ones(1, np.int64)
    up, down = np.maximum(-requant.exponent, 0), np.maximum(requant.exponent, 0)
    if counts is None:
        counts, down = one, np.minimum(down, 62)  # products stay below 2**61: all round alike
    mantissa, power = widen(requant.mantissa) << widen(up), widen(one) << widen(down)
    small = fits_64_bits((acc, mantissa), (requant.offset, one))
    small = small and int(power.max()) * int(counts.max()) < 1 << 63
    kind = np.int64 if small else object
    product = acc.astype(kind) * lay(mantissa.astype(kind)) + lay(requant.offset.astype(kind))
    divisor = lay(power.astype(kind)) * counts.astype(kind)
    return round_divide(product, divisor, requant.rounding, requant.parity)


def _float32(acc: Array, requant: Requant, lay: _Channel) -> Array:
    """rint(float32(acc) * s) in float32, as onnxruntime's x86 kernels do."""
    return _clipped_rint(acc.astype(np.float32) * lay(requant.scale.astype(np.float32)), requant)


def _clipped_rint(value: Array, requant: Requant) -> Array:
    """Clip before the cast to integers, which float values out of range do not survive."""
    top = float(1 << (requant.width - 1))
    return np.asarray(np.rint(np.clip(value, -top, top)), np.int64)


def _twice(acc: Array, requant: Requant, lay: _Channel) -> Array:
    """The saturating rounding doubling high multiply, then a rounding shift right.

    With the exponent counted from 31, as TFLite's `shift` is: left first where positive.
    """
    left = np.maximum(31 - requant.exponent, 0)
    right = np.minimum(np.maximum(requant.exponent - 31, 0), 62)
    factor = widen(requant.mantissa) << widen(left)
    kind = np.int64 if fits_64_bits((acc, factor)) else object
    product = acc.astype(kind) * lay(factor.astype(kind))
    high = round_divide(product, np.array([1 << 31]), "half-up")
    return round_divide(
        high, lay((widen(np.ones(1, np.int64)) << widen(right)).astype(kind)), "half-away"
    )


def _sign(acc: Array, requant: Requant, lay: _Channel) -> Array:
    """+1 from zero upwards, else -1: the rounding mode is "floor", which keeps the sign."""
    return np.where(_exact(acc, requant, lay) >= 0, 1, -1)


def _float64(acc: Array, requant: Requant, lay: _Channel) -> Array:
    """round half away(acc * s) in float64."""
    value = acc.astype(np.float64) * lay(requant.scale)
    away = np.copysign(np.floor(np.abs(value) + 0.5), value)
    return _clipped_rint(away, requant)
