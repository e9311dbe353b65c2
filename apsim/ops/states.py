"""Words that put a look-up table's rows in states that can occur, bit after bit.

The rule: every row starts in a reachable state, and meets one at every later bit, given
what the passes left in the per-word columns; together the rows start in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from apsim.lut.check import run_passes
from apsim.lut.model import Lut, State

__all__ = ["reachable_words"]

Words = NDArray[np.uint64]


def reachable_words(
    table: Lut, bits: int, rows: int, given: Mapping[str, Words], seed: int
) -> Words:
    """Words uint64[columns, rows] for per-bit columns of so many bits.

    Columns that are `given` hold what is given; the others are seeded and random, outputs 0
    where some state allows it.  Where nothing is given row r starts in reachable state r,
    counted round.  Where no reachable state has the given bits, the other columns hold 0.
    """
    generator = np.random.default_rng(seed)
    words = np.zeros((len(table.columns), rows), np.uint64)
    walk = range(bits)[::-1] if table.walk == "msb-first" else range(bits)
    for row in range(rows):
        held = {name: int(column[row]) for name, column in given.items()}
        first = None if given else table.reachable[row % len(table.reachable)]
        left: dict[str, int] = {}  # what the passes left in the per-word columns
        for bit in walk:
            now = {n: word >> bit & 1 if n in table.per_bit else word for n, word in held.items()}
            state = first or _state(table, now | left, bool(given), generator)
            for k, name in enumerate(table.columns):
                if name in table.per_bit or bit == walk[0]:
                    words[k, row] |= np.uint64(state[k] << (bit if name in table.per_bit else 0))
            after = dict(zip(table.columns, run_passes(table, state), strict=True))
            left, first = {name: after[name] for name in table.per_word}, None
    return words


def _state(
    table: Lut, held: Mapping[str, int], clean: bool, generator: np.random.Generator
) -> State:
    """A reachable state with the bits that are held; `clean` wants outputs 0 where it can."""
    place = {name: k for k, name in enumerate(table.columns)}
    found = [s for s in table.reachable if all(s[place[n]] == bit for n, bit in held.items())]
    if clean and found:
        ones = [sum(state[place[name]] for name in table.outputs) for state in found]
        found = [state for state, count in zip(found, ones, strict=True) if count == min(ones)]
    if not found:
        return tuple(held.get(name, 0) for name in table.columns)
    return found[generator.integers(len(found))]
