"""Cells that a multiply writes on random operands: executed passes, no formula.

The rule: the look-up tables are carried out on every pair of operands, or on seeded random
pairs where there are too many, and what was written is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from apsim import Machine, ops
from apsim.counts import Activity
from apsim.layout import Layout

__all__ = ["CELL_WRITES", "changed", "driven"]

ALL_PAIRS = 16  # bits of both operands up to which every pair is taken
SEED = 0


def changed(bits_a: int, bits_b: int) -> float:
    """Mean cells that change for each bit pair of a product of unsigned words.

    As the paper counts its 1.5 writes of the adder: columns of a look-up table whose value
    differs.  Passes are gated by the multiplier's bits, so that it stays below 0.75.

    >>> changed(1, 1)
    0.25
    """
    return _multiply(bits_a, bits_b).flipped / _bit_pairs(bits_a, bits_b)


def driven(bits_a: int, bits_b: int) -> float:
    """The same for cells that are driven: a pass writes all its columns, changed or not."""
    return _multiply(bits_a, bits_b).written / _bit_pairs(bits_a, bits_b)


CELL_WRITES: Mapping[str, Callable[[int, int], float]] = {"exact": changed, "driven": driven}
"""By the name of the reading, as a chip's `cell_writes` has it."""


@cache
def _multiply(bits_a: int, bits_b: int) -> Activity:
    """Activity of the passes on all pairs where both words have 16 bits at most, else 65,536."""
    words = _pairs(bits_a, bits_b)
    layout = Layout(A=bits_a, B=bits_b, P=bits_a + bits_b)
    machine = Machine(rows=words.shape[1], layout=layout, engine="dense")
    machine.write("A", words[0])
    machine.write("B", words[1])
    before = machine.activity.written
    machine.run(ops.multiply("A", "B", "P"))
    done = machine.activity
    operands = int(np.bitwise_count(words.astype(np.uint64)).sum())  # ones that filling in set
    return Activity(written=done.written - before, flipped=done.flipped - operands)


def _bit_pairs(bits_a: int, bits_b: int) -> int:
    pairs: int = _pairs(bits_a, bits_b).shape[1]
    return pairs * bits_a * bits_b


@cache
def _pairs(bits_a: int, bits_b: int) -> NDArray[np.int64]:
    """Operands: int64[2, pairs]."""
    if bits_a + bits_b <= ALL_PAIRS:
        pair = np.arange(1 << (bits_a + bits_b))
        return np.stack([pair & ((1 << bits_a) - 1), pair >> bits_a])
    random = np.random.default_rng(SEED)
    return np.stack([random.integers(0, 1 << bits, 1 << ALL_PAIRS) for bits in (bits_a, bits_b)])
