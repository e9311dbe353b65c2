"""An array whose cells and match lines fail: the same programs, with seeded faults.

The rule: without faults this array equals `DenseCam` in cells, tags and every number of
every `Execution`; a fault strikes where the hardware would fail, in a single compare or a
single write, and is never repaired.  Groups of rows that cannot see each other act at
once, which only saves time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsim.cam.base import COMPARES
from apsim.cam.dense import DenseCam, line_data, put_out, through_chain

# isort: off
from apsim.encoding import (
    GATE, GROUPS, KEY, KEYS, OP, PARALLEL, PORT, SLOTS, TABLE, WRITE, WRITES, Code,
)  # fmt: skip

# isort: on
from apsim.errors import InputError
from apsim.step import Gate, Op

__all__ = ["Faults", "FaultyCam"]

Array = NDArray[np.bool_]
Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Faults:
    """Probabilities of three independent faults, and the seed that decides where they strike.

    `write_error`: a driven cell ends with the complement of what was written.
    `missed_match`: a line that matches is sensed as a mismatch, in a compare or a read.
    `stuck_cells`: a cell holds one value for ever, 0 or 1 with equal chance.
    """

    write_error: float = 0.0
    missed_match: float = 0.0
    stuck_cells: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("write_error", "missed_match", "stuck_cells"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"{name} is a probability, 0 to 1; got {value}")


@dataclass
class Lines:
    """One direction of the array, or one for each of several groups of rows.

    `tag`, `generate` and `kill` hold a bit for each crossing: bool[rows] horizontally,
    bool[groups, columns] vertically.  `table` is int64[groups, slots] vertically.
    """

    cells: Array
    table: Numbers | None
    tag: Array
    generate: Array
    kill: Array

    def place(self, line: int) -> tuple[slice | Numbers, slice | int]:
        """Where a line lies: an index into `cells` that gives an array of the tag's shape."""
        return (slice(None), line) if self.table is None else (self.table[:, line], slice(None))


class FaultyCam(DenseCam):
    """A CAM of `rows` x `columns` cells with faults; see `apsim.cam.base.Cam`.

    A snapshot holds cells, tags and latches, not the state of the random faults.
    """

    def __init__(self, rows: int, columns: int, faults: Faults) -> None:
        super().__init__(rows, columns)
        self._cells = np.asfortranarray(self._cells)  # a column lies in one piece
        self.faults = faults
        self._random = np.random.default_rng(faults.seed)
        self._stuck = self._random.random((rows, columns)) < faults.stuck_cells
        self._held = self._random.random((rows, columns)) < 0.5
        self._hold()

    def poke(self, cells: Array) -> None:
        """Set all cells, outside the count; stuck ones stay."""
        super().poke(cells)
        self._hold()

    def restore(self, saved: tuple[Array, Array, Array]) -> None:
        """Return to a snapshot; stuck cells stay."""
        super().restore(saved)
        self._hold()

    def _horizontal(self, code: Code, step: Numbers, data: Words, out: Words) -> Numbers:
        lines = Lines(self._cells, None, self._tag, self._tag, self._tag)
        return self._act(lines, code, step, data, out, slice(None))

    def _loop(
        self, code: Code, start: int, span: int, data: Words, out: Words, totals: Numbers
    ) -> None:
        head = code.steps[start]
        table = code.rows[head[TABLE] : head[TABLE] + head[GROUPS] * head[SLOTS]]
        table, parallel = table.reshape(head[GROUPS], head[SLOTS]), bool(head[PARALLEL])
        segments = len(table) if parallel else 1
        if self._vertical.shape[1] != segments:
            self._vertical = np.zeros((3, segments, self.columns), bool)
        body = code.steps[start : start + span]
        size = len(table) if parallel or _separate(body, table) else 1
        for first in range(0, len(table), size):
            batch = slice(first, first + size)
            some = table[batch]
            latches = np.repeat(self._vertical, len(some) // self._vertical.shape[1] or 1, axis=1)
            lines = Lines(self._cells, some, *latches)
            for index in range(start, start + span):
                step = code.steps[index]
                totals[:, index] += self._act(lines, code, step, data, out, batch)
            self._vertical = latches[:, -self._vertical.shape[1] :].copy()

    def _act(
        self, lines: Lines, code: Code, step: Numbers, data: Words, out: Words, word: slice
    ) -> Numbers:
        """Carry out one step; give what it did (see `Execution.of`)."""
        key = code.pool[step[KEY] : step[KEY] + step[KEYS]]
        write = code.pool[step[WRITE] : step[WRITE] + step[WRITES]]
        op, numbers = Op(step[OP]), np.zeros(5, np.int64)
        numbers[0] = lines.tag.size
        if op in COMPARES:
            self._compare(lines, key, Gate(step[GATE]))
            numbers[1:3] = lines.tag.size, np.count_nonzero(lines.tag)
        if op is Op.READ and step[PORT] >= 0:
            put_out(lines.tag, step, out, (step[PORT], word))
        if op in (Op.PASS, Op.WRITE, Op.WRITE_ALL):
            where = np.ones_like(lines.tag) if op is Op.WRITE_ALL else lines.tag
            numbers[3:] = self._write(lines, write.tolist(), where)
        if op in (Op.WRITE_TAG, Op.WRITE_DATA):
            where, value = line_data(lines.tag, step, data, (step[PORT], word))
            numbers[3:] = self._drive(lines.place(int(key[0, 0])), where, where & value)
        return numbers

    def _compare(self, lines: Lines, key: Numbers, gate: Gate) -> None:
        match = np.ones_like(lines.tag)
        for line, bit in key.tolist():
            cells = lines.cells[lines.place(line)]
            match &= cells if bit else ~cells
        if self.faults.missed_match:
            match[self._struck(match, self.faults.missed_match)] = False
        lines.tag[:] = through_chain(match, gate, lines.generate, lines.kill)

    def _write(self, lines: Lines, write: list[tuple[int, int]], where: Array) -> tuple[int, int]:
        """Write bits to lines where `where`; give the cells driven and those that changed."""
        driven = changed = 0
        for line, bit in write:
            ones = where if bit else np.zeros_like(where)
            one, other = self._drive(lines.place(line), where, ones)
            driven, changed = driven + one, changed + other
        return driven, changed

    def _drive(
        self, place: tuple[slice | Numbers, slice | int], where: Array, ones: Array
    ) -> tuple[int, int]:
        """Write a line where `where`, with 1 where `ones`; give cells driven and changed."""
        old = self._cells[place]
        new: Array = old & ~where | ones
        if self.faults.write_error:
            new[self._struck(where, self.faults.write_error)] ^= True
        if self.faults.stuck_cells:
            new = np.where(self._stuck[place], self._held[place], new)
        changed = np.count_nonzero(new != old)  # before the write: `old` may be a view
        self._cells[place] = new
        return int(np.count_nonzero(where)), int(changed)

    def _struck(self, where: Array, rate: float) -> tuple[Numbers, ...]:
        """Crossings that a fault strikes: each of those in `where` with chance `rate`."""
        there = where.ravel().nonzero()[0]
        chosen = there[self._random.random(len(there)) < rate]
        return np.unravel_index(chosen, where.shape)

    def _hold(self) -> None:
        if self.faults.stuck_cells:
            self._cells[self._stuck] = self._held[self._stuck]


def _separate(body: Numbers, table: Numbers) -> bool:
    """Whether groups neither share a row nor see each other's tags and latches."""
    if len(np.unique(table)) < table.size:
        return False
    tagged = generate = kill = False
    for step in body:
        op, gate = Op(step[OP]), Gate(step[GATE])
        kill |= gate is Gate.LOAD_K
        if op in (Op.WRITE, Op.WRITE_TAG) and not tagged:
            return False
        if gate in (Gate.LOAD_K, Gate.CARRY) and not (generate and kill):
            return False
        generate |= gate is Gate.LOAD_G
        tagged |= op in COMPARES
    return True
