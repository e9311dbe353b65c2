"""A program on lanes as operations with rows, which the kernel walks block by block.

The rule: every step has its row, in the program's order; steps share one only where they are
LUT steps that follow one another, bits of a field that is taken in, or vertical steps that
can be carried out in one visit of each column.  Blocks that go through the same steps share
the rows that are made for these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim import encoding
from apsim.cam import frame, step
from apsim.cam.lanes import kernel
from apsim.cam.lanes.regular import NEEDED
from apsim.cam.lanes.schedule import FRESH, HORIZONTAL, VERTICAL, Schedule
from apsim.cam.lut_step import LutStep, Pass, made_of
from apsim.cam.needs import used
from apsim.cam.plan import Plan, operations, plan, vertical
from apsim.encoding import GATE, KEY, MODE, OP, SOURCE, TARGET, WIDTH, WRITE, WRITES, Code
from apsim.step import Gate, Mode, Op

__all__ = ["Chosen", "Rows", "Walk"]

Numbers = NDArray[np.int64]
Row = list[int]
Bits = tuple[tuple[int, int], ...]
Key = tuple[int, int, int, int, int]
"""What names rows: FRESH; HORIZONTAL, steps from, to, whether words are put out; VERTICAL, steps
from, to, slots, whether all groups act at once."""

Chosen = frozenset[LutStep]
"""What has code of its own."""

SAYS = [
    getattr(encoding, name) for name in ["OP", "GATE", "PORT", "SOURCE", "TARGET", "WIDTH", "KEYS"]
]  # by a vertical step, besides its bits
MOST_SLOTS, MOST_PARTS = 5, 8  # of vertical steps in one visit; beyond, registers run out


@dataclass(frozen=True)
class Vertical:
    """A vertical step, by its place in its chunk: keys and written bits are (slot, bit).

    `row` is its row of the code, as if its bits stood in a pool of their own.
    """

    index: int
    row: list[int]
    key: Bits
    write: Bits

    def __getitem__(self, which: int) -> int:
        return self.row[which]

    @property
    def passes(self) -> Pass:
        """A pass, and how each written line flips, found as for horizontal passes."""
        once = [[s for s, _ in bits].count for bits in (self.key, self.write)]
        known = {s: b for s, b in self.key if once[0](s) == once[1](s) == 1}
        write = tuple(
            (s, b, step.COUNTED if s not in known else step.KNOWN if known[s] != b else step.NEVER)
            for s, b in self.write
        )
        return Pass(self.key, write, Gate(self[GATE]))

    def is_moved_by(self, after: list[Vertical]) -> bool:
        """Whether it reads a row whose tags the next step writes, and no other after it."""
        reads = self[OP] == Op.READ and self[encoding.PORT] < 0 and not self[GATE]
        spent = len(after) < 2 or after[1][OP] not in (Op.WRITE, Op.WRITE_TAG)
        one = len(self.key) == 1 and self.key[0][1] == 1
        return reads and one and bool(after) and after[0][OP] == Op.WRITE_TAG and spent


@dataclass(frozen=True)
class Visit:
    """Vertical steps that can be carried out in one visit of each column of some slots."""

    alone: list[Vertical]
    steps: LutStep
    slots: tuple[int, ...]


@dataclass(frozen=True)
class Walk:
    """Operations int64[m, 6] (see `kernel`), and what they hold the addresses of."""

    ops: Numbers
    chosen: Chosen
    kept: list[Numbers]

    @property
    def address(self) -> int:
        """Where the operations stand."""
        return frame.address(self.ops)


@dataclass
class Rows:
    """Makes the walks of a program whose order is known, on so many columns."""

    code: Code
    schedule: Schedule
    columns: int
    _walks: dict[Chosen, Walk] = field(default_factory=dict)
    _shared: dict[tuple[Any, Chosen], Walk] = field(default_factory=dict)

    def walk(self, chosen: Chosen) -> Walk:
        """All operations, with code of their own for what is chosen."""
        if chosen not in self._walks:
            self._walks[chosen] = self._walk(*self._ops, chosen)
        return self._walks[chosen]

    def horizontal(self, spans: Sequence[tuple[int, int]], chosen: Chosen) -> Walk:
        """Steps on the row in slot 0, which put nothing out."""
        named = tuple(spans), chosen
        if named not in self._shared:
            self._shared[named] = self._on_shared(spans, chosen)
        return self._shared[named]

    def _on_shared(self, spans: Sequence[tuple[int, int]], chosen: Chosen) -> Walk:
        keys: list[Key] = [(HORIZONTAL, *span, 0, 0) for span in spans]
        which = np.zeros((len(keys), 4), np.int64)
        which[:, 0] = np.arange(len(keys))
        return self._walk(keys, which, chosen)

    def _walk(self, keys: list[Key], which: Numbers, chosen: Chosen) -> Walk:
        """Operations of the kernel: their rows are those of a key, made once."""
        made = [self._made(key, chosen) for key in keys]
        known = [
            (frame.address(rows), len(rows), _kind(key))
            for key, (rows, _) in zip(keys, made, strict=True)
        ]
        first = np.array(known, np.int64).reshape(-1, 3)[which[:, 0]]
        ops = np.ascontiguousarray(np.hstack([first, which[:, 1:]]))
        return Walk(ops, chosen, [one for rows, tables in made for one in (rows, *tables)])

    @cached_property
    def often(self) -> dict[LutStep, int]:
        """What may have code of its own, and on how many lines of lanes it is carried out."""
        found = Counter[LutStep]()
        keys, which = self._ops
        many = np.bincount(which[:, 0], minlength=len(keys)).tolist()
        for key, times in zip(keys, many, strict=True):
            if key[0] == HORIZONTAL:
                for piece in self.plan.pieces:
                    found[piece.lut_step] += times * (key[1] <= piece.start < key[2])
            for part in self._parts(key) if key[0] == VERTICAL else ():
                if isinstance(part, Visit):
                    found[part.steps] += times * self.columns
        return dict(found)

    @cached_property
    def plan(self) -> Plan:
        """What is known of the program's steps."""
        return plan(self.code)

    @cached_property
    def _ops(self) -> tuple[list[Key], Numbers]:
        """What is walked: keys of rows, and (which key, slot, first step, block) one by one."""
        made: list[tuple[int, int, int, int]] = []
        known: dict[Key, int] = {}
        alike = self._alike()
        for kind, start, stop, which, block in self.schedule.ops:
            if kind == FRESH and self.first and which not in self.schedule.shared:
                continue  # its first steps overwrite whatever stands there
            key: Key = (kind, start, stop, int(kind == HORIZONTAL and block == 0), 0)
            if kind == VERTICAL:
                first, last, at_once = alike[start]
                key = kind, first, last, which, at_once
            place = (0, start) if kind == VERTICAL else (which, 0)
            made.append((known.setdefault(key, len(known)), *place, block))
        return list(known), np.array(made, np.int64).reshape(-1, 4)

    def _alike(self) -> dict[int, tuple[int, int, int]]:
        """For the first step of a chunk: the first chunk that does the same, and whether at once.

        The same is what steps say, and their bits; lines by their ranks among the chunk's.
        """
        bits, steps = used(self.code), self.code.steps
        said = np.zeros((len(steps), len(SAYS) + 1 + int(bits.place.max(initial=0))), np.int64)
        said[:, : len(SAYS)] = steps[:, SAYS]
        said[bits.step, len(SAYS) + bits.place] = 1 + 2 * self.schedule.ranks + bits.bit
        at_once = np.zeros(len(steps), np.int64)
        for start in np.flatnonzero(steps[:, encoding.BODY]).tolist():
            at_once[start : start + steps[start, encoding.BODY]] = steps[start, encoding.PARALLEL]
        known: dict[tuple[bytes, int], tuple[int, int, int]] = {}
        chunks = {(op[1], op[2]) for op in self.schedule.ops if op[0] == VERTICAL}
        return {
            start: known.setdefault(
                (said[start:stop].tobytes(), int(at_once[start])),
                (start, stop, int(at_once[start])),
            )
            for start, stop in sorted(chunks)
        }

    def _made(self, key: Key, chosen: Chosen) -> tuple[Numbers, list[Numbers]]:
        """Rows, and the tables whose addresses they hold."""
        if key[0] == HORIZONTAL:
            return self._horizontal(key, chosen)
        made, alone = _Made(), list[Vertical]()
        for part in self._parts(key) if key[0] == VERTICAL else ():
            if isinstance(part, Visit) and part.steps in chosen:
                made.one_by_one(alone)
                made.visit(part)
                alone = []
            else:
                alone += part.alone if isinstance(part, Visit) else [part]
        made.one_by_one(alone)
        return made.done()

    def _horizontal(self, key: Key, chosen: Chosen) -> tuple[Numbers, list[Numbers]]:
        _, start, stop, puts, _ = key
        put = kernel.put if puts else None
        rows, kept = operations(self.plan, start, stop, chosen, kernel.take, put)
        rows[rows[:, frame.INDEX] < self.first, frame.Z] = step.FRESH
        return rows, kept

    @cached_property
    def first(self) -> int:
        """How many steps a program begins with that overwrite every column, each once.

        For these a row of zeros need not be stored.  0 where the first steps do not.
        """
        left, of = set(range(self.columns)), self.plan
        for index, one in enumerate(of.steps.tolist()):
            writes = one[OP] in (Op.WRITE_DATA, Op.WRITE_ALL) and one[MODE] == Mode.HORIZONTAL
            at, many = (one[WRITE], one[WRITES]) if one[OP] == Op.WRITE_ALL else (one[KEY], 1)
            lines = of.pool[at : at + many, 0].tolist()
            if not writes or len(left.intersection(lines)) < many:
                return 0
            left.difference_update(lines)
            if not left:
                return index + 1
        return 0

    def _parts(self, key: Key) -> list[Vertical | Visit]:
        """Vertical steps; those that one visit may do together."""
        _, start, stop, which, _ = key
        return list(_grouped(list(self._steps(start, stop, self.schedule.standing[which]))))

    def _steps(self, start: int, stop: int, slots: tuple[int, ...]) -> Iterator[Vertical]:
        bits = used(self.code)
        for index in range(start, stop):
            entries = slice(*np.searchsorted(bits.step, (index, index + 1)))
            pairs = tuple(
                (slots[rank], int(bit))
                for rank, bit in zip(self.schedule.ranks[entries], bits.bit[entries], strict=True)
            )
            row = self.code.steps[index].tolist()
            keys = row[encoding.WRITE] = row[encoding.KEYS]
            row[encoding.KEY] = 0
            yield Vertical(index - start, row, pairs[:keys], pairs[keys:])


def _kind(key: Key) -> int:
    """Which frame: horizontal, vertical one group after the other, or all at once."""
    return 1 + key[4] if key[0] == VERTICAL else 0


def _grouped(steps: list[Vertical]) -> Iterator[Vertical | Visit]:
    """Steps one by one, and as many as one visit can do."""
    first = 0
    while first < len(steps):
        visit = _visit(steps, first)
        yield visit or steps[first]
        first += len(visit.alone) if visit else 1


def _visit(steps: list[Vertical], first: int) -> Visit | None:
    """The steps from the first on that one visit may do: passes, and rows moved up by one."""
    parts: list[Pass] = []
    widths, at = set[int](), first
    while at < len(steps) and len(parts) < MOST_PARTS:
        part = _part(steps, at)
        until = at + (1 + part.moves if part else 1)
        slots = {s for one in steps[first:until] for s, _ in (*one.key, *one.write)}
        if part and part.moves:
            widths.add(steps[at + 1][WIDTH])
        if part is None or len(slots) > MOST_SLOTS or len(widths) > 1:
            break
        parts.append(part)
        at = until
    alone = steps[first:at]
    outside = [one[GATE] for one in (*steps[:first], *steps[at:])]
    if not parts or not _latches_inside([one[GATE] for one in alone], outside):
        return None
    return Visit(alone, *made_of(parts))


def _part(steps: list[Vertical], at: int) -> Pass | None:
    """What a visit does for a step, or for a row's reading and the writing of its tags."""
    one, after = steps[at], steps[at + 1 : at + 3]
    if one[OP] == Op.PASS:
        return one.passes if one[GATE] != Gate.PREFIX and one.key else None
    if not one.is_moved_by(after):
        return None
    (slot, _), write = one.key[0], after[0]
    up = write.key[0][0] == slot and (write[TARGET], write[SOURCE]) == (0, -1)
    return Pass(one.key, moves=True) if up else None


def _latches_inside(gates: list[int], outside: list[int]) -> bool:
    """Whether the tag chain's latches are loaded before their use, and by nobody else."""
    loaded: set[int] = set()
    for gate in gates:
        if not NEEDED.get(Gate(gate), set()) <= loaded:
            return False
        loaded.add(gate)
    return not any(gates) or not any(outside)


class _Made:
    """Rows in the making, and their tables."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.tables: list[Numbers] = []

    def done(self) -> tuple[Numbers, list[Numbers]]:
        return np.array(self.rows, np.int64).reshape(-1, frame.ROW_SIZE), self.tables

    def table(self, rows: Sequence[Sequence[int]] | Sequence[int]) -> int:
        self.tables.append(np.array(rows, np.int64))
        return frame.address(self.tables[-1])

    def visit(self, visit: Visit) -> None:
        width = max(one[WIDTH] for one in visit.alone)
        code, first = visit.steps.address, visit.alone[0].index
        self.rows.append([code, 0, self.table([visit.slots]), 1, first, width, 0, 0])

    def one_by_one(self, steps: list[Vertical]) -> None:
        """Steps by themselves, their tags through memory but where a row moves."""
        ops, read = (kernel.chain, kernel.move, kernel.put_columns), -1
        for at, one in enumerate(steps):
            entries = self.table([(*pair, step.COUNTED) for pair in (*one.key, *one.write)])
            if one.is_moved_by(steps[at + 1 : at + 3]):
                read = one.key[0][0]
                continue
            for row in vertical(one.row, one.index, entries, *ops):
                if read >= 0:
                    row[frame.INDEX], row[frame.Z] = one.index - 1, read
                if one[OP] == Op.PASS and not one[GATE]:
                    row[frame.X] = 0  # nobody looks at the tags
                self.rows.append(row)
            read = -1
