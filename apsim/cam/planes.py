"""Cells as bools, as bit-planes and as rows of words, and the ways between them.

The rule: bit r % 64 of word r // 64 of a plane is row r; bit c % 64 of word c // 64 of
a row is column c.  Bits beyond the last row and the last column are 0, always.  Lines stand
at multiples of 64 bytes, so that a vector of 512 rows is one cache line.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apsim.cam.jit import kernel, small

__all__ = ["aligned", "first_ones", "pack", "to_planes", "to_rows", "unpack"]

Words = NDArray[np.uint64]
ZERO = np.uint64(0)


def aligned(lines: int, words: int) -> Words:
    """Zeros uint64[lines, words]."""
    raw = np.zeros(lines * words + 8, np.uint64)
    first = -raw.ctypes.data % 64 // 8
    return raw[first : first + lines * words].reshape(lines, words)


def first_ones(count: int, words: int) -> Words:
    """A line uint64[words] whose first `count` bits are set."""
    ones = np.zeros(words, np.uint64)
    ones[: count // 64] = ~np.uint64(0)
    if count % 64:
        ones[count // 64] = (1 << count % 64) - 1
    return ones


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
def transpose(cells, first, word):  # type: ignore[no-untyped-def]
    """Transpose a square of 64 rows and one word in place (Hacker's Delight, 7-3)."""
    width, mask = 32, np.uint64(0x0000_0000_FFFF_FFFF)
    while width:
        shift = np.uint64(width)
        k = 0
        while k < 64:
            low, high = first + k, first + k + width
            flip = ((cells[low, word] >> shift) ^ cells[high, word]) & mask
            cells[high, word] ^= flip
            cells[low, word] ^= flip << shift
            k = (k + width + 1) & ~width
        width >>= 1
        mask ^= mask << np.uint64(width)


@kernel("void(uint64[:, ::1], int64, int64[::1], uint64[:, ::1])")
def to_rows(planes: Words, columns: int, groups: NDArray[np.int64], cells: Words) -> None:
    """Copy groups of 64 rows from planes to cells: uint64[rows, words]."""
    for place in range(len(groups)):
        group = groups[place]
        for column in range((columns + 63) // 64 * 64):
            bits = planes[column, group] if column < columns else ZERO
            cells[group * 64 + (column & 63), column >> 6] = bits
        for word in range((columns + 63) // 64):
            transpose(cells, group * 64, word)


@kernel("void(uint64[:, ::1], int64, int64[::1], uint64[:, ::1])")
def to_planes(planes: Words, columns: int, groups: NDArray[np.int64], cells: Words) -> None:
    """Copy groups of 64 rows back from cells, which are spent afterwards, to planes."""
    for place in range(len(groups)):
        group = groups[place]
        for word in range((columns + 63) // 64):
            transpose(cells, group * 64, word)
        for column in range(columns):
            planes[column, group] = cells[group * 64 + (column & 63), column >> 6]
