"""The strict interpreter of encoded programs, on packed cells.

The rule: every step is carried out as it stands, one after another, each tag and each
write applied before the next; nothing is merged, skipped or foreseen.  Horizontal
steps work on bit-planes, tiles of rows outside and steps inside; those of the other
direction are in `_vertical`.

Totals are int64[4, steps]: compared, matched, written, flipped; the first stands already.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from apsim.cam._bits import get_bits, popcount, put_bits
from apsim.cam._compile import kernel, small
from apsim.cam._plain import assign_line, step_lines
from apsim.cam._plan import KEEP, SURE
from apsim.encoding import (
    KEY,
    KEYS,
    OP,
    PLACE,
    PORT,
    WRITE,
    WRITES,
)  # fmt: skip
from apsim.program import Gate, Op

__all__ = ["horizontal", "run_steps"]

PASS, COMPARE, WRITE_, WRITE_ALL = int(Op.PASS), int(Op.COMPARE), int(Op.WRITE), int(Op.WRITE_ALL)
READ, WRITE_TAG, WRITE_DATA = int(Op.READ), int(Op.WRITE_TAG), int(Op.WRITE_DATA)
LOAD_G, LOAD_K, CARRY, PREFIX = (
    int(Gate.LOAD_G), int(Gate.LOAD_K), int(Gate.CARRY), int(Gate.PREFIX),
)  # fmt: skip
ZERO, ONE, ONES = np.uint64(0), np.uint64(1), np.uint64(0xFFFF_FFFF_FFFF_FFFF)
SIXTY_FOUR = np.uint64(64)


@kernel
def horizontal(
    planes: Any, steps: Any, pool: Any, extra: Any, span: Any, size: Any,
    data: Any, out: Any, totals: Any,
) -> None:  # fmt: skip
    """Run steps `span[0]` to `span[1]` on vectors `span[2]` to `span[3]` of the planes.

    `size` is (rows, vectors full of living rows, vectors a tile).
    """
    rows, full, tile = size
    low = span[2]
    while low < span[3]:
        high = min(low + tile, span[3])
        run_steps(
            planes, steps, pool, extra, span[0], span[1], low, high, full, rows,
            data, out, totals,
        )  # fmt: skip
        low = high


@small
def run_steps(
    planes: Any, steps: Any, pool: Any, extra: Any, start: Any, stop: Any,
    low: Any, high: Any, full: Any, rows: Any, data: Any, out: Any, totals: Any,
) -> None:  # fmt: skip
    """Run horizontal steps `start` to `stop` on vectors `low` to `high`.

    `extra` comes from a plan: whether the tag is kept, and how many written lines flip in
    every matched row.
    """
    index = start
    while index < stop:
        op = steps[index, OP]
        if op == WRITE_DATA:
            totals[3, index] += take_data(planes, data, steps, index, pool, low, high, rows)
        elif op == WRITE_TAG:
            line = pool[steps[index, KEY], 0]
            totals[3, index] += assign_line(planes, line, len(planes) - 2, low, high)
        else:
            keys = 0 if op == WRITE_ALL or op == WRITE_ else steps[index, KEYS]
            writes = 0 if op == COMPARE or op == READ else steps[index, WRITES]
            put = op == READ and steps[index, PORT] >= 0
            keep = put or (extra[index, KEEP] and op != WRITE_ and op != WRITE_ALL)
            matched, flipped = step_lines(
                planes, pool, steps[index, KEY], keys, steps[index, WRITE], writes,
                low, high, full, int(op == WRITE_), int(keep),
            )  # fmt: skip
            if op != WRITE_ and op != WRITE_ALL:
                totals[1, index] += matched
            totals[2, index] += matched * writes
            totals[3, index] += flipped + matched * extra[index, SURE]
            if put:
                put_data(planes, out, steps, index, low, high, rows)
        index += 1


@small
def take_data(
    planes: Any, data: Any, steps: Any, index: Any, pool: Any, low: Any, high: Any, rows: Any
) -> Any:
    """A line := one bit of the words from outside; gives cells flipped."""
    line, flipped = pool[steps[index, KEY], 0], 0
    port, place = steps[index, PORT], steps[index, PLACE]
    whole = min(high * 8, rows // 64)
    for word in range(low * 8, whole):
        new = get_bits(data, port, word * 64, place)
        flipped += popcount(planes[line, word] ^ new)
        planes[line, word] = new
    if whole < high * 8 and whole * 64 < rows:
        new = ZERO
        for row in range(whole * 64, rows):
            bit = (data[port, row] >> np.uint64(place)) & ONE
            new |= bit << np.uint64(row - whole * 64)
        flipped += popcount(planes[line, whole] ^ new)
        planes[line, whole] = new
    return flipped


@small
def put_data(planes: Any, out: Any, steps: Any, index: Any, low: Any, high: Any, rows: Any) -> None:
    """One bit of the words outside := the row tags."""
    tags = len(planes) - 2
    port, place = steps[index, PORT], steps[index, PLACE]
    whole = min(high * 8, rows // 64)
    for word in range(low * 8, whole):
        put_bits(out, port, word * 64, place, planes[tags, word])
    if whole < high * 8:
        for row in range(whole * 64, rows):
            bit = (planes[tags, whole] >> np.uint64(row - whole * 64)) & ONE
            old = out[port, row] & ~(ONE << np.uint64(place))
            out[port, row] = old | (bit << np.uint64(place))
