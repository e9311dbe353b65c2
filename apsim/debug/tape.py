"""A run of a program that can be wound to any of its points, forwards and back.

The rule: every way to a point ends in the same state.  Winding forward executes the
same code as a plain run, in as few calls as possible; winding back restores a snapshot
and winds forward from there.  A *point* counts half steps: point 2i lies before step
i, point 2i+1 between the compare and the write of pass i.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from apsim.cam.base import Cam, Execution
from apsim.controller import require
from apsim.counts import Activity, Counts
from apsim.debug.history import SHELF_BYTES, History, Record
from apsim.debug.timeline import ByPhase, Piece, Place, Timeline, count
from apsim.encoding import encode
from apsim.program import Loop, Microprogram, Op

__all__ = ["Edit", "Tape"]

Words = NDArray[np.uint64]
LONGEST_RUN = 4096  # steps executed in one call, so that an interrupt is soon seen


@dataclass(frozen=True)
class Edit:
    """A cell set by hand at a point; a replay through that point sets it again."""

    point: int
    row: int
    column: int
    bit: int


class Tape:
    """A program on an array, wound to `point`; counters and the last step's work go along.

    `data` and `out` are as in `Cam.execute`.  Winding stops early, between two calls,
    where `should_stop()` says so.
    """

    def __init__(
        self,
        cam: Cam,
        program: Microprogram,
        data: Words | None = None,
        out: Words | None = None,
        memory: int = SHELF_BYTES,
    ) -> None:
        self.cam, self.data, self.out = cam, data, out
        self.timeline = Timeline(program)
        self.point = 0
        self.counts: ByPhase = {}
        self.activity = Activity()
        self.last = Activity()
        self.edits: list[Edit] = []
        self.should_stop: Callable[[], bool] = bool
        self.history = History(self._record(), memory)

    @property
    def end(self) -> int:
        """The last point: after the last step."""
        return 2 * len(self.timeline)

    def wind(self, point: int) -> None:
        """Go to a point from 0 to `end`, or as far as `should_stop` lets it go."""
        if not self.point <= point <= self.point + 2:
            known = self.history.before(point)
            if point < self.point or known.point > self.point:
                self._restore(known)
        while self.point < point and not self.should_stop():
            self._advance(point)

    @contextmanager
    def visiting(self, point: int) -> Iterator[None]:
        """Within this the array is at an earlier point; afterwards all is as it was."""
        here = self._record()
        self._restore(self.history.before(point))
        try:
            while self.point < point:
                self._run_to(self._stop(point))
            yield
        finally:
            self._restore(here)

    def cells_before(self) -> NDArray[np.bool_] | None:
        """The cells before the last step ran, wholly or its compare; None at the start."""
        if not self.point:
            return None
        with self.visiting((self.point - 1) // 2 * 2):
            return self.cam.peek()

    def edit(self, *cells: tuple[int, int, int]) -> None:
        """Set cells (row, column, bit) at this point, for this and every later replay."""
        self.history.forget_from(self.point)
        edits = [Edit(self.point, *cell) for cell in cells]
        self.edits = sorted([*self.edits, *edits], key=lambda edit: edit.point)
        self._apply(edits)
        if self.point == 0:
            self.history.first = self._record()

    def _advance(self, point: int) -> None:
        """One call of the array towards a point, with the snapshots that are due."""
        near = (point // 2 - self.history.most_recent) * 2
        if self.point < near:
            stop = min(self._stop(point), near)
        else:
            stop = self._stop(point) if self.edits else point
            if self.point % 2 == 0:
                self.history.keep_recent(self._record())
                stop = min(stop, self.point + 2)
        self._run_to(stop)
        if self.point % (2 * self.history.interval) == 0:
            self.history.keep_spaced(self._record())

    def _stop(self, point: int) -> int:
        """How far one call may run: to an edit, a snapshot's place, or the last step but one."""
        interval = 2 * self.history.interval
        stops = [edit.point for edit in self.edits if edit.point > self.point]
        stops += [self.point // interval * interval + interval, self.point + 2 * LONGEST_RUN]
        before = (point - 1) // 2 * 2  # the last step runs alone, for what it did to be known
        return min([*stops, before if before > self.point else point])

    def _run_to(self, stop: int) -> None:
        if self.point % 2:
            self._run_half(Op.WRITE)
        if self.point // 2 < stop // 2:
            for piece in self.timeline.pieces(self.point // 2, stop // 2):
                self._run(piece)
            self.point = stop // 2 * 2
        if self.point < stop:
            self._run_half(Op.COMPARE)
        self._apply([edit for edit in self.edits if edit.point == self.point])

    def _run_half(self, op: Op) -> None:
        place, compare = self.timeline[self.point // 2], self.last
        self._run(_half(place, op))
        if op is Op.WRITE:
            self.last = compare + self.last
        self.point += 1

    def _run(self, piece: Piece) -> None:
        words = slice(piece.group, None)
        execution = self.cam.execute(
            piece.code,
            None if self.data is None else self.data[:, words],
            None if self.out is None else self.out[:, words],
        )
        for phase, counts in _counted(execution, piece).items():
            self.counts[phase] = self.counts.get(phase, Counts()) + counts
        self.last = execution.last
        self.activity += execution.activity if len(piece.steps) > 1 else self.last

    def _apply(self, edits: list[Edit]) -> None:
        if edits:
            cells = self.cam.peek()
            for edit in edits:
                cells[edit.row, edit.column] = bool(edit.bit)
            self.cam.poke(cells)

    def _record(self) -> Record:
        out = None if self.out is None else self.out.copy()
        state = dict(self.counts), self.activity, self.last
        return Record(self.point, self.cam.snapshot(), out, *state)

    def _restore(self, record: Record) -> None:
        self.cam.restore(record.cam)
        if self.out is not None and record.out is not None:
            self.out[:] = record.out
        self.point, self.last = record.point, record.last
        self.counts, self.activity = dict(record.counts), record.activity


def _counted(execution: Execution, piece: Piece) -> ByPhase:
    """What a piece's steps cost as they were carried out, if that is what they list."""
    phases = list(dict.fromkeys(step.phase for step in piece.steps))
    kinds = np.array([phases.index(step.phase) for step in piece.steps])
    done = {phases[kind]: counts for kind, counts in execution.counts_by(kinds).items()}
    require(done, count(piece.steps, piece.times), "steps of the program")
    return done


def _half(place: Place, op: Op) -> Piece:
    """The compare or the write of a pass, alone."""
    step = place.step
    without = replace(step, op=op, key=()) if op is Op.WRITE else replace(step, op=op, write=())
    if place.rows is None:
        return Piece(encode((without,)), (without,))
    loop = Loop((without,), place.rows, parallel=len(place.rows) > 1)
    return Piece(encode((loop,)), (without,), 1, place.group)
