"""The operations that machine code knows besides LUT steps, and what calls them in order.

The rule: one function for each kind of operation, `void f(frame, row)`; `walk` calls the rows'
functions in their order, `tiles` does so for one tile of rows after the other.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

from llvmlite import ir

from apsim.cam import _frame as frame
from apsim.cam import _moves, _operand_words, _steps, _words
from apsim.cam._objects import load
from apsim.cam._operation import Operation
from apsim.cam._vector_ir import NUMBERS, integer, repeated

__all__ = ["operations"]

NAMES = ("walk", "tiles", *_steps.NAMES, *_moves.NAMES, *_operand_words.NAMES, *_words.NAMES)


@cache
def operations() -> SimpleNamespace:
    """Addresses of the operations, by name."""
    addresses = load("operations", NAMES, assembly, optimised=False)
    return SimpleNamespace(**dict(zip(NAMES, addresses, strict=True)))


def assembly() -> str:
    """All operations as LLVM assembly."""
    module = ir.Module("operations")
    _walk(module)
    _tiles(module)
    for part in (_steps, _moves, _operand_words, _words):
        part.add(module)
    return str(module)


def _walk(module: Any) -> None:
    """walk(frame, rows, count): the third argument points to the count."""
    op = Operation(module, "walk", 3)
    build = op.build
    _walk_rows(op, build.load(build.function.args[2]))
    op.done()


def _walk_rows(op: Operation, count: Any) -> None:
    build = op.build
    kind = ir.FunctionType(ir.VoidType(), [NUMBERS, NUMBERS]).as_pointer()

    def turn(number: Any) -> None:
        row = build.gep(op.row, [build.mul(number, integer(frame.ROW_SIZE))])
        build.call(build.inttoptr(build.load(row), kind), [op.frame, row])

    repeated(build, count, turn)


def _tiles(module: Any) -> None:
    """tiles(frame, rows, span): span is (rows, first vector, last, vectors a tile).

    The frame is that of the whole array, and comes back as it was but for the tile's numbers.
    """
    op = Operation(module, "tiles", 3)
    build, span = op.build, op.build.function.args[2]
    count, first, last, tile = (op.number(span, k) for k in range(4))
    base, live, full, rows = op.of(frame.BASE, frame.LIVE, frame.FULL, frame.ROWS)
    size = build.sub(last, first)
    some = build.sdiv(build.add(size, build.sub(tile, integer(1))), tile)

    def turn(number: Any) -> None:
        low = build.add(first, build.mul(number, tile))
        high = _lower(build, build.add(low, tile), last)
        vectors, offset = build.sub(high, low), build.shl(low, integer(6))
        row = build.shl(low, integer(9))
        alive = _lower(build, build.sub(rows, row), build.shl(vectors, integer(9)))
        for place, value in (
            (frame.BASE, build.add(base, offset)),
            (frame.LIVE, build.add(live, offset)),
            (frame.VECTORS, vectors),
            (frame.FULL, _higher(build, _lower(build, build.sub(full, low), vectors), integer(0))),
            (frame.ROW, row),
            (frame.ALIVE, _higher(build, alive, integer(0))),
        ):
            build.store(value, build.gep(op.frame, [integer(place)]))
        _walk_rows(op, count)

    repeated(build, some, turn)
    for place, value in ((frame.BASE, base), (frame.LIVE, live), (frame.FULL, full)):
        build.store(value, build.gep(op.frame, [integer(place)]))
    op.done()


def _lower(build: Any, a: Any, b: Any) -> Any:
    return build.select(build.icmp_signed("<", a, b), a, b)


def _higher(build: Any, a: Any, b: Any) -> Any:
    return build.select(build.icmp_signed("<", a, b), b, a)
