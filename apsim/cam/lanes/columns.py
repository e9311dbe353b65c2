"""Vertical steps on a few slots as Python that numba compiles: one visit of each column.

The rule: every step is carried out and counted as it stands, in order, on one column before
the next one up; so what a step wants of another column must come from below it: the carries
of the tag chain, and the cells of a row that is read and written back one column further up.
Tags and carries stay in registers, and cells travel once to memory and back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from apsim.cam.lut_step import NAMES, Generated
from apsim.cam.step import COUNTED, KNOWN
from apsim.step import Gate

__all__ = ["ColumnSteps", "Pass"]


@dataclass(frozen=True)
class Pass:
    """A compare of (slot, bit) pairs and the (slot, bit, how it flips) written where it matched.

    Or, where it `moves`, a row read, and its tags written back to it one column further up.
    """

    gate: Gate
    key: tuple[tuple[int, int], ...]
    write: tuple[tuple[int, int, int], ...] = ()
    moves: bool = False

    @property
    def steps(self) -> int:
        """How many steps of a program it is."""
        return 1 + self.moves

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots that it names."""
        return tuple(slot for slot, *_ in (*self.key, *self.write))

    @property
    def written(self) -> set[int]:
        """Those that it writes."""
        return {slot for slot, *_ in (self.key if self.moves else self.write)}

    @property
    def is_counted(self) -> bool:
        """Whether flips are counted cell by cell."""
        return self.moves or any(flips == COUNTED for *_, flips in self.write)

    def on(self, place: Callable[[int], int]) -> Pass:
        """The same on other slots."""
        key = tuple((place(slot), bit) for slot, bit in self.key)
        write = tuple((place(slot), bit, flips) for slot, bit, flips in self.write)
        return Pass(self.gate, key, write, self.moves)


@dataclass(frozen=True)
class ColumnSteps(Generated):
    """Passes and moves of one visit; slots are numbered as they come.

    The operation: COUNT columns move; TABLE has the slots, INDEX is the first step.
    """

    passes: tuple[Pass, ...]

    @cached_property
    def lines(self) -> int:
        """How many slots they use."""
        return 1 + max(slot for one in self.passes for slot in one.slots)

    @property
    def text(self) -> str:
        """The Python that numba compiles."""
        return HEAD + "\n".join("    " + line for line in _Source(self).lines()) + "\n"


HEAD = """\
from apsim.cam.frame import *
from apsim.cam.lanes.kernel import COLUMN, COLUMNS, LANES, LANES_ALIVE, LANES_FULL, LANES_LIVE
from apsim.cam.vector import load, nothing, ones, pointer, store, total


def operation(frame, row):
    base, slot, column = frame[BASE], frame[LINE], frame[COLUMN]
    table, index, width = pointer(row[TABLE]), row[INDEX], row[COUNT]
"""


@dataclass(frozen=True)
class _Source:
    of: ColumnSteps

    def lines(self) -> Iterator[str]:
        for slot, name in enumerate(self.names):
            yield f"at_{name} = base + table[{slot}] * slot"
        for counter in self.counters:
            yield f"{counter} = nothing()"
        yield "for v in range(frame[LANES_FULL]):"
        yield from self.vector(living=False)
        yield "for v in range(frame[LANES_FULL], frame[LANES]):"
        yield "    alive = load(frame[LANES_LIVE], v)"
        yield from self.vector(living=True)
        yield from self.counts()

    @property
    def names(self) -> str:
        """A name for each slot."""
        return NAMES[: self.of.lines]

    @property
    def counters(self) -> list[str]:
        """Matches of each step, and flips where they are counted cell by cell."""
        return [
            f"{what}{k}"
            for k, one in enumerate(self.of.passes)
            for what in ("n", "f")[: 1 + one.is_counted]
        ]

    def vector(self, *, living: bool) -> Iterator[str]:
        """All columns of one vector."""
        moves = [k for k, one in enumerate(self.of.passes) if one.moves]
        gates = [k for k, one in enumerate(self.of.passes) if one.gate]
        for carried in [f"below{k}" for k in moves] + [f"carry{k}" for k in gates]:
            yield f"    {carried} = nothing()"
        if moves:
            yield from self.column("width", living, moving=True)
            yield from self.column("width, frame[COLUMNS]", living, moving=False)
        else:
            yield from self.column("frame[COLUMNS]", living, moving=False)

    def column(self, which: str, living: bool, *, moving: bool) -> Iterator[str]:
        yield f"    for k in range({which}):"
        yield "        at = k * column"
        for name in self.names:
            yield f"        {name} = load(at_{name} + at, v)"
        for k, one in enumerate(self.of.passes):
            part = self.move(k, one, moving) if one.moves else self.match(k, one, living)
            yield from ("        " + line for line in part)
        for slot in sorted(set[int]().union(*(one.written for one in self.of.passes))):
            yield f"        store(at_{self.names[slot]} + at, v, {self.names[slot]})"

    def move(self, k: int, one: Pass, moving: bool) -> Iterator[str]:
        name = self.names[one.key[0][0]]
        yield f"n{k} += ones({name})"
        if moving:
            yield f"f{k} += ones({name} ^ below{k})"
            yield f"{name}, below{k} = below{k}, {name}"

    def match(self, k: int, one: Pass, living: bool) -> Iterator[str]:
        key = [("" if bit else "~") + self.names[slot] for slot, bit in one.key]
        yield "tag = " + " & ".join(["alive"] * living + key)
        if one.gate == Gate.LOAD_G:
            yield "generate = tag"
        elif one.gate:
            if one.gate == Gate.LOAD_K:
                yield "kill = tag"
            yield f"tag, carry{k} = tag & carry{k}, generate | (carry{k} & ~kill)"
        yield f"n{k} += ones(tag)"
        for slot, bit, flips in one.write:
            name = self.names[slot]
            if flips == COUNTED:
                yield f"f{k} += ones({name if not bit else '~' + name} & tag)"
            yield f"{name} = {name} | tag" if bit else f"{name} = {name} & ~tag"

    def counts(self) -> Iterator[str]:
        """What each step did."""
        step = 0
        for k, one in enumerate(self.of.passes):
            yield f"matched = total(n{k})"
            yield f"pointer(frame[TIMES])[index + {step}] += frame[WEIGHT]"
            yield f"pointer(frame[COMPARED])[index + {step}] += frame[ALIVE]"
            yield f"pointer(frame[MATCHED])[index + {step}] += matched"
            if one.moves:
                cells, flipped, at = "width * frame[LANES_ALIVE]", f"total(f{k})", step + 1
                yield f"pointer(frame[TIMES])[index + {at}] += frame[WEIGHT]"
            else:
                sure = sum(flips == KNOWN for *_, flips in one.write)
                cells, at = f"matched * {len(one.write)}", step
                flipped = f"matched * {sure}" + f" + total(f{k})" * one.is_counted
            yield f"pointer(frame[WRITTEN])[index + {at}] += {cells}"
            yield f"pointer(frame[FLIPPED])[index + {at}] += {flipped}"
            step += one.steps
