"""A schedule as rows of operations that machine code walks: the blocks of a tile of lanes.

The rule: the order of steps on any block is the schedule's, and what is grouped are
neighbours in it.  Blocks that go through the same steps share the rows that are made for
these, but for the slot, the block and the number of the first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from apsim.cam import _frame as frame
from apsim.cam._across import Across
from apsim.cam._coding import coded
from apsim.cam._down import Down
from apsim.cam._operations import operations
from apsim.cam._parts import Part, expanded
from apsim.cam._plan import KNOWN
from apsim.cam._reader import Reader
from apsim.cam.regular import NEEDED
from apsim.cam.schedule import ACROSS, DOWN, FRESH, Schedule
from apsim.encoding import (
    BODY,
    GATE,
    MODE,
    OP,
    WRITES,
    Code,
)
from apsim.errors import ProgramError
from apsim.program import Gate, Mode, Op

__all__ = ["Walk", "walk_of"]

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Walk:
    """Rows of operations, what they hold the addresses of, and what follows from matches."""

    rows: Numbers
    across: Across
    down: Down
    tags: int  # the slot of column tags; those of the latches G and K come after it
    written: Numbers  # vertical passes: lines written for each match
    flipped: Numbers  # and lines that flip

    @property
    def slots(self) -> int:
        """All slots of a tile."""
        return self.tags + 3

    def horizontal(self, spans: list[tuple[int, int]]) -> Numbers:
        """Rows that bring a block of zeros in slot 0 through some steps, putting nothing out."""
        parts = [self.across.rows(*span, putting=False) for span in spans]
        return np.concatenate(parts) if parts else np.zeros((0, frame.ROW_SIZE), np.int64)

    def complete(self, totals: Numbers) -> None:
        """Add what follows from the rows that matched passes."""
        self.across.complete(totals)
        totals[2] += totals[1] * self.written
        totals[3] += totals[1] * self.flipped


def walk_of(code: Code, schedule: Schedule, columns: int, least: int) -> Walk:
    """The operations of a schedule; passes have code as `least` says (see `_coding`)."""
    down = Down(schedule.slots, least)
    return _Walker(code, schedule, coded(code, least, columns), down).run()


@dataclass
class _Walker:
    code: Code
    schedule: Schedule
    across: Across
    down: Down

    def run(self) -> Walk:
        ops = self.schedule.ops
        self.reader = Reader.of(self.code, self.schedule)
        self.ops, self.spent = ops.tolist(), _spent(self.code, ops)
        self.held = _held(ops)
        written, flipped = self._by_match(ops)
        rows = self._rows(ops)
        return Walk(rows, self.across, self.down, self.schedule.slots, written, flipped)

    def _rows(self, ops: Numbers) -> Numbers:
        """The schedule block by block; blocks that go through like steps share a part."""
        borders = np.flatnonzero(ops[:, 0] == FRESH)
        borders = np.unique(np.concatenate([[0], borders, [len(ops)]]))
        likeness, bases = self._likeness(ops, borders)
        parts: list[Part] = []
        known: dict[bytes, int] = {}
        which = []
        for start, stop in pairwise(borders.tolist()):
            name = likeness[start:stop].tobytes()
            if name not in known:
                known[name] = len(parts)
                parts.append(self._part(start, stop, int(bases[start])))
            which.append(known[name])
        first = borders[:-1]
        return expanded(parts, np.array(which, np.int64), ops[first, 1], bases[first])

    def _likeness(self, ops: Numbers, borders: Numbers) -> tuple[Numbers, Numbers]:
        """What operations must have in common to share rows; the first vertical step of a part.

        Parts with steps that the tag chain gates are told apart by what comes after them.
        """
        part = np.searchsorted(borders, np.arange(len(ops)), side="right") - 1
        down, across = ops[:, 0] == DOWN, ops[:, 0] == ACROSS
        bases = np.zeros(len(borders), np.int64)
        at = np.flatnonzero(down)[::-1]
        bases[part[at]] = ops[at, 1]
        base, entered = bases[part], ops[borders[part], 1]
        chained = np.zeros(len(borders), bool)
        kinds, gated = np.zeros(len(ops), np.int64), np.zeros(len(ops), bool)
        kinds[down] = np.array(self.reader.kinds, np.int64)[ops[down, 1]]
        gated[down] = self.code.steps[ops[down, 1], GATE] != Gate.NONE
        chained[part[gated]] = True
        likeness = np.stack(
            [
                ops[:, 0], ops[:, 3], kinds + ops[:, 1] * across,
                np.where(down | across, ops[:, 2], 0),
                np.where(down, ops[:, 1] - base * ~chained[part], 0),
                np.where(down, self.spent, 0), self.held == 0,
                np.where(across & (self.held != entered), self.held + 1, 0),
            ],
            axis=1,
        )  # fmt: skip
        return np.ascontiguousarray(likeness, np.int64), base

    def _part(self, start: int, stop: int, base: int) -> Part:
        """Some operations as rows; blocks and steps as numbers to be added to the first."""
        parts = list(self._pieces(start, stop))
        entered = self.ops[start][1]
        rows, first = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "first")
        )
        rows[first, frame.INDEX] -= base
        takes = np.isin(rows[:, frame.FN], (operations().take_lanes, operations().take_fresh))
        own = takes & (rows[:, frame.Z] == entered)
        rows[own, frame.Z] = 0
        return Part(rows, own, first)

    def _pieces(self, start: int, stop: int) -> Iterator[Part]:
        position, fresh = start, -1
        while position < stop:
            kind, a, _, slot = self.ops[position]
            if kind == FRESH:
                fresh = slot if self._goes_across(position + 1, slot) else -1
                if fresh < 0:
                    row = self.across.clear(set(range(self.across.columns)))
                    yield Part.of(np.array([row], np.int64), slot=slot, block=a)
            elif kind == ACROSS:
                yield self._horizontal(position, slot == fresh)
                fresh = -1
            else:
                run, between, position = self._vertical_run(position, stop)
                yield Part.of(self._vertical(run), first=a)
                yield from (self._horizontal(at, False) for at in between)
                continue
            position += 1

    def _goes_across(self, position: int, slot: int) -> bool:
        """Whether horizontal steps on a slot come next."""
        if position == len(self.ops):
            return False
        kind, *_, at = self.ops[position]
        return bool(kind == ACROSS and at == slot)

    def _horizontal(self, position: int, fresh: bool) -> Part:
        _, start, stop, slot = self.ops[position]
        block = int(self.held[position])
        rows = self.across.rows(start, stop, block == 0, fresh)
        return Part.of(rows, slot=slot, block=block)

    def _vertical_run(
        self, position: int, stop: int
    ) -> tuple[list[tuple[int, int, int]], list[int], int]:
        """Vertical steps that follow one another: (position, step, line) of each.

        Horizontal steps on a block that these do not touch may as well come after them.
        """
        run: list[tuple[int, int, int]] = []
        between: list[int] = []
        waiting: list[int] = []
        after = position
        for k in range(position, stop):
            kind, a, b, _ = self.ops[k]
            if kind == ACROSS and run and self.held[k]:
                waiting.append(k)
                continue
            if kind != DOWN or (run and a != run[-1][1] + 1):
                break
            touched = self.reader.step(a, b).slots
            if any(self.ops[at][3] in touched for at in (*between, *waiting)):
                break
            run.append((k, a, b))
            between += waiting
            waiting, after = [], k + 1
        return run, between, after

    def _vertical(self, run: list[tuple[int, int, int]]) -> Numbers:
        steps = [self.reader.step(index, line) for _, index, line in run]
        spent = [self.spent[k] for k, _, _ in run]
        latched = any(step.gate for step in steps) and self._latches_wanted(run[-1][1])
        return self.down.rows(steps, spent, latched)

    def _latches_wanted(self, last: int) -> bool:
        """Whether steps of the body after this one use latches that were loaded before."""
        for row in self.code.steps[last + 1 :]:
            if row[BODY] or row[MODE] == Mode.HORIZONTAL:
                break
            if row[GATE] in NEEDED:
                return True
        return False

    def _by_match(self, ops: Numbers) -> tuple[Numbers, Numbers]:
        """For each step: lines that a vertical pass writes, and surely flips, for each match."""
        down, steps = ops[ops[:, 0] == DOWN, 1:3], self.code.steps
        vertical = (steps[:, MODE] == Mode.VERTICAL) & (steps[:, OP] == Op.PASS)
        names = np.array(self.reader.kinds, np.int64)[down[:, 0]] * len(self.schedule.down)
        _, first, kinds = np.unique(names + down[:, 1], return_index=True, return_inverse=True)
        passes = [self.reader.step(*pair) for pair in down[first].tolist()]
        sure = np.array([step.modes.count(KNOWN) for step in passes], np.int64)
        flips, flipped = sure[kinds.ravel()], np.zeros(len(steps), np.int64)
        flipped[down[:, 0]] = flips
        if (flipped[down[:, 0]] != flips).any():
            raise ProgramError("a step has one row as key and to write, here and not there")
        return steps[:, WRITES] * vertical, flipped


def _spent(code: Code, ops: Numbers) -> NDArray[np.bool_]:
    """For each operation of a schedule, whether nobody wants the column tags that it leaves."""
    spent = np.ones(len(ops), bool)
    down = np.flatnonzero(ops[:, 0] == DOWN)
    named = code.steps[ops[down, 1], OP]
    tagging = down[~np.isin(named, (Op.WRITE_ALL, Op.WRITE_DATA))]
    uses = np.isin(code.steps[ops[tagging, 1], OP], (Op.WRITE, Op.WRITE_TAG))
    spent[tagging[:-1]] = ~uses[1:]
    return spent


def _held(ops: Numbers) -> Numbers:
    """The block in the slot of each operation that has one."""
    held = np.where(ops[:, 0] == FRESH, ops[:, 1], -1)
    for slot in np.unique(ops[:, 3]).tolist():
        here = np.flatnonzero((ops[:, 3] == slot) & (ops[:, 0] != DOWN))
        entries = here[ops[here, 0] == FRESH]
        if entries.size:
            last = np.searchsorted(entries, here, side="right") - 1
            held[here] = np.where(last >= 0, ops[entries[last], 1], -1)
    return held
