"""What users hold: an array, a layout, and counters that run along.

The rule: everything a machine does to its cells is a program that its array
executes; `counts` and `activity` are what those executions carried out and added up to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from apsim import cam, controller
from apsim.cam.base import Cam, Execution
from apsim.controller import Event
from apsim.counts import Activity, Counts, Phase
from apsim.errors import InputError, ProgramError
from apsim.layout import Field, Layout, array_of
from apsim.ops.arithmetic import populate, read
from apsim.ops.rows import loop
from apsim.ops.steps import store_row, take_row
from apsim.program import Microprogram, Operation, Step

if TYPE_CHECKING:
    from apsim.debug.session import Session

__all__ = ["Machine"]


MOST_CELLS = 2**36
"""Cells of an array: packed they are 8 GiB."""


def _size(name: str, value: object) -> int:
    """A whole number from 1 on; raises `ProgramError`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ProgramError(f"{name}: wanted a whole number of at least 1, got {value!r}")
    return int(value)


def _words(data: ArrayLike | None) -> NDArray[np.uint64] | None:
    """Words for the ports of a program; raises `ProgramError` for what is no integer."""
    if data is None:
        return None
    words = array_of("data", data)
    if words.dtype.kind not in "iub":
        raise ProgramError(f"data: wanted integers [ports, rows], got values of {words.dtype}")
    return words


def _of_rows(step: Step, table: NDArray[np.int64], name: str) -> Microprogram:
    return Microprogram((loop([step], table, False),), name)


class Machine:
    """An AP of `rows` rows with fields by name; all cells 0 at first.

    `counts` are the compares, writes and reads that its programs took so far,
    `counts_by_phase` the same by what they were for, and `activity` the lines and cells they
    touched.  `print` shows the first words, `peek` looks without counting.

    >>> from apsim import Layout, ops
    >>> m = Machine(rows=2, layout=Layout(A=4, B=4, C=1))
    >>> m.write("A", [1, 2])
    >>> m.write("B", [3, 9])
    >>> m.run(ops.add("A", "B", carry="C")).counts
    Counts(compare=16, write=16, read=0)
    >>> m.read("B").tolist(), m.counts
    ([4, 11], Counts(compare=16, write=24, read=4))

    `engine` is "strict" (packed, fast), "dense" (the definition) or "fused".  Raises
    `ProgramError` where a size or an engine is not possible.
    """

    counts: Counts
    """Compares, writes and reads of everything that ran on this machine."""
    activity: Activity
    """Lines that were compared and matched, cells that were driven and that changed."""
    counts_by_phase: dict[Phase, Counts]
    """`counts`, by what the steps were for."""

    def __init__(
        self, rows: int, layout: Layout, *, columns: int | None = None, engine: str = "strict"
    ) -> None:
        if not isinstance(layout, Layout):
            raise ProgramError(f"layout: wanted a Layout such as Layout(A=8), got {layout!r}")
        width = layout.columns if columns is None else _size("columns", columns)
        if width < layout.columns:
            raise ProgramError(f"columns: the layout spans {layout.columns}, got {width}")
        rows = _size("rows", rows)
        if rows * width > MOST_CELLS:
            raise ProgramError(
                f"rows: wanted at most {MOST_CELLS:,} cells, so {MOST_CELLS // max(width, 1):,} "
                f"rows of {width} columns, got {rows:,}"
            )
        self.layout = layout
        try:
            self.cam: Cam = cam.make(str(engine), rows, width)
            if isinstance(self.cam, cam.PackedCam):
                self.cam.waits = False
        except MemoryError:
            raise ProgramError(f"not enough memory for {rows:,} rows of {width} columns") from None
        self.counts = Counts()
        self.activity = Activity()
        self.counts_by_phase: dict[Phase, Counts] = {}

    @property
    def rows(self) -> int:
        """Rows of the array."""
        return self.cam.rows

    def run(
        self,
        program: Operation | Microprogram,
        data: NDArray[np.uint64] | None = None,
        out: NDArray[np.uint64] | None = None,
    ) -> Execution:
        """Carry out an operation or a program, and count it.

        `data` are words to take in, [ports, rows], and `out` takes what is put out, as many;
        raises `ProgramError` where they are of another shape, or no integers.
        """
        program, data = self.program(program), _words(data)
        execution = controller.run(program, self.cam, data, out)
        for phase, counts in controller.counted(execution, program).items():
            self._count(phase, counts)
        self.activity += execution.activity
        return execution

    def steps(
        self,
        program: Operation | Microprogram,
        data: NDArray[np.uint64] | None = None,
        out: NDArray[np.uint64] | None = None,
        by: str = "pass",
    ) -> Iterator[Event]:
        """Carry out a program one pass (or one cycle) at a time, giving an event for each."""
        for event in controller.steps(self.program(program), self.cam, data, out, by):
            self._count(event.step.phase, event.counts)
            self.activity += event.activity
            yield event

    def debug(
        self,
        program: Operation | Microprogram,
        data: NDArray[np.uint64] | None = None,
        out: NDArray[np.uint64] | None = None,
    ) -> Session:
        """Open the debugger's prompt on a program (`apsim.debug.open`)."""
        from apsim import debug

        return debug.open(self, program, data, out)

    def program(self, operation: Operation | Microprogram) -> Microprogram:
        """The operation's program on this machine's layout; a program as it is."""
        if isinstance(operation, Operation):
            return operation.on(self.layout)
        if not isinstance(operation, Microprogram):
            raise ProgramError(
                f"wanted an operation such as ops.add(...) or a Microprogram, got {operation!r}"
            )
        return operation

    def write(self, field: str, values: ArrayLike) -> None:
        """Write one word per row bit-sequentially: one column write per bit of the field.

        A single value fills all rows.  Raises `InputError` for a wrong number of words or
        a value that the field does not hold.
        """
        words = self.layout[field].encode(values)
        if words.ndim and words.shape != (self.rows,):
            raise InputError(
                f"field {field!r}: wanted {self.rows} words, one per row, got shape {words.shape}"
            )
        self.run(populate(field), np.ascontiguousarray(np.broadcast_to(words, (1, self.rows))))

    def read(self, *fields: str, kind: str | None = None) -> NDArray[np.int64]:
        """Read a word from every row bit-sequentially: one column read per bit.

        Several fields make one word, the first lowest.  `kind` says how to take it ("u",
        "s" or "o"), by default as the first field.
        """
        word, out = self._joined(fields, kind), np.zeros((1, self.rows), np.uint64)
        self.run(read(*fields), None, out)
        return word.decode(out[0])

    def write_words(self, field: str, rows: ArrayLike, values: ArrayLike) -> None:
        """Write words of some rows word-sequentially: one write per row."""
        place, table = self.layout[field], self._table(rows)
        words = place.encode(values)
        if words.ndim and words.shape != (len(table),):
            raise InputError(
                f"field {field!r}: wanted {len(table)} words, one for each row that is named, "
                f"got shape {words.shape}"
            )
        data = np.ascontiguousarray(np.broadcast_to(words, (1, len(table))))
        if table.size:
            self.run(_of_rows(store_row(0, place), table, f"write {field}"), data)

    def read_words(self, field: str, rows: ArrayLike) -> NDArray[np.int64]:
        """Read words of some rows word-sequentially: one read per row."""
        place, table = self.layout[field], self._table(rows)
        out = np.zeros((1, len(table)), np.uint64)
        if table.size:
            self.run(_of_rows(take_row(0, place), table, f"read {field}"), None, out)
        return place.decode(out[0])

    def peek(self, *fields: str, kind: str | None = None) -> NDArray[np.int64]:
        """Look at a word of every row; nothing is counted."""
        return self._words(fields, self.rows, kind)

    def _words(self, fields: tuple[str, ...], rows: int, kind: str | None) -> NDArray[np.int64]:
        """Words of the first `rows` rows; nothing is counted."""
        cells, words = self.cam.peek(rows), np.zeros(rows, np.uint64)
        columns = [column for name in fields for column in self.layout[name].columns]
        for place, column in enumerate(columns):
            words |= cells[:, column].astype(np.uint64) << np.uint64(place)
        return self._joined(fields, kind).decode(words)

    def _joined(self, fields: tuple[str, ...], kind: str | None) -> Field:
        if not fields:
            raise InputError(f"wanted fields by name, of {', '.join(self.layout)}; got none")
        width = sum(self.layout[name].width for name in fields)
        return Field("+".join(fields), 0, width, kind or self.layout[fields[0]].kind)

    def _table(self, rows: ArrayLike) -> NDArray[np.int64]:
        given = np.atleast_1d(array_of("rows", rows))
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise InputError(
                f"rows: wanted numbers of rows, got {given.dtype} of shape {given.shape}"
            )
        table = given.astype(np.int64)[:, None]
        if table.size and not 0 <= table.min() <= table.max() < self.rows:
            raise InputError(
                f"wanted rows 0 to {self.rows - 1}, got {table.min()} to {table.max()}"
            )
        return table

    def _count(self, phase: Phase, counts: Counts) -> None:
        self.counts += counts
        self.counts_by_phase[phase] = self.counts_by_phase.get(phase, Counts()) + counts

    def __repr__(self) -> str:
        return f"<Machine: {self.rows} rows x {self.cam.columns} columns, {self.counts}>"

    def __str__(self) -> str:
        return f"{self!r}\n{self.layout}\n{self._grid(8)}"

    def _grid(self, most: int) -> str:
        shown = min(most, self.rows)
        lines = ["row  " + "  ".join(f"{name:>10}" for name in self.layout)]
        words = {name: self._words((name,), shown, None) for name in self.layout}
        for row in range(shown):
            lines.append(f"{row:3d}  " + "  ".join(f"{words[n][row]:10d}" for n in self.layout))
        return "\n".join(lines + ["..."] * (shown < self.rows))

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre style='font-family: monospace'>{escape(str(self))}</pre>"
