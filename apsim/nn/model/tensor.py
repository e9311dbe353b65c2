"""Integers and their real meaning: tensors, how numbers enter them, how sums become them.

The rule: only data here; `rules` says what a `Requant` computes, `real` what an `Entry`
does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Entry", "Floats", "Integers", "Requant", "Tensor"]

Integers = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tensor:
    """Integers of one width: the real value is `scale * (integer - zero_point) + shift`.

    `scale` is None where the real value is unknown.  Where each channel (first axis of
    `shape`) has its own, `scale` and `shift` are tuples; only outputs have a shift.
    """

    shape: tuple[int, ...]
    bits: int
    signed: bool
    scale: float | tuple[float, ...] | None = None
    zero_point: int = 0
    shift: float | tuple[float, ...] = 0.0

    @property
    def lo(self) -> int:
        """The least integer of this width."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """The greatest integer of this width."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.bits}{list(self.shape)}"


@dataclass(frozen=True, eq=False)
class Requant:
    """How an accumulator becomes an activation: `round(acc * scale) + zero_point`, clipped.

    `mantissa` and `exponent` (one entry, or one for each output channel) are the integers
    of the factor, `scale = mantissa * 2**-exponent` as `rule` rounds it; `offset` is added
    to `acc * mantissa` before rounding.  `rounding` is a mode of `rules.MODES`; `parity`
    is added to q where ties look for the even number (the zero point, where a
    specification adds it before it rounds).  `lo` and `hi` clip the finished integer.
    """

    rule: str
    scale: Floats
    mantissa: Integers
    exponent: Integers
    zero_point: int
    lo: int
    hi: int
    rounding: str = "half-even"
    parity: int = 0
    offset: Integers = field(default_factory=lambda: np.zeros(1, np.int64))

    @property
    def width(self) -> int:
        """Bits of the signed q that `rules.scale` gives: holds all of lo..hi less zero point."""
        low, high = self.lo - self.zero_point, self.hi - self.zero_point
        return 1 + max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0)


@dataclass(frozen=True)
class Entry:
    """How real numbers become an input tensor: x * factor + shift, then rounding.

    `steps` says how the file computes this in float32, one after the other: ("add", "sub",
    "mul" or "div", by); empty where it is x * factor, + shift.  Each of these numbers is one, or a
    tuple of one for each place `along` an axis (the batch not counted).  `chosen` marks a scale
    that the user gave: the file itself takes the real numbers.

    `thresholds`, one rising line or one for each place `along` its axis, say instead how many of
    them a number reaches: `lo` and as many more.

    `name` is what the model's own file calls the input.  `rounding` is a mode of `rules.MODES`,
    "sign" (+1 from zero upwards, else -1), or "none" where the file takes integers and gives
    them no real meaning; `zero_first` adds the zero point before rounding, which decides
    ties.  `lo` and `hi` clip further than the tensor's width does.  An input that is not
    `batched` may be given without the batch axis, and is then the same for all.
    """

    name: str = ""
    factor: float | tuple[float, ...] = 1.0
    shift: float | tuple[float, ...] = 0.0
    rounding: str = "half-even"
    lo: int | None = None
    hi: int | None = None
    zero_first: bool = False
    batched: bool = True
    thresholds: tuple[tuple[float, ...], ...] = ()
    along: int = 0
    steps: tuple[tuple[str, float | tuple[float, ...]], ...] = ()
    chosen: bool = False
