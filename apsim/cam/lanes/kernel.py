"""The kernel on lanes: what a tile's operations do that arrays have no need of, and their walk.

The rule: a slot holds one row of every group that stands in a tile, a line for each column and
one for the row tags.  Horizontal steps are those of `cam.step` on the lines of one slot;
vertical ones the same with slots for lines.  What is here brings blocks of zeros, words and
moved columns into slots, and counts what it did.
"""

from __future__ import annotations

from apsim.cam import frame as at
from apsim.cam.jit import Operation, kernel

# isort: off
from apsim.cam.vector import (
    gather, invoke, load, marked, nothing, offset, ones, pointer, splat, spread, store, total,
    widened, zero,
)  # fmt: skip

# isort: on
from apsim.step import Gate

__all__ = [
    "chain", "move", "put", "put_columns", "take", "to_planes", "to_words", "walk",
]  # fmt: skip

# Numbers of a walk's operation.
ROWS = 0  # address of its rows, and how many they are
MANY_ROWS = 1
KIND = 2  # which frame: horizontal, vertical, vertical in all groups at once
IN_SLOT = 3
FIRST = 4  # the step that its rows' INDEX counts from
HOLDS = 5  # the block in the slot
OP_SIZE = 6

LOAD_G, LOAD_K, PREFIX = int(Gate.LOAD_G), int(Gate.LOAD_K), int(Gate.PREFIX)


@kernel("void(int64, int64, int64, int64, int64, int64)")
def walk(frames_address, given_address, ops_address, many, totals, apart):  # type: ignore[no-untyped-def]
    """Operations in order, each with the frame of its kind set to its slot and first step.

    Each of the five numbers of the steps in `totals` stands `apart` bytes after the one before.
    """
    frames, given, ops = pointer(frames_address), pointer(given_address), pointer(ops_address)
    for number in range(many):
        op = offset(ops, OP_SIZE * number)
        frame, whole = offset(frames, at.FRAME * op[KIND]), offset(given, at.FRAME * op[KIND])
        by, rows = op[IN_SLOT] * whole[at.SLOT], pointer(op[ROWS])
        frame[at.BASE], frame[at.TAGS] = whole[at.BASE] + by, whole[at.TAGS] + by
        beside = op[IN_SLOT] * whole[at.BESIDE]
        frame[at.PACKED], frame[at.OUT] = whole[at.PACKED] + beside, whole[at.OUT] + beside
        frame[at.BLOCK], frame[at.LIVE] = op[HOLDS], whole[at.LIVE] + beside
        for counter in range(at.COUNTERS):
            frame[at.TIMES + counter] = totals + counter * apart + 8 * op[FIRST]
        if not op[MANY_ROWS]:  # a block of zeros comes
            zero(frame[at.BASE], whole[at.SLOT])
        for k in range(op[MANY_ROWS]):
            row = offset(rows, at.ROW_SIZE * k)
            invoke(row[at.FN], frame, row)


@kernel("void(int64, int64, int64, int64, int64, int64, int64, int64)")
def to_planes(octets, pitch, rows, words, planes, bits, row_size, plane_size):  # type: ignore[no-untyped-def]
    """Words of planes := the bits of bytes that lie side by side, of rows `pitch` bytes apart."""
    for row in range(rows):
        for word in range(words):
            given = load(octets + row * pitch, word)
            for bit in range(bits):
                plane = planes + row * row_size + bit * plane_size
                pointer(plane)[word] = marked(given, bit)


@kernel("void(int64, int64, int64, int64, int64)")
def to_words(planes, bits, width, words, octets):  # type: ignore[no-untyped-def]
    """64 words for each word of a plane := the bits that planes hold; `octets` is scratch."""
    given = pointer(planes)
    for number in range(width):
        for first in range(0, bits, 8):
            eight = nothing()
            for bit in range(8 if bits - first > 8 else bits - first):
                eight |= spread(given[(first + bit) * width + number], bit)
            store(octets, 0, eight)
            for k in range(8):
                some = widened(octets, k) << first
                if first:
                    some |= load(words, 8 * number + k)
                store(words, 8 * number + k, some)


@Operation
def take(frame, row):  # type: ignore[no-untyped-def]
    """WRITE_DATA: lines TABLE... := bits Y... of the words of port X, COUNT of them.

    Where Z is FRESH the lines count as zeros, which nobody has stored.
    """
    packs, block = row[at.X] == frame[at.PORT], frame[at.BLOCK]
    live, vectors, starts = frame[at.LIVE], frame[at.VECTORS], pointer(frame[at.STARTS])
    gathered, keep, one = frame[at.GATHERED], splat(row[at.Z] - 1), splat(1)
    if not packs:
        for v in range(vectors):
            others = frame[at.OTHER] + 8 * frame[at.MANY] * block
            store(gathered, v, gather(others, load(frame[at.WHICH], v)))
    for bit in range(row[at.COUNT]):
        place, target = row[at.Y] + bit, frame[at.BASE] + (row[at.TABLE] + bit) * frame[at.LINE]
        plane = frame[at.PACKED] + 8 * frame[at.PLANE] * (block * frame[at.BITS] + place)
        above, flips, new = place >= frame[at.BITS], nothing(), nothing()
        for v in range(vectors):
            if not packs:  # in all lanes of a lane word the same bit of its word
                new = nothing() - ((load(gathered, v) >> place) & one)
            elif not above and starts[v] >= 0:
                new = load(plane + 8 * starts[v], 0)
            elif not above and starts[v] == at.ANYHOW:
                new = gather(plane, load(frame[at.WHERE], v))
            bits = new & load(live, v)
            flips += ones(bits ^ (load(target, v) & keep))
            store(target, v, bits)
        index = row[at.INDEX] + bit
        pointer(frame[at.TIMES])[index] += frame[at.WEIGHT]
        pointer(frame[at.WRITTEN])[index] += frame[at.ALIVE]
        pointer(frame[at.FLIPPED])[index] += total(flips)


@Operation
def put(frame, row):  # type: ignore[no-untyped-def]
    """READ: plane Y of the words out := the row tags, which `step` has made and counted."""
    out = frame[at.OUT] + row[at.Y] * frame[at.OUT_PORT]
    for v in range(frame[at.VECTORS]):
        store(out, v, load(frame[at.TAGS], v))
    pointer(frame[at.TIMES])[row[at.INDEX]] += frame[at.WEIGHT]


@Operation
def put_columns(frame, row):  # type: ignore[no-untyped-def]
    """Vertical READ: the words out := COUNT column tags from column Y on, 0 above them."""
    for place in range(frame[at.PLACES]):
        column, out = row[at.Y] + place, frame[at.OUT] + place * frame[at.OUT_PORT]
        inside = place < row[at.COUNT] and 0 <= column < frame[at.COLUMNS]
        tags, kept = frame[at.TAGS], splat(-1) if inside else nothing()
        if inside:
            tags += column * frame[at.COLUMN]
        for v in range(frame[at.LANES]):
            store(out, v, load(tags, v) & kept)
    pointer(frame[at.TIMES])[row[at.INDEX]] += frame[at.WEIGHT]


@Operation
def move(frame, row):  # type: ignore[no-untyped-def]
    """Vertical WRITE_TAG: COUNT columns from column X on := column tags from column Y on.

    TABLE begins with the slot; zeros come from outside of the columns.
    """
    width, target, source, index = row[at.COUNT], row[at.X], row[at.Y], row[at.INDEX]
    to = frame[at.BASE] + pointer(row[at.TABLE])[0] * frame[at.LINE]
    column, tags, flips = frame[at.COLUMN], frame[at.TAGS], nothing()
    for number in range(width):
        place = width - 1 - number if target > source else number
        from_ = source + place
        if 0 <= from_ < frame[at.COLUMNS]:
            keep, taken_from = splat(-1), tags + from_ * column
        else:
            keep, taken_from = nothing(), tags
        goes = to + (target + place) * column
        for v in range(frame[at.LANES]):
            bits = load(taken_from, v) & keep
            flips += ones(bits ^ load(goes, v))
            store(goes, v, bits)
    pointer(frame[at.TIMES])[index] += frame[at.WEIGHT]
    pointer(frame[at.WRITTEN])[index] += width * frame[at.LANES_ALIVE]
    pointer(frame[at.FLIPPED])[index] += total(flips)


@Operation
def chain(frame, row):  # type: ignore[no-untyped-def]
    """Matches become tags through the tag chain, COUNT being the gate.

    Column by column in every lane: cin' = G | !K & cin, or the OR of all from above.
    """
    tags, latch_g = frame[at.TAGS], frame[at.TAGS] + frame[at.LINE]
    latch_k, column, last = latch_g + frame[at.LINE], frame[at.COLUMN], frame[at.COLUMNS] - 1
    matches = nothing()
    for v in range(frame[at.LANES]):
        carry = nothing()
        for number in range(frame[at.COLUMNS]):
            place = column * (last - number if row[at.COUNT] == PREFIX else number)
            tag = load(tags + place, v)
            if row[at.COUNT] == PREFIX:
                tag = carry = carry | tag
            elif row[at.COUNT] == LOAD_G:
                store(latch_g + place, v, tag)
            else:
                if row[at.COUNT] == LOAD_K:
                    store(latch_k + place, v, tag)
                tag &= carry
                carry = load(latch_g + place, v) | (carry & ~load(latch_k + place, v))
            store(tags + place, v, tag)
            matches += ones(tag)
    pointer(frame[at.TIMES])[row[at.INDEX]] += frame[at.WEIGHT]
    pointer(frame[at.MATCHED])[row[at.INDEX]] += total(matches)
