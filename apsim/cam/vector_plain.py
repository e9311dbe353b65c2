"""What kernels call, as ordinary Python over numpy and addresses.

The rule: whoever sets NUMBA_DISABLE_JIT=1 runs each kernel as the Python that it is; slow,
for debuggers, coverage, and tests that hold the compiled kernels against it.  What numba makes
of these functions is in `vector`.
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


def load(address: int, v: int) -> Any:
    """Vector v of the line at an address."""
    return vector(_at(address, v).copy())


def store(address: int, v: int, bits: Any) -> None:
    """Make `bits` vector v of the line at an address."""
    _at(address, v)[:] = bits


def zero(address: int, size: int) -> None:
    """So many bytes from an address on := 0."""
    ctypes.memset(int(address), 0, int(size))


def nothing() -> Any:
    """Zeros."""
    return vector(np.zeros(LANES, np.uint64))


def splat(word: int) -> Any:
    """The same word in each lane: `splat(-bit)` is a row of that bit."""
    return vector(np.full(LANES, word, np.int64).view(np.uint64))


def ones(bits: Any) -> Any:
    """How many ones each lane holds."""
    return vector(np.bitwise_count(bits).astype(np.uint64))


def popcount(word: np.uint64) -> int:
    """Ones of a word."""
    return int(word).bit_count()


def total(counts: Any) -> int:
    """The sum of the lanes."""
    return int(counts.view(np.int64).sum())


def gather(address: int, index: Any) -> Any:
    """The words at an address whose numbers the lanes of `index` hold."""
    given = words(address)
    return vector(np.array([given[int(k)] for k in index], np.uint64))


def marked(bits: Any, place: int) -> int:
    """A word: bit `place` (0 to 7) of each of the 64 bytes of a vector."""
    found = (bits.view(np.uint8) >> np.uint8(place)) & np.uint8(1)
    return int(np.packbits(found, bitorder="little").view(np.int64)[0])


def spread(word: int, place: int) -> Any:
    """64 bytes whose bits `place` (0 to 7) are those of a word, all others 0."""
    octets = np.unpackbits(np.array([word], np.int64).view(np.uint8), bitorder="little")
    return vector((octets << np.uint8(place)).view(np.uint64))


def widened(address: int, number: int) -> Any:
    """Eight bytes at an address, from byte 8 * `number` on: one in each lane."""
    word = np.array([words(address)[number]], np.uint64)
    return vector(word.view(np.uint8).astype(np.uint64))


def pointer(address: int) -> At:
    """The numbers (int64) at an address: `pointer(address)[k]`."""
    return At(address)


def words(address: int) -> At:
    """The words (uint64) at an address: `words(address)[k]`."""
    return At(address, np.uint64)


def offset(numbers: At, by: int) -> At:
    """The numbers from number `by` on."""
    return At(numbers.address + 8 * int(by))


def invoke(address: int, frame: At, row: At) -> None:
    """Call the operation `void f(frame, row)` at an address (see `jit.Operation`)."""
    jit.plain(address)(frame, row)
