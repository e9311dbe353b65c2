"""Many independent groups of rows at once: the same program, rows as lanes.

The rule: sums, and every number of every step, are those of the literal execution, load
by load on an array of zeros, dead rows and idle columns included; `Regular` says which
programs may be run so.  Threads share nothing that they write.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apsim import encoding
from apsim.cam import frame
from apsim.cam.base import Execution, lines_of, parts_of
from apsim.cam.lanes.operands import Operands, Tile, words_of
from apsim.cam.lanes.regular import Regular
from apsim.cam.lanes.schedule import Schedule, schedule
from apsim.cam.needs import needs, of_loop
from apsim.encoding import Code
from apsim.errors import ProgramError
from apsim.step import Mode, Op

if TYPE_CHECKING:
    from apsim.cam.lanes.rows import Rows, Spans, Walk

__all__ = ["LaneProgram", "Outcome", "predicted"]

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]

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
    groups, at_once = (of_loop(code.steps, what) for what in (encoding.GROUPS, encoding.PARALLEL))
    times = np.where((groups > 0) & (at_once == 0), groups, 1)
    _, compared = lines_of(code.steps, rows, columns)
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
        numbers = runner.numbers()
        for lanes, counted in frame.each(runner.tile, tiles, threads):
            numbers += counted
            progress(lanes)
        ops = self.code.steps[:, encoding.OP]
        return Outcome(runner.planes, Execution.of(numbers, self.parts[None], ops))

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
        """In how many parts each step is carried out once: by blocks, or lines of groups at once.

        Horizontally the first block alone puts a word out.
        """
        parts = parts_of(self.code.steps)
        for stretch in self.regular.stretches:
            some = slice(stretch.start, stretch.stop)
            if not stretch.lines:
                parts[some] += self.size + self.regular.shared - 1
            elif self.code.steps[stretch.start, encoding.PARALLEL]:
                parts[some] *= len(stretch.lines)
        return parts

    @cached_property
    def shared(self) -> list[tuple[int, int]]:
        """The slot of each shared row, and the step that overwrites it."""
        clears = [step for stretch in self.regular.stretches for step in stretch.clears]
        if any(stretch.stop in stretch.clears for stretch in self.regular.stretches):
            raise ProgramError("a shared row is never cleared")
        return list(zip(self.schedule.shared, clears, strict=True))

    @cached_property
    def spans(self) -> tuple[Spans, Spans]:
        """Horizontal steps before the loop that uses shared rows, and after it."""
        clear = self.shared[0][1] if self.shared else len(self.code)
        flat = [(s.start, s.stop) for s in self.regular.stretches if not s.lines]
        return tuple(s for s in flat if s[1] <= clear), tuple(s for s in flat if s[0] > clear)


_own = threading.local()


class Runner:
    """Tiles of one run."""

    def __init__(self, program: LaneProgram, operands: Operands, walk: Walk) -> None:
        self.program, self.operands, self.walk = program, operands, walk
        self.planes = np.zeros((program.places, len(operands.live)), np.uint64)
        self.packed, self.other = frame.address(operands.packed), frame.address(operands.words)
        spans = program.spans if program.shared else ()
        self.shared = [program.rows.walk(walk.chosen, some) for some in spans]

    def numbers(self) -> Numbers:
        """What operations count into."""
        return np.zeros((frame.COUNTERS, len(self.program.code)), np.int64)

    def tile(self, where: slice) -> tuple[int, Numbers]:
        """Run the groups of some lane words; gives how many they are, and what was counted."""
        program, tile = self.program, self.operands.tile(where)
        width, numbers = len(tile.live), self.numbers()
        planes = room(program.schedule.slots + MORE, program.columns + 1, width)
        planes[-1, :-1] = tile.live
        bits = np.zeros((program.places, width), np.uint64)
        frames = self._frames(planes, tile, bits)
        self._walk(self.walk, frames, numbers)
        for slot, clear in program.shared:
            numbers[-1, clear] += self._shared_row(planes, slot, tile, frames.copy(), numbers)
        self.planes[:, where] = bits[:, : where.stop - where.start]
        return int(frames[0, frame.ALIVE]), numbers

    def _shared_row(
        self, planes: Words, slot: int, tile: Tile, frames: Numbers, numbers: Numbers
    ) -> int:
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
        self._walk(before, frames, numbers)
        begun = _ones(cells & tile.ends)
        cells[:] = last
        self._walk(after, frames, numbers)
        return _ones(left) - _ones(last) + begun

    def _walk(self, walk: Walk, frames: Numbers, numbers: Numbers) -> None:
        """Walk over planes; what is carried out is counted."""
        from apsim.cam.lanes import kernel

        own = frames.copy()
        kernel.walk(
            frame.address(own), frame.address(frames), frame.address(walk.ops), len(walk.ops),
            frame.address(numbers), numbers.strides[0],
        )  # fmt: skip

    def _frames(self, planes: Words, tile: Tile, out: Words) -> Numbers:
        """What operations are told: horizontal ones, vertical ones, those of all groups at once."""
        columns, base, (slot, line, _) = self.program.columns, frame.address(planes), planes.strides
        operands = self.operands
        where, which, live, _, gathered = (frame.address(line) for line in tile.told)
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
            frame.address(tile.starts), where, which, gathered,
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
    if raw is None or len(raw) < size:
        _own.raw = raw = frame.aligned(size)
    planes = raw[:size].reshape(slots, lines, stride)
    planes[-1] = 0
    return planes[:, :, :words]


def _ones(words: Words) -> int:
    """Bits that are set."""
    return int(np.bitwise_count(words).sum())


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
