"""Machine code that brings an array's words in and out: bits to cells, tags to bits.

The rule: bit `place` of the word of row r is the cell of row r.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from apsim.cam import _frame as frame
from apsim.cam._operation import BYTES, Operation
from apsim.cam._vector_ir import (
    I64,
    at,
    fold,
    integer,
    splat,
)  # fmt: skip

__all__ = ["NAMES", "add"]

NAMES = ("take_words", "put_words")

WIDE = ir.VectorType(I64, 64)
FLAGS = ir.IntType(1)


def add(module: Any) -> None:
    """The operations of `NAMES`."""
    _take_words(module)
    _put_words(module)


class _Words:
    """Words of a port from the tile's first row on, 64 at a time, as far as there are rows."""

    def __init__(self, op: Operation, array: int, stride: int) -> None:
        build = op.build
        (self.port,) = op.given(frame.X)
        self.op, self.build, self.place = op, build, op.given(frame.Y)[0]
        base, port, row, rows, vectors = op.of(array, stride, frame.ROW, frame.ROWS, frame.VECTORS)
        first = build.add(build.mul(self.port, port), build.shl(row, BYTES))
        self.first, left = build.add(base, first), build.sub(rows, row)
        most = build.shl(vectors, BYTES)
        left = self.within(left, build.shl(most, integer(6)))
        self.whole, self.rest = build.ashr(left, integer(6)), build.and_(left, integer(63))
        self.bit = build.shl(integer(1), self.place)

    def within(self, value: Any, most: Any) -> Any:
        build = self.build
        value = build.select(build.icmp_signed("<", value, most), value, most)
        return build.select(build.icmp_signed("<", value, integer(0)), integer(0), value)

    def each(self, values: list[Any], whole: Any, single: Any) -> list[Any]:
        """`whole(word, values)` for 64 rows, `single(row of the word, values)` for the last."""
        build = self.build
        values = fold(build, integer(0), self.whole, values, whole)
        return fold(build, integer(0), self.rest, values, single)

    def wide(self, word: Any) -> Any:
        """Pointer to 64 words."""
        return at(self.build, self.build.add(self.first, self.build.shl(word, integer(9))), WIDE)

    def single(self, row: Any) -> Any:
        """Pointer to one of the last words."""
        number = self.build.add(self.build.shl(self.whole, integer(6)), row)
        return at(self.build, self.build.add(self.first, self.build.shl(number, BYTES)), I64)

    def cells(self, line: Any, word: Any) -> Any:
        """Pointer to the word of a line."""
        return at(self.build, self.build.add(line, self.build.shl(word, BYTES)), I64)


def _take_words(module: Any) -> None:
    """WRITE_DATA: line TABLE := bit Y of the words of port X."""
    op = Operation(module, "take_words")
    build, words = op.build, _Words(op, frame.DATA, frame.DATA_PORT)
    line = op.line(integer(0), op.given(frame.TABLE)[0])
    mask = splat(build, words.bit, 64)

    def whole(word: Any, held: list[Any]) -> list[Any]:
        given = build.and_(build.load(words.wide(word), align=8), mask)
        flags = build.icmp_unsigned("!=", given, ir.Constant(WIDE, [0] * 64))
        return [put(words.cells(line, word), build.bitcast(flags, I64), held[0])]

    def put(cells: Any, new: Any, flips: Any) -> Any:
        old = build.load(cells)
        build.store(new, cells)
        return build.add(flips, build.ctpop(build.xor(old, new)))

    def single(row: Any, held: list[Any]) -> list[Any]:
        cells = words.cells(line, words.whole)
        given = build.and_(build.lshr(build.load(words.single(row)), words.place), integer(1))
        old = build.load(cells)
        kept = build.and_(old, build.not_(build.shl(integer(1), row)))
        return [put(cells, build.or_(kept, build.shl(given, row)), held[0])]

    flips = words.each([integer(0)], whole, single)
    op.count(frame.FLIPPED, flips[0])
    op.done()


def _put_words(module: Any) -> None:
    """READ: bit Y of the words of port X := the row tags."""
    op = Operation(module, "put_words")
    build, words = op.build, _Words(op, frame.OUT, frame.OUT_PORT)
    tags = op.line(integer(0), op.of(frame.COLUMNS)[0])
    mask = splat(build, words.bit, 64)

    def whole(word: Any, _: list[Any]) -> list[Any]:
        tag = build.load(words.cells(tags, word))
        flags = build.bitcast(tag, ir.VectorType(FLAGS, 64))
        old = build.and_(build.load(words.wide(word), align=8), build.not_(mask))
        new = build.select(flags, build.or_(old, mask), old)
        build.store(new, words.wide(word), align=8)
        return []

    def single(row: Any, _: list[Any]) -> list[Any]:
        tag = build.and_(build.lshr(build.load(words.cells(tags, words.whole)), row), integer(1))
        place = words.single(row)
        old = build.and_(build.load(place), build.not_(words.bit))
        build.store(build.or_(old, build.shl(tag, words.place)), place)
        return []

    words.each([], whole, single)
    op.done()
