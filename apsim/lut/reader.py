"""From the text of a LUT file to a `Lut`: its TOML keys, its text tables, what they mean.

The rule: a file states its LUT twice, as truth and as passes, and nothing is guessed; no key
is ignored, and one that is not known is refused with the nearest that is.  Whether truth and
passes agree is for `check` to prove.

A table is `A B | pass | B`, with a row of bits under each header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import Any

from apsim import files
from apsim.errors import LutError, Place
from apsim.lut.check import filled, prove
from apsim.lut.model import Bits, Lut, Pass, State
from apsim.readers import MOST_TOML, parse_toml

__all__ = ["MAX_COLUMNS", "WALKS", "check_name", "load", "parse", "read", "read_text", "read_truth"]

WALKS = ("lsb-first", "msb-first")
REQUIRED = ("name", "about", "source", "per_bit", "walk", "table")
OPTIONAL = ("per_word", "passes", "minimal")
CHOICES = {"walk": WALKS, "minimal": ("proved", "not proved")}

MAX_COLUMNS = 8


@dataclass(frozen=True)
class _Row:
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
class _Table:
    """A header and its rows; `marked` where it has a pass column."""

    place: Place
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    marked: bool
    rows: tuple[_Row, ...]


def load(path: str | Path) -> Lut:
    """Read and prove the LUT file at `path`; raises `LutError` naming file, line and row."""
    return parse(read_text(path), origin=str(path))


def read_text(path: str | Path) -> str:
    """The text of a LUT or truth file; raises `LutError` where there is none."""
    return files.read_text(path, MOST_TOML, LutError, "the LUT file")


def parse(text: str, *, origin: str = "LUT") -> Lut:
    """Read and prove a LUT from the text of its file; `origin` opens every message."""
    lut = filled(read(text, origin))
    prove(lut)
    return lut


def read(text: str, origin: str) -> Lut:
    """Read a LUT without proving it; cells marked `x` hold the input's bit for now."""
    keys = _read_keys(text, origin)
    table = _read_table(keys["table"], _text_place(text, origin, "table"), "table")
    lut = _described(keys, table, _place_of(text, origin, "per_bit"))
    passes = _passes(table, keys, _text_place(text, origin, "passes"))
    return replace(lut, passes=passes, minimal=keys.get("minimal", ""), text=text)


def read_truth(text: str, *, name: str, origin: str) -> tuple[Lut, tuple[str, ...]]:
    """Read only the truth of a LUT file, or of a bare table; passes are not looked at.

    Gives a LUT without passes and the columns that its table lists as outputs.  Keys
    other than `table` may be missing; `name` is what the LUT is called then.
    """
    bare = re.search(r"^[\s\w\"'-]+=", text, re.MULTILINE) is None
    keys: dict[str, Any] = {"table": text}
    if not bare:
        keys = _read_keys(text, origin, required=("table",))
    place = Place(origin, 1) if bare else _text_place(text, origin, "table")
    table = _read_table(keys["table"], place, "table")
    per_word = keys.get("per_word", [])
    defaults = {
        "name": name,
        "about": f"{name}, compiled from its truth table.",
        "source": origin,
        "per_bit": [column for column in table.inputs if column not in per_word],
        "walk": "lsb-first",
    }
    return _described(defaults | keys, table, _place_of(text, origin, "per_bit")), table.outputs


def _described(keys: dict[str, Any], table: _Table, place: Place) -> Lut:
    """The LUT of these keys and this table, without passes."""
    _check_columns(table, keys, place)
    truth, free, lines = _truth(table)
    return Lut(
        name=keys["name"],
        about=keys["about"],
        source=keys["source"],
        columns=table.inputs,
        per_bit=tuple(keys["per_bit"]),
        per_word=tuple(keys.get("per_word", ())),
        walk=keys["walk"],
        passes=(),
        truth=truth,
        free=free,
        origin=table.place.origin,
        lines=lines,
    )


def _check_columns(table: _Table, keys: dict[str, Any], place: Place) -> None:
    for name in table.outputs:
        if name not in table.inputs:
            raise table.place.error(
                f", table header: output {name} is not among the inputs; list it before the "
                "bar too, with NP rows for the bits that it never holds"
            )
    shared = keys["per_bit"] + keys.get("per_word", [])
    if sorted(shared) != sorted(table.inputs):
        raise place.error(
            f": per_bit and per_word must name each of the columns {' '.join(table.inputs)} "
            f"once, got {' '.join(shared) or 'none'}"
        )


def _truth(
    table: _Table,
) -> tuple[dict[State, State | None], frozenset[tuple[State, str]], dict[State, int]]:
    truth: dict[State, State | None] = {}
    free: set[tuple[State, str]] = set()
    lines: dict[State, int] = {}
    for row in table.rows:
        for state in _cover(row.inputs):
            if state in truth:
                raise row.error(_twice(state, lines[state]))
            truth[state] = _result(table, row, state)
            lines[state] = row.place.line
            if row.mark != "NP":
                loose = zip(table.outputs, row.outputs, strict=True)
                free.update((state, name) for name, cell in loose if cell == "x")
    _check_complete(table, truth)
    return truth, frozenset(free), lines


def _check_complete(table: _Table, truth: dict[State, State | None]) -> None:
    missing = [state for state in _cover(("-",) * len(table.inputs)) if state not in truth]
    if missing:
        rest = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise table.place.error(
            f", table: no row for {' '.join(table.inputs)} = {_bits(missing[0])}{rest}; "
            "say NP where a state is not possible"
        )
    if not any(truth.values()):
        raise table.place.error(", table: no state is possible, every row says NP")


def _twice(state: State, line: int) -> str:
    where = f" on line {line}" if line else ""
    return f"the state {_bits(state)} already has a row{where}"


def _bits(state: State) -> str:
    return " ".join(map(str, state))


def _result(table: _Table, row: _Row, state: State) -> State | None:
    if row.mark == "NP":
        return None
    bits = dict(zip(table.inputs, state, strict=True))
    for name, cell in zip(table.outputs, row.outputs, strict=True):
        if cell in "01":
            if row.mark in ("NC", "-") and int(cell) != bits[name]:
                raise row.error(
                    f"{row.mark} means no change, but {name} goes from {bits[name]} to {cell}"
                )
            bits[name] = int(cell)
    return tuple(bits.values())


def _passes(table: _Table, keys: dict[str, Any], place: Place) -> tuple[Pass, ...]:
    if "passes" in keys:
        if table.marked:
            raise place.error(": give the passes in the pass column or as `passes`, not both")
        return _listed(_read_table(keys["passes"], place, "passes", truth=False), table)
    if not table.marked:
        raise table.place.error(
            ", table header: expected a pass column, or a second table `passes`"
        )
    return _numbered(table)


def _listed(steps: _Table, table: _Table) -> tuple[Pass, ...]:
    for name in steps.inputs + steps.outputs:
        if name not in table.inputs:
            raise steps.place.error(
                f", passes header: column {name} is not in the table ({' '.join(table.inputs)})"
            )
    if steps.marked:
        raise steps.place.error(", passes header: rows run in order, without a pass column")
    return tuple(_pass(steps, row, number) for number, row in enumerate(steps.rows, 1))


def _numbered(table: _Table) -> tuple[Pass, ...]:
    rows: dict[int, _Row] = {}
    for row in table.rows:
        if row.mark in ("NC", "NP", "-"):
            continue
        if not re.fullmatch(r"[1-9]\d*", row.mark):
            raise row.error(f"expected a pass number, -, NC or NP, got `{row.mark}`")
        if int(row.mark) in rows:
            other = " ".join(rows[int(row.mark)].inputs)
            raise row.error(f'pass {row.mark} is already the pass of row "{other}"')
        rows[int(row.mark)] = row
    for number in range(1, len(rows) + 1):
        if number not in rows:
            raise table.place.error(
                f", table: passes must be numbered 1 to {len(rows)}, but there is no pass {number}"
            )
    return tuple(_pass(table, rows[number], number) for number in sorted(rows))


def _pass(table: _Table, row: _Row, number: int) -> Pass:
    key = _cells(table.inputs, row.inputs)
    write = _cells(table.outputs, row.outputs)
    if not key or not write:
        raise row.error(f"pass {number} must {'compare' if not key else 'write'} some column")
    return Pass(key, write, label=str(number))


def _cells(names: tuple[str, ...], cells: tuple[str, ...]) -> Bits:
    pairs = zip(names, cells, strict=True)
    return tuple((name, int(cell)) for name, cell in pairs if cell in "01")


# The keys of a file, and the lines on which they are.


def _read_keys(text: str, origin: str, required: tuple[str, ...] = REQUIRED) -> dict[str, Any]:
    """The keys of a LUT file, each known and of its kind; raises `LutError` with the line."""
    try:
        keys = parse_toml(text, "", LutError)
    except LutError as error:
        reason = str(error).removeprefix(": ")
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", reason)
        message, line = found.groups() if found else (reason, None)
        raise Place(origin, int(line or 0)).error(f": not valid TOML: {message}") from error
    for key in keys:
        if key not in REQUIRED + OPTIONAL:
            near = get_close_matches(key, REQUIRED + OPTIONAL, 1, 0.5)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            known = ", ".join(REQUIRED + OPTIONAL)
            raise _place_of(text, origin, key).error(
                f": unknown key `{key}`{hint} (known: {known})"
            )
    for key in required:
        if key not in keys:
            raise Place(origin).error(f": the key `{key}` is missing")
    for key, value in keys.items():
        _check_value(key, value, _place_of(text, origin, key))
    return keys


def check_name(value: str, where: str = "") -> None:
    """Raise `LutError` where a LUT may not have this name."""
    if re.fullmatch(r"[a-z][a-z0-9_]*", value) is None:
        raise LutError(f"{where}a LUT's name is small letters, digits and _, got {value!r}")


def _place_of(text: str, origin: str, key: str) -> Place:
    """The line on which `key` is set, as far as it can be told from the text."""
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(rf"\s*\"?{re.escape(key)}\"?\s*(=|\])", line.lstrip("[ ")):
            return Place(origin, number)
    return Place(origin)


def _check_value(key: str, value: object, place: Place) -> None:
    if key in ("per_bit", "per_word"):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise place.error(f": `{key}` must be a list of column names, got {value!r}")
    elif not isinstance(value, str):
        raise place.error(f": `{key}` must be text, got {value!r}")
    elif key in CHOICES and value not in CHOICES[key]:
        known = " or ".join(map(repr, CHOICES[key]))
        raise place.error(f": `{key}` must be {known}, got {value!r}")
    elif key == "name":
        check_name(value, f"{place}: ")


def _text_place(text: str, origin: str, key: str) -> Place:
    """The line on which the text of `key` begins: after an opening `\"\"\"` it is the next."""
    place = _place_of(text, origin, key)
    if not place.line:
        return place
    opening = text.split("\n")[place.line - 1].rstrip()
    return Place(origin, place.line + opening.endswith(('"""', "'''")))


# The text tables.


def _read_table(text: str, place: Place, what: str, *, truth: bool = True) -> _Table:
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
    table = _Table(where, parts[0], parts[-1], marked, ())
    return replace(table, rows=tuple(_row(line, at, what, table, truth) for at, line in lines[1:]))


def _cover(cells: tuple[str, ...]) -> Iterator[State]:
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


def _row(line: str, place: Place, what: str, table: _Table, truth: bool) -> _Row:
    parts = [tuple(part.split()) for part in line.split("|")]
    mark = " ".join(parts[1]) if len(parts) == 3 else ""
    row = _Row(place, what, parts[0], mark, parts[-1])
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
    row: _Row, cells: tuple[str, ...], names: tuple[str, ...], allowed: str, where: str
) -> None:
    if len(cells) != len(names):
        raise row.error(
            f"expected {len(names)} cells {where} ({' '.join(names)}), got {len(cells)}"
        )
    for name, cell in zip(names, cells, strict=True):
        if len(cell) != 1 or cell not in allowed:
            raise row.error(f"column {name}: expected {', '.join(allowed)}, got `{cell}`")
