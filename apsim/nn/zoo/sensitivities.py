"""Files of what each layer loses at each width: our own CSV, and HAWQ's columns.

The rule: a number that is not in the file is made only by the model that is named in the
note, and only for HAWQ's columns.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite

from apsim.errors import InputError
from apsim.files import read_text
from apsim.nn.search.front import Table, Ties
from apsim.nn.zoo.bundled import data_file

__all__ = ["HAWQ", "Sensitivities", "parse", "read"]

HAWQ = ("resnet18", "resnet50")
_OURS = {"layer", "width", "loss"}
_THEIRS = {"layer", "same_as", "hessian_trace", "dw2_8", "dw2_4"}
Row = tuple[int, Mapping[str, str]]  # line number and cells


@dataclass(frozen=True)
class Sensitivities:
    """Losses by layer and width, ties, and what is to be said of where they come from."""

    losses: Table
    ties: Ties = ()
    note: str = ""


def read(name: str, widths: Sequence[int]) -> Sensitivities:
    """A CSV file, or HAWQ's own numbers by the name `hawq:resnet18` or `hawq:resnet50`.

    Raises `InputError` with file, line, what was wanted and what came.
    """
    if name.startswith("hawq:"):
        network = name.removeprefix("hawq:")
        if network not in HAWQ:
            raise InputError(f"--sensitivities {name}: wanted hawq:resnet18 or hawq:resnet50")
        return parse(data_file(f"hawq_{network}.csv").read_text("utf-8"), name, widths)
    return parse(read_text(name), name, widths)


def parse(text: str, where: str, widths: Sequence[int]) -> Sensitivities:
    """Losses from the text of a CSV file with the columns of either kind; `#` begins a comment."""
    rows = _rows(text, where)
    first = next(rows, None)
    if first is None:
        raise InputError(f"{where}: wanted a header and at least one row")
    columns, every = set(first[1]), [first, *rows]
    if columns >= _OURS:
        return Sensitivities(_listed(every, where, widths))
    if columns >= _THEIRS:
        return _hawq(every, where, widths)
    raise InputError(
        f"{where}: wanted the columns layer, width, loss, or HAWQ's layer, same_as, "
        f"hessian_trace, dw2_8, dw2_4; found {', '.join(first[1])}"
    )


def _rows(text: str, where: str) -> Iterator[Row]:
    numbered = [
        (k, line) for k, line in enumerate(text.lstrip("\ufeff").splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]  # fmt: skip
    reader = csv.DictReader(io.StringIO("\n".join(line for _, line in numbered)))
    try:
        for (number, _), row in zip(numbered[1:], reader, strict=True):
            if None in row or None in row.values():
                raise InputError(f"{where}, line {number}: not as many cells as the header has")
            yield number, row
    except (csv.Error, ValueError) as error:
        raise InputError(f"{where}: not a CSV file: {error}") from None


def _number(row: Row, column: str, where: str) -> float:
    number, cells = row
    try:
        value = float(cells[column])
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise InputError(
            f"{where}, line {number}: {column} must be a finite number, got {cells[column]!r}"
        )
    return value


def _listed(rows: Sequence[Row], where: str, widths: Sequence[int]) -> Table:
    losses: dict[str, dict[int, float]] = {}
    for row in rows:
        width = _number(row, "width", where)
        if width not in widths:
            raise InputError(
                f"{where}, line {row[0]}: width {row[1]['width']} lies outside "
                f"{min(widths)}..{max(widths)} (--from, --to)"
            )
        layer = losses.setdefault(row[1]["layer"], {})
        if int(width) in layer:
            raise InputError(f"{where}, line {row[0]}: layer and width met twice")
        layer[int(width)] = _number(row, "loss", where)
    for name, row_of in losses.items():
        if missing := sorted(set(widths) - set(row_of)):
            raise InputError(f"{where}: layer {name!r} has no loss at {missing[0]} bits")
    return losses


def _hawq(rows: Sequence[Row], where: str, widths: Sequence[int]) -> Sensitivities:
    """Omega of HAWQ-V3: Hessian trace times the squared change of the weights."""
    names = [cells["layer"] or f"slot {k}" for k, (_, cells) in enumerate(rows)]
    if len(set(names)) < len(names):
        raise InputError(f"{where}: a layer is met twice")
    losses = {name: _omega(row, where, widths) for name, row in zip(names, rows, strict=True)}
    ties = [
        (name, _slot(row, names, where)) for name, row in zip(names, rows, strict=True)
        if row[1]["same_as"]
    ]  # fmt: skip
    others = [width for width in widths if width not in (4, 8)]
    note = "HAWQ's losses at 4 and 8 bits"
    if others:
        note += "; at other widths by the model dW2(8) * (255 / (2^b - 1))^2"
    return Sensitivities(losses, tuple(ties), note)


def _omega(row: Row, where: str, widths: Sequence[int]) -> Mapping[int, float]:
    trace, eight, four = (_number(row, c, where) for c in ("hessian_trace", "dw2_8", "dw2_4"))
    known = {4: four, 8: eight}
    return {w: trace * known.get(w, eight * (255 / (2**w - 1)) ** 2) for w in widths}


def _slot(row: Row, names: Sequence[str], where: str) -> str:
    text = row[1]["same_as"]
    if text.isdecimal() and int(text) < len(names):
        return names[int(text)]
    raise InputError(f"{where}, line {row[0]}: same_as wants a slot below {len(names)}, got {text}")


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint at the name that was meant, or nothing."""
    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
