"""Many independent groups of rows at once: the same program, rows as lanes.

The rule: sums, and every number of every step, are those of the literal execution, load
by load on an array of zeros, dead rows and idle columns included; `Regular` says which
programs may be run so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam._coding import UNCODED
from apsim.cam._listed import uncollected
from apsim.cam._plan import plan
from apsim.cam._runner import Operands, Runner, refuse_unless_they_fit
from apsim.cam._tiles import Spans, Tiles, tiles
from apsim.cam.regular import Regular
from apsim.cam.schedule import Schedule, schedule
from apsim.cam.transfer import words_of
from apsim.encoding import MODE, OP, PLACE, PORT, WIDTH, WRITE, WRITES, Code
from apsim.errors import ProgramError
from apsim.program import Mode, Op

__all__ = ["LaneProgram", "Operands", "Outcome"]

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]
NEAR = 1000 * 1024  # bytes of planes of a tile: they stay close to a core


@dataclass(frozen=True)
class Outcome:
    """Planes put out, uint64[places, lane words], and matched, written, flipped by step."""

    planes: Words
    numbers: Numbers

    @property
    def out(self) -> Words:
        """The words put out, uint64[64 * lane words], made anew each time."""
        return words_of(self.planes)


@dataclass
class LaneProgram:
    """A program for groups of `size` rows, with its schedule, ready to run on lanes."""

    code: Code
    groups: int
    size: int
    columns: int
    least: int = UNCODED

    def __getstate__(self) -> dict[str, Any]:
        """Without what is worked out: that holds addresses."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

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
    def tiles(self) -> Tiles:
        """How tiles are walked."""
        with uncollected():
            return tiles(self.code, self.schedule, self.columns, self.least)

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
        refuse_unless_they_fit(self.code, self.size, self.columns, operands)
        words = len(operands.live)
        step = tile or self._tile(words, threads)
        tiles = [slice(k, min(k + step, words)) for k in range(0, words, step)]
        runner = Runner(self, operands, step)
        for lanes in _each(runner.tile, tiles, threads):
            progress(lanes)
        numbers: Numbers = sum(runner.counted, np.zeros((4, len(self.code)), np.int64))
        self.tiles.complete(numbers)
        return Outcome(runner.planes, numbers[1:])

    def _tile(self, words: int, threads: int) -> int:
        """Lane words of a tile: planes that stay close to a core, as much work for each thread.

        An odd number of vectors, so that the lines of a tile spread over the sets of a cache.
        """
        line = 64 * self.tiles.slots * self.tiles.lines
        vectors, most = -(-words // 8), max(NEAR // line, 1) - 1 | 1
        count = max(-(-vectors // most), 1)
        if vectors >= 2 * threads:
            count = -(-count // threads) * threads
        return 8 * (-(-vectors // count) | 1)

    @cached_property
    def spans(self) -> tuple[Spans, Spans]:
        """Horizontal steps before the first loop that uses shared rows, and after the last."""
        before, after = self.schedule.before, self.schedule.after
        across = [(s.start, s.stop) for s in self.regular.stretches if not s.lines]
        return [s for s in across if s[1] <= before], [s for s in across if s[0] >= after]

    @cached_property
    def shared(self) -> list[tuple[int, int]]:
        """The slot of each shared row, and the step that overwrites it."""
        return [(slot, self._clear(k)) for k, slot in enumerate(self.schedule.shared)]

    @property
    def steps(self) -> int:
        """How many steps the program has."""
        return len(self.code)

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


def _each(run: Callable[[slice], int], tiles: list[slice], threads: int) -> Iterable[int]:
    """Results of the tiles in their order, on several threads where there are several tiles."""
    if threads > 1 and len(tiles) > 1:
        return _pool(threads).map(run, tiles)
    return map(run, tiles)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="apsim-lanes")
