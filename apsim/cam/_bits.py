"""Bits of words: leaves that translated kernels share.

The rule: plain source in the form that LLVM has instructions for; no vectors by hand.
"""

from __future__ import annotations

import numpy as np

from apsim.cam._native import Number, Word, Words2, leaf

__all__ = ["get_bits", "popcount", "put_bits"]

ONE = np.uint64(1)
PAIRS, FOURS, EIGHTS, ONES = (
    np.uint64(0x5555_5555_5555_5555),
    np.uint64(0x3333_3333_3333_3333),
    np.uint64(0x0F0F_0F0F_0F0F_0F0F),
    np.uint64(0x0101_0101_0101_0101),
)


@leaf
def popcount(word: Word) -> Number:
    """Ones of a word, in the form that LLVM knows and has an instruction for."""
    word = word - ((word >> np.uint64(1)) & PAIRS)
    word = (word & FOURS) + ((word >> np.uint64(2)) & FOURS)
    word = (word + (word >> np.uint64(4))) & EIGHTS
    return np.int64((word * ONES) >> np.uint64(56))


@leaf
def get_bits(data: Words2, port: Number, row: Number, place: Number) -> Word:
    """Bit `place` of the 64 words of `data[port]` from `row` on, as one word."""
    word = np.uint64(0)
    for k in range(64):
        word |= ((data[port, row + k] >> np.uint64(place)) & ONE) << np.uint64(k)
    return word


@leaf
def put_bits(out: Words2, port: Number, row: Number, place: Number, word: Word) -> None:
    """Bit `place` of the 64 words of `out[port]` from `row` on := the bits of `word`."""
    bit = ONE << np.uint64(place)
    for k in range(64):
        new = ((word >> np.uint64(k)) & ONE) << np.uint64(place)
        out[port, row + k] = (out[port, row + k] & ~bit) | new
