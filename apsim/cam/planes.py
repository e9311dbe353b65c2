"""Cells as bools, as bit-planes and as rows of words, and the ways between them.

The rule: bit r % 64 of word r // 64 of a plane is row r; bit c % 64 of word c // 64 of
a row is column c.  Bits beyond the last row and the last column are 0, always.  Lines stand
at multiples of 64 bytes, so that a vector of 512 rows is one cache line.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apsim.cam.frame import address
from apsim.cam.jit import kernel
from apsim.cam.vector import pointer, words

__all__ = ["turn"]

Words = NDArray[np.uint64]
ZERO, LOW = np.uint64(0), np.uint64(0x0000_0000_FFFF_FFFF)


@kernel("void(int64, int64, int64, int64, int64, int64, int64, int64)")
def _turn(planes_at, line, columns, groups_at, count, cells_at, row, back):  # type: ignore[no-untyped-def]
    """Groups of 64 rows from planes to rows of words, or `back`; words from a line to the next.

    Squares of 64 x 64 bits are transposed in place (Hacker's Delight, 7-3).
    """
    groups, planes, cells = pointer(groups_at), words(planes_at), words(cells_at)
    for place in range(count):
        group = groups[place]
        for square in range((columns + 63) >> 6):
            first, column = 64 * group * row + square, 64 * square
            used = columns - column if columns - column < 64 else 64
            if not back:
                for k in range(64):
                    cells[first + k * row] = ZERO
                for k in range(used):
                    cells[first + k * row] = planes[(column + k) * line + group]
            width, mask = 32, LOW
            while width:
                shift = np.uint64(width)
                k = 0
                while k < 64:
                    low, high = first + k * row, first + (k + width) * row
                    flip = ((cells[low] >> shift) ^ cells[high]) & mask
                    cells[high] ^= flip
                    cells[low] ^= flip << shift
                    k = (k + width + 1) & ~width
                width >>= 1
                mask ^= mask << np.uint64(width)
            if back:
                for k in range(used):
                    planes[(column + k) * line + group] = cells[first + k * row]


def turn(planes: Words, columns: int, groups: NDArray[np.int64], cells: Words, back: bool) -> None:
    """Copy groups of 64 rows from planes to cells uint64[rows, words], or `back`."""
    _turn(
        address(planes), planes.shape[1], columns, address(groups), len(groups), address(cells),
        cells.shape[1], int(back),
    )  # fmt: skip
