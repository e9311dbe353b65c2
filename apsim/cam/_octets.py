"""Machine code that turns bytes into bit-planes and bit-planes into words.

The rule: what `_operands` says in plain source, 64 lanes at a time; the one argument is the
address of the numbers that are named in each docstring.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

from llvmlite import ir

from apsim.cam._objects import load
from apsim.cam._vector_ir import I64, NUMBERS, at, fold, function, integer, repeated, splat

__all__ = ["octets"]

I8, FLAG = ir.IntType(8), ir.IntType(1)
OCTETS, WIDE, FLAGS = (ir.VectorType(kind, 64) for kind in (I8, I64, FLAG))
NO_OCTETS = ir.Constant(OCTETS, [0] * 64)
NAMES = ("fill", "put")


@cache
def octets() -> SimpleNamespace:
    """Addresses of the operations, by name."""
    addresses = load("octets", NAMES, assembly, optimised=False)
    return SimpleNamespace(**dict(zip(NAMES, addresses, strict=True)))


def assembly() -> str:
    """The operations as LLVM assembly."""
    module = ir.Module("octets")
    _fill(module)
    _put(module)
    return str(module)


def _given(build: Any, count: int) -> list[Any]:
    (numbers,) = build.function.args
    return [build.load(build.gep(numbers, [integer(k)])) for k in range(count)]


def _fill(module: Any) -> None:
    """block, pitch, words, first, place, bits, planes, rows, their bits, their words.

    Words from `first` on of planes `place...` := the bits of bytes that lie side by side.
    """
    build = function(module, "fill", 1)
    block, pitch, words, first, place, bits, planes, rows, many, width = _given(build, 10)

    def row(number: Any) -> None:
        octets, base = build.add(block, build.mul(number, pitch)), build.mul(number, many)

        def word(w: Any) -> None:
            address = build.add(octets, build.shl(w, integer(6)))
            given = build.load(at(build, address, OCTETS), align=1)

            def bit(b: Any) -> None:
                one = splat(build, build.shl(I8(1), build.trunc(b, I8)), 64)
                found = build.icmp_unsigned("!=", build.and_(given, one), NO_OCTETS)
                line = build.mul(build.add(base, build.add(place, b)), width)
                target = build.add(line, build.add(first, w))
                target = build.add(planes, build.shl(target, integer(3)))
                build.store(build.bitcast(found, I64), at(build, target, I64))

            repeated(build, bits, bit)

        repeated(build, words, word)

    repeated(build, rows, row)
    build.ret_void()


def _put(module: Any) -> None:
    """planes, bits, words of a plane, target.

    64 words of the target for each word of a plane := the bits that the planes hold.
    """
    build = function(module, "put", 1)
    planes, bits, width, target = _given(build, 4)
    parts = build.ashr(build.add(bits, integer(7)), integer(3))

    def word(w: Any) -> None:
        def part(number: Any, held: list[Any]) -> list[Any]:
            place = build.shl(number, integer(3))
            octets = _eight(build, planes, place, bits, width, w)
            shifted = build.shl(build.zext(octets, WIDE), splat(build, place, 64))
            return [build.or_(held[0], shifted)]

        (values,) = fold(build, integer(0), parts, [ir.Constant(WIDE, [0] * 64)], part)
        address = build.add(target, build.shl(w, integer(9)))
        build.store(values, at(build, address, WIDE), align=8)

    repeated(build, width, word)
    build.ret_void()


def _eight(build: Any, planes: Any, place: Any, bits: Any, width: Any, word: Any) -> Any:
    """Bytes of 64 lanes, of one word of each of up to eight planes."""
    octets, numbers = NO_OCTETS, build.inttoptr(planes, NUMBERS)
    for b in range(8):
        plane = build.add(place, integer(b))
        inside = build.icmp_signed("<", plane, bits)
        plane = build.select(inside, plane, integer(0))
        given = build.load(build.gep(numbers, [build.add(build.mul(plane, width), word)]))
        flags = build.bitcast(build.select(inside, given, integer(0)), FLAGS)
        ones = ir.Constant(OCTETS, [(1 << b) - 256 * (b == 7)] * 64)
        octets = build.or_(octets, build.select(flags, ones, NO_OCTETS))
    return octets
