"""What a debugger holds: a machine with a program on it, at a point, to be moved about.

The rule: state only, no reading or printing.  The machine's counters follow the
point, so that a debugged run and a plain run end alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsim.controller import Event, Tag
from apsim.counts import Counts
from apsim.debug.history import SHELF_BYTES
from apsim.debug.tape import Tape
from apsim.debug.timeline import Place
from apsim.errors import InputError
from apsim.layout import Field
from apsim.machine import Machine
from apsim.program import Microprogram, Mode, Op, Operation

__all__ = ["Part", "Session"]

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Part:
    """One operation of the program: its name and the steps from `start` up to `stop`."""

    name: str
    start: int
    stop: int


class Session:
    """A machine with programs to run one after the other, at a point of that run.

    `data` and `out` are the words they take from and put outside, as in `Cam.execute`;
    `memory` bounds each of the two shelves of snapshots, in bytes.
    """

    def __init__(
        self,
        machine: Machine,
        *programs: Operation | Microprogram,
        data: Words | None = None,
        out: Words | None = None,
        memory: int = SHELF_BYTES,
    ) -> None:
        each = [machine.program(part) for program in programs for part in _operations(program)]
        parts = [part for part in each if len(part)]
        items = tuple(item for part in parts for item in part.items)
        whole = Microprogram(items, " + ".join(part.name for part in parts if part.name))
        self.machine = machine
        self.programs = tuple(parts)
        self.program = whole
        self.parts = tuple(_parts(parts))
        self.tape = Tape(machine.cam, whole, data, out, memory)
        self.timeline = self.tape.timeline
        self.on_step: Callable[[Event], None] | None = None
        self._at_start = machine.counts, dict(machine.counts_by_phase), machine.activity

    @property
    def point(self) -> int:
        """Half steps done: 2i before step i, 2i+1 between the compare and the write of pass i."""
        return self.tape.point

    @property
    def end(self) -> int:
        """The last point: after the last step."""
        return self.tape.end

    @property
    def counts(self) -> Counts:
        """What the program has cost up to the point."""
        return sum(self.tape.counts.values(), Counts())

    @property
    def upcoming(self) -> Place | None:
        """The step that runs next, or whose write comes next; None at the end."""
        return self.timeline[self.point // 2] if self.point < self.end else None

    @property
    def done(self) -> Place | None:
        """The step that ran last, wholly or its compare; None at the start."""
        return self.timeline[(self.point - 1) // 2] if self.point else None

    @property
    def part(self) -> Part | None:
        """The operation that the next step belongs to; None at the end."""
        index = self.point // 2
        return next((part for part in self.parts if part.start <= index < part.stop), None)

    @property
    def tag(self) -> NDArray[np.bool_]:
        """The tag of the direction that ran last: bool[rows] or bool[groups, columns]."""
        vertical = self.done is not None and self.done.step.mode is Mode.VERTICAL
        return self.machine.cam.column_tag if vertical else self.machine.cam.tag

    def event(self) -> Event | None:
        """What the last step did; None at the start."""
        place = self.done
        if place is None:
            return None
        counts = Counts(compare=1) if self.point % 2 else place.step.counts
        return Event(place.index, place.step, Tag(self.tag), counts, self.tape.last, place.rows)

    def step(self) -> bool:
        """Run to the next whole step; False at the end."""
        return self.go_to(min(self.point // 2 * 2 + 2, self.end))

    def cycle(self) -> bool:
        """Run one compare, write or read; False at the end."""
        return self.go_to(min(self.after_cycle(self.point), self.end))

    def back(self) -> bool:
        """Go back to the last whole step before this point; False at the start."""
        return self.go_to((self.point - 1) // 2 * 2) if self.point else False

    def after_cycle(self, point: int) -> int:
        """The point one operation of the hardware later."""
        is_pass = point < self.end and self.timeline[point // 2].step.op is Op.PASS
        return point + (1 if point % 2 or is_pass else 2)

    def go_to(self, point: int) -> bool:
        """Go to a point, forwards or back; True if that is another one and was reached.

        Raises `InputError` for a point that the program does not have.
        """
        self._check(point)
        if point == self.point:
            return False
        if self.on_step is None or point < self.point:
            self.tape.wind(point)
        else:
            self._tell_each_step(point)
        self._sync()
        return self.point == point

    def values(self, field: Field) -> NDArray[np.int64]:
        """The words of a field in all rows: int64[rows]."""
        return words_of(self.machine.cam.peek(), field)

    def edit(self, *cells: tuple[int, int, int]) -> None:
        """Set cells (row, column, bit) at this point; going back and on again keeps them."""
        self.tape.edit(*cells)

    def __iter__(self) -> Iterator[Event]:
        """Step through the rest of the program, with an event for each step."""
        while self.step() and (event := self.event()) is not None:
            yield event

    def __repr__(self) -> str:
        return f"<Session: {self.program!r}, at step {self.point // 2}>"

    @contextmanager
    def untold(self) -> Iterator[None]:
        """Within this, steps are not told to `on_step`: they search the past."""
        told, self.on_step = self.on_step, None
        try:
            yield
        finally:
            self.on_step = told

    def _check(self, point: int) -> None:
        if not 0 <= point <= self.end:
            last = len(self.timeline) - 1
            raise InputError(f"the program has steps 0 to {last}; got step {point // 2}")
        if point % 2 and self.timeline[point // 2].step.op is not Op.PASS:
            raise InputError(f"step {point // 2} is a single operation and has no middle")

    def _tell_each_step(self, point: int) -> None:
        assert self.on_step is not None
        while self.point < point and not self.tape.should_stop():
            self.tape.wind(min(self.point // 2 * 2 + 2, point))
            event = self.event()
            if event is not None and self.point % 2 == 0:
                self.on_step(event)

    def _sync(self) -> None:
        counts, by_phase, activity = self._at_start
        self.machine.counts = counts + self.counts
        self.machine.activity = activity + self.tape.activity
        merged = dict(by_phase)
        for phase, more in self.tape.counts.items():
            merged[phase] = merged.get(phase, Counts()) + more
        self.machine.counts_by_phase = merged


def words_of(cells: NDArray[np.bool_], field: Field) -> NDArray[np.int64]:
    """The words of a field from cells bool[rows, columns]: int64[rows]."""
    words = np.zeros(len(cells), np.uint64)
    for place, column in enumerate(field.columns):
        words |= cells[:, column].astype(np.uint64) << np.uint64(place)
    return field.decode(words)


def _operations(program: Operation | Microprogram) -> tuple[Operation | Microprogram, ...]:
    return program.parts or (program,) if isinstance(program, Operation) else (program,)


def _parts(programs: list[Microprogram]) -> Iterator[Part]:
    start = 0
    for program in programs:
        yield Part(program.name or "program", start, start + len(program))
        start += len(program)
