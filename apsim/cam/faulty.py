"""An array whose cells and match lines fail: the same programs, with seeded faults.

The rule: without faults this array equals `DenseCam` in cells, tags and every number of
every `Execution`; a fault strikes where the hardware would fail, in a single compare or a
single write, and is never repaired.  Groups of rows that cannot see each other act at
once, which only saves time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsim.cam.base import COMPARES
from apsim.cam.dense import DenseCam
from apsim.encoding import GATE, OP
from apsim.errors import InputError
from apsim.step import Gate, Op

__all__ = ["Faults", "FaultyCam"]

Array = NDArray[np.bool_]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Faults:
    """Probabilities of three independent faults, and the seed that decides where they strike.

    `write_error`: a driven cell ends with the complement of what was written.
    `missed_match`: a line that matches is sensed as a mismatch, in a compare or a read.
    `stuck_cells`: a cell holds one value for ever, 0 or 1 with equal chance.
    """

    write_error: float = 0.0
    missed_match: float = 0.0
    stuck_cells: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("write_error", "missed_match", "stuck_cells"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"{name} is a probability, 0 to 1; got {value}")


class FaultyCam(DenseCam):
    """A CAM of `rows` x `columns` cells with faults; see `apsim.cam.base.Cam`.

    A snapshot holds cells, tags and latches, not the state of the random faults.
    """

    def __init__(self, rows: int, columns: int, faults: Faults) -> None:
        super().__init__(rows, columns)
        self._cells = np.asfortranarray(self._cells)  # a column lies in one piece
        self.faults = faults
        self._random = np.random.default_rng(faults.seed)
        self._stuck = self._random.random((rows, columns)) < faults.stuck_cells
        self._held = self._random.random((rows, columns)) < 0.5
        self._hold()

    def poke(self, cells: Array) -> None:
        """Set all cells, outside the count; stuck ones stay."""
        super().poke(cells)
        self._hold()

    def restore(self, saved: tuple[Array, Array, Array]) -> None:
        """Return to a snapshot; stuck cells stay."""
        super().restore(saved)
        self._hold()

    def _batches(self, body: Numbers, table: Numbers, parallel: bool) -> Iterator[slice]:
        """All groups at once, where that is the same as one after another."""
        if parallel or _separate(body, table):
            return iter([slice(0, len(table))])
        return super()._batches(body, table, parallel)

    def _sensed(self, match: Array) -> Array:
        """What match lines tell of matches: some are missed."""
        if self.faults.missed_match:
            match[self._struck(match, self.faults.missed_match)] = False
        return match

    def _written(
        self, place: tuple[slice | Numbers, slice | int], where: Array, new: Array
    ) -> Array:
        """What cells of a line become that are to become `new`: not always that."""
        if self.faults.write_error:
            new[self._struck(where, self.faults.write_error)] ^= True
        if self.faults.stuck_cells:
            new = np.where(self._stuck[place], self._held[place], new)
        return new

    def _struck(self, where: Array, rate: float) -> tuple[Numbers, ...]:
        """Crossings that a fault strikes: each of those in `where` with chance `rate`."""
        there = where.ravel().nonzero()[0]
        chosen = there[self._random.random(len(there)) < rate]
        return np.unravel_index(chosen, where.shape)

    def _hold(self) -> None:
        if self.faults.stuck_cells:
            self._cells[self._stuck] = self._held[self._stuck]


def _separate(body: Numbers, table: Numbers) -> bool:
    """Whether groups neither share a row nor see each other's tags and latches."""
    if len(np.unique(table)) < table.size:
        return False
    tagged = generate = kill = False
    for step in body:
        op, gate = Op(step[OP]), Gate(step[GATE])
        kill |= gate is Gate.LOAD_K
        if op in (Op.WRITE, Op.WRITE_TAG) and not tagged:
            return False
        if gate in (Gate.LOAD_K, Gate.CARRY) and not (generate and kill):
            return False
        generate |= gate is Gate.LOAD_G
        tagged |= op in COMPARES
    return True
