"""Words of many rows to bit-planes and back, many at a time.

The rule: bit `place` of word r stands in bit r % 64 of plane word r / 64, as in every
packed array.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam._compile import kernel
from apsim.cam._leaves import get_bits, put_bits

__all__ = ["from_planes", "to_planes"]

Words = NDArray[np.uint64]


def to_planes(words: Words, bits: int) -> Words:
    """uint64[rows, many] to uint64[rows, bits, many / 64, rounded up]: a plane for each bit."""
    rows, many = words.shape
    width = -(-many // 64)
    size = rows * bits * width  # and a vector behind, which kernels load with the last words
    planes = np.empty(size + 8, np.uint64)[:size].reshape(rows, bits, width)
    block = 256  # rows copied at a time, so that padding costs little memory
    padded = np.zeros((min(block, rows), width * 64), np.uint64)
    for first in range(0, rows, block):
        some = words[first : first + block]
        padded[: len(some), :many] = some
        _fill(padded[: len(some)], planes[first : first + block])
    return planes


@kernel
def _fill(words: Any, planes: Any) -> None:
    for row in range(planes.shape[0]):
        for place in range(planes.shape[1]):
            for word in range(planes.shape[2]):
                planes[row, place, word] = get_bits(words, row, word * 64, place)


def from_planes(planes: Words, words: Words) -> None:
    """uint64[bits, n] into uint64[1, 64 * n], which holds zeros."""
    _put(planes, words)


@kernel
def _put(planes: Any, words: Any) -> None:
    for place in range(planes.shape[0]):
        for word in range(planes.shape[1]):
            put_bits(words, 0, word * 64, place, planes[place, word])
