"""Sums whose weights are digits in the instruction stream, carried out from rows of digits.

A row of the stream is two numbers: what is to be done and on which columns, and a value.  One
kernel makes a group's rows from its weights, as a sequencer would, and walks them for one
vector of 512 pixels after another; the cells of a vector stay near the core meanwhile.

The rule: the passes are those of the LUTs that are given, each with its own tag, and each tag
is counted.  No pass is left out because a column is constant, and no sum comes from elsewhere
than the accumulators' columns.  Rows of the array that do not live hold 0, which no pass of a
fitting LUT matches.
"""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from textwrap import indent
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam.frame import address
from apsim.cam.jit import Operation, kernel
from apsim.cam.vector import invoke, pointer
from apsim.closed_form import WeightPlan
from apsim.counts import Activity, Counts
from apsim.errors import CountError, ProgramError

__all__ = ["LUTS", "Luts", "Outcome", "prepare", "run"]

Words = NDArray[np.uint64]
Integers = NDArray[np.int64]
Bits = tuple[tuple[str, int], ...]
Luts = tuple[tuple[str, tuple[tuple[Bits, Bits], ...]], ...]
"""By name, the passes of LUTs on columns A, B and C: keys and writes, in order."""

LUTS = "add_first", "sub_first", "add", "sub", "increment", "decrement", "ha2d", "fa3"
NEAR = 16  # vectors of a tile, whose cells stay close to a core
FEWEST = 8  # groups of a range, so that what is done again is little
VECTOR = 512

# Numbers of a frame; those of vectors stand at addresses, by vector.
CELLS, STRIDE, LIVE, ALIVE, WEIGHT, FIRST, LAST = range(7)
DATA, DATA_WORD, DATA_PLANE, OUT, OUT_WORD, OUT_PLANE = range(7, 13)
BITS, WIDTH, SHORT, TOGETHER, CHUNK, OUTPUTS, J = range(13, 20)  # M, W, WQ, T, q, i, J
WEIGHTS, PRESETS, TOTALS, COUNT, FRAME = range(20, 25)

# What a row does, in its lowest four bits; two columns or numbers of 16 bits, and a ripple.
ADD, SUBTRACT, MERGE, POPULATE, SHORT_PRESET, START, READ = range(7)

# Totals, of all vectors: lines that passes, writes without a compare and reads were carried
# out on, how often the hardware carries them out, and the rest of an `Activity`.
TOTAL = 10

TEXT = """\
from apsim.cam.digits import (
    ADD, ALIVE, BITS, CELLS, COUNT, DATA, DATA_PLANE, DATA_WORD, FIRST, LAST, LIVE, MERGE, OUT,
    OUT_PLANE, OUT_WORD, POPULATE, PRESETS, READ, SHORT, SHORT_PRESET, START, STRIDE, SUBTRACT,
    TOTALS, WEIGHT, WIDTH,
)
from apsim.cam.vector import load, nothing, ones, pointer, splat, store, total


def walk(frame, rows):
    bits, width, short = frame[BITS], frame[WIDTH], frame[SHORT]
    totals, presets = pointer(frame[TOTALS]), pointer(frame[PRESETS])
    for v in range(frame[FIRST], frame[LAST]):
        carry = frame[CELLS] + (v - frame[FIRST]) * frame[STRIDE]
        alive, times = pointer(frame[ALIVE])[v], pointer(frame[WEIGHT])[v]
        living = load(frame[LIVE], v)
        passes = writes = reads = cells = 0
        flips = found = nothing()
{counters}
        for n in range(frame[COUNT]):
            row, value = rows[2 * n], rows[2 * n + 1]
            op, at_a = row & 15, carry + 64 * (row >> 4 & 65535)
            at_b, more = carry + 64 * (row >> 20 & 65535), row >> 36
            if op == ADD:
                a, b, c = load(at_a, 0), load(at_b, 0), load(carry, 0)
{add_first}
                store(at_b, 0, b)
                for k in range(1, bits):
                    a, b = load(at_a, k), load(at_b, k)
{add}
                    store(at_b, k, b)
                for k in range(bits, bits + more):
                    b = load(at_b, k)
{increment}
                    store(at_b, k, b)
                store(carry, 0, c)
            elif op == SUBTRACT:
                a, b, c = load(at_a, 0), load(at_b, 0), load(carry, 0)
{sub_first}
                store(at_b, 0, b)
                for k in range(1, bits):
                    a, b = load(at_a, k), load(at_b, k)
{sub}
                    store(at_b, k, b)
                for k in range(bits, bits + more):
                    b = load(at_b, k)
{decrement}
                    store(at_b, k, b)
                store(carry, 0, c)
            elif op == MERGE:
                a, b, c = load(at_a, 0), load(at_b, 0), load(carry, 0)
{ha2d}
                store(at_a, 0, a)
                store(at_b, 0, b)
                for k in range(1, short):
                    a, b = load(at_a, k), load(at_b, k)
{fa3}
                    store(at_a, k, a)
                    store(at_b, k, b)
                for k in range(short, width):
                    b = load(at_b, k)
{increment}
                    store(at_b, k, b)
                store(carry, 0, c)
            elif op == POPULATE:
                for k in range(bits):
                    b = load(frame[DATA] + value * frame[DATA_WORD] + k * frame[DATA_PLANE], v)
                    flips += ones(b ^ load(at_a, k))
                    store(at_a, k, b)
                    writes += 1
                    cells += alive
            elif op == SHORT_PRESET:
                for k in range(short):
                    b = splat(-(value >> k & 1)) & living
                    flips += ones(b ^ load(at_a, k))
                    store(at_a, k, b)
                writes += 1
                cells += alive * short
            elif op == START:
                flips += ones(load(carry, 0))
                store(carry, 0, nothing())
                for t in range(more):
                    for k in range(width):
                        b = splat(-(presets[value + t] >> k & 1)) & living
                        flips += ones(b ^ load(at_a, t * width + k))
                        store(at_a, t * width + k, b)
                writes += 1
                cells += alive * (1 + more * width)
            elif op == READ:
                for k in range(width):
                    b = load(at_a, k)
                    found += ones(b)
                    store(frame[OUT] + value * frame[OUT_WORD] + k * frame[OUT_PLANE], v, b)
                    reads += 1
        matched = {matched}
        totals[0] += passes * alive
        totals[1] += writes * alive
        totals[2] += reads * alive
        totals[3] += passes * times
        totals[4] += writes * times
        totals[5] += reads * times
        totals[6] += matched
        totals[7] += total(found)
        totals[8] += cells + {written}
        totals[9] += total(flips) + {flipped}
"""


@dataclass(frozen=True)
class Outcome:
    """Accumulators as they were read, uint64[i, W, words of 64 pixels], and what was done."""

    planes: Words
    counts: Counts
    activity: Activity


@kernel("void(int64, int64, int64, int64, int64)")
def _groups(frame_address, rows_address, walk, first, last):  # type: ignore[no-untyped-def]
    """Make the rows of one group of outputs after another, and walk each group's."""
    frame, rows = pointer(frame_address), pointer(rows_address)
    bits, width, short, chunk = frame[BITS], frame[WIDTH], frame[SHORT], frame[CHUNK]
    words, weights = frame[J], pointer(frame[WEIGHTS])
    step = chunk if chunk else 1
    short_at = 1 + bits * step
    sums_at, end = short_at + short, short if chunk else width
    for group in range(first, last):
        o0 = group * frame[TOGETHER]
        outputs = frame[OUTPUTS] - o0
        if outputs > frame[TOGETHER]:
            outputs = frame[TOGETHER]
        rows[0], rows[1], n = START | sums_at << 4 | outputs << 36, o0, 1
        for start in range(0, words, step):
            stop = start + step if start + step < words else words
            for j in range(start, stop):
                some = 0
                for o in range(o0, o0 + outputs):
                    some |= weights[o * words + j]
                if some:
                    rows[2 * n], rows[2 * n + 1] = POPULATE | (1 + bits * (j - start)) << 4, j
                    n += 1
            for t in range(outputs):
                target = short_at if chunk else sums_at + t * width
                begun, negative = n, 0
                n += 1 if chunk else 0
                for j in range(start, stop):
                    left, k, word = weights[(o0 + t) * words + j], 0, 1 + bits * (j - start)
                    while left:
                        if left & 1:
                            digit = 2 - (left & 3)
                            left -= digit
                            op = ADD if digit > 0 else SUBTRACT
                            negative += (1 << k) if digit < 0 else 0
                            ripple = end - bits - k
                            rows[2 * n] = op | word << 4 | (target + k) << 20 | ripple << 36
                            n += 1
                        left >>= 1
                        k += 1
                if chunk and n == begun + 1:
                    n = begun
                elif chunk:
                    preset = negative * ((1 << bits) - 1)
                    rows[2 * begun] = SHORT_PRESET | short_at << 4
                    rows[2 * begun + 1] = preset
                    rows[2 * n] = MERGE | short_at << 4 | (sums_at + t * width) << 20
                    n += 1
        for t in range(outputs):
            rows[2 * n], rows[2 * n + 1] = READ | (sums_at + t * width) << 4, o0 + t
            n += 1
        frame[COUNT] = n
        invoke(walk, frame, rows)


@cache
def _walk(luts: Luts) -> Operation:
    """The walk with the passes of these LUTs."""
    passes = dict(luts)
    missing = [name for name in LUTS if name not in passes]
    if missing:
        raise ProgramError(f"digits: wanted the LUT {missing[0]!r}")
    kinds: set[tuple[int, int]] = set()
    steps = {name: list(_lut_step(passes[name], kinds)) for name in LUTS}
    counted = sorted(kinds)
    found = {f"n{w}{f}": (w, f) for w, f in counted}
    slots = {
        "counters": "\n".join(f"        {name} = nothing()" for name in found),
        "matched": " + ".join(f"total({name})" for name in found),
        "written": " + ".join(f"{w} * total({name})" for name, (w, _) in found.items()),
        "flipped": " + ".join(f"{f} * total({name})" for name, (_, f) in found.items()),
    }
    first = {"add_first", "sub_first", "ha2d"}
    for name, lines in steps.items():
        slots[name] = indent("\n".join(lines), " " * (16 if name in first else 20))
    text = TEXT.format(**slots)
    name = f"<digits {abs(hash(text)):x}>"
    linecache.cache[name] = len(text), None, text.splitlines(True), name
    scope: dict[str, Callable[..., None]] = {"__name__": __name__}  # type: ignore[dict-item]
    exec(compile(text, name, "exec"), scope)
    return Operation(scope["walk"], text)


def prepare(luts: Luts) -> None:
    """Compile the kernel, or load it, so that the time of that is not the passes'."""
    none, planes = np.zeros((1, 1), np.int64), np.zeros((1, 1, 1), np.uint64)
    run(luts, WeightPlan(1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0), none, none[0], planes, 1, 1, threads=1)


def _lut_step(
    passes: tuple[tuple[Bits, Bits], ...], kinds: set[tuple[int, int]]
) -> Iterator[str]:  # fmt: skip
    """Passes on a, b and c, each counted among those that write and flip as many cells."""
    for key, writes in passes:
        if not any(bit for _, bit in key):
            raise ProgramError("digits: a pass must not match a row of zeros")
        held = dict(key)
        sure = [(name, bit) for name, bit in writes if held.get(name, bit) != bit]
        kinds.add((len(writes), len(sure)))
        yield f"t = {' & '.join(('' if bit else '~') + name.lower() for name, bit in key)}"
        yield f"n{len(writes)}{len(sure)} += ones(t)"
        yield "passes += 1"
        for name, bit in writes:
            cell = name.lower()
            if name not in held:
                yield f"flips += ones(t & {'~' if bit else ''}{cell})"
                yield f"{cell} = {cell} | t" if bit else f"{cell} = {cell} & ~t"
            elif held[name] != bit:
                yield f"{cell} = {cell} ^ t"


def run(
    luts: Luts,
    plan: WeightPlan,
    weights: NDArray[np.integer[Any]],
    presets: Integers,
    planes: Words,
    pixels: int,
    rows: int,
    *,
    threads: int = 2,
    tile: int = 0,
    ranges: int = 0,
    progress: Callable[[int], None] = lambda sums: None,
) -> Outcome:
    """All loads of a layer: pixels [J, M, words] as planes, `rows` of them in a load.

    `weights` int64[i, J] and `presets` int64[i]; threads share tiles of `tile` vectors of 512
    pixels, and `ranges` of the groups of outputs (0: what suits).  `progress` gets the number
    of sums that are done.  Raises `CountError` where some loads were carried out otherwise than
    others.
    """
    job = _Job(_walk(luts), plan, weights, presets, planes, pixels, rows)
    size = tile or _tile(job.vectors, threads)
    tiles = [(first, min(first + size, job.vectors)) for first in range(0, job.vectors, size)]
    pieces = [
        (vectors, groups)
        for vectors in tiles
        for groups in _ranges(plan.groups, ranges or -(-2 * threads // len(tiles)))
    ]
    totals = np.zeros(TOTAL, np.int64)
    with ThreadPoolExecutor(threads) as pool:
        each = pool.map(job.piece, pieces) if threads > 1 else map(job.piece, pieces)
        for ((first, last), (begin, end)), counted in zip(pieces, each, strict=True):
            totals += counted
            outputs = min(end * plan.together, plan.outputs) - begin * plan.together
            progress((min(last * VECTOR, pixels) - first * VECTOR) * outputs)
    return Outcome(job.out, *_told(totals, pixels, job.loads))


def _tile(vectors: int, threads: int) -> int:
    """Vectors of a tile: cells that stay close to a core, and as much work for each thread."""
    tiles = threads * -(-vectors // (threads * NEAR))
    return -(-vectors // tiles)


def _ranges(groups: int, count: int) -> list[tuple[int, int]]:
    """At most `count` ranges of groups, none of them short."""
    count = max(min(count, groups // FEWEST), 1)
    ends = [groups * k // count for k in range(count + 1)]
    return list(itertools.pairwise(ends))


def _told(totals: Integers, pixels: int, loads: int) -> tuple[Counts, Activity]:
    """What was carried out, which each pixel's row must have seen as each load did."""
    passes, writes, reads, *times = (int(number) for number in totals[:6])
    if [loads * lines for lines in (passes, writes, reads)] != [pixels * n for n in times]:
        raise CountError(
            f"{passes}, {writes} and {reads} lines of {pixels} pixels had passes, writes and "
            f"reads, which {loads} loads carried out {times} times"
        )
    matched, read, written, flipped = (int(number) for number in totals[6:])
    counts = Counts(times[0], times[0] + times[1], times[2])
    return counts, Activity(passes + reads, matched + read, written, flipped, reads - read)


class _Job:
    """A layer's loads: what all tiles share, and where their sums go."""

    def __init__(
        self, walk: Operation, plan: WeightPlan, weights: NDArray[np.integer[Any]],
        presets: Integers, planes: Words, pixels: int, rows: int,
    ) -> None:  # fmt: skip
        self.plan, self.walk = plan, walk.address
        self.vectors, self.loads = -(-pixels // VECTOR), -(-pixels // rows)
        words = 8 * self.vectors
        _refuse_unless_it_fits(plan, weights, presets, planes, pixels)
        self.planes = np.zeros((plan.words, plan.bits, words), np.uint64)
        self.planes[:, :, : planes.shape[2]] = planes
        self.weights = np.ascontiguousarray(weights, np.int64)
        self.presets = np.ascontiguousarray(presets, np.int64)
        self.out = np.zeros((plan.outputs, plan.width, words), np.uint64)
        alive = np.arange(VECTOR * self.vectors) < pixels
        self.live = np.packbits(alive, bitorder="little").view(np.uint64)
        self.alive = alive.reshape(-1, VECTOR).sum(axis=1)
        begins = np.arange(0, pixels, rows) // VECTOR
        self.times = np.bincount(begins, minlength=self.vectors).astype(np.int64)

    def piece(self, piece: tuple[tuple[int, int], tuple[int, int]]) -> Integers:
        """Carry a range of groups out on the pixels of some vectors; gives what was counted.

        Cells are first brought to what the groups before leave, by as many of these again as it
        takes, uncounted and their sums put aside.
        """
        (first, last), (begin, end) = piece
        rows = np.zeros((self._most_rows, 2), np.int64)
        cells, aside = _lines((last - first) * self.plan.columns), np.zeros(TOTAL, np.int64)
        if begin:
            frame = self._frame(first, last, cells, aside)
            beside = np.zeros_like(self.out)
            frame[OUT] = address(beside)
            _groups(address(frame), address(rows), self.walk, self._from(begin), begin)
        totals = np.zeros(TOTAL, np.int64)
        frame = self._frame(first, last, cells, totals)
        _groups(address(frame), address(rows), self.walk, begin, end)
        return totals

    def _from(self, begin: int) -> int:
        """The last group from which on every column is written that any before `begin` writes.

        START writes the carry and all accumulators; words of a chunk are written where some
        output of the group has a weight for them, and the short accumulator with them.
        """
        written = self._written[:begin]
        wanted, found = written.any(axis=0), np.zeros(written.shape[1], bool)
        for group in range(begin - 1, -1, -1):
            found |= written[group]
            if (found >= wanted).all():
                return group
        return 0

    @cached_property
    def _written(self) -> NDArray[np.bool_]:
        """Which places of a chunk each group writes: bool[groups, max(q, 1)]."""
        step, some = max(self.plan.chunk, 1), self.weights != 0
        padded = np.pad(some, ((0, 0), (0, -some.shape[1] % step)))
        places = padded.reshape(len(some), -1, step).any(axis=1)
        starts = np.arange(0, len(some), self.plan.together)
        written: NDArray[np.bool_] = np.logical_or.reduceat(places, starts, axis=0)
        return written

    @property
    def _most_rows(self) -> int:
        """Rows of a group at most: of b bits, every second digit of b + 1 may be there."""
        plan, widest = self.plan, int(np.abs(self.weights).max(initial=0)).bit_length()
        chunks = -(-plan.words // max(plan.chunk, 1))
        digits = plan.words * (widest + 2) // 2 + 1
        return 2 + plan.words + plan.together * (digits + 2 * chunks + 1)

    def _frame(self, first: int, last: int, cells: Words, totals: Integers) -> Integers:
        plan = self.plan
        (word, plane, _), (out, line, _) = self.planes.strides, self.out.strides
        frame = np.zeros(FRAME, np.int64)
        frame[: COUNT] = (
            address(cells), 64 * plan.columns, address(self.live), address(self.alive),
            address(self.times), first, last, address(self.planes), word, plane,
            address(self.out), out, line, plan.bits, plan.width, plan.short, plan.together,
            plan.chunk, plan.outputs, plan.words, address(self.weights), address(self.presets),
            address(totals),
        )  # fmt: skip
        return frame


def _refuse_unless_it_fits(
    plan: WeightPlan,
    weights: NDArray[np.integer[Any]],
    presets: Integers,
    planes: Words,
    pixels: int,
) -> None:
    """Below this door nobody checks: no digit may reach beyond its accumulator."""
    wide = weights.astype(np.int64)
    top = int(((wide ^ (3 * wide)) >> 1).max(initial=0)).bit_length() - 1
    fits = (
        weights.shape == (plan.outputs, plan.words)
        and presets.shape == (plan.outputs,)
        and planes.shape[:2] == (plan.words, plan.bits)
        and 64 * planes.shape[2] >= pixels > 0
        and (top < 0 or top + plan.bits <= (plan.short or plan.width))
        and plan.short <= plan.width
        and plan.columns < 1 << 16
    )
    if not fits:
        raise ProgramError(
            f"digits: wanted weights, presets and planes for {plan}, got {weights.shape}, "
            f"{presets.shape}, {planes.shape} for {pixels} pixels"
        )


def _lines(count: int) -> Words:
    """So many lines of 512 zeros, at a multiple of 64 bytes."""
    raw = np.zeros(8 * count + 8, np.uint64)
    first = -address(raw) % 64 // 8
    return raw[first : first + 8 * count]
