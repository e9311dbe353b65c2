"""Rows of an instruction stream, carried out on one vector of 512 pixels after another.

A row is two numbers: what is to be done and on which columns, and a value.  The cells of a few
vectors stay near the core while all rows are walked for each of them.

The rule: what runs is Python, generated from the passes that are given, each with its own tag,
and each tag is counted.  No pass is left out because a column is constant.  Rows of the array
that do not live hold 0, which no pass may match.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from textwrap import indent
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam.frame import address, aligned
from apsim.cam.jit import Operation
from apsim.cam.lut_step import LutStep, Pass, cells, generated
from apsim.cam.step import COUNTED, KNOWN, NEVER
from apsim.counts import Activity, Counts
from apsim.errors import CountError, ProgramError

__all__ = [
    "MOST_COLUMNS", "POPULATE", "READ", "SET", "SUM", "VECTOR", "Pixels", "Sum", "Tile", "rows",
    "walk_of",
]  # fmt: skip

Numbers = NDArray[np.int64]
Bits = tuple[tuple[int, int], ...]
Passes = tuple[tuple[Bits, Bits], ...]
"""Keys and writes, in order: (line, bit) pairs, lines 0, 1 and 2 those of a, b and the carry."""

Sum = tuple[Passes, Passes, Passes]
"""Passes on bit 0 of a and b and the carry, on further bits, and on those of b above them."""

VECTOR, MOST_COLUMNS = 512, 1 << 16

# What a row does, in its lowest four bits; then two columns a and b of 16 bits, and a number n.
# SET: n columns from a on := the bits of the value, with b = 1 in a write that has begun already.
# POPULATE: n columns from a on := the lines from the address that is the value on; READ: so many
# lines there := columns.  SUM + k: sum k over as many bits as the value says, and n above them.
SET, POPULATE, READ, SUM = range(4)

# Numbers of a frame.  PLANE is bytes from a line outside to the next; ALIVE and TIMES stand at
# addresses, by vector: pixels, and loads that begin there.
CELLS, STRIDE, LIVE, ALIVE, TIMES, FIRST, LAST, PLANE, TOTALS, COUNT = range(10)
TOTAL = 10  # lines that passes, writes and reads took, times that loads did, and an `Activity`

TEXT = """\
from apsim.cam.stream import (
    ALIVE, CELLS, COUNT, FIRST, LAST, LIVE, PLANE, READ, SET, STRIDE, SUM, TIMES, TOTALS,
)
from apsim.cam.vector import load, nothing, ones, pointer, splat, store, total


def operation(frame, rows):
    totals = pointer(frame[TOTALS])
    for vector in range(frame[FIRST], frame[LAST]):
        carry = frame[CELLS] + (vector - frame[FIRST]) * frame[STRIDE]
        alive, times = pointer(frame[ALIVE])[vector], pointer(frame[TIMES])[vector]
        living = load(frame[LIVE], vector)
        passes = writes = reads = cells = 0
        flips = found = {counters} = nothing()
        for number in range(frame[COUNT]):
            row, value = rows[2 * number], rows[2 * number + 1]
            op, at_a = row & 15, carry + 64 * (row >> 4 & 65535)
            at_b, n = carry + 64 * (row >> 20 & 65535), row >> 36
{sums}
            elif op == READ:
                for v in range(n):
                    b = load(at_a, v)
                    found += ones(b)
                    store(value + v * frame[PLANE], vector, b)
                    reads += 1
            else:
                for v in range(n):
                    if op == SET:
                        b = splat(-(value >> v & 1)) & living
                    else:
                        b = load(value + v * frame[PLANE], vector)
                        writes += 1
                    flips += ones(b ^ load(at_a, v))
                    store(at_a, v, b)
                writes += op == SET and at_b == carry
                cells += alive * n
        matched = {matched}
        totals[0] += passes * alive
        totals[1] += writes * alive
        totals[2] += reads * alive
        totals[3] += passes * times
        totals[4] += writes * times
        totals[5] += reads * times
        totals[6] += matched
        totals[7] += total(found)
        totals[8] += cells + {written}
        totals[9] += total(flips) + {flipped}
"""


def rows(op: Any, a: Any, n: Any, value: Any, b: Any = 0) -> Numbers:
    """Rows int64[..., 2]: an op, columns a and b, n, and a value, of numbers or arrays of them."""
    what = np.asarray(op) | np.asarray(a) << 4 | np.asarray(b) << 20 | np.asarray(n) << 36
    return np.stack(np.broadcast_arrays(what, value), axis=-1)


@cache
def walk_of(sums: tuple[Sum, ...]) -> Operation:
    """The walk with these sums."""
    kinds: set[tuple[int, int]] = set()
    lines = [line for k, one in enumerate(sums) for line in _sum(k, one, kinds)]
    found = {f"n{w}{f}": (w, f) for w, f in sorted(kinds)}
    text = TEXT.format(
        counters=" = ".join(found),
        sums=indent("\n".join(lines), " " * 12),
        matched=" + ".join(f"total({name})" for name in found),
        written=" + ".join(f"{w} * total({name})" for name, (w, _) in found.items()),
        flipped=" + ".join(f"{f} * total({name})" for name, (_, f) in found.items()),
    )
    return generated(text)


def _sum(number: int, one: Sum, kinds: set[tuple[int, int]]) -> Iterator[str]:
    """A sum: its first bits, further bits, and those above."""
    yield f"{'elif' if number else 'if'} op == SUM + {number}:"
    yield "    c = load(carry, 0)"
    for bits, passes in zip(("1", "1, value", "value, value + n"), one, strict=True):
        yield f"    for v in range({bits}):"
        yield from (f"        {line}" for line in _bit(passes, kinds))
    yield "    store(carry, 0, c)"


def _bit(passes: Passes, kinds: set[tuple[int, int]]) -> Iterator[str]:
    """A bit's passes on a, b and c, each counted among those that write and flip as many cells."""
    if any(not any(bit for _, bit in key) for key, _ in passes):
        raise ProgramError("stream: a pass must not match a row of zeros")
    one = LutStep(tuple(Pass(key, tuple(_written(key, writes))) for key, writes in passes))
    sizes = [(len(w.write), sum(how == KNOWN for *_, how in w.write)) for w in one.passes]
    kinds.update(sizes)

    def counted(match: re.Match[str]) -> str:
        size = sizes[int(match[2])]
        return "passes += 1; n{}{} +=".format(*size) if match[1] == "n" else "flips +="

    for line in cells(one, "", False, False):
        if "at_c" not in line:  # the carry stays where it is
            yield re.sub(r"^([nf])(\d+) \+=", counted, line)


def _written(key: Bits, writes: Bits) -> Iterator[tuple[int, int, int]]:
    """Written (line, bit) pairs, and how they flip where the key matched."""
    held = dict(key)
    for line, bit in writes:
        yield line, bit, COUNTED if line not in held else NEVER if held[line] == bit else KNOWN


class Pixels:
    """Pixels in vectors of 512 and in loads of so many rows of CAPs."""

    def __init__(self, pixels: int, rows: int) -> None:
        self.pixels, self.vectors, self.loads = pixels, -(-pixels // VECTOR), -(-pixels // rows)
        living = np.arange(VECTOR * self.vectors) < pixels
        self.live = np.packbits(living, bitorder="little").view(np.uint64)
        self.alive = living.reshape(-1, VECTOR).sum(axis=1)
        begins = np.arange(0, pixels, rows) // VECTOR
        self.times = np.bincount(begins, minlength=self.vectors).astype(np.int64)

    def told(self, totals: Numbers) -> tuple[Counts, Activity]:
        """What was carried out, which each pixel's row must have seen as each load did."""
        passes, writes, reads, *times = (int(number) for number in totals[:6])
        if [self.loads * n for n in (passes, writes, reads)] != [self.pixels * n for n in times]:
            raise CountError(
                f"{passes}, {writes} and {reads} lines of {self.pixels} pixels had passes, writes "
                f"and reads, which {self.loads} loads carried out {times} times"
            )
        matched, read, written, flipped = (int(number) for number in totals[6:])
        counts = Counts(times[0], times[0] + times[1], times[2])
        return counts, Activity(passes + reads, matched + read, written, flipped, reads - read)


class Tile:
    """The cells of vectors `first` to `last`, all 0, and room for `most` rows, int64[most, 2].

    What the rows did is in `totals`; `pointer` is `rows` as kernels want it.
    """

    def __init__(
        self, walk: Operation, pixels: Pixels, vectors: tuple[int, int], columns: int, most: int
    ) -> None:
        first, last = vectors
        cells = aligned(8 * columns * (last - first))
        self.rows, self.totals = np.zeros((most, 2), np.int64), np.zeros(TOTAL, np.int64)
        self.pointer = np.ctypeslib.as_ctypes(self.rows.reshape(-1))
        self._walk, self._kept = walk, (cells, pixels)
        self._frame = np.ctypeslib.as_ctypes(np.array([
            address(cells), 64 * columns, address(pixels.live), address(pixels.alive),
            address(pixels.times), first, last, 64 * pixels.vectors, address(self.totals), 0,
        ]))  # fmt: skip

    def carry_out(self, count: int) -> None:
        """So many of the rows, in order, on each vector."""
        self._frame[COUNT] = count
        self._walk(self._frame, self.pointer)
