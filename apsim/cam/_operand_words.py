"""Machine code that brings the words of lanes in: bits of operands to lines of a slot.

The rule: lanes take their bits from an operand that is planes already, or all lanes of a word
the same bit of the other.  Where one word of this serves 1, 2, 4 or 8 lane words throughout,
whole vectors are put together; else the runs are gone through one by one.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from llvmlite import ir

from apsim.cam import _frame as frame
from apsim.cam._operation import BYTES, Operation
from apsim.cam._vector_ir import (
    I64,
    NONE,
    NUMBERS,
    VECTOR,
    at,
    fold,
    integer,
    known,
    load_line,
    popcount,
    repeated,
    splat,
    total,
)  # fmt: skip

__all__ = ["NAMES", "add"]

NAMES = ("take_lanes", "take_fresh")
SHORT = (1, 2, 4, 8)


def add(module: Any) -> None:
    """The operations of `NAMES`."""
    _take(module, "take_lanes", fresh=False)
    _take(module, "take_fresh", fresh=True)


def _take(module: Any, name: str, *, fresh: bool) -> None:
    """Lines TABLE... of slot AT := bits Y... of port X, COUNT of them, for block Z.

    A run (start, stop, first, which, port) says that lane words start..stop take words from
    `first` on of the planes, or in all their lanes word `which` of the other operand.  What is
    `fresh` holds zeros that nobody has stored yet.
    """
    op = Operation(module, name)
    build, taken = op.build, _Taken(op, fresh)
    (short,) = op.of(frame.SHORT)
    with build.if_else(build.icmp_signed("==", short, integer(0))) as (long, other):
        with long:
            taken.each_bit(taken.by_runs)
        with other:
            for words in SHORT:
                with build.if_then(build.icmp_signed("==", short, integer(words))):
                    taken.each_bit(partial(taken.whole, words))
    op.done()


class _Taken:
    """What an operation takes, bit by bit."""

    def __init__(self, op: Operation, fresh: bool) -> None:
        self.op, self.build, self.fresh = op, op.build, fresh
        build = op.build
        self.slot, self.line, self.bits, port = op.given(
            frame.AT, frame.TABLE, frame.COUNT, frame.X
        )
        self.place, block = op.given(frame.Y, frame.Z)
        self.alive, runs, self.count, planes = op.of(
            frame.ALIVE, frame.RUNS, frame.RUN_COUNT, frame.PORT
        )
        self.packed, self.there, words, many = op.of(
            frame.PACKED, frame.BITS, frame.WORDS, frame.MANY
        )
        self.width, self.live, self.vectors = op.of(frame.PLANE, frame.LIVE, frame.VECTORS)
        self.table = build.inttoptr(runs, NUMBERS)
        self.packs = build.icmp_signed("==", port, planes)
        self.own = build.gep(build.inttoptr(words, NUMBERS), [build.mul(block, many)])
        self.base = build.mul(block, self.there)

    def each_bit(self, take: Any) -> None:
        """`take(bit of the word, line)` gives the flips of each line."""
        op, build = self.op, self.build

        def bit(number: Any) -> None:
            target = op.line(self.slot, build.add(self.line, number))
            flips = take(build.add(self.place, number), target)
            op.count(frame.FLIPPED, total(build, flips), after=number)
            op.count(frame.WRITTEN, self.alive, after=number)

        repeated(build, self.bits, bit)

    def plane(self, here: Any) -> tuple[Any, Any]:
        """Whether the bit is one of the planes', and the first word of its plane."""
        build = self.build
        inside = build.and_(self.packs, build.icmp_signed("<", here, self.there))
        return inside, build.mul(build.add(self.base, here), self.width)

    def fixed(self, which: Any, here: Any) -> Any:
        """The bit of a word of the other operand, in all lanes; 0 for bits above the planes."""
        build = self.build
        bit = build.and_(build.lshr(self.op.number(self.own, which), here), integer(1))
        return build.select(self.packs, integer(0), build.neg(bit))

    def by_runs(self, here: Any, target: Any) -> Any:
        """Run by run."""
        op, build = self.op, self.build
        inside, plane = self.plane(here)

        def run(index: Any, held: list[Any]) -> list[Any]:
            entry = build.gep(self.table, [build.mul(index, integer(5))])
            start, stop, first, which = (op.number(entry, k) for k in range(4))
            given = build.add(self.packed, build.shl(build.add(plane, first), BYTES))
            given = build.select(inside, given, integer(0))
            fixed = splat(build, self.fixed(which, here))
            where = _Run(build, (self.live, target), given, start, fixed, self.fresh)
            return [*where.take(build.sub(stop, start), held[0]), stop]

        flips, last = fold(build, integer(0), self.count, [NONE, integer(0)], run)
        if self.fresh:
            _clear_words(op, target, last)
        return flips

    def whole(self, words: int, here: Any, target: Any) -> Any:
        """Vector by vector, where `words` lane words take the same word of the other operand."""
        op, build = self.op, self.build
        inside, plane = self.plane(here)
        (first,) = op.of(frame.FIRST)
        plane = build.select(inside, plane, integer(0))
        given = build.inttoptr(build.add(self.packed, build.shl(plane, BYTES)), NUMBERS)
        flag = build.select(inside, integer(-1), integer(0))
        plane_words = [build.and_(op.number(given, k), flag) for k in range(words)]
        pattern = _lanes(build, [plane_words[k % words] for k in range(8)])

        def vector(v: Any, held: list[Any]) -> list[Any]:
            begin = build.add(first, build.mul(v, integer(8 // words)))
            others = [self.fixed(build.add(begin, integer(k)), here) for k in range(8 // words)]
            spread = _lanes(build, [others[k // words] for k in range(8)])
            new = build.and_(build.or_(pattern, spread), load_line(build, self.live, v))
            old = NONE if self.fresh else load_line(build, target, v)
            op.store(target, v, new)
            return [build.add(held[0], popcount(build, build.xor(old, new)))]

        return fold(build, integer(0), self.vectors, [NONE], vector)[0]


def _lanes(build: Any, values: list[Any]) -> Any:
    """A vector of eight values."""
    if all(value is values[0] for value in values):
        return splat(build, values[0])
    vector = ir.Constant(VECTOR, ir.Undefined)
    for k, value in enumerate(values):
        vector = build.insert_element(vector, value, ir.IntType(32)(k))
    return vector


def _clear_words(op: Operation, line: Any, first: Any) -> None:
    """The words of a line from `first` on := 0."""
    build = op.build
    words = build.shl(op.of(frame.VECTORS)[0], BYTES)

    def word(number: Any, _: list[Any]) -> list[Any]:
        build.store(integer(0), at(build, build.add(line, build.shl(number, BYTES)), I64))
        return []

    fold(build, first, words, [], word)


class _Run:
    """Words of a line that come from one place: planes, or where that is 0 a fixed word."""

    def __init__(
        self, build: Any, lines: tuple[Any, Any], given: Any, start: Any, fixed: Any, fresh: bool
    ) -> None:
        live, target = (build.add(line, build.shl(start, BYTES)) for line in lines)
        self.build, self.target, self.fixed, self.fresh = build, target, fixed, fresh
        self.flag = build.icmp_signed("!=", given, integer(0))
        self.given, self.live = build.select(self.flag, given, live), live

    def take(self, count: Any, flips: Any) -> list[Any]:
        """So many words; gives the flips with those of before."""
        build = self.build
        whole = build.ashr(count, integer(3))
        flips = fold(
            build, integer(0), whole, [flips], lambda v, held: [self.vector(v, None, held[0])]
        )[0]
        rest = build.and_(count, integer(7))
        lanes = ir.Constant(VECTOR, list(range(8)))
        mask = build.icmp_signed("<", lanes, splat(build, rest))
        some = build.select(build.icmp_signed("!=", rest, integer(0)), integer(1), integer(0))
        return fold(
            build, integer(0), some, [flips], lambda _, held: [self.vector(whole, mask, held[0])]
        )

    def vector(self, number: Any, mask: Any, flips: Any) -> Any:
        build, offset = self.build, self.build.shl(number, integer(6))
        places = [build.add(base, offset) for base in (self.given, self.live, self.target)]
        given, alive = (_load(build, place, mask) for place in places[:2])
        old = NONE if self.fresh else _load(build, places[2], mask)
        new = build.select(self.flag, given, self.fixed)
        new = build.and_(new, alive)
        _store(build, new, places[2], mask)
        return build.add(flips, popcount(build, build.xor(old, new)))


def _load(build: Any, place: Any, mask: Any) -> Any:
    pointer = at(build, place)
    if mask is None:
        return build.load(pointer, align=8)
    kinds = [pointer.type, ir.IntType(32), mask.type, VECTOR]
    load = known(build, kinds, VECTOR, "llvm.masked.load.v8i64.p0")
    return build.call(load, [pointer, ir.IntType(32)(8), mask, NONE])


def _store(build: Any, value: Any, place: Any, mask: Any) -> None:
    pointer = at(build, place)
    if mask is None:
        build.store(value, pointer, align=8)
        return
    kinds = [VECTOR, pointer.type, ir.IntType(32), mask.type]
    store = known(build, kinds, ir.VoidType(), "llvm.masked.store.v8i64.p0")
    build.call(store, [value, pointer, ir.IntType(32)(8), mask])
