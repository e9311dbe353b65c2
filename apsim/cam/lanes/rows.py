"""A program on lanes as operations with rows, which the kernel walks block by block.

The rule: every step has its row, in the program's order; steps share one only where they are
LUT steps that follow one another, bits of a field that is taken in, or vertical steps that
can be carried out in one visit of each column.  Blocks that go through the same steps share
the rows that are made for these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

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
Bits = tuple[tuple[int, int], ...]
Key = tuple[int, int, int, int, int]
"""What names rows: FRESH; HORIZONTAL, steps from, to, whether words are put out; VERTICAL, steps
from, to, slots, whether all groups act at once."""

Spans = tuple[tuple[int, int], ...]
Chosen = frozenset[LutStep]
"""What has code of its own."""

SAYS = [
    getattr(encoding, name) for name in ["OP", "GATE", "PORT", "SOURCE", "TARGET", "WIDTH", "KEYS"]
]  # by a vertical step, besides its bits
OPERATIONS = kernel.chain, kernel.move, kernel.put_columns
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

    def moves_up(self, after: list[Vertical]) -> bool:
        """Whether it reads a row that the next step writes one column up, and no other uses."""
        reads = self[OP] == Op.READ and self[encoding.PORT] < 0 and not self[GATE]
        if not reads or len(self.key) != 1 or not after or after[0][OP] != Op.WRITE_TAG:
            return False
        (slot, bit), (to, _), *_ = *self.key, *after[0].key
        later = next((s[OP] for s in after[1:] if s[OP] != Op.WRITE_ALL), Op.READ)
        up = (bit, to, after[0][TARGET], after[0][SOURCE]) == (1, slot, 0, -1)
        return up and later not in (Op.WRITE, Op.WRITE_TAG)


@dataclass(frozen=True)
class Visit:
    """Vertical steps that can be carried out in one visit of each column of some slots.

    Or a step that cannot, alone.
    """

    alone: list[Vertical]
    steps: LutStep | None = None
    slots: tuple[int, ...] = ()


@dataclass(frozen=True)
class Walk:
    """Operations int64[m, 6] (see `kernel`), and what they hold the addresses of."""

    ops: Numbers
    chosen: Chosen
    kept: list[Numbers]


@dataclass
class Rows:
    """Makes the walks of a program whose order is known, on so many columns."""

    code: Code
    schedule: Schedule
    columns: int
    _walks: dict[tuple[Chosen, Spans | None], Walk] = field(default_factory=dict)

    def walk(self, chosen: Chosen, spans: Spans | None = None) -> Walk:
        """All operations, with code of their own for what is chosen.

        Or those of some horizontal steps on the row in slot 0, which put nothing out.
        """
        if (chosen, spans) not in self._walks:
            keys, which = self._ops if spans is None else _in_slot_0(spans)
            self._walks[chosen, spans] = self._walk(keys, which, chosen)
        return self._walks[chosen, spans]

    def _walk(self, keys: list[Key], which: Numbers, chosen: Chosen) -> Walk:
        """Operations of the kernel: their rows are those of a key, made once.

        Frames are horizontal, vertical for one group after the other, or for all at once.
        """
        made = [self._made(key, chosen) for key in keys]
        known = [
            (frame.address(rows), len(rows), 1 + key[4] if key[0] == VERTICAL else 0)
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
                if part.steps:
                    found[part.steps] += times * self.columns
        return dict(found)

    @cached_property
    def plan(self) -> Plan:
        """What is known of the program's steps; tags that no later one uses are nobody's here."""
        known, at = plan(self.code), np.arange(len(self.code))
        uses = np.flatnonzero(np.isin(known.steps[:, OP], (Op.WRITE, Op.WRITE_TAG)))
        keep = known.keep & (at < uses.max(initial=-1))
        spans = np.where(at < self.first, np.minimum(known.spans, self.first - at), known.spans)
        return replace(known, keep=keep, spans=spans, _known={}, _settled=[], _lines={})

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
                key = kind, *alike[start], which, block
            place = (0, start) if kind == VERTICAL else (which, 0)
            made.append((known.setdefault(key, len(known)), *place, block))
        return list(known), np.array(made, np.int64).reshape(-1, 4)

    def _alike(self) -> dict[int, tuple[int, int]]:
        """For the first step of a chunk: the first chunk that does the same.

        The same is what steps say, and their bits; lines by their ranks among the chunk's.
        """
        bits, steps = used(self.code), self.code.steps
        said = np.zeros((len(steps), len(SAYS) + 1 + int(bits.place.max(initial=0))), np.int64)
        said[:, : len(SAYS)] = steps[:, SAYS]
        said[bits.step, len(SAYS) + bits.place] = 1 + 2 * self.schedule.ranks + bits.bit
        known: dict[bytes, tuple[int, int]] = {}
        chunks = {op[1:3] for op in self.schedule.ops if op[0] == VERTICAL}
        return {
            start: known.setdefault(said[start:stop].tobytes(), (start, stop))
            for start, stop in sorted(chunks)
        }

    def _made(self, key: Key, chosen: Chosen) -> tuple[Numbers, list[Numbers]]:
        """Rows, and the tables whose addresses they hold."""
        if key[0] == HORIZONTAL:
            return self._horizontal(key, chosen)
        rows, tables = list[list[int]](), list[Numbers]()

        def table(entries: list[tuple[int, ...]]) -> int:
            tables.append(np.array(entries, np.int64))
            return frame.address(tables[-1])

        for part in self._parts(key) if key[0] == VERTICAL else ():
            if part.steps and part.steps in chosen:
                width = max(one[WIDTH] * (one[OP] == Op.WRITE_TAG) for one in part.alone)
                code, first = part.steps.address, part.alone[0].index
                rows.append([code, 0, table([part.slots]), 1, first, width, 0, 0])
                continue
            for one in part.alone:
                entries = table([(*pair, step.COUNTED) for pair in (*one.key, *one.write)])
                keep = one[OP] != Op.PASS or one[GATE] > 0  # else nobody looks at the tags
                rows += vertical(one.row, one.index, entries, keep, *OPERATIONS)
        return np.array(rows, np.int64).reshape(-1, frame.ROW_SIZE), tables

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
        left, of = set(range(self.columns)), plan(self.code)
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

    def _parts(self, key: Key) -> list[Visit]:
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


def _in_slot_0(spans: Spans) -> tuple[list[Key], Numbers]:
    which = np.zeros((len(spans), 4), np.int64)
    which[:, 0] = np.arange(len(spans))
    return [(HORIZONTAL, *span, 0, 0) for span in spans], which


def _grouped(steps: list[Vertical]) -> Iterator[Visit]:
    """As many steps as one visit can do, or one."""
    first = 0
    while first < len(steps):
        yield (visit := _visit(steps, first))
        first += len(visit.alone)


def _visit(steps: list[Vertical], first: int) -> Visit:
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
        return Visit([steps[first]])
    return Visit(alone, *made_of(parts))


def _part(steps: list[Vertical], at: int) -> Pass | None:
    """What a visit does for a step, or for a row's reading and the writing of its tags."""
    one = steps[at]
    if one[OP] == Op.PASS:
        return one.passes if one[GATE] != Gate.PREFIX and one.key else None
    return Pass(one.key, moves=True) if one.moves_up(steps[at + 1 :]) else None


def _latches_inside(gates: list[int], outside: list[int]) -> bool:
    """Whether the tag chain's latches are loaded before their use, and by nobody else."""
    loaded: set[int] = set()
    for gate in gates:
        if not NEEDED.get(Gate(gate), set()) <= loaded:
            return False
        loaded.add(gate)
    return not any(gates) or not any(outside)
