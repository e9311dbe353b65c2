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
ROW = 13  # first row of the tile in words from outside; vertically the group
DATA = 14  # words in, and from the words of a port to the next
DATA_PORT = 15
OUT = 16  # words out, likewise
OUT_PORT = 17
FRAME = 18  # those of lanes come after these

# Numbers of a row.
FN = 0
AT = 1  # bytes from BASE, and from TAGS, to the slot that is meant
TABLE = 2  # address of what the operation works on
COUNT = 3
INDEX = 4  # the first step of the program that is carried out
X, Y, Z = 5, 6, 7
ROW_SIZE = 8


def frame(**numbers: int) -> Numbers:
    """A frame with some of its numbers, by their names here, and zeros."""
    made = np.zeros(FRAME, np.int64)
    for name, value in numbers.items():
        made[globals()[name.upper()]] = value
    return made


def tell(made: Numbers, totals: Numbers, data: Words, out: Words) -> None:
    """What operations count into, and the words that they bring in and out."""
    count_into(made, totals)
    if data.size or out.size:
        words = address(data), data.strides[0], address(out), out.strides[0]
        made[DATA : OUT_PORT + 1] = words


def count_into(made: Numbers, totals: Numbers) -> None:
    """Let operations count into int64[5, steps]: times, compared, matched, written, flipped."""
    first, step = address(totals), totals.strides[0]
    made[TIMES : FLIPPED + 1] = (
        first,
        first + step,
        first + 2 * step,
        first + 3 * step,
        first + 4 * step,
    )


def address(array: NDArray[Any]) -> int:
    """Where an array's first element stands."""
    place: int = array.__array_interface__["data"][0]
    return place
