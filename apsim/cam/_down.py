"""Vertical steps on slots of lanes as operations that machine code carries out.

The rule: every step has its operation, in the program's order; steps share one only where
they are passes on the same few slots, or a row is read and written on at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from apsim.cam import _frame as frame
from apsim.cam._coding import ALONE, UNCODED
from apsim.cam._grouping import blank
from apsim.cam._plan import COUNTED, Numbers
from apsim.cam._reader import Vertical
from apsim.cam.regular import NEEDED
from apsim.program import Gate, Op

__all__ = ["Down"]

Pairs = tuple[tuple[int, int], ...]
Row = list[int]

MOST_LINES = 4  # slots of passes that share code
SLOTS, KEPT, KEEPS, ONLY, UNMATCHED = 1, 2, 4, 8, 16  # flags of a step; see `_steps`


@dataclass(frozen=True, eq=False)
class Down:
    """Operations for vertical steps; `tags` is the slot of column tags, two latches after it."""

    tags: int
    least: int
    _tables: list[Numbers] = field(default_factory=list)  # what rows hold the addresses of

    def rows(self, steps: Sequence[Vertical], spent: Sequence[bool], latched: bool) -> Numbers:
        """Operations for steps that follow one another; INDEX counts from the first.

        `spent` says of each whether nobody wants the column tags that it leaves, `latched`
        whether somebody wants the latches afterwards.
        """
        rows: list[Row] = []
        parts = list(self._parts(steps, spent))
        for k, (first, part) in enumerate(parts):
            before = parts[k - 1][1] if k else []
            after = parts[k + 1][1] if k + 1 < len(parts) else []
            if self._shifts(part, after):
                rows.append(self._code(first, part, after))
            elif not self._shifts(before, part):
                later = any(_uses_latches(other) for _, other in parts[k + 1 :])
                rows += self._operations(first, part, latched or later)
        return np.array(rows, np.int64).reshape(-1, frame.ROW_SIZE)

    def _shifts(self, passes: list[Vertical], move: list[Vertical]) -> bool:
        """Whether a slot of fused passes is read after them and moved up by one, in place."""
        if self.least in (ALONE, UNCODED) or len(move) != 2 or not passes or not _is_move(*move):
            return False
        read, write = move
        in_place = read.key[0][0] == write.key[0][0] and read.slots <= set(_in_order(passes))
        up = write.target == 0 and write.source == -1
        return in_place and up and all(one.may_have_code and not one.gate for one in passes)

    def _parts(
        self, steps: Sequence[Vertical], spent: Sequence[bool]
    ) -> Iterator[tuple[int, list[Vertical]]]:
        """Steps that share an operation, with the number of the first."""
        first = 0
        while first < len(steps):
            stop = first + 1
            while stop < len(steps) and self._joins(steps, first, stop, spent):
                stop += 1
            yield first, list(steps[first:stop])
            first = stop

    def _joins(
        self, steps: Sequence[Vertical], first: int, stop: int, spent: Sequence[bool]
    ) -> bool:
        start, step = steps[first], steps[stop]
        if start.op == Op.READ:
            return stop == first + 1 and spent[stop] and _is_move(start, step)
        if self.least in (ALONE, UNCODED) or not (start.may_have_code and step.may_have_code):
            return False
        return len(set[int]().union(*(one.slots for one in steps[first : stop + 1]))) <= MOST_LINES

    def _operations(self, first: int, part: list[Vertical], latched: bool) -> Iterator[Row]:
        gates = [step.gate for step in part]
        if part[0].op == Op.READ and len(part) == 2:
            yield self._move(first, part[1], part[0].key[0][0], reads=True)
        elif self.least == UNCODED or not part[0].may_have_code:
            yield from self._single(first, part[0])
        elif any(gates) and (self.least == ALONE or latched or not _loads_first(gates)):
            for number, step in enumerate(part):
                yield from self._single(first + number, step)
        else:
            yield self._code(first, part)

    def _code(self, first: int, part: list[Vertical], move: Sequence[Vertical] = ()) -> Row:
        """Passes with their bits where they are several, by arity where one is alone."""
        from apsim.cam._fusion import Fused, address

        places = {slot: k for k, slot in enumerate(dict.fromkeys(_in_order(part)))}
        pattern = tuple(
            (
                tuple((places[slot], bit) for slot, bit in step.key),
                tuple(
                    (places[slot], bit, mode)
                    for (slot, bit), mode in zip(step.write, step.modes, strict=True)
                ),
            )
            for step in part
        )
        given: list[int] = []
        if self.least == ALONE:
            pattern, given = blank(pattern[0])
        gates = tuple(step.gate for step in part) if any(step.gate for step in part) else ()
        table = self._table([[*places, *given]])
        shifted = places[move[0].key[0][0]] if move else -1
        code = address(Fused(pattern, down=True, gates=gates, shifted=shifted))
        return [code, 0, table, 1, first, move[1].width if move else 0, 0, 0]

    def _single(self, index: int, step: Vertical) -> Iterator[Row]:
        """A step by itself, its tags through memory where the tag chain gates them."""
        lines = [(slot, bit, COUNTED) for slot, bit in step.key]
        lines += [(*pair, mode) for pair, mode in zip(step.write, step.modes, strict=True)]
        if step.op == Op.WRITE_TAG:
            yield self._move(index, step, self.tags, reads=False)
        elif step.op == Op.WRITE_ALL:
            yield [_operations().fill, 0, self._table(lines[len(step.key) :]), len(step.write),
                   index, 1, 0, 0]  # fmt: skip
        elif step.gate:
            yield from self._gated(index, step, lines)
        else:
            yield self._step(index, step, lines)
        if step.op == Op.READ and step.port == 0:
            yield [_operations().put_down, self.tags, step.source, step.width, index, 0, 0, 0]

    def _step(self, index: int, step: Vertical, lines: list[tuple[int, int, int]]) -> Row:
        only = step.op == Op.WRITE
        keeps = step.op in (Op.COMPARE, Op.READ)
        keys = 0 if only else len(step.key)
        writes = len(step.write) if step.op in (Op.PASS, Op.WRITE) else 0
        flags = SLOTS | (KEPT | ONLY) * only | KEEPS * keeps
        table = self._table(lines[len(step.key) :] if only else lines)
        return [_operations().step, 0, table, keys, index, flags, 0, writes]

    def _gated(
        self, index: int, step: Vertical, lines: list[tuple[int, int, int]]
    ) -> Iterator[Row]:
        """Matches kept, turned into tags by the chain, and written by."""
        table, keys = self._table(lines), len(step.key)
        flags = SLOTS | UNMATCHED
        yield [_operations().step, 0, table, keys, index, flags | KEEPS, 0, 0]
        yield [_operations().gate, 0, 0, step.gate, index, 0, 0, 0]
        if step.op == Op.PASS:
            written = self._table(lines[keys:])
            yield [_operations().step, 0, written, 0, index, flags | KEPT, 0, len(step.write)]

    def _move(self, index: int, step: Vertical, source: int, *, reads: bool) -> Row:
        slot = step.key[0][0]
        return [_operations().move, slot, source, step.width, index, step.target, step.source,
                int(reads)]  # fmt: skip

    def _table(self, rows: Sequence[Sequence[int]]) -> int:
        self._tables.append(np.array(rows, np.int64))
        return int(self._tables[-1].ctypes.data)


def _is_move(read: Vertical, write: Vertical) -> bool:
    """Whether a row is read and its tags written at once."""
    reads = read.op == Op.READ and len(read.key) == 1 and read.key[0][1] == 1
    return reads and read.port < 0 and not read.gate and write.op == Op.WRITE_TAG


def _uses_latches(part: Sequence[Vertical]) -> bool:
    """Whether steps want latches that others have loaded."""
    return not _loads_first([step.gate for step in part])


def _loads_first(gates: Sequence[int]) -> bool:
    """Whether each latch is loaded before its use."""
    loaded: set[int] = set()
    for gate in gates:
        if not NEEDED.get(Gate(gate), set()) <= loaded:
            return False
        loaded.add(gate)
    return True


def _in_order(part: Sequence[Vertical]) -> Iterator[int]:
    """The slots that steps use, in the order in which they come."""
    for step in part:
        for slot, _ in (*step.key, *step.write):
            yield slot


def _operations() -> Any:
    from apsim.cam._operations import operations

    return operations()
