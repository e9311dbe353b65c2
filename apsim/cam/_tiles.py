"""How a tile of lanes is walked: by machine code, or by the kernel in plain source.

The rule: both take the same schedule and give the same cells and numbers; what planes they
want, and how they name operations, is their own affair.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam._coding import possible
from apsim.cam._plan import COUNTED, KNOWN, plan
from apsim.cam.schedule import ACROSS, DOWN, Schedule
from apsim.encoding import Code

_own = threading.local()

__all__ = ["Spans", "Tiles", "tiles"]

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]
Spans = list[tuple[int, int]]


class Tiles(ABC):
    """Planes for a program on lanes, and the walks over them."""

    def __init__(self, code: Code, schedule: Schedule, columns: int) -> None:
        self.code, self.schedule, self.columns = code, schedule, columns

    slots: int
    lines: int

    def planes(self, width: int) -> Words:
        """The thread's planes uint64[slots, lines, width] at a multiple of 64 bytes.

        They hold what the last walk left there: a walk clears what it enters.
        """
        shape = (self.slots, self.lines, width)
        size = int(np.prod(shape))
        raw: Words | None = getattr(_own, "raw", None)
        if raw is None or len(raw) < size + 8:
            _own.raw = raw = np.zeros(size + 8, np.uint64)
        first = -raw.ctypes.data % 64 // 8
        return raw[first : first + size].reshape(shape)

    @property
    @abstractmethod
    def whole(self) -> Numbers:
        """The schedule, as `walk` takes it."""

    @abstractmethod
    def horizontal(self, spans: Spans) -> Numbers:
        """Horizontal steps on the row of zeros in slot 0, as `walk` takes them."""

    @abstractmethod
    def walk(
        self, planes: Words, ops: Numbers, operands: Any, live: Words, runs: Numbers, out: Words,
        totals: Numbers,
    ) -> None:  # fmt: skip
        """Walk over planes; rows matched, written and flipped by step go to totals[1:].

        `out` uint64[bits, width] takes the bits that block 0 puts out in port 0.
        """

    @abstractmethod
    def complete(self, totals: Numbers) -> None:
        """Add to the totals of all walks what follows from them."""


def tiles(code: Code, schedule: Schedule, columns: int, least: int) -> Tiles:
    """By machine code where there can be any."""
    if possible():
        return _ByCode(code, schedule, columns, least)
    return _ByKernel(code, schedule, columns)


class _ByCode(Tiles):
    def __init__(self, code: Code, schedule: Schedule, columns: int, least: int) -> None:
        from apsim.cam._walks import walk_of

        super().__init__(code, schedule, columns)
        self.made = walk_of(code, schedule, columns, least)
        self.slots, self.lines = self.made.slots, columns + 1

    @property
    def whole(self) -> Numbers:
        return self.made.rows

    def horizontal(self, spans: Spans) -> Numbers:
        return self.made.horizontal(spans)

    def complete(self, totals: Numbers) -> None:
        self.made.complete(totals)

    def walk(
        self, planes: Words, ops: Numbers, operands: Any, live: Words, runs: Numbers, out: Words,
        totals: Numbers,
    ) -> None:  # fmt: skip
        from apsim.cam._frame import caller, count_into, frame
        from apsim.cam._operations import operations

        slot, line, _ = planes.strides
        full = live.reshape(-1, 8) == ~np.uint64(0)
        told = frame(
            base=planes.ctypes.data, line=line, slot=slot, vectors=len(live) // 8,
            full=int(np.logical_and.accumulate(full.all(axis=1)).sum()),
            live=live.ctypes.data, columns=self.columns, alive=int(np.bitwise_count(live).sum()),
            tags=self.made.tags, out=out.ctypes.data, out_port=out.strides[0], places=len(out),
            packed=operands.packed.ctypes.data, bits=operands.packed.shape[1],
            plane=operands.packed.shape[2], words=operands.words.ctypes.data,
            many=operands.words.shape[1], runs=runs.ctypes.data, run_count=len(runs),
            port=operands.port, **_short(runs),
        )  # fmt: skip
        count_into(told, totals)
        count = np.array([len(ops)], np.int64)
        caller(operations().walk)(told.ctypes.data, ops.ctypes.data, count.ctypes.data)


def _short(runs: Numbers) -> dict[str, int]:
    """Where every word of the other operand serves 1, 2, 4 or 8 lane words: how many, and which.

    The planes have as many words, and those that follow one another take the words in order.
    """
    start, stop, first, which, port = runs.T
    words = int(stop[0] - start[0])
    sizes = stop - start
    alike = bool((sizes[:-1] == words).all() and sizes[-1] <= words and not first.any())
    follow = bool((which == which[0] + np.arange(len(runs))).all())
    if port[0] >= 0 and words in (1, 2, 4, 8) and alike and follow:
        return {"short": words, "first": int(which[0])}
    return {}


class _ByKernel(Tiles):
    def __init__(self, code: Code, schedule: Schedule, columns: int) -> None:
        super().__init__(code, schedule, columns)
        self.slots, self.lines = schedule.slots + 4, columns + 2
        self.steps = plan(code)
        self.down, self.pool, self.ops = _numbered(code, schedule)

    @property
    def whole(self) -> Numbers:
        return self.ops

    def horizontal(self, spans: Spans) -> Numbers:
        return np.array([(ACROSS, *span, 0) for span in spans], np.int64).reshape(-1, 4)

    def complete(self, totals: Numbers) -> None:
        """The kernel has counted everything."""

    def walk(
        self, planes: Words, ops: Numbers, operands: Any, live: Words, runs: Numbers, out: Words,
        totals: Numbers,
    ) -> None:  # fmt: skip
        from apsim.cam import _lanes

        slots, height, width = planes.shape
        planes[0, -1] = live
        _lanes.walk(
            planes, planes.reshape(slots, height * width), planes.reshape(slots * height, width),
            ops, self.steps.steps, self.steps.pool, self.steps.extra, self.down, self.pool,
            np.zeros(slots, np.int64), operands.packed, operands.words, live, runs, out, totals,
        )  # fmt: skip


def _numbered(code: Code, schedule: Schedule) -> tuple[Numbers, Numbers, Numbers]:
    """Vertical steps as rows of the kernel's table, their lines in a pool; operations by these."""
    from apsim.cam._reader import Reader

    reader = Reader.of(code, schedule)
    rows: list[list[int]] = []
    pool: list[tuple[int, int, int]] = []
    known: dict[tuple[int, int], int] = {}
    ops = schedule.ops.copy()
    for op in ops[ops[:, 0] == DOWN]:
        name = int(op[1]), int(op[2])
        if name not in known:
            known[name] = len(rows)
            step = reader.step(*name)
            first = len(pool)
            pool += [(slot, bit, COUNTED) for slot, bit in step.key]
            pool += [(*pair, mode) for pair, mode in zip(step.write, step.modes, strict=True)]
            rows.append([
                step.op, step.gate, first, len(step.key), first + len(step.key), len(step.write),
                step.source, step.target, step.width, step.key[0][0] if step.key else 0,
                step.modes.count(KNOWN), step.port,
            ])  # fmt: skip
    down = ops[:, 0] == DOWN
    ops[down, 2] = [known[int(a), int(b)] for _, a, b, _ in ops[down]]
    return (
        np.array(rows, np.int64).reshape(-1, 12),
        np.array(pool, np.int64).reshape(-1, 3),
        ops,
    )
