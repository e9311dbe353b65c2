"""The plain twin of `vector`: the same names as ordinary Python over numpy and addresses.

The rule: whoever sets NUMBA_DISABLE_JIT=1 runs each kernel as the Python that it is; slow,
for debuggers, coverage, and tests that hold the compiled kernels against it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam import jit

LANES = 8

Words = NDArray[np.uint64]


class Vector(np.ndarray[Any, Any]):
    """Eight words of 64 rows: a value, which nothing changes in place."""

    __iadd__: Any = np.ndarray.__add__
    __isub__: Any = np.ndarray.__sub__
    __iand__: Any = np.ndarray.__and__
    __ior__: Any = np.ndarray.__or__
    __ixor__: Any = np.ndarray.__xor__


def vector(words: Words) -> Vector:
    """These words as such a value."""
    return words.view(Vector)


class At:
    """Numbers (int64), or words (uint64), at an address."""

    def __init__(self, address: int, kind: type[np.int64 | np.uint64] = np.int64) -> None:
        self.address, self.kind = int(address), kind

    def __getitem__(self, k: int) -> Any:
        word = ctypes.c_int64.from_address(self.address + 8 * int(k)).value
        return word if self.kind is np.int64 else np.int64(word).astype(np.uint64)

    def __setitem__(self, k: int, word: Any) -> None:
        ctypes.c_int64.from_address(self.address + 8 * int(k)).value = int(word)


def _at(address: int, v: int) -> Words:
    place = (ctypes.c_uint64 * LANES).from_address(int(address) + 8 * LANES * int(v))
    return np.ctypeslib.as_array(place)


def load(address: int, v: int) -> Vector:
    return vector(_at(address, v).copy())


def store(address: int, v: int, bits: Vector) -> None:
    _at(address, v)[:] = bits


def zero(address: int, size: int) -> None:
    ctypes.memset(int(address), 0, int(size))


def nothing() -> Vector:
    return vector(np.zeros(LANES, np.uint64))


def splat(word: int) -> Vector:
    return vector(np.full(LANES, word, np.int64).view(np.uint64))


def ones(bits: Vector) -> Vector:
    return vector(np.bitwise_count(bits).astype(np.uint64))


def popcount(word: np.uint64) -> int:
    return int(word).bit_count()


def total(counts: Vector) -> int:
    return int(counts.view(np.int64).sum())


def gather(address: int, index: Vector) -> Vector:
    given = words(address)
    return vector(np.array([given[int(k)] for k in index], np.uint64))


def marked(bits: Vector, place: int) -> int:
    found = (bits.view(np.uint8) >> np.uint8(place)) & np.uint8(1)
    return int(np.packbits(found, bitorder="little").view(np.int64)[0])


def spread(word: int, place: int) -> Vector:
    octets = np.unpackbits(np.array([word], np.int64).view(np.uint8), bitorder="little")
    return vector((octets << np.uint8(place)).view(np.uint64))


def widened(address: int, number: int) -> Vector:
    word = np.array([words(address)[number]], np.uint64)
    return vector(word.view(np.uint8).astype(np.uint64))


def pointer(address: int) -> At:
    return At(address)


def words(address: int) -> At:
    return At(address, np.uint64)


def offset(numbers: At, by: int) -> At:
    return At(numbers.address + 8 * int(by))


def invoke(address: int, frame: At, row: At) -> None:
    jit.plain(address)(frame, row)
