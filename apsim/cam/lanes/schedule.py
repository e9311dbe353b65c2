"""The order in which the row blocks of independent groups are brought through a program.

The rule: groups of rows that share no cell may stand side by side as lanes; row r of
every group is then *block* r, and a program runs block by block instead of step by
step.  Every block still meets every step that acts on its rows, in the program's
order: a horizontal step acts on each row alone, and a vertical one waits until all its
blocks have come as far.  `regular` decides what may be batched.

Each lane has its own copy of the rows that all groups share, which is right because every
group first clears the whole row; what a group leaves there is accounted for by the caller.
A block that comes takes the slot that was given up last, or else a new one.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from apsim.cam.lanes.regular import SETS_TAGS, Regular, Stretch
from apsim.cam.needs import used
from apsim.encoding import GATE, OP, PARALLEL, Code

__all__ = ["FRESH", "HORIZONTAL", "VERTICAL", "Chunk", "Schedule", "chunks", "schedule"]

Numbers = NDArray[np.int64]

# A block of zeros in a slot; horizontal steps on it; vertical steps on several.
FRESH, HORIZONTAL, VERTICAL = 0, 1, 2


@dataclass(frozen=True)
class Schedule:
    """What is walked on a tile of lanes: (kind, from, to, which, block).

    FRESH: the block enters slot `which`; HORIZONTAL: steps of the program on the block there;
    VERTICAL: steps of a chunk, whose lines stand in the slots `standing[which]`, `block` being 1
    where all groups act at once; `ranks` says for every entry of `used(code)` which of the lines
    of its chunk it names.  `shared` are the slots of the shared rows.
    """

    ops: list[tuple[int, int, int, int, int]]
    standing: list[tuple[int, ...]]
    ranks: Numbers
    slots: int
    shared: tuple[int, ...]


TOGETHER = 2
"""How often steps go on to other rows in a chunk: a visit of columns does more at a time."""


@dataclass(frozen=True)
class Chunk:
    """Steps of a loop's body, from some that go on to other rows to the next that do.

    `lines` are those of the loop that they touch, in the order in which they do; `last`
    those of them that no later step of the body touches.
    """

    start: int
    stop: int
    lines: tuple[int, ...]
    last: tuple[int, ...]


def schedule(program: Regular) -> Schedule:
    """Bring every block through the program, keeping as few as possible alive."""
    return _Scheduler(program).run()


def chunks(code: Code, start: int, stop: int) -> tuple[list[Chunk], Numbers]:
    """A body cut where it goes on to other rows, and hands on neither tags nor latches.

    And for each entry of its steps which of the lines of its chunk it names.
    """
    bits, steps = used(code, start, stop), code.steps[start:stop]
    alone = np.isin(steps[:, OP], SETS_TAGS) & ~steps[:, GATE].any()  # handed no tags, no latches
    alone[:1] = True
    starts = np.flatnonzero(alone)
    first = np.unique(bits.line, return_index=True)[1]
    news = np.searchsorted(starts, bits.step[first], side="right") - 1
    starts = np.array(sorted({0, *starts[news].tolist()})[::TOGETHER])
    chunk = np.searchsorted(starts, bits.step, side="right") - 1
    names = chunk * (bits.line.max(initial=0) + 1) + bits.line
    _, at, which = np.unique(names, return_index=True, return_inverse=True)
    order = np.argsort(at)  # where a chunk first names a line
    place, at = np.argsort(order)[which], at[order]
    line, chunk, chunk_of = bits.line[at], chunk[at], chunk
    final = np.zeros(line.max(initial=0) + 1, np.int64)
    final[line] = chunk
    cuts = np.searchsorted(chunk, np.arange(len(starts) + 1))
    ranks, cuts = place - cuts[chunk_of], cuts.tolist()
    lines, ends = line.tolist(), (final[line] == chunk).tolist()
    borders = [*(starts + start).tolist(), stop]
    return ([
        Chunk(
            borders[k], borders[k + 1], tuple(lines[low:high]),
            tuple([lines[at] for at in range(low, high) if ends[at]]),
        )
        for k, (low, high) in enumerate(pairwise(cuts))
    ], ranks)  # fmt: skip


def _lines_of(stretch: Stretch) -> dict[int, list[int]]:
    """The lines of a loop that each block stands in."""
    lines: dict[int, list[int]] = {}
    for number, blocks in enumerate(stretch.lines):
        for block in dict.fromkeys(blocks):
            lines.setdefault(block, []).append(number)
    return lines


@dataclass
class _Scheduler:
    program: Regular
    ops: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    slot: dict[int, int] = field(default_factory=dict)  # of every block that is alive
    free: list[int] = field(default_factory=list)
    many: int = 0  # slots needed so far
    position: dict[int, int] = field(default_factory=dict)  # block -> next stretch
    done: set[tuple[int, int]] = field(default_factory=set)  # (stretch, line)
    standing: dict[tuple[int, ...], int] = field(default_factory=dict)
    reached: dict[tuple[int, int], int] = field(default_factory=dict)  # lines that blocks met

    def run(self) -> Schedule:
        program, stretches = self.program, self.program.stretches
        self.through = len(stretches)
        self.meets = [_lines_of(stretch) for stretch in stretches]
        self.last = {block: n for n, lines in enumerate(self.meets) for block in lines}
        ranks = self._cut()
        shared = range(program.size, program.size + program.shared)
        for block in shared:
            self._enter(block)
            self.position[block] = self.through  # the caller brings them through
        for block in range(program.size):
            self._bring(block, self.through)
        places = tuple(self.slot[block] for block in shared)
        return Schedule(self.ops, list(self.standing), ranks, self.many, places)

    def _cut(self) -> Numbers:
        """The chunks of each loop; gives the ranks of all entries."""
        code, parts = self.program.code, [np.zeros(0, np.int64)]
        self.chunks: list[list[Chunk]] = []
        for one in self.program.stretches:
            body, ranks = chunks(code, one.start, one.stop) if one.lines else ([], None)
            self.chunks.append(body)
            many = len(used(code, one.start, one.stop).line)
            parts.append(np.zeros(many, np.int64) if ranks is None else ranks)
        return np.concatenate(parts)

    def _enter(self, block: int) -> None:
        if not self.free:
            self.free.append(self.many)
            self.many += 1
        self.slot[block] = slot = self.free.pop()
        self.position[block] = 0
        self.ops.append((FRESH, 0, 0, slot, block))

    def _bring(self, block: int, until: int) -> None:
        """Carry a block through all stretches before `until`."""
        position = self.position
        if block not in position:
            self._enter(block)
        while (number := position[block]) < until:
            stretch = self.program.stretches[number]
            if stretch.lines:
                for line in self.meets[number].get(block, ()):
                    self._meet(number, line)
            else:
                slot = self.slot[block]
                self.ops.append((HORIZONTAL, stretch.start, stretch.stop, slot, block))
            if position[block] == number:
                position[block] = number + 1
        if until == self.through and 0 < block < self.program.size and block in self.slot:
            self.free.append(self.slot.pop(block))  # block 0 and shared rows keep theirs

    def _meet(self, number: int, line: int) -> None:
        """Carry out a loop's body for one line, after the earlier lines that share its blocks."""
        if (number, line) in self.done:
            return
        blocks = self.program.stretches[number].lines[line]
        waiting = (
            {e for block in blocks for e in self._waiting(number, block, line)} if line else ()
        )
        for earlier in sorted(waiting):
            self._meet(number, earlier)
        self.done.add((number, line))
        body, code = self.chunks[number], self.program.code
        at_once = int(code.steps[self.program.stretches[number].start, PARALLEL])
        final = {blocks[k]: at for at, chunk in enumerate(body) for k in chunk.last}
        for at, chunk in enumerate(body):
            here = [blocks[k] for k in chunk.lines]
            for block in here:
                if self.position.get(block, -1) < number:
                    self._bring(block, number)
            slots = tuple([self.slot[block] for block in here])
            which = self.standing.setdefault(slots, len(self.standing))
            self.ops.append((VERTICAL, chunk.start, chunk.stop, which, at_once))
            for block in dict.fromkeys([blocks[k] for k in chunk.last]):
                if final[block] == at and self._is_spent(block, number):
                    self.position[block] = number + 1
                    self._bring(block, self.through)

    def _waiting(self, number: int, block: int, line: int) -> list[int]:
        """Lines before this one that the block has not met yet."""
        lines, first = self.meets[number][block], self.reached.get((number, block), 0)
        while (number, lines[first]) in self.done:
            first += 1
        self.reached[number, block] = first
        return lines[first : bisect_left(lines, line)]

    def _is_spent(self, block: int, number: int) -> bool:
        """Whether no line still waits for the block (block 0 stays alive)."""
        if not 0 < block < self.program.size or self.last[block] != number:
            return False
        lines = self.meets[number][block]
        return len(lines) == 1 or all((number, line) in self.done for line in lines)
