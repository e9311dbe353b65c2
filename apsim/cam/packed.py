"""The fast array: bit-planes of 64-bit words, and kernels that carry out programs.

The rule: it agrees with `DenseCam` in cells, tags, latches, outputs and every number,
for any program, whatever the number of threads and the size of a tile, and whichever LUT
steps have code of their own.  numba is imported when the first program runs, not before; an
array that does not wait for it carries small programs out by the definition until it is there.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from apsim.background import is_made
from apsim.cam import frame
from apsim.cam.base import Execution, apart, refuse_unless_it_fits
from apsim.cam.dense import DenseCam
from apsim.cam.lanes.operands import planes_of, words_of
from apsim.cam.lanes.operands import prepare as prepare_lanes
from apsim.encoding import BODY, GROUPS, OP, PLACE, PORT, Code
from apsim.errors import ProgramError
from apsim.step import Op

if TYPE_CHECKING:
    from apsim.cam.lut_step import LutStep
    from apsim.cam.plan import Made, Plan, Section

__all__ = ["FusedCam", "PackedCam", "prepare"]

Bits = NDArray[np.bool_]
Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]

VECTOR = 512  # rows of a vector: eight words, one cache line
NEAR = 200 * 1024  # bytes of planes of one tile: they stay close to a core
SMALL = 1 << 23  # rows, and 4,096 for Python, of all steps: less than 0.1 s of the definition

NOTHING = np.zeros(1, np.int64)
_NO_WORDS = np.zeros((0, 0), np.uint64)


class _Told(NamedTuple):
    """What a walk over some vectors is told, for which rows, and what it counts into."""

    rows: object
    given: Numbers
    totals: Numbers
    places: tuple[int, ...]
    kept: object


class PackedCam:
    """A CAM of `rows` x `columns` cells, all 0 at first; see `apsim.cam.base.Cam`.

    `threads` share the tiles of long programs; `tile` is the number of vectors of 512
    rows that run through a stretch of steps before the next ones do.
    """

    worth_a_thread = 1 << 27
    """Rows times steps of a section below which handing over to threads costs more."""
    waits = True
    """Whether small programs, too, wait for the kernels to be loaded, or made."""

    def __init__(self, rows: int, columns: int, *, threads: int = 2, tile: int = 0) -> None:
        if rows < 1 or columns < 1:
            raise ProgramError(f"wanted at least one row and column, got {rows} x {columns}")
        if threads < 1 or tile < 0:
            raise ProgramError(f"wanted at least one thread, got {threads}, and a tile >= 0")
        self.rows, self.columns, self.threads = rows, columns, threads
        self._vectors = -(-rows // VECTOR)
        near = max(NEAR // (64 * (columns + 2)), 8)
        self._tile = tile or -(-self._vectors // max(round(self._vectors / near), 1))
        line = 8 * (self._vectors | 1)
        self._planes = frame.aligned((columns + 2) * line).reshape(-1, line)
        self._live_columns = np.zeros(-(-columns // VECTOR) * 8, np.uint64)
        _pack(np.ones(rows, bool), self._planes[-1])
        _pack(np.ones(columns, bool), self._live_columns)
        self._starts = np.arange(0, 8 * self._tile, 8)
        self._told: dict[tuple[int, int], _Told] = {}
        self._set_segments(1)

    def __getstate__(self) -> dict[str, Any]:
        """Without what walks are told: that holds addresses, and a copy has planes of its own."""
        return vars(self) | {"_told": {}}

    @property
    def tag(self) -> Bits:
        """Rows matched by the last horizontal compare or read: bool[rows]."""
        tags: Bits = _bits(self._planes[-2:-1], self.rows)[0]
        return tags

    @property
    def column_tag(self) -> Bits:
        """Columns matched by the last vertical compare or read: bool[groups, columns]."""
        return _bits(self._latches[:, 0], self.columns)

    def peek(self, rows: int | None = None) -> Bits:
        """A copy of the cells, bool[rows, columns], of the first `rows` alone where given."""
        rows = self.rows if rows is None else min(rows, self.rows)
        words = self._planes[:-2, : -(-rows // 64)]
        return np.ascontiguousarray(_bits(np.ascontiguousarray(words), rows).T)

    def poke(self, cells: Bits) -> None:
        """Set all cells, outside the count."""
        lines = np.broadcast_to(np.asarray(cells, bool), (self.rows, self.columns)).T
        _pack(lines, self._planes[:-2])

    def snapshot(self) -> tuple[Words, Words]:
        """Cells, tags and latches."""
        return self._planes.copy(), self._latches.copy()

    def restore(self, saved: tuple[Words, Words]) -> None:
        """Return to a snapshot."""
        self._planes[:], self._latches = saved[0], saved[1].copy()

    def execute(self, code: Code, data: Words | None = None, out: Words | None = None) -> Execution:
        """Carry out encoded steps in order; see `Cam.execute`."""
        if not (self.waits or is_made("kernels", prepare)) and self._is_small(code, out):
            return self._by_definition(code, data, out)
        plan = _late().plan(code)
        refuse_unless_it_fits(plan.needs, self.rows, self.columns, data, out)
        data = _NO_WORDS if data is None else np.ascontiguousarray(apart(data, out), np.uint64)
        put = _NO_WORDS if out is None else out if _is_plain(out) else np.array(out, np.uint64)
        parts = [
            self._vertical(plan, section, data, put)
            if section.loops
            else self._horizontal(plan, section, data, put)
            for section in plan.sections
        ]
        totals = parts[0] if len(parts) == 1 else sum(parts, np.zeros((5, len(code)), np.int64))
        if out is not None and put is not out:
            out[...] = put
        return Execution.of(totals, plan.lines(self.rows, self.columns), plan.steps[:, OP])

    def _is_small(self, code: Code, out: Words | None) -> bool:
        groups = np.maximum(code.steps[:, GROUPS] - 1, 0) @ code.steps[:, BODY]
        small = (len(code) + int(groups)) * (self.rows + 4096) < SMALL
        return small and (out is None or _is_plain(out))

    def _by_definition(self, code: Code, data: Words | None, out: Words | None) -> Execution:
        """The same by `DenseCam`, on a copy of cells, tags and latches."""
        dense = DenseCam(self.rows, self.columns)
        dense.restore((self.peek(), self.tag, _bits(self._latches, self.columns).swapaxes(0, 1)))
        done = dense.execute(code, None if data is None else np.asarray(data, np.uint64), out)
        cells, tag, latches = dense.snapshot()
        self._set_segments(latches.shape[1])
        self.poke(cells)
        _pack(tag, self._planes[-2])
        _pack(latches.swapaxes(0, 1), self._latches)
        return done

    def _chosen(self, plan: Plan) -> frozenset[LutStep]:
        """LUT steps that run as code of their own."""
        return frozenset()

    def _horizontal(self, plan: Plan, section: Section, data: Words, out: Words) -> Numbers:
        """Run all vectors of a section, on threads where that is worth it."""
        late = _late()
        rows = plan.horizontal(section, self._chosen(plan), late.take, late.put)
        taken, put = (
            np.zeros((len(words), bits, self._vectors * 8), np.uint64) if bits else _NO_WORDS
            for words, bits in zip((data, out), plan.bits, strict=True)
        )
        if plan.bits[0]:
            ports = planes_of(data, plan.bits[0])
            taken[:, :, : ports.shape[2]] = ports

        def run(part: tuple[int, int]) -> Numbers:
            """Operations in order on some vectors, tile by tile."""
            told = self._walk(part, plan, rows)
            told.totals[:] = 0
            if taken.size or put.size:
                told.given[:, [frame.PACKED, frame.OUT]] = (
                    frame.address(taken), frame.address(put),
                )  # fmt: skip
            late.walk(*told.places)
            return told.totals.copy()

        small = self.rows * (section.stop - section.start) < self.worth_a_thread
        if small or self.threads == 1:
            totals = run((0, self._vectors))
        else:
            totals = sum(frame.each(run, self._parts(), self.threads), NOTHING)
        if put.size:
            self._put(plan.steps[section.start : section.stop], put, out)
        return totals

    def _walk(self, part: tuple[int, int], plan: Plan, rows: Made) -> _Told:
        """What is told of some vectors for the rows that ran last."""
        known = self._told.get(part)
        if known is None or known.rows is not rows:
            known = self._told[part] = self._made(*part, plan, rows)
        return known

    def _made(self, first: int, last: int, plan: Plan, rows: Made) -> _Told:
        """The same rows on one tile after another; the last of some vectors has its own frame."""
        late = _late()
        at, address, line = late.at, frame.address, self._planes.strides[0]
        lows = np.arange(first, last, self._tile)
        ops = np.zeros((len(lows), at.OP_SIZE), np.int64)
        ops[:, [at.ROWS, at.MANY_ROWS]] = address(rows[0]), len(rows[0])
        ops[:, at.IN_SLOT] = lows
        ops[-1, at.KIND] = 1
        base, size = address(self._planes), last - int(lows[-1])
        tags = base + line * self.columns
        alive = min(self.rows - VECTOR * int(lows[-1]), VECTOR * size)
        given = np.zeros((2, frame.FRAME), np.int64)
        for one, vectors, living in zip(
            given, (self._tile, size), (VECTOR * self._tile, alive), strict=True
        ):
            full = living // VECTOR
            one[: frame.TIMES] = base, line, vectors, full, tags + line, tags, living, living
        given[:, [frame.SLOT, frame.BESIDE, frame.PORT, frame.BITS, frame.PLANE, frame.STARTS]] = (
            64, 64, 0, plan.bits[0] * plan.needs.inputs, self._vectors * 8, address(self._starts),
        )  # fmt: skip
        given[:, frame.OUT_PORT] = self._vectors * 64
        own, totals = given.copy(), np.zeros((5, len(plan.steps)), np.int64)
        places = address(own), address(given), address(ops), len(ops), address(totals)
        return _Told(rows, given, totals, (*places, totals.strides[0]), (own, ops))

    def _put(self, steps: Numbers, planes: Words, out: Words) -> None:
        """The bits of words that steps have put out, from planes."""
        places = steps[(steps[:, OP] == Op.READ) & (steps[:, PORT] >= 0)][:, [PORT, PLACE]]
        for port in sorted(set(places[:, 0].tolist())):
            bits = places[places[:, 0] == port, 1].astype(np.uint64)
            mask = np.bitwise_or.reduce(np.uint64(1) << bits)
            out[port] &= ~mask
            out[port] |= words_of(planes[port])[: self.rows]  # no other bits are set in these

    def _parts(self) -> list[tuple[int, int]]:
        """Vectors from and to, for each thread: whole tiles."""
        tiles = -(-self._vectors // self._tile)
        threads = min(self.threads, tiles)
        borders = [min(tiles * k // threads * self._tile, self._vectors) for k in range(threads)]
        return list(zip(borders, [*borders[1:], self._vectors], strict=True))

    def _vertical(self, plan: Plan, section: Section, data: Words, out: Words) -> Numbers:
        """Run loops on the rows that they touch, turned into lines."""
        late, totals = _late(), np.zeros((frame.COUNTERS, len(plan.steps)), np.int64)
        words, address = len(self._live_columns), frame.address
        cells = frame.aligned(-(-self.rows // 64) * 64 * words).reshape(-1, words)
        _turn(self._planes, self.columns, section.groups, cells, False)
        for start in section.loops:
            loop, told = plan.loops[start], np.zeros(frame.FRAME, np.int64)
            self._set_segments(len(loop.table) if loop.parallel else 1)
            told[: frame.TIMES] = (
                address(cells), 8 * words, words // 8, 0, address(self._live_columns),
                address(self._latches), self.columns, self.columns,
            )  # fmt: skip
            told[frame.TIMES : frame.ROW] = [address(counter) for counter in totals]
            told[frame.DATA : frame.SLOT] = (
                address(data), data.strides[0], address(out), out.strides[0],
            )  # fmt: skip
            own, rows = loop.pool.copy(), loop.operations.copy()
            rows[:, frame.TABLE] += address(own)
            late.loop(
                address(told), address(rows), len(rows), address(loop.pool), address(own),
                len(own), address(loop.table), *loop.table.shape,
                self._latches.strides[0] if loop.parallel else 0,
            )  # fmt: skip
        _turn(self._planes, self.columns, section.groups, cells, True)
        return totals

    def _set_segments(self, segments: int) -> None:
        """Tags, latch G and latch K of each segment: zeros where their number changes."""
        if not hasattr(self, "_latches") or len(self._latches) != segments:
            self._latches = np.zeros((segments, 3, len(self._live_columns)), np.uint64)


class FusedCam(PackedCam):
    """A packed array that has code for the LUT steps of a program, where that is worth it.

    Same cells, tags and numbers as the strict array, by test; only how often a cell travels
    between memory and registers differs.
    """

    always = False
    """Whether LUT steps have code of their own whatever it costs to make that."""

    def _chosen(self, plan: Plan) -> frozenset[LutStep]:
        """LUT steps that run as code of their own."""
        if self.always:
            return plan.chosen(lambda *_: True, 0)
        return plan.chosen(_late().worth, self._vectors)


def _turn(planes: Words, columns: int, groups: Numbers | None, cells: Words, back: bool) -> None:
    """Copy groups of 64 rows from planes to cells uint64[rows, words], or `back`."""
    squares = cells.reshape(-1, 64, cells.shape[1])
    for word, first in enumerate(range(0, columns, 64)):
        part = planes[first : min(first + 64, columns)]
        if back:
            part[:, groups] = planes_of(squares[groups, :, word].reshape(1, -1), len(part))[0]
        else:
            squares[groups, :, word] = words_of(part[:, groups]).reshape(-1, 64)


def _is_plain(words: Words) -> bool:
    return words.dtype == np.uint64 and bool(words.flags.c_contiguous)


def _bits(words: Words, count: int) -> Bits:
    """The first `count` bits of each line of words: bool[..., count]."""
    octets = np.ascontiguousarray(words).view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=count, bitorder="little").view(bool)


def _pack(bits: Bits, words: Words) -> None:
    """Lines of words := these bits, and zeros above them."""
    octets = np.packbits(bits, axis=-1, bitorder="little")
    words[...] = 0
    words.view(np.uint8)[..., : octets.shape[-1]] = octets


@cache
def _late() -> SimpleNamespace:
    """What numba is imported for."""
    from apsim.cam import plan, step
    from apsim.cam.lanes import kernel
    from apsim.cam.lut_step import worth

    return SimpleNamespace(
        plan=plan.plan, worth=worth, loop=step.loop,
        at=kernel, take=kernel.take, put=kernel.put, walk=kernel.walk,
        vertical=(step.loop, step.gate, step.move),
    )  # fmt: skip


def prepare() -> None:
    """Load the kernels that arrays need, or make them."""
    prepare_lanes()
    for one in _late().vertical:
        _ = one.address
