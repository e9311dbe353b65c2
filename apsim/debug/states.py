"""Words that put a look-up table's rows in states that can occur, bit after bit.

The rule: every row starts in a reachable state, and meets one at every later bit, given
what the passes left in the per-word columns; together the rows start in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from apsim.lut.check import run_passes
from apsim.lut.model import Lut, State

__all__ = ["reachable_words"]

Words = NDArray[np.uint64]


def reachable_words(
    table: Lut, bits: int, rows: int, given: Mapping[str, Words], seed: int = 0
) -> Words:
    """Words uint64[columns, rows] for per-bit columns of so many bits.

    Columns that are `given` hold what is given; the others are seeded and random, outputs 0
    where some state allows it.  Where nothing is given row r starts in reachable state r,
    counted round.  A row for whose given bits there is no reachable state has zeros there.
    """
    generator = np.random.default_rng(seed)
    words = np.zeros((len(table.columns), rows), np.uint64)
    for row in range(rows):
        fixed = {name: int(values[row]) for name, values in given.items()}
        first = None if given else table.reachable[row % len(table.reachable)]
        words[:, row] = _row(table, bits, fixed, first, generator)
    return words


def _row(
    table: Lut, bits: int, given: Mapping[str, int], first: State | None,
    generator: np.random.Generator,
) -> list[int]:  # fmt: skip
    words = dict.fromkeys(table.columns, 0)
    left: dict[str, int] = {}  # what the passes left in the per-word columns
    for bit in reversed(range(bits)) if table.walk == "msb-first" else range(bits):
        held = {n: word >> bit & 1 if n in table.per_bit else word for n, word in given.items()}
        state = first or _state(table, held | left, not given, generator)
        for name, value in zip(table.columns, state, strict=True):
            if name in table.per_bit:
                words[name] |= value << bit
            elif not left:
                words[name] = value
        after = dict(zip(table.columns, run_passes(table, state), strict=True))
        left, first = {name: after[name] for name in table.per_word}, None
    return list(words.values())


def _state(
    table: Lut, held: Mapping[str, int], any_output: bool, generator: np.random.Generator
) -> State:
    """A reachable state that agrees with the bits that are held."""
    agreeing = [
        state
        for state in table.reachable
        if all(state[table.columns.index(name)] == bit for name, bit in held.items())
    ]
    if not agreeing:
        return tuple(held.get(name, 0) for name in table.columns)
    fewest = min(_outputs(table, state) for state in agreeing)
    chosen = [state for state in agreeing if any_output or _outputs(table, state) == fewest]
    return chosen[int(generator.integers(len(chosen)))]


def _outputs(table: Lut, state: Sequence[int]) -> int:
    """How many output columns hold 1."""
    return sum(state[table.columns.index(name)] for name in table.outputs)
