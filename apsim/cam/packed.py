"""The fast array: bit-planes of 64-bit words, and machine code that carries out programs.

The rule: it agrees with `DenseCam` in cells, tags, latches, outputs and every number,
for any program, whatever the number of threads and the size of a tile.  LLVM is
imported when the first program runs, not before.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from apsim.cam._across import Across
from apsim.cam._coding import ALONE, UNCODED, coded
from apsim.cam._compile import PLAIN
from apsim.cam._frame import DATA, FRAME, OUT_PORT, address, caller, count_into, frame
from apsim.cam._plan import Plan, Section, plan
from apsim.cam.base import Execution, refuse_unless_it_fits
from apsim.encoding import GROUPS, PARALLEL, Code
from apsim.errors import ProgramError

__all__ = ["PackedCam"]

Bits = NDArray[np.bool_]
Words = NDArray[np.uint64]
Run = Callable[[int, int, NDArray[np.int64]], object]

WORTH_CODE = 4  # vectors of an array from which on passes are worth code for their arity
VECTOR = 512  # rows of a vector: eight words, one cache line
NEAR = 200 * 1024  # bytes of planes of one tile: they stay close to a core


_NO_WORDS = np.zeros((0, 0), np.uint64)


@dataclass(frozen=True)
class Saved:
    """A snapshot of a packed array."""

    planes: Words
    latches: Words


class PackedCam:
    """A CAM of `rows` x `columns` cells, all 0 at first; see `apsim.cam.base.Cam`.

    `threads` share the tiles of long programs; `tile` is the number of vectors of 512
    rows that run through a stretch of steps before the next ones do.
    """

    least = ALONE
    """How often a LUT step must occur to be fused into code of its own; `ALONE` for never."""

    worth_a_thread = 1 << 27
    """Rows times steps of a section below which handing over to threads costs more."""

    def __init__(self, rows: int, columns: int, *, threads: int = 2, tile: int = 0) -> None:
        if rows < 1 or columns < 1:
            raise ProgramError(f"wanted at least one row and column, got {rows} x {columns}")
        if threads < 1 or tile < 0:
            raise ProgramError(f"wanted at least one thread, got {threads}, and a tile >= 0")
        self.rows, self.columns, self.threads = rows, columns, threads
        self._vectors = -(-rows // VECTOR)
        self._tile = tile or max(NEAR // (64 * (columns + 2)) // 8 * 8, 8)
        self._planes = _aligned(columns + 2, (self._vectors | 1) * 8)
        self._live_columns = _ones(columns, -(-columns // 64))
        self._planes[-1] = _ones(rows, self._planes.shape[1])
        self._latches = np.zeros((3, 1, len(self._live_columns)), np.uint64)
        self._told = 0, np.zeros(0, np.int64)

    @property
    def tag(self) -> Bits:
        """Rows matched by the last horizontal compare or read: bool[rows]."""
        return _packing().unpack(self._planes[-2:-1], self.rows)[0]  # type: ignore[no-any-return]

    @property
    def column_tag(self) -> Bits:
        """Columns matched by the last vertical compare or read: bool[groups, columns]."""
        return _packing().unpack(self._latches[0], self.columns)  # type: ignore[no-any-return]

    def peek(self) -> Bits:
        """A copy of the cells, bool[rows, columns]."""
        return np.ascontiguousarray(_packing().unpack(self._planes[:-2], self.rows).T)

    def poke(self, cells: Bits) -> None:
        """Set all cells, outside the count."""
        lines = np.broadcast_to(np.asarray(cells, bool), (self.rows, self.columns)).T
        self._planes[:-2] = _packing().pack(lines, self._planes.shape[1])

    def snapshot(self) -> Saved:
        """Cells, tags and latches."""
        return Saved(self._planes.copy(), self._latches.copy())

    def restore(self, saved: Saved) -> None:
        """Return to a snapshot."""
        self._planes[:], self._latches = saved.planes, saved.latches.copy()

    def execute(self, code: Code, data: Words | None = None, out: Words | None = None) -> Execution:
        """Carry out encoded steps in order; see `Cam.execute`."""
        steps = plan(code)
        refuse_unless_it_fits(steps.needs, self.rows, self.columns, data, out)
        data = _NO_WORDS if data is None else np.ascontiguousarray(data, np.uint64)
        put = _NO_WORDS if out is None else out if _is_plain(out) else np.array(out, np.uint64)
        totals = steps.totals(self.rows, self.columns)
        across = None if PLAIN else self.coded(code)
        for section in steps.sections:
            if section.groups is not None:
                self._vertical(steps, section, data, put, totals)
            elif across:
                self._shared_out(section, self._by_code(across, section, data, put), totals)
            else:
                self._shared_out(section, self._by_kernel(steps, section, data, put), totals)
        if across:
            across.complete(totals)
        if out is not None and put is not out:
            out[...] = put
        return Execution.of(code, totals)

    def coded(self, code: Code) -> Across:
        """The operations of a program's horizontal steps, worked out before it first runs."""
        alone = self._vectors < WORTH_CODE or code.whole is not None
        return coded(code, UNCODED if alone else self.least)

    def _by_code(self, across: Across, section: Section, data: Words, out: Words) -> Run:
        """Machine code for a section, on vectors from one number to another."""
        across.made(section.start, section.stop)  # by this thread, for all of them
        return lambda first, last, into: self.prepared(
            across, section, (first, last), into, data, out
        )()

    def prepared(
        self,
        across: Across,
        section: Section,
        vectors: tuple[int, int],
        into: NDArray[np.int64],
        data: Words = _NO_WORDS,
        out: Words = _NO_WORDS,
    ) -> Callable[[], object]:
        """Machine code for a section on some vectors, told all that it needs.

        It adds to `into` int64[4, steps] what it counts; what follows from matches is still to
        be added (`Across.complete`).
        """
        made, told = across.made(section.start, section.stop), np.zeros(FRAME + 4, np.int64)
        told[:FRAME], told[FRAME:] = self._frame, (made.count, *vectors, self._tile)
        count_into(told, into)
        if data.size or out.size:
            told[DATA : OUT_PORT + 1] = (
                address(data), data.strides[0], address(out), out.strides[0],
            )  # fmt: skip
        begin, tiles = address(told), caller(across.tiles)

        def call(_: object = (self, across, told, into, data, out)) -> None:
            tiles(begin, made.address, begin + 8 * FRAME)

        return call

    def _by_kernel(self, steps: Plan, section: Section, data: Words, out: Words) -> Run:
        """The kernel in plain source, likewise."""
        size = self.rows, self.rows // VECTOR, self._tile

        def run(first: int, last: int, into: NDArray[np.int64]) -> None:
            span = section.start, section.stop, first, last
            _kernels().horizontal(
                self._planes, steps.steps, steps.pool, steps.extra, span, size, data, out, into
            )

        return run

    def _shared_out(self, section: Section, run: Run, totals: NDArray[np.int64]) -> None:
        """Run all vectors of a section, on threads where that is worth it."""
        small = self.rows * (section.stop - section.start) < self.worth_a_thread
        if small or self.threads == 1:
            run(0, self._vectors, totals)
            return
        parts = self._parts()
        privates = [np.zeros_like(totals) for _ in parts]
        firsts, lasts = zip(*parts, strict=True)
        list(_pool(self.threads).map(run, firsts, lasts, privates))
        totals += sum(privates)

    @property
    def _frame(self) -> NDArray[np.int64]:
        """The frame of the planes where they stand now: a copy of an array has its own."""
        base = address(self._planes)
        if base != self._told[0]:
            self._told = base, self._new_frame(base)
        return self._told[1]

    def _new_frame(self, base: int) -> NDArray[np.int64]:
        line = self._planes.strides[0]
        return frame(
            base=base, line=line, full=self.rows // VECTOR, rows=self.rows, columns=self.columns,
            live=base + line * (self.columns + 1),
        )  # fmt: skip

    def _parts(self) -> list[tuple[int, int]]:
        """Vectors from and to, for each thread: whole tiles."""
        tiles = -(-self._vectors // self._tile)
        threads = min(self.threads, tiles)
        borders = [min(tiles * k // threads * self._tile, self._vectors) for k in range(threads)]
        return list(zip(borders, [*borders[1:], self._vectors], strict=True))

    def _vertical(
        self, steps: Plan, section: Section, data: Words, out: Words, totals: NDArray[np.int64]
    ) -> None:
        cells = np.empty((-(-self.rows // 64) * 64, len(self._live_columns)), np.uint64)
        packing = _packing()
        packing.to_rows(self._planes, self.columns, section.groups, cells)
        for start in section.loops:
            head = steps.steps[start]
            self._set_segments(int(head[GROUPS]) if head[PARALLEL] else 1)
            _down().vertical(
                cells, self._latches, self._live_columns, steps.steps, steps.pool, steps.rows,
                start, data, out, totals,
            )  # fmt: skip
        packing.to_planes(self._planes, self.columns, section.groups, cells)

    def _set_segments(self, segments: int) -> None:
        if self._latches.shape[1] != segments:
            self._latches = np.zeros((3, segments, len(self._live_columns)), np.uint64)


def _is_plain(words: Words) -> bool:
    return words.dtype == np.uint64 and bool(words.flags.c_contiguous)


def _aligned(lines: int, words: int) -> Words:
    """Zeros at a multiple of 64 bytes, so that a vector is one cache line."""
    raw = np.zeros(lines * words + 8, np.uint64)
    first = -raw.ctypes.data % 64 // 8
    return raw[first : first + lines * words].reshape(lines, words)


def _ones(count: int, words: int) -> Words:
    ones = np.zeros(words, np.uint64)
    ones[: count // 64] = ~np.uint64(0)
    if count % 64:
        ones[count // 64] = (1 << count % 64) - 1
    return ones


@cache
def _kernels() -> ModuleType:
    from apsim.cam import _kernels

    return _kernels


@cache
def _down() -> ModuleType:
    from apsim.cam import _vertical

    return _vertical


@cache
def _packing() -> ModuleType:
    from apsim.cam import _packing

    return _packing


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="apsim")
