"""The kernel on lanes: what a tile's operations do that arrays have no need of, and their walk.

The rule: a slot holds one row of every group that stands in a tile, a line for each column and
one for the row tags.  Horizontal steps are those of `cam.step` on the lines of one slot;
vertical ones the same with slots for lines.  What is here brings blocks of zeros, words and
moved columns into slots, and counts what it did.
"""

from __future__ import annotations

from apsim.cam.frame import (
    ALIVE,
    BASE,
    COMPARED,
    COUNT,
    COUNTERS,
    FLIPPED,
    FN,
    FRAME,
    INDEX,
    LINE,
    LIVE,
    MATCHED,
    OUT,
    OUT_PORT,
    ROW_SIZE,
    TABLE,
    TAGS,
    TIMES,
    VECTORS,
    WEIGHT,
    WRITTEN,
    X,
    Y,
    Z,
)  # fmt: skip
from apsim.cam.jit import Operation, kernel
from apsim.cam.vector import (
    gather,
    invoke,
    load,
    marked,
    nothing,
    offset,
    ones,
    pointer,
    splat,
    spread,
    store,
    total,
    widened,
    zero,
)
from apsim.step import Gate

__all__ = [
    "begin", "chain", "move", "put", "put_columns", "take", "to_planes", "to_words", "walk",
]  # fmt: skip

# More numbers of a frame.
SLOT = FRAME  # bytes from a slot to the next
COLUMN = FRAME + 1  # and from a column of it to the next
COLUMNS = FRAME + 2
LANES = FRAME + 3  # vectors of a column; of these, how many have only living lanes
LANES_FULL = FRAME + 4
LANES_LIVE = FRAME + 5  # the line of living lanes
LANES_ALIVE = FRAME + 6  # their number
PACKED = FRAME + 7  # an operand as planes [blocks, bits, words], its port
BITS = FRAME + 8
PLANE = FRAME + 9  # words of a plane
PORT = FRAME + 10
OTHER = FRAME + 11  # the other operand, words [blocks, many]
MANY = FRAME + 12
STARTS = FRAME + 13  # of each vector, the first of its words in a plane; ANYHOW, or AS_BEFORE
WHERE = FRAME + 14  # of each lane word, its word in a plane
WHICH = FRAME + 15  # and its word of the other operand
GATHERED = FRAME + 16  # a line for these
BLOCK = FRAME + 17  # the block in the slot
PLACES = FRAME + 18  # planes that are put out
LANE_FRAME = FRAME + 19

ANYHOW, AS_BEFORE = -1, -2

# Numbers of a walk's operation.
ROWS = 0  # address of its rows, and how many they are
MANY_ROWS = 1
KIND = 2  # which frame: horizontal, vertical, vertical in all groups at once
IN_SLOT = 3
FIRST = 4  # the step that its rows' INDEX counts from
HOLDS = 5  # the block in the slot
OP_SIZE = 6

LOAD_G, LOAD_K, PREFIX = int(Gate.LOAD_G), int(Gate.LOAD_K), int(Gate.PREFIX)


@kernel("void(int64, int64, int64, int64)")
def walk(frames_address, given_address, ops_address, many):  # type: ignore[no-untyped-def]
    """Operations in order, each with the frame of its kind set to its slot and first step."""
    frames, given, ops = pointer(frames_address), pointer(given_address), pointer(ops_address)
    for number in range(many):
        op = offset(ops, OP_SIZE * number)
        frame, whole = offset(frames, LANE_FRAME * op[KIND]), offset(given, LANE_FRAME * op[KIND])
        at, rows = op[IN_SLOT] * whole[SLOT], pointer(op[ROWS])
        frame[BASE], frame[TAGS], frame[BLOCK] = whole[BASE] + at, whole[TAGS] + at, op[HOLDS]
        for counter in range(TIMES, TIMES + COUNTERS):
            frame[counter] = whole[counter] + 8 * op[FIRST]
        for k in range(op[MANY_ROWS]):
            row = offset(rows, ROW_SIZE * k)
            invoke(row[FN], frame, row)


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
def begin(frame, row):  # type: ignore[no-untyped-def]
    """WRITE_ALL on lines of zeros, or where INDEX < 0 only these: what a block begins with.

    TABLE has COUNT rows (first line, how many, bit); X lines get ones, Y hold the zeros they get.
    """
    spans, line, live, index = pointer(row[TABLE]), frame[LINE], frame[LIVE], row[INDEX]
    for k in range(row[COUNT]):
        first, many = frame[BASE] + spans[3 * k] * line, spans[3 * k + 1]
        if spans[3 * k + 2]:
            for number in range(many):
                for v in range(frame[VECTORS]):
                    store(first + number * line, v, load(live, v))
        else:
            zero(first, many * line)
    if index >= 0:
        pointer(frame[TIMES])[index] += frame[WEIGHT]
        pointer(frame[WRITTEN])[index] += frame[ALIVE] * (row[X] + row[Y])
        pointer(frame[FLIPPED])[index] += frame[ALIVE] * row[X]


@Operation
def take(frame, row):  # type: ignore[no-untyped-def]
    """WRITE_DATA: lines TABLE... := bits Y... of the words of port X, COUNT of them.

    Where Z the lines are of zeros that nobody has stored yet.
    """
    packs, block, live, vectors = row[X] == frame[PORT], frame[BLOCK], frame[LIVE], frame[VECTORS]
    starts, gathered = pointer(frame[STARTS]), frame[GATHERED]
    keep, one = splat(row[Z] - 1), splat(1)
    if not packs:
        for v in range(vectors):
            others = frame[OTHER] + 8 * frame[MANY] * block
            store(gathered, v, gather(others, load(frame[WHICH], v)))
    for bit in range(row[COUNT]):
        place, target = row[Y] + bit, frame[BASE] + (row[TABLE] + bit) * frame[LINE]
        plane = frame[PACKED] + 8 * frame[PLANE] * (block * frame[BITS] + place)
        above, flips, new = place >= frame[BITS], nothing(), nothing()
        for v in range(vectors):
            if not packs:  # in all lanes of a lane word the same bit of its word
                new = nothing() - ((load(gathered, v) >> place) & one)
            elif not above and starts[v] >= 0:
                new = load(plane + 8 * starts[v], 0)
            elif not above and starts[v] == ANYHOW:
                new = gather(plane, load(frame[WHERE], v))
            bits = new & load(live, v)
            flips += ones(bits ^ (load(target, v) & keep))
            store(target, v, bits)
        index = row[INDEX] + bit
        pointer(frame[TIMES])[index] += frame[WEIGHT]
        pointer(frame[WRITTEN])[index] += frame[ALIVE]
        pointer(frame[FLIPPED])[index] += total(flips)


@Operation
def put(frame, row):  # type: ignore[no-untyped-def]
    """READ: plane Y of the words out := the row tags, which `step` has made and counted."""
    out = frame[OUT] + row[Y] * frame[OUT_PORT]
    for v in range(frame[VECTORS]):
        store(out, v, load(frame[TAGS], v))


@Operation
def put_columns(frame, row):  # type: ignore[no-untyped-def]
    """Vertical READ: the words out := COUNT column tags from column Y on, 0 above them."""
    for place in range(frame[PLACES]):
        column, out = row[Y] + place, frame[OUT] + place * frame[OUT_PORT]
        inside = place < row[COUNT] and 0 <= column < frame[COLUMNS]
        tags, kept = frame[TAGS], splat(-1) if inside else nothing()
        if inside:
            tags += column * frame[COLUMN]
        for v in range(frame[LANES]):
            store(out, v, load(tags, v) & kept)


@Operation
def move(frame, row):  # type: ignore[no-untyped-def]
    """Vertical WRITE_TAG: COUNT columns of a slot from column X on := those of another.

    TABLE is (slot to, slot from); columns from Y on are taken, zeros from outside of them.
    Where Z, the slot was read by the step before, INDEX: these are the tags, as yet uncounted.
    """
    width, target, source, reads = row[COUNT], row[X], row[Y], row[Z]
    slots, column, flips = pointer(row[TABLE]), frame[COLUMN], nothing()
    to, tags = frame[BASE] + slots[0] * frame[LINE], frame[BASE] + slots[1] * frame[LINE]
    index = row[INDEX]
    if reads:
        matches = nothing()
        for number in range(frame[COLUMNS]):
            for v in range(frame[LANES]):
                matches += ones(load(tags + number * column, v))
        pointer(frame[TIMES])[index] += frame[WEIGHT]
        pointer(frame[COMPARED])[index] += frame[ALIVE]
        pointer(frame[MATCHED])[index] += total(matches)
        index += 1
    for number in range(width):
        place = width - 1 - number if target > source else number
        from_ = source + place
        if 0 <= from_ < frame[COLUMNS]:
            keep, taken_from = splat(-1), tags + from_ * column
        else:
            keep, taken_from = nothing(), tags
        goes = to + (target + place) * column
        for v in range(frame[LANES]):
            bits = load(taken_from, v) & keep
            flips += ones(bits ^ load(goes, v))
            store(goes, v, bits)
    pointer(frame[TIMES])[index] += frame[WEIGHT]
    pointer(frame[WRITTEN])[index] += width * frame[LANES_ALIVE]
    pointer(frame[FLIPPED])[index] += total(flips)


@Operation
def chain(frame, row):  # type: ignore[no-untyped-def]
    """Matches become tags through the tag chain, COUNT being the gate.

    Column by column in every lane: cin' = G | !K & cin, or the OR of all from above.
    """
    tags, latch_g = frame[TAGS], frame[TAGS] + frame[LINE]
    latch_k, column, last = latch_g + frame[LINE], frame[COLUMN], frame[COLUMNS] - 1
    matches = nothing()
    for v in range(frame[LANES]):
        carry = nothing()
        for number in range(frame[COLUMNS]):
            at = column * (last - number if row[COUNT] == PREFIX else number)
            tag = load(tags + at, v)
            if row[COUNT] == PREFIX:
                tag = carry = carry | tag
            elif row[COUNT] == LOAD_G:
                store(latch_g + at, v, tag)
            else:
                if row[COUNT] == LOAD_K:
                    store(latch_k + at, v, tag)
                tag &= carry
                carry = load(latch_g + at, v) | (carry & ~load(latch_k + at, v))
            store(tags + at, v, tag)
            matches += ones(tag)
    pointer(frame[MATCHED])[row[INDEX]] += total(matches)
