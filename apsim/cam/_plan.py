"""What a packed array works out about a program once: where it switches direction, what it needs.

The rule: a plan is a copy, so that a program changed afterwards cannot reach memory
that was never checked; and it is only bookkeeping - which tags are still wanted, which
flips follow from a match - never a change of what is carried out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from apsim.cam.needs import Needs, needs, on_rows
from apsim.encoding import (
    BODY,
    GROUPS,
    KEY,
    KEYS,
    MODE,
    OP,
    PLACE,
    PORT,
    SLOTS,
    TABLE,
    WRITE,
    WRITES,
    Code,
)  # fmt: skip
from apsim.program import Mode, Op

__all__ = ["COUNTED", "KEEP", "KNOWN", "NEVER", "SPANNED", "SURE", "Plan", "Section", "plan"]

Numbers = NDArray[np.int64]

KNOWN, NEVER, COUNTED = 1, 0, 2  # how a written line's flips are found

# Columns of a row of `Plan.extra`.
KEEP = 0  # whether later steps want the tag
SURE = 1  # written lines that flip in every matched row
SPANNED = 2  # columns of a field that are taken in, from this step on


@dataclass(frozen=True)
class Section:
    """Consecutive steps of one direction; `groups` of 64 rows are those that loops touch."""

    start: int
    stop: int
    loops: tuple[int, ...] = ()
    groups: Numbers | None = None


@dataclass(frozen=True)
class Plan:
    """A program as the kernels take it: pool rows are (line, bit, how flips are found)."""

    steps: Numbers
    pool: Numbers
    rows: Numbers
    extra: Numbers
    sections: tuple[Section, ...]
    needs: Needs
    comparing: Numbers  # horizontal compares 1, others 0
    crossing: Numbers  # vertical compares: how often they are carried out
    filled: Numbers  # horizontal steps that drive all rows: lines driven
    _totals: dict[tuple[int, int], Numbers] = field(default_factory=dict, repr=False)

    def totals(self, rows: int, columns: int) -> Numbers:
        """Compared, matched, written, flipped: int64[4, steps], what no data can change set."""
        known = self._totals.get((rows, columns))
        if known is None:
            known = np.zeros((4, len(self.steps)), np.int64)
            known[0] = self.comparing * rows + self.crossing * columns
            known[2] = self.filled * rows
            self._totals[rows, columns] = known
        return known.copy()


_plans: WeakKeyDictionary[Code, Plan] = WeakKeyDictionary()


def plan(code: Code) -> Plan:
    """The plan of a program, worked out the first time it runs."""
    if code.whole is not None:
        return _part(plan(code.whole), slice(code.start, code.start + len(code)))
    known = _plans.get(code)
    if known is None:
        known = _plans[code] = _single(code) if len(code) == 1 else _make(code)
    return known


@dataclass(frozen=True)
class _Content:
    """What a program says, but for which rows its loops visit; and one that says so."""

    said: tuple[object, ...]
    code: Code = field(compare=False)


@lru_cache(1 << 10)
def _known(content: _Content) -> Plan:
    return _make(content.code)


def _single(code: Code) -> Plan:
    """The plan of one step: that of the last step like it, on rows of its own."""
    steps, pool = (np.ascontiguousarray(part) for part in (code.steps, code.pool))
    said = steps.tobytes(), pool.tobytes(), steps.dtype, pool.dtype, steps.shape, pool.shape
    known = _known(_Content((*said, code.rows.shape), code))
    if not len(code.rows):
        return known
    rows = code.rows.astype(np.int64)
    needed, sections = on_rows(known.needs, rows), _sections(known.steps, rows)
    return replace(known, rows=rows, needs=needed, sections=tuple(sections))


def _part(whole: Plan, span: slice) -> Plan:
    """The plan of some horizontal steps; the tag that the last of them makes is kept."""
    extra, comparing = whole.extra[span].copy(), whole.comparing[span]
    extra[np.flatnonzero(comparing)[-1:], KEEP] = 1
    return Plan(
        whole.steps[span],
        whole.pool,
        whole.rows,
        extra,
        (Section(0, len(extra)),),
        whole.needs,
        comparing,
        whole.crossing[span],
        whole.filled[span],
    )


def _make(given: Code) -> Plan:
    code = Code(given.steps.copy(), given.pool.copy(), given.rows.copy())
    need = needs(code)  # of what nobody else can change
    steps, pool = _own_pool(code)
    across = steps[:, MODE] == Mode.HORIZONTAL
    compares = np.isin(steps[:, OP], (Op.PASS, Op.COMPARE, Op.READ))
    extra = np.zeros((len(steps), 3), np.int64)
    extra[:, KEEP] = _kept(steps, across)
    extra[:, SURE] = _mark_flips(steps, pool, across)
    extra[:, SPANNED] = _fields(steps, pool, across)
    filled = np.isin(steps[:, OP], (Op.WRITE_TAG, Op.WRITE_DATA)) & across
    return Plan(
        steps,
        pool,
        code.rows.astype(np.int64),
        extra,
        tuple(_sections(steps, code.rows)),
        need,
        (compares & across).astype(np.int64),
        compares * _carried_out(steps, across),
        filled.astype(np.int64),
    )


def _own_pool(code: Code) -> tuple[Numbers, Numbers]:
    """Steps and pool such that every step has pool rows of its own, keys before writes."""
    steps = np.ascontiguousarray(code.steps, np.int64).copy()
    starts = steps[:, [KEY, WRITE]].ravel()
    sizes = steps[:, [KEYS, WRITES]].ravel()
    own = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    index = np.arange(own[-1]) + np.repeat(starts - own[:-1], sizes)
    pool = np.full((own[-1], 3), COUNTED, np.int64)
    pool[:, 0], pool[:, 1] = code.pool[index, 0], code.pool[index, 1] != 0
    steps[:, KEY], steps[:, WRITE] = own[:-1:2], own[1:-1:2]
    return steps, pool


def _kept(steps: Numbers, across: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Horizontal compares whose tag somebody still wants: a write by tag, or the user."""
    uses = np.isin(steps[:, OP], (Op.WRITE, Op.WRITE_TAG))
    makes = np.isin(steps[:, OP], (Op.PASS, Op.COMPARE, Op.READ))
    events = np.flatnonzero(across & (uses | makes))
    wanted = np.ones(len(events), bool)
    wanted[:-1] = uses[events[1:]]
    kept = np.zeros(len(steps), bool)
    kept[events] = wanted & makes[events]
    return kept


def _mark_flips(steps: Numbers, pool: Numbers, across: NDArray[np.bool_]) -> Numbers:
    """Set the mode of each written line; give the number of lines that flip with each match.

    A line that a pass both compares (once) and writes (once) flips in every matched
    row, or in none; any other line is counted cell by cell.
    """
    owner, written = _owners(steps, pool)
    names = owner * (pool[:, 0].max(initial=0) + 1) + pool[:, 0]
    eligible = across[owner] & (steps[owner, OP] == Op.PASS)
    keys, writes = (_singles(names, eligible & part) for part in (~written, written))
    _, at_key, at_write = np.intersect1d(names[keys], names[writes], return_indices=True)
    flips = pool[keys[at_key], 1] != pool[writes[at_write], 1]
    pool[writes[at_write], 2] = np.where(flips, KNOWN, NEVER)
    return np.bincount(owner[writes[at_write]][flips], minlength=len(steps)).astype(np.int64)


def _owners(steps: Numbers, pool: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
    """For each pool row: the step it belongs to, and whether it is written."""
    sizes = steps[:, [KEYS, WRITES]].ravel()
    half = np.repeat(np.arange(2 * len(steps)), sizes)
    return half // 2, half % 2 == 1


def _singles(names: Numbers, where: NDArray[np.bool_]) -> Numbers:
    """Places of the names that occur exactly once among those chosen."""
    places = np.flatnonzero(where)
    _, first, count = np.unique(names[places], return_index=True, return_counts=True)
    found: Numbers = places[first[count == 1]]
    return found


def _fields(steps: Numbers, pool: Numbers, across: NDArray[np.bool_]) -> Numbers:
    """For each horizontal step that takes data: how many go on, column by column, bit by bit."""
    taking = np.flatnonzero(across & (steps[:, OP] == Op.WRITE_DATA))
    spans = np.zeros(len(steps), np.int64)
    column = pool[steps[taking, KEY], 0]
    follows = [taking, steps[taking, PLACE], column]
    goes_on = np.diff(steps[taking, PORT]) == 0
    for numbers in follows:
        goes_on &= np.diff(numbers) == 1
    spans[taking] = 1
    for here in np.flatnonzero(goes_on)[::-1]:
        spans[taking[here]] += spans[taking[here + 1]]
    return spans


def _carried_out(steps: Numbers, across: NDArray[np.bool_]) -> Numbers:
    """How many groups carry out each vertical step."""
    times = np.zeros(len(steps), np.int64)
    for start in np.flatnonzero(steps[:, BODY]):
        times[start : start + steps[start, BODY]] = steps[start, GROUPS]
    return times


def _sections(steps: Numbers, rows: Numbers) -> list[Section]:
    across = steps[:, MODE] == Mode.HORIZONTAL
    borders = [0, *(np.flatnonzero(across[1:] != across[:-1]) + 1), len(steps)]
    sections = []
    for start, stop in pairwise(borders):
        if start == stop:
            continue
        if across[start]:
            sections.append(Section(int(start), int(stop)))
        else:
            loops = start + np.flatnonzero(steps[start:stop, BODY])
            touched = [_table(steps[loop], rows) // 64 for loop in loops]
            groups = np.unique(np.concatenate(touched))
            sections.append(Section(int(start), int(stop), tuple(map(int, loops)), groups))
    return sections


def _table(head: Any, rows: Numbers) -> Numbers:
    return rows[head[TABLE] : head[TABLE] + head[GROUPS] * head[SLOTS]]
