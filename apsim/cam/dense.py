"""The definition of an AP: a numpy array of bools, and the obvious thing done to it.

The rule: nothing clever.  The packed array must agree with this one in cells, tags
and every number of every `Execution`, for any program.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsim.cam.base import COMPARES, Execution, apart, lines_of, refuse_unless_it_fits
from apsim.cam.needs import needs

# isort: off
from apsim.encoding import (
    BODY, GATE, GROUPS, KEY, KEYS, MODE, OP, PARALLEL, PLACE, PORT, SLOTS, SOURCE, TABLE,
    TARGET, WIDTH, WRITE, WRITES, Code,
)  # fmt: skip

# isort: on
from apsim.errors import ProgramError
from apsim.step import Gate, Mode, Op

__all__ = ["DenseCam"]

Array = NDArray[np.bool_]
Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]


@dataclass
class Lines:
    """One direction of the array; vertically that of some groups of rows.

    `tag` and the latches `generate` and `kill` of the tag chain hold a bit for each crossing:
    bool[rows] horizontally, bool[groups, columns] vertically, where `table` [groups, slots]
    says which row is meant by a line.
    """

    cells: Array
    table: Numbers | None
    tag: Array
    generate: Array
    kill: Array

    def place(self, line: int) -> tuple[slice | Numbers, slice | int]:
        """Where a line lies: an index into `cells` that gives an array of the tag's shape."""
        return (slice(None), line) if self.table is None else (self.table[:, line], slice(None))


class DenseCam:
    """A CAM of `rows` x `columns` cells, all 0 at first; see `apsim.cam.base.Cam`."""

    def __init__(self, rows: int, columns: int) -> None:
        if rows < 1 or columns < 1:
            raise ProgramError(f"wanted at least one row and column, got {rows} x {columns}")
        self.rows, self.columns = rows, columns
        self._cells = np.zeros((rows, columns), bool)
        self._tag = np.zeros(rows, bool)
        self._vertical = np.zeros((3, 1, columns), bool)  # tag, G, K by segment

    @property
    def tag(self) -> Array:
        """Rows matched by the last horizontal compare or read: bool[rows]."""
        return self._tag.copy()

    @property
    def column_tag(self) -> Array:
        """Columns matched by the last vertical compare or read: bool[groups, columns]."""
        tags: Array = self._vertical[0].copy()
        return tags

    def peek(self, rows: int | None = None) -> Array:
        """A copy of the cells, bool[rows, columns], of the first `rows` alone where given."""
        return self._cells[:rows].copy()

    def poke(self, cells: Array) -> None:
        """Set all cells, outside the count."""
        self._cells[:] = cells

    def snapshot(self) -> tuple[Array, Array, Array]:
        """Cells, tags and latches."""
        return self._cells.copy(), self._tag.copy(), self._vertical.copy()

    def restore(self, saved: tuple[Array, Array, Array]) -> None:
        """Return to a snapshot."""
        self._cells[:], self._tag, self._vertical = saved[0], saved[1].copy(), saved[2].copy()

    def execute(self, code: Code, data: Words | None = None, out: Words | None = None) -> Execution:
        """Carry out encoded steps in order; see `Cam.execute`."""
        refuse_unless_it_fits(needs(code), self.rows, self.columns, data, out)
        data = np.zeros((0, 0), np.uint64) if data is None else apart(data, out)
        out = np.zeros((0, 0), np.uint64) if out is None else out
        totals = np.zeros((5, len(code)), np.int64)
        index = 0
        while index < len(code):
            span = max(int(code.steps[index, BODY]), 1)
            if code.steps[index, MODE] == Mode.VERTICAL:
                self._loop(code, index, span, data, out, totals)
            else:
                totals[:, index] += self._horizontal(code, code.steps[index], data, out)
            index += span
        lines = lines_of(code.steps, self.rows, self.columns)
        return Execution.of(totals, lines, code.steps[:, OP])

    def _horizontal(self, code: Code, step: Numbers, data: Words, out: Words) -> Numbers:
        lines = Lines(self._cells, None, self._tag, self._tag, self._tag)
        return self._act(lines, code, step, data, out, slice(None))

    def _loop(
        self, code: Code, start: int, span: int, data: Words, out: Words, totals: Numbers
    ) -> None:
        head, body = code.steps[start], code.steps[start : start + span]
        table = code.rows[head[TABLE] : head[TABLE] + head[GROUPS] * head[SLOTS]]
        table, parallel = table.reshape(head[GROUPS], head[SLOTS]), bool(head[PARALLEL])
        segments = len(table) if parallel else 1
        if self._vertical.shape[1] != segments:
            self._vertical = np.zeros((3, segments, self.columns), bool)
        for batch in self._batches(body, table, parallel):
            own = self._vertical[:, batch if parallel else slice(None)]
            latches = own.copy() if parallel else np.repeat(own, len(table[batch]), axis=1)
            lines = Lines(self._cells, table[batch], *latches)
            for index, step in enumerate(body, start):
                totals[:, index] += self._act(lines, code, step, data, out, batch)
            own[:] = latches[:, -own.shape[1] :]

    def _batches(self, body: Numbers, table: Numbers, parallel: bool) -> Iterator[slice]:
        """Groups that go through the body of a loop together: one after another."""
        return (slice(group, group + 1) for group in range(len(table)))

    def _act(
        self, lines: Lines, code: Code, step: Numbers, data: Words, out: Words, groups: slice
    ) -> Numbers:
        """Carry out one step; give what it did (see `Execution.of`)."""
        key = code.pool[step[KEY] : step[KEY] + step[KEYS]].tolist()
        write = code.pool[step[WRITE] : step[WRITE] + step[WRITES]].tolist()
        op, word, numbers = Op(step[OP]), (step[PORT], groups), np.zeros(5, np.int64)
        gated, parts = int(step[GATE] > 0), int(op is not Op.WRITE_TAG and op is not Op.WRITE_DATA)
        if op in COMPARES:
            self._compare(lines, key, Gate(step[GATE]))
            numbers[1:3] = lines.tag.size, np.count_nonzero(lines.tag)
            parts += gated
        if op is Op.READ and step[PORT] >= 0:
            put_out(lines.tag, step, out, word)
            parts += 1
        if op in (Op.PASS, Op.WRITE, Op.WRITE_ALL):
            where = np.ones_like(lines.tag) if op is Op.WRITE_ALL else lines.tag
            parts += gated * (op is Op.PASS)
            for line, bit in write:
                ones = where if bit else np.zeros_like(where)
                numbers[3:] += self._drive(lines.place(line), where, ones)
        if op in (Op.WRITE_TAG, Op.WRITE_DATA):
            where, value = line_data(lines.tag, step, data, word)
            for line, _ in key if step[MODE] == Mode.VERTICAL else key[:1]:
                numbers[3:] += self._drive(lines.place(line), where, where & value)
                parts += 1
        numbers[0] = lines.tag.size * parts
        return numbers

    def _compare(self, lines: Lines, key: list[list[int]], gate: Gate) -> None:
        match = np.ones_like(lines.tag)
        for line, bit in key:
            cells = lines.cells[lines.place(line)]
            match &= cells if bit else ~cells
        match = self._sensed(match)
        lines.tag[:] = through_chain(match, gate, lines.generate, lines.kill)

    def _sensed(self, match: Array) -> Array:
        """What match lines tell of matches: all of them."""
        return match

    def _drive(
        self, place: tuple[slice | Numbers, slice | int], where: Array, ones: Array
    ) -> tuple[int, int]:
        """Write a line where `where`, with 1 where `ones`; give cells driven and changed."""
        old = self._cells[place]
        new = self._written(place, where, old & ~where | ones)
        changed = np.count_nonzero(new != old)  # before the write: `old` may be a view
        self._cells[place] = new
        return int(np.count_nonzero(where)), int(changed)

    def _written(
        self, place: tuple[slice | Numbers, slice | int], where: Array, new: Array
    ) -> Array:
        """What cells of a line become that are to become `new`: that."""
        return new


def through_chain(match: Array, gate: Gate, generate: Array, kill: Array) -> Array:
    """What a tag chain makes of matches: the tags; it may load a latch on the way."""
    if gate is Gate.LOAD_G:
        generate[:] = match
    if gate is Gate.LOAD_K:
        kill[:] = match
    if gate in (Gate.LOAD_K, Gate.CARRY):
        return match & _carry_in(generate, kill)
    if gate is Gate.PREFIX:
        above: Array = np.logical_or.accumulate(match[..., ::-1], axis=-1)[..., ::-1]
        return above
    return match


def _carry_in(generate: Array, kill: Array) -> Array:
    carry = np.zeros_like(generate)
    for k in range(carry.shape[-1] - 1):
        carry[..., k + 1] = generate[..., k] | (~kill[..., k] & carry[..., k])
    return carry


def line_data(
    tag: Array, step: Numbers, data: Words, word: tuple[int, int | slice]
) -> tuple[Array, Array]:
    """Which cells of a line are written, and with what: tags, or bits from outside."""
    value, where = tag.copy(), np.ones_like(tag)
    if step[MODE] == Mode.HORIZONTAL:
        if step[OP] == Op.WRITE_DATA:
            value = (data[word] >> np.uint64(step[PLACE]) & np.uint64(1)).astype(bool)
        return where, value
    where[:] = False
    for k in range(step[WIDTH]):
        column = step[TARGET] + k
        where[..., column] = True
        if step[OP] == Op.WRITE_DATA:
            value[..., column] = data[word] >> np.uint64(k) & np.uint64(1) if k < 64 else 0
        else:
            value[..., column] = _shifted(tag, step[SOURCE] + k)
    return where, value


def _shifted(tag: Array, column: int) -> Array | bool:
    """The tag of a column, 0 outside the array."""
    return tag[..., column] if 0 <= column < tag.shape[-1] else False


def put_out(tag: Array, step: Numbers, out: Words, word: tuple[int, int | slice]) -> None:
    """A read's tags to words outside: a bit of each row's word, or columns to the group's word."""
    if step[MODE] == Mode.HORIZONTAL:
        place = np.uint64(step[PLACE])
        out[word] = out[word] & ~(np.uint64(1) << place) | tag.astype(np.uint64) << place
        return
    out[word] = 0
    for k in range(step[WIDTH]):
        out[word] |= np.uint64(_shifted(tag, step[SOURCE] + k)) << np.uint64(k)
