"""A schedule as the lanes kernel walks it: vertical steps numbered, and code for passes.

The rule: one walk for each program and way of grouping passes; the order of steps on any
block is the schedule's, and what is grouped are neighbours in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam._coding import ALONE, UNCODED, coded, possible
from apsim.cam._grouping import MOST_OPERANDS, blank
from apsim.cam._listed import listed
from apsim.cam._plan import COUNTED, KNOWN, NEVER, Plan
from apsim.cam.regular import NEEDED
from apsim.cam.schedule import ALIGN, CODE, DOWN, Schedule
from apsim.encoding import BODY, GATE, MODE, OP, PORT, SOURCE, TARGET, WIDTH, Code
from apsim.program import Gate, Mode, Op

__all__ = ["Walk", "walk_of"]

Numbers = NDArray[np.int64]
Pairs = tuple[tuple[int, int], ...]

MOST_LINES = 4  # slots of vertical passes that share code


@dataclass(frozen=True)
class Walk:
    """`ops` as in a schedule, CODE rows being (CODE, first step, number of the code, 0).

    `down` int64[steps, 12] and `pool` int64[bits, 3] hold the vertical steps, `codes`
    int64[codes, 3] addresses, where their lines stand in `on`, and whether these are columns
    that the tag chain runs along instead of slots; `plan` the horizontal steps.
    """

    ops: Numbers
    down: Numbers
    pool: Numbers
    codes: Numbers
    on: Numbers
    plan: Plan


@dataclass(frozen=True, eq=False)
class _Vertical:
    """A vertical step on slots."""

    op: int
    gate: int
    key: Pairs
    write: Pairs
    rest: tuple[int, ...]  # source, target, width, port

    @cached_property
    def may_have_code(self) -> bool:
        """Whether it is a pass; one that the chain gates, only among those that load it."""
        few = 0 < len(self.key) + len(self.write) <= MOST_OPERANDS
        return self.op == Op.PASS and self.gate != Gate.PREFIX and few

    @cached_property
    def modes(self) -> tuple[int, ...]:
        """How the flips of each written slot are found, as for horizontal passes."""
        once = [slot for slot, _ in self.key]
        known = dict(self.key) if self.op == Op.PASS and self.gate != Gate.PREFIX else {}
        written = [slot for slot, _ in self.write]
        return tuple(
            COUNTED
            if slot not in known or once.count(slot) > 1 or written.count(slot) > 1
            else (KNOWN if known[slot] != bit else NEVER)
            for slot, bit in self.write
        )


def walk_of(code: Code, schedule: Schedule, columns: int, least: int) -> Walk:
    """Number the vertical steps of a schedule, and give passes code where there can be any."""
    plan = coded(code, least)
    return _Walker(code, schedule, plan, columns + 2, least).run()


@dataclass
class _Walker:
    code: Code
    schedule: Schedule
    plan: Plan
    height: int
    least: int
    down: dict[_Vertical, int] = field(default_factory=dict)
    rows: list[list[int]] = field(default_factory=list)
    pool: list[tuple[int, int, int]] = field(default_factory=list)
    numbers: dict[tuple[_Vertical, ...], int] = field(default_factory=dict)
    codes: list[tuple[int, int, int]] = field(default_factory=list)
    on: list[int] = field(default_factory=list)
    steps: dict[tuple[object, ...], _Vertical] = field(default_factory=dict)

    def run(self) -> Walk:
        self.has_code = self.least != UNCODED and possible()
        self.lists, self.slots = listed(self.code), self.schedule.down.tolist()
        self.on = self.plan.lines.tolist()
        ops = np.array(list(self._ops()), np.int64).reshape(-1, 4)
        return Walk(
            ops,
            np.array(self.rows, np.int64).reshape(-1, 12),
            np.array(self.pool, np.int64).reshape(-1, 3),
            np.array(self.codes, np.int64).reshape(-1, 3),
            np.array(self.on, np.int64),
            self.plan,
        )

    def _ops(self) -> Iterator[tuple[int, int, int, int]]:
        group: list[tuple[int, _Vertical]] = []
        steps = [
            (*op, self._vertical(op[1], op[2]) if op[0] == DOWN else None)
            for op in self.schedule.ops.tolist()
        ]
        spent = _tags_spent([step for *_, step in steps])
        skip = False
        for number, (kind, a, b, slot, step) in enumerate(steps):
            if group and not (step and self._joins(group, a, step)):
                yield from self._coded(group)
                group = []
            if skip:
                skip = False
            elif step and step.may_have_code and self.has_code:
                group.append((a, step))
            elif step and self._is_move(steps, number, spent):
                yield ALIGN, a, self._number(steps[number + 1][4]), step.key[0][0]
                skip = True
            elif step:
                yield DOWN, a, self._number(step), 0
            else:
                yield kind, a, b, slot
        yield from self._coded(group)

    def _is_move(self, steps: list[Any], number: int, spent: list[bool]) -> bool:
        """A row read, its tags written at once, and wanted no more."""
        if number + 1 == len(steps) or not spent[number + 1]:
            return False
        (*_, read), (*_, write) = steps[number : number + 2]
        if write is None or steps[number + 1][1] != steps[number][1] + 1:
            return False
        reads = read.op == Op.READ and len(read.key) == 1 and read.key[0][1] == 1
        return bool(reads and read.rest[3] < 0 and not read.gate and write.op == Op.WRITE_TAG)

    def _vertical(self, index: int, line: int) -> _Vertical:
        row, slots = self.lists.rows[index], self.slots[line]
        key, write = self.lists.key[index], self.lists.write[index]
        name = (
            row[OP], row[GATE], tuple(bit for _, bit in key), tuple(bit for _, bit in write), line,
            row[SOURCE], row[TARGET], row[WIDTH], row[PORT],
        )  # fmt: skip
        known = self.steps.get(name)
        if known is None:
            bits = [bit for _, bit in (*key, *write)]
            pairs = tuple(zip(slots, bits, strict=False))
            rest = row[SOURCE], row[TARGET], row[WIDTH], row[PORT]
            known = _Vertical(row[OP], row[GATE], pairs[: len(key)], pairs[len(key) :], rest)
            self.steps[name] = known
        return known

    def _joins(self, group: list[tuple[int, _Vertical]], index: int, step: _Vertical) -> bool:
        if self.least == ALONE or not step.may_have_code or index != group[-1][0] + 1:
            return False
        return len(_slots([one for _, one in group] + [step])) <= MOST_LINES

    def _coded(self, group: list[tuple[int, _Vertical]]) -> Iterator[tuple[int, int, int, int]]:
        """One piece of code for a group, or a step at a time where it leaves latches behind."""
        gates = [step.gate for _, step in group]
        if any(gates) and not self._keeps_latches_to_itself(gates, group[-1][0]):
            for index, step in group:
                if step.gate:
                    yield DOWN, index, self._number(step), 0
                else:
                    yield self._code_op(index, (step,))
        elif group:
            yield self._code_op(group[0][0], tuple(step for _, step in group))

    def _keeps_latches_to_itself(self, gates: list[int], last: int) -> bool:
        """Whether each latch is loaded before its use, and not used by later steps of the body."""
        loaded: set[int] = set()
        for gate in gates:
            if not NEEDED.get(Gate(gate), set()) <= loaded:
                return False
            loaded.add(gate)
        for row in self.lists.rows[last + 1 :]:
            if row[BODY] or row[MODE] == Mode.HORIZONTAL:
                break
            if row[GATE] in NEEDED:
                return False
        return True

    def _code_op(self, index: int, steps: tuple[_Vertical, ...]) -> tuple[int, int, int, int]:
        if steps not in self.numbers:
            self.numbers[steps] = len(self.codes)
            self._make(steps)
        return CODE, index, self.numbers[steps], 0

    def _make(self, steps: tuple[_Vertical, ...]) -> None:
        """Code for passes: with their bits where they are several, by arity where one is alone."""
        from apsim.cam._fusion import address

        slots = {slot: place for place, slot in enumerate(_slots(steps))}
        pattern = tuple(
            (
                tuple((slots[slot], bit) for slot, bit in step.key),
                tuple(
                    (slots[slot], bit, mode)
                    for (slot, bit), mode in zip(step.write, step.modes, strict=True)
                ),
            )
            for step in steps
        )
        given: list[int] = []
        if self.least == ALONE:
            pattern, given = blank(pattern[0])
        gates = tuple(step.gate for step in steps) if any(step.gate for step in steps) else ()
        self.codes.append((address(pattern, gates=gates), len(self.on), int(bool(gates))))
        self.on += [*(slot * self.height for slot in slots), *given] if gates else [*slots, *given]

    def _number(self, step: _Vertical) -> int:
        if step not in self.down:
            self.down[step] = len(self.rows)
            self.rows.append(self._row(step))
        return self.down[step]

    def _row(self, step: _Vertical) -> list[int]:
        """A vertical step as a row of the kernel's table, its lines added to the pool."""
        first, modes = len(self.pool), step.modes
        self.pool += [(slot, bit, COUNTED) for slot, bit in step.key]
        middle = len(self.pool)
        self.pool += [(*pair, mode) for pair, mode in zip(step.write, modes, strict=True)]
        source, target, width, port = step.rest
        return [
            step.op, step.gate, first, len(step.key), middle, len(step.write), source, target,
            width, step.key[0][0] if step.key else 0, modes.count(KNOWN), port,
        ]  # fmt: skip


def _tags_spent(steps: list[_Vertical | None]) -> list[bool]:
    """For each step, whether the column tags that it leaves are never used."""
    spent, unused = [False] * len(steps), True
    for number in reversed(range(len(steps))):
        step = steps[number]
        spent[number] = unused
        if step is not None and step.op != Op.WRITE_ALL and step.op != Op.WRITE_DATA:
            unused = step.op not in (Op.WRITE, Op.WRITE_TAG)
    return spent


def _slots(steps: Any) -> list[int]:
    """The slots that steps use, in the order in which they come."""
    return list(dict.fromkeys(slot for step in steps for slot, _ in (*step.key, *step.write)))
