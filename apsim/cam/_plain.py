"""The inner loops over bit-planes in plain source, where machine code cannot be made by hand.

The rule: the same results as the operations of `_operations`.  These compile on any processor
that numba knows, and run as plain Python under NUMBA_DISABLE_JIT=1.  Planes are
uint64[lines, words]; the last two lines are the row tags and the rows that live.
A vector is eight words.  The tag of a step goes through a buffer, so that reading
and writing the same plane never meet in one loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from apsim.cam._bits import popcount
from apsim.cam._compile import small

__all__ = ["assign_line", "clear_lines", "step_lines", "take_field"]

COUNTED = 2
ZERO, ONE, ONES = np.uint64(0), np.uint64(1), np.uint64(0xFFFF_FFFF_FFFF_FFFF)


@small
def step_lines(
    planes: Any, pool: Any, key: Any, keys: Any, write: Any, writes: Any,
    first: Any, last: Any, full: Any, from_tag: Any, keep: Any,
) -> Any:  # fmt: skip
    """Compare and write vectors `first` to `last`; gives rows matched and cells flipped.

    Key and written bits are rows (line, bit, mode) of `pool`; flips count where mode is
    `COUNTED`.  Tags start as the kept ones where `from_tag`, else as the rows that live
    (all of them in vectors below `full`); they are kept where `keep`.
    """
    start, stop = first * 8, last * 8
    tag_line, live_line = len(planes) - 2, len(planes) - 1
    tag = planes[tag_line if from_tag else live_line, start:stop].copy()
    for k in range(key, key + keys):
        mask = ZERO if pool[k, 1] else ONES
        tag &= planes[pool[k, 0], start:stop] ^ mask
    if keep:
        planes[tag_line, start:stop] = tag
    matched = 0
    for word in tag:
        matched += popcount(word)
    flipped = 0
    for k in range(write, write + writes):
        value = ONES if pool[k, 1] else ZERO
        cells = planes[pool[k, 0], start:stop]
        flip = (cells ^ value) & tag
        cells ^= flip
        if pool[k, 2] == COUNTED:
            for word in flip:
                flipped += popcount(word)
    return matched, flipped


@small
def assign_line(planes: Any, target: Any, source: Any, first: Any, last: Any) -> Any:
    """Line `target` := line `source`, in vectors `first` to `last`; gives cells flipped.

    More vectors than a line has go on into the lines that follow; where those overlap,
    every cell is read before it is overwritten.
    """
    width, flipped = planes.shape[1], 0
    upwards = target < source
    for count in range(first * 8, last * 8):
        word = count if upwards else (first + last) * 8 - 1 - count
        to, by, at = target + word // width, source + word // width, word % width
        flipped += popcount(planes[to, at] ^ planes[by, at])
        planes[to, at] = planes[by, at]
    return flipped


@small
def clear_lines(planes: Any, first: Any, count: Any) -> None:
    """Zeros into `count` lines from `first` on."""
    for line in range(first, first + count):
        for word in range(planes.shape[1]):
            planes[line, word] = ZERO


@small
def take_field(
    rows: Any, line: Any, bits: Any, start: Any, stop: Any, live: Any, source: Any,
    first: Any, stride: Any, word: Any, place: Any, same: Any, totals: Any, index: Any,
) -> None:  # fmt: skip
    """Words `start` to `stop` of some lines := planes of `source`, or bits of one word.

    Line `line + k`, for each of `bits`, takes words from `first + k * stride` on of `source`
    as one long line; or, where `same`, bit `place + k` of `word` in all lanes.  Lanes that do
    not live take 0.  Cells flipped are added to totals[3, index + k].

    """
    given = source.reshape(source.size)
    for k in range(bits):
        fixed = ZERO - ((word >> np.uint64(place + k)) & ONE)
        for w in range(start, stop):
            new = (fixed if same else given[first + k * stride + w - start]) & live[w]
            totals[3, index + k] += popcount(rows[line + k, w] ^ new)
            rows[line + k, w] = new
