"""What operations are told: a frame for an array or a tile, and a row for each operation.

The rule: both are rows of int64; an operation is `void f(frame, row)`, its address the first
number of its row.  Every operation counts into the frame's numbers what it carried out.
Arrays whose addresses stand in a frame must outlive its use.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]

# Numbers of a frame.  Addresses and strides are in bytes.
BASE = 0  # line 0, from the first vector of the tile on
LINE = 1  # from a line to the next
VECTORS = 2  # of the tile
FULL = 3  # of these, how many have only living rows
LIVE = 4  # the line of living rows
TAGS = 5  # the line of tags; vertically those of latches G and K come after it
ALIVE = 6  # living rows of the tile
WEIGHT = 7  # what an operation adds to the times that its step was carried out
TIMES = 8  # numbers by step, in the order of `Execution.of`
COMPARED = 9
MATCHED = 10
WRITTEN = 11
FLIPPED = 12
ROW = 13  # vertically the group
DATA = 14  # words in, and from the words of a port to the next
DATA_PORT = 15
OUT = 16  # words out, likewise
OUT_PORT = 17

# Those of a walk over tiles, and of lanes.
SLOT = 18  # bytes from a slot to the next
COLUMN = 19  # and from a column of it to the next
COLUMNS = 20
LANES = 21  # vectors of a column; of these, how many have only living lanes
LANES_FULL = 22
LANES_LIVE = 23  # the line of living lanes
LANES_ALIVE = 24  # their number
PACKED = 25  # an operand as planes [blocks, bits, words], its port
BITS = 26
PLANE = 27  # words of a plane
PORT = 28
OTHER = 29  # the other operand, words [blocks, many]
MANY = 30
STARTS = 31  # of each vector, the first of its words in a plane; ANYHOW, or AS_BEFORE
WHERE = 32  # of each lane word, its word in a plane
WHICH = 33  # and its word of the other operand
GATHERED = 34  # a line for these
BLOCK = 35  # the block in the slot
PLACES = 36  # planes that are put out
BESIDE = 37  # bytes of words from outside, and of LIVE, from a slot to the next
FRAME = 38

# Numbers of a row.
FN = 0
AT = 1  # bytes from BASE, and from TAGS, to the slot that is meant
TABLE = 2  # address of what the operation works on
COUNT = 3
INDEX = 4  # the first step of the program that is carried out
X, Y, Z = 5, 6, 7
ROW_SIZE = 8

COUNTERS = 5


def frame(**numbers: int) -> Numbers:
    """A frame with some of its numbers, by their names here, and zeros."""
    made = np.zeros(FRAME, np.int64)
    for name, value in numbers.items():
        made[globals()[name.upper()]] = value
    return made


def told(of: Numbers, steps: int, data: Words, out: Words) -> tuple[int, Numbers]:
    """A copy of a frame that counts, and has words to bring in and out.

    Gives where it stands, and int64[5, steps] that operations count into: times, compared,
    matched, written, flipped.
    """
    both = np.zeros(FRAME + COUNTERS * steps, np.int64)
    at = address(both)
    both[:FRAME] = of
    both[TIMES : FLIPPED + 1] = [at + 8 * (FRAME + k * steps) for k in range(COUNTERS)]
    if data.size or out.size:
        words = [address(data), data.strides[0], address(out), out.strides[0]]
        both[DATA : OUT_PORT + 1] = words
    return at, both[FRAME:].reshape(COUNTERS, steps)


def address(array: NDArray[Any]) -> int:
    """Where an array's first element stands."""
    place: int = array.ctypes.data
    return place
