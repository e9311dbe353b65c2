"""Many independent groups of rows at once: the same program, rows as lanes.

The rule: sums, and every number of every step, are those of the literal execution, load
by load on an array of zeros, dead rows and idle columns included; `Regular` says which
programs may be run so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam._coding import UNCODED
from apsim.cam._listed import uncollected
from apsim.cam._plan import plan
from apsim.cam._walks import Walk, walk_of
from apsim.cam.regular import Regular, Stretch
from apsim.cam.schedule import Schedule, schedule
from apsim.encoding import MODE, OP, PLACE, PORT, WIDTH, WRITE, WRITES, Code
from apsim.errors import ProgramError
from apsim.program import Mode, Op

__all__ = ["LaneProgram", "Operands", "Outcome", "to_planes"]

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]
FIXED = 4
NEAR = 600 * 1024  # bytes of planes of a tile: they stay close to a core


@dataclass(frozen=True)
class Operands:
    """Two operands of every row of every group, and which groups stand where.

    `packed` uint64[size, bits, words] holds one operand (port `port`) as bit-planes, made by
    `to_planes` (kernels load a few words from behind it);
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


def to_planes(words: Words, bits: int) -> Words:
    """Words uint64[rows, many] as bit-planes uint64[rows, bits, words of 64]."""
    planes: Words = _operands().to_planes(words, bits)
    return planes


@dataclass(frozen=True)
class Outcome:
    """Words put out, uint64[64 * lane words], and matched, written, flipped by step."""

    out: Words
    numbers: Numbers


@dataclass
class LaneProgram:
    """A program for groups of `size` rows, with its schedule, ready to run on lanes."""

    code: Code
    groups: int
    size: int
    columns: int
    least: int = UNCODED

    @cached_property
    def regular(self) -> Regular:
        """The program taken apart; raises `ProgramError` where groups are not independent."""
        with uncollected():
            return Regular.of(self.code, self.groups, self.size)

    @cached_property
    def schedule(self) -> Schedule:
        """The order of blocks."""
        with uncollected():
            return schedule(self.regular)

    @cached_property
    def places(self) -> int:
        """Bits of the words that the program puts out in port 0."""
        puts = self.code.steps[
            (self.code.steps[:, OP] == Op.READ) & (self.code.steps[:, PORT] == 0)
        ]
        down = puts[:, MODE] == Mode.VERTICAL
        return int(np.where(down, puts[:, WIDTH], puts[:, PLACE] + 1).max(initial=1))

    def compared(self, rows: int) -> int:
        """Lines that take part in compares in one load of so many rows."""
        return int(self.compared_by_step(rows).sum())

    def compared_by_step(self, rows: int) -> Numbers:
        """The same, for each step."""
        compared: Numbers = plan(self.code).totals(rows, self.columns)[0]
        return compared

    @cached_property
    def walk(self) -> Walk:
        """What the kernel walks."""
        with uncollected():
            return walk_of(self.code, self.schedule, self.columns, self.least)

    def run(
        self,
        operands: Operands,
        *,
        tile: int = 0,
        threads: int = 2,
        progress: Callable[[int], None] = lambda lanes: None,
    ) -> Outcome:
        """Run all groups, `tile` lane words at a time (0: what suits); threads share the tiles.

        Numbers are those of literal executions, a load for each of `ends`, but for compared
        lines, which no data can change.  `progress` gets the number of groups that are through.
        """
        words = len(operands.live)
        step = tile or self._tile(words, threads)
        tiles = [slice(k, min(k + step, words)) for k in range(0, words, step)]
        runner = _Runner(self, operands, self.walk)
        numbers = np.zeros((4, len(self.code)), np.int64)
        for part, where in zip(_each(runner.tile, tiles, threads), tiles, strict=True):
            numbers += part
            progress(_ones(operands.live[where]))
        shared = self._shared_rows(operands, runner.left)
        return Outcome(runner.out, (numbers + shared)[1:])

    def _tile(self, words: int, threads: int) -> int:
        """Lane words of a tile: planes that stay close to a core, as much work for each thread."""
        line = 8 * (self.schedule.slots + 1) * (self.columns + 2)
        most = min(max(NEAR // line // 8 * 8, 8), 256)
        count = -(-words // most)
        if words >= 16 * threads:
            count = -(-count // threads) * threads
        return -(-words // count // 8) * 8

    def _shared_rows(self, operands: Operands, left: Words) -> Numbers:
        """What the shared row of every load adds: its own horizontal steps, and its clears.

        It goes through the steps before the loops as a row of zeros.  In the loops it
        holds, before a group clears it, what the group before left; after them, what the
        last group left.
        """
        numbers = np.zeros((4, len(self.code)), np.int64)
        loads = _ones(operands.ends)
        for shared in range(self.regular.shared):
            last = _gathered(left[shared], operands.ends)
            tail = _Tail(self, loads)
            before = tail.first_steps(numbers)
            tail.last_steps(last, numbers)
            flips = _ones(left[shared]) - int(last.sum()) + loads * before
            numbers[3, self._clear(shared)] += flips
        return numbers

    def _clear(self, shared: int) -> int:
        """The step that overwrites a shared row."""
        for stretch in self.regular.stretches:
            for index in range(stretch.start, stretch.stop) if stretch.lines else ():
                row = self.code.steps[index]
                if row[OP] == Op.WRITE_ALL and row[MODE] == Mode.VERTICAL:
                    pool = self.code.pool[row[WRITE] : row[WRITE] + row[WRITES]]
                    if any(stretch.lines[0][s] == self.size + shared for s in pool[:, 0]):
                        if pool[:, 1].any():
                            raise ProgramError("a shared row must be cleared, not set")
                        return index
        raise ProgramError("a shared row is never cleared")


class _Runner:
    """Tiles of one run; a thread keeps its planes, so that threads share nothing they write."""

    def __init__(self, program: LaneProgram, operands: Operands, walk: Walk) -> None:
        words = len(operands.live)
        self.program, self.operands, self.walk = program, operands, walk
        self.out = np.zeros(words * 64, np.uint64)
        self.left = np.zeros((program.regular.shared, program.columns, words), np.uint64)
        self.own = threading.local()

    def tile(self, where: slice) -> Numbers:
        """Run the groups of some lane words; gives numbers by step."""
        program, count = self.program, where.stop - where.start
        width = -(-count // 8) * 8
        live = _with_more(width)
        live[:count] = self.operands.live[where]
        runs = _runs(self.operands.pairs[where], self.operands.port)
        bits = np.zeros((program.places, width), np.uint64)
        numbers = np.zeros((4, len(program.code)), np.int64)
        planes = self._planes(width)
        _walk(program, planes, self.walk.ops, self.operands, live, runs, bits, numbers)
        for shared, slot in enumerate(program.schedule.shared):
            self.left[shared, :, where] = (planes[slot, : program.columns] & live)[:, :count]
        words = np.zeros((1, width * 64), np.uint64)
        _operands().from_planes(bits, words)
        self.out[where.start * 64 : where.stop * 64] = words[0, : count * 64]
        return numbers

    def _planes(self, width: int) -> Words:
        """The thread's planes, as the tile before left them: a walk clears what it enters."""
        planes: Words | None = getattr(self.own, "planes", None)
        if planes is None or planes.shape[2] != width:
            self.own.planes = planes = _planes(self.program, width)
        return planes


class _Tail:
    """The shared rows of all loads, side by side: horizontal steps before and after the loops."""

    def __init__(self, program: LaneProgram, loads: int) -> None:
        self.program, self.loads = program, loads
        self.live = _with_more(-(-loads // 512) * 8)
        self.live[: loads // 64] = ~np.uint64(0)
        if loads % 64:
            self.live[loads // 64] = (1 << loads % 64) - 1
        self.planes = _planes(program, len(self.live))
        zero = _with_more(64 * len(self.live)).reshape(1, 64, -1)
        self.operands = Operands(zero, np.zeros((1, 1), np.uint64), 0, _NONE, self.live, self.live)
        self.runs = np.array([[0, len(self.live), 0, 0, 0]], np.int64)

    def first_steps(self, numbers: Numbers) -> int:
        """Steps before the first loop, on rows of zeros; gives the ones in such a row."""
        ops = [(0, 0, 0, 0)] + [
            (1, s.start, s.stop, 0)
            for s in self._stretches()
            if s.stop <= self.program.schedule.before
        ]
        self._walk(np.array(ops, np.int64), numbers)
        return int((self.planes[0, : self.program.columns, 0] & np.uint64(1)).sum())

    def last_steps(self, cells: NDArray[np.bool_], numbers: Numbers) -> None:
        """Steps after the last loop, on what the last groups left: bool[columns, loads]."""
        padded = np.zeros((len(cells), len(self.live) * 64), bool)
        padded[:, : self.loads] = cells
        packed = np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
        self.planes[0, : self.program.columns] = packed
        after = self.program.schedule.after
        ops = [(1, s.start, s.stop, 0) for s in self._stretches() if s.start >= after]
        if ops:
            self._walk(np.array(ops, np.int64), numbers)

    def _stretches(self) -> list[Stretch]:
        return [s for s in self.program.regular.stretches if not s.lines]

    def _walk(self, ops: Numbers, numbers: Numbers) -> None:
        nowhere = np.zeros((self.program.places, len(self.live)), np.uint64)
        _walk(self.program, self.planes, ops, self.operands, self.live, self.runs, nowhere, numbers)


def _walk(
    program: LaneProgram,
    planes: Words,
    ops: Numbers,
    operands: Operands,
    live: Words,
    runs: Numbers,
    out: Words,
    numbers: Numbers,
) -> None:
    slots, height, width = planes.shape
    walk, steps = program.walk, program.walk.plan
    _kernels().walk(
        planes, planes.reshape(slots, height * width), planes.reshape(slots * height, width), ops,
        steps.steps, steps.pool, steps.extra, walk.on, walk.down, walk.pool, walk.codes,
        np.zeros(slots, np.int64),
        operands.packed, operands.words, live, runs, out, numbers,
    )  # fmt: skip


def _runs(pairs: NDArray[np.integer[Any]], port: int) -> Numbers:
    """Lane words that follow one another in the planes, with one word of the other operand."""
    follow = (np.diff(pairs[:, 0]) == 1) & (np.diff(pairs[:, 1]) == 0)
    starts = np.concatenate([[0], np.flatnonzero(~follow) + 1])
    stops = np.append(starts[1:], len(pairs))
    ports = np.full(len(starts), port)
    return np.stack([starts, stops, *pairs[starts].T, ports], axis=1).astype(np.int64)


def _planes(program: LaneProgram, width: int) -> Words:
    """Zeros at a multiple of 64 bytes: uint64[slots, columns + 2, width]."""
    shape = (program.schedule.slots + FIXED, program.columns + 2, width)
    raw = np.zeros(int(np.prod(shape)) + 8, np.uint64)
    first = -raw.ctypes.data % 64 // 8
    return raw[first : first + int(np.prod(shape))].reshape(shape)


def _with_more(words: int) -> Words:
    """Zeros, and a vector of them behind, which kernels load with the last words."""
    return np.zeros(words + 8, np.uint64)[:words]


def _gathered(planes: Words, lanes: Words) -> NDArray[np.bool_]:
    """The lanes that a mask marks, in order: bool[columns, lanes]."""
    chosen = np.flatnonzero(np.unpackbits(lanes.view(np.uint8), bitorder="little"))
    bits = planes[:, chosen >> 6] >> (chosen & 63).astype(np.uint64)
    return (bits & np.uint64(1)).astype(bool)


def _each(run: Callable[[slice], Numbers], tiles: list[slice], threads: int) -> Iterable[Numbers]:
    """Results of the tiles in their order, on several threads where there are several tiles."""
    if threads > 1 and len(tiles) > 1:
        return _pool(threads).map(run, tiles)
    return map(run, tiles)


def _ones(words: Words) -> int:
    return int(np.bitwise_count(words).sum())


_NONE = np.zeros((0, 2), np.int64)


@cache
def _kernels() -> ModuleType:
    from apsim.cam import _lanes

    return _lanes


@cache
def _operands() -> ModuleType:
    from apsim.cam import _operands

    return _operands


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="apsim-lanes")
