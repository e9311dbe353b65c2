"""How many bits a range of integers needs."""

from __future__ import annotations

__all__ = ["width_of"]


def width_of(lo: int, hi: int) -> tuple[int, bool]:
    """Give the bits and the sign of the narrowest integers that hold lo..hi.

    >>> width_of(0, 255), width_of(-127, 127), width_of(-1, 1)
    ((8, False), (8, True), (2, True))
    """
    if lo >= 0:
        return max(1, hi.bit_length()), False
    return 1 + max(hi.bit_length(), (-lo - 1).bit_length()), True
