"""Programs as integer arrays: what an array executes.

The rule: one row of `steps` for each step of the listing, columns named below; an
array interprets any slice of rows that does not cut a loop.  Nothing is optimised
away between a program and its code: steps that are repeated are rows again.  Where a LUT
step begins is marked, so that nobody has to find it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import cast

import numpy as np
from numpy.typing import NDArray

from apsim.errors import ProgramError
from apsim.repeats import Repeat, repeats_of
from apsim.step import Loop, Mode, Op, Step

__all__ = ["Code", "encode"]

Numbers = NDArray[np.int64]

# Columns of a row of `Code.steps`.
OP = 0  # apsim.program.Op
MODE = 1  # apsim.program.Mode
KEY = 2  # first row of the key in `pool`
KEYS = 3  # how many rows of `pool` the key has
WRITE = 4  # first row of the written bits in `pool`
WRITES = 5  # how many
GATE = 6  # apsim.program.Gate
PORT = 7  # word that bits are taken from or put into, -1 for none
PLACE = 8  # bit of that word (horizontal)
SOURCE = 9  # first column tag moved (vertical READ to a port, WRITE_TAG)
TARGET = 10  # first column filled (vertical WRITE_TAG, WRITE_DATA)
WIDTH = 11  # how many columns
BODY = 12  # on the first step of a loop: steps of its body, else 0
GROUPS = 13  # groups of rows of that loop
PARALLEL = 14  # 1 if the groups act at once
TABLE = 15  # first element in `rows` of the table [groups, slots] of that loop
SLOTS = 16  # slots of that table
PASSES = 17  # on the first pass of a LUT step: how many passes it has, else 0
SPAN = 18


@dataclass(frozen=True, eq=False)  # a program is itself: hashable, for plans kept by array
class Code:
    """An encoded program.

    `steps` is int64[n, SPAN]; `pool` int64[k, 2] holds (line, bit) pairs; `rows`
    int64[m] holds the row tables of the loops.  Vertical lines are slots: line s of
    group g of a loop is row `rows[TABLE + g * SLOTS + s]`.  Every vertical step lies
    in a loop (of one group where it is alone); no horizontal step does.  A `part` of a
    program knows its whole, so that what an array works out about that serves both.
    """

    steps: Numbers
    pool: Numbers
    rows: Numbers
    whole: Code | None = field(default=None, repr=False)
    start: int = 0

    def __len__(self) -> int:
        return len(self.steps)

    def part(self, start: int, stop: int) -> Code:
        """Some consecutive steps of a program without loops."""
        return Code(self.steps[start:stop], self.pool, self.rows, self, start)


def encode(items: Sequence[Step | Loop]) -> Code:
    """Encode a program; raises `ProgramError` where a step stands in the wrong place."""
    parts: list[_Part] = []
    tables: list[Numbers] = []
    used = 0
    for looped, run in groupby(items, lambda item: isinstance(item, Loop)):
        if not looped:
            parts.append(_encoded(cast(Iterator[Step], run), Mode.HORIZONTAL))
            continue
        for loop in cast(Iterator[Loop], run):
            body = [_repeated(repeat) for repeat in repeats_of(loop.body)]
            body[0].steps[0, BODY : SLOTS + 1] = [
                len(loop.body), len(loop.rows), int(loop.parallel), used, loop.rows.shape[1],
            ]  # fmt: skip
            parts += body
            tables.append(np.ascontiguousarray(loop.rows, np.int64).ravel())
            used += loop.rows.size
    steps, pool = _joined(parts)
    return Code(steps, pool, np.concatenate(tables or [np.zeros(0, np.int64)]))


@dataclass(frozen=True)
class _Part:
    """Some steps, encoded with a pool of their own."""

    steps: Numbers
    pool: Numbers


def _joined(parts: list[_Part]) -> tuple[Numbers, Numbers]:
    """The parts one after another, with one pool."""
    if len(parts) == 1:
        return parts[0].steps, parts[0].pool
    used = 0
    for part in parts:
        part.steps[:, [KEY, WRITE]] += used
        used += len(part.pool)
    return (
        np.concatenate([np.zeros((0, SPAN), np.int64), *(part.steps for part in parts)]),
        np.concatenate([np.zeros((0, 2), np.int64), *(part.pool for part in parts)]),
    )


def _repeated(repeat: Repeat) -> _Part:
    """A repeat, encoded as the steps that it is: the same rows again and again."""
    once = _encoded(repeat.steps, Mode.VERTICAL)
    if repeat.times == 1:
        return once
    turn = np.arange(repeat.times, dtype=np.int64)
    steps, pool = (np.tile(numbers, (repeat.times, 1)) for numbers in (once.steps, once.pool))
    steps[:, [KEY, WRITE]] += (turn * len(once.pool)).repeat(len(once.steps))[:, None]
    pool[:, 0] += np.where(pool[:, 0] == repeat.moving, turn.repeat(len(once.pool)), 0)
    return _Part(steps, pool)


def _encoded(steps: Iterable[Step], mode: Mode) -> _Part:
    pool: list[tuple[int, int]] = []
    rows: list[list[int]] = []
    first, before = 0, NO_PASS  # of the LUT step that the last step belongs to, and its pass
    for step in steps:
        rows.append(_row(step, mode, pool))
        number = step.lut_pass if step.op is Op.PASS else NO_PASS
        if number <= before or before == NO_PASS:
            first = len(rows) - 1
        rows[first][PASSES] += number > NO_PASS
        before = number
    bits = np.array(pool, np.int64).reshape(-1, 2)
    if bits.size and not 0 <= bits[:, 1].min() <= bits[:, 1].max() <= 1:
        wrong = next(bit for _, bit in pool if bit not in (0, 1))
        raise ProgramError(f"wanted bits 0 or 1 in the key and the write of a step, got {wrong}")
    return _Part(np.array(rows, np.int64).reshape(-1, SPAN), bits)


NO_PASS = -1


def _row(step: Step, mode: Mode, pool: list[tuple[int, int]]) -> list[int]:
    if step.mode is not mode:
        where = "inside" if mode is Mode.VERTICAL else "outside"
        raise ProgramError(
            f"a {step.mode.name.lower()} step stands {where} a loop over rows: {step}"
        )
    key = len(pool)
    pool += step.key
    write = len(pool)
    pool += step.write
    return [
        step.op, step.mode, key, len(step.key), write, len(step.write), step.gate,
        step.port, step.place, step.source, step.target, step.width, 0, 0, 0, 0, 0, 0,
    ]  # fmt: skip
