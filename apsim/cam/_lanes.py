"""The lanes kernel in plain source: a schedule of blocks walked on a tile of groups.

The rule: the steps are those of `_kernels`, one at a time; only what stands side by side
differs: here a lane is a group, and a slot holds one row of every group.  A vertical step is
one compare and one write over whole slots, all columns at once.

A tile is planes uint64[slots, lines, words]: lines are the columns, then the row tags,
then the living lanes.  The last slot holds the living lanes of every column, the one
before it the column tags, and the two before those the latches G and K of the tag chain.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from apsim.cam._bits import popcount
from apsim.cam._compile import kernel, small
from apsim.cam._plain import assign_line, clear_lines, step_lines, take_field
from apsim.cam._plan import KEEP, SPANNED, SURE
from apsim.cam._vertical import LOAD_G, LOAD_K, PREFIX
from apsim.cam.schedule import ACROSS, FRESH
from apsim.encoding import KEY, KEYS, OP, PLACE, PORT, WRITE, WRITES
from apsim.program import Op

__all__ = ["walk"]

PASS, COMPARE, WRITE_, WRITE_ALL = int(Op.PASS), int(Op.COMPARE), int(Op.WRITE), int(Op.WRITE_ALL)
READ, WRITE_TAG, WRITE_DATA = int(Op.READ), int(Op.WRITE_TAG), int(Op.WRITE_DATA)
ZERO = np.uint64(0)
FIXED = 4  # slots beside the blocks': G, K, column tags, living lanes

# Columns of a vertical step as the kernel takes it.
(
    D_OP, D_GATE, D_KEY, D_KEYS, D_WRITE, D_WRITES, D_SOURCE, D_TARGET, D_WIDTH, D_SLOT, D_KNOWN,
    D_PORT,
) = range(12)  # fmt: skip


@kernel
def walk(
    planes: Any, flat: Any, lines: Any, ops: Any, steps: Any, pool: Any, extra: Any,
    down: Any, down_pool: Any, blocks: Any, packed: Any, words: Any, live: Any, runs: Any,
    out: Any, totals: Any,
) -> None:  # fmt: skip
    """Walk a schedule on one tile; totals[1:], by step, take matched, written, flipped.

    `flat` and `lines` are `planes` as [slots, lines * words] and [slots * lines, words].
    `packed` uint64[blocks, bits, words] and `words` uint64[blocks, many] are the two
    operands.  A run (start, stop, first, which, port) of `runs` says that lane words
    start..stop take words from `first` on of the planes, which are port `port`, and in all
    their lanes word `which` of the other operand.
    `blocks` int64[slots] keeps which block a slot holds.
    `out` uint64[bits, words] takes the bits that block 0 puts out in port 0.
    """
    slots, height, width = planes.shape
    columns, vectors, alive = height - 2, width >> 3, np.int64(0)
    for w in range(width):
        alive += popcount(live[w])
    for line in range((slots - 1) * height, (slots - 1) * height + columns):
        put(lines, line, live)
    full = vectors if alive == width * 64 else 0
    for number in range(len(ops)):
        kind, a, b, slot = ops[number, 0], ops[number, 1], ops[number, 2], ops[number, 3]
        if kind == FRESH:
            clear_lines(lines, slot * height, columns)
            put(lines, slot * height + columns + 1, live)
            blocks[slot] = a
        elif kind == ACROSS:
            across(
                planes[slot], steps, pool, extra, a, b, full, packed, words, live, alive, runs,
                blocks[slot], out, totals,
            )  # fmt: skip
        else:
            downwards(
                flat, lines, height, down, b, down_pool, full * columns, live, alive, out, a, totals
            )


@small
def across(
    rows: Any, steps: Any, pool: Any, extra: Any, start: Any, stop: Any, full: Any, packed: Any,
    words: Any, live: Any, alive: Any, runs: Any, block: Any, out: Any, totals: Any,
) -> None:  # fmt: skip
    """Horizontal steps on one row of every group."""
    vectors, tags, index = rows.shape[1] >> 3, len(rows) - 2, start
    while index < stop:
        op, key = steps[index, OP], steps[index, KEY]
        put = op == READ and steps[index, PORT] == 0 and block == 0
        if op == WRITE_DATA:
            bits = min(max(extra[index, SPANNED], 1), stop - index)
            take(
                rows, pool[key, 0], bits, steps[index, PORT], steps[index, PLACE], packed, words,
                live, runs, block, totals, index,
            )  # fmt: skip
            for k in range(index, index + bits):
                totals[2, k] += alive
            index += bits
            continue
        if op == WRITE_TAG:
            totals[3, index] += assign_line(rows, pool[key, 0], tags, 0, vectors)
            totals[2, index] += alive
        else:
            keys = 0 if op == WRITE_ALL or op == WRITE_ else steps[index, KEYS]
            writes = 0 if op == COMPARE or op == READ else steps[index, WRITES]
            keep = put or (extra[index, KEEP] and op != WRITE_ and op != WRITE_ALL)
            matched, flipped = step_lines(
                rows, pool, key, keys, steps[index, WRITE], writes, 0, vectors, full,
                int(op == WRITE_), int(keep),
            )  # fmt: skip
            if op != WRITE_ and op != WRITE_ALL:
                totals[1, index] += matched
            totals[2, index] += matched * writes
            totals[3, index] += flipped + matched * extra[index, SURE]
            if put:
                for w in range(len(live)):
                    out[steps[index, PLACE], w] = rows[tags, w]
        index += 1


@small
def take(
    rows: Any, line: Any, bits: Any, port: Any, place: Any, packed: Any, words: Any, live: Any,
    runs: Any, block: Any, totals: Any, index: Any,
) -> None:  # fmt: skip
    """Neighbouring columns of one row of every group := bits `place...` of an operand."""
    stride = packed.shape[2]
    there = max(min(bits, packed.shape[1] - place), 0)  # bits above the planes are 0
    for number in range(len(runs)):
        start, stop, first = runs[number, 0], runs[number, 1], runs[number, 2]
        if port != runs[number, 4]:
            take_field(
                rows, line, bits, start, stop, live, live, start, 0, words[block, runs[number, 3]],
                place, 1, totals, index,
            )  # fmt: skip
            continue
        first += (block * packed.shape[1] + place) * stride
        take_field(
            rows, line, there, start, stop, live, packed, first, stride, ZERO, place, 0, totals,
            index,
        )  # fmt: skip
        take_field(
            rows, line + there, bits - there, start, stop, live, live, start, 0, ZERO, 0, 1, totals,
            index + there,
        )  # fmt: skip


@small
def downwards(
    flat: Any, lines: Any, height: Any, down: Any, b: Any, pool: Any, full: Any, live: Any,
    alive: Any, out: Any, index: Any, totals: Any,
) -> None:  # fmt: skip
    """One vertical step on every group: keys and writes are slots, tags a plane per column."""
    op, slots = down[b, D_OP], len(flat)
    columns, vectors = height - 2, len(live) >> 3
    every = columns * vectors
    if op == WRITE_TAG:
        totals[2, index] += down[b, D_WIDTH] * alive
        totals[3, index] += move(lines, height, slots - 2, down, b, columns, vectors)
        return
    keys = 0 if op == WRITE_ALL or op == WRITE_ else down[b, D_KEYS]
    writes = 0 if op == COMPARE or op == READ or down[b, D_GATE] else down[b, D_WRITES]
    keep = int(op == READ or op == COMPARE or down[b, D_GATE] != 0)
    matched, flipped = step_lines(
        flat, pool, down[b, D_KEY], keys, down[b, D_WRITE], writes, 0, every, full,
        int(op == WRITE_), keep,
    )  # fmt: skip
    if down[b, D_GATE]:
        matched = pass_gate(lines, height, slots, down[b, D_GATE], columns)
        if op == PASS:
            writes = down[b, D_WRITES]
            _, flipped = step_lines(
                flat, pool, down[b, D_KEY], 0, down[b, D_WRITE], writes, 0, every, full, 1, 0
            )
    if op != WRITE_ and op != WRITE_ALL:
        totals[1, index] += matched
    totals[2, index] += matched * writes
    totals[3, index] += flipped + matched * down[b, D_KNOWN]
    if op == READ and down[b, D_PORT] == 0:
        for k in range(len(out)):
            column = down[b, D_SOURCE] + k
            inside = k < down[b, D_WIDTH] and 0 <= column < columns
            for w in range(len(live)):
                out[k, w] = lines[(slots - 2) * height + column, w] if inside else ZERO


@small
def move(lines: Any, height: Any, slot: Any, down: Any, b: Any, columns: Any, vectors: Any) -> Any:
    """Columns `target...` of a row := columns `source...` of a slot, zeros from outside.

    Gives cells flipped.  The slot holds the column tags, or is the row that they were
    read from, which may be the row that they go to.
    """
    source, target, width = down[b, D_SOURCE], down[b, D_TARGET], down[b, D_WIDTH]
    to, tags = down[b, D_SLOT] * height + target, slot * height
    low, high = max(-source, 0), min(columns - source, width)
    low, high = min(low, width), max(high, 0)
    flipped = 0
    if low < high:  # lines follow one another, so that a run of them is one long line
        flipped += assign_line(lines, to + low, tags + source + low, 0, (high - low) * vectors)
    for column in range(width):
        if column < low or column >= high:
            flipped += count(lines, to + column)
            clear_lines(lines, to + column, 1)
    return flipped


@small
def pass_gate(lines: Any, height: Any, slots: Any, gate: Any, columns: Any) -> Any:
    """Turn matches into tags through the tag chain, lane by lane; gives lines tagged."""
    tags, kill, generate = (slots - 2) * height, (slots - 3) * height, (slots - 4) * height
    matched = 0
    for w in range(lines.shape[1]):
        carry = ZERO
        for k in range(columns):
            column = columns - 1 - k if gate == PREFIX else k
            match = lines[tags + column, w]
            if gate == PREFIX:
                carry |= match
                match = carry
            elif gate == LOAD_G:
                lines[generate + column, w] = match
            else:
                if gate == LOAD_K:
                    lines[kill + column, w] = match
                into = carry
                carry = lines[generate + column, w] | (~lines[kill + column, w] & carry)
                match &= into
            lines[tags + column, w] = match
            matched += popcount(match)
    return matched


@small
def put(lines: Any, line: Any, words: Any) -> None:
    """A line := some words."""
    for w in range(len(words)):
        lines[line, w] = words[w]


@small
def count(lines: Any, line: Any) -> Any:
    """Bits set in a line."""
    ones = 0
    for w in range(lines.shape[1]):
        ones += popcount(lines[line, w])
    return ones
