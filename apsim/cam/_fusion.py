"""Machine code for LUT steps: the passes on the same few lines, in one loop over rows.

The rule: a fused step is made from its passes alone, and every tag is made and counted.
What is spared is the way of the cells to memory and back between two passes, and, where
`_boolean` finds fewer operations for the same tags and cells, some of these.  A pass whose
bits are given at run time is one pass, carried out as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from llvmlite import ir

from apsim.cam import _frame as frame
from apsim.cam._grouping import GIVEN, Pattern
from apsim.cam._objects import load
from apsim.cam._passes import carried_out, gated
from apsim.cam._plan import COUNTED
from apsim.cam._vector_ir import (
    NONE,
    NUMBERS,
    add_to,
    at,
    fold,
    function,
    integer,
    load_line,
    repeated,
    splat,
    store_counts,
    total,
)  # fmt: skip

__all__ = ["Fused", "address"]

Gates = tuple[int, ...]


@dataclass(frozen=True)
class Fused:
    """What code is made for: passes; whether lines are slots, all columns of them, instead of
    columns; whether the last tag is kept; the gates of the tag chain, one for each pass, if
    it runs; a slot that is read after the passes and written back one column further up, in
    the lowest X columns; whether tags are counted (not in a benchmark of what that costs).
    """

    pattern: Pattern
    down: bool = False
    keep: bool = False
    gates: Gates = ()
    shifted: int = -1
    counted: bool = True

    @property
    def lines(self) -> int:
        """How many lines the passes use."""
        return 1 + max((s for key, writes in self.pattern for s, *_ in (*key, *writes)), default=-1)

    @property
    def given(self) -> int:
        """How many bits are given at run time."""
        return sum(bit == GIVEN for key, writes in self.pattern for _, bit, *_ in (*key, *writes))

    @property
    def width(self) -> int:
        """Numbers of a row of the table: lines, then masks for given bits."""
        return self.lines + self.given

    @property
    def flips(self) -> list[int]:
        """The passes of the writes whose flips are counted cell by cell, one after another."""
        return [
            number
            for number, (_, writes) in enumerate(self.pattern)
            for *_, mode in writes
            if mode == COUNTED
        ]


@cache
def address(fused: Fused) -> int:
    """Where the machine code of a fused step begins, made or found on disk the first time.

    The operation: COUNT steps, whose passes are those of the program from INDEX on; TABLE
    has a row for each of them.  Rows matched and counted flips are added to the frame's.
    """
    return load(repr(fused), ["step"], lambda: assembly(fused), optimised=False)[0]


def assembly(fused: Fused) -> str:
    """The operation as LLVM assembly."""
    module = ir.Module("fused")
    _Code(fused, function(module, "step")).emit()
    return str(module)


class _Code:
    def __init__(self, fused: Fused, build: Any) -> None:
        self.fused, self.build = fused, build
        self.frame, self.row = build.function.args
        shifts = fused.shifted >= 0
        self.matches = len(fused.pattern) + shifts  # compares, among them the reading of a slot
        self.flips = fused.flips + [self.matches] * shifts

    def number(self, of: Any, place: int) -> Any:
        return self.build.load(self.build.gep(of, [integer(place)]))

    def emit(self) -> None:
        build, fused = self.build, self.fused
        numbers = frame.BASE, frame.SLOT, frame.LINE, frame.VECTORS, frame.FULL, frame.LIVE
        base, slot, self.line, self.vectors, self.full, self.live = (
            self.number(self.frame, place) for place in numbers
        )
        self.columns = self.number(self.frame, frame.COLUMNS)
        place = build.mul(self.number(self.row, frame.AT), slot)
        self.origin = base if fused.down else build.add(base, place)
        self.unit = slot if fused.down else self.line
        self.tags = build.add(self.origin, build.mul(self.columns, self.line))
        repeated(build, self.number(self.row, frame.COUNT), self.step)
        build.ret_void()

    def step(self, turn: Any) -> None:
        """One LUT step on all rows."""
        build, fused = self.build, self.fused
        table = build.inttoptr(self.number(self.row, frame.TABLE), NUMBERS)
        table = build.gep(table, [build.mul(turn, integer(fused.width))])
        lines = [self.number(table, k) for k in range(fused.lines)]
        self.lines = [build.add(self.origin, build.mul(line, self.unit)) for line in lines]
        self.masks = [splat(build, self.number(table, fused.lines + k)) for k in range(fused.given)]
        counts = [NONE] * ((self.matches + len(self.flips)) if fused.counted else 0)
        if fused.gates:
            counts = self.along_columns(counts)
        elif fused.shifted >= 0:
            counts = self.shifting(counts)
        elif fused.down:
            counts = self.all_columns(counts)
        else:
            counts = self.vectors_of(self.lines, self.full, self.vectors, counts)
        if fused.counted:
            self.report(turn, counts)

    def report(self, turn: Any, counts: list[Any]) -> None:
        build = self.build
        first = build.mul(turn, integer(self.matches))
        offset = build.shl(build.add(self.number(self.row, frame.INDEX), first), integer(3))
        matched, flipped = (
            build.add(self.number(self.frame, place), offset)
            for place in (frame.MATCHED, frame.FLIPPED)
        )
        store_counts(build, matched, counts[: self.matches])
        for number, flips in zip(self.flips, counts[self.matches :], strict=True):
            add_to(build, build.add(flipped, integer(8 * number)), total(build, flips))
        if self.fused.shifted >= 0:
            place = build.add(self.number(self.frame, frame.WRITTEN), offset)
            alive = self.number(self.frame, frame.ALIVE)
            written = build.mul(self.number(self.row, frame.X), alive)
            add_to(build, build.add(place, integer(8 * self.matches)), written)

    def all_columns(self, counts: list[Any]) -> list[Any]:
        """All columns of some slots: one long line where all rows live."""
        build = self.build
        whole = build.icmp_signed("==", self.full, self.vectors)
        columns = build.select(whole, integer(1), self.columns)
        long = build.select(whole, self.columns, integer(1))
        full, vectors = build.mul(self.full, long), build.mul(self.vectors, long)

        def column(number: Any, held: list[Any]) -> Sequence[Any]:
            offset = build.mul(number, self.line)
            lines = [build.add(line, offset) for line in self.lines]
            return self.vectors_of(lines, full, vectors, held)

        return fold(build, integer(0), columns, counts, column)

    def vectors_of(self, lines: list[Any], full: Any, vectors: Any, counts: list[Any]) -> list[Any]:
        """Vectors with living rows alone, then the others."""
        build = self.build
        counts = fold(
            build, integer(0), full, counts, lambda v, held: self.vector(lines, v, None, held)
        )
        return fold(
            build,
            full,
            vectors,
            counts,
            lambda v, held: self.vector(lines, v, load_line(build, self.live, v), held),
        )

    def vector(
        self, lines: list[Any], vector: Any, living: Any, counts: list[Any]
    ) -> Sequence[Any]:
        """Load every line once, carry out the passes, store what was written."""
        build = self.build
        cells = [load_line(build, line, vector) for line in lines]
        found = carried_out(build, self.fused.pattern, cells, living, self.masks)
        for line, bits in found.lines.items():
            self.store(lines[line], vector, bits)
        if self.fused.keep:
            self.store(self.tags, vector, found.tags[-1])
        return found.counted(build, counts)

    def store(self, line: Any, vector: Any, bits: Any) -> None:
        build = self.build
        place = build.add(line, build.shl(vector, integer(6)))
        build.store(bits, at(build, place), align=8)

    def shifting(self, counts: list[Any]) -> list[Any]:
        """Vector by vector, from the lowest column up, as what is read moves up."""
        build, width = self.build, self.number(self.row, frame.X)

        def vector(v: Any, held: list[Any], living: Any) -> list[Any]:
            for start, stop, moves in ((integer(0), width, True), (width, self.columns, False)):
                column = partial(self.shifted, v, living, moves)
                held = fold(build, start, stop, [NONE, *held], column)[1:]
            return held

        return self.by_vectors(counts, vector)

    def shifted(self, v: Any, living: Any, moves: bool, number: Any, held: list[Any]) -> list[Any]:
        """The passes on one column, and the cells that it gets from the column below."""
        build, fused = self.build, self.fused
        offset = build.mul(number, self.line)
        lines = [build.add(line, offset) for line in self.lines]
        cells = [load_line(build, line, v) for line in lines]
        found = carried_out(build, fused.pattern, cells, living, self.masks)
        read, below = cells[fused.shifted], held[0]
        if moves:
            found.lines[fused.shifted] = below
        for line, bits in found.lines.items():
            self.store(lines[line], v, bits)
        found.tags.append(read)
        found.flips.append(build.xor(read, below) if moves else NONE)
        return [read, *found.counted(build, held[1:])]

    def by_vectors(self, counts: list[Any], vector: Any) -> list[Any]:
        """Vectors with living rows alone, then the others with these as a mask."""
        build = self.build

        def masked(v: Any, held: list[Any]) -> Any:
            return vector(v, held, load_line(build, self.live, v))

        counts = fold(build, integer(0), self.full, counts, lambda v, held: vector(v, held, None))
        return fold(build, self.full, self.vectors, counts, masked)

    def along_columns(self, counts: list[Any]) -> list[Any]:
        """Vector by vector, from the lowest column up, as the tag chain runs."""
        build, gates = self.build, len(self.fused.gates)

        def vector(v: Any, held: list[Any], living: Any) -> list[Any]:
            column = partial(self.gated, v, living)
            start = [NONE] * gates + held
            return fold(build, integer(0), self.columns, start, column)[gates:]

        return self.by_vectors(counts, vector)

    def gated(self, v: Any, living: Any, number: Any, held: list[Any]) -> list[Any]:
        """The passes on one column, with the carries from the column below."""
        build, gates, pattern = self.build, len(self.fused.gates), self.fused.pattern
        offset = build.mul(number, self.line)
        lines, carries = [build.add(line, offset) for line in self.lines], held[:gates]
        cells = [load_line(build, line, v) for line in lines]
        found = gated(build, pattern, self.fused.gates, cells, living, carries)
        for line, bits in found.lines.items():
            self.store(lines[line], v, bits)
        return [*carries, *found.counted(build, held[gates:])]
