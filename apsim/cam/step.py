"""The kernel: every step as it stands, compare, tag, gate, write, count.

The rule: nothing is merged, skipped or foreseen.  A line is a column, and a tile some vectors
of rows; or a line is a row, and a tile all columns: the same operations carry out horizontal
and vertical steps.  Each is a function of a frame and a row (see `frame`); what it counts it
counts where it does it.
"""

from __future__ import annotations

import numpy as np

# isort: off
from apsim.cam.frame import (
    ALIVE, AT, BASE, COMPARED, COUNT, DATA, DATA_PORT, FLIPPED, FN, INDEX, LINE, LIVE,
    MATCHED, OUT, OUT_PORT, ROW, ROW_SIZE, TABLE, TAGS, TIMES, VECTORS, WEIGHT, WRITTEN, X, Y, Z,
)  # fmt: skip

from apsim.cam.jit import Operation, kernel
from apsim.cam.vector import (
    invoke, load, nothing, offset, ones, pointer, popcount, splat, store, total, words, zero,
)  # fmt: skip

# isort: on
from apsim.step import Gate

__all__ = [
    "COUNTED", "FRESH", "KEEPS", "KEPT", "KNOWN", "NEVER", "ONLY", "SILENT", "TAG",
    "fill", "gate", "loop", "move", "step",
]  # fmt: skip

NEVER, KNOWN, COUNTED = 0, 1, 2  # how a written line flips: not, with each match, cell by cell

KEPT = 2  # flags of a step: the tags are those that were kept, not compared anew
KEEPS = 4  # tags are kept
ONLY = 8  # it only writes
SILENT = 16  # what matched is counted elsewhere, after the tag chain

TAG = 1  # X of a fill: the bits are the row tags
FRESH = 1  # Z of a fill: the lines are zeros that nobody has stored

LOAD_G, LOAD_K, CARRY, PREFIX = (
    int(Gate.LOAD_G), int(Gate.LOAD_K), int(Gate.CARRY), int(Gate.PREFIX),
)  # fmt: skip
FEW_KEYS, FEW_WRITES = 4, 2
ZERO, ONE, LAST, ONES = np.uint64(0), np.uint64(1), np.uint64(63), ~np.uint64(0)


@Operation
def step(frame, row):  # type: ignore[no-untyped-def]
    """One compare, and a write where it matched: COUNT keys, then Z writes in TABLE.

    Rows of TABLE are (line, bit, how it flips); X holds flags.  A pass of few keys and writes
    finds their addresses and bits once instead of for each vector; where there are fewer than
    that, one stands for those that are missing.
    """
    base, line, tags = frame[BASE] + row[AT], frame[LINE], frame[TAGS] + row[AT]
    pool, keys, writes, flags = pointer(row[TABLE]), row[COUNT], row[Z], row[X]
    matches = flips = nothing()
    if 0 < keys <= FEW_KEYS and 0 < writes <= FEW_WRITES and not flags:
        live, w0, w1 = frame[LIVE], 3 * keys, 3 * (keys + writes - 1)
        k1, k2, k3 = 3 * (keys > 1), 3 * (keys - 1 - (keys > 3)), 3 * (keys - 1)
        at0, at1 = base + pool[0] * line, base + pool[k1] * line
        at2, at3 = base + pool[k2] * line, base + pool[k3] * line
        not0, not1 = splat(pool[1] - 1), splat(pool[k1 + 1] - 1)
        not2, not3 = splat(pool[k2 + 1] - 1), splat(pool[k3 + 1] - 1)
        to0, to1 = base + pool[w0] * line, base + pool[w1] * line
        bits0, bits1 = splat(-pool[w0 + 1]), splat(-pool[w1 + 1])
        counts0 = splat(-(pool[w0 + 2] == COUNTED))
        counts1 = splat(-(pool[w1 + 2] == COUNTED and w1 > w0))
        counted = pool[w0 + 2] == COUNTED or pool[w1 + 2] == COUNTED
        for v in range(frame[VECTORS]):
            tag = load(live, v) & (load(at0, v) ^ not0) & (load(at1, v) ^ not1)
            tag &= (load(at2, v) ^ not2) & (load(at3, v) ^ not3)
            matches += ones(tag)
            flip0 = (load(to0, v) ^ bits0) & tag
            store(to0, v, load(to0, v) ^ flip0)
            flip1 = (load(to1, v) ^ bits1) & tag
            store(to1, v, load(to1, v) ^ flip1)
            if counted:
                flips += ones(flip0 & counts0)
                flips += ones(flip1 & counts1)
    else:
        start = tags if flags & KEPT else frame[LIVE]
        for v in range(frame[VECTORS]):
            tag = load(start, v)
            for k in range(keys):
                tag &= load(base + pool[3 * k] * line, v) ^ splat(pool[3 * k + 1] - 1)
            matches += ones(tag)
            if flags & KEEPS:
                store(tags, v, tag)
            for k in range(keys, keys + writes):
                place = base + pool[3 * k] * line
                old = load(place, v)
                flip = (old ^ splat(-pool[3 * k + 1])) & tag
                store(place, v, old ^ flip)
                if pool[3 * k + 2] == COUNTED:
                    flips += ones(flip)
    matched, flipped, index = total(matches), total(flips), row[INDEX]
    for k in range(keys, keys + writes):
        flipped += matched * (pool[3 * k + 2] == KNOWN)
    if not flags & ONLY:
        pointer(frame[COMPARED])[index] += frame[ALIVE]
        if not flags & SILENT:
            pointer(frame[MATCHED])[index] += matched
    pointer(frame[TIMES])[index] += frame[WEIGHT]
    pointer(frame[WRITTEN])[index] += matched * writes
    pointer(frame[FLIPPED])[index] += flipped


@Operation
def fill(frame, row):  # type: ignore[no-untyped-def]
    """WRITE_ALL: bits of COUNT rows (line, bit, ...) of TABLE, whatever the tags.

    Where X is TAG, WRITE_TAG: these lines := the row tags.  Where Z is FRESH the lines count as
    zeros, which nobody has stored.
    """
    base, line, live, index = frame[BASE] + row[AT], frame[LINE], frame[LIVE], row[INDEX]
    pool, tags, flips = pointer(row[TABLE]), frame[TAGS] + row[AT], nothing()
    keep = splat(row[Z] - 1)
    for k in range(row[COUNT]):
        place, bits = base + pool[3 * k] * line, splat(-pool[3 * k + 1])
        if row[Z] == FRESH and pool[3 * k + 1] == 0:
            zero(place, line)
            continue
        for v in range(frame[VECTORS]):
            if row[X] == TAG:
                bits = load(tags, v)
            old = load(place, v) & keep
            flip = (old ^ bits) & load(live, v)
            store(place, v, old ^ flip)
            flips += ones(flip)
    pointer(frame[TIMES])[index] += frame[WEIGHT]
    pointer(frame[WRITTEN])[index] += frame[ALIVE] * row[COUNT]
    pointer(frame[FLIPPED])[index] += total(flips)


@Operation
def gate(frame, row):  # type: ignore[no-untyped-def]
    """Matches become tags through the tag chain, COUNT being the gate.

    The chain runs along a line: cin[k+1] = G[k] | !K[k] & cin[k], or the OR of all above.  The
    ripple is that of the addition (G | !K) + G: its carries are sum ^ G ^ (G | !K).
    """
    at, line, size = frame[TAGS], frame[LINE], 8 * frame[VECTORS]
    tags, latch_g, latch_k = words(at), words(at + line), words(at + 2 * line)
    carry, above, matched = ZERO, False, 0
    for number in range(size):
        word = size - 1 - number if row[COUNT] == PREFIX else number
        tag = tags[word]
        if row[COUNT] == LOAD_G:
            latch_g[word] = tag
        if row[COUNT] == LOAD_K:
            latch_k[word] = tag
        if row[COUNT] == LOAD_K or row[COUNT] == CARRY:
            generate = latch_g[word]
            left = generate | ~latch_k[word]
            half = left + generate
            whole = half + carry
            carry = ONE if half < generate or whole < carry else ZERO
            tag &= whole ^ left ^ generate
        if row[COUNT] == PREFIX:
            for shift in (1, 2, 4, 8, 16, 32):
                tag |= tag >> np.uint64(shift)
            tag = words(frame[LIVE])[word] if above else tag
            above = tag != ZERO
        tags[word] = tag
        matched += popcount(tag)
    pointer(frame[TIMES])[row[INDEX]] += frame[WEIGHT]
    pointer(frame[MATCHED])[row[INDEX]] += matched


@Operation
def move(frame, row):  # type: ignore[no-untyped-def]
    """Vertical WRITE_TAG, WRITE_DATA: columns of a row := moved column tags, or a word's bits.

    TABLE is (line, ...).  COUNT columns from column X on take tags from column Y on, zeros from
    outside of the line; where Z >= 0, the group's word of port Z instead.  READ where AT is 1:
    the group's word of port Z := those tags, which `step` has counted.
    """
    target, source, width, reads, index = row[X], row[Y], row[COUNT], row[AT] == 1, row[INDEX]
    place, given = frame[BASE], words(frame[DATA] + row[Z] * frame[DATA_PORT])
    if reads:
        place = frame[OUT] + row[Z] * frame[OUT_PORT] + 8 * frame[ROW]
    else:
        place += pointer(row[TABLE])[0] * frame[LINE]
    cells, tags, size, flipped = words(place), words(frame[TAGS]), frame[VECTORS] * 8, 0
    before = -(target & 63)  # moved bits in the words before
    stop = 1 if reads else (target + width + 63) >> 6  # a word that is read is put whole
    for word in range(target >> 6, stop):
        done = before if before > 0 else 0
        up, left, at = np.uint64(done - before), width - done, (source + done) >> 6
        mask = ONES if left >= 64 else (ONE << np.uint64(left)) - ONE
        if reads or row[Z] < 0:
            shift = np.uint64((source + done) & 63)
            low = tags[at] if 0 <= at < size else ZERO
            high = tags[at + 1] if -1 <= at < size - 1 else ZERO
            new = low >> shift | high << (LAST - shift) << ONE
        else:
            new = given[frame[ROW]] >> np.uint64(done) if done < 64 else ZERO
        whole = ONES if reads else mask << up
        flip = (cells[word] ^ ((new & mask) << up)) & whole
        cells[word] ^= flip
        flipped += popcount(flip)
        before += 64
    pointer(frame[TIMES])[index] += frame[WEIGHT]
    if not reads:
        pointer(frame[WRITTEN])[index] += width
        pointer(frame[FLIPPED])[index] += flipped


@kernel("void(int64, int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def loop(  # type: ignore[no-untyped-def]
    frame_address, rows_address, count, pool_address, own_address, entries,
    table_address, groups, slots, segment,
):  # fmt: skip
    """Vertical operations in order, for one group after another.

    The group's rows, int64[groups, slots], are put into the pool that operations read (`own`)
    for the slots of `pool`; tags and latches of the next group come `segment` bytes later.
    """
    frame, rows = pointer(frame_address), pointer(rows_address)
    pool, own, table = pointer(pool_address), pointer(own_address), pointer(table_address)
    tags = frame[TAGS]
    for group in range(groups):
        for k in range(entries):
            own[3 * k] = table[group * slots + pool[3 * k]]
        frame[ROW], frame[TAGS] = group, tags + group * segment
        for k in range(count):
            row = offset(rows, k * ROW_SIZE)
            invoke(row[FN], frame, row)
    frame[TAGS] = tags
