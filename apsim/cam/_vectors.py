"""The inner loops over bit-planes as explicit vectors of eight 64-bit words.

The rule: what `_plain` says in plain source, built by hand so that a pass becomes
loads, ternary logic, population counts and stores on 512 rows at a time.  Plain
loops cannot: a pass reads and writes the same plane, and the compiler's overlap check
then takes the scalar path.  Nothing here checks bounds: `_plan` has.

A block of eight vectors keeps its tags in registers from the compare to the write,
so one loop over the keys serves every arity.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["Planes", "assign_line", "call_fused", "step_lines"]

I64 = ir.IntType(64)
VECTOR = ir.VectorType(I64, 8)
BLOCK = 8  # vectors held in registers at once
COUNTED = 2  # write mode: flips are counted cell by cell


class Planes:
    """Addresses in uint64[lines, words]: the plane of a line, from a vector on."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        array = context.make_array(kind)(context, builder, value)
        self.builder = builder
        self.data = array.data
        self.lines, self.words = cgutils.unpack_tuple(builder, array.shape, 2)

    def at(self, line: Any, vector: Any) -> Any:
        build = self.builder
        first = build.add(build.mul(line, self.words), build.shl(vector, integer(3)))
        return build.bitcast(build.gep(self.data, [first]), VECTOR.as_pointer())


def integer(value: int) -> Any:
    return ir.Constant(I64, value)


def splat(builder: Any, word: Any) -> Any:
    one = builder.insert_element(
        ir.Constant(VECTOR, ir.Undefined), word, ir.Constant(ir.IntType(32), 0)
    )
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), 8), [0] * 8)
    return builder.shuffle_vector(one, ir.Constant(VECTOR, ir.Undefined), zeros)


def _load(builder: Any, base: Any, index: int) -> Any:
    return builder.load(builder.gep(base, [integer(index)]), align=8)


def _store(builder: Any, value: Any, base: Any, index: int) -> None:
    builder.store(value, builder.gep(base, [integer(index)]), align=8)


def _count(builder: Any, vector: Any) -> Any:
    kind = ir.FunctionType(VECTOR, [VECTOR])
    ctpop = cgutils.get_or_insert_function(builder.module, kind, "llvm.ctpop.v8i64")
    return builder.call(ctpop, [vector])


def tally(builder: Any, total: Any, vector: Any) -> None:
    builder.store(builder.add(builder.load(total), _count(builder, vector)), total)


def sum_of(builder: Any, total: Any) -> Any:
    vector = builder.load(total)
    parts = [builder.extract_element(vector, ir.Constant(ir.IntType(32), k)) for k in range(8)]
    while len(parts) > 1:
        parts = [builder.add(a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


@contextmanager
def while_below(builder: Any, index: Any, limit: Any, step: int) -> Iterator[Any]:
    """Loop while `index + step <= limit`; `index` is a variable that advances by `step`."""
    head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    now = builder.load(index)
    builder.cbranch(builder.icmp_signed("<=", builder.add(now, integer(step)), limit), body, end)
    builder.position_at_end(body)
    yield now
    builder.store(builder.add(now, integer(step)), index)
    builder.branch(head)
    builder.position_at_end(end)


class Step:
    """Code of one encoded step on a range of vectors: compare, then write where tagged."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any) -> None:
        self.builder = builder
        self.planes = Planes(context, builder, signature.args[0], args[0])
        self.pool = context.make_array(signature.args[1])(context, builder, args[1]).data
        self.key, self.keys, self.write, self.writes = args[2:6]
        self.first, self.last, self.full, self.from_tag, self.keep = args[6:]
        self.tags = [cgutils.alloca_once(builder, VECTOR) for _ in range(BLOCK)]
        self.matched = cgutils.alloca_once_value(builder, ir.Constant(VECTOR, [0] * 8))
        self.flipped = cgutils.alloca_once_value(builder, ir.Constant(VECTOR, [0] * 8))
        self.tag_line = builder.sub(self.planes.lines, integer(2))
        self.live_line = builder.sub(self.planes.lines, integer(1))

    def build(self) -> Any:
        build = self.builder
        index = cgutils.alloca_once_value(build, self.first)
        whole = build.select(build.icmp_signed("<", self.last, self.full), self.last, self.full)
        for size, limit, alive in (
            (BLOCK, whole, True),
            (BLOCK, self.last, False),
            (1, self.last, False),
        ):
            with while_below(build, index, limit, size) as vector:
                self.block(vector, size, alive)
        return sum_of(build, self.matched), sum_of(build, self.flipped)

    def block(self, vector: Any, size: int, alive: bool) -> None:
        """Compare and write `size` vectors, all of whose rows live where `alive` says so."""
        build = self.builder
        self.start_tags(vector, size, alive)
        with cgutils.for_range(build, self.keys) as loop:
            line, bit, _ = self.operand(build.add(self.key, loop.index))
            mask = splat(build, build.sub(bit, integer(1)))  # 1 -> 0..0, 0 -> 1..1
            cells = self.planes.at(line, vector)
            for k, tag in enumerate(self.tags[:size]):
                match = build.xor(_load(build, cells, k), mask)
                build.store(build.and_(build.load(tag), match), tag)
        for tag in self.tags[:size]:
            tally(build, self.matched, build.load(tag))
        with build.if_then(build.icmp_signed("!=", self.keep, integer(0))):
            kept = self.planes.at(self.tag_line, vector)
            for k, tag in enumerate(self.tags[:size]):
                _store(build, build.load(tag), kept, k)
        with cgutils.for_range(build, self.writes) as loop:
            self.write_line(vector, size, build.add(self.write, loop.index))

    def start_tags(self, vector: Any, size: int, alive: bool) -> None:
        """Tags before the first key: the kept tags, or all rows that live."""
        build = self.builder
        with build.if_else(build.icmp_signed("!=", self.from_tag, integer(0))) as (kept, fresh):
            with kept:
                cells = self.planes.at(self.tag_line, vector)
                for k, tag in enumerate(self.tags[:size]):
                    build.store(_load(build, cells, k), tag)
            with fresh:
                live = self.planes.at(self.live_line, vector)
                ones = ir.Constant(VECTOR, [-1] * 8)
                for k, tag in enumerate(self.tags[:size]):
                    build.store(ones if alive else _load(build, live, k), tag)

    def write_line(self, vector: Any, size: int, row: Any) -> None:
        build = self.builder
        line, bit, mode = self.operand(row)
        value = splat(build, build.neg(bit))
        cells = self.planes.at(line, vector)
        with build.if_else(build.icmp_signed("==", mode, integer(COUNTED))) as (counted, known):
            for branch, count in ((counted, True), (known, False)):
                with branch:
                    for k, tag in enumerate(self.tags[:size]):
                        old = _load(build, cells, k)
                        flip = build.and_(build.load(tag), build.xor(old, value))
                        if count:
                            tally(build, self.flipped, flip)
                        _store(build, build.xor(old, flip), cells, k)

    def operand(self, row: Any) -> tuple[Any, Any, Any]:
        """Line, bit and mode: a row of the pool."""
        build = self.builder
        first = build.mul(row, integer(3))
        return tuple(
            build.load(build.gep(self.pool, [build.add(first, integer(k))])) for k in range(3)
        )


PAIR = types.UniTuple(types.int64, 2)


@intrinsic
def step_lines(
    typing: Any, planes: Any, pool: Any, key: Any, keys: Any, write: Any, writes: Any,
    first: Any, last: Any, full: Any, from_tag: Any, keep: Any,
) -> Any:  # fmt: skip
    """See `_plain.step_lines`."""
    args = (planes, pool, *(types.int64,) * 9)

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        counts = Step(context, builder, signature, values).build()
        return context.make_tuple(builder, PAIR, counts)

    return PAIR(*args), codegen


@intrinsic
def assign_line(typing: Any, planes: Any, target: Any, source: Any, first: Any, last: Any) -> Any:
    """See `_plain.assign_line`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where = Planes(context, builder, signature.args[0], args[0])
        flipped = cgutils.alloca_once_value(builder, ir.Constant(VECTOR, [0] * 8))
        index = cgutils.alloca_once_value(builder, args[3])
        upwards = builder.icmp_signed("<", args[1], args[2])
        mirror = builder.sub(builder.add(args[3], args[4]), integer(1))
        with while_below(builder, index, args[4], 1) as count:
            vector = builder.select(upwards, count, builder.sub(mirror, count))
            old, new = (_load(builder, where.at(line, vector), 0) for line in args[1:3])
            tally(builder, flipped, builder.xor(old, new))
            _store(builder, new, where.at(args[1], vector), 0)
        return sum_of(builder, flipped)

    return types.int64(planes, *(types.int64,) * 4), codegen


@intrinsic
def call_fused(
    typing: Any, address: Any, planes: Any, lines: Any, place: Any, repeat: Any,
    first: Any, last: Any, full: Any, live: Any, tag: Any, totals: Any, index: Any,
) -> Any:  # fmt: skip
    """Carry out fused steps from `index` on, by the machine code at `address`.

    Lines stand from `place` on in int64 `lines`; see `_fusion.source` for the others.
    """
    numbers = (types.int64,)
    kinds = (*numbers, planes, lines, *numbers * 7, totals, *numbers)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where = Planes(context, builder, signature.args[1], args[1])
        listed = context.make_array(signature.args[2])(context, builder, args[2])
        counted = context.make_array(signature.args[10])(context, builder, args[10])
        steps = cgutils.unpack_tuple(builder, counted.shape, 2)[1]
        pointer = I64.as_pointer()
        function = ir.FunctionType(
            ir.VoidType(), [I64, I64, pointer, *[I64] * 6, pointer, I64]
        ).as_pointer()
        row = builder.gep(counted.data, [builder.add(steps, args[11])])
        builder.call(
            builder.inttoptr(args[0], function),
            [
                builder.ptrtoint(where.data, I64), where.words,
                builder.gep(listed.data, [args[3]]), *args[4:10], row, steps,
            ],
        )  # fmt: skip
        return context.get_dummy_value()

    return types.void(*kinds), codegen
