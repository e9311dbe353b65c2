"""Many independent groups of rows at once: the same program, rows as lanes.

The rule: sums, and every number of every step, are those of the literal execution, load
by load on an array of zeros, dead rows and idle columns included; `Regular` says which
programs may be run so.  Threads share nothing that they write.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apsim import encoding
from apsim.cam import frame
from apsim.cam.base import Execution, lines_of
from apsim.cam.lanes.operands import Operands, Tile, words_of
from apsim.cam.lanes.regular import Regular
from apsim.cam.lanes.schedule import Schedule, schedule
from apsim.cam.needs import needs
from apsim.encoding import Code
from apsim.errors import CountError, ProgramError
from apsim.step import Mode, Op

if TYPE_CHECKING:
    from apsim.cam.lanes.rows import Rows, Walk

__all__ = ["LaneProgram", "Outcome", "predicted"]

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]
Spans = list[tuple[int, int]]

NEAR = 760 * 1024  # bytes of planes of a tile: they stay close to a core
MORE = 4  # slots of a tile besides the blocks': column tags, latches G and K, living lanes


@dataclass(frozen=True)
class Outcome:
    """Planes put out, uint64[places, lane words], and what was carried out and counted."""

    planes: Words
    execution: Execution

    @property
    def out(self) -> Words:
        """The words put out, uint64[64 * lane words], made anew each time."""
        return words_of(self.planes)


def predicted(code: Code, rows: int, columns: int) -> Numbers:
    """How often a load carries each step out, and on how many lines it compares: int64[2, n]."""
    times = np.ones(len(code), np.int64)
    for start in np.flatnonzero(code.steps[:, encoding.BODY]).tolist():
        if not code.steps[start, encoding.PARALLEL]:
            times[start : start + code.steps[start, encoding.BODY]] = code.steps[
                start, encoding.GROUPS
            ]
    _, compared = lines_of(code, rows, columns)
    return np.stack([times, times * compared])


@dataclass
class LaneProgram:
    """A program for groups of `size` rows, with its order, ready to run on lanes."""

    code: Code
    groups: int
    size: int
    columns: int

    def __getstate__(self) -> dict[str, Any]:
        """Without what is worked out: that holds addresses."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @cached_property
    def regular(self) -> Regular:
        """The program taken apart; raises `ProgramError` where groups are not independent."""
        return Regular.of(self.code, self.groups, self.size)

    @cached_property
    def schedule(self) -> Schedule:
        """The order of blocks."""
        with _uncollected():
            return schedule(self.regular)

    @cached_property
    def rows(self) -> Rows:
        """What makes the operations that are walked."""
        from apsim.cam.lanes.rows import Rows

        return Rows(self.code, self.schedule, self.columns)

    @cached_property
    def places(self) -> int:
        """Bits of the words that the program puts out in port 0."""
        steps = self.code.steps
        puts = steps[(steps[:, encoding.OP] == Op.READ) & (steps[:, encoding.PORT] == 0)]
        vertical = puts[:, encoding.MODE] == Mode.VERTICAL
        return int(
            np.where(vertical, puts[:, encoding.WIDTH], puts[:, encoding.PLACE] + 1).max(initial=1)
        )

    def prepare(self, words: int, *, fused: bool) -> Walk:
        """The operations for so many lane words; LUT steps have their own code where worth it."""
        from apsim.cam.lut_step import worth

        vectors = -(-words // 8)
        with _uncollected():
            often = self.rows.often.items() if fused else ()
            return self.rows.walk(
                frozenset(one for one, times in often if worth(one, times * vectors))
            )

    def run(
        self,
        operands: Operands,
        *,
        tile: int = 0,
        threads: int = 2,
        fused: bool = True,
        walk: Walk | None = None,
        progress: Callable[[int], None] = lambda lanes: None,
    ) -> Outcome:
        """Run all groups, `tile` lane words at a time (0: what suits); threads share the tiles.

        The execution is that of a load for each of `ends`, in every number.  `walk` is what
        was prepared; `progress` gets the number of groups that are through.
        """
        operands.refuse_unless_they_fit(needs(self.code), self.size, self.columns)
        words = len(operands.live)
        runner = Runner(self, operands, walk or self.prepare(words, fused=fused))
        size = tile or self._tile(words, threads)
        tiles = [slice(k, min(k + size, words)) for k in range(0, words, size)]
        for lanes in _each(runner.tile, tiles, threads):
            progress(lanes)
        numbers: Numbers = sum(runner.counted, np.zeros((frame.COUNTERS, len(self.code)), np.int64))
        return Outcome(runner.planes, self._execution(numbers))

    def _execution(self, numbers: Numbers) -> Execution:
        """What was carried out; raises `CountError` where some parts of a step were left out."""
        times, rest = np.divmod(numbers[0], self.parts)
        if rest.any():
            step = int(np.flatnonzero(rest)[0])
            raise CountError(
                f"step {step} was carried out in {numbers[0, step]} parts, which is no multiple "
                f"of the {self.parts[step]} that it has in each load"
            )
        _, compared, matched, written, flipped = numbers
        return Execution(
            times, compared, matched, written, flipped, self.code.steps[:, encoding.OP]
        )

    def _tile(self, words: int, threads: int) -> int:
        """Lane words of a tile: planes that stay close to a core, as much work for each thread."""
        line = 64 * self.schedule.slots * (self.columns + 1)
        vectors, most = -(-words // 8), max(NEAR // line, 1)
        count = max(-(-vectors // most), 1)
        if vectors >= 2 * threads:
            count = -(-count // threads) * threads
        return 8 * max(-(-vectors // count), 1)

    @cached_property
    def parts(self) -> Numbers:
        """In how many parts each step is carried out once: blocks, or lines of groups at once."""
        parts = np.full(len(self.code), self.size + self.regular.shared, np.int64)
        for stretch in self.regular.stretches:
            if stretch.lines:
                at_once = bool(self.code.steps[stretch.start, encoding.PARALLEL])
                parts[stretch.start : stretch.stop] = len(stretch.lines) if at_once else 1
        return parts

    @cached_property
    def spans(self) -> tuple[Spans, Spans]:
        """Horizontal steps before the loop that uses shared rows, and after it."""
        stretches, size = self.regular.stretches, self.size
        loops = [s for s in stretches if any(max(line) >= size for line in s.lines)]
        before, after = (loops[0].start, loops[0].stop) if loops else (0, 0)
        flat = [(s.start, s.stop) for s in stretches if not s.lines]
        return [s for s in flat if s[1] <= before], [s for s in flat if s[0] >= after]

    @cached_property
    def shared(self) -> list[tuple[int, int]]:
        """The slot of each shared row, and the step that overwrites it."""
        return [(slot, self._clear(k)) for k, slot in enumerate(self.schedule.shared)]

    def _clear(self, shared: int) -> int:
        """The step that overwrites a shared row."""
        for stretch in self.regular.stretches:
            for index in range(stretch.start, stretch.stop) if stretch.lines else ():
                row = self.code.steps[index]
                if row[encoding.OP] == Op.WRITE_ALL and row[encoding.MODE] == Mode.VERTICAL:
                    pool = self.code.pool[
                        row[encoding.WRITE] : row[encoding.WRITE] + row[encoding.WRITES]
                    ]
                    if any(stretch.lines[0][s] == self.size + shared for s in pool[:, 0]):
                        return index
        raise ProgramError("a shared row is never cleared")


_own = threading.local()


class Runner:
    """Tiles of one run."""

    def __init__(self, program: LaneProgram, operands: Operands, walk: Walk) -> None:
        self.program, self.operands, self.walk = program, operands, walk
        self.planes = np.zeros((program.places, len(operands.live)), np.uint64)
        self.own, self.counted = threading.local(), list[Numbers]()
        self.packed, self.other = frame.address(operands.packed), frame.address(operands.words)
        self.shared = [program.rows.horizontal(spans, walk.chosen) for spans in program.spans]

    def tile(self, where: slice) -> int:
        """Run the groups of some lane words; gives their number."""
        program, tile = self.program, self.operands.tile(where)
        width, numbers = len(tile.live), self._numbers()
        planes = room(program.schedule.slots + MORE, program.columns + 1, width)
        planes[-1, :-1] = tile.live
        bits = np.zeros((program.places, width), np.uint64)
        frames = self._frames(planes, tile, bits)
        self._walk(self.walk, frames)
        for slot, clear in program.shared:
            numbers[-1, clear] += self._shared_row(planes, slot, tile, frames.copy())
        self.planes[:, where] = bits[:, : where.stop - where.start]
        return int(frames[0, frame.ALIVE])

    def _numbers(self) -> Numbers:
        """What the thread counts into."""
        if not hasattr(self.own, "numbers"):
            self.own.numbers = np.zeros((frame.COUNTERS, len(self.program.code)), np.int64)
            self.counted.append(self.own.numbers)
        numbers: Numbers = self.own.numbers
        return numbers

    def _shared_row(self, planes: Words, slot: int, tile: Tile, frames: Numbers) -> int:
        """What a shared row adds, once in a load: horizontal steps; gives the flips of its clears.

        It goes through the steps before the loops as a row of zeros.  In the loops it
        holds, before a group clears it, what the group before left; after them, what the
        last group left, in the lanes that are `ends`.  It takes in zeros.
        """

        zeros = np.zeros(len(tile.ends), np.int64)
        some = [frame.FULL, frame.LIVE, frame.ALIVE, frame.PORT, frame.OTHER, frame.WHICH]
        none, live = frame.address(zeros), frame.address(tile.ends)
        frames[0, some] = 0, live, frames[0, frame.WEIGHT], -1, none, none
        cells, (before, after) = planes[0, :-1], self.shared
        left = planes[slot, :-1] & tile.live
        last = left & tile.ends
        cells[:] = 0
        self._walk(before, frames)
        begun = _ones(cells & tile.ends)
        cells[:] = last
        self._walk(after, frames)
        return _ones(left) - _ones(last) + begun

    def _walk(self, walk: Walk, frames: Numbers) -> None:
        """Walk over planes; what is carried out is counted."""
        from apsim.cam.lanes import kernel

        own = frames.copy()
        numbers = self._numbers()
        kernel.walk(
            frame.address(own), frame.address(frames), walk.address, len(walk.ops),
            frame.address(numbers), numbers.strides[0],
        )  # fmt: skip

    def _frames(self, planes: Words, tile: Tile, out: Words) -> Numbers:
        """What operations are told: horizontal ones, vertical ones, those of all groups at once."""

        columns, base, (slot, line, _) = self.program.columns, frame.address(planes), planes.strides
        told, operands = frame.address(tile.told), tile.operands
        where, which, live = (told + k * tile.told.strides[0] for k in range(3))
        vectors, beside = len(tile.live) // 8, line // 64
        alive, last = _ones(tile.live), _ones(tile.ends)
        whole = (tile.live.reshape(-1, 8) == ~np.uint64(0)).all(axis=1)
        full = vectors if whole.all() else int(whole.argmin())
        frames = np.zeros((3, frame.FRAME), np.int64)
        frames[0, : frame.TIMES] = (
            base, line, vectors, full, live, base + columns * line, alive, last,
        )  # fmt: skip
        frames[1:, : frame.TIMES] = (
            base, slot, columns * beside, columns * beside * (full == beside),
            base + (len(planes) - 1) * slot, base + (len(planes) - MORE) * slot, columns * alive,
            alive,
        )  # fmt: skip
        frames[2, frame.WEIGHT] = last
        frames[:, [frame.OUT, frame.OUT_PORT]] = frame.address(out), out.strides[0]
        frames[:, frame.SLOT : frame.BLOCK] = (
            slot, line, columns, vectors, full, live, alive, self.packed,
            *operands.packed.shape[1:], operands.port, self.other, operands.words.shape[1],
            frame.address(tile.starts), where, which, frame.address(tile.gathered),
        )  # fmt: skip
        frames[:, frame.PLACES] = self.program.places
        return frames


def room(*shape: int) -> Words:
    """The thread's planes uint64[slots, lines, words] at a multiple of 64 bytes.

    They hold what the last walk left there: a walk clears what it enters.  Lines are an odd
    number of vectors apart, so that they spread over the sets of a cache; between them, and in
    the last slot, which is for living lanes, there are zeros.
    """
    slots, lines, words = shape
    stride = 8 * (words // 8 | 1)
    size = slots * lines * stride
    raw: Words | None = getattr(_own, "raw", None)
    if raw is None or len(raw) < size + 8:
        _own.raw = raw = np.zeros(size + 8, np.uint64)
    first = -raw.ctypes.data % 64 // 8
    planes = raw[first : first + size].reshape(slots, lines, stride)
    planes[-1] = 0
    return planes[:, :, :words]


def _ones(words: Words) -> int:
    """Bits that are set."""
    return int(np.bitwise_count(words).sum())


def _each(run: Callable[[slice], int], tiles: list[slice], threads: int) -> Iterable[int]:
    """Results of the tiles in their order, on several threads where there are several tiles."""
    if threads > 1 and len(tiles) > 1:
        return _pool(threads).map(run, tiles)
    return map(run, tiles)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="apsim-lanes")


@contextmanager
def _uncollected() -> Iterator[None]:
    """No looking for garbage while many small objects are made that stay: it would find none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
