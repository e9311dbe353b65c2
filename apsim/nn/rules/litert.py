"""The fixed-point steps of LiteRT's reference kernels, and the softmax that is made of them.

The rule: every step is the kernels' own, in their order and width; which of their roundings
truncate and which do not is stated here and nowhere else.  After transformer.md section 3,
where each was settled by execution.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import frexp

import numpy as np
import numpy.typing as npt

from apsim.errors import ModelError
from apsim.nn.model import Integers, Tensor
from apsim.nn.rules.rounding import round_divide

__all__ = [
    "TOP", "away", "high_multiply", "looked_up", "multiplied", "multiplier_of", "shifted",
    "softmax", "words_of",
]  # fmt: skip

TOP = (1 << 31) - 1


def away(values: npt.ArrayLike) -> Integers:
    """Round to the nearest integer, ties away from zero."""
    wide = np.asarray(values, np.float64)
    return np.asarray(np.copysign(np.floor(np.abs(wide) + 0.5), wide), np.int64)


def multiplier_of(factor: float) -> tuple[int, int]:
    """QuantizeMultiplier: (M, e) with factor = M * 2**(e - 31), M of 31 bits; 0 if tiny."""
    fraction, power = frexp(factor)
    mantissa = int(np.floor(fraction * (1 << 31) + 0.5))
    if mantissa == 1 << 31:
        mantissa, power = mantissa >> 1, power + 1
    return (0, 0) if power < -31 else (mantissa, power)


def high_multiply(a: npt.ArrayLike, b: npt.ArrayLike, bits: int = 31) -> Integers:
    """Saturating rounding doubling high multiply of `bits`-bit fractions: 31 (or 15)."""
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    half, top = 1 << (bits - 1), (1 << bits) - 1
    nudged = product + np.where(product >= 0, half, 1 - half)
    return np.asarray(np.minimum(np.copysign(np.abs(nudged) >> bits, nudged), top), np.int64)


def shifted(values: Integers, right: int) -> Integers:
    """Shift right, ties away from zero."""
    return round_divide(np.asarray(values, np.int64), np.array([1 << right]), "half-away")


def multiplied(values: Integers, mantissa: int, power: int) -> Integers:
    """MultiplyByQuantizedMultiplier: values * M * 2**(e - 31), two roundings.

    Raises `ModelError` where the kernels, which shift left first, leave their 32 bits.
    """
    if power > 0 and int(np.abs(values).max(initial=0)) << power > TOP:
        raise ModelError(f"words scaled up by {mantissa * 2.0 ** (power - 31):.3g}, for which "
                         "TFLite's kernels leave 32 bits")  # fmt: skip
    high = high_multiply(np.asarray(values, np.int64) << max(power, 0), mantissa)
    return shifted(high, max(-power, 0))


def words_of(tensor: Tensor) -> Integers:
    """Every word of a tensor in ascending order, less its zero point."""
    return np.arange(tensor.lo, tensor.hi + 1, dtype=np.int64) - tensor.zero_point


def softmax(values: Integers, factor: float, y: Tensor, bits: int) -> Integers:
    """LiteRT's integer softmax over the last axis of words of `bits` bits.

    `factor` is beta times the input's scale.  Needs no zero point: differences count.
    """
    difference = np.asarray(values, np.int64) - values.max(axis=-1, keepdims=True)
    return _softmax16(difference, factor) if bits == 16 else _softmax8(difference, factor, y)


def _saturated(values: Integers) -> Integers:
    return np.clip(values, -TOP - 1, TOP)


def _softmax8(d: Integers, factor: float, y: Tensor) -> Integers:
    m, e = multiplier_of(min(factor * (1 << 26), float(TOP)))
    least = -int(np.floor(31 * (1 << 26) / 2.0**e))
    inside = d >= least
    scaled = high_multiply(np.where(inside, d, 0) << max(e, 0), m)
    exponential = np.where(inside, _exp_negative(scaled), 0)
    total = shifted(exponential, 12).sum(axis=-1, keepdims=True)
    head = 32 - np.array([int(t).bit_length() for t in total.ravel()]).reshape(total.shape)
    over = 12 - head
    half = (((total << head) - (1 << 31)) + (1 << 31)) >> 1
    x = 1515870810 + high_multiply(half, -1010580540)
    for _ in range(3):
        x = x + _saturated(high_multiply(x, (1 << 29) - high_multiply(half, x)) << 2)
    scale = _saturated(2 * x)
    right = np.array([1], np.int64) << (over + 31 - y.bits)
    q = round_divide(high_multiply(scale, exponential), right, "half-away") + y.lo
    return np.asarray(np.where(inside, np.clip(q, y.lo, y.hi), y.lo))


_BARREL = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def _exp_negative(a: Integers) -> Integers:
    """exp of a <= 0 in Q5.26, as Q0.31."""
    t = (a & ((1 << 24) - 1)) - (1 << 24)
    x = (t << 5) + (1 << 28)
    x2 = high_multiply(x, x)
    x3, x4 = high_multiply(x2, x), high_multiply(x2, x2)
    inner = shifted(high_multiply(shifted(x4, 2) + x3, 715827883) + x2, 1)
    r = 1895147668 + high_multiply(x + inner, 1895147668)
    whole = t - a
    for bit, constant in enumerate(_BARREL):
        r = np.where((whole >> (24 + bit)) & 1, high_multiply(r, constant), r)
    return np.asarray(np.where(a == 0, TOP, r))


def _table513(function: Callable[[float], float], lo: float, hi: float) -> Integers:
    """513 entries that LiteRT interpolates between, each moved by half its midpoint's error."""
    step = (hi - lo) / 512
    entries = []
    for i in range(512):
        here, there = function(lo + i * step) * 32768, function(lo + (i + 1) * step) * 32768
        middle = function(lo + i * step + step / 2) * 32768
        own = float(away(here))
        between = float(away((there + own) / 2)) - float(away(middle))
        entries.append(own - float(away(between / 2)))
    entries.append(float(away(function(hi) * 32768)))
    return np.asarray(np.clip(np.array(entries), -32768, 32767), np.int64)


@cache
def _exponentials() -> Integers:
    return _table513(lambda x: float(np.exp(x)), -10.0, 0.0)


@cache
def _reciprocals() -> Integers:
    return _table513(lambda x: 1 / (1 + x), 0.0, 1.0)


def looked_up(table: Integers, v: Integers) -> Integers:
    at, offset = 256 + (v >> 7), v & 127
    return np.asarray(table[at] + (((table[at + 1] - table[at]) * offset + 64) >> 7))


def _softmax16(d: Integers, factor: float) -> Integers:
    m, e = multiplier_of(factor / (10 / 65535))
    z = np.clip(multiplied(d, m, e) + 32767, -32768, 32767)
    exponential = looked_up(_exponentials(), z)
    total = exponential.sum(axis=-1, keepdims=True)
    head = 32 - np.array([int(t).bit_length() for t in total.ravel()]).reshape(total.shape)
    w = ((total << (head - 1)) + (1 << 13)) >> 14
    c = looked_up(_reciprocals(), np.clip(w - 98304, -32768, 32767))
    q = (exponential * c + (np.int64(1) << (30 - head))) >> (31 - head)
    return np.asarray(np.clip(q, 0, 32767))
