"""Tiles of groups side by side: a program run on some lanes after others.

The rule: threads share nothing that they write.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from apsim.cam.needs import Needs, needs
from apsim.cam._tiles import Spans, Tiles
from apsim.encoding import Code
from apsim.errors import ProgramError

__all__ = ["Operands", "Runner", "ones", "refuse_unless_they_fit"]

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]

NO_PORT = -1


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
    pairs: NDArray[np.integer[Any]]
    live: Words
    ends: Words


def refuse_unless_they_fit(code: Code, size: int, columns: int, operands: Operands) -> None:
    """Below this door nobody checks; raises `ProgramError` with what is wrong."""
    for fits, wanted in _demands(needs(code), size, columns, operands):
        if not fits:
            raise ProgramError(f"the program on lanes wants {wanted}")


def _demands(
    need: Needs, size: int, columns: int, operands: Operands
) -> Iterator[tuple[bool, str]]:
    """What must hold, one after another: later demands may rely on those before."""
    packed, words, pairs = operands.packed, operands.words, operands.pairs
    live, ends = operands.live, operands.ends
    yield need.columns <= columns, f"{need.columns} columns, there are {columns}"
    yield need.inputs <= 2, f"{need.inputs} words for each row, there are two operands"
    yield _is_plain(packed, 3) and _is_plain(words, 2), "operands uint64 in C order"
    yield len(packed) >= size and len(words) >= size, f"operands of {size} rows"
    yield _is_plain(live, 1) and _is_plain(ends, 1), "lanes uint64 in C order"
    yield live.shape == ends.shape, f"ends for {len(live)} lane words"
    yield pairs.shape == (len(live), 2), f"a pair of places for each of {len(live)} lane words"
    yield _inside(pairs[:, 0], packed.shape[2]), "places in the planes"
    yield _inside(pairs[:, 1], words.shape[1]), "places in the words"


def _is_plain(array: Words, dimensions: int) -> bool:
    plain = array.dtype == np.uint64 and array.ndim == dimensions
    return plain and bool(array.flags.c_contiguous)


def _inside(places: Any, stop: int) -> bool:
    return not places.size or bool(places.min() >= 0 and places.max() < stop)


class Runnable(Protocol):
    """What a runner wants to know of a program."""

    columns: int

    @property
    def steps(self) -> int:
        """How many steps the program has."""
        ...

    @property
    def places(self) -> int:
        """Bits of the words that it puts out."""
        ...

    @property
    def tiles(self) -> Tiles:
        """How tiles are walked."""
        ...

    @property
    def spans(self) -> tuple[Spans, Spans]:
        """Horizontal steps before the first loop that uses shared rows, and after the last."""
        ...

    @property
    def shared(self) -> list[tuple[int, int]]:
        """The slot of each shared row, and the step that overwrites it."""
        ...


class Runner:
    """Tiles of one run; threads share nothing that they write."""

    def __init__(self, program: Runnable, operands: Operands, tile: int) -> None:
        operands = replace(operands, words=_with_more(operands.words, tile + 8))
        self.program, self.operands, self.tiles = program, operands, program.tiles
        self.planes = np.zeros((program.places, len(operands.live)), np.uint64)
        self.own, self.counted = threading.local(), list[Numbers]()

    def tile(self, where: slice) -> int:
        """Run the groups of some lane words; gives their number."""
        program, count = self.program, where.stop - where.start
        width = -(-count // 8) * 8
        live, ends = (
            _padded(words[where], width) for words in (self.operands.live, self.operands.ends)
        )
        runs = _runs(self.operands.pairs[where], self.operands.port)
        bits = np.zeros((program.places, width), np.uint64)
        planes, numbers = self.tiles.planes(width), self._numbers()
        self.tiles.walk(planes, self.tiles.whole, self.operands, live, runs, bits, numbers)
        for slot, clear in program.shared:
            numbers[3, clear] += self._shared_row(planes, slot, live, ends, numbers)
        self.planes[:, where] = bits[:, :count]
        return ones(live)

    def _numbers(self) -> Numbers:
        """What the thread counts into."""
        if not hasattr(self.own, "numbers"):
            self.own.numbers = np.zeros((4, self.program.steps), np.int64)
            self.counted.append(self.own.numbers)
        numbers: Numbers = self.own.numbers
        return numbers

    def _shared_row(
        self, planes: Words, slot: int, live: Words, ends: Words, numbers: Numbers
    ) -> int:
        """What a shared row adds, once in a load: horizontal steps; gives the flips of its clears.

        It goes through the steps before the loops as a row of zeros.  In the loops it
        holds, before a group clears it, what the group before left; after them, what the
        last group left, in the lanes that are `ends`.
        """
        cells, (before, after) = planes[0, : self.program.columns], self.program.spans
        left = planes[slot, : self.program.columns] & live
        last = left & ends
        cells[:] = 0
        self._horizontal(planes, before, ends, numbers)
        begun = ones(cells & ends)
        cells[:] = last
        self._horizontal(planes, after, ends, numbers)
        return ones(left) - ones(last) + begun

    def _horizontal(self, planes: Words, spans: Spans, lanes: Words, numbers: Numbers) -> None:
        """Steps on the rows in slot 0 of some lanes, which take zeros in and put nothing out."""
        nowhere = np.zeros((self.program.places, len(lanes)), np.uint64)
        zero = np.zeros((1, 1), np.uint64)
        operands = Operands(zero.reshape(1, 1, 1), zero, NO_PORT, _NOWHERE, lanes, lanes)
        runs = np.array([[0, len(lanes), 0, 0, NO_PORT]], np.int64)
        ops = self.tiles.horizontal(spans)
        self.tiles.walk(planes, ops, operands, lanes, runs, nowhere, numbers)


def _runs(pairs: NDArray[np.integer[Any]], port: int) -> Numbers:
    """Lane words that follow one another in the planes, with one word of the other operand."""
    follow = (np.diff(pairs[:, 0]) == 1) & (np.diff(pairs[:, 1]) == 0)
    starts = np.concatenate([[0], np.flatnonzero(~follow) + 1])
    stops = np.append(starts[1:], len(pairs))
    ports = np.full(len(starts), port)
    return np.stack([starts, stops, *pairs[starts].T, ports], axis=1).astype(np.int64)


def _padded(words: Words, width: int) -> Words:
    """Words with zeros behind."""
    padded = np.zeros(width, np.uint64)
    padded[: len(words)] = words
    return padded


def _with_more(words: Words, count: int) -> Words:
    """Words with some zeros behind, which machine code loads with the last vector of a tile."""
    flat = np.zeros(words.size + count, np.uint64)
    flat[: words.size] = words.ravel()
    return flat[: words.size].reshape(words.shape)


def ones(words: Words) -> int:
    """Bits that are set."""
    return int(np.bitwise_count(words).sum())


_NOWHERE = np.zeros((0, 2), np.int64)
