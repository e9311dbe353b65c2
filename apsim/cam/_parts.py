"""Parts of a walk: rows of operations that blocks share which go through the same steps.

The rule: what blocks have in common is made once; the block and the number of its first step
are added for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsim.cam import _frame as frame
from apsim.cam._operations import operations
from apsim.cam._plan import Numbers

__all__ = ["Part", "expanded"]


@dataclass(frozen=True)
class Part:
    """Rows for a block from where it enters to where the next one does.

    `block` and `first` say which rows have a block, or a step, to be added.
    """

    rows: Numbers
    block: NDArray[np.bool_]
    first: NDArray[np.bool_]

    @classmethod
    def of(cls, rows: Numbers, *, slot: int = 0, first: int = 0, block: int | None = None) -> Part:
        """Rows on a slot; vertical ones from step `first` on, where no block is given."""
        rows = rows.copy()
        takes = np.isin(rows[:, frame.FN], (operations().take_lanes, operations().take_fresh))
        rows[:, frame.AT] += slot
        rows[:, frame.INDEX] += first
        rows[takes, frame.Z] += block or 0
        return cls(rows, np.zeros(len(rows), bool), np.full(len(rows), block is None))


def expanded(parts: list[Part], which: Numbers, block: Numbers, first: Numbers) -> Numbers:
    """The rows of parts that follow one another, each with its block and its first step."""
    sizes = np.array([len(part.rows) for part in parts], np.int64)
    starts, many = np.cumsum(sizes) - sizes, sizes[which]
    inside = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    index = np.repeat(starts[which], many) + inside
    rows = np.concatenate([part.rows for part in parts])[index]
    steps = np.concatenate([part.first for part in parts])[index]
    takes = np.concatenate([part.block for part in parts])[index]
    rows[:, frame.INDEX] += np.repeat(first, many) * steps
    rows[:, frame.Z] += np.repeat(block, many) * takes
    return np.ascontiguousarray(rows)
