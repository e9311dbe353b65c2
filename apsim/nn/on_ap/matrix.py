"""Dot products of a layer, every output a lane: the loads of a chip, many at a time.

The rule: the program is that of a load, the outputs are folded over loads as they are
literally, and counts are those of the loads' programs; which outputs stand side by side
in the emulator changes nothing that is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam import FusedCam, PackedCam
from apsim.cam._coding import UNCODED
from apsim.cam.base import Execution
from apsim.cam.lanes import LaneProgram, Operands
from apsim.cam.transfer import planes_of, prepare
from apsim.counts import Activity, Counts
from apsim.encoding import GROUPS, TABLE, Code
from apsim.errors import ProgramError
from apsim.functions import Function
from apsim.layout import WIDEST
from apsim.nn.on_ap.mapping import Fold
from apsim.nn.on_ap.seconds import Clock

__all__ = ["Batch", "dot_products"]

Integers = NDArray[np.integer[Any]]
Words = NDArray[np.uint64]
LANE = 64
SCATTERED = 0.2  # time that a lane word takes more where its operands stand alone, measured

WORTH_CODE = 1 << 16  # products of a layer from which on its passes are worth code of their own
LEAST = {engine: kind.least for engine, kind in (("strict", PackedCam), ("fused", FusedCam))}


@dataclass(frozen=True)
class Batch:
    """What the loads of a layer gave and took: sums [i, u], counts, activity, loads."""

    sums: Integers
    counts: Counts
    activity: Activity
    loads: int


@dataclass(frozen=True)
class _Order:
    """Lanes over the columns of x ("u") or over the rows of the weights ("i").

    Lane word w holds 64 values of one index (`inner`), all with one value of the other.
    """

    outer: int
    inner: int
    over_weights: bool

    @classmethod
    def best(cls, i: int, u: int) -> _Order:
        """The order that leaves few lanes of a word idle, and has many words for each value."""
        one, other = cls(i, u, False), cls(u, i, True)
        return other if other.effort < one.effort else one

    @property
    def effort(self) -> float:
        """Lane words for each 64 outputs, more where words come from many places."""
        return self.words * LANE / self.inner * (1 + SCATTERED / self.words)

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
    order = _Order.best(i, u)
    function = make(fold.size if fold.full else fold.rest)
    least = LEAST[engine] if len(x) * i * length >= WORTH_CODE else UNCODED
    program = _program(function, fold.size if fold.full else fold.rest, length, least)
    _ = program.tiles  # made now, so that its time is not the passes'
    prepare()
    clock.turn("load")
    operands = _operands(function, x, weights, order, fold)
    clock.turn("passes")
    done = program.run(operands, threads=threads, progress=lambda lanes: progress(lanes * length))
    clock.turn("unload")
    sums = _sums(function, order.gather(done.out))
    clock.turn("program")
    counts, compared = Counts(), np.zeros(len(program.code), np.int64)
    for groups, times in fold.sizes():
        load = make(groups)
        _refuse_other_steps(program.code, load.program.code)
        counts += load.program.counts() * times
        compared += _program(load, groups, length, least).compared_by_step(load.rows) * times
    activity = Execution.of(program.code, np.vstack([compared, done.numbers])).activity
    return Batch(sums, counts, activity, fold.loads)


def _refuse_other_steps(ran: Code, load: Code) -> None:
    """Loads are counted by their own programs: these must be the steps that ran."""
    how_many = [GROUPS, TABLE]  # what differs between loads of more and of fewer groups
    did, would = (np.delete(code.steps, how_many, axis=1) for code in (ran, load))
    if not (np.array_equal(did, would) and np.array_equal(ran.pool, load.pool)):
        raise ProgramError("loads of more and of fewer groups must run the same steps")


def _operands(
    function: Function, x: Integers, weights: Integers, order: _Order, fold: Fold
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
    plain = not output.signed and output.width < WIDEST
    values = words.view(np.int64) if plain else output.decode(words)
    there = values if values.flags.c_contiguous else None
    sums: Integers = np.subtract(values, function.unbias, out=there, order="C")
    return sums


@lru_cache(64)
def _program(function: Function, groups: int, size: int, least: int) -> LaneProgram:
    return LaneProgram(function.program.code, groups, size, function.columns, least)
