"""The text tables of a LUT file: `A B | pass | B`, a row of bits under each header.

The rule: cells are read and placed here, by line; what they mean is decided in `parse`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from apsim.errors import LutError
from apsim.lut.model import State

__all__ = ["MAX_COLUMNS", "Place", "Row", "Table", "cover", "read_table"]

MAX_COLUMNS = 8


@dataclass(frozen=True)
class Place:
    """Where something was read: a file (or any origin), and a line where known."""

    origin: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.origin}, line {self.line}" if self.line else self.origin

    def error(self, message: str) -> LutError:
        """A `LutError` that begins with this place."""
        return LutError(f"{self}{message}")


@dataclass(frozen=True)
class Row:
    """One row: its bits before the first bar, its mark (pass column), its bits after."""

    place: Place
    what: str
    inputs: tuple[str, ...]
    mark: str
    outputs: tuple[str, ...]

    def error(self, message: str) -> LutError:
        """A `LutError` that names the file, the line and this row."""
        return self.place.error(f', {self.what} row "{" ".join(self.inputs)}": {message}')


@dataclass(frozen=True)
class Table:
    """A header and its rows; `marked` where it has a pass column."""

    place: Place
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    marked: bool
    rows: tuple[Row, ...]


def read_table(text: str, place: Place, what: str, *, truth: bool = True) -> Table:
    """Split `text`, which begins on the line of `place`, into a header and rows.

    The rows of a truth table may say NP and x; those of a list of passes may not.
    """
    lines = list(_lines(text, place))
    if not lines:
        raise place.error(f", {what}: expected a header such as `A B | B`, got nothing")
    where, header = lines[0]
    parts = [tuple(part.split()) for part in header.split("|")]
    marked = len(parts) == 3
    if len(parts) not in (2, 3) or (marked and parts[1] != ("pass",)):
        raise where.error(
            f", {what} header: expected `INPUTS | pass | OUTPUTS` or `INPUTS | OUTPUTS`, "
            f"got `{header.strip()}`"
        )
    _check_names(parts[0], where, f"{what} header, before the bar")
    _check_names(parts[-1], where, f"{what} header, after the bar")
    table = Table(where, parts[0], parts[-1], marked, ())
    return replace(table, rows=tuple(_row(line, at, what, table, truth) for at, line in lines[1:]))


def cover(cells: tuple[str, ...]) -> Iterator[State]:
    """All states that a row of 0, 1 and `-` (either) stands for, counting up."""
    return product(*((0, 1) if cell == "-" else (int(cell),) for cell in cells))


def _lines(text: str, place: Place) -> Iterator[tuple[Place, str]]:
    for offset, line in enumerate(text.split("\n")):
        bare = line.split("#")[0]
        if bare.strip():
            yield Place(place.origin, place.line + offset if place.line else 0), bare


def _check_names(names: tuple[str, ...], place: Place, what: str) -> None:
    if not names:
        raise place.error(f", {what}: expected column names, got none")
    if len(names) > MAX_COLUMNS:
        raise place.error(
            f", {what}: at most {MAX_COLUMNS} columns are supported, got {len(names)}"
        )
    for name in names:
        if not name.isidentifier():
            raise place.error(f", {what}: expected a column name, got `{name}`")
        if names.count(name) > 1:
            raise place.error(f", {what}: column {name} is named twice")


def _row(line: str, place: Place, what: str, table: Table, truth: bool) -> Row:
    parts = [tuple(part.split()) for part in line.split("|")]
    mark = " ".join(parts[1]) if len(parts) == 3 else ""
    row = Row(place, what, parts[0], mark, parts[-1])
    bars = 1 + table.marked
    if len(parts) != bars + 1:
        raise row.error(f"expected {bars} bars as in the header, got {len(parts) - 1}")
    _check_cells(row, row.inputs, table.inputs, "01-", "before the bar")
    if truth and not table.marked and row.outputs == ("NP",):
        return replace(row, mark="NP", outputs=())
    if row.mark == "NP" and not row.outputs:
        return row
    _check_cells(row, row.outputs, table.outputs, "01-x" if truth else "01-", "after the bar")
    return row


def _check_cells(
    row: Row, cells: tuple[str, ...], names: tuple[str, ...], allowed: str, where: str
) -> None:
    if len(cells) != len(names):
        raise row.error(
            f"expected {len(names)} cells {where} ({' '.join(names)}), got {len(cells)}"
        )
    for name, cell in zip(names, cells, strict=True):
        if len(cell) != 1 or cell not in allowed:
            raise row.error(f"column {name}: expected {', '.join(allowed)}, got `{cell}`")
