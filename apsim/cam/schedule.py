"""The order in which the row blocks of independent groups are brought through a program.

The rule: groups of rows that share no cell may stand side by side as lanes; row r of
every group is then *block* r, and a program runs block by block instead of step by
step.  Every block still meets every step that acts on its rows, in the program's
order: a horizontal step acts on each row alone, and a vertical one waits until all its
blocks have come as far.  This is the one place that decides what may be batched:
`Regular.of` refuses a program whose loops do not treat all groups alike.

Rows behind the groups (the carry row of the 2D AP) are shared: one group after the
other uses them.  Each lane has its own copy, which is right because every group first
overwrites the whole row; what a group leaves there is accounted for by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from apsim.encoding import (
    BODY, GROUPS, KEY, KEYS, MODE, OP, SLOTS, TABLE, WRITE, WRITES, Code,
)  # fmt: skip
from apsim.errors import ProgramError
from apsim.program import Mode, Op

__all__ = ["ACROSS", "ALIGN", "CODE", "DOWN", "FRESH", "Regular", "Schedule", "schedule"]

Numbers = NDArray[np.int64]

# A new block in a slot; horizontal steps on it; a vertical step; passes that have code of
# their own; a row read and written, perhaps elsewhere, whose tags nobody wants afterwards.
FRESH, ACROSS, DOWN, CODE, ALIGN = 0, 1, 2, 3, 4


@dataclass(frozen=True)
class Stretch:
    """Consecutive horizontal steps, or a loop: its lines of blocks for one group."""

    start: int
    stop: int
    lines: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Regular:
    """A program that treats `groups` groups of `size` rows alike, with `shared` rows after them."""

    code: Code
    groups: int
    size: int
    shared: int
    stretches: tuple[Stretch, ...]

    @classmethod
    def of(cls, code: Code, groups: int, size: int) -> Regular:
        """Check and take apart a program; raises `ProgramError` where groups are not independent."""
        shared = max(int(code.rows.max(initial=-1)) + 1 - groups * size, 0)
        stretches = tuple(_stretches(code, groups, size))
        return cls(code, groups, size, shared, stretches)


def _stretches(code: Code, groups: int, size: int) -> Iterator[Stretch]:
    index = 0
    while index < len(code):
        if code.steps[index, MODE] == Mode.VERTICAL:
            span = int(code.steps[index, BODY])
            lines = _lines(code, index, groups, size)
            _refuse_leaks(code, index, lines, size)
            yield Stretch(index, index + span, lines)
        else:
            span = _horizontal_run(code, index)
            yield Stretch(index, index + span)
        index += span


def _horizontal_run(code: Code, start: int) -> int:
    down = np.flatnonzero(code.steps[start:, MODE] == Mode.VERTICAL)
    return int(down[0]) if down.size else len(code) - start


def _lines(code: Code, start: int, groups: int, size: int) -> tuple[tuple[int, ...], ...]:
    """The loop's lines for one group, as blocks; those from `size` on are shared rows."""
    head = code.steps[start]
    table = code.rows[head[TABLE] : head[TABLE] + head[GROUPS] * head[SLOTS]]
    if head[GROUPS] % groups:
        raise ProgramError(f"a loop of {head[GROUPS]} lines does not serve {groups} groups alike")
    each = table.reshape(groups, -1, head[SLOTS])
    first = np.arange(groups)[:, None, None] * size
    own = each < groups * size
    blocks = np.where(own, each - first, each - groups * size + size)
    if (blocks != blocks[0]).any() or (own & ((blocks < 0) | (blocks >= size))).any():
        raise ProgramError("groups of rows are not independent: a loop treats them differently")
    return tuple(tuple(int(block) for block in line) for line in blocks[0])


def _refuse_leaks(code: Code, start: int, lines: tuple[tuple[int, ...], ...], size: int) -> None:
    """A shared row must be overwritten, in all columns, before a group uses it."""
    for line in lines:
        fresh: set[int] = set()
        for index in range(start, start + int(code.steps[start, BODY])):
            row = code.steps[index]
            written = {line[s] for s, _ in code.pool[row[WRITE] : row[WRITE] + row[WRITES]]}
            used = {line[s] for s, _ in code.pool[row[KEY] : row[KEY] + row[KEYS]]}
            if row[OP] == Op.WRITE_ALL:
                fresh |= written
            elif any(block >= size and block not in fresh for block in used | written):
                raise ProgramError("groups of rows are not independent: one reads another's row")


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


def schedule(program: Regular) -> Schedule:
    """Bring every block through the program, keeping as few as possible alive."""
    return _Scheduler(program).run()


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
    ops: list[tuple[int, int, int, int]] = field(default_factory=list)
    place: dict[int, int] = field(default_factory=dict)  # block -> slot
    free: list[int] = field(default_factory=list)
    slots: int = 0
    position: dict[int, int] = field(default_factory=dict)  # block -> next stretch
    done: set[tuple[int, int]] = field(default_factory=set)  # (stretch, line)
    down: dict[tuple[int, ...], int] = field(default_factory=dict)

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
        return Schedule(
            np.array(self.ops, np.int64).reshape(-1, 4),
            down,
            self.slots,
            tuple(self.place[program.size + k] for k in range(program.shared)),
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
        slot = self.free.pop() if self.free else self.slots
        self.slots = max(self.slots, slot + 1)
        self.place[block] = slot
        self.position[block] = 0
        self.ops.append((FRESH, block, 0, slot))

    def _bring(self, block: int, until: int) -> None:
        """Carry a block through all stretches before `until`."""
        if block not in self.position:
            self._enter(block)
        while self.position[block] < until:
            number = self.position[block]
            stretch = self.program.stretches[number]
            for line in self.meets[number].get(block, ()):
                if (number, line) not in self.done:
                    self.done.add((number, line))
                    self._meet(number, stretch.lines[line])
            if not stretch.lines:
                self.ops.append((ACROSS, stretch.start, stretch.stop, self.place[block]))
            if self.position[block] == number:
                self.position[block] = number + 1
        if until == len(self.program.stretches) and block in self.place:
            if block and block < self.program.size:
                self.free.append(self.place.pop(block))

    def _meet(self, number: int, blocks: tuple[int, ...]) -> None:
        """Carry out a loop's body for one line, each block brought when first needed."""
        stretch = self.program.stretches[number]
        touched = [self._touched(index, blocks) for index in range(stretch.start, stretch.stop)]
        final = {block: k for k, many in enumerate(touched) for block in many}
        for k, many in enumerate(touched):
            for block in many:
                self._bring(block, number)
            self.ops.append((DOWN, stretch.start + k, self._down(stretch.start + k, blocks), 0))
            for block in many:
                if (
                    final[block] == k
                    and self.last[block] == number
                    and self._is_spent(block, number)
                ):
                    self.position[block] = number + 1
                    self._bring(block, len(self.program.stretches))

    def _is_spent(self, block: int, number: int) -> bool:
        """Whether no line of the stretch still waits for the block (block 0 stays alive)."""
        if not 0 < block < self.program.size:
            return False
        return all((number, line) in self.done for line in self.meets[number][block])

    def _touched(self, index: int, blocks: tuple[int, ...]) -> list[int]:
        code, row = self.program.code, self.program.code.steps[index]
        lines = [int(s) for s, _ in code.pool[row[KEY] : row[KEY] + row[KEYS]]]
        lines += [int(s) for s, _ in code.pool[row[WRITE] : row[WRITE] + row[WRITES]]]
        return list(dict.fromkeys(blocks[line] for line in lines))

    def _down(self, index: int, blocks: tuple[int, ...]) -> int:
        """Number of the line of slots that a vertical step's pool lines stand for."""
        code, row = self.program.code, self.program.code.steps[index]
        lines = [int(s) for s, _ in code.pool[row[KEY] : row[KEY] + row[KEYS]]]
        lines += [int(s) for s, _ in code.pool[row[WRITE] : row[WRITE] + row[WRITES]]]
        slots = tuple(self.place[blocks[line]] for line in lines)
        return self.down.setdefault(slots, len(self.down))
