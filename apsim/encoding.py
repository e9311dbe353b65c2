"""Programs as integer arrays: what an array executes.

The rule: one row of `steps` for each step of the listing, columns named below; an
array interprets any slice of rows that does not cut a loop.  Nothing is optimised
away between a program and its code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from apsim.errors import ProgramError
from apsim.program import Item, Loop, Mode, Step

__all__ = ["Code", "encode"]

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
SPAN = 17


@dataclass(frozen=True, eq=False)  # a program is itself: hashable, for plans kept by array
class Code:
    """An encoded program.

    `steps` is int64[n, SPAN]; `pool` int64[k, 2] holds (line, bit) pairs; `rows`
    int64[m] holds the row tables of the loops.  Vertical lines are slots: line s of
    group g of a loop is row `rows[TABLE + g * SLOTS + s]`.  Every vertical step lies
    in a loop (of one group where it is alone); no horizontal step does.  A `part` of a
    program knows its whole, so that what an array works out about that serves both.
    """

    steps: NDArray[np.int64]
    pool: NDArray[np.int64]
    rows: NDArray[np.int64]
    whole: Code | None = field(default=None, repr=False)
    start: int = 0

    def __len__(self) -> int:
        return len(self.steps)

    def part(self, start: int, stop: int) -> Code:
        """Some consecutive steps of a program without loops."""
        return Code(self.steps[start:stop], self.pool, self.rows, self, start)


def encode(items: Sequence[Item]) -> Code:
    """Encode a program; raises `ProgramError` where a step stands in the wrong place."""
    steps: list[list[int]] = []
    pool: list[tuple[int, int]] = []
    tables: list[NDArray[np.int64]] = []
    used = 0
    for item in items:
        if isinstance(item, Loop):
            start = len(steps)
            body = _body(_Same(item.body))
            steps += [_moved(row, len(pool)) for row in body.steps]
            pool += body.pool
            steps[start][BODY : SLOTS + 1] = [
                len(item.body), len(item.rows), int(item.parallel), used, item.rows.shape[1],
            ]  # fmt: skip
            tables.append(np.ascontiguousarray(item.rows, np.int64).ravel())
            used += item.rows.size
        else:
            steps.append(_row(item, Mode.HORIZONTAL, pool))
    return Code(
        np.array(steps, np.int64).reshape(-1, SPAN),
        np.array(pool, np.int64).reshape(-1, 2),
        np.concatenate(tables) if tables else np.zeros(0, np.int64),
    )


@dataclass(frozen=True, eq=False)
class _Same:
    """A loop's body as itself, not as what it holds: cheap to look up."""

    body: tuple[Step, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.body is other.body

    def __hash__(self) -> int:
        return id(self.body)


@dataclass(frozen=True)
class _Body:
    steps: list[list[int]]
    pool: list[tuple[int, int]]


@lru_cache(4)
def _body(same: _Same) -> _Body:
    """A body encoded with a pool of its own; programs that share a body share the work."""
    pool: list[tuple[int, int]] = []
    return _Body([_row(step, Mode.VERTICAL, pool) for step in same.body], pool)


def _moved(row: list[int], by: int) -> list[int]:
    moved = row.copy()
    moved[KEY] += by
    moved[WRITE] += by
    return moved


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
    row = [0] * SPAN
    row[OP : SLOTS + 1] = [
        step.op, step.mode, key, len(step.key), write, len(step.write), step.gate,
        step.port, step.place, step.source, step.target, step.width, 0, 0, 0, 0, 0,
    ]  # fmt: skip
    return row
