"""Operands on their way to the lanes, and words on their way back.

The rule: bit b of lane k is bit k % 64 of word k / 64 of plane b, for integers of any type.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["planes_of", "prepare", "words_of"]

Integers = NDArray[np.integer[Any]]
Words = NDArray[np.uint64]


def planes_of(values: Integers, bits: int) -> Words:
    """Low bits of integers [rows, lanes] as bit-planes uint64[rows, bits, words of 64]."""
    planes: Words = _kernels().to_planes(values, bits)
    return planes


def words_of(planes: Words) -> Words:
    """Bit-planes uint64[bits, words of 64] as words uint64[64 * words]."""
    words = np.empty((1, planes.shape[1] * 64), np.uint64)
    _kernels().from_planes(planes, words)
    return words.ravel()


def prepare() -> None:
    """Load the kernels, or make them, so that the time of that is not the operands'."""
    words_of(planes_of(np.zeros((1, 1), np.uint8), 1)[0])


@cache
def _kernels() -> ModuleType:
    from apsim.cam import _operands

    return _operands
