"""Averages on the AP: the division by a window's count as a multiplier and a shift.

The rule: a multiplier is taken only where it gives the rule's own integer for every sum
that the window can have, all of them tried; else the division stays on the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import numpy as np

from apsim.nn import rules
from apsim.nn.model import Integers, Requant
from apsim.nn.ranges import Range

__all__ = ["divided"]

MOST_SUMS = 1 << 18
MOST_BITS = 40


def divided(
    requant: Requant, counts: Integers, sums: Range, bias: int
) -> tuple[Requant, int] | None:
    """Give (r, b) with `finish(scale(sum + b, r), r)` equal to what `rules.divide` leads to.

    None where windows differ in their counts, and where no multiplier of up to `MOST_BITS`
    bits gives every quotient; `sums` is the range of a window's sum, before `bias`.
    """
    low, high = int(sums.low[0]), int(sums.high[0])
    if len(np.unique(counts)) > 1 or high - low >= MOST_SUMS or requant.offset.any():
        return None
    count, totals = int(counts.flat[0]), np.arange(low, high + 1)[None]
    wanted = rules.finish(rules.divide(totals + bias, requant, np.array([count])), requant)
    factor, plain = Fraction(int(requant.mantissa[0])) / count, requant
    factor /= Fraction(2) ** int(requant.exponent[0])
    if requant.rule.startswith("tflite"):  # the raw sum is divided, zero points in it
        factor, bias = Fraction(1, count), bias + requant.zero_point * count
        plain = replace(requant, rounding="half-away", zero_point=0)
    for candidate in _candidates(plain, factor):
        if (rules.finish(rules.scale(totals + bias, candidate), candidate) == wanted).all():
            return candidate, bias
    return None


def _candidates(requant: Requant, factor: Fraction) -> Iterator[Requant]:
    """The same rounding with a factor cut off or rounded up at more and more bits."""
    rule, shift = f"dyadic(31,{requant.rounding})", 0
    while factor * 2**shift < 1 << MOST_BITS:
        for mantissa in sorted({floor(factor * 2**shift), ceil(factor * 2**shift)}):
            if mantissa:
                numbers = np.array([mantissa]), np.array([shift])
                yield replace(requant, rule=rule, mantissa=numbers[0], exponent=numbers[1])
        shift += 1
