"""Multipliers found by trial: averages, and a float rule, as integer arithmetic of an AP.

The rule: a multiplier is taken only where it gives the rule's own integer for every sum
that there can be, all of them tried; else the layer stays on the host, which says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import numpy as np

from apsim.nn import rules
from apsim.nn.model import Integers, Requant
from apsim.nn.rules.ranges import Range

__all__ = ["divided", "integers"]

MOST_SUMS = 1 << 18  # of a window
MOST_FLOATS = 1 << 23  # of a channel, that are not clipped
MOST_BITS = 40
BLOCK = 1 << 16


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
        if (_finished(totals + bias, candidate) == wanted).all():
            return candidate, bias
    return None


def _candidates(requant: Requant, factor: Fraction) -> Iterator[Requant]:
    """The same rounding with a factor cut off or rounded up at more and more bits."""
    shift = 0
    while factor * 2**shift < 1 << MOST_BITS:
        for mantissa in sorted({floor(factor * 2**shift), ceil(factor * 2**shift)}):
            if mantissa:
                yield _dyadic(requant, np.array([mantissa]), np.array([shift]))
        shift += 1


def integers(requant: Requant, sums: Range) -> Requant | None:
    """Give an integer rule equal to `tflite-float` for every sum of each channel, or None.

    Both rise with the sum, so that sums far beyond the clip need no trial: there both clip.
    """
    if requant.rule != "tflite-float":
        return None
    away = replace(requant, rounding="half-away")
    for bits in (24, 31, MOST_BITS):
        found = _dyadic(away, *rules.multiplier(requant.scale, bits))
        if all(_equal(*one) for one in _by_scale(requant, found, sums)):
            return found
    return None


def _by_scale(
    first: Requant, second: Requant, sums: Range
) -> Iterator[tuple[Requant, Requant, int, int]]:
    """Both rules for the channels of one scale after another, with the ends of their sums."""
    scales, mantissas, exponents, low, high = np.broadcast_arrays(
        first.scale, second.mantissa, second.exponent, sums.low, sums.high
    )
    for scale in np.unique(scales):
        here = scales == scale
        mantissa, exponent = mantissas[here][:1], exponents[here][:1]
        one = replace(first, scale=np.array([scale]))
        yield one, _dyadic(second, mantissa, exponent), int(low[here].min()), int(high[here].max())


def _equal(first: Requant, second: Requant, low: int, high: int) -> bool:
    reach = abs(first.lo) + abs(first.hi) + abs(first.zero_point) + 2
    far = ceil(reach / float(first.scale[0]))
    least, most = max(low, -far), min(high, far)
    if most - least >= MOST_FLOATS:
        return False
    blocks = (
        np.arange(at, min(at + BLOCK, most + 1))[None] for at in range(least, most + 1, BLOCK)
    )
    return all((_finished(b, first) == _finished(b, second)).all() for b in blocks)


def _finished(sums: Integers, requant: Requant) -> Integers:
    return rules.finish(rules.scale(sums, requant), requant)


def _dyadic(requant: Requant, mantissa: Integers, exponent: Integers) -> Requant:
    """The same with other integers, under the rule that takes them as they are."""
    rule = f"dyadic(31,{requant.rounding})"
    return replace(requant, rule=rule, mantissa=mantissa, exponent=exponent)
