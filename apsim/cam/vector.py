"""512 rows as one value in numba: a type, its operators, and what brings it from and to memory.

The rule: kernels are Python on values of this type (`tag = a & b & ~c; n += ones(tag)`); a
processor with narrower vectors gets it split by LLVM.  Addresses are int64, in bytes; tables
of numbers are reached through `pointer`.  Under NUMBA_DISABLE_JIT=1 all of it is the plain
Python of `vector_plain`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, ClassVar

from llvmlite import ir
from numba import types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

from apsim.cam import vector_plain
from apsim.cam.jit import PLAIN, Numbers

__all__ = [
    "Numbers", "Vector", "gather", "invoke", "load", "marked", "nothing", "offset", "ones",
    "pointer", "popcount", "splat", "spread", "store", "total", "widened", "words",
]  # fmt: skip

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
V8 = ir.VectorType(I64, 8)
OCTETS, FLAGS = ir.VectorType(I8, 64), ir.VectorType(ir.IntType(1), 64)
NO_OCTETS = ir.Constant(OCTETS, [0] * 64)


class Vector(types.Type):
    """Eight words of 64 rows."""

    def __init__(self) -> None:
        super().__init__("Vector")


vector = Vector()


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, V8)


def _operator(name: Any, emit: Callable[..., Any], *takes: Any) -> None:
    @infer_global(name)
    class _Typed(ConcreteTemplate):
        cases: ClassVar = [signature(vector, *takes)]

    lower_builtin(name, *takes)(lambda context, build, sig, args: emit(build, *args))


for _name, _emit in {
    "and": lambda build, a, b: build.and_(a, b),
    "or": lambda build, a, b: build.or_(a, b),
    "xor": lambda build, a, b: build.xor(a, b),
    "add": lambda build, a, b: build.add(a, b),
    "sub": lambda build, a, b: build.sub(a, b),
}.items():
    _plain_name = f"{_name}_" if _name in ("and", "or") else _name
    _operator(getattr(operator, _plain_name), _emit, vector, vector)
    _operator(getattr(operator, f"i{_name}"), _emit, vector, vector)

for _name, _emit in {
    "lshift": lambda build, a, by: build.shl(a, _splat(build, by)),
    "rshift": lambda build, a, by: build.lshr(a, _splat(build, by)),
}.items():
    _operator(getattr(operator, _name), _emit, vector, types.int64)

_operator(operator.invert, lambda build, a: build.not_(a), vector)


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


def _invoked(build: Any, address: Any, frame: Any, row: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [I64.as_pointer()] * 2).as_pointer()
    build.call(build.inttoptr(address, kind), [frame, row])


def _emits(emit: Callable[..., Any]) -> Callable[..., Any]:
    """What numba asks to lower a call: these instructions, and what they give."""

    def lowered(context: Any, build: Any, sig: Any, args: Any) -> Any:
        made = emit(build, *args)
        return context.get_dummy_value() if sig.return_type == types.none else made

    return lowered


def _offered(typed: Callable[..., Any]) -> Any:
    """A function of numba; or its plain namesake, where kernels run as plain Python."""
    return getattr(vector_plain, typed.__name__) if PLAIN else intrinsic(typed)


@_offered
def load(typing: Any, address: Any, v: Any) -> Any:
    """Vector v of the line at an address."""
    emit = _emits(lambda build, address, v: build.load(_at(build, address, v), align=8))
    return vector(types.int64, types.int64), emit


@_offered
def store(typing: Any, address: Any, v: Any, bits: Any) -> Any:
    """Make `bits` vector v of the line at an address."""
    emit = _emits(
        lambda build, address, v, bits: build.store(bits, _at(build, address, v), align=8)
    )
    return types.none(types.int64, types.int64, vector), emit


def _zeroed(build: Any, address: Any, size: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [I8.as_pointer(), I8, I64, ir.IntType(1)])
    name = "llvm.memset.p0.i64"
    memset = build.module.globals.get(name) or ir.Function(build.module, kind, name)
    build.call(memset, [build.inttoptr(address, I8.as_pointer()), I8(0), size, ir.IntType(1)(0)])


@_offered
def zero(typing: Any, address: Any, size: Any) -> Any:
    """So many bytes from an address on := 0."""
    return types.none(types.int64, types.int64), _emits(_zeroed)


@_offered
def nothing(typing: Any) -> Any:
    """Zeros."""
    return vector(), _emits(lambda build: ir.Constant(V8, [0] * 8))


@_offered
def splat(typing: Any, word: Any) -> Any:
    """The same word in each lane: `splat(-bit)` is a row of that bit."""
    return vector(types.int64), _emits(_splat)


@_offered
def ones(typing: Any, bits: Any) -> Any:
    """How many ones each lane holds."""
    return vector(vector), _emits(lambda build, bits: _called(build, "llvm.ctpop.v8i64", V8, bits))


@_offered
def popcount(typing: Any, word: Any) -> Any:
    """Ones of a word (uint64), as an int64."""
    return types.int64(types.uint64), _emits(lambda build, word: build.ctpop(word))


@_offered
def total(typing: Any, counts: Any) -> Any:
    """The sum of the lanes."""
    name = "llvm.vector.reduce.add.v8i64"
    return types.int64(vector), _emits(lambda build, counts: _called(build, name, I64, counts))


def _gathered(build: Any, address: Any, index: Any) -> Any:
    bits = ir.Constant(V8, ir.Undefined)
    for lane in range(8):
        by = build.shl(build.extract_element(index, I32(lane)), I64(3))
        place = build.inttoptr(build.add(address, by), I64.as_pointer())
        bits = build.insert_element(bits, build.load(place, align=8), I32(lane))
    return bits


@_offered
def gather(typing: Any, address: Any, index: Any) -> Any:
    """The words (uint64) at an address whose numbers the lanes of `index` hold."""
    return vector(types.int64, vector), _emits(_gathered)


def _octet(build: Any, place: Any) -> Any:
    """64 bytes in which one bit is set."""
    some = ir.Constant(OCTETS, ir.Undefined)
    one = build.insert_element(some, build.shl(I8(1), build.trunc(place, I8)), I32(0))
    return build.shuffle_vector(one, some, ir.Constant(ir.VectorType(I32, 64), [0] * 64))


def _marked(build: Any, bits: Any, place: Any) -> Any:
    found = build.and_(build.bitcast(bits, OCTETS), _octet(build, place))
    return build.bitcast(build.icmp_unsigned("!=", found, NO_OCTETS), I64)


@_offered
def marked(typing: Any, bits: Any, place: Any) -> Any:
    """A word: bit `place` (0 to 7) of each of the 64 bytes of a vector."""
    return types.int64(vector, types.int64), _emits(_marked)


def _spread(build: Any, word: Any, place: Any) -> Any:
    chosen = build.select(build.bitcast(word, FLAGS), _octet(build, place), NO_OCTETS)
    return build.bitcast(chosen, V8)


@_offered
def spread(typing: Any, word: Any, place: Any) -> Any:
    """64 bytes whose bits `place` (0 to 7) are those of a word, all others 0."""
    return vector(types.int64, types.int64), _emits(_spread)


def _widened(build: Any, address: Any, number: Any) -> Any:
    octets = ir.VectorType(I8, 8)
    place = build.add(address, build.shl(number, I64(3)))
    return build.zext(build.load(build.inttoptr(place, octets.as_pointer()), align=1), V8)


@_offered
def widened(typing: Any, address: Any, number: Any) -> Any:
    """Eight bytes at an address, from byte 8 * `number` on: one in each lane."""
    return vector(types.int64, types.int64), _emits(_widened)


@_offered
def pointer(typing: Any, address: Any) -> Any:
    """The numbers (int64) at an address: `pointer(address)[k]`."""
    emit = _emits(lambda build, address: build.inttoptr(address, I64.as_pointer()))
    return Numbers(types.int64), emit


@_offered
def words(typing: Any, address: Any) -> Any:
    """The words (uint64) at an address: `words(address)[k]`."""
    emit = _emits(lambda build, address: build.inttoptr(address, I64.as_pointer()))
    return types.CPointer(types.uint64)(types.int64), emit


@_offered
def offset(typing: Any, numbers: Any, by: Any) -> Any:
    """The numbers from number `by` on."""
    return Numbers(Numbers, types.int64), _emits(lambda build, n, by: build.gep(n, [by]))


@_offered
def invoke(typing: Any, address: Any, frame: Any, row: Any) -> Any:
    """Call the operation `void f(frame, row)` at an address (see `jit.Operation`)."""
    return types.none(types.int64, Numbers, Numbers), _emits(_invoked)
