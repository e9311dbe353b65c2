"""Exact division with every rounding mode that a quantization specification names.

The rule: integers in, integers out, nothing lost on the way.  Where a product does not
fit 64 bits the same code runs on Python's own integers (arrays of dtype object).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MODES", "fits_64_bits", "round_divide", "round_real", "widen"]

Array = npt.NDArray[Any]
SAFE = 1 << 61


@dataclass(frozen=True)
class _Split:
    """A quotient between two integers: floor, its distance up and down, sign, tie parity."""

    floor: Array
    above: Array  # how far the numerator lies above floor * denominator
    below: Array  # how far it lies below (floor + 1) * denominator
    negative: Array
    parity: int

    @property
    def floor_is_odd(self) -> Array:
        return np.asarray((self.floor + self.parity) & 1 == 1)

    @property
    def nearer_up(self) -> Array:
        return np.asarray(self.above > self.below)

    @property
    def tie(self) -> Array:
        return np.asarray(self.above == self.below)

    @property
    def inexact(self) -> Array:
        return np.asarray(self.above > 0)


# Each mode answers one question: is the quotient rounded up from its floor?
MODES: dict[str, Callable[[_Split], Array]] = {
    "half-even": lambda s: s.nearer_up | (s.tie & s.floor_is_odd),
    "half-up": lambda s: s.nearer_up | s.tie,
    "half-down": lambda s: s.nearer_up,
    "half-away": lambda s: s.nearer_up | (s.tie & ~s.negative),
    "half-zero": lambda s: s.nearer_up | (s.tie & s.negative),
    "floor": lambda s: np.zeros(s.floor.shape, bool),
    "ceil": lambda s: s.inexact,
    "toward-zero": lambda s: s.inexact & s.negative,
    "away-from-zero": lambda s: s.inexact & ~s.negative,
}


def round_real(values: Array, mode: str) -> Array:
    """Round real numbers to whole ones; exact, for the part above a floor is."""
    floor = np.floor(values)
    above = values - floor
    split = _Split(floor.astype(np.int64), above, 1 - above, values < 0, 0)
    return np.asarray(floor + MODES[mode](split))


def round_divide(numerator: Array, denominator: Array, mode: str, parity: int = 0) -> Array:
    """Divide integers by positive integers and round by `mode` (a key of `MODES`).

    `parity` is added to the quotient where "half-even" asks whether it is odd.  Both
    arrays have dtype int64, the numerator below 2**62, or dtype object.
    """
    floor = numerator // denominator
    above = numerator - floor * denominator
    split = _Split(floor, above, denominator - above, np.asarray(numerator < 0, bool), parity)
    up = np.asarray(MODES[mode](split), bool)
    return np.asarray(floor + up)


def fits_64_bits(*products: tuple[Array, Array]) -> bool:
    """Whether these arrays, and the sum of the products of the pairs, stay below 2**61."""
    return sum(_reach(a) * _reach(b) for a, b in products) < SAFE


def _reach(values: Array) -> int:
    """The greatest magnitude; at least 1, so that a factor counts beside zeros alone."""
    return max(abs(int(values.max())), abs(int(values.min())), 1) if values.size else 1


def widen(values: Array) -> Array:
    """Give the same integers as Python's own, of any size."""
    return values.astype(object)
