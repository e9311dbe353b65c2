"""Macro functions: Eqs. (6)-(8) of BF-IMNA, III.B.2, as the paper prints them.

The rule: matrices are i x j and j x u, one product in each row, so that i*u groups
of j rows are reduced; a dot product is i = u = 1.
"""

from __future__ import annotations

from apsim.closed_form.kinds import ceil_log2, paper_kind, positive
from apsim.closed_form.micro import passes, tree
from apsim.counts import Counts

__all__ = ["dot", "matmul"]


def matmul(bits: int, i: int, j: int, u: int, ap: str = "2d", bits_b: int | None = None) -> Counts:
    """Eqs. (6), (7), (8): an i x j matrix times a j x u matrix, all of M bits.

    1d: (2M)_write + (4M^2)_compare + (4M^2)_write
        + sum_{q=1..log2 j} (4(2M+q-1)_compare + 4(2M+q-1)_write)
        + (1_read + 1_write) i u (j-1) + (2M + log2 j)_read.
    2d: (2M)_write + (4M^2)_compare + (4M^2)_write + v (4_compare + 4_write)
        + (2M + log2 j)_read, v = i u (j-1), and v = log2 j with segmentation.
    Unequal widths Ma (`bits`), Mw (`bits_b`): Ma + Mw for 2M and Ma * Mw for M^2.
    """
    bits_b = bits if bits_b is None else bits_b
    positive(bits=bits, bits_b=bits_b, i=i, j=j, u=u)
    product, levels, moves = bits + bits_b, ceil_log2(j), i * u * (j - 1)
    multiplied = Counts(write=product, read=product + levels) + passes(bits * bits_b)
    match paper_kind(ap):
        case "1d":
            return multiplied + tree(product, levels) + Counts(write=1, read=1) * moves
        case "2d":
            return multiplied + passes(moves)
        case _:
            return multiplied + passes(levels)


def dot(bits: int, j: int, ap: str = "2d", bits_b: int | None = None) -> Counts:
    """Eqs. (6), (7), (8) with i = u = 1: the dot product of two vectors of j words."""
    return matmul(bits, 1, j, 1, ap, bits_b)
