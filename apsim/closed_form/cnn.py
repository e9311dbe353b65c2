"""CNN functions: Eqs. (9)-(15) of BF-IMNA, III.B.3, as the paper prints them.

The rule: K windows of S words, two words in each row; M is `bits`, S `window`,
K `windows`.  Where S is no power of two a window fills ceil(S/2) rows.
"""

from __future__ import annotations

from apsim.closed_form.kinds import ceil_log2, paper_kind, positive, rows_of
from apsim.closed_form.micro import passes, tree
from apsim.counts import Counts

__all__ = ["average_pool", "max_pool", "relu"]


def average_pool(bits: int, window: int, windows: int, ap: str = "2d") -> Counts:
    """Eqs. (9), (10), (11): the means of K windows of S words.

    1d: (2M)_write + sum_{q=1..log2 S} (4(M+q-1)_compare + 4(M+q-1)_write)
        + (1_read + 1_write) K (S/2-1) + (M)_read.
    2d: (2M)_write + (4M)_compare + (4M)_write + v (4_compare + 4_write) + (M)_read,
        v = K (S/2-1), and v = log2(S/2) with segmentation.
    """
    _check(bits, window, windows)
    ends, moves = Counts(write=2 * bits, read=bits), windows * (rows_of(window) - 1)
    match paper_kind(ap):
        case "1d":
            return ends + tree(bits, ceil_log2(window)) + Counts(write=1, read=1) * moves
        case "2d":
            return ends + passes(bits + moves)
        case _:
            return ends + passes(bits + ceil_log2(window) - 1)


def max_pool(bits: int, window: int, windows: int, ap: str = "2d") -> Counts:
    """Eqs. (12), (13), (14): the maxima of K windows of S words.

    1d: (2M)_write + log2 S (4M_compare + 4M_write + 2_write)
        + (1_read + 1_write) K (S/2-1) + (M)_read.
    2d: (2M)_write + (4M)_compare + (4M)_write + K (S/2-1) (4_compare + 4_write + 2_write)
        + (M)_read + 2_write; with segmentation the middle term is
        log2(S/2) (4_compare + 4_write + 2K_write).
    """
    _check(bits, window, windows)
    ends, moves = Counts(write=2 * bits, read=bits), windows * (rows_of(window) - 1)
    horizontal = passes(bits) + Counts(write=2)
    levels = ceil_log2(window) - 1
    match paper_kind(ap):
        case "1d":
            return ends + horizontal * (levels + 1) + Counts(write=1, read=1) * moves
        case "2d":
            return ends + horizontal + (passes(1) + Counts(write=2)) * moves
        case _:
            return ends + horizontal + (passes(1) + Counts(write=2 * windows)) * levels


def relu(bits: int) -> Counts:
    """Eq. (15): M_write + 2_write + 1_read + (M-1)_compare + (M-1)_write + M_read.

    >>> relu(8).total
    33
    """
    positive(bits=bits)
    sweep = Counts(compare=bits - 1, write=bits - 1)
    return Counts(write=bits + 2, read=bits + 1) + sweep


def _check(bits: int, window: int, windows: int) -> None:
    positive(bits=bits, windows=windows)
    positive(2, window=window)
