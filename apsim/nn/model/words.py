"""Widths and kinds of the words that a layer puts into CAPs.

The rule: a word is as wide as its tensor says; nothing is widened in silence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy.typing as npt

from apsim.layout import Field
from apsim.nn.model import Integers, Tensor

__all__ = ["Words", "common", "holding"]


@dataclass(frozen=True)
class Words:
    """`bits` bits, signed or not."""

    bits: int
    signed: bool

    @classmethod
    def of(cls, tensor: Tensor) -> Words:
        """The words of a tensor."""
        return cls(tensor.bits, tensor.signed)

    @property
    def kind(self) -> str:
        """As operands of products: two's complement where signed."""
        return "s" if self.signed else "u"

    @property
    def coding(self) -> str:
        """In sums and vertical maxima: offset binary where signed."""
        return "o" if self.signed else "u"

    def narrow(self, values: npt.ArrayLike) -> Integers:
        """Values in the narrowest type that holds these words; `InputError` for any other."""
        return Field("A", 0, self.bits, self.kind).narrow(values)


def common(first: Words, second: Words) -> Words:
    """The narrowest words that hold both: one bit more for an unsigned beside a signed one."""
    if first.signed == second.signed:
        return Words(max(first.bits, second.bits), first.signed)
    signed, unsigned = (first, second) if first.signed else (second, first)
    return Words(max(signed.bits, unsigned.bits + 1), True)


def holding(lowest: int, highest: int) -> Words:
    """The narrowest words that hold lowest..highest."""
    if lowest >= 0:
        return Words(max(highest.bit_length(), 1), False)
    return Words(1 + max(highest.bit_length(), (-lowest - 1).bit_length()), True)
