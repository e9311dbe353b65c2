"""Which passes of a program make up a LUT step, and may run as one loop over the rows.

The rule: consecutive passes on at most a few lines, in their order.  A new step begins
where the first pass's pattern comes back on other lines; nothing is known about LUTs
here, so any program that repeats itself is served.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from apsim.cam._plan import FUSED, KEEP, LINES, SPANNED, Numbers, Plan
from apsim.encoding import KEY, KEYS, MODE, OP, WRITE, WRITES
from apsim.program import Mode, Op

__all__ = ["Pattern", "fused"]

Pattern = tuple[tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int, int], ...]], ...]

Shape = tuple[object, ...]

MOST_LINES = 4  # lines up to which a step may grow beyond those of its first pass
MOST_PASSES = 8


def fused(plan: Plan, address: Callable[[Pattern], int], least: int) -> Plan:
    """The plan with code for each LUT step whose pattern occurs at least `least` times."""
    found = [(*group, *_pattern(plan, *group)) for group in _groups(plan)]
    often = Counter(pattern for _, _, pattern, _ in found)
    extra, lines = plan.extra.copy(), [0]
    for start, stop, pattern, on in found:
        if stop - start > 1 and often[pattern] >= least:
            extra[start, [FUSED, SPANNED, LINES]] = address(pattern), stop - start, len(lines)
            extra[start, KEEP] = plan.extra[stop - 1, KEEP]
            lines += on
    return replace(plan, extra=extra, lines=np.array(lines, np.int64))


def _groups(plan: Plan) -> Iterator[tuple[int, int]]:
    """Passes `start` to `stop` that make up a step each."""
    start, on = 0, frozenset[int]()
    shape: Shape = ()
    for index in range(len(plan.steps) + 1):
        ends = index == len(plan.steps) or not _is_pass(plan, index)
        here, like = (frozenset[int](), Shape()) if ends else _lines_and_shape(plan, index)
        grown = on | here
        fits = len(grown) <= max(MOST_LINES, len(on)) and index - start < MOST_PASSES
        begun = index > start and not plan.extra[index - 1, KEEP]
        if not ends and begun and fits and (like != shape or here == on):
            on = grown
            continue
        if index > start:
            yield start, index
        start, on, shape = (index + 1, frozenset[int](), Shape()) if ends else (index, here, like)


def _is_pass(plan: Plan, index: int) -> bool:
    row = plan.steps[index]
    return bool(row[OP] == Op.PASS and row[MODE] == Mode.HORIZONTAL)


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
            for line, bit, mode in _bits(plan, row, WRITE)
        ]
        passes.append((tuple(key), tuple(write)))
    return tuple(passes), list(slots)


def _bits(plan: Plan, row: Numbers, first: int) -> list[list[int]]:
    count = KEYS if first == KEY else WRITES
    bits: list[list[int]] = plan.pool[row[first] : row[first] + row[count]].tolist()
    return bits
