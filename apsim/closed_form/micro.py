"""Micro functions: Eqs. (1)-(5) of BF-IMNA, III.B.1, as the paper prints them.

The rule: these are the paper's numbers, also where no execution can reach them;
`realisable` holds what an execution takes.  M is `bits`, L is `words`.
Where the paper takes log2 of a power of two, other numbers take the ceiling.
"""

from __future__ import annotations

from apsim.closed_form.kinds import ceil_log2, paper_kind, positive, rows_of
from apsim.counts import Counts

__all__ = ["add", "multiply", "passes", "reduce", "tree"]


def passes(columns: int) -> Counts:
    """Four passes on each of `columns` column pairs: 4 compares and 4 writes each."""
    return Counts(compare=4 * columns, write=4 * columns)


def tree(bits: int, levels: int) -> Counts:
    """Horizontal additions of words that widen by a bit at each of `levels` levels."""
    return passes(levels * bits + levels * (levels - 1) // 2)


def add(bits: int) -> Counts:
    """Eq. (1): (2M)_write + (4M)_compare + (4M)_write + (M+1)_read, on every AP kind.

    >>> add(8)
    Counts(compare=32, write=48, read=9)
    """
    positive(bits=bits)
    return Counts(write=2 * bits, read=bits + 1) + passes(bits)


def multiply(bits: int, bits_b: int | None = None) -> Counts:
    """Eq. (2): (2M)_write + (4M^2)_compare + (4M^2)_write + (2M)_read, on every AP kind.

    Operands of unequal widths Ma (`bits`) and Mw (`bits_b`) take Ma + Mw for 2M and
    Ma * Mw for M^2.

    >>> multiply(8).total
    544
    """
    bits_b = bits if bits_b is None else bits_b
    positive(bits=bits, bits_b=bits_b)
    return Counts(write=bits + bits_b, read=bits + bits_b) + passes(bits * bits_b)


def reduce(bits: int, words: int, ap: str = "2d") -> Counts:
    """Eqs. (3), (4), (5): the sum of L words, two in each row.

    1d: (2M)_write + (1_read + 1_write)(L/2-1)
        + sum_{q=1..log2 L} (4(M+q-1)_compare + 4(M+q-1)_write) + 1_read.
    2d: (2M)_write + (4M)_compare + (4M)_write + v (4_compare + 4_write) + 1_read,
        v = L/2-1, and v = log2(L/2) with segmentation.
    """
    positive(bits=bits)
    positive(2, words=words)
    ends = Counts(write=2 * bits, read=1)
    moves = rows_of(words) - 1
    match paper_kind(ap):
        case "1d":
            transfers = Counts(write=1, read=1) * moves
            return ends + transfers + tree(bits, ceil_log2(words))
        case "2d":
            return ends + passes(bits + moves)
        case _:
            return ends + passes(bits + ceil_log2(words) - 1)
