"""Which passes of a program have machine code: one by one, or several as a LUT step.

The rule: a LUT step is consecutive passes on at most a few lines, in their order.  One begins
where the first pass's pattern comes back on other lines; nothing is known about LUTs
here, so any program that repeats itself is served.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from apsim.cam._plan import COUNTED, FUSED, KEEP, KNOWN, LINES, SPANNED, Numbers, Plan
from apsim.encoding import KEY, KEYS, MODE, OP, WRITE, WRITES
from apsim.program import Mode, Op

__all__ = ["GIVEN", "Pattern", "blank", "fused", "single"]

GIVEN = 2
"""A bit of a pattern that is given at run time."""

Pass = tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int, int], ...]]
Pattern = tuple[Pass, ...]
"""Passes of a step: key (slot, bit) pairs and written (slot, bit, mode) triples."""

Shape = tuple[object, ...]
Address = Callable[[Pattern], int]

MOST_LINES = 4  # lines up to which a step may grow beyond those of its first pass
MOST_PASSES = 8
MOST_OPERANDS = 12  # of a single pass with code of its own; beyond, registers run out


@dataclass
class Coded:
    """A plan in the making: code for steps, and the lines that the code works on."""

    plan: Plan
    extra: Numbers
    lines: list[int]

    @classmethod
    def of(cls, plan: Plan) -> Coded:
        return cls(plan, plan.extra.copy(), [0])

    def set(self, start: int, stop: int, address: int, lines: list[int]) -> None:
        """Let code at an address carry out steps `start` to `stop`."""
        self.extra[start, [FUSED, SPANNED, LINES]] = address, stop - start, len(self.lines)
        self.extra[start, KEEP] = self.plan.extra[stop - 1, KEEP]
        self.lines += lines

    def done(self) -> Plan:
        return replace(self.plan, extra=self.extra, lines=np.array(self.lines, np.int64))


def single(plan: Plan, address: Address) -> Plan:
    """The plan with code for each pass by its arity: lines and bits are given at run time."""
    coded = Coded.of(plan)
    for index in range(len(plan.steps)):
        _code_pass(coded, index, address)
    return coded.done()


def fused(plan: Plan, address: Address, least: int) -> Plan:
    """The plan with code for each LUT step whose pattern occurs at least `least` times.

    Other passes have code by their arity.
    """
    found = [(*group, *_pattern(plan, *group)) for group in _groups(plan)]
    often, coded = Counter(pattern for _, _, pattern, _ in found), Coded.of(plan)
    for start, stop, pattern, on in found:
        if stop - start > 1 and often[pattern] >= least:
            coded.set(start, stop, address(pattern), on)
        else:
            for index in range(start, stop):
                _code_pass(coded, index, address)
    return coded.done()


def _code_pass(coded: Coded, index: int, address: Address) -> None:
    plan = coded.plan
    row = plan.steps[index]
    if not _is_pass(plan, index) or not 0 < row[KEYS] + row[WRITES] <= MOST_OPERANDS:
        return
    (one,), on = _pattern(plan, index, index + 1)
    pattern, given = blank(one)
    coded.set(index, index + 1, address(pattern), [*on, *given])


def blank(one: Pass) -> tuple[Pattern, list[int]]:
    """A pass with its bits to be given, and those bits, then how many lines flip with each match."""
    key, write = one
    pattern = (
        tuple((slot, GIVEN) for slot, _ in key),
        tuple((slot, GIVEN, COUNTED if mode == COUNTED else KNOWN) for slot, _, mode in write),
    )
    given = [bit - 1 for _, bit in key] + [-bit for _, bit, _ in write]
    return (pattern,), [*given, sum(mode == KNOWN for _, _, mode in write)]


def _groups(plan: Plan) -> Iterator[tuple[int, int]]:
    """Passes `start` to `stop` that make up a step each."""
    start, on = 0, frozenset[int]()
    shape: Shape = ()
    for index in range(len(plan.steps) + 1):
        ends = index == len(plan.steps) or not _is_pass(plan, index)
        here, like = (frozenset[int](), Shape()) if ends else _lines_and_shape(plan, index)
        grown = on | here
        fits = len(grown) <= max(MOST_LINES, len(on)) and (like != shape or here == on)
        begun = start < index < start + MOST_PASSES and not plan.extra[index - 1, KEEP]
        if not ends and begun and (fits or _look(plan, index - 1)) and _alike(plan, index):
            on = grown
            continue
        if index > start:
            yield start, index
        start, on, shape = (index + 1, frozenset[int](), Shape()) if ends else (index, here, like)


def _is_pass(plan: Plan, index: int) -> bool:
    """A horizontal compare, with or without a write after it."""
    row = plan.steps[index]
    return bool(row[OP] in (Op.PASS, Op.COMPARE, Op.READ) and row[MODE] == Mode.HORIZONTAL)


def _look(plan: Plan, index: int) -> bool:
    """A compare of one column that writes nothing: such steps share code whatever they look at."""
    row = plan.steps[index]
    return bool(row[OP] != Op.PASS and row[KEYS] == 1)


def _alike(plan: Plan, index: int) -> bool:
    """Whether a step looks as the one before it does, or neither only looks."""
    before, here = plan.steps[index - 1], plan.steps[index]
    if before[OP] == here[OP] == Op.PASS:
        return True
    return bool(before[OP] == here[OP]) and _look(plan, index - 1) and _look(plan, index)


def _lines_and_shape(plan: Plan, index: int) -> tuple[frozenset[int], Shape]:
    pattern, on = _pattern(plan, index, index + 1)
    return frozenset(on), pattern


def _pattern(plan: Plan, start: int, stop: int) -> tuple[Pattern, list[int]]:
    """Passes with their lines numbered in the order in which they come, and those lines."""
    slots: dict[int, int] = {}
    passes = []
    for row in plan.steps[start:stop]:
        key = [(slots.setdefault(line, len(slots)), bit) for line, bit, _ in _bits(plan, row, KEY)]
        write = [
            (slots.setdefault(line, len(slots)), bit, mode)
            for line, bit, mode in (_bits(plan, row, WRITE) if row[OP] == Op.PASS else ())
        ]
        passes.append((tuple(key), tuple(write)))
    return tuple(passes), list(slots)


def _bits(plan: Plan, row: Numbers, first: int) -> list[list[int]]:
    count = KEYS if first == KEY else WRITES
    bits: list[list[int]] = plan.pool[row[first] : row[first] + row[count]].tolist()
    return bits
