"""Machine code for single steps of any size, on lines or on all columns of slots.

The rule: a step is carried out as it stands, compare, tag, then write; where the tag chain
gates it, tags go through memory.
"""

from __future__ import annotations

from typing import Any

from apsim.cam import _frame as frame
from apsim.cam._operation import Operation
from apsim.cam._plan import COUNTED
from apsim.cam._vector_ir import (
    NONE,
    NUMBERS,
    fold,
    integer,
    load_line,
    popcount,
    repeated,
    splat,
    total,
    when,
)  # fmt: skip
from apsim.program import Gate

__all__ = ["NAMES", "add"]

NAMES = ("fill", "fill_fresh", "step", "gate")


def add(module: Any) -> None:
    """The operations of `NAMES`."""
    _fill(module, "fill", fresh=False)
    _fill(module, "fill_fresh", fresh=True)
    _step(module)
    _gate(module)


def _columns(op: Operation, down: Any, body: Any) -> None:
    """For every column where `down`, else once: its offset from a line's address."""
    build = op.build
    line, columns = op.of(frame.LINE, frame.COLUMNS)
    times = build.select(build.icmp_signed("!=", down, integer(0)), columns, integer(1))
    repeated(build, times, lambda column: body(build.mul(column, line)))


def _place(op: Operation, line: Any, down: Any) -> Any:
    """Address of a line of slot AT, or where `down` of a slot."""
    build = op.build
    slot = op.given(frame.AT)[0]
    across, along = op.line(slot, line), op.line(line, integer(0))
    return build.select(build.icmp_signed("!=", down, integer(0)), along, across)


def _fill(module: Any, name: str, *, fresh: bool) -> None:
    """WRITE_ALL: COUNT rows (line, bit, mode) of TABLE; lines are slots where X.

    What is `fresh` holds zeros that nobody has stored yet.
    """
    op = Operation(module, name)
    build = op.build
    table, count, down = op.given(frame.TABLE, frame.COUNT, frame.X)
    vectors, live, alive = op.of(frame.VECTORS, frame.LIVE, frame.ALIVE)
    rows = build.inttoptr(table, NUMBERS)

    def turn(number: Any) -> None:
        row = build.gep(rows, [build.mul(number, integer(3))])
        address, bit = _place(op, op.number(row, 0), down), op.number(row, 1)
        value = splat(build, build.neg(bit))

        def vector(line: Any, v: Any, held: list[Any]) -> list[Any]:
            old = NONE if fresh else load_line(build, line, v)
            flips = build.and_(build.xor(old, value), load_line(build, live, v))
            op.store(line, v, build.xor(old, flips))
            return [build.add(held[0], popcount(build, flips))]

        def column(offset: Any) -> None:
            line = build.add(address, offset)
            flips = fold(build, integer(0), vectors, [NONE], lambda v, held: vector(line, v, held))
            op.count(frame.FLIPPED, total(build, flips[0]))
            op.count(frame.WRITTEN, alive)

        _columns(op, down, column)

    repeated(build, count, turn)
    op.done()


def _step(module: Any) -> None:
    """One compare, and a write where it matched; COUNT keys, then Z writes in TABLE.

    Rows of TABLE are (line, bit, mode).  X holds flags: 1 lines are slots; 2 tags are those
    that were kept, not compared anew; 4 keep them; 8 the step is a write, whose lines count
    as written; 16 what matched is not counted here.  Flips are counted where the mode says so.
    """
    op = Operation(module, "step")
    build = op.build
    keys, flags, writes = op.given(frame.COUNT, frame.X, frame.Z)
    down, kept, keep, only, silent = (build.and_(flags, integer(1 << k)) for k in range(5))
    vectors, live, columns = op.of(frame.VECTORS, frame.LIVE, frame.COLUMNS)
    slot = op.given(frame.AT)[0]
    slot = build.select(build.icmp_signed("!=", down, integer(0)), op.of(frame.TAGS)[0], slot)
    line = build.select(build.icmp_signed("!=", down, integer(0)), integer(0), columns)
    tags = op.line(slot, line)

    def column(offset: Any) -> None:
        tag_line = build.add(tags, offset)

        def vector(v: Any, held: list[Any]) -> list[Any]:
            start = build.select(build.icmp_signed("!=", kept, integer(0)), tag_line, live)
            tag = _compared(op, keys, down, offset, v, load_line(build, start, v))
            with when(build, keep):
                op.store(tag_line, v, tag)
            flips = _written(op, (keys, writes), down, offset, v, tag, held[1])
            return [build.add(held[0], popcount(build, tag)), flips]

        matched, flips = fold(build, integer(0), vectors, [NONE, NONE], vector)
        ones = total(build, matched)
        write = build.icmp_signed("!=", only, integer(0))
        silence = build.icmp_signed("!=", build.or_(only, silent), integer(0))
        op.count(frame.MATCHED, build.select(silence, integer(0), ones))
        op.count(frame.WRITTEN, build.select(write, build.mul(ones, writes), integer(0)))
        op.count(frame.FLIPPED, total(build, flips))

    _columns(op, down, column)
    op.done()


def _operand(op: Operation, number: Any, down: Any, offset: Any) -> tuple[Any, Any, Any]:
    """Address of a line, its bit, its mode: a row of TABLE."""
    build = op.build
    table = build.inttoptr(op.given(frame.TABLE)[0], NUMBERS)
    row = build.gep(table, [build.mul(number, integer(3))])
    address = build.add(_place(op, op.number(row, 0), down), offset)
    return address, op.number(row, 1), op.number(row, 2)


def _compared(op: Operation, keys: Any, down: Any, offset: Any, v: Any, tag: Any) -> Any:
    build = op.build

    def key(number: Any, held: list[Any]) -> list[Any]:
        address, bit, _ = _operand(op, number, down, offset)
        mask = splat(build, build.sub(bit, integer(1)))  # 1 -> 0..0, 0 -> 1..1
        return [build.and_(held[0], build.xor(load_line(build, address, v), mask))]

    return fold(build, integer(0), keys, [tag], key)[0]


def _written(
    op: Operation, lines: tuple[Any, Any], down: Any, offset: Any, v: Any, tag: Any, flips: Any
) -> Any:
    build = op.build

    def write(number: Any, held: list[Any]) -> list[Any]:
        address, bit, mode = _operand(op, build.add(lines[0], number), down, offset)
        old = load_line(build, address, v)
        flip = build.and_(build.xor(old, splat(build, build.neg(bit))), tag)
        op.store(address, v, build.xor(old, flip))
        counted = build.icmp_signed("==", mode, integer(COUNTED))
        return [build.add(held[0], popcount(build, build.select(counted, flip, NONE)))]

    return fold(build, integer(0), lines[1], [flips], write)[0]


def _gate(module: Any) -> None:
    """Column tags through the tag chain, gate COUNT: cin' = G | !K & cin, or a prefix OR.

    The latches G and K are the slots after that of the tags.
    """
    op = Operation(module, "gate")
    build, gate = op.build, op.given(frame.COUNT)[0]
    tags, columns, vectors = op.of(frame.TAGS, frame.COLUMNS, frame.VECTORS)
    prefix, load_g, load_k, carried = (
        build.icmp_signed("==", gate, integer(kind))
        for kind in (Gate.PREFIX, Gate.LOAD_G, Gate.LOAD_K, Gate.CARRY)
    )
    chained = build.or_(load_k, carried)

    def vector(v: Any, held: list[Any]) -> list[Any]:
        def column(number: Any, inner: list[Any]) -> list[Any]:
            last = build.sub(build.sub(columns, integer(1)), number)
            place, carry = build.select(prefix, last, number), inner[0]
            line, latch_g, latch_k = (op.line(build.add(tags, integer(k)), place) for k in range(3))
            match = load_line(build, line, v)
            for loads, latch in ((load_g, latch_g), (load_k, latch_k)):
                with build.if_then(loads):
                    op.store(latch, v, match)
            generate, kill = load_line(build, latch_g, v), load_line(build, latch_k, v)
            above = build.or_(carry, match)
            tag = build.select(chained, build.and_(match, carry), match)
            tag = build.select(prefix, above, tag)
            op.store(line, v, tag)
            onwards = build.or_(generate, build.and_(build.not_(kill), carry))
            counted = build.add(inner[1], popcount(build, tag))
            return [build.select(prefix, above, onwards), counted]

        return [fold(build, integer(0), columns, [NONE, held[0]], column)[1]]

    matched = fold(build, integer(0), vectors, [NONE], vector)[0]
    op.count(frame.MATCHED, total(build, matched))
    op.done()
