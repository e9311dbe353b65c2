"""Integers to bit-planes and back, many at a time.

The rule: bit `place` of the integer of lane k stands in bit k % 64 of plane word k / 64,
as in every packed array.  The kernel sees integers as bytes, a byte is eight planes,
whatever type and memory order the integers have.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam._compile import PLAIN

__all__ = ["empty_planes", "fill", "from_planes", "to_planes"]

Words = NDArray[np.uint64]
Integers = NDArray[np.integer[Any]]
Octets = NDArray[np.uint8]
BLOCK = 1 << 15  # bytes that stay near a core
GAP = 64  # bytes between rows of a block, so that they do not meet in a cache


def empty_planes(rows: int, bits: int, lanes: int) -> Words:
    """Room for planes uint64[rows, bits, lanes / 64, rounded up]."""
    return np.empty((rows, bits, -(-lanes // 64)), np.uint64)


def to_planes(values: Integers, bits: int) -> Words:
    """Integers [rows, lanes] to uint64[rows, bits, lanes / 64, rounded up], a plane for a bit."""
    planes = empty_planes(len(values), bits, values.shape[1])
    fill(values, planes)
    return planes


def fill(values: Integers, planes: Words) -> None:
    """Put integers [rows, lanes] of any type into planes [rows, bits, words].

    Raises `ValueError` for planes of other rows or lanes.
    """
    rows, lanes = values.shape
    _refuse_unless(
        planes.ndim == 3 and (len(planes), planes.shape[2]) == (rows, -(-lanes // 64)),
        planes,
        f"planes [{rows}, bits, {-(-lanes // 64)}]",
    )
    if not planes.size:
        return
    small_end_first = values.astype(values.dtype.newbyteorder("<"), copy=False)
    octets = small_end_first[:, :, None].view(np.uint8)
    for place in range(0, planes.shape[1], 8):
        if place // 8 < octets.shape[2]:
            _fill_octet(octets[:, :, place // 8], planes, place)
        else:
            planes[:, place : place + 8] = 0


def _fill_octet(octets: Octets, planes: Words, place: int) -> None:
    """Put bytes [rows, lanes] into up to eight planes from `place` on, a block at a time."""
    (rows, lanes), beside = octets.shape, octets.strides[1] == 1
    wide = min(-(-lanes // 64) * 64, 4096 if beside else 512)
    tall = min(rows, BLOCK // wide if beside else 256)
    block, bits = np.zeros((tall, wide + GAP), np.uint8), min(planes.shape[1] - place, 8)
    for low in range(0, rows, tall):
        some = planes[low : low + tall]
        for lane in range(0, lanes, wide):
            given = octets[low : low + tall, lane : lane + wide]
            (_copy if beside else _turn)(given, block)
            words = -(-given.shape[1] // 64)
            block[:, given.shape[1] : words * 64] = 0
            _fill(block.ravel(), wide + GAP, words, lane // 64, place, bits, some)


def _copy(octets: Octets, block: Octets) -> None:
    block[: len(octets), : octets.shape[1]] = octets


def _turn(octets: Octets, block: Octets) -> None:
    """The same where rows lie side by side: by squares, whose lines never share a cache set."""
    rows = len(octets)
    square = np.empty((64, rows + GAP), np.uint8)[:, :rows]
    for lane in range(0, octets.shape[1], 64):
        some = octets[:, lane : lane + 64]
        square[: some.shape[1]] = some.T
        block[:rows, lane : lane + some.shape[1]] = square[: some.shape[1]].T


def from_planes(planes: Words, words: Words) -> None:
    """Put planes uint64[bits, n] into uint64[1, 64 * n], whatever that holds.

    Raises `ValueError` for more than 64 bits, and for words of another number.
    """
    wanted = 64 * planes.shape[1]
    _refuse_unless(len(planes) <= 64, planes, "at most 64 planes")
    _refuse_unless(words.size == wanted, words, f"{wanted} words")
    planes, target = np.ascontiguousarray(planes), words.reshape(words.size)
    if PLAIN:
        _plain().put(planes, target)
    else:
        _call("put", planes.ctypes.data, *planes.shape, target.ctypes.data)


def _refuse_unless(fits: bool, array: Words, wanted: str) -> None:
    if not (fits and array.dtype == np.uint64 and array.flags.c_contiguous):
        raise ValueError(
            f"wanted {wanted} of uint64 in C order, got {array.dtype} of shape {array.shape}"
        )


def _fill(
    block: Octets, pitch: int, words: int, first: int, place: int, bits: int, planes: Words
) -> None:
    """Words from `first` on of some planes := the bits of bytes that lie side by side."""
    if PLAIN:
        _plain().fill(block, pitch, words, first, place, bits, planes)
    else:
        numbers = block.ctypes.data, pitch, words, first, place, bits
        _call("fill", *numbers, planes.ctypes.data, *planes.shape)


def _call(name: str, *numbers: int) -> None:
    """Machine code, told some numbers."""
    from apsim.cam._frame import caller
    from apsim.cam._octets import octets

    told = np.array(numbers, np.int64)
    caller(getattr(octets(), name))(told.ctypes.data, 0, 0)


def _plain() -> ModuleType:
    from apsim.cam import _plain_operands

    return _plain_operands
