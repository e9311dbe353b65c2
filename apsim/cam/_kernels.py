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

from apsim.cam._compile import PLAIN, kernel, small
from apsim.encoding import (
    BODY, GATE, GROUPS, KEY, KEYS, OP, PARALLEL, PLACE, PORT, SLOTS, SOURCE, TABLE, TARGET, WIDTH,
    WRITE, WRITES,
)  # fmt: skip
from apsim.program import Gate, Op

if PLAIN:
    from apsim.cam._plain import assign_line, get_bits, popcount, put_bits, step_lines
else:
    from apsim.cam._vectors import assign_line, get_bits, popcount, put_bits, step_lines

__all__ = ["horizontal", "vertical"]

PASS, COMPARE, WRITE_, WRITE_ALL = int(Op.PASS), int(Op.COMPARE), int(Op.WRITE), int(Op.WRITE_ALL)
READ, WRITE_TAG, WRITE_DATA = int(Op.READ), int(Op.WRITE_TAG), int(Op.WRITE_DATA)
LOAD_G, LOAD_K, CARRY, PREFIX = (
    int(Gate.LOAD_G), int(Gate.LOAD_K), int(Gate.CARRY), int(Gate.PREFIX),
)  # fmt: skip
ZERO, ONE, ONES = np.uint64(0), np.uint64(1), np.uint64(0xFFFF_FFFF_FFFF_FFFF)
SIXTY_FOUR = np.uint64(64)


@kernel
def horizontal(
    planes: Any, steps: Any, pool: Any, extra: Any, span: Any, size: Any, data: Any, out: Any,
    totals: Any,
) -> None:  # fmt: skip
    """Run steps `span[0]` to `span[1]` on vectors `span[2]` to `span[3]` of the planes.

    `size` is (rows, vectors full of living rows, vectors a tile); `extra` int64[steps, 2]
    holds whether the tag is kept and how many written lines flip in every matched row.
    """
    rows, full, tile = size
    low = span[2]
    while low < span[3]:
        high = min(low + tile, span[3])
        for index in range(span[0], span[1]):
            step = steps[index]
            op = step[OP]
            if op == WRITE_DATA:
                flipped = take_data(planes, data, pool[step[KEY], 0], step, low, high, rows)
                totals[3, index] += flipped
            elif op == WRITE_TAG:
                line = pool[step[KEY], 0]
                totals[3, index] += assign_line(planes, line, len(planes) - 2, low, high)
            else:
                keys = 0 if op == WRITE_ALL or op == WRITE_ else step[KEYS]
                writes = 0 if op == COMPARE or op == READ else step[WRITES]
                matched, flipped = step_lines(
                    planes, pool, step[KEY], keys, step[WRITE], writes,
                    low, high, full, int(op == WRITE_), extra[index, 0],
                )  # fmt: skip
                if op != WRITE_ and op != WRITE_ALL:
                    totals[1, index] += matched
                totals[2, index] += matched * writes
                totals[3, index] += flipped + matched * extra[index, 1]
                if op == READ and step[PORT] >= 0:
                    put_data(planes, out, step, low, high, rows)
        low = high


@small
def take_data(planes: Any, data: Any, line: Any, step: Any, low: Any, high: Any, rows: Any) -> Any:
    """A line := one bit of the words from outside; gives cells flipped."""
    flipped = 0
    whole = min(high * 8, rows // 64)
    for word in range(low * 8, whole):
        new = get_bits(data, step[PORT], word * 64, step[PLACE])
        flipped += popcount(planes[line, word] ^ new)
        planes[line, word] = new
    if whole < high * 8 and whole * 64 < rows:
        new = ZERO
        for row in range(whole * 64, rows):
            bit = (data[step[PORT], row] >> np.uint64(step[PLACE])) & ONE
            new |= bit << np.uint64(row - whole * 64)
        flipped += popcount(planes[line, whole] ^ new)
        planes[line, whole] = new
    return flipped


@small
def put_data(planes: Any, out: Any, step: Any, low: Any, high: Any, rows: Any) -> None:
    """One bit of the words outside := the row tags."""
    tags = len(planes) - 2
    whole = min(high * 8, rows // 64)
    for word in range(low * 8, whole):
        put_bits(out, step[PORT], word * 64, step[PLACE], planes[tags, word])
    if whole < high * 8:
        place = np.uint64(step[PLACE])
        for row in range(whole * 64, rows):
            bit = (planes[tags, whole] >> np.uint64(row - whole * 64)) & ONE
            old = out[step[PORT], row] & ~(ONE << place)
            out[step[PORT], row] = old | (bit << place)


@kernel
def vertical(
    cells: Any, latches: Any, live: Any, steps: Any, pool: Any, tables: Any, start: Any,
    data: Any, out: Any, totals: Any,
) -> None:  # fmt: skip
    """Run the loop whose body starts at step `start` on rows packed into words.

    `cells` is uint64[rows, words]; `latches` uint64[3, segments, words] holds column
    tags and the latches G and K of the tag chain; `live` uint64[words] the columns.
    """
    body, slots = steps[start, BODY], steps[start, SLOTS]
    for group in range(steps[start, GROUPS]):
        segment = group if steps[start, PARALLEL] else 0
        table = tables[steps[start, TABLE] + group * slots :]
        for index in range(start, start + body):
            step = steps[index]
            op = step[OP]
            if op == PASS or op == COMPARE or op == READ:
                totals[1, index] += compare(cells, latches, live, segment, step, pool, table)
            if op == READ and step[PORT] >= 0:
                bits = taken(latches[0, segment], step[SOURCE], step[WIDTH], 0)
                out[step[PORT], group] = bits
            if op == PASS or op == WRITE_ or op == WRITE_ALL:
                tag = live if op == WRITE_ALL else latches[0, segment]
                for k in range(step[WRITE], step[WRITE] + step[WRITES]):
                    written, flipped = write(cells[table[pool[k, 0]]], tag, pool[k, 1])
                    totals[2, index] += written
                    totals[3, index] += flipped
            if op == WRITE_TAG or op == WRITE_DATA:
                row = cells[table[pool[step[KEY], 0]]]
                totals[2, index] += step[WIDTH]
                totals[3, index] += move(row, latches[0, segment], step, data, group)


@small
def compare(
    cells: Any, latches: Any, live: Any, segment: Any, step: Any, pool: Any, table: Any
) -> Any:
    """Tag the columns that hold the key, through the gate of the tag chain; gives how many."""
    gate = step[GATE]
    carry, above, matched = ZERO, False, 0
    for index in range(len(live)):
        word = len(live) - 1 - index if gate == PREFIX else index
        match = live[word]
        for k in range(step[KEY], step[KEY] + step[KEYS]):
            match &= cells[table[pool[k, 0]], word] ^ (ZERO if pool[k, 1] else ONES)
        if gate == LOAD_G:
            latches[1, segment, word] = match
        if gate == LOAD_K:
            latches[2, segment, word] = match
        if gate == LOAD_K or gate == CARRY:
            into, carry = carries(latches[1, segment, word], latches[2, segment, word], carry)
            match &= into
        if gate == PREFIX:
            match = live[word] if above else smeared(match) & live[word]
            above = match != ZERO
        latches[0, segment, word] = match
        matched += popcount(match)
    return matched


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
def write(row: Any, tag: Any, bit: Any) -> Any:
    """Write a bit into the tagged columns of a row; gives cells driven and cells flipped."""
    written, flipped = 0, 0
    for word in range(len(row)):
        flip = (row[word] ^ (ONES if bit else ZERO)) & tag[word]
        row[word] ^= flip
        written += popcount(tag[word])
        flipped += popcount(flip)
    return written, flipped


@small
def taken(words: Any, first: Any, width: Any, offset: Any) -> Any:
    """64 bits from bit `first + offset` on, zeros outside `words` and from bit `width` on."""
    shift = (first + offset) & 63
    word = (first + offset) >> 6
    low = words[word] if 0 <= word < len(words) else ZERO
    high = words[word + 1] if 0 <= word + 1 < len(words) else ZERO
    bits = low >> np.uint64(shift)
    if shift:
        bits |= high << np.uint64(64 - shift)
    left = width - offset
    if left <= 0:
        return ZERO
    return bits if left >= 64 else bits & ((ONE << np.uint64(left)) - ONE)


@small
def move(row: Any, tag: Any, step: Any, data: Any, group: Any) -> Any:
    """Columns `target...` of a row := moved column tags, or bits from outside; gives flips."""
    target, width, flipped = step[TARGET], step[WIDTH], 0
    offset = -(target & 63)
    for word in range(target >> 6, (target + width + 63) >> 6):
        mask = shifted(span(width, offset), offset)
        if step[OP] == WRITE_TAG:
            new = shifted(taken(tag, step[SOURCE], width, max(offset, 0)), offset)
        else:
            bits = data[step[PORT], group] if offset < 64 else ZERO
            new = shifted_data(bits, offset)
        flip = (row[word] ^ new) & mask
        row[word] ^= flip
        flipped += popcount(flip)
        offset += 64
    return flipped


@small
def span(width: Any, offset: Any) -> Any:
    """Ones for the bits that are left of `width` from bit `offset` on, at most 64."""
    left = width - max(offset, 0)
    return ONES if left >= 64 else (ONE << np.uint64(left)) - ONE


@small
def shifted(word: Any, offset: Any) -> Any:
    """A word moved up to where it starts inside its target word."""
    return word << np.uint64(-offset) if offset < 0 else word


@small
def shifted_data(word: Any, offset: Any) -> Any:
    """The part of one word from outside that falls into a target word."""
    return word << np.uint64(-offset) if offset < 0 else word >> np.uint64(offset)
