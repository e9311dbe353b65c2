"""Cells as bools, as bit-planes and as rows of words, and the ways between them.

The rule: bit r % 64 of word r // 64 of a plane is row r; bit c % 64 of word c // 64 of
a row is column c.  Bits beyond the last row and the last column are 0, always.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam._compile import kernel, small

__all__ = ["pack", "to_planes", "to_rows", "unpack"]

Words = NDArray[np.uint64]
ONE = np.uint64(1)


def pack(bits: NDArray[np.bool_], words: int) -> Words:
    """bool[lines, bits] to uint64[lines, words], the first bit least significant."""
    padded = np.zeros((len(bits), words * 8), np.uint8)
    octets = np.packbits(bits, axis=1, bitorder="little")
    padded[:, : octets.shape[1]] = octets
    return padded.view("<u8").astype(np.uint64, copy=False)


def unpack(words: Words, count: int) -> NDArray[np.bool_]:
    """The first `count` bits of each line of words: bool[lines, count]."""
    octets = np.ascontiguousarray(words).astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(octets, axis=1, count=count, bitorder="little").view(bool)


@small
def transpose(square: Any) -> None:
    """Transpose 64 words of 64 bits in place (Hacker's Delight, 7-3)."""
    width, mask = 32, np.uint64(0x0000_0000_FFFF_FFFF)
    while width:
        shift = np.uint64(width)
        k = 0
        while k < 64:
            flip = ((square[k] >> shift) ^ square[k + width]) & mask
            square[k + width] ^= flip
            square[k] ^= flip << shift
            k = (k + width + 1) & ~width
        width >>= 1
        mask ^= mask << np.uint64(width)


@kernel
def to_rows(planes: Any, columns: Any, groups: Any, cells: Any) -> None:
    """Copy groups of 64 rows from planes to cells: uint64[rows, words]."""
    square = np.empty(64, np.uint64)
    for group in groups:
        for word in range(cells.shape[1]):
            count = min(64, columns - word * 64)
            square[:] = np.uint64(0)
            for k in range(count):
                square[k] = planes[word * 64 + k, group]
            transpose(square)
            cells[group * 64 : group * 64 + 64, word] = square


@kernel
def to_planes(planes: Any, columns: Any, groups: Any, cells: Any) -> None:
    """Copy groups of 64 rows back from cells to planes."""
    square = np.empty(64, np.uint64)
    for group in groups:
        for word in range(cells.shape[1]):
            square[:] = cells[group * 64 : group * 64 + 64, word]
            transpose(square)
            for k in range(min(64, columns - word * 64)):
                planes[word * 64 + k, group] = square[k]
