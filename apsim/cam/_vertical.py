"""Vertical steps on rows packed into words: keys on rows, a tag per column.

The rule: every step is carried out as it stands, one after another, each tag and each
write applied before the next; nothing is merged, skipped or foreseen.

`cells` is uint64[rows, words], as `_packing` makes it; `latches` uint64[3, segments, words]
holds column tags and the latches G and K of the tag chain; `live` uint64[words] the columns.
Totals are int64[4, steps]: compared, matched, written, flipped; the first stands already.
"""

from __future__ import annotations

import numpy as np

from apsim.cam._bits import popcount
from apsim.cam._native import (
    Flag,
    Number,
    Numbers1,
    Numbers2,
    Word,
    Words1,
    Words2,
    Words3,
    leaf,
    native,
)
from apsim.encoding import (
    BODY,
    GATE,
    GROUPS,
    KEY,
    KEYS,
    OP,
    PARALLEL,
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

__all__ = ["vertical"]

PASS, COMPARE, WRITE_, WRITE_ALL = int(Op.PASS), int(Op.COMPARE), int(Op.WRITE), int(Op.WRITE_ALL)
READ, WRITE_TAG, WRITE_DATA = int(Op.READ), int(Op.WRITE_TAG), int(Op.WRITE_DATA)
LOAD_G, LOAD_K, CARRY, PREFIX = (
    int(Gate.LOAD_G), int(Gate.LOAD_K), int(Gate.CARRY), int(Gate.PREFIX),
)  # fmt: skip
ZERO, ONE, ONES = np.uint64(0), np.uint64(1), np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@native
def vertical(
    cells: Words2, latches: Words3, live: Words1, steps: Numbers2, pool: Numbers2,
    tables: Numbers1, start: Number, data: Words2, out: Words2, totals: Numbers2,
) -> None:  # fmt: skip
    """Run the loop whose body starts at step `start`."""
    for group in range(steps[start, GROUPS]):
        segment = group if steps[start, PARALLEL] else 0
        table = steps[start, TABLE] + group * steps[start, SLOTS]
        for index in range(start, start + steps[start, BODY]):
            op = steps[index, OP]
            if op == PASS or op == COMPARE or op == READ:
                compare(cells, latches, live, steps, pool, tables, index, table, segment)
                totals[1, index] += tagged(latches, segment)
                if op == READ and steps[index, PORT] >= 0:
                    bits = taken(latches, segment, steps[index, SOURCE], steps[index, WIDTH], 0)
                    out[steps[index, PORT], group] = bits
            if op == PASS or op == WRITE_ or op == WRITE_ALL:
                for k in range(steps[index, WRITE], steps[index, WRITE] + steps[index, WRITES]):
                    row = tables[table + pool[k, 0]]
                    everywhere = op == WRITE_ALL
                    write(cells, latches, live, row, pool[k, 1], everywhere, segment, totals, index)
            if op == WRITE_TAG or op == WRITE_DATA:
                row = tables[table + pool[steps[index, KEY], 0]]
                totals[2, index] += steps[index, WIDTH]
                totals[3, index] += move(cells, row, latches, segment, steps, index, data, group)


@leaf
def compare(
    cells: Words2, latches: Words3, live: Words1, steps: Numbers2, pool: Numbers2,
    tables: Numbers1, index: Number, table: Number, segment: Number,
) -> None:  # fmt: skip
    """Column tags := where all rows of the key hold its bits, through the tag chain."""
    for word in range(len(live)):
        latches[0, segment, word] = live[word]
    for k in range(steps[index, KEY], steps[index, KEY] + steps[index, KEYS]):
        row, mask = tables[table + pool[k, 0]], ZERO if pool[k, 1] else ONES
        for word in range(len(live)):
            latches[0, segment, word] &= cells[row, word] ^ mask
    if steps[index, GATE]:
        pass_gate(latches, live, segment, steps[index, GATE])


@leaf
def tagged(latches: Words3, segment: Number) -> Number:
    """Columns that are tagged."""
    count = 0
    for word in range(latches.shape[2]):
        count += popcount(latches[0, segment, word])
    return count


@leaf
def write(
    cells: Words2, latches: Words3, live: Words1, row: Number, bit: Number, everywhere: Flag,
    segment: Number, totals: Numbers2, index: Number,
) -> None:  # fmt: skip
    """One bit into a row, at the tagged columns or everywhere."""
    value, written, flipped = ONES if bit else ZERO, 0, 0
    for word in range(len(live)):
        tag = live[word] if everywhere else latches[0, segment, word]
        flip = (cells[row, word] ^ value) & tag
        cells[row, word] ^= flip
        written += popcount(tag)
        flipped += popcount(flip)
    totals[2, index] += written
    totals[3, index] += flipped


@leaf
def pass_gate(latches: Words3, live: Words1, segment: Number, gate: Number) -> None:
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


@leaf
def carries(generate: Word, kill: Word, carry: Word) -> tuple[Word, Word]:
    """Carry into each column, and out of the word: cin[k+1] = G[k] | !K[k] & cin[k].

    The ripple is that of the addition (G | !K) + G: its carries are sum ^ G ^ (G | !K).
    """
    left = generate | ~kill
    half = left + generate
    total = half + carry
    out = ONE if half < generate or total < carry else ZERO
    return total ^ left ^ generate, out


@leaf
def smeared(word: Word) -> Word:
    """Each bit := OR of itself and all higher bits."""
    shift = 1
    while shift < 64:
        word |= word >> np.uint64(shift)
        shift += shift
    return word


@leaf
def taken(latches: Words3, segment: Number, first: Number, width: Number, offset: Number) -> Word:
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


@leaf
def move(
    cells: Words2, row: Number, latches: Words3, segment: Number, steps: Numbers2, index: Number,
    data: Words2, group: Number,
) -> Number:  # fmt: skip
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


@leaf
def ones(count: Number) -> Word:
    """The lowest `count` bits set, at most 64, none below 0."""
    if count >= 64:
        return ONES
    return (ONE << np.uint64(count)) - ONE if count > 0 else ZERO
