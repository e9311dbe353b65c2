"""Groups of rows of a layer, every group a lane: the loads of a chip, many at a time.

The rule: the program is that of a load, the outputs are folded over loads as they are
literally, and counts are of steps that were carried out, which must be those that the loads'
programs list; which outputs stand side by side in the emulator changes nothing of that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam.base import Execution
from apsim.cam.lanes import LaneProgram, Operands, planes_of, predicted, prepare
from apsim.counts import Activity, Counts
from apsim.encoding import GROUPS, OP, PLACE, PORT, SPAN, TABLE, Code
from apsim.errors import CountError, ProgramError
from apsim.functions import Function
from apsim.functions.base import signed_words
from apsim.layout import WIDEST, Field
from apsim.nn.on_ap.mapping import Fold
from apsim.nn.on_ap.seconds import Clock
from apsim.step import Op

__all__ = ["Batch", "dot_products", "grouped", "is_independent", "rows_of_a_group"]

Integers = NDArray[np.integer[Any]]
Words = NDArray[np.uint64]
LANE, VECTOR = 64, 8  # lanes of a word, and words of a vector
SCATTERED = 0.1  # time that a vector takes more whose words come from several places, measured
MOVED = 4  # products that take as long as to bring in one word of the operand that is not packed


@dataclass(frozen=True)
class Batch:
    """What the loads of a layer gave and took: sums [i, u] or [groups], counts, activity, loads."""

    sums: Integers
    counts: Counts
    activity: Activity
    loads: int


@dataclass(frozen=True)
class Order:
    """Lanes over the columns of x ("u") or over the rows of the weights ("i").

    Lane word w holds 64 values of one index (`inner`), all with one value of the other.
    """

    outer: int
    inner: int
    over_weights: bool

    @classmethod
    def best(cls, i: int, u: int) -> Order:
        """The order that leaves few lanes of a word idle, and vectors' words side by side."""
        one, other = cls(i, u, False), cls(u, i, True)
        return other if other.effort < one.effort else one

    @property
    def effort(self) -> float:
        """Lane words for each 64 outputs, more where a vector's words come from many places.

        They do in vectors that end with other values than they begin with, but for those that
        hold the same words of a plane again and again.  The fewer outputs share a word of the
        other operand, the more of them are brought in.
        """
        words, shared = self.words, gcd(self.words, VECTOR)
        scattered = 0 if shared == words else min((VECTOR - shared) / words, 1)
        return words * LANE / self.inner * (1 + SCATTERED * scattered) + MOVED / self.inner

    @property
    def words(self) -> int:
        """Lane words for each value of the outer index."""
        return -(-self.inner // LANE)

    def pairs(self) -> Integers:
        """Which word of planes and which outer value each lane word takes."""
        outer, word = np.divmod(np.arange(self.outer * self.words, dtype=np.int64), self.words)
        return np.stack([word, outer], axis=1)

    def spread(self, flags: NDArray[np.bool_]) -> Words:
        """Flags [i, u] as lane words."""
        ordered = flags.T if self.over_weights else flags
        padded = np.zeros((self.outer, self.words * LANE), bool)
        padded[:, : self.inner] = ordered
        return np.packbits(padded, axis=1, bitorder="little").view(np.uint64).ravel()

    def gather(self, words: Words) -> Words:
        """Lane words' values as [i, u]."""
        ordered = words.reshape(self.outer, -1)[:, : self.inner]
        return ordered.T if self.over_weights else ordered


def dot_products(
    x: Integers,
    weights: Integers,
    fold: Fold,
    make: Callable[[int], Function],
    *,
    engine: str = "strict",
    threads: int = 2,
    progress: Callable[[int], None] = lambda products: None,
    clock: Clock | None = None,
) -> Batch:
    """x [u, n] times weights [i, n]: `make(groups)` gives the function of a load.

    `clock` is turned to the part of the work that is being done.

    Raises `ProgramError` where the function's groups are not independent, and where the
    last, smaller load would run other steps than those that ran.
    """
    clock = clock or Clock()
    clock.turn("program")
    (u, length), i = x.shape, len(weights)
    order = Order.best(i, u)
    groups = fold.size if fold.full else fold.rest
    function = make(groups)
    program = _program(function.program.code, groups, length, function.columns)
    walk = program.prepare(order.outer * order.words, fused=engine == "fused")
    prepare()
    clock.turn("load")
    operands = _operands(function, x, weights, order, fold)
    clock.turn("passes")
    done = program.run(
        operands, threads=threads, walk=walk, progress=lambda lanes: progress(lanes * length)
    )
    clock.turn("unload")
    sums = _sums(function, order.gather(done.out))
    clock.turn("program")
    return _batch(sums, program.code, done.execution, fold, make)


def is_independent(function: Function, size: int) -> bool:
    """Whether groups of `size` rows, of a result each, may stand side by side.

    Then the words of a row are taken in as one.
    """
    groups = len(function.places)
    if function.shape is not None:
        return False
    try:
        return bool(_program(_taking_in_one(function), groups, size, function.columns).regular)
    except ProgramError:
        return False


def grouped(
    words: Integers,
    fold: Fold,
    make: Callable[[int], Function],
    *,
    engine: str = "strict",
    threads: int = 2,
    clock: Clock | None = None,
) -> Batch:
    """A word for each group of words [groups, S]: `make(groups)` gives the function of a load.

    The groups must be independent (`is_independent`) and, but for rows that come after all of
    them, alike.  `clock` is turned to the part of the work that is being done.
    """
    clock = clock or Clock()
    clock.turn("program")
    many, function = len(words), make(fold.size if fold.full else fold.rest)
    code, size = _taking_in_one(function), rows_of_a_group(make)
    program = _program(code, len(function.places), size, function.columns)
    walk = program.prepare(-(-many // LANE), fused=engine == "fused")
    prepare()
    clock.turn("load")
    operands = _side_by_side(make(many), words, size, fold)
    clock.turn("passes")
    done = program.run(operands, threads=threads, walk=walk)
    clock.turn("unload")
    values = _sums(function, done.out[:many])
    clock.turn("program")
    return _batch(values, function.program.code, done.execution, fold, make)


def rows_of_a_group(make: Callable[[int], Function]) -> int:
    """Rows from a group's first to the next group's."""
    return int(make(2).places[1])


def _width(function: Function) -> int:
    return max(function.layout[name].width for name in function.inputs)


@lru_cache(64)
def _taking_in_one(function: Function) -> Code:
    """The program, where a row's words come in as one: those of later ports in its upper bits.

    Raises `ProgramError` where that would be too wide.
    """
    code = function.program.code
    steps, taking = code.steps.copy(), code.steps[:, OP] == Op.WRITE_DATA
    steps[taking, PLACE] += _width(function) * steps[taking, PORT]
    steps[taking, PORT] = 0
    if steps[taking, PLACE].max(initial=0) >= WIDEST:
        raise ProgramError(f"{function.name}: the words of a row have more than {WIDEST} bits")
    return Code(steps, code.pool, code.rows)


def _side_by_side(function: Function, words: Integers, size: int, fold: Fold) -> Operands:
    """The words of all groups as planes of their rows, those of a row one above the other."""
    many, width = len(words), _width(function)
    ports = np.stack(function.arrange(words))[:, : many * size].reshape(-1, many, size)
    planes = planes_of(ports.transpose(2, 0, 1).reshape(-1, many), width)
    last = np.zeros(many, bool)
    last[fold.size - 1 :: fold.size] = last[-1:] = True
    lanes = np.arange(planes.shape[2], dtype=np.int64)
    return Operands(
        planes.reshape(size, -1, len(lanes)),
        np.zeros((size, 1), np.uint64),
        0,
        np.stack([lanes, np.zeros_like(lanes)], axis=1),
        _lanes(np.ones(many, bool)),
        _lanes(last),
    )


def _lanes(flags: NDArray[np.bool_]) -> Words:
    """Flags as lane words."""
    padded = np.zeros(-(-len(flags) // LANE) * LANE, bool)
    padded[: len(flags)] = flags
    return np.packbits(padded, bitorder="little").view(np.uint64)


def _batch(
    sums: Integers, ran: Code, done: Execution, fold: Fold, make: Callable[[int], Function]
) -> Batch:
    """What was carried out must be what the loads' programs list, step by step."""
    loads = [(make(groups), many) for groups, many in fold.sizes()]
    listed = sum((_listed(ran, load) * times for load, times in loads), np.zeros((2, 1), np.int64))
    for what, found, wanted in zip(
        ("times", "compared"), (done.times, done.compared), listed, strict=True
    ):
        if not np.array_equal(found, wanted):
            step = int(np.flatnonzero(found != wanted)[0])
            raise CountError(f"step {step}, {what}: {found[step]}, the loads list {wanted[step]}")
    counts = sum((load.program.counts() * times for load, times in loads), Counts())
    if (carried := done.counts) != counts:
        raise CountError(f"{carried} were carried out, the loads list {counts}")
    return Batch(sums, carried, done.activity, fold.loads)


@lru_cache(64)
def _listed(ran: Code, load: Function) -> NDArray[np.int64]:
    """How often each step of a load is listed, and on how many lines it compares: int64[2, n].

    The load's steps must be those that ran, for more or for fewer groups.
    """
    code, said = load.program.code, [k for k in range(SPAN) if k not in (GROUPS, TABLE)]
    same = np.array_equal(ran.pool, code.pool)
    if not (same and np.array_equal(ran.steps[:, said], code.steps[:, said])):
        raise ProgramError("loads of more and of fewer groups must run the same steps")
    return predicted(code, load.rows, load.columns)


def _operands(
    function: Function, x: Integers, weights: Integers, order: Order, fold: Fold
) -> Operands:
    """One operand as planes, the other as words; until then in no wider type than they need."""
    fields, port = (function.layout["A"], function.layout["B"]), int(order.over_weights)
    packed, other = (weights, x) if port else (x, weights)
    outputs = (len(weights), len(x))
    last = np.zeros(outputs, bool)
    last.reshape(-1)[fold.size - 1 :: fold.size] = True
    last.reshape(-1)[-1:] = True
    return Operands(
        planes_of(fields[port].encode_narrow(packed).T, fields[port].width),
        np.ascontiguousarray(fields[1 - port].encode_narrow(other).T).astype(np.uint64),
        port,
        order.pairs(),
        order.spread(np.ones(outputs, bool)),
        order.spread(last),
    )


def _sums(function: Function, words: Words) -> Integers:
    """The integers that were put out, where the words stood if those stood in order."""
    output = function.output
    plain = type(output) is Field and not output.signed
    if plain and output.width == WIDEST:
        return signed_words(words, function.unbias)
    values = words.view(np.int64) if plain else output.decode(words)
    if values.flags.c_contiguous:
        return np.subtract(values, function.unbias, out=values)
    sums = np.empty(values.shape, np.int64)
    for first in range(0, values.shape[1], LANE):  # few columns at a time stay near a core
        some = slice(first, first + LANE)
        np.subtract(values[:, some], function.unbias, out=sums[:, some])
    return sums


@lru_cache(64)
def _program(code: Code, groups: int, size: int, columns: int) -> LaneProgram:
    return LaneProgram(code, groups, size, columns)
