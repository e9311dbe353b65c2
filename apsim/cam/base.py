"""What an array must offer: five methods, and the check that stands before them.

The rule: an array knows cells, tags and encoded steps; it knows no fields, no LUTs
and no operations, and it counts what it carried out itself, nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from apsim.cam.needs import Needs, of_loop
from apsim.counts import Activity, Counts
from apsim.encoding import GATE, GROUPS, KEYS, MODE, OP, PARALLEL, PORT, Code
from apsim.errors import CountError, ProgramError
from apsim.records import Record, Tabular
from apsim.step import COUNTS, Mode, Op

READ = int(Op.READ)
COMPARES = Op.PASS, Op.COMPARE, Op.READ
COST = np.array([tuple(COUNTS[op].as_dict().values()) for op in Op])

__all__ = ["COMPARES", "Cam", "Execution", "apart", "lines_of", "parts_of", "refuse_unless_it_fits"]


@dataclass(frozen=True)
class Execution(Tabular):
    """What an execution did, for each encoded step: int64[n] each, summed over groups.

    The hardware carried out the step `times` times.  `compared` lines took part in its
    compares and `matched` of them were tagged; `written` cells were driven and `flipped` of
    them changed (`Activity` has the same words).  A read compares too: its lines are
    `compared`, its tagged lines `matched`.  `ops` says which step is which `Op`.
    """

    times: NDArray[np.int64]
    compared: NDArray[np.int64]
    matched: NDArray[np.int64]
    written: NDArray[np.int64]
    flipped: NDArray[np.int64]
    ops: NDArray[np.int64]

    @classmethod
    def of(
        cls, numbers: NDArray[np.int64], lines: NDArray[np.int64], ops: NDArray[np.int64]
    ) -> Execution:
        """From int64[5, n]: a line for each of the five numbers, in order.

        The first is on how many lines the parts of each step were carried out (`parts_of`);
        `lines` int64[m, n] says what the first m numbers are when the hardware carries it out
        once: that, and for m = 2 how many lines it then compares.  Raises `CountError` where only
        some of the lines had all parts of their step, or their compare.
        """
        times = numbers[0] // lines[0]
        unlike = times * lines != numbers[: len(lines)]
        if unlike.any():
            wrong = np.flatnonzero(unlike.any(axis=0))
            once, found = lines[:, wrong[0]].tolist(), numbers[: len(lines), wrong[0]].tolist()
            raise CountError(
                f"step {wrong[0]}: its parts were carried out, and compared, on {found} lines; "
                f"on {once} when all are carried out once"
            )
        _, compared, matched, written, flipped = numbers
        return cls(times, compared, matched, written, flipped, ops)

    def table(self) -> list[Record]:
        """A record for each encoded step: what it is, how often, and what it did."""
        names = ("times", "compared", "matched", "written", "flipped")
        columns = [getattr(self, name).tolist() for name in names]
        return [
            {"step": k, "op": Op(op).name.lower(), **dict(zip(names, numbers, strict=True))}
            for k, (op, *numbers) in enumerate(zip(self.ops.tolist(), *columns, strict=True))
        ]

    @property
    def counts(self) -> Counts:
        """Compares, writes and reads that were carried out."""
        return sum(self.counts_by(np.zeros(len(self.ops), np.int64)).values(), Counts())

    def counts_by(self, kinds: NDArray[np.int64]) -> dict[int, Counts]:
        """The same for steps of each kind: `kinds` int64[n] are small numbers >= 0."""
        size = int(kinds.max(initial=0)) + 1
        names = kinds * len(Op) + self.ops
        times = np.bincount(names, self.times, size * len(Op)).reshape(size, len(Op))
        counts = (times.astype(np.int64) @ COST).tolist()
        there = np.bincount(kinds, minlength=size).tolist()
        return {k: Counts(*numbers) for k, numbers in enumerate(counts) if there[k]}

    @property
    def activity(self) -> Activity:
        """The sums over all steps."""
        reads = np.flatnonzero(self.ops == READ)
        read = (self.compared[reads] - self.matched[reads]).sum() if reads.size else 0
        numbers = self.compared, self.matched, self.written, self.flipped
        compared, matched, written, flipped = (int(np.add.reduce(some)) for some in numbers)
        return Activity(compared, matched, written, flipped, int(read))

    @property
    def last(self) -> Activity:
        """What the last step did."""
        return Execution(*(getattr(self, one.name)[-1:] for one in fields(self))).activity


def lines_of(steps: NDArray[np.int64], rows: int, columns: int) -> NDArray[np.int64]:
    """Lines of each step's parts, and those compared, when it is carried out once: int64[2, n].

    Horizontally all rows; vertically all columns, of every group where they act at once.
    """
    groups, at_once = of_loop(steps, GROUPS), of_loop(steps, PARALLEL) > 0
    lines = np.where(groups > 0, columns * np.where(at_once, groups, 1), rows)
    return np.stack([lines * parts_of(steps), lines * np.isin(steps[:, OP], COMPARES)])


def parts_of(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """In how many parts each step is carried out, each of which counts that it was: int64[n].

    A tag chain comes after the compare, a gated write after that; a word that is put out after
    its read; and each row that tags or a word are written to is a part.
    """
    op, vertical = steps[:, OP], steps[:, MODE] == Mode.VERTICAL
    gated = np.isin(op, COMPARES) & (steps[:, GATE] > 0)
    puts = (op == Op.READ) & (steps[:, PORT] >= 0)
    moves = vertical & np.isin(op, (Op.WRITE_TAG, Op.WRITE_DATA))
    return np.where(moves, steps[:, KEYS], 1 + gated + (gated & (op == Op.PASS)) + puts)


class Cam(Protocol):
    """A bit array that compares in place; `rows` and `columns` are its size.

    `tag` (bool[rows]) holds the last horizontal compare or read, `column_tag`
    (bool[groups, columns]) the last vertical one, a line for each group that acted
    at once (one for a group alone).
    """

    rows: int
    columns: int

    def execute(
        self,
        code: Code,
        data: NDArray[np.uint64] | None = None,
        out: NDArray[np.uint64] | None = None,
    ) -> Execution:
        """Carry out encoded steps, in order, each tag and each write applied before the next.

        `data` and `out` are uint64[ports, words]: horizontally word r belongs to row r,
        vertically word g to group g of the loop.  Raises `ProgramError` where it does not fit.
        """
        ...

    @property
    def tag(self) -> NDArray[np.bool_]:
        """Rows matched by the last horizontal compare or read: bool[rows]."""
        ...

    @property
    def column_tag(self) -> NDArray[np.bool_]:
        """Columns matched by the last vertical compare or read: bool[groups, columns]."""
        ...

    def peek(self, rows: int | None = None) -> NDArray[np.bool_]:
        """A copy of the cells, bool[rows, columns], of the first `rows` alone where given.

        A look that costs nothing.
        """
        ...

    def poke(self, cells: NDArray[np.bool_]) -> None:
        """Set all cells from bool[rows, columns], outside the count: for tests and debuggers."""
        ...

    def snapshot(self) -> Any:
        """Cells, tags and latches, to be given back to `restore`."""
        ...

    def restore(self, saved: Any) -> None:
        """Return to a snapshot."""
        ...


def refuse_unless_it_fits(
    need: Needs,
    rows: int,
    columns: int,
    data: NDArray[np.uint64] | None,
    out: NDArray[np.uint64] | None,
) -> None:
    """Refuse a program that does not fit the array; below this door nobody checks.

    Raises `ProgramError` with what the program needs and what there is.
    """
    if need.columns > columns:
        raise ProgramError(f"the program needs {need.columns} columns; the array has {columns}")
    if need.rows > rows:
        raise ProgramError(f"the program needs {need.rows} rows; the array has {rows}")
    if need.inputs:
        _validate_words("input", need.inputs, need.row_inputs * rows, need.input_groups, data)
    if need.outputs:
        if out is not None and not out.flags.writeable:
            raise ProgramError("the program puts words out; the array for them is read-only")
        _validate_words("output", need.outputs, need.row_outputs * rows, need.output_groups, out)


def apart(data: NDArray[np.uint64], out: NDArray[np.uint64] | None) -> NDArray[np.uint64]:
    """The words to take in; a copy where what is put out goes to the same place."""
    return data.copy() if out is not None and np.may_share_memory(data, out) else data


def _validate_words(
    what: str, ports: int, rows: int, groups: int, words: NDArray[np.uint64] | None
) -> None:
    """`rows` words exactly where a port serves all rows at once (0: none does)."""
    if words is None or words.ndim != 2 or len(words) < ports:
        there = 0 if words is None or words.ndim != 2 else len(words)
        raise ProgramError(f"the program needs {ports} {what} words a row; {there} were given")
    given = words.shape[1]
    if (rows and given != rows) or given < groups:
        wanted = f"{rows}" if rows else f"at least {groups}"
        raise ProgramError(f"the program needs {wanted} words of {what}; {given} were given")
