"""Steps, and loops of them over rows: what a program is made of.

The rule: a step is one thing the hardware does, costed in `Step.counts`.  A step acts
horizontally (keys on columns, a tag per row) or vertically (keys on rows, a tag per
column).  Rows of vertical steps are *slots*; the loop around the step says which row each
slot is, for every group of rows that it visits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from apsim.counts import Counts, Phase
from apsim.errors import ProgramError

if TYPE_CHECKING:
    from apsim.lut.model import Lut

__all__ = ["COUNTS", "Bits", "Body", "Gate", "Loop", "Mode", "Op", "Step", "slots_of"]

Bits = tuple[tuple[int, int], ...]


class Mode(IntEnum):
    """Direction of a step (paper, II.B)."""

    HORIZONTAL = 0
    VERTICAL = 1


class Op(IntEnum):
    """What a step does; `PASS` is a compare and a tagged write."""

    PASS = 0
    COMPARE = 1
    WRITE = 2  # into tagged lines
    WRITE_ALL = 3  # into all lines, tags ignored
    READ = 4  # tag := the line
    WRITE_TAG = 5  # the line := tag, both polarities
    WRITE_DATA = 6  # the line := data from outside


class Gate(IntEnum):
    """What the tag chain (declared hardware option) does in a vertical compare."""

    NONE = 0
    LOAD_G = 1  # tag := match; latch G := match
    LOAD_K = 2  # latch K := match; tag := match & carry-in
    CARRY = 3  # tag := match & carry-in
    PREFIX = 4  # tag := OR of the matches at this and all higher columns


COUNTS = {
    Op.PASS: Counts(compare=1, write=1),
    Op.COMPARE: Counts(compare=1),
    Op.WRITE: Counts(write=1),
    Op.WRITE_ALL: Counts(write=1),
    Op.READ: Counts(read=1),
    Op.WRITE_TAG: Counts(write=1),
    Op.WRITE_DATA: Counts(write=1),
}
"""What a step costs: a pass is one compare and one write, the others one of a kind."""


@dataclass(frozen=True)
class Step:
    """One step; `key` and `write` are (line, bit) pairs, lines being columns or row slots.

    `READ`, `WRITE_TAG` and `WRITE_DATA` act on the one line `key[0]`; its bit is the
    key of a read (tag := cell == bit) and 1 otherwise.  Horizontally, `READ` puts bit
    `place` of word `port` out where `port` >= 0, `WRITE_DATA` takes it from there.
    Vertically they move `width` columns: `READ` puts out columns `source...`,
    `WRITE_DATA` fills columns `target...` and `WRITE_TAG` writes column tags
    `source...` to columns `target...` (zeros where the source lies outside the array); a
    vertical one whose key has several slots drives all of them at once, which is a declared
    hardware option (`apsim.ops.rows.broadcast`).
    `table` is the LUT that a pass belongs to, where it belongs to one, and `lut_pass` its
    number there (from 0; -1 for none): a LUT step begins at 0, or where a number is not
    above that of the pass before.
    """

    op: Op
    mode: Mode
    key: Bits = ()
    write: Bits = ()
    gate: Gate = Gate.NONE
    port: int = -1
    place: int = 0
    source: int = 0
    target: int = 0
    width: int = 0
    phase: Phase = Phase.COMPUTE
    label: str = ""
    bit: int | None = None
    text: str = ""
    table: Lut | None = field(default=None, repr=False, compare=False)
    lut_pass: int = -1

    @property
    def counts(self) -> Counts:
        """What the step costs: a pass is one compare and one write, the others one of a kind."""
        return COUNTS[self.op]

    def __str__(self) -> str:
        where = "" if self.bit is None else f"bit {self.bit}  "
        return f"{where}{self.label}  {self.text}".strip()


class Body(Sequence[Step]):
    """Steps of a loop that are not spelled out one by one (see `apsim.repeats`)."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many slots a loop must have for these steps."""

    @abstractmethod
    def times(self) -> Iterator[tuple[Step, int]]:
        """Steps, and how often each runs; not in their order."""


def slots_of(steps: Iterable[Step]) -> int:
    """How many slots a loop must have for some steps."""
    lines = (line for step in steps for line, _ in (*step.key, *step.write))
    return 1 + max(lines, default=-1)


@dataclass(frozen=True)
class Loop:
    """Steps carried out for each group of rows: `rows[g, s]` is the row of slot s in group g.

    `body` is a tuple of steps, or `apsim.repeats.Repeats` where some come again and again.
    One group after the other (unsegmented), or all groups at once (`parallel`: each is
    a segment, a 2D AP of its own), when the steps cost as much as for one group.
    """

    body: Sequence[Step]
    rows: NDArray[np.int64] = field(repr=False)
    parallel: bool = False
    slots: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rows.ndim != 2 or not self.body or not self.rows.size or self.rows.min() < 0:
            raise ProgramError(
                "a loop wants steps and a table of rows [groups, slots] of numbers >= 0, "
                f"got {len(self.body)} steps and a table of shape {self.rows.shape}"
            )
        slots = self.body.slots if isinstance(self.body, Body) else slots_of(self.body)
        if slots > self.rows.shape[1]:
            raise ProgramError(
                f"a step uses slot {slots - 1}; the loop has {self.rows.shape[1]} slots"
            )
        if self.parallel and len(np.unique(self.rows)) < self.rows.size:
            raise ProgramError("segments that act at once must not share a row")

    @property
    def times(self) -> int:
        """How often the hardware carries out the body."""
        return 1 if self.parallel else len(self.rows)

    def weighted(self) -> Iterator[tuple[Step, int]]:
        """Steps with how often the hardware carries out each; not in their order."""
        once = self.body.times() if isinstance(self.body, Body) else ((s, 1) for s in self.body)
        return ((step, times * self.times) for step, times in once)
