"""The order in which the row blocks of independent groups are brought through a program.

The rule: groups of rows that share no cell may stand side by side as lanes; row r of
every group is then *block* r, and a program runs block by block instead of step by
step.  Every block still meets every step that acts on its rows, in the program's
order: a horizontal step acts on each row alone, and a vertical one waits until all its
blocks have come as far.  `regular` decides what may be batched.

Each lane has its own copy of the rows that all groups share, which is right because every
group first clears the whole row; what a group leaves there is accounted for by the caller.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from apsim.cam._listed import listed
from apsim.cam._one_line import OneLine, borders
from apsim.cam._slots import ACROSS, DOWN, FRESH, Slots
from apsim.cam.regular import Regular, Stretch

__all__ = ["ACROSS", "DOWN", "FRESH", "Schedule", "schedule"]

Numbers = NDArray[np.int64]


@dataclass
class Schedule:
    """What the lanes kernel walks: int64[m, 4] of (kind, a, b, slot).

    FRESH: block a enters the slot; ACROSS: steps a to b of the program on the slot;
    DOWN: step a, lines of the pool standing for slots from `down[b]`.  `shared` are the
    slots of the shared rows, `result` the slot where block 0 stands at the end.
    """

    ops: Numbers
    down: Numbers  # [k, most lines]: slots of the lines of each distinct vertical step
    slots: int
    shared: tuple[int, ...]
    before: int  # where the first loop begins that uses shared rows
    after: int  # and the last one ends


def schedule(program: Regular, *, at_once: bool = True) -> Schedule:
    """Bring every block through the program, keeping as few as possible alive.

    Step by step, which is what the order means; where a long loop is simple, `at_once`.
    """
    return _Scheduler(program, at_once).run()


def _blocks(stretch: Stretch) -> Iterator[int]:
    return (block for line in stretch.lines for block in line)


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
    at_once: bool
    ops: list[tuple[int, int, int, int]] = field(default_factory=list)
    earlier: list[Numbers] = field(default_factory=list)  # what comes before `ops`
    slots: Slots = field(default_factory=Slots)
    position: dict[int, int] = field(default_factory=dict)  # block -> next stretch
    done: set[tuple[int, int]] = field(default_factory=set)  # (stretch, line)
    down: dict[tuple[int, ...], int] = field(default_factory=dict)
    lines: dict[int, tuple[int, ...]] = field(default_factory=dict)  # step -> lines it uses
    reached: dict[tuple[int, int], int] = field(default_factory=dict)  # lines that blocks met
    spans: dict[int, list[range]] = field(default_factory=dict)  # first step of a body -> spans

    def run(self) -> Schedule:
        program = self.program
        self.last = self._last_loops()
        self.meets = [_lines_of(stretch) for stretch in program.stretches]
        for shared in range(program.size, program.size + program.shared):
            self._enter(shared)
            self.position[shared] = len(program.stretches)  # the caller brings them through
        for block in range(program.size):
            self._bring(block, len(program.stretches))
        width = max((len(line) for line in self.down), default=1)
        down = np.zeros((max(len(self.down), 1), width), np.int64)
        for line, number in self.down.items():
            down[number, : len(line)] = line
        loops = [s for s in program.stretches if any(b >= program.size for b in _blocks(s))]
        self._put_away()
        return Schedule(
            np.concatenate(self.earlier),
            down,
            self.slots.many,
            tuple(self.slots.of[program.size + k] for k in range(program.shared)),
            min((loop.start for loop in loops), default=0),
            max((loop.stop for loop in loops), default=0),
        )

    def _last_loops(self) -> dict[int, int]:
        """The last stretch in which a block meets others."""
        return {
            block: number
            for number, stretch in enumerate(self.program.stretches)
            for line in stretch.lines
            for block in line
        }

    def _enter(self, block: int) -> None:
        self.position[block] = 0
        self.ops.append((FRESH, block, 0, self.slots.take(block)))

    def _bring(self, block: int, until: int) -> None:
        """Carry a block through all stretches before `until`."""
        if block not in self.position:
            self._enter(block)
        while self.position[block] < until:
            number = self.position[block]
            stretch = self.program.stretches[number]
            for line in self.meets[number].get(block, ()):
                self._meet(number, line)
            if not stretch.lines:
                self.ops.append((ACROSS, stretch.start, stretch.stop, self.slots.of[block]))
            if self.position[block] == number:
                self.position[block] = number + 1
        if until == len(self.program.stretches) and block in self.slots.of:
            self._leave(block)

    def _leave(self, block: int) -> None:
        """Give up the slot of a block that is through (block 0 and shared rows keep theirs)."""
        if 0 < block < self.program.size:
            self.slots.give_up(block)

    def _put_away(self) -> None:
        """Make room in `ops` for what does not come one by one."""
        self.earlier.append(np.array(self.ops, np.int64).reshape(-1, 4))
        self.ops.clear()

    def _meet(self, number: int, line: int) -> None:
        """Carry out a loop's body for one line, after the earlier lines that share its blocks."""
        if (number, line) in self.done:
            return
        stretch = self.program.stretches[number]
        blocks = stretch.lines[line]
        if line:
            waiting = {e for block in blocks for e in self._waiting(number, block, line)}
            for earlier in sorted(waiting):
                self._meet(number, earlier)
        self.done.add((number, line))
        if self.at_once and self._is_simple(number):
            self._meet_at_once(number)
        else:
            self._meet_step_by_step(number, blocks)

    def _meet_step_by_step(self, number: int, blocks: tuple[int, ...]) -> None:
        stretch = self.program.stretches[number]
        touched = [self._touched(index, blocks) for index in range(stretch.start, stretch.stop)]
        final = {block: k for k, many in enumerate(touched) for block in many}
        for span in self._spans(stretch):
            for block in (block for k in span for block in touched[k]):
                self._bring(block, number)
            for k in span:
                index = stretch.start + k
                self.ops.append((DOWN, index, self._down(index, blocks), 0))
                for block in touched[k]:
                    if final[block] == k and self._is_spent(block, number):
                        self.position[block] = number + 1
                        self._bring(block, len(self.program.stretches))

    def _is_simple(self, number: int) -> bool:
        """Whether this is the first loop, with one line, which nothing but block 0 waits for."""
        stretches, blocks = self.program.stretches, self.program.stretches[number].lines[0]
        if len(stretches[number].lines) > 1 or any(s.lines for s in stretches[:number]):
            return False
        here = self.position.keys() & set(blocks)
        return len(set(blocks)) == len(blocks) and not here & set(range(1, self.program.size))

    def _meet_at_once(self, number: int) -> None:
        """The same as step by step, for all blocks of a simple loop together."""
        loop, through = self.program.stretches[number], len(self.program.stretches)
        blocks = np.array(loop.lines[0], np.int64)
        come = np.array([block not in self.position for block in loop.lines[0]])
        last = np.array([self.last[block] == number for block in loop.lines[0]])
        across = [(s.start, s.stop) for s in self.program.stretches if not s.lines]
        spans = np.array(across, np.int64).reshape(-1, 2)
        line = OneLine(
            self.program.code, loop.start, loop.stop, blocks, come, come & last,
            spans[spans[:, 0] < loop.start], spans[spans[:, 0] > loop.start],
        )  # fmt: skip
        self._put_away()
        self.earlier.append(line.ops(self.slots, self.down))
        self.position.update(dict.fromkeys(blocks[line.comings.at].tolist(), number))
        self.position.update(dict.fromkeys(blocks[line.goings.at].tolist(), through))

    def _waiting(self, number: int, block: int, line: int) -> list[int]:
        """Lines before this one that the block has not met yet."""
        lines, first = self.meets[number][block], self.reached.get((number, block), 0)
        while (number, lines[first]) in self.done:
            first += 1
        self.reached[number, block] = first
        return lines[first : bisect_left(lines, line)]

    def _spans(self, stretch: Stretch) -> list[range]:
        """Steps of a body between which nothing else may run."""
        if stretch.start not in self.spans:
            starts = borders(self.program.code, stretch.start, stretch.stop).tolist()
            pairs = pairwise([*starts, stretch.stop - stretch.start])
            self.spans[stretch.start] = [range(*pair) for pair in pairs]
        return self.spans[stretch.start]

    def _is_spent(self, block: int, number: int) -> bool:
        """Whether no line still waits for the block (block 0 stays alive)."""
        if not 0 < block < self.program.size or self.last[block] != number:
            return False
        return all((number, line) in self.done for line in self.meets[number][block])

    def _touched(self, index: int, blocks: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys([blocks[line] for line in self._lines(index)]))

    def _down(self, index: int, blocks: tuple[int, ...]) -> int:
        """Number of the line of slots that a vertical step's pool lines stand for."""
        place = self.slots.of
        slots = tuple([place[blocks[line]] for line in self._lines(index)])
        return self.down.setdefault(slots, len(self.down))

    def _lines(self, index: int) -> tuple[int, ...]:
        """Lines of the loop that a vertical step compares and writes."""
        known = self.lines.get(index)
        if known is None:
            lists = listed(self.program.code)
            known = tuple(line for line, _ in (*lists.key[index], *lists.write[index]))
            self.lines[index] = known
        return known
