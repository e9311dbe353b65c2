"""What the functions take with smaller LUTs: below the paper, and never called the paper's.

The rule: as `realisable`, each formula counts the program that runs; `saving` is what
the smaller LUTs leave out of the printed equation.
"""

from __future__ import annotations

from apsim.closed_form.kinds import positive
from apsim.counts import Counts

__all__ = ["add", "maximum", "minimum", "multiply", "relu", "saving"]

PASS = Counts(compare=1, write=1)


def add(bits: int) -> Counts:
    """A destroyed: 2 passes for the first bit, 3 for every other (6M - 2).

    >>> add(8).total - 3 * 8 - 1
    46
    """
    positive(bits=bits)
    return Counts(write=2 * bits, read=bits + 1) + PASS * (3 * bits - 1)


def multiply(bits: int, bits_b: int | None = None) -> Counts:
    """Unsigned: 1 pass a bit in the first row, one pair of passes less in each later one."""
    bits_b = bits if bits_b is None else bits_b
    positive(bits=bits, bits_b=bits_b)
    passes = bits + (bits_b - 1) * (4 * bits - 2)
    return Counts(write=bits + bits_b, read=bits + bits_b) + PASS * passes


def relu(bits: int) -> Counts:
    """The sign column is the flag: 4M - 1 in all.

    >>> relu(8).total
    31
    """
    positive(bits=bits)
    return Counts(write=bits + 1, read=bits) + PASS * (bits - 1)


def maximum(bits: int) -> Counts:
    """Passes 1 and 3 of Table IV merged: 3 passes a bit."""
    positive(bits=bits)
    return Counts(write=2 * bits + 2, read=bits) + PASS * (3 * bits)


def minimum(bits: int) -> Counts:
    """As `maximum`."""
    return maximum(bits)


def saving(function: str, bits: int, bits_b: int | None = None) -> Counts:
    """What the smaller LUTs save against the printed sweep, by its own formula (all <= 0)."""
    bits_b = bits if bits_b is None else bits_b
    match function:
        case "add":  # 2 of 4 passes at the first bit, 1 of 4 at the others
            return PASS * -(bits + 1)
        case "multiply":  # 3 of 4 passes in the first row, 2 at the first bit of the others
            return PASS * -(3 * bits + 2 * (bits_b - 1))
        case "relu":  # the sign is neither read nor copied to a flag
            return Counts(write=-1, read=-1)
        case _:  # 1 of 4 passes of Table IV
            return PASS * -bits
