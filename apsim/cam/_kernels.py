"""The strict interpreter of encoded programs, on packed cells.

The rule: every step is carried out as it stands, one after another, each tag and each
write applied before the next; nothing is merged, skipped or foreseen.  Horizontal
steps work on bit-planes, tiles of rows outside and steps inside.  Vertical steps work
on rows packed into words, `_packing` turns one into the other.

Totals are int64[4, steps]: compared, matched, written, flipped; the first stands already.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from apsim.cam._compile import kernel, small
from apsim.cam._leaves import assign_line, call_fused, get_bits, popcount, put_bits, step_lines
from apsim.cam._plan import FUSED, KEEP, LINES, SPANNED, SURE
from apsim.encoding import (
    BODY,
    GATE,
    GROUPS,
    KEY,
    KEYS,
    OP,
    PARALLEL,
    PLACE,
    PORT,
    SLOTS,
    SOURCE,
    TABLE,
    TARGET,
    WIDTH,
    WRITE,
    WRITES,
)  # fmt: skip
from apsim.program import Gate, Op

__all__ = ["horizontal", "run_steps", "vertical"]

PASS, COMPARE, WRITE_, WRITE_ALL = int(Op.PASS), int(Op.COMPARE), int(Op.WRITE), int(Op.WRITE_ALL)
READ, WRITE_TAG, WRITE_DATA = int(Op.READ), int(Op.WRITE_TAG), int(Op.WRITE_DATA)
LOAD_G, LOAD_K, CARRY, PREFIX = (
    int(Gate.LOAD_G), int(Gate.LOAD_K), int(Gate.CARRY), int(Gate.PREFIX),
)  # fmt: skip
ZERO, ONE, ONES = np.uint64(0), np.uint64(1), np.uint64(0xFFFF_FFFF_FFFF_FFFF)
SIXTY_FOUR = np.uint64(64)


@kernel
def horizontal(
    planes: Any, steps: Any, pool: Any, extra: Any, lines: Any, span: Any, size: Any,
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
            planes, steps, pool, extra, lines, span[0], span[1], low, high, full, rows,
            data, out, totals,
        )  # fmt: skip
        low = high


@small
def run_steps(
    planes: Any, steps: Any, pool: Any, extra: Any, lines: Any, start: Any, stop: Any,
    low: Any, high: Any, full: Any, rows: Any, data: Any, out: Any, totals: Any,
) -> None:  # fmt: skip
    """Run horizontal steps `start` to `stop` on vectors `low` to `high`.

    `extra` and `lines` come from a plan: whether the tag is kept, how many written lines
    flip in every matched row, and the fused code that stands for some steps.
    """
    index = start
    while index < stop:
        op = steps[index, OP]
        if op == PASS and extra[index, FUSED] and index + extra[index, SPANNED] <= stop:
            call_fused(
                extra[index, FUSED], planes, lines, extra[index, LINES], 1, low, high, full,
                len(planes) - 1, len(planes) - 2 if extra[index, KEEP] else -1, totals, index,
            )  # fmt: skip
            index += extra[index, SPANNED]
            continue
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


@kernel
def vertical(
    cells: Any, latches: Any, live: Any, steps: Any, pool: Any, tables: Any, start: Any,
    data: Any, out: Any, totals: Any,
) -> None:  # fmt: skip
    """Run the loop whose body starts at step `start` on rows packed into words.

    `cells` is uint64[rows, words]; `latches` uint64[3, segments, words] holds column
    tags and the latches G and K of the tag chain; `live` uint64[words] the columns.
    """
    for group in range(steps[start, GROUPS]):
        segment = group if steps[start, PARALLEL] else 0
        table = steps[start, TABLE] + group * steps[start, SLOTS]
        for index in range(start, start + steps[start, BODY]):
            op = steps[index, OP]
            if op == PASS or op == COMPARE or op == READ:
                for word in range(len(live)):
                    match = live[word]
                    for k in range(steps[index, KEY], steps[index, KEY] + steps[index, KEYS]):
                        mask = ZERO if pool[k, 1] else ONES
                        match &= cells[tables[table + pool[k, 0]], word] ^ mask
                    latches[0, segment, word] = match
                if steps[index, GATE]:
                    pass_gate(latches, live, segment, steps[index, GATE])
                for word in range(len(live)):
                    totals[1, index] += popcount(latches[0, segment, word])
                if op == READ and steps[index, PORT] >= 0:
                    bits = taken(latches, segment, steps[index, SOURCE], steps[index, WIDTH], 0)
                    out[steps[index, PORT], group] = bits
            if op == PASS or op == WRITE_ or op == WRITE_ALL:
                for k in range(steps[index, WRITE], steps[index, WRITE] + steps[index, WRITES]):
                    row = tables[table + pool[k, 0]]
                    value = ONES if pool[k, 1] else ZERO
                    for word in range(len(live)):
                        tag = live[word] if op == WRITE_ALL else latches[0, segment, word]
                        flip = (cells[row, word] ^ value) & tag
                        cells[row, word] ^= flip
                        totals[2, index] += popcount(tag)
                        totals[3, index] += popcount(flip)
            if op == WRITE_TAG or op == WRITE_DATA:
                row = tables[table + pool[steps[index, KEY], 0]]
                totals[2, index] += steps[index, WIDTH]
                totals[3, index] += move(cells, row, latches, segment, steps, index, data, group)


@small
def pass_gate(latches: Any, live: Any, segment: Any, gate: Any) -> None:
    """Turn matches into tags through the tag chain, which loads its latches on the way."""
    carry, above = ZERO, False
    for index in range(len(live)):
        word = len(live) - 1 - index if gate == PREFIX else index
        match = latches[0, segment, word]
        if gate == LOAD_G:
            latches[1, segment, word] = match
        if gate == LOAD_K:
            latches[2, segment, word] = match
        if gate == LOAD_K or gate == CARRY:
            into, carry = carries(latches[1, segment, word], latches[2, segment, word], carry)
            match &= into
        if gate == PREFIX:
            match = live[word] if above else smeared(match)
            above = match != ZERO
        latches[0, segment, word] = match


@small
def carries(generate: Any, kill: Any, carry: Any) -> Any:
    """Carry into each column, and out of the word: cin[k+1] = G[k] | !K[k] & cin[k].

    The ripple is that of the addition (G | !K) + G: its carries are sum ^ G ^ (G | !K).
    """
    left = generate | ~kill
    half = left + generate
    total = half + carry
    out = ONE if half < generate or total < carry else ZERO
    return total ^ left ^ generate, out


@small
def smeared(word: Any) -> Any:
    """Each bit := OR of itself and all higher bits."""
    for shift in (1, 2, 4, 8, 16, 32):
        word |= word >> np.uint64(shift)
    return word


@small
def taken(latches: Any, segment: Any, first: Any, width: Any, offset: Any) -> Any:
    """64 column tags from `first + offset` on, zeros outside the array and from `width` on."""
    words = latches.shape[2]
    shift = (first + offset) & 63
    word = (first + offset) >> 6
    low = latches[0, segment, word] if 0 <= word < words else ZERO
    high = latches[0, segment, word + 1] if 0 <= word + 1 < words else ZERO
    bits = low >> np.uint64(shift)
    if shift:
        bits |= high << np.uint64(64 - shift)
    return bits & ones(width - offset)


@small
def move(
    cells: Any, row: Any, latches: Any, segment: Any, steps: Any, index: Any, data: Any, group: Any
) -> Any:
    """Columns `target...` of a row := moved column tags, or bits from outside; gives flips."""
    target, width, flipped = steps[index, TARGET], steps[index, WIDTH], 0
    offset = -(target & 63)  # of the target word's bit 0 inside the moved bits
    for word in range(target >> 6, (target + width + 63) >> 6):
        done = max(offset, 0)
        if steps[index, OP] == WRITE_TAG:
            new = taken(latches, segment, steps[index, SOURCE], width, done)
        else:
            new = data[steps[index, PORT], group] >> np.uint64(done) if done < 64 else ZERO
        up = np.uint64(max(-offset, 0))
        flip = (cells[row, word] ^ (new << up)) & (ones(width - done) << up)
        cells[row, word] ^= flip
        flipped += popcount(flip)
        offset += 64
    return flipped


@small
def ones(count: Any) -> Any:
    """The lowest `count` bits set, at most 64, none below 0."""
    if count >= 64:
        return ONES
    return (ONE << np.uint64(count)) - ONE if count > 0 else ZERO
