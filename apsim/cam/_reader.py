"""Vertical steps of a scheduled program, read off its code, on the slots of the schedule.

The rule: steps that differ only in their lines are of one kind, and are read once for each line
of slots.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from apsim.cam._grouping import MOST_OPERANDS
from apsim.cam._plan import COUNTED, KNOWN, NEVER, Numbers
from apsim.cam._used import used
from apsim.cam.schedule import Schedule
from apsim.encoding import (
    GATE,
    KEY,
    KEYS,
    OP,
    PORT,
    SOURCE,
    TARGET,
    WIDTH,
    WRITE,
    WRITES,
    Code,
)  # fmt: skip
from apsim.program import Gate, Op

__all__ = ["Reader", "Vertical"]

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Vertical:
    """A vertical step: keys and written bits are (slot, bit)."""

    op: int
    gate: int
    key: Pairs
    write: Pairs
    source: int
    target: int
    width: int
    port: int

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

    @property
    def slots(self) -> set[int]:
        """The slots that it compares, reads or writes."""
        return {slot for slot, _ in (*self.key, *self.write)}

    @property
    def may_have_code(self) -> bool:
        """Whether it is a pass on few slots; one that the chain gates, only with its latches."""
        few = 0 < len(self.key) + len(self.write) <= MOST_OPERANDS
        return self.op == Op.PASS and self.gate != Gate.PREFIX and few


@dataclass(frozen=True, eq=False)
class Reader:
    """The vertical steps of a scheduled program, on the slots of a line of the schedule."""

    code: Code
    kinds: list[int]  # a number for each step, the same for those that differ in lines alone
    slots: list[list[int]]
    _known: dict[tuple[int, int], Vertical] = field(default_factory=dict)

    @classmethod
    def of(cls, code: Code, schedule: Schedule) -> Reader:
        return cls(code, _kinds(code), schedule.down.tolist())

    def step(self, index: int, line: int) -> Vertical:
        """A step of the program."""
        name = self.kinds[index], line
        if name not in self._known:
            row, pool = self.code.steps[index].tolist(), self.code.pool
            bits = [
                int(bit != 0)
                for first, count in ((KEY, KEYS), (WRITE, WRITES))
                for bit in pool[row[first] : row[first] + row[count], 1]
            ]
            pairs = tuple(zip(self.slots[line], bits, strict=False))
            key, write = pairs[: row[KEYS]], pairs[row[KEYS] : row[KEYS] + row[WRITES]]
            rest = row[SOURCE], row[TARGET], row[WIDTH], row[PORT]
            self._known[name] = Vertical(row[OP], row[GATE], key, write, *rest)
        return self._known[name]

    def known(self, kind: int, line: int) -> Vertical:
        """A step that was read before, by its kind."""
        return self._known[kind, line]


def _kinds(code: Code) -> list[int]:
    """Steps sorted into kinds, by all but their lines: equal digests, and another to make sure."""
    one, other = (_digests(code, seed) for seed in (1, 2))
    _, first, kinds = np.unique(one, return_index=True, return_inverse=True)
    if (other != other[first[kinds]]).any():
        _, kinds = np.unique(np.stack([one, other]), axis=1, return_inverse=True)
    return list(kinds.ravel().tolist())


def _digests(code: Code, seed: int) -> Numbers:
    """A number for each step, of what it does and of the bits of its key and what it writes."""
    bits, random = used(code), np.random.default_rng(seed)
    named = code.steps[:, [OP, GATE, PORT, SOURCE, TARGET, WIDTH, KEYS, WRITES]]
    digests: Numbers = named @ random.integers(1, 1 << 62, named.shape[1])
    factors = random.integers(1, 1 << 62, int(bits.place.max(initial=0)) + 1)
    if len(bits.step):
        steps, starts = np.unique(bits.step, return_index=True)
        digests[steps] += np.add.reduceat(factors[bits.place] * bits.bit, starts)
    return digests
