"""Cells and words from outside as explicit vectors: bits to planes, planes to bits, clearing.

The rule: what `_plain` says in plain source, by the same names; see `_vectors`.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from apsim.cam._vectors import I64, VECTOR, Planes, integer, splat, sum_of, tally, while_below

__all__ = [
    "clear_lines",
    "get_bits",
    "octet_bits",
    "popcount",
    "put_bits",
    "put_octets",
    "take_field",
]


@intrinsic
def clear_lines(typing: Any, planes: Any, first: Any, count: Any) -> Any:
    """See `_plain.clear_lines`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where = Planes(context, builder, signature.args[0], args[0])
        place = builder.gep(where.data, [builder.mul(args[1], where.words)])
        size = builder.shl(builder.mul(args[2], where.words), integer(3))
        cgutils.memset(builder, place, size, 0)
        return context.get_dummy_value()

    return types.void(planes, types.int64, types.int64), codegen


@intrinsic
def popcount(typing: Any, word: Any) -> Any:
    """See `_plain.popcount`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


@intrinsic
def take_field(
    typing: Any, rows: Any, line: Any, bits: Any, start: Any, stop: Any, live: Any, source: Any,
    first: Any, stride: Any, word: Any, place: Any, same: Any, totals: Any, index: Any,
) -> Any:  # fmt: skip
    """See `_plain.take_field`."""
    number = types.int64
    kinds = (
        rows, *(number,) * 4, live, source, number, number, types.uint64, number, number, totals,
        number,
    )  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where = Planes(context, builder, signature.args[0], args[0])
        alive, given = (
            context.make_array(signature.args[k])(context, builder, args[k]).data for k in (5, 6)
        )
        counted = context.make_array(signature.args[12])(context, builder, args[12])
        steps = cgutils.unpack_tuple(builder, counted.shape, 2)[1]
        constant = builder.icmp_signed("!=", args[11], integer(0))
        with cgutils.for_range(builder, args[2]) as loop:
            bit = builder.and_(builder.lshr(args[9], builder.add(args[10], loop.index)), integer(1))
            line = builder.mul(builder.add(args[1], loop.index), where.words)
            plane = builder.add(args[7], builder.mul(loop.index, args[8]))
            bases = [
                builder.gep(where.data, [builder.add(line, args[3])]),
                builder.gep(alive, [args[3]]),
                builder.select(
                    constant, builder.gep(alive, [args[3]]), builder.gep(given, [plane])
                ),
            ]
            ones = splat(builder, builder.select(constant, integer(0), integer(-1)))
            fixed = splat(builder, builder.select(constant, builder.neg(bit), integer(0)))
            flips = _take(builder, bases, builder.sub(args[4], args[3]), ones, fixed)
            row = builder.add(builder.mul(steps, integer(3)), builder.add(args[13], loop.index))
            total = builder.gep(counted.data, [row])
            builder.store(builder.add(builder.load(total), flips), total)
        return context.get_dummy_value()

    return types.void(*kinds), codegen


def _take(builder: Any, bases: list[Any], count: Any, ones: Any, fixed: Any) -> Any:
    """Words := (given & ones ^ fixed) & alive, eight at a time; the last eight go beyond the end.

    What lies there is loaded, masked, and put back as it was.
    """
    flipped = cgutils.alloca_once_value(builder, ir.Constant(VECTOR, [0] * 8))
    builder.store(ir.Constant(VECTOR, [0] * 8), flipped)
    index = cgutils.alloca_once(builder, I64)
    builder.store(integer(0), index)
    places_of_words = ir.Constant(VECTOR, list(range(8)))
    with while_below(builder, index, builder.add(count, integer(7)), 8) as now:
        places = [builder.bitcast(builder.gep(base, [now]), VECTOR.as_pointer()) for base in bases]
        old, alive, given = (builder.load(place, align=8) for place in places)
        left = splat(builder, builder.sub(count, now))
        inside = builder.icmp_signed("<", places_of_words, left)
        new = builder.and_(builder.xor(builder.and_(given, ones), fixed), alive)
        new = builder.select(inside, new, old)
        tally(builder, flipped, builder.xor(old, new))
        builder.store(new, places[0], align=8)
    return sum_of(builder, flipped)


OCTET, I32 = ir.IntType(8), ir.IntType(32)
WIDE, OCTETS = ir.VectorType(I64, 64), ir.VectorType(OCTET, 64)
FLAGS = ir.VectorType(ir.IntType(1), 64)


def _wide(builder: Any, context: Any, kind: Any, array: Any, port: Any, row: Any) -> Any:
    """Address of 64 words of uint64[ports, rows] from `row` on."""
    words = context.make_array(kind)(context, builder, array)
    _, rows = cgutils.unpack_tuple(builder, words.shape, 2)
    first = builder.add(builder.mul(port, rows), row)
    return builder.bitcast(builder.gep(words.data, [first]), WIDE.as_pointer())


def _wide_bit(builder: Any, place: Any) -> Any:
    bit = builder.shl(integer(1), place)
    one = builder.insert_element(
        ir.Constant(WIDE, ir.Undefined), bit, ir.Constant(ir.IntType(32), 0)
    )
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
    return builder.shuffle_vector(one, ir.Constant(WIDE, ir.Undefined), zeros)


@intrinsic
def get_bits(typing: Any, data: Any, port: Any, row: Any, place: Any) -> Any:
    """See `_plain.get_bits`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        words = builder.load(_wide(builder, context, signature.args[0], *args[:3]), align=8)
        bits = builder.and_(words, _wide_bit(builder, args[3]))
        flags = builder.icmp_unsigned("!=", bits, ir.Constant(WIDE, [0] * 64))
        return builder.bitcast(flags, I64)

    return types.uint64(data, *(types.int64,) * 3), codegen


@intrinsic
def octet_bits(typing: Any, octets: Any, first: Any, place: Any) -> Any:
    """See `_plain.octet_bits`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        where = builder.bitcast(builder.gep(data, [args[1]]), OCTETS.as_pointer())
        bit = builder.shl(ir.Constant(OCTET, 1), builder.trunc(args[2], OCTET))
        none, zeros = ir.Constant(OCTETS, ir.Undefined), ir.VectorType(I32, 64)
        one = builder.insert_element(none, bit, ir.Constant(I32, 0))
        bits = builder.shuffle_vector(one, none, ir.Constant(zeros, [0] * 64))
        found = builder.and_(builder.load(where, align=1), bits)
        flags = builder.icmp_unsigned("!=", found, ir.Constant(OCTETS, [0] * 64))
        return builder.bitcast(flags, I64)

    return types.uint64(octets, types.int64, types.int64), codegen


@intrinsic
def put_bits(typing: Any, out: Any, port: Any, row: Any, place: Any, word: Any) -> Any:
    """See `_plain.put_bits`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where = _wide(builder, context, signature.args[0], *args[:3])
        bit = _wide_bit(builder, args[3])
        flags = builder.bitcast(args[4], FLAGS)
        old = builder.and_(builder.load(where, align=8), builder.not_(bit))
        builder.store(builder.select(flags, builder.or_(old, bit), old), where, align=8)
        return context.get_dummy_value()

    return types.void(out, *(types.int64,) * 3, types.uint64), codegen


@intrinsic
def put_octets(
    typing: Any, words: Any, first: Any, planes: Any, place: Any, bits: Any, word: Any
) -> Any:
    """See `_plain.put_octets`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        where = builder.bitcast(builder.gep(data, [args[1]]), WIDE.as_pointer())
        octets = _octets(builder, Planes(context, builder, signature.args[2], args[2]), *args[3:])
        kept = builder.select(
            builder.icmp_signed("==", args[3], integer(0)),
            ir.Constant(WIDE, [0] * 64),
            builder.load(where, align=8),
        )
        shift = builder.insert_element(
            ir.Constant(WIDE, ir.Undefined), args[3], ir.Constant(I32, 0)
        )
        zeros = ir.Constant(ir.VectorType(I32, 64), [0] * 64)
        shifts = builder.shuffle_vector(shift, ir.Constant(WIDE, ir.Undefined), zeros)
        new = builder.shl(builder.zext(octets, WIDE), shifts)
        builder.store(builder.or_(kept, new), where, align=8)
        return context.get_dummy_value()

    number = types.int64
    return types.void(words, number, planes, number, number, number), codegen


def _octets(builder: Any, planes: Any, place: Any, bits: Any, word: Any) -> Any:
    """Bytes of 64 lanes, from one word of each of up to eight planes."""
    none = ir.Constant(OCTETS, [0] * 64)
    octets = none
    for b in range(8):
        inside = builder.icmp_signed("<", integer(b), bits)
        plane = builder.add(place, builder.select(inside, integer(b), integer(0)))
        at = builder.add(builder.mul(plane, planes.words), word)
        given = builder.load(builder.gep(planes.data, [at]))
        flags = builder.bitcast(builder.select(inside, given, integer(0)), FLAGS)
        ones = ir.Constant(OCTETS, [1 << b] * 64)
        octets = builder.or_(octets, builder.select(flags, ones, none))
    return octets
