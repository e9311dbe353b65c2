"""Operands on their way to the lanes, and words on their way back.

The rule: bit `place` of the integer of lane k is bit k % 64 of word k / 64 of plane `place`,
as in every packed array, for integers of any type and memory order.  The kernels see integers
as bytes; a byte is eight planes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apsim.cam.frame import ANYHOW, AS_BEFORE, address
from apsim.cam.needs import Needs
from apsim.errors import ProgramError

__all__ = ["Operands", "Tile", "planes_of", "prepare", "words_of"]

Integers = NDArray[np.integer[Any]]
Numbers = NDArray[np.int64]
Octets = NDArray[np.uint8]
Words = NDArray[np.uint64]

BLOCK = 1 << 15  # bytes that stay near a core
GAP = 64  # bytes between rows of a block, so that they do not meet in a cache


@dataclass(frozen=True)
class Operands:
    """Two operands of every row of every group, and which groups stand where.

    `packed` uint64[size, bits, words] holds one operand (port `port`) as bit-planes;
    `words` uint64[size, many] the other.  Lane word w holds 64 groups: those of word
    `pairs[w, 0]` of the planes, each with word `pairs[w, 1]` of the other; `live`
    uint64[lane words] marks the groups that exist, `ends` those that are last in a load.
    """

    packed: Words
    words: Words
    port: int
    pairs: Integers
    live: Words
    ends: Words

    def refuse_unless_they_fit(self, need: Needs, size: int, columns: int) -> None:
        """Below this door nobody checks; raises `ProgramError` with what is wrong."""
        for fits, wanted in self._demands(need, size, columns):
            if not fits:
                raise ProgramError(f"the program on lanes wants {wanted}")

    def _demands(self, need: Needs, size: int, columns: int) -> Iterator[tuple[bool, str]]:
        """What must hold, one after another: later demands may rely on those before."""
        packed, words, live, ends = self.packed, self.words, self.live, self.ends
        yield need.columns <= columns, f"{need.columns} columns, there are {columns}"
        yield need.inputs <= 2, f"{need.inputs} words for each row, there are two operands"
        yield _is_plain(packed, 3) and _is_plain(words, 2), "operands uint64 in C order"
        yield len(packed) >= size and len(words) >= size, f"operands of {size} rows"
        yield _is_plain(live, 1) and _is_plain(ends, 1), "lanes uint64 in C order"
        yield live.shape == ends.shape, f"ends for {len(live)} lane words"
        yield self.pairs.shape == (len(live), 2), f"a pair of places for {len(live)} lane words"
        yield _inside(self.pairs[:, 0], packed.shape[2]), "places in the planes"
        yield _inside(self.pairs[:, 1], words.shape[1]), "places in the words"

    def tile(self, where: slice) -> Tile:
        """Some lane words, filled up to whole vectors with lanes that do not live."""
        count = where.stop - where.start
        told = np.zeros((5, -(-count // 8) * 8), np.int64)
        told[:2, :count] = self.pairs[where].T
        live, ends = told[2:4].view(np.uint64)
        live[:count], ends[:count] = self.live[where], self.ends[where]
        return Tile(told, live, ends, _starts(told[0].reshape(-1, 8)))


class Tile(NamedTuple):
    """Lane words of operands, and what each vector of them begins at.

    `told` holds words in the planes and of the other operand, living lanes and `ends`, and has
    room for a line.
    """

    told: Numbers
    live: Words
    ends: Words
    starts: Numbers


def _starts(where: Numbers) -> Numbers:
    """Of each vector, the first of its words in a plane where they follow one another.

    Else AS_BEFORE where they are those of the vector before, or ANYHOW.
    """
    starts = np.where((np.diff(where) == 1).all(axis=1), where[:, 0], ANYHOW)
    starts[1:][(where[1:] == where[:-1]).all(axis=1)] = AS_BEFORE
    return starts


def _is_plain(array: Words, dimensions: int) -> bool:
    plain = array.dtype == np.uint64 and array.ndim == dimensions
    return plain and bool(array.flags.c_contiguous)


def _inside(places: Any, stop: int) -> bool:
    return not places.size or bool(places.min() >= 0 and places.max() < stop)


def planes_of(values: Integers, bits: int) -> Words:
    """Low bits of integers [rows, lanes] as bit-planes uint64[rows, bits, words of 64]."""
    rows, lanes = values.shape
    planes = np.empty((rows, bits, -(-lanes // 64)), np.uint64)
    small_end_first = values.astype(values.dtype.newbyteorder("<"), copy=False)
    octets = small_end_first[:, :, None].view(np.uint8)
    for place in range(0, bits, 8) if planes.size else ():
        if place // 8 < octets.shape[2]:
            _fill(octets[:, :, place // 8], planes, place)
        else:
            planes[:, place : place + 8] = 0
    return planes


def _fill(octets: Octets, planes: Words, place: int) -> None:
    """Put bytes [rows, lanes] into up to eight planes from `place` on, a block at a time."""
    from apsim.cam.lanes.kernel import to_planes

    (rows, lanes), beside = octets.shape, octets.strides[1] <= 8  # a word, or less, apart
    wide = min(-(-lanes // 64) * 64, max(4096, BLOCK // rows // 64 * 64) if beside else 512)
    tall = min(rows, max(BLOCK // wide, 1) if beside else 256)
    block, bits = np.zeros((tall, wide + GAP), np.uint8), min(planes.shape[1] - place, 8)
    for low in range(0, rows, tall):
        for lane in range(0, lanes, wide):
            given = octets[low : low + tall, lane : lane + wide]
            (_copy if beside else _turn)(given, block)
            words = -(-given.shape[1] // 64)
            block[:, given.shape[1] : words * 64] = 0
            target = address(planes[low:, place:, lane // 64 :])
            row, plane, _ = planes.strides
            to_planes(address(block), wide + GAP, len(given), words, target, bits, row, plane)


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


def words_of(planes: Words) -> Words:
    """Bit-planes uint64[bits, words of 64] as words uint64[64 * words].

    Raises `ValueError` for more than 64 planes.
    """
    from apsim.cam.lanes.kernel import to_words

    if len(planes) > 64:
        raise ValueError(f"wanted at most 64 planes, got {len(planes)}")
    planes, words = np.ascontiguousarray(planes), np.empty(64 * planes.shape[1], np.uint64)
    octets = np.zeros(64, np.uint8)
    bits, width = planes.shape
    to_words(address(planes), bits, width, address(words), address(octets))
    return words


def prepare() -> None:
    """Load the kernels that every load needs, or make them."""
    from apsim.cam import step
    from apsim.cam.lanes import kernel

    for one in (step.step, step.fill, kernel.take, kernel.put, kernel.move, kernel.walk):
        _ = one.address  # type: ignore[attr-defined]
    words_of(planes_of(np.zeros((1, 1), np.uint8), 1)[0])
