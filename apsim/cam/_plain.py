"""The inner loops over bit-planes in plain source: what `_vectors` builds by hand.

The rule: the same arguments, the same results.  These compile on any processor that
numba knows, and run as plain Python under NUMBA_DISABLE_JIT=1.  Planes are
uint64[lines, words]; the last two lines are the row tags and the rows that live.
A vector is eight words.  The tag of a step goes through a buffer, so that reading
and writing the same plane never meet in one loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from apsim.cam._compile import small

__all__ = [
    "assign_line",
    "call_fused",
    "clear_lines",
    "get_bits",
    "octet_bits",
    "popcount",
    "put_bits",
    "put_octets",
    "step_lines",
    "take_field",
]

COUNTED = 2
ZERO, ONE, ONES = np.uint64(0), np.uint64(1), np.uint64(0xFFFF_FFFF_FFFF_FFFF)
PAIRS, FOURS, EIGHTS = (
    np.uint64(0x5555_5555_5555_5555),
    np.uint64(0x3333_3333_3333_3333),
    np.uint64(0x0F0F_0F0F_0F0F_0F0F),
)


@small
def popcount(word: Any) -> Any:
    """Ones of a uint64 word."""
    word = word - ((word >> np.uint64(1)) & PAIRS)
    word = (word & FOURS) + ((word >> np.uint64(2)) & FOURS)
    word = (word + (word >> np.uint64(4))) & EIGHTS
    word = word + (word >> np.uint64(8))
    word = word + (word >> np.uint64(16))
    word = word + (word >> np.uint64(32))
    return np.int64(word & np.uint64(127))


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

    With explicit vectors `rows`, `live` and `source` have seven words more than they show.
    """
    given = source.reshape(source.size)
    for k in range(bits):
        fixed = ZERO - ((word >> np.uint64(place + k)) & ONE)
        for w in range(start, stop):
            new = (fixed if same else given[first + k * stride + w - start]) & live[w]
            totals[3, index + k] += popcount(rows[line + k, w] ^ new)
            rows[line + k, w] = new


@small
def get_bits(data: Any, port: Any, row: Any, place: Any) -> Any:
    """Bit `place` of the 64 words of `data[port]` from `row` on, as one word."""
    word = ZERO
    for k in range(64):
        word |= ((data[port, row + k] >> np.uint64(place)) & ONE) << np.uint64(k)
    return word


@small
def put_bits(out: Any, port: Any, row: Any, place: Any, word: Any) -> None:
    """Bit `place` of the 64 words of `out[port]` from `row` on := the bits of `word`."""
    bit = ONE << np.uint64(place)
    for k in range(64):
        old = out[port, row + k] & ~bit
        out[port, row + k] = old | (((word >> np.uint64(k)) & ONE) << np.uint64(place))


@small
def octet_bits(octets: Any, first: Any, place: Any) -> Any:
    """Bit `place` of 64 bytes from `first` on, as one word."""
    word = ZERO
    for k in range(64):
        word |= ((np.uint64(octets[first + k]) >> np.uint64(place)) & ONE) << np.uint64(k)
    return word


@small
def put_octets(words: Any, first: Any, planes: Any, place: Any, bits: Any, word: Any) -> None:
    """Up to eight bits from `place` on of 64 words from `first` on := word `word` of planes.

    Bits below are kept, those above are 0.
    """
    for k in range(64):
        octet = ZERO
        for b in range(bits):
            octet |= ((planes[place + b, word] >> np.uint64(k)) & ONE) << np.uint64(b)
        kept = words[first + k] if place else ZERO
        words[first + k] = kept | (octet << np.uint64(place))


@small
def call_fused(
    address: Any, planes: Any, lines: Any, place: Any, repeat: Any,
    first: Any, last: Any, full: Any, live: Any, tag: Any, totals: Any, index: Any,
) -> None:  # fmt: skip
    """Machine code of `_fusion` at an address; without vectors no plan has any."""
