"""Sums whose weights are digits in the instruction stream, carried out on tiles of pixels.

The rule: groups of outputs follow one another on the cells as the one before left them, however
threads share tiles of pixels and ranges of groups; no sum comes from elsewhere than the
accumulators' columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsim.cam.jit import Operation
from apsim.cam.stream import MOST_COLUMNS, VECTOR, Pixels, Tile
from apsim.closed_form import WeightPlan, signed_digits
from apsim.counts import Activity, Counts
from apsim.errors import ProgramError
from apsim.functions.weight_rows import Sequencer, walk_with
from apsim.lut.model import Lut
from apsim.ops.steps import look_up

__all__ = ["FEWEST", "Outcome", "prepare", "run"]

Words = NDArray[np.uint64]
Integers = NDArray[np.int64]
Range = tuple[int, int]

NEAR = 16  # vectors of a tile, whose cells stay close to a core
FEWEST = 8  # groups of a range, so that what is done again is little


@dataclass(frozen=True)
class Outcome:
    """Accumulators as they were read, uint64[i, W, words of 64 pixels], and what was done."""

    planes: Words
    counts: Counts
    activity: Activity


def prepare() -> None:
    """Compile the kernels, or load them, so that the time of that is not the passes'."""
    none, planes = np.zeros((1, 1), np.int64), np.zeros((1, 1, 1), np.uint64)
    run(WeightPlan(1, 1, 1, 0, 1, 0, 1, 0, 0, 0, 0), none, none[0], planes, 1, 1, threads=1)


def run(
    plan: WeightPlan,
    weights: NDArray[np.integer[Any]],
    presets: Integers,
    planes: Words,
    pixels: int,
    rows: int,
    *,
    threads: int = 2,
    received: Sequence[Words] = (),
    luts: Callable[[str], Lut] = look_up,
    tile: int = 0,
    ranges: int = 0,
    progress: Callable[[int], None] = lambda sums: None,
) -> Outcome:
    """All loads of a layer: pixels [J, M, words] as planes, `rows` of them in a load.

    `weights` int64[i, J], those whose digits are held, and `presets` int64[i]; `received` are
    accumulators of other CAPs as they were read, and `luts` gives a LUT by name.  Threads share
    tiles of `tile` vectors of 512 pixels, and `ranges` of the groups of outputs (0: what suits).
    `progress` gets the number of sums that are done.  Raises `CountError` where some loads were
    carried out otherwise than others.
    """
    digits = np.stack(signed_digits(weights), axis=1)
    _refuse_unless_it_fits(plan, digits, presets, planes, pixels, received)
    lanes = Pixels(pixels, rows)
    whole = np.zeros((plan.words, plan.bits, 8 * lanes.vectors), np.uint64)
    whole[:, :, : planes.shape[2]] = planes
    out = np.zeros((plan.outputs, plan.width, 8 * lanes.vectors), np.uint64)
    stream = Sequencer(plan, digits, presets, whole, out, received)
    size = tile or _tile(lanes.vectors, threads)
    tiles = [(k, min(k + size, lanes.vectors)) for k in range(0, lanes.vectors, size)]
    pieces = list(itertools.product(tiles, _ranges(plan, ranges or -(-2 * threads // len(tiles)))))
    totals: Integers = np.zeros(1, np.int64)
    with ThreadPoolExecutor(threads) as pool:
        each = (pool.map if threads > 1 else map)(
            partial(_piece, walk_with(luts), stream, lanes), pieces
        )
        for ((first, last), (begin, end)), counted in zip(pieces, each, strict=True):
            totals = totals + counted
            outputs = min(end * plan.together, plan.outputs) - begin * plan.together
            progress((min(last * VECTOR, pixels) - first * VECTOR) * outputs)
    return Outcome(out, *lanes.told(totals))


def _piece(
    walk: Operation, stream: Sequencer, lanes: Pixels, piece: tuple[Range, Range]
) -> Integers:
    """Carry a range of groups out on the pixels of some vectors; gives what was counted.

    Cells are first brought to what the groups before leave, by as many of these again as it
    takes, uncounted and their sums not read.
    """
    vectors, (begin, end) = piece
    tile = Tile(walk, lanes, vectors, stream.plan.columns, stream.most)
    for group in range(stream.since(begin), end):
        if group == begin:
            tile.totals[:] = 0
        tile.carry_out(stream.make(group, tile, read=group >= begin))
    return tile.totals


def _tile(vectors: int, threads: int) -> int:
    """Vectors of a tile: cells that stay close to a core, and as much work for each thread."""
    tiles = threads * -(-vectors // (threads * NEAR))
    return -(-vectors // tiles)


def _ranges(plan: WeightPlan, count: int) -> list[Range]:
    """At most `count` ranges of groups, none of them short; one where all need the first."""
    count = 1 if plan.common else max(min(count, plan.groups // FEWEST), 1)
    ends = [plan.groups * k // count for k in range(count + 1)]
    return list(itertools.pairwise(ends))


def _refuse_unless_it_fits(
    plan: WeightPlan, digits: Integers, presets: Integers, planes: Words, pixels: int,
    received: Sequence[Words],
) -> None:  # fmt: skip
    """Below this door nobody checks: no digit may reach beyond its accumulator."""
    outputs, _, words = digits.shape
    top = int(digits.max(initial=0)).bit_length()
    sums = [(plan.outputs, plan.width, 8 * -(-pixels // VECTOR))] * plan.received
    fits = (
        (outputs, words) == (plan.outputs, plan.words)
        and presets.shape == (plan.outputs,)
        and planes.shape[:2] == (plan.words, plan.bits)
        and 64 * planes.shape[2] >= pixels > 0
        and [other.shape for other in received] == sums
        and (not top or top + plan.bits <= (plan.short or plan.width) + 1)
        and plan.short <= plan.width
        and plan.columns < MOST_COLUMNS
    )
    if not fits:
        raise ProgramError(
            f"digits: wanted weights, presets, planes and received sums for {plan}, got "
            f"{(outputs, words)}, {presets.shape}, {planes.shape} for {pixels} pixels and "
            f"{[other.shape for other in received]}"
        )
