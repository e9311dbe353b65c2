"""What a run did: operations counted, and the data-dependent work behind them.

The rule: `Counts` is known before a program runs and never depends on data;
`Activity` is only known afterwards.  How many cycles or joules an operation
takes belongs to `apsim.cost`, not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Activity", "Counts", "Phase"]


class Phase(Enum):
    """What a step of a program is for (paper, III.B)."""

    POPULATE = "populate"
    COMPUTE = "compute"
    TRANSFER = "transfer"
    REDUCE = "reduce"
    READ_OUT = "read out"


@dataclass(frozen=True)
class Counts:
    """Operations of an AP by kind; addable, and scalable by a number of repetitions.

    >>> Counts(compare=4, write=4) * 8 + Counts(read=9)
    Counts(compare=32, write=32, read=9)
    """

    compare: int = 0
    write: int = 0
    read: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.compare + other.compare, self.write + other.write, self.read + other.read
        )

    def __sub__(self, other: Counts) -> Counts:
        return self + other * -1

    def __mul__(self, times: int) -> Counts:
        return Counts(self.compare * times, self.write * times, self.read * times)

    __rmul__ = __mul__

    @property
    def total(self) -> int:
        """Operations of all kinds: the paper's runtime, one cycle for each operation."""
        return self.compare + self.write + self.read

    def as_dict(self) -> dict[str, int]:
        """The three numbers by name, as result files hold them."""
        return {"compare": self.compare, "write": self.write, "read": self.read}

    def __str__(self) -> str:
        return f"{self.compare} compares, {self.write} writes, {self.read} reads"

    def _repr_html_(self) -> str:
        names = "<th>compares</th><th>writes</th><th>reads</th><th>total</th>"
        cells = "".join(f"<td>{n}</td>" for n in (self.compare, self.write, self.read, self.total))
        return f"<table><tr>{names}</tr><tr>{cells}</tr></table>"


@dataclass(frozen=True)
class Activity:
    """Data-dependent work, summed over the lines (rows or columns) of each step.

    `compared` lines took part in a compare, `matched` of them were tagged by it;
    `written` cells were driven by a write, `flipped` of them changed their value.
    A read is a search (II.B) and counts as a compare here: of the lines that did not
    match, `read_mismatched` were left so by reads.
    """

    compared: int = 0
    matched: int = 0
    written: int = 0
    flipped: int = 0
    read_mismatched: int = 0

    def __add__(self, other: Activity) -> Activity:
        return Activity(
            self.compared + other.compared,
            self.matched + other.matched,
            self.written + other.written,
            self.flipped + other.flipped,
            self.read_mismatched + other.read_mismatched,
        )

    @property
    def mismatched(self) -> int:
        """Lines whose match line discharged: the compare energy's driver."""
        return self.compared - self.matched

    def as_dict(self) -> dict[str, int]:
        """The five numbers by name, as result files hold them."""
        return {
            "compared": self.compared,
            "matched": self.matched,
            "written": self.written,
            "flipped": self.flipped,
            "read_mismatched": self.read_mismatched,
        }
