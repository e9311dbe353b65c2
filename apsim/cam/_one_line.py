"""A loop that each group runs through once, with blocks that come for it and go after it.

The rule: what `schedule` defines block by block, worked out for all blocks together.  A block
comes right before the steps that first touch it, and goes right after the last step that
does; the steps are carried out in their order, every one of them once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from apsim.cam._slots import ACROSS, DOWN, FRESH, Slots
from apsim.cam._used import Used, used
from apsim.cam.regular import SETS_TAGS
from apsim.encoding import GATE, OP, Code

__all__ = ["Events", "OneLine", "borders"]

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]
MANY = 1 << 16  # names of lines, from which on only those that occur are kept apart
COMING, ACTING, GOING = range(3)  # what happens about a step, in this order


@dataclass(frozen=True)
class OneLine:
    """Steps `start` to `stop` on the blocks of a line, all different.

    Blocks that `come` are brought through the steps `before`, those that `go` through the
    steps `after`.
    """

    code: Code
    start: int
    stop: int
    blocks: Numbers
    come: Flags
    go: Flags
    before: Numbers  # int64[k, 2]: horizontal steps from, to
    after: Numbers

    @cached_property
    def used(self) -> Used:
        """What the steps compare and write."""
        return used(self.code, self.start, self.stop)

    def ops(self, slots: Slots, down: dict[tuple[int, ...], int]) -> Numbers:
        """Rows of the schedule; blocks take and give up `slots`, lines of slots go to `down`."""
        come, go = self.comings, self.goings
        place = self._places(slots)
        acting = np.zeros((self.stop - self.start, 4), np.int64)
        acting[:, 0], acting[:, 1] = DOWN, np.arange(self.start, self.stop)
        acting[:, 2] = self._down(place, down)
        fresh = np.stack([np.full_like(place, FRESH), self.blocks, 0 * place, place], axis=1)
        coming = np.concatenate([fresh[:, None], _across(self.before, place)], axis=1)
        going = _across(self.after, place)
        when = [
            np.repeat(come.when, coming.shape[1]),
            3 * np.arange(len(acting)) + ACTING,
            np.repeat(go.when, going.shape[1]),
        ]
        rows = np.concatenate([coming[come.at].reshape(-1, 4), acting, going[go.at].reshape(-1, 4)])
        ordered: Numbers = rows[np.argsort(np.concatenate(when), kind="stable")]
        return ordered

    @cached_property
    def comings(self) -> Events:
        """Blocks come before the steps that first touch them, in the order in which these do."""
        first = _first(self.used.line, len(self.blocks))
        at = np.flatnonzero(self.come & (first >= 0))
        at = at[np.argsort(first[at])]
        starts = borders(self.code, self.start, self.stop)
        span = np.searchsorted(starts, self.used.step[first[at]], side="right") - 1
        return Events(at, 3 * starts[span] + COMING)

    @cached_property
    def goings(self) -> Events:
        """Blocks go after the step that last touches them, in the order in which it does."""
        line, step = self.used.line, self.used.step
        last = np.full(len(self.blocks), -1, np.int64)
        np.maximum.at(last, line, step)
        final = np.flatnonzero(step == last[line])
        first = _first(line[final], len(self.blocks))
        at = np.flatnonzero(self.go & (first >= 0))
        at = at[np.argsort(first[at])]
        return Events(at, 3 * last[at] + GOING)

    def _places(self, slots: Slots) -> Numbers:
        """The slot of each block of the line, -1 where it is not touched."""
        come, go = self.comings, self.goings
        place = np.array([slots.of.get(block, -1) for block in self.blocks.tolist()], np.int64)
        order = np.argsort(np.concatenate([come.when, go.when]), kind="stable")
        at = np.concatenate([come.at, go.at])[order]
        comes = (order < len(come.at)).tolist()
        place[come.at] = slots.visited(self.blocks[at].tolist(), comes)
        return place

    def _down(self, place: Numbers, down: dict[tuple[int, ...], int]) -> Numbers:
        """For each step the number of the line of slots that its entries stand for."""
        lines = np.full((self.stop - self.start, int(self.used.place.max(initial=0)) + 1), -1)
        lines[self.used.step, self.used.place] = place[self.used.line]
        distinct, which = _distinct(lines)
        numbers = [
            down.setdefault(tuple(slot for slot in line if slot >= 0), len(down))
            for line in distinct.tolist()
        ]
        return np.array(numbers, np.int64)[which]


@dataclass(frozen=True)
class Events:
    """Places in the line, in the order of what happens to their blocks, and when it does."""

    at: Numbers
    when: Numbers


def borders(code: Code, start: int, stop: int) -> Numbers:
    """Where steps of a body begin that hand on tags or latches to no others."""
    steps = code.steps[start:stop]
    sets = np.isin(steps[:, OP], SETS_TAGS) & ~steps[:, GATE].any()
    sets[0] = True
    starts: Numbers = np.flatnonzero(sets)
    return starts


def _first(values: Numbers, many: int) -> Numbers:
    """Where each number below `many` stands first, -1 where nowhere."""
    found = np.full(many, len(values), np.int64)
    np.minimum.at(found, values, np.arange(len(values)))
    return np.where(found < len(values), found, -1)


def _across(spans: Numbers, place: Numbers) -> Numbers:
    """Horizontal steps on each of the slots: int64[slots, spans, 4]."""
    rows = np.full((len(place), len(spans), 4), ACROSS, np.int64)
    rows[:, :, 1:3], rows[:, :, 3] = spans, place[:, None]
    return rows


def _distinct(lines: Numbers) -> tuple[Numbers, Numbers]:
    """The different lines in the order in which they first come, and which of them each is."""
    name, names = np.zeros(len(lines), np.int64), 1
    for column in lines.T:  # a number for a line's beginning, and one for what follows
        span = int(column.max(initial=0)) + 2
        if names * span > MANY:
            found, name = np.unique(name, return_inverse=True)
            names = len(found)
        name, names = name * span + column + 1, names * span
    first = _first(name, names)
    order = np.flatnonzero(first >= 0)
    order = order[np.argsort(first[order])]
    rank = np.zeros(names, np.int64)
    rank[order] = np.arange(len(order))
    return lines[first[order]], rank[name]
