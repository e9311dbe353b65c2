"""What machine code is told: a frame for an array or a tile, and rows of operations.

The rule: both are rows of int64; an operation is `void f(frame, row)`, its address the first
number of its row.  Arrays whose addresses stand in a frame must outlive its use.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

# Numbers of a frame.  Addresses and strides are in bytes.
BASE = 0  # the planes, from the first vector of the tile on
LINE = 1  # from a line to the next
SLOT = 2  # from a slot to the next (lanes)
VECTORS = 3  # of the tile
FULL = 4  # of these, how many have only living rows
LIVE = 5  # the line of living rows
COLUMNS = 6  # the line of row tags follows the columns
ALIVE = 7  # living rows
MATCHED = 8  # numbers by step
WRITTEN = 9
FLIPPED = 10
TAGS = 11  # the slot of column tags
ROW = 12  # first row of the tile, in the words that go in and out
ROWS = 13  # rows in all
DATA = 14  # words in, and from the words of a port to the next
DATA_PORT = 15
OUT = 16  # words out (lanes: planes), likewise
OUT_PORT = 17
PACKED = 18  # an operand as planes [blocks, bits, words]
BITS = 19
PLANE = 20  # words of a plane
WORDS = 21  # the other operand, words [blocks, many]
MANY = 22
RUNS = 23  # rows (start, stop, first, which, port)
RUN_COUNT = 24
PORT = 25  # the port of the planes
SHORT = 26  # lane words that take one word of the other operand: 1, 2, 4 or 8, all of a tile
FIRST = 27  # and that of the first ones; SHORT is 0 where it is otherwise
PLACES = 28  # planes of OUT (lanes)
FRAME = 29

# Numbers of a row.
FN = 0
AT = 1  # the slot
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


def count_into(made: Numbers, totals: Numbers) -> None:
    """Let a frame's operations count into int64[4, steps]: matched, written, flipped from 1 on."""
    first, step = address(totals), totals.strides[0]
    made[MATCHED : FLIPPED + 1] = first + step, first + 2 * step, first + 3 * step


def address(array: NDArray[Any]) -> int:
    """Where an array's first element stands."""
    place: int = array.__array_interface__["data"][0]
    return place


@cache
def caller(address: int) -> Callable[..., Any]:
    """A function of three addresses, without the interpreter's lock while it runs."""
    kind = ctypes.CFUNCTYPE(None, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t)
    return kind(address)
