"""Sums whose weights are digits in the instruction stream, carried out from rows of digits.

A row of the stream is two numbers: what is to be done and on which columns, and a value.  One
kernel (`digit_kernel`) makes a group's rows from its weights, as a sequencer would, and walks
them for one vector of 512 pixels after another; its cells stay near the core meanwhile.

The rule: the passes are those of the LUTs that are given, each with its own tag, and each tag
is counted.  No pass is left out because a column is constant, and no sum comes from elsewhere
than the accumulators' columns.  Rows of the array that do not live hold 0, which no pass of a
fitting LUT matches.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam.digit_kernel import (
    COUNT,
    FRAME,
    LUTS,
    OUT,
    TOTAL,
    Luts,
    walk_of,
)
from apsim.cam.digit_kernel import groups as groups_of
from apsim.cam.frame import address
from apsim.cam.jit import Operation
from apsim.closed_form import WeightPlan
from apsim.counts import Activity, Counts
from apsim.errors import CountError, ProgramError

__all__ = ["LUTS", "Luts", "Outcome", "prepare", "run"]

Words = NDArray[np.uint64]
Integers = NDArray[np.int64]

NEAR = 16  # vectors of a tile, whose cells stay close to a core
FEWEST = 8  # groups of a range, so that what is done again is little
VECTOR = 512


@dataclass(frozen=True)
class Outcome:
    """Accumulators as they were read, uint64[i, W, words of 64 pixels], and what was done."""

    planes: Words
    counts: Counts
    activity: Activity


def prepare(luts: Luts) -> None:
    """Compile the kernel, or load it, so that the time of that is not the passes'."""
    none, planes = np.zeros((1, 1), np.int64), np.zeros((1, 1, 1), np.uint64)
    run(luts, WeightPlan(1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0), none, none[0], planes, 1, 1, threads=1)


def run(
    luts: Luts,
    plan: WeightPlan,
    weights: NDArray[np.integer[Any]],
    presets: Integers,
    planes: Words,
    pixels: int,
    rows: int,
    *,
    threads: int = 2,
    received: Sequence[Words] = (),
    tile: int = 0,
    ranges: int = 0,
    progress: Callable[[int], None] = lambda sums: None,
) -> Outcome:
    """All loads of a layer: pixels [J, M, words] as planes, `rows` of them in a load.

    `weights` int64[i, J], those whose digits are held, and `presets` int64[i]; `received` are
    accumulators of other CAPs as they were read.  Threads share tiles of `tile` vectors of 512
    pixels, and `ranges` of the groups of outputs (0: what suits).  `progress` gets the number
    of sums that are done.  Raises `CountError` where some loads were carried out otherwise than
    others.
    """
    job = _Job(walk_of(luts), plan, weights, presets, planes, pixels, rows, received)
    size = tile or _tile(job.vectors, threads)
    tiles = [(first, min(first + size, job.vectors)) for first in range(0, job.vectors, size)]
    pieces = [
        (vectors, groups)
        for vectors in tiles
        for groups in _ranges(plan, ranges or -(-2 * threads // len(tiles)))
    ]
    totals = np.zeros(TOTAL, np.int64)
    with ThreadPoolExecutor(threads) as pool:
        each = pool.map(job.piece, pieces) if threads > 1 else map(job.piece, pieces)
        for ((first, last), (begin, end)), counted in zip(pieces, each, strict=True):
            totals += counted
            outputs = min(end * plan.together, plan.outputs) - begin * plan.together
            progress((min(last * VECTOR, pixels) - first * VECTOR) * outputs)
    return Outcome(job.out, *_told(totals, pixels, job.loads))


def _tile(vectors: int, threads: int) -> int:
    """Vectors of a tile: cells that stay close to a core, and as much work for each thread."""
    tiles = threads * -(-vectors // (threads * NEAR))
    return -(-vectors // tiles)


def _ranges(plan: WeightPlan, count: int) -> list[tuple[int, int]]:
    """At most `count` ranges of groups, none of them short; one where all need the first."""
    count = 1 if plan.common else max(min(count, plan.groups // FEWEST), 1)
    ends = [plan.groups * k // count for k in range(count + 1)]
    return list(itertools.pairwise(ends))


def _told(totals: Integers, pixels: int, loads: int) -> tuple[Counts, Activity]:
    """What was carried out, which each pixel's row must have seen as each load did."""
    passes, writes, reads, *times = (int(number) for number in totals[:6])
    if [loads * lines for lines in (passes, writes, reads)] != [pixels * n for n in times]:
        raise CountError(
            f"{passes}, {writes} and {reads} lines of {pixels} pixels had passes, writes and "
            f"reads, which {loads} loads carried out {times} times"
        )
    matched, read, written, flipped = (int(number) for number in totals[6:])
    counts = Counts(times[0], times[0] + times[1], times[2])
    return counts, Activity(passes + reads, matched + read, written, flipped, reads - read)


class _Job:
    """A layer's loads: what all tiles share, and where their sums go."""

    def __init__(
        self, walk: Operation, plan: WeightPlan, weights: NDArray[np.integer[Any]],
        presets: Integers, planes: Words, pixels: int, rows: int, received: Sequence[Words],
    ) -> None:  # fmt: skip
        self.plan, self.walk = plan, walk.address
        self.vectors, self.loads = -(-pixels // VECTOR), -(-pixels // rows)
        words = 8 * self.vectors
        _refuse_unless_it_fits(plan, weights, presets, planes, pixels)
        self.received = received
        self.offsets = np.array(plan.offsets or (0,), np.int64)
        self.planes = np.zeros((plan.words, plan.bits, words), np.uint64)
        self.planes[:, :, : planes.shape[2]] = planes
        self.weights = np.ascontiguousarray(weights, np.int64)
        self.presets = np.ascontiguousarray(presets, np.int64)
        self.out = np.zeros((plan.outputs, plan.width, words), np.uint64)
        if [other.shape for other in received] != [self.out.shape] * plan.received:
            raise ProgramError(
                f"digits: wanted {plan.received} received sums {self.out.shape}, "
                f"got {[other.shape for other in received]}"
            )
        alive = np.arange(VECTOR * self.vectors) < pixels
        self.live = np.packbits(alive, bitorder="little").view(np.uint64)
        self.alive = alive.reshape(-1, VECTOR).sum(axis=1)
        begins = np.arange(0, pixels, rows) // VECTOR
        self.times = np.bincount(begins, minlength=self.vectors).astype(np.int64)

    def piece(self, piece: tuple[tuple[int, int], tuple[int, int]]) -> Integers:
        """Carry a range of groups out on the pixels of some vectors; gives what was counted.

        Cells are first brought to what the groups before leave, by as many of these again as it
        takes, uncounted and their sums put aside.
        """
        (first, last), (begin, end) = piece
        rows = np.zeros((self._most_rows, 2), np.int64)
        bounds = np.zeros(self.plan.together, np.int64)
        cells, aside = _lines((last - first) * self.plan.columns), np.zeros(TOTAL, np.int64)
        if begin:
            frame = self._frame(first, last, cells, aside, bounds)
            beside = np.zeros_like(self.out)
            frame[OUT] = address(beside)
            groups_of(address(frame), address(rows), self.walk, self._from(begin), begin)
        totals = np.zeros(TOTAL, np.int64)
        frame = self._frame(first, last, cells, totals, bounds)
        groups_of(address(frame), address(rows), self.walk, begin, end)
        return totals

    def _from(self, begin: int) -> int:
        """The last group from which on every column is written that any before `begin` writes.

        START writes the carry and all accumulators; words of a chunk are written where some
        output of the group has a weight for them, and the short accumulator with them.
        """
        written = self._written[:begin]
        wanted, found = written.any(axis=0), np.zeros(written.shape[1], bool)
        for group in range(begin - 1, -1, -1):
            found |= written[group]
            if (found >= wanted).all():
                return group
        return 0

    @cached_property
    def _written(self) -> NDArray[np.bool_]:
        """Which places of a chunk each group writes: bool[groups, max(q, 1)]."""
        step, some = max(self.plan.chunk, 1), self.weights != 0
        padded = np.pad(some, ((0, 0), (0, -some.shape[1] % step)))
        places = padded.reshape(len(some), -1, step).any(axis=1)
        starts = np.arange(0, len(some), self.plan.together)
        written: NDArray[np.bool_] = np.logical_or.reduceat(places, starts, axis=0)
        return written

    @property
    def _most_rows(self) -> int:
        """Rows of a group at most: of b bits, every second digit of b + 1 may be there."""
        plan, widest = self.plan, int(np.abs(self.weights).max(initial=0)).bit_length()
        chunks = -(-plan.words // max(plan.chunk, 1))
        digits = plan.words * (widest + 2) // 2 + 1
        shared = 2 * plan.received + bool(plan.common)
        return 2 + 2 * plan.words + plan.together * (digits + 2 * chunks + 1 + shared)

    def _frame(
        self, first: int, last: int, cells: Words, totals: Integers, bounds: Integers
    ) -> Integers:
        plan = self.plan
        (word, plane, _), (out, line, _) = self.planes.strides, self.out.strides
        frame = np.zeros(FRAME + plan.received, np.int64)
        frame[FRAME:] = [address(other) for other in self.received]
        frame[: COUNT] = (
            address(cells), 64 * plan.columns, address(self.live), address(self.alive),
            address(self.times), first, last, address(self.planes), word, plane,
            address(self.out), out, line, plan.bits, plan.width, plan.short, plan.together,
            plan.chunk, plan.outputs, plan.words, address(self.weights), address(self.presets),
            plan.stop, plan.common, address(self.offsets), plan.received, address(bounds),
            address(totals),
        )  # fmt: skip
        return frame


def _refuse_unless_it_fits(
    plan: WeightPlan,
    weights: NDArray[np.integer[Any]],
    presets: Integers,
    planes: Words,
    pixels: int,
) -> None:
    """Below this door nobody checks: no digit may reach beyond its accumulator."""
    wide = weights.astype(np.int64)
    top = int(((wide ^ (3 * wide)) >> 1).max(initial=0)).bit_length() - 1
    fits = (
        weights.shape == (plan.outputs, plan.words)
        and presets.shape == (plan.outputs,)
        and planes.shape[:2] == (plan.words, plan.bits)
        and 64 * planes.shape[2] >= pixels > 0
        and (top < 0 or top + plan.bits <= (plan.short or plan.width))
        and plan.short <= plan.width
        and plan.columns < 1 << 16
    )
    if not fits:
        raise ProgramError(
            f"digits: wanted weights, presets and planes for {plan}, got {weights.shape}, "
            f"{presets.shape}, {planes.shape} for {pixels} pixels"
        )


def _lines(count: int) -> Words:
    """So many lines of 512 zeros, at a multiple of 64 bytes."""
    raw = np.zeros(8 * count + 8, np.uint64)
    first = -address(raw) % 64 // 8
    return raw[first : first + 8 * count]
