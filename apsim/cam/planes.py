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
def _turn(  # type: ignore[no-untyped-def]
    planes, line, columns, groups_address, count, cells, row, back,
):  # fmt: skip
    """Groups of 64 rows from planes to rows of words, or `back`; addresses and bytes of a line.

    Squares of 64 x 64 bits are transposed in place (Hacker's Delight, 7-3).
    """
    groups = pointer(groups_address)
    for place in range(count):
        group = groups[place]
        for square in range((columns + 63) >> 6):
            first = cells + 64 * group * row + 8 * square
            for k in range(0 if back else 64):
                column = 64 * square + k
                plane = words(planes + (column if column < columns else 0) * line)
                words(first + k * row)[0] = plane[group] if column < columns else ZERO
            width, mask = 32, LOW
            while width:
                shift = np.uint64(width)
                k = 0
                while k < 64:
                    low, high = words(first + k * row), words(first + (k + width) * row)
                    flip = ((low[0] >> shift) ^ high[0]) & mask
                    high[0] ^= flip
                    low[0] ^= flip << shift
                    k = (k + width + 1) & ~width
                width >>= 1
                mask ^= mask << np.uint64(width)
            for k in range(64 if back else 0):
                column = 64 * square + k
                if column < columns:
                    words(planes + column * line)[group] = words(first + k * row)[0]


def turn(planes: Words, columns: int, groups: NDArray[np.int64], cells: Words, back: bool) -> None:
    """Copy groups of 64 rows from planes to cells uint64[rows, words], or `back`."""
    _turn(
        address(planes), planes.strides[0], columns, address(groups), len(groups), address(cells),
        cells.strides[0], int(back),
    )  # fmt: skip
