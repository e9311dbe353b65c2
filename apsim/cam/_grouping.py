"""Which passes of a program have machine code: one by one, or several as a LUT step.

The rule: a LUT step is consecutive passes on at most a few lines, in their order.  One begins
where the first pass's pattern comes back on other lines; nothing is known about LUTs
here, so any program that repeats itself is served.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from apsim.cam._plan import COUNTED, KEEP, KNOWN, Numbers, Plan
from apsim.encoding import KEY, KEYS, MODE, OP, WRITE, WRITES
from apsim.program import Mode, Op

__all__ = ["GIVEN", "MOST_OPERANDS", "Pass", "Pattern", "Piece", "blank", "fused", "single"]

GIVEN = 2
"""A bit of a pattern that is given at run time."""

Pass = tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int, int], ...]]
Pattern = tuple[Pass, ...]
"""Passes of a step: key (slot, bit) pairs and written (slot, bit, mode) triples."""

MOST_LINES = 4  # lines up to which a step may grow beyond those of its first pass
MOST_PASSES = 8
MOST_OPERANDS = 12  # of a single pass with code of its own; beyond, registers run out


@dataclass(frozen=True)
class Compare:
    """A horizontal compare: key (line, bit), written (line, bit, mode) where it is a pass."""

    index: int
    writes: bool
    key: list[tuple[int, int]]
    write: list[tuple[int, int, int]]
    keep: bool

    @cached_property
    def lines(self) -> frozenset[int]:
        """The lines it works on."""
        return frozenset(line for line, *_ in (*self.key, *self.write))

    @cached_property
    def pattern(self) -> Pattern:
        """What it does, by itself, to whatever lines."""
        return _pattern([self])[0]


@dataclass(frozen=True)
class Piece:
    """Steps `start` to `stop` that have code: their passes, and the numbers that it works on."""

    start: int
    stop: int
    pattern: Pattern
    numbers: tuple[int, ...]  # lines, then what bits are given at run time
    keep: bool = False


def single(plan: Plan) -> list[Piece]:
    """Each pass by itself, in code for its arity: lines and bits are given at run time."""
    return [piece for step in _compares(plan) if (piece := _alone(step))]


def fused(plan: Plan, least: int) -> list[Piece]:
    """LUT steps whose pattern occurs at least `least` times; other passes by their arity."""
    found = [(group, *_pattern(group)) for group in _groups(_compares(plan))]
    often, pieces = Counter(pattern for _, pattern, _ in found), []
    for group, pattern, on in found:
        if len(group) > 1 and often[pattern] >= least:
            span = group[0].index, group[-1].index + 1
            pieces.append(Piece(*span, pattern, tuple(on), group[-1].keep))
        else:
            pieces += filter(None, map(_alone, group))
    return pieces


def _alone(step: Compare) -> Piece | None:
    if not 0 < len(step.key) + len(step.write) <= MOST_OPERANDS:
        return None
    (one,), on = _pattern([step])
    pattern, given = blank(one)
    return Piece(step.index, step.index + 1, pattern, (*on, *given), step.keep)


def blank(one: Pass) -> tuple[Pattern, list[int]]:
    """A pass with its bits to be given, and these: 0 or ones, as code for them wants it."""
    key, write = one
    pattern = (
        tuple((slot, GIVEN) for slot, _ in key),
        tuple((slot, GIVEN, COUNTED if mode == COUNTED else KNOWN) for slot, _, mode in write),
    )
    return (pattern,), [*(bit - 1 for _, bit in key), *(-bit for _, bit, _ in write)]


def _compares(plan: Plan) -> list[Compare]:
    """The horizontal compares of a program, with or without a write after them."""
    across = plan.steps[:, MODE] == Mode.HORIZONTAL
    chosen = np.flatnonzero(across & np.isin(plan.steps[:, OP], (Op.PASS, Op.COMPARE, Op.READ)))
    numbers = plan.steps[chosen][:, [OP, KEY, KEYS, WRITE, WRITES]].tolist()
    kept, pool = plan.extra[chosen, KEEP].tolist(), plan.pool[: _end(plan, chosen)].tolist()
    return [
        Compare(
            index,
            op == Op.PASS,
            [(line, bit) for line, bit, _ in pool[key : key + keys]],
            [tuple(bits) for bits in pool[write : write + writes]] if op == Op.PASS else [],
            bool(keep),
        )
        for index, (op, key, keys, write, writes), keep in zip(
            chosen.tolist(), numbers, kept, strict=True
        )
    ]


def _end(plan: Plan, chosen: Numbers) -> int:
    """The last row of the pool that some steps use."""
    return int((plan.steps[chosen, WRITE] + plan.steps[chosen, WRITES]).max(initial=0))


def _groups(steps: list[Compare]) -> Iterator[list[Compare]]:
    """Neighbouring compares that may share code."""
    group: list[Compare] = []
    for step in steps:
        if group and not _joins(group, step):
            yield group
            group = []
        group.append(step)
    if group:
        yield group


def _joins(group: list[Compare], step: Compare) -> bool:
    """Whether a step goes on what the group began: on its lines, or only looking, as it does."""
    first, before = group[0], group[-1]
    apart = step.index != before.index + 1 or before.keep or step.writes != first.writes
    if apart or len(group) == MOST_PASSES:
        return False
    if not step.writes:
        return len(step.key) == len(first.key) == 1
    on = frozenset[int]().union(*(one.lines for one in group))
    begins_anew = step.lines != on and step.pattern == first.pattern
    return len(on | step.lines) <= max(MOST_LINES, len(on)) and not begins_anew


def _pattern(group: list[Compare]) -> tuple[Pattern, list[int]]:
    """Passes with their lines numbered in the order in which they come, and those lines."""
    slots: dict[int, int] = {}
    passes = tuple(
        (
            tuple((slots.setdefault(line, len(slots)), bit) for line, bit in step.key),
            tuple(
                (slots.setdefault(line, len(slots)), bit, mode) for line, bit, mode in step.write
            ),
        )
        for step in group
    )
    return passes, list(slots)
