"""Horizontal steps as operations that machine code carries out on an array or on lanes.

The rule: every step of a program has its operation, in the program's order; steps share an
operation only where they are passes of LUT steps that follow one another, or the bits of a
field that is taken in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

import numpy as np

from apsim.cam import _frame as frame
from apsim.cam._grouping import Piece
from apsim.cam._plan import KEEP, SPANNED, SURE, Numbers, Plan
from apsim.encoding import KEY, KEYS, MODE, OP, PLACE, PORT, WRITE, WRITES
from apsim.program import Mode, Op

__all__ = ["Across"]

Row = list[int]

POOL = 24  # bytes of a row of a plan's pool
KEPT, KEEPS, ONLY = 2, 4, 8  # flags of a step; see `_steps`


@dataclass(frozen=True)
class Made:
    """Rows of operations, how many, and where they stand."""

    rows: Numbers
    count: int
    address: int


@dataclass(frozen=True, eq=False)
class Across:
    """The horizontal steps of a plan; `pieces` are those that have code.

    On lanes of so many columns words come as planes and in fields, and only the first block
    puts any out; `columns` 0 is an array.
    """

    plan: Plan
    pieces: list[Piece]
    columns: int = 0
    counted: bool = True  # not in a benchmark of what counting costs
    _tables: list[Numbers] = field(default_factory=list)  # what rows hold the addresses of
    _made: dict[tuple[int, int], Made] = field(default_factory=dict)
    _known: dict[tuple[int, int, bool, bool], Numbers] = field(default_factory=dict)

    def made(self, start: int, stop: int) -> Made:
        """The operations of consecutive horizontal steps of an array, ready to be carried out."""
        name = start, stop
        if name not in self._made:
            rows = self.rows(start, stop)
            self._made[name] = Made(rows, len(rows), int(rows.ctypes.data))
        return self._made[name]

    def rows(self, start: int, stop: int, putting: bool = True, fresh: bool = False) -> Numbers:
        """Operations for consecutive horizontal steps; the slot and the block are 0.

        A `fresh` block holds zeros, which are stored where the first steps do not overwrite
        them.
        """
        name = start, stop, putting, fresh
        if name not in self._known:
            rows = list(self._operations(start, stop, putting))
            if fresh:
                rows = self._cleared(rows)
            self._known[name] = np.array(rows, np.int64).reshape(-1, frame.ROW_SIZE)
        return self._known[name]

    def clear(self, lines: set[int]) -> Row:
        """Lines of a block := 0, uncounted: it begins as a row of zeros."""
        spans: list[list[int]] = []
        for line in sorted(lines):
            if spans and sum(spans[-1]) == line:
                spans[-1][1] += 1
            else:
                spans.append([line, 1])
        table = np.array(spans, np.int64)
        self._tables.append(table)
        return [self.address("clear"), 0, table.ctypes.data, len(spans), 0, 0, 0, 0]

    def _cleared(self, rows: list[Row]) -> list[Row]:
        """Zeros in all lines before the first operation, or what these write over them at once."""
        zeros, untouched = set(range(self.columns)), set(range(self.columns))
        found: list[Row] = []
        for number, row in enumerate(rows):
            lines, written, fresh = self._overwritten(row)
            if not fresh or not lines <= untouched:
                found += rows[number:]
                break
            zeros, untouched = zeros - written, untouched - lines
            found += fresh
        return [self.clear(zeros), *found] if zeros else found

    def _overwritten(self, row: Row) -> tuple[set[int], set[int], list[Row]]:
        """Lines that an operation overwrites whatever they hold, those of them that may get
        something else than 0, and operations that do the same to lines of zeros.
        """
        code, index, count = row[frame.FN], row[frame.INDEX], row[frame.COUNT]
        if code == self.address("fill"):
            first = self.plan.steps[index, WRITE]
            bits = self.plan.pool[first : first + count]
            if len(set(bits[:, 0].tolist())) == count:
                return self._filled(index, bits)
        if code == self.address("take_lanes"):
            lines = set(range(row[frame.TABLE], row[frame.TABLE] + count))
            return lines, lines, [[self.address("take_fresh"), *row[1:]]]
        return set(), set(), []

    def _filled(self, index: int, bits: Numbers) -> tuple[set[int], set[int], list[Row]]:
        """Lines of zeros that are written, each with a bit: the zeros are there already."""
        ones, lines = np.ascontiguousarray(bits[bits[:, 1] != 0]), set(bits[:, 0].tolist())
        self._tables.append(ones)
        fill = [self.address("fill_fresh"), 0, ones.ctypes.data, len(ones), index, 0, 0, 0]
        driven = [self.address("drive"), 0, 0, len(bits) - len(ones), index, 0, 0, 0]
        return lines, set(ones[:, 0].tolist()), [fill, driven]

    def complete(self, totals: Numbers) -> None:
        """Add what follows from the rows that matched a pass: written lines, and sure flips."""
        totals[2:] += totals[1] * self._by_match

    @cached_property
    def _by_match(self) -> Numbers:
        steps = self.plan.steps
        passes = (steps[:, OP] == Op.PASS) & (steps[:, MODE] == Mode.HORIZONTAL)
        return np.stack([steps[:, WRITES] * passes, self.plan.extra[:, SURE] * passes])

    @cached_property
    def tiles(self) -> int:
        """Address of what carries out operations tile by tile."""
        return self.address("tiles")

    @cached_property
    def _by_start(self) -> dict[int, Piece]:
        return {piece.start: piece for piece in self.pieces}

    @cached_property
    def _operations_of(self) -> object:
        from apsim.cam._operations import operations

        return operations()

    def address(self, name: str) -> int:
        """Of an operation, by its name."""
        return int(getattr(self._operations_of, name))

    def _operations(self, start: int, stop: int, putting: bool) -> Iterator[Row]:
        parts = self._parts(start, stop, putting)
        for pattern, some in groupby(parts, lambda part: _shared(part)):
            if pattern is None:
                for index in some:
                    yield from self._one(index, stop, putting)  # type: ignore[arg-type]
            else:
                yield self._run(list(some))  # type: ignore[arg-type]

    def _parts(self, start: int, stop: int, putting: bool) -> Iterator[Piece | int]:
        """Pieces of code, and the steps between them."""
        index = start
        while index < stop:
            piece = self._by_start.get(index)
            if piece and piece.stop <= stop and self._may_run(piece, putting):
                yield piece
                index = piece.stop
            else:
                yield index
                index += self._bits(index, stop)

    def _may_run(self, piece: Piece, putting: bool) -> bool:
        """Whether it puts no words out."""
        ports = self.plan.steps[piece.start : piece.stop, PORT]
        return bool((ports < 0).all()) or (self.columns > 0 and not putting)

    def _bits(self, index: int, stop: int) -> int:
        """How many steps an operation of its own carries out."""
        if self.columns and self.plan.steps[index, OP] == Op.WRITE_DATA:
            return min(max(int(self.plan.extra[index, SPANNED]), 1), stop - index)
        return 1

    def _run(self, pieces: list[Piece]) -> Row:
        """LUT steps that follow one another and differ only in their lines."""
        from apsim.cam._fusion import Fused
        from apsim.cam._fusion import address as address_of

        first = pieces[0]
        table = np.array([piece.numbers for piece in pieces], np.int64)
        self._tables.append(table)
        code = address_of(Fused(first.pattern, keep=first.keep, counted=self.counted))
        return [code, 0, table.ctypes.data, len(pieces), first.start, 0, 0, 0]

    def _one(self, index: int, stop: int, putting: bool) -> Iterator[Row]:
        """A step by itself."""
        step, pool = self.plan.steps[index].tolist(), self.plan.pool.ctypes.data
        line = int(self.plan.pool[step[KEY], 0]) if step[KEYS] else 0
        if step[OP] == Op.WRITE_DATA:
            yield self._take(index, stop, line, step)
        elif step[OP] == Op.WRITE_TAG:
            yield [self.address("assign"), 0, line, 0, index, int(self.columns > 0), 0, 0]
        elif step[OP] == Op.WRITE_ALL:
            table = pool + POOL * (step[KEY] + step[KEYS])
            yield [self.address("fill"), 0, table, step[WRITES], index, 0, 0, 0]
        else:
            yield from self._compare(index, step, pool + POOL * step[KEY], putting)

    def _take(self, index: int, stop: int, line: int, step: Row) -> Row:
        bits = self._bits(index, stop)
        name = "take_lanes" if self.columns else "take_words"
        return [self.address(name), 0, line, bits, index, step[PORT], step[PLACE], 0]

    def _compare(self, index: int, step: Row, table: int, putting: bool) -> Iterator[Row]:
        op, port = step[OP], step[PORT]
        put = op == Op.READ and putting and (port == 0 if self.columns else port >= 0)
        only = op == Op.WRITE
        keep = not only and (put or bool(self.plan.extra[index, KEEP]))
        flags = (KEPT | ONLY) * only + KEEPS * keep
        keys = 0 if only else step[KEYS]
        writes = step[WRITES] if op in (Op.PASS, Op.WRITE) else 0
        table += POOL * step[KEYS] * only
        yield [self.address("step"), 0, table, keys, index, flags, 0, writes]
        if put and self.columns:
            yield [self.address("copy_out"), 0, self.columns, 1, index, step[PLACE], 0, 0]
        elif put:
            yield [self.address("put_words"), 0, 0, 0, index, port, step[PLACE], 0]


def _shared(part: Piece | int) -> object:
    """What pieces must have in common to be one operation; None for a step by itself."""
    if isinstance(part, int):
        return None
    return (part.pattern, part.start) if part.keep else part.pattern
