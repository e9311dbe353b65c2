"""What a packed array works out about a program once: its operations, in the program's order.

The rule: a plan is a copy, so that a program changed afterwards cannot reach memory that was
never checked; and it is only bookkeeping - which tags are still wanted, which flips follow
from a match - never a change of what is carried out.  Every step has its operation; steps
share one only where they are LUT steps that follow one another, or bits of a field taken in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from apsim.cam import frame, step
from apsim.cam.base import COMPARES, lines_of
from apsim.cam.jit import Operation
from apsim.cam.lut_step import LutStep, Pass, made_of
from apsim.cam.needs import Needs, needs, on_rows

# isort: off
from apsim.encoding import (
    BODY, GATE, GROUPS, KEY, KEYS, MODE, OP, PARALLEL, PASSES, PLACE, PORT, SLOTS, SOURCE,
    SPAN, TABLE, TARGET, WIDTH, WRITE, WRITES, Code,
)  # fmt: skip

# isort: on
from apsim.step import Mode, Op

__all__ = ["Piece", "Plan", "Repeated", "Section", "operations", "plan", "vertical"]

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Made = tuple[Numbers, list[Numbers]]
"""Operations int64[n, 8], and the tables whose addresses they hold."""

ENTRY = 24  # bytes of a row of a pool


@dataclass(frozen=True)
class Section:
    """Consecutive steps of one direction; `groups` of 64 rows are those that loops touch."""

    start: int
    stop: int
    loops: tuple[int, ...] = ()
    groups: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Piece:
    """Steps from `start` to `stop` that are a LUT step, and the lines that it works on."""

    start: int
    stop: int
    lut_step: LutStep
    lines: tuple[int, ...]


@dataclass(frozen=True)
class Repeated:
    """A loop: operations for a group, which read from a copy of the pool that is the group's.

    Their tables are counted from the beginning of that copy.
    """

    operations: Numbers
    pool: Numbers  # (slot, bit, how it flips)
    table: Numbers  # [groups, slots]
    parallel: bool


@dataclass(frozen=True, eq=False)
class Plan:
    """A program as kernels take it: pool rows are (line, bit, how it flips)."""

    steps: Numbers
    pool: Numbers
    rows: Numbers
    keep: Flags  # horizontal compares whose tag is wanted later
    spans: Numbers  # columns of a field that are taken in, from a step on
    sections: tuple[Section, ...]
    needs: Needs
    _known: dict[tuple[int, frozenset[LutStep]], Made] = field(default_factory=dict, repr=False)
    _settled: list[frozenset[LutStep]] = field(default_factory=list, repr=False)
    _lines: dict[tuple[int, int], Numbers] = field(default_factory=dict, repr=False)

    @cached_property
    def pieces(self) -> list[Piece]:
        """The LUT steps among horizontal steps, and compares of one line that nobody wants."""
        return list(_pieces(self))

    @cached_property
    def lut_steps(self) -> dict[LutStep, int]:
        """How often each LUT step comes."""
        return dict(Counter(piece.lut_step for piece in self.pieces))

    def chosen(self, worth: Callable[[LutStep, int], bool], vectors: int) -> frozenset[LutStep]:
        """LUT steps that are worth code of their own on so many vectors: asked until all are."""
        if not self._settled or len(self._settled[0]) < len(self.lut_steps):
            found = (one for one, times in self.lut_steps.items() if worth(one, times * vectors))
            self._settled[:] = [frozenset(found)]
        return self._settled[0]

    def horizontal(
        self, section: Section, chosen: frozenset[LutStep], take: Operation, put: Operation
    ) -> Made:
        """Operations for a section of an array (see `operations`)."""
        name = section.start, chosen
        if name not in self._known:
            made = operations(self, section.start, section.stop, chosen, take, put)
            for operation, bits in zip((take, put), self.bits, strict=True):
                if bits:  # planes of one port come after those of another
                    rows = made[0][:, frame.FN] == operation.address
                    made[0][rows, frame.Y] += bits * made[0][rows, frame.X]
                    made[0][rows, frame.X] = 0
            self._known[name] = made
        return self._known[name]

    @cached_property
    def loops(self) -> dict[int, Repeated]:
        """The loops by their first step."""
        return {at: _repeated(self, at) for section in self.sections for at in section.loops}

    def lines(self, rows: int, columns: int) -> Numbers:
        """What `base.lines_of` says of the program."""
        if (rows, columns) not in self._lines:
            self._lines[rows, columns] = lines_of(self.steps, rows, columns)
        return self._lines[rows, columns]

    @cached_property
    def bits(self) -> tuple[int, int]:
        """Of the words for each row that are taken in, and put out: the highest place and one."""
        horizontal = self.steps[self.steps[:, MODE] == Mode.HORIZONTAL]
        places = [horizontal[horizontal[:, OP] == op] for op in (Op.WRITE_DATA, Op.READ)]
        taken, put = (int(some[:, PLACE].max(initial=-1)) + 1 for some in places)
        return taken, put


_plans: WeakKeyDictionary[Code, Plan] = WeakKeyDictionary()


def plan(code: Code) -> Plan:
    """The plan of a program, worked out the first time it runs."""
    known = _plans.get(code)
    if known is None:
        known = _plans[code] = _planned(code)
    return known


def _planned(code: Code) -> Plan:
    if code.whole is not None:
        return _part(plan(code.whole), code.start, code.start + len(code))
    usual = code.steps.shape == (1, SPAN) and code.pool.shape[1:] == (2,)
    return _single(code) if usual else _make(code)


@lru_cache(1 << 10)
def _alike(steps: bytes, pool: bytes, rows: int) -> Plan:
    """The plan of one step, on rows that are not known yet."""
    return _make(
        Code(
            np.frombuffer(steps, np.int64).reshape(1, -1),
            np.frombuffer(pool, np.int64).reshape(-1, 2),
            np.zeros(rows, np.int64),
        )
    )


def _single(code: Code) -> Plan:
    """The plan of one step: that of the last step like it, on rows of its own."""
    steps, pool = (np.ascontiguousarray(part, np.int64) for part in (code.steps, code.pool))
    known = _alike(steps.tobytes(), pool.tobytes(), len(code.rows))
    if not len(code.rows):
        return known
    rows = code.rows.astype(np.int64)
    needed, sections = on_rows(known.needs, rows), _sections(known.steps, rows)
    return replace(known, rows=rows, needs=needed, sections=tuple(sections))


def _part(whole: Plan, start: int, stop: int) -> Plan:
    """The plan of some horizontal steps; the tag that the last of them makes is kept."""
    steps, keep = whole.steps[start:stop].copy(), whole.keep[start:stop].copy()
    makes = np.flatnonzero(np.isin(steps[:, OP], COMPARES))
    keep[makes[-1:]] = True
    steps[:, PASSES] *= steps[:, PASSES] + np.arange(len(steps)) <= len(steps)
    spans = np.minimum(whole.spans[start:stop], np.arange(len(steps), 0, -1))
    return Plan(steps, whole.pool, whole.rows, keep, spans, (Section(0, len(steps)),), whole.needs)


def _make(given: Code) -> Plan:
    code = Code(given.steps.copy(), given.pool.copy(), given.rows.copy())
    need = needs(code)  # of what nobody else can change
    steps, pool = _own_pool(code)
    horizontal = steps[:, MODE] == Mode.HORIZONTAL
    _mark_flips(steps, pool, horizontal)
    return Plan(
        steps,
        pool,
        code.rows.astype(np.int64),
        _kept(steps, horizontal),
        _fields(steps, pool, horizontal),
        tuple(_sections(steps, code.rows)),
        need,
    )


def _own_pool(code: Code) -> tuple[Numbers, Numbers]:
    """Steps and pool such that every step has pool rows of its own, keys before writes."""
    steps = np.ascontiguousarray(code.steps, np.int64).copy()
    starts = steps[:, [KEY, WRITE]].ravel()
    sizes = steps[:, [KEYS, WRITES]].ravel()
    own = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    index = np.arange(own[-1]) + np.repeat(starts - own[:-1], sizes)
    pool = np.full((own[-1], 3), step.COUNTED, np.int64)
    pool[:, 0], pool[:, 1] = code.pool[index, 0], code.pool[index, 1] != 0
    steps[:, KEY], steps[:, WRITE] = own[:-1:2], own[1:-1:2]
    return steps, pool


def _kept(steps: Numbers, horizontal: Flags) -> Flags:
    """Horizontal compares whose tag somebody still wants: a write by tag, or the user."""
    uses = np.isin(steps[:, OP], (Op.WRITE, Op.WRITE_TAG))
    makes = np.isin(steps[:, OP], COMPARES)
    events = np.flatnonzero(horizontal & (uses | makes))
    wanted = np.ones(len(events), bool)
    wanted[:-1] = uses[events[1:]]
    kept = np.zeros(len(steps), bool)
    kept[events] = wanted & makes[events]
    return kept


def _mark_flips(steps: Numbers, pool: Numbers, horizontal: Flags) -> None:
    """Say of each written line how it flips.

    A line that a horizontal pass both compares (once) and writes (once) flips in every matched
    row, or in none; any other line is counted cell by cell.
    """
    half = np.repeat(np.arange(2 * len(steps)), steps[:, [KEYS, WRITES]].ravel())
    owner, written = half // 2, half % 2 == 1
    names = owner * (pool[:, 0].max(initial=0) + 1) + pool[:, 0]
    eligible = horizontal[owner] & (steps[owner, OP] == Op.PASS)
    keys, writes = (_singles(names, eligible & part) for part in (~written, written))
    _, at_key, at_write = np.intersect1d(names[keys], names[writes], return_indices=True)
    flips = pool[keys[at_key], 1] != pool[writes[at_write], 1]
    pool[writes[at_write], 2] = np.where(flips, step.KNOWN, step.NEVER)


def _singles(names: Numbers, where: Flags) -> Numbers:
    """Places of the names that occur exactly once among those chosen."""
    places = np.flatnonzero(where)
    _, first, count = np.unique(names[places], return_index=True, return_counts=True)
    found: Numbers = places[first[count == 1]]
    return found


def _fields(steps: Numbers, pool: Numbers, horizontal: Flags) -> Numbers:
    """For each horizontal step that takes data: how many go on, column by column, bit by bit."""
    taking = np.flatnonzero(horizontal & (steps[:, OP] == Op.WRITE_DATA))
    spans = np.zeros(len(steps), np.int64)
    goes_on = np.diff(steps[taking, PORT]) == 0
    for numbers in (taking, steps[taking, PLACE], pool[steps[taking, KEY], 0]):
        goes_on &= np.diff(numbers) == 1
    spans[taking] = 1
    for here in np.flatnonzero(goes_on)[::-1]:
        spans[taking[here]] += spans[taking[here + 1]]
    return spans


def _sections(steps: Numbers, rows: Numbers) -> Iterator[Section]:
    horizontal = steps[:, MODE] == Mode.HORIZONTAL
    borders = [0, *(np.flatnonzero(horizontal[1:] != horizontal[:-1]) + 1), len(steps)]
    for start, stop in pairwise(borders):
        if start < stop and horizontal[start]:
            yield Section(int(start), int(stop))
        elif start < stop:
            loops = start + np.flatnonzero(steps[start:stop, BODY])
            touched = [_table(steps[loop], rows) // 64 for loop in loops]
            groups = np.flatnonzero(np.bincount(np.concatenate(touched)))
            yield Section(int(start), int(stop), tuple(map(int, loops)), groups)


def _table(head: Numbers, rows: Numbers) -> Numbers:
    return rows[head[TABLE] : head[TABLE] + head[GROUPS] * head[SLOTS]]


def _pieces(of: Plan) -> Iterator[Piece]:
    horizontal = of.steps[:, MODE] == Mode.HORIZONTAL
    alone = np.isin(of.steps[:, OP], (Op.COMPARE, Op.READ)) & (of.steps[:, KEYS] == 1) & ~of.keep
    starts = np.flatnonzero(horizontal & (alone | (of.steps[:, PASSES] > 1)))
    for start, passes in zip(starts.tolist(), of.steps[starts, PASSES].tolist(), strict=True):
        stop = start + max(passes, 1)
        some = [
            Pass(
                tuple((line, bit) for line, bit, _ in of.pool[key : key + keys].tolist()),
                tuple((line, bit, how) for line, bit, how in of.pool[at : at + writes].tolist()),
            )
            for key, keys, at, writes in of.steps[start:stop, [KEY, KEYS, WRITE, WRITES]].tolist()
        ]
        if any(one.lines for one in some):
            yield Piece(start, stop, *made_of(some, bool(of.keep[stop - 1])))


def operations(
    of: Plan, start: int, stop: int, chosen: frozenset[LutStep], take: Operation,
    put: Operation | None,
) -> Made:  # fmt: skip
    """Operations for horizontal steps.

    LUT steps that are `chosen` have code of their own; neighbours of one kind are one operation.
    `take` and `put` are the operations that bring words in and out: of COUNT bits into lines
    from TABLE on, or of the tags, at port X from bit Y on; without `put` none are put out.
    """
    pieces = {piece.start: piece for piece in of.pieces if piece.lut_step in chosen}
    spans, keep = of.spans[start:stop].tolist(), of.keep[start:stop].tolist()
    rows: list[list[int]] = []
    fused: list[tuple[list[int], list[tuple[int, ...]]]] = []  # rows and their tables
    index, before = start, None
    for at, one in enumerate(of.steps[start:stop].tolist()):
        piece, puts = pieces.get(start + at), put if one[OP] == Op.READ and one[PORT] >= 0 else None
        if start + at < index:
            continue
        if piece and piece.stop <= stop and not puts:
            if not (before and before.stop == index and before.lut_step == piece.lut_step):
                rows.append([piece.lut_step.address, 0, 0, 0, index, 0, 0, 0])
                fused.append((rows[-1], []))
            fused[-1][1].append(piece.lines)
            index, before = piece.stop, piece
        else:
            span = min(max(spans[at], 1), stop - index)
            rows += _horizontal(one, index, of.pool, keep[at], span, take, puts)
            index += span
    made = [np.array(table, np.int64) for _, table in fused]
    for (row, _), table in zip(fused, made, strict=True):
        row[frame.TABLE], row[frame.COUNT] = frame.address(table), len(table)
    return np.array(rows, np.int64).reshape(-1, frame.ROW_SIZE), [of.pool, *made]


def _acts(
    one: list[int], index: int, pool: int, keep: bool, gate: Operation = step.gate
) -> Iterator[list[int]]:
    """The operations of a step that compares, or writes bits, which stand in a pool at an address.

    It keeps its tags where somebody wants them.
    """
    op, key, write = one[OP], pool + ENTRY * one[KEY], pool + ENTRY * one[WRITE]
    if op in COMPARES:
        writes = one[WRITES] if op == Op.PASS and not one[GATE] else 0
        flags = step.KEEPS * keep | step.SILENT * (one[GATE] > 0)
        yield [step.step.address, 0, key, one[KEYS], index, flags, 0, writes]
    if op in COMPARES and one[GATE]:
        yield [gate.address, 0, 0, one[GATE], index, 0, 0, 0]
    if op == Op.WRITE or (op == Op.PASS and one[GATE]):
        yield [step.step.address, 0, write, 0, index, step.KEPT | step.ONLY, 0, one[WRITES]]
    if op == Op.WRITE_ALL:
        yield [step.fill.address, 0, write, one[WRITES], index, 0, 0, 0]


def _horizontal(
    one: list[int], index: int, pool: Numbers, keep: bool, span: int, take: Operation,
    put: Operation | None,
) -> Iterator[list[int]]:  # fmt: skip
    """The operations of a horizontal step, or of as many as take in the bits of a field."""
    at = frame.address(pool)
    yield from _acts(one, index, at, keep or put is not None)
    if one[OP] == Op.WRITE_TAG:
        yield [step.fill.address, 0, at + ENTRY * one[KEY], 1, index, step.TAG, 0, 0]
    if one[OP] == Op.WRITE_DATA:
        line = int(pool[one[KEY], 0])
        yield [take.address, 0, line, span, index, one[PORT], one[PLACE], 0]
    if put:
        yield [put.address, 0, 0, 0, index, one[PORT], one[PLACE], 0]


def _repeated(of: Plan, start: int) -> Repeated:
    """The operations of a loop's body."""
    head = of.steps[start]
    body = of.steps[start : start + head[BODY]]
    first, last = int(body[:, KEY].min()), int((body[:, WRITE] + body[:, WRITES]).max())
    pool = np.ascontiguousarray(of.pool[first:last])
    rows = [
        row
        for number, one in enumerate(body.tolist())
        for row in vertical(one, start + number, -ENTRY * first)
    ]
    table = np.ascontiguousarray(_table(head, of.rows))
    made = np.array(rows, np.int64).reshape(-1, frame.ROW_SIZE)
    return Repeated(made, pool, table.reshape(head[GROUPS], head[SLOTS]), bool(head[PARALLEL]))


def vertical(
    one: list[int], index: int, pool: int, keep: bool = True, gate: Operation = step.gate,
    move: Operation = step.move, put: Operation = step.move,
) -> Iterator[list[int]]:  # fmt: skip
    """The operations of a vertical step, whose bits stand in a pool at an address."""
    yield from _acts(one, index, pool, keep, gate)
    if one[OP] in (Op.WRITE_TAG, Op.WRITE_DATA):
        port = one[PORT] if one[OP] == Op.WRITE_DATA else -1
        for k in range(one[KEY], one[KEY] + one[KEYS]):
            line, to, since = pool + ENTRY * k, one[TARGET], one[SOURCE]
            yield [move.address, 0, line, one[WIDTH], index, to, since, port]
    if one[OP] == Op.READ and one[PORT] >= 0:
        yield [put.address, 1, 0, one[WIDTH], index, 0, one[SOURCE], one[PORT]]
