"""LLVM assembly for loops over vectors of 512 rows: loops, lines, counting.

The rule: plain instructions in their final form (loops hand on their values, nothing goes
through memory that need not), so that no optimiser has to look at them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from apsim.cam._objects import HAS_TERNARY_LOGIC

__all__ = [
    "I64", "NONE", "ONES", "VECTOR", "add_to", "at", "fold", "function", "integer", "known",
    "load_line", "popcount", "repeated", "splat", "store_counts", "ternary", "total", "when",
]  # fmt: skip

I32, I64 = ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(I64, 8)
NONE = ir.Constant(VECTOR, [0] * 8)
ONES = ir.Constant(VECTOR, [-1] * 8)
NUMBERS = I64.as_pointer()

Body = Callable[[Any, list[Any]], Sequence[Any]]


def integer(value: int) -> Any:
    """A constant."""
    return ir.Constant(I64, value)


def function(module: Any, name: str, arguments: int = 2) -> Any:
    """A builder at the start of `void name(int64*, ...)`; its arguments are `.function.args`."""
    kind = ir.FunctionType(ir.VoidType(), [NUMBERS] * arguments)
    made = ir.Function(module, kind, name)
    made.attributes.add("nounwind")
    return ir.IRBuilder(made.append_basic_block("entry"))


def fold(build: Any, start: Any, stop: Any, values: Sequence[Any], body: Body) -> list[Any]:
    """For numbers from `start` up to `stop`, hand the values on from one turn to the next."""
    before = build.block
    turn, after = (build.append_basic_block(name) for name in ("turn", "after"))
    build.cbranch(build.icmp_signed("<", start, stop), turn, after)
    build.position_at_end(turn)
    number = build.phi(I64)
    held = [build.phi(value.type) for value in values]
    given = list(body(number, held))
    following = build.add(number, integer(1))
    build.cbranch(build.icmp_signed("<", following, stop), turn, after)
    end = build.block
    for phi, first, next_ in zip((number, *held), (start, *values), (following, *given),
                                 strict=True):  # fmt: skip
        phi.add_incoming(first, before)
        phi.add_incoming(next_, end)
    build.position_at_end(after)
    results = [build.phi(value.type) for value in values]
    for phi, first, last in zip(results, values, given, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(last, end)
    return results


def repeated(build: Any, count: Any, body: Callable[[Any], None]) -> None:
    """For numbers from 0 up to `count`."""

    def turn(number: Any, _: list[Any]) -> Sequence[Any]:
        body(number)
        return ()

    fold(build, integer(0), count, (), turn)


def when(build: Any, flag: Any) -> Any:
    """A block for where a number is not 0."""
    return build.if_then(build.icmp_signed("!=", flag, integer(0)))


def at(build: Any, address: Any, kind: Any = VECTOR) -> Any:
    """A pointer to what stands at an address."""
    return build.inttoptr(address, kind.as_pointer())


def load_line(build: Any, address: Any, vector: Any) -> Any:
    """A vector of a line."""
    place = build.add(address, build.shl(vector, integer(6)))
    return build.load(at(build, place), align=8)


def splat(build: Any, word: Any, lanes: int = 8) -> Any:
    """A word in all lanes."""
    kind = ir.VectorType(word.type, lanes)
    one = build.insert_element(ir.Constant(kind, ir.Undefined), word, I32(0))
    zeros = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
    return build.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def popcount(build: Any, bits: Any) -> Any:
    """Ones in each lane."""
    return build.call(known(build, [bits.type], bits.type, "llvm.ctpop.v8i64"), [bits])


def ternary(build: Any, table: int, a: Any, b: Any, c: Any) -> Any:
    """Bit 4a + 2b + c of a table, for every bit of three vectors.

    Two of them are joined by an instruction that leaves both as they are.
    """
    two = _of_two(build, table, a, b, c)
    if two is not None:
        return two
    if HAS_TERNARY_LOGIC:
        kinds = [VECTOR, VECTOR, VECTOR, I32]
        logic = known(build, kinds, VECTOR, "llvm.x86.avx512.pternlog.q.512")
        return build.call(logic, [a, b, c, I32(table)])
    terms = [
        _product(build, [(a, k >> 2 & 1), (b, k >> 1 & 1), (c, k & 1)])
        for k in range(8)
        if table >> k & 1
    ]
    return _reduced(terms, build.or_) if terms else NONE


def _of_two(build: Any, table: int, a: Any, b: Any, c: Any) -> Any:
    """A function of two of three vectors, or of two that are the same, where it is one."""
    for place, (x, y) in ((0, (b, c)), (1, (a, c)), (2, (a, b))):
        rest = [k for k in (0, 1, 2) if k != place]
        seen: dict[tuple[int, int], int] = {}
        for k in range(8):
            bits = k >> 2 & 1, k >> 1 & 1, k & 1
            if _contradict(bits, (a, b, c)):
                continue
            name = bits[rest[0]], bits[rest[1]]
            if seen.setdefault(name, table >> k & 1) != table >> k & 1:
                break
        else:
            made = _PAIRS.get(tuple(seen.get(name, 0) for name in ((0, 0), (0, 1), (1, 0), (1, 1))))
            if made:
                return made(build, x, y)
    return None


def _contradict(bits: tuple[int, int, int], values: tuple[Any, Any, Any]) -> bool:
    """Whether two of these are one value, and have two bits."""
    return any(
        values[j] is values[k] and bits[j] != bits[k] for j in range(3) for k in range(j + 1, 3)
    )


_PAIRS: dict[tuple[int, ...], Callable[[Any, Any, Any], Any]] = {
    (0, 0, 0, 1): lambda build, x, y: build.and_(x, y),
    (0, 0, 1, 0): lambda build, x, y: build.and_(x, build.not_(y)),
    (0, 1, 0, 0): lambda build, x, y: build.and_(build.not_(x), y),
    (0, 1, 1, 0): lambda build, x, y: build.xor(x, y),
    (0, 1, 1, 1): lambda build, x, y: build.or_(x, y),
}  # for x, y = 00, 01, 10, 11


def _product(build: Any, literals: list[tuple[Any, int]]) -> Any:
    return _reduced([bits if bit else build.not_(bits) for bits, bit in literals], build.and_)


def _reduced(values: list[Any], join: Callable[[Any, Any], Any]) -> Any:
    result = values[0]
    for value in values[1:]:
        result = join(result, value)
    return result


def total(build: Any, counts: Any) -> Any:
    """The sum over the lanes."""
    return build.call(known(build, [VECTOR], I64, "llvm.vector.reduce.add.v8i64"), [counts])


def add_to(build: Any, address: Any, value: Any) -> None:
    """Add to the number at an address."""
    place = at(build, address, I64)
    build.store(build.add(build.load(place), value), place)


def store_counts(build: Any, address: Any, counts: Sequence[Any]) -> None:
    """Add the sums over the lanes of some vectors to as many numbers that stand in a row."""
    while counts:
        size = min(1 << (len(counts).bit_length() - 1), 8)
        sums = _together(build, counts[:size])
        place = at(build, address, sums.type)
        build.store(build.add(build.load(place, align=8), sums), place, align=8)
        address = build.add(address, integer(8 * size))
        counts = counts[size:]


def _together(build: Any, counts: Sequence[Any]) -> Any:
    """Sums over the lanes of 1, 2, 4 or 8 vectors, as one vector: neighbours added by halves."""
    size, vectors = len(counts), list(counts)
    while len(vectors) > 1:
        vectors = [_pairs_added(build, *vectors[k : k + 2]) for k in range(0, len(vectors), 2)]
    sums = vectors[0]
    while sums.type.count > size:
        sums = _pairs_added(build, sums, None)
    return sums


def _pairs_added(build: Any, a: Any, b: Any | None) -> Any:
    """a0+a1, a2+a3, ... and then those of b."""
    lanes = a.type.count * (2 if b is not None else 1)
    other = ir.Constant(a.type, ir.Undefined) if b is None else b

    def picked(first: int) -> Any:
        chosen = list(range(first, lanes, 2))
        return build.shuffle_vector(a, other, ir.Constant(ir.VectorType(I32, len(chosen)), chosen))

    return build.add(picked(0), picked(1))


def known(build: Any, takes: Sequence[Any], gives: Any, name: str) -> Any:
    module = build.module
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(gives, takes), name)
