"""Machine code that moves cells as they are: zeros, tags to lines, rows to rows, lines out.

The rule: one function for each kind of operation; cells that flip are counted, but for the
zeros that a block begins with.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from apsim.cam import _frame as frame
from apsim.cam._operation import Operation
from apsim.cam._vector_ir import (
    I64,
    NONE,
    NUMBERS,
    at,
    fold,
    integer,
    load_line,
    popcount,
    repeated,
    splat,
    total,
    when,
)  # fmt: skip

__all__ = ["NAMES", "add"]

NAMES = ("clear", "drive", "assign", "move", "copy_out", "put_down")


def add(module: Any) -> None:
    """The operations of `NAMES`."""
    for make in (_clear, _drive, _assign, _move, _copy_out, _put_down):
        make(module)


def _clear(module: Any) -> None:
    """Lines of a slot := 0, before anything is counted: COUNT rows (first, how many) of TABLE."""
    op = Operation(module, "clear")
    build = op.build
    slot, table, count = op.given(frame.AT, frame.TABLE, frame.COUNT)
    line, rows = op.of(frame.LINE)[0], build.inttoptr(table, NUMBERS)

    def turn(number: Any) -> None:
        row = build.gep(rows, [build.shl(number, integer(1))])
        first, many = op.number(row, 0), op.number(row, 1)
        _zeros(op, op.line(slot, first), build.mul(line, many))

    repeated(build, count, turn)
    op.done()


def _drive(module: Any) -> None:
    """COUNT lines written that hold already what they get: no cell flips."""
    op = Operation(module, "drive")
    op.count(frame.WRITTEN, op.build.mul(op.given(frame.COUNT)[0], op.of(frame.ALIVE)[0]))
    op.done()


def _zeros(op: Operation, address: Any, size: Any) -> None:
    build, byte = op.build, ir.IntType(8)
    kind = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), byte, I64, ir.IntType(1)])
    name = "llvm.memset.p0.i64"
    memset = build.module.globals.get(name) or ir.Function(build.module, kind, name)
    build.call(memset, [at(build, address, byte), byte(0), size, ir.IntType(1)(0)])


def _assign(module: Any) -> None:
    """WRITE_TAG: line TABLE := the row tags; lanes count X living rows as written."""
    op = Operation(module, "assign")
    build = op.build
    slot, line, lanes = op.given(frame.AT, frame.TABLE, frame.X)
    columns, vectors, alive = op.of(frame.COLUMNS, frame.VECTORS, frame.ALIVE)
    flips = _copied(op, op.line(slot, columns), op.line(slot, line), vectors)
    op.count(frame.FLIPPED, flips)
    op.count(frame.WRITTEN, build.mul(lanes, alive))
    op.done()


def _copied(op: Operation, source: Any, target: Any, vectors: Any) -> Any:
    """A line := another; gives the cells flipped."""
    build = op.build

    def vector(v: Any, held: list[Any]) -> list[Any]:
        old, new = load_line(build, target, v), load_line(build, source, v)
        op.store(target, v, new)
        return [build.add(held[0], popcount(build, build.xor(old, new)))]

    return total(build, fold(build, integer(0), vectors, [NONE], vector)[0])


def _move(module: Any) -> None:
    """Vertical WRITE_TAG: columns X... of slot AT := columns Y... of slot TABLE, COUNT of them.

    Zeros come from outside of the columns.  Where Z, the slot that is read was tagged by the
    step INDEX just before, which counts its ones, and the move is the step after it.
    """
    op = Operation(module, "move")
    build = op.build
    slot, source, width = op.given(frame.AT, frame.TABLE, frame.COUNT)
    target, first, reads = op.given(frame.X, frame.Y, frame.Z)
    columns, vectors, line, alive = op.of(frame.COLUMNS, frame.VECTORS, frame.LINE, frame.ALIVE)
    with when(build, reads):
        op.count(frame.MATCHED, _ones(op, op.line(source, integer(0)), columns))
    falling = build.icmp_signed(">", target, first)

    def column(number: Any) -> None:
        mirrored = build.sub(build.sub(width, integer(1)), number)
        place = build.select(falling, mirrored, number)
        to, by = op.line(slot, build.add(target, place)), build.add(first, place)
        inside = build.and_(
            build.icmp_signed(">=", by, integer(0)), build.icmp_signed("<", by, columns)
        )
        with build.if_else(inside) as (copied, cleared):
            with copied:
                flips = _copied(op, op.line(source, by), to, vectors)
                op.count(frame.FLIPPED, flips, after=reads)
            with cleared:
                op.count(frame.FLIPPED, _ones(op, to, integer(1)), after=reads)
                _zeros(op, to, line)

    repeated(build, width, column)
    op.count(frame.WRITTEN, build.mul(width, alive), after=reads)
    op.done()


def _ones(op: Operation, address: Any, lines: Any) -> Any:
    """Ones in some lines."""
    build = op.build
    line, vectors = op.of(frame.LINE, frame.VECTORS)

    def each(number: Any, held: list[Any]) -> list[Any]:
        here = build.add(address, build.mul(number, line))
        return fold(
            build,
            integer(0),
            vectors,
            held,
            lambda v, ones: [build.add(ones[0], popcount(build, load_line(build, here, v)))],
        )

    return total(build, fold(build, integer(0), lines, [NONE], each)[0])


def _copy_out(module: Any) -> None:
    """Lines out: planes X... of OUT := COUNT lines of slot AT from line TABLE on."""
    op = Operation(module, "copy_out")
    build = op.build
    slot, first, count, place = op.given(frame.AT, frame.TABLE, frame.COUNT, frame.X)
    out, stride, vectors = op.of(frame.OUT, frame.OUT_PORT, frame.VECTORS)

    def line(number: Any) -> None:
        source = op.line(slot, build.add(first, number))
        target = build.add(out, build.mul(build.add(place, number), stride))
        repeated(build, vectors, lambda v: op.store(target, v, load_line(build, source, v)))

    repeated(build, count, line)
    op.done()


def _put_down(module: Any) -> None:
    """A vertical READ: the word out := COUNT columns of slot AT from column TABLE on.

    Bits from outside of the columns, and those above, are 0.
    """
    op = Operation(module, "put_down")
    build = op.build
    slot, first, count = op.given(frame.AT, frame.TABLE, frame.COUNT)
    out, stride, vectors, places, columns = op.of(
        frame.OUT, frame.OUT_PORT, frame.VECTORS, frame.PLACES, frame.COLUMNS
    )

    def plane(number: Any) -> None:
        column = build.add(first, number)
        inside = build.icmp_signed("<", number, count)
        for holds in (
            build.icmp_signed(">=", column, integer(0)),
            build.icmp_signed("<", column, columns),
        ):
            inside = build.and_(inside, holds)
        source = op.line(slot, build.select(inside, column, integer(0)))
        kept = splat(build, build.select(inside, integer(-1), integer(0)))
        target = build.add(out, build.mul(number, stride))

        def vector(v: Any) -> None:
            op.store(target, v, build.and_(load_line(build, source, v), kept))

        repeated(build, vectors, vector)

    repeated(build, places, plane)
    op.done()
