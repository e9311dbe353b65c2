"""512 rows as one value in numba: a type, its operators, and what brings it from and to memory.

The rule: kernels are Python on values of this type (`tag = a & b & ~c; n += ones(tag)`); a
processor with narrower vectors gets it split by LLVM.  Addresses are int64, in bytes; tables
of numbers are reached through `pointer`.  Each function is the plain Python of `vector_plain`,
which says what it does; here stands for numba what a call of it takes, gives and emits.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar

from llvmlite import ir
from numba import types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import lower_builtin, models, register_model

from apsim.cam.jit import Numbers

# isort: off
from apsim.cam.vector_plain import (
    gather, invoke, load, marked, nothing, offset, ones, pointer, popcount, splat, spread, store,
    total, widened, words, zero,
)  # fmt: skip

# isort: on

__all__ = [
    "Numbers", "Vector", "gather", "invoke", "load", "marked", "nothing", "offset", "ones",
    "pointer", "popcount", "splat", "spread", "store", "total", "widened", "words", "zero",
]  # fmt: skip

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
V8 = ir.VectorType(I64, 8)
OCTETS, FLAGS = ir.VectorType(I8, 64), ir.VectorType(ir.IntType(1), 64)
NO_OCTETS = ir.Constant(OCTETS, [0] * 64)

Emit = Callable[..., Any]


class Vector(types.Type):
    """Eight words of 64 rows."""

    def __init__(self) -> None:
        super().__init__("Vector")


vector, number = Vector(), types.int64


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, V8)


def _emits(function: Any, gives: Any, *takes: Any) -> Callable[[Emit], Emit]:
    """Calls of a function with such values are instructions, and give what these give.

    One signature stands for it: nothing is inferred anew for each call, as for an `intrinsic`.
    """

    def emitted(emit: Emit) -> Emit:
        @infer_global(function)
        class _Typed(ConcreteTemplate):
            cases: ClassVar = [signature(gives, *takes)]

        @lower_builtin(function, *takes)
        def lowered(context: Any, build: Any, sig: Any, args: Any) -> Any:
            made = emit(build, *args)
            return context.get_dummy_value() if gives == types.none else made

        return emit

    return emitted


def _splat(build: Any, word: Any) -> Any:
    some = ir.Constant(V8, ir.Undefined)
    one = build.insert_element(some, word, I32(0))
    return build.shuffle_vector(one, some, ir.Constant(ir.VectorType(I32, 8), [0] * 8))


def _at(build: Any, address: Any, v: Any) -> Any:
    place = build.add(address, build.shl(v, I64(6)))
    return build.inttoptr(place, V8.as_pointer())


def _called(build: Any, name: str, gives: Any, bits: Any) -> Any:
    found = build.module.globals.get(name)
    kind = ir.FunctionType(gives, [V8])
    return build.call(found or ir.Function(build.module, kind, name), [bits])


for _name in ("and_", "or_", "xor", "add", "sub"):
    for _operator in (_name, f"i{_name.rstrip('_')}"):
        _emits(getattr(operator, _operator), vector, vector, vector)(getattr(ir.IRBuilder, _name))


@_emits(operator.lshift, vector, vector, number)
def _left(build: Any, bits: Any, by: Any) -> Any:
    return build.shl(bits, _splat(build, by))


@_emits(operator.rshift, vector, vector, number)
def _right(build: Any, bits: Any, by: Any) -> Any:
    return build.lshr(bits, _splat(build, by))


_emits(operator.invert, vector, vector)(ir.IRBuilder.not_)
_emits(splat, vector, number)(_splat)
_emits(nothing, vector)(lambda build: ir.Constant(V8, [0] * 8))


@_emits(load, vector, number, number)
def _load(build: Any, address: Any, v: Any) -> Any:
    return build.load(_at(build, address, v), align=8)


@_emits(store, types.none, number, number, vector)
def _store(build: Any, address: Any, v: Any, bits: Any) -> None:
    build.store(bits, _at(build, address, v), align=8)


@_emits(zero, types.none, number, number)
def _zero(build: Any, address: Any, size: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I8, I64, ir.IntType(1)])
    name = "llvm.memset.p0.i64"
    memset = build.module.globals.get(name) or ir.Function(build.module, kind, name)
    build.call(memset, [build.inttoptr(address, I8.as_pointer()), I8(0), size, ir.IntType(1)(0)])


@_emits(ones, vector, vector)
def _ones(build: Any, bits: Any) -> Any:
    return _called(build, "llvm.ctpop.v8i64", V8, bits)


@_emits(total, number, vector)
def _total(build: Any, counts: Any) -> Any:
    return _called(build, "llvm.vector.reduce.add.v8i64", I64, counts)


_emits(popcount, number, types.uint64)(ir.IRBuilder.ctpop)


@_emits(gather, vector, number, vector)
def _gather(build: Any, address: Any, index: Any) -> Any:
    bits = ir.Constant(V8, ir.Undefined)
    for lane in range(8):
        by = build.shl(build.extract_element(index, I32(lane)), I64(3))
        place = build.inttoptr(build.add(address, by), I64.as_pointer())
        bits = build.insert_element(bits, build.load(place, align=8), I32(lane))
    return bits


def _octet(build: Any, place: Any) -> Any:
    """64 bytes in which one bit is set."""
    some = ir.Constant(OCTETS, ir.Undefined)
    one = build.insert_element(some, build.shl(I8(1), build.trunc(place, I8)), I32(0))
    return build.shuffle_vector(one, some, ir.Constant(ir.VectorType(I32, 64), [0] * 64))


@_emits(marked, number, vector, number)
def _marked(build: Any, bits: Any, place: Any) -> Any:
    found = build.and_(build.bitcast(bits, OCTETS), _octet(build, place))
    return build.bitcast(build.icmp_unsigned("!=", found, NO_OCTETS), I64)


@_emits(spread, vector, number, number)
def _spread(build: Any, word: Any, place: Any) -> Any:
    chosen = build.select(build.bitcast(word, FLAGS), _octet(build, place), NO_OCTETS)
    return build.bitcast(chosen, V8)


@_emits(widened, vector, number, number)
def _widened(build: Any, address: Any, which: Any) -> Any:
    octets = ir.VectorType(I8, 8)
    place = build.add(address, build.shl(which, I64(3)))
    return build.zext(build.load(build.inttoptr(place, octets.as_pointer()), align=1), V8)


@_emits(words, types.CPointer(types.uint64), number)
@_emits(pointer, Numbers, number)
def _pointer(build: Any, address: Any) -> Any:
    return build.inttoptr(address, I64.as_pointer())


@_emits(offset, Numbers, Numbers, number)
def _offset(build: Any, numbers: Any, by: Any) -> Any:
    return build.gep(numbers, [by])


@_emits(invoke, types.none, number, Numbers, Numbers)
def _invoke(build: Any, address: Any, frame: Any, row: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [I64.as_pointer()] * 2).as_pointer()
    build.call(build.inttoptr(address, kind), [frame, row])
