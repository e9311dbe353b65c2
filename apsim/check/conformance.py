"""Rows just examined, as something to hold: a table in a notebook, a verdict in a shell.

The rule: it runs what it shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from apsim.check import table
from apsim.check.grid import cases
from apsim.check.row import Row, examine
from apsim.closed_form import AP_KINDS

__all__ = ["Conformance"]


class Conformance:
    """Executions held against the equations.

    >>> Conformance.of("relu", aps=["2d"])
    <Conformance: 7 rows: 6 exact, 1 explained, 0 fail>
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)

    @classmethod
    def of(
        cls, *functions: str, aps: Sequence[str] = tuple(AP_KINDS), full: bool = False
    ) -> Conformance:
        """Examine functions (all, where none is named) on AP kinds, on the reduced or full grid."""
        return cls([examine(case) for case in cases(full, aps, functions)])

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<Conformance: {table.verdict(self.rows)}>"

    def __str__(self) -> str:
        return table.markdown(self.rows)

    def _repr_html_(self) -> str:
        return table.html_table(self.rows)
