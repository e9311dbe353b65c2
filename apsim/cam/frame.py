"""What operations are told: a frame for an array or a tile, and a row for each operation.

The rule: both are rows of int64; an operation is `void f(frame, row)`, its address the first
number of its row.  Every operation counts into the frame's numbers what it carried out.
Arrays whose addresses stand in a frame must outlive its use.  Threads share nothing that they
write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]
Part = TypeVar("Part")
Done = TypeVar("Done")

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

ANYHOW, AS_BEFORE = -1, -2  # of STARTS

# Numbers of a row.
FN = 0
AT = 1  # bytes from BASE, and from TAGS, to the slot that is meant
TABLE = 2  # address of what the operation works on
COUNT = 3
INDEX = 4  # the first step of the program that is carried out
X, Y, Z = 5, 6, 7
ROW_SIZE = 8

COUNTERS = 5


def address(array: NDArray[Any]) -> int:
    """Where an array's first element stands."""
    return int(array.ctypes.data)


def aligned(words: int) -> Words:
    """So many zeros at a multiple of 64 bytes, so that a vector is one cache line."""
    raw = np.zeros(words + 8, np.uint64)
    return raw[-raw.ctypes.data % 64 // 8 :][:words]


def each(run: Callable[[Part], Done], parts: Sequence[Part], threads: int) -> Iterable[Done]:
    """Results of the parts in their order, on several threads where there are several parts."""
    return (_pool(threads).map if threads > 1 and len(parts) > 1 else map)(run, parts)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="apsim")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has no threads


def sources() -> list[tuple[str, int, int]]:
    """What compiled kernels depend on: files, when each was changed, and their sizes."""
    here = Path(__file__).parent
    found = [*sorted(here.rglob("*.py")), here.parent / "encoding.py", here.parent / "step.py"]
    return [(str(path), (now := path.stat()).st_mtime_ns, now.st_size) for path in found]


SOURCES = sources()
"""The same as they were when this process imported them."""
