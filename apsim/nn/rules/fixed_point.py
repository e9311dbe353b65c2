"""Sigmoid and hyperbolic tangent of 16-bit fixed-point words, as gemmlowp computes them.

The rule: every product is gemmlowp's rounding doubling high multiply of 16 bits, every sum
saturates; the constants are its own, cut from 31 bits to 15.  TFLite's integer LSTM uses them.
"""

from __future__ import annotations

import numpy as np

from apsim.nn.model import Integers
from apsim.nn.rules.litert import high_multiply, shifted

__all__ = ["sigmoid", "tanh"]

ONE = 32767  # of no integer bits
WORDS = np.arange(-32768, 32768, dtype=np.int64)


def _constant(raw: int) -> int:
    """A constant of 31 bits in 15, rounded."""
    return (raw + (1 << 15)) >> 16


EIGHTH, THIRD = _constant(1895147668), _constant(715827883)
FIRST, SLOPE = _constant(1515870810), _constant(-1010580540)
BARREL = tuple(
    map(_constant, (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242))
)


def _saturated(values: Integers) -> Integers:
    return np.clip(values, -32768, 32767)


def _times(a: Integers | int, b: Integers | int) -> Integers:
    return high_multiply(a, b, 15)


def _exp_negative(a: Integers, integer_bits: int) -> Integers:
    """exp of a <= 0 with so many integer bits, as a word of none."""
    fraction = 15 - integer_bits
    quarter = 1 << (fraction - 2)
    part = (a & (quarter - 1)) - quarter
    x = _saturated(part << integer_bits) + (1 << 12)
    x2 = _times(x, x)
    x3, x4 = _times(x2, x), _times(x2, x2)
    inner = shifted(_saturated(_times(_saturated(shifted(x4, 2) + x3), THIRD) + x2), 1)
    result = _saturated(EIGHTH + _times(EIGHTH, _saturated(x + inner)))
    rest = part - a
    for power, factor in zip(range(-2, 5), BARREL, strict=True):
        if integer_bits > power:
            result = np.where((rest >> (fraction + power)) & 1, _times(result, factor), result)
    if integer_bits > 5:
        result = np.where(a < -(1 << (fraction + 5)), 0, result)
    return np.asarray(np.where(a == 0, ONE, result))


def _newton(a: Integers) -> Integers:
    """1 / (1 + a) times two for a in 0..1, with two integer bits."""
    both = a + ONE
    half = np.asarray(np.trunc((both + np.where(both >= 0, 1, -1)) / 2), np.int64)
    x = _saturated(FIRST + _times(half, SLOPE))
    for _ in range(3):
        rest = (1 << 13) - _times(half, x)
        x = _saturated(x + _saturated(_times(x, rest) << 2))
    return x


def sigmoid(integer_bits: int) -> Integers:
    """1 / (1 + exp(-a)) of every word in ascending order, as words of no integer bits."""
    size = np.where(WORDS > 0, WORDS, np.where(WORDS == -32768, -32768, -WORDS))
    above = _saturated(_newton(_exp_negative(-np.abs(size), integer_bits)) << 1)
    return np.asarray(np.where(WORDS == 0, 1 << 14, np.where(WORDS > 0, above, ONE - above)))


def tanh(integer_bits: int) -> Integers:
    """tanh(a) of every word in ascending order, as words of no integer bits."""
    negative = np.where(WORDS < 0, WORDS, -WORDS)
    x = _newton(_exp_negative(negative, integer_bits + 1))
    size = _saturated((x - (1 << 13)) << 2)
    return np.asarray(np.where(WORDS == 0, 0, np.where(WORDS < 0, -size, size)))
