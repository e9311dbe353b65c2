"""Programs for an AP: steps, loops over rows, and the microprogram they make.

The rule: a step is one thing the hardware does, costed in `Step.counts`; what a
program costs is the sum over the steps that run, and nothing else.  A step acts
horizontally (keys on columns, a tag per row) or vertically (keys on rows, a tag
per column).  Rows of vertical steps are *slots*; the loop around the step says
which row each slot is, for every group of rows that it visits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from apsim.counts import Counts, Phase
from apsim.errors import ProgramError
from apsim.layout import Layout
from apsim.turns import turns_of

if TYPE_CHECKING:
    from apsim.encoding import Code
    from apsim.lut.model import Lut

__all__ = ["Gate", "Loop", "Microprogram", "Mode", "Op", "Operation", "Step"]

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


@dataclass(frozen=True)
class Step:
    """One step; `key` and `write` are (line, bit) pairs, lines being columns or row slots.

    `READ`, `WRITE_TAG` and `WRITE_DATA` act on the one line `key[0]`; its bit is the
    key of a read (tag := cell == bit) and 1 otherwise.  Horizontally, `READ` puts bit
    `place` of word `port` out where `port` >= 0, `WRITE_DATA` takes it from there.
    Vertically they move `width` columns: `READ` puts out columns `source...`,
    `WRITE_DATA` fills columns `target...` and `WRITE_TAG` writes column tags
    `source...` to columns `target...` (zeros where the source lies outside the array).
    `table` is the LUT that a pass belongs to, where it belongs to one.
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

    @property
    def counts(self) -> Counts:
        """What the step costs: a pass is one compare and one write, the others one of a kind."""
        return _COUNTS[self.op]

    def __str__(self) -> str:
        where = "" if self.bit is None else f"bit {self.bit}  "
        return f"{where}{self.label}  {self.text}".strip()


_COUNTS = {
    Op.PASS: Counts(compare=1, write=1),
    Op.COMPARE: Counts(compare=1),
    Op.WRITE: Counts(write=1),
    Op.WRITE_ALL: Counts(write=1),
    Op.READ: Counts(read=1),
    Op.WRITE_TAG: Counts(write=1),
    Op.WRITE_DATA: Counts(write=1),
}


@dataclass(frozen=True)
class Loop:
    """Steps carried out for each group of rows: `rows[g, s]` is the row of slot s in group g.

    `body` is a tuple of steps, or `apsim.turns.Unrolled` where some come again and again.
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
        slots = max(turns.slots for turns in turns_of(self.body))
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


Item = Step | Loop


@dataclass(frozen=True)
class Microprogram:
    """A listable, printable program; `counts()` is known before it runs."""

    items: tuple[Item, ...]
    name: str = ""

    def __add__(self, other: Microprogram) -> Microprogram:
        name = " + ".join(filter(None, (self.name, other.name)))
        return Microprogram(self.items + other.items, name)

    @cached_property
    def code(self) -> Code:
        """The program as integers, for an array to execute (see `apsim.encoding`)."""
        from apsim.encoding import encode

        return encode(self.items)

    def counts(self) -> Counts:
        """Compares, writes and reads of one run: the sum over the steps that run."""
        return sum(self._by_phase.values(), Counts())

    def counts_by_phase(self) -> dict[Phase, Counts]:
        """The same, for each phase that occurs."""
        return dict(self._by_phase)

    @cached_property
    def _by_phase(self) -> dict[Phase, Counts]:
        times_of = Counter[tuple[Phase, Op]]()
        for item in self.items:
            if isinstance(item, Loop):
                for turns in turns_of(item.body):
                    for step in turns.steps:
                        times_of[step.phase, step.op] += turns.times * item.times
            else:
                times_of[item.phase, item.op] += 1
        by_phase: dict[Phase, Counts] = {}
        for (phase, op), times in times_of.items():
            by_phase[phase] = by_phase.get(phase, Counts()) + _COUNTS[op] * times
        return by_phase

    def weighted(self) -> Iterator[tuple[Step, int]]:
        """Each step with how often the hardware carries it out."""
        for item in self.items:
            if isinstance(item, Loop):
                yield from ((step, item.times) for step in item.body)
            else:
                yield item, 1

    def __len__(self) -> int:
        """Steps that run, in the order of the hardware."""
        loops = [item for item in self.items if isinstance(item, Loop)]
        return len(self.items) + sum(len(loop.body) * loop.times - 1 for loop in loops)

    def single_steps(self) -> Iterator[tuple[Item, int]]:
        """Every step that runs, one at a time, with the group of its loop that it belongs to.

        Vertical steps come as loops over their own rows: one group, or all in parallel.
        """
        for item in self.items:
            if not isinstance(item, Loop):
                yield item, 0
                continue
            groups = [item.rows] if item.parallel else [row[None] for row in item.rows]
            for group, rows in enumerate(groups):
                for step in item.body:
                    yield replace(item, body=(step,), rows=rows), group

    def __str__(self) -> str:
        head = f"{self.name or 'program'}: {len(self)} steps, {self.counts()}"
        return "\n".join([head, *_listing(self.items)])

    def __repr__(self) -> str:
        return f"<Microprogram {self.name!r}: {len(self)} steps, {self.counts()}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def _listing(items: Sequence[Item]) -> Iterator[str]:
    number = 0
    for item in items:
        if isinstance(item, Loop):
            how = "in parallel" if item.parallel else "one after another"
            yield f"      for {len(item.rows)} groups of rows, {how}:"
        for step in item.body if isinstance(item, Loop) else (item,):
            indent = "  " if isinstance(item, Loop) else ""
            yield f"{number:5d} {indent}{step}"
            number += 1


@dataclass(frozen=True)
class Operation:
    """What to do, by field names; `.on(layout)` gives the program for given columns.

    `parts` are the operations that a sum was made of, in order.
    """

    name: str
    build: Callable[[Layout], Sequence[Item]] = field(repr=False)
    parts: tuple[Operation, ...] = field(default=(), repr=False)

    def on(self, layout: Layout) -> Microprogram:
        """The program on this layout; raises `LayoutError` or `ProgramError`."""
        return Microprogram(tuple(self.build(layout)), self.name)

    def __add__(self, other: Operation) -> Operation:
        return Operation(
            f"{self.name} + {other.name}",
            lambda layout: (*self.build(layout), *other.build(layout)),
            (*(self.parts or (self,)), *(other.parts or (other,))),
        )

    def __str__(self) -> str:
        return self.name
