"""From the text of a LUT file to a `Lut`: what each key, row and mark means.

The rule: a file states its LUT twice, as truth and as passes, and nothing is guessed;
whether the two agree is for `check` to prove.
"""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from apsim.errors import LutError
from apsim.lut.check import prove, settle
from apsim.lut.model import Bits, Lut, Pass, State
from apsim.lut.tables import Place, Row, Table, cover, read_table

__all__ = ["MAX_COLUMNS", "WALKS", "load", "parse"]

MAX_COLUMNS = 8
WALKS = ("lsb-first", "msb-first")
REQUIRED = ("name", "about", "source", "per_bit", "walk", "table")
OPTIONAL = ("per_word", "passes", "minimal")
CHOICES = {"walk": WALKS, "minimal": ("proved", "not proved")}


def load(path: str | Path) -> Lut:
    """Read and prove the LUT file at `path`; raises `LutError` naming file, line and row."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LutError(f"cannot read the LUT file {path}: {reason}") from error
    return parse(text, origin=str(path))


def parse(text: str, *, origin: str = "LUT") -> Lut:
    """Read and prove a LUT from the text of its file; `origin` opens every message."""
    lut = settle(read(text, origin))
    prove(lut)
    return lut


def read(text: str, origin: str, *, with_passes: bool = True) -> Lut:
    """Read a LUT without proving it; cells marked `x` hold the input's bit for now.

    Without passes only the truth is read, and a file need not say more than that.
    """
    keys = _keys(text, origin)
    table = read_table(keys["table"], _place(text, origin, "table"), "table")
    columns = table.inputs
    _check_columns(table, keys, _place(text, origin, "per_bit"))
    truth, free, lines = _truth(table)
    passes = _passes(table, keys, _place(text, origin, "passes")) if with_passes else ()
    return Lut(
        name=keys["name"],
        about=keys["about"],
        source=keys["source"],
        columns=columns,
        per_bit=tuple(keys["per_bit"]),
        per_word=tuple(keys.get("per_word", ())),
        walk=keys["walk"],
        passes=passes,
        truth=truth,
        free=free,
        minimal=keys.get("minimal", "") if with_passes else "",
        text=text,
        origin=origin,
        lines=lines,
    )


def _keys(text: str, origin: str) -> dict[str, Any]:
    try:
        keys = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error))
        message, line = found.groups() if found else (str(error), None)
        raise Place(origin, int(line or 0)).error(f": not valid TOML: {message}") from error
    for key in keys:
        if key not in REQUIRED + OPTIONAL:
            near = get_close_matches(key, REQUIRED + OPTIONAL, 1, 0.5)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            known = ", ".join(REQUIRED + OPTIONAL)
            raise _place(text, origin, key).error(f": unknown key `{key}`{hint} (known: {known})")
    for key in REQUIRED:
        if key not in keys:
            raise Place(origin).error(f": the key `{key}` is missing")
    for key, value in keys.items():
        _check_value(key, value, _place(text, origin, key))
    return keys


def _place(text: str, origin: str, key: str) -> Place:
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
    elif key == "name" and not re.fullmatch(r"[a-z][a-z0-9_]*", value):
        raise place.error(f": `name` must be small letters, digits and _, got {value!r}")


def _check_columns(table: Table, keys: dict[str, Any], place: Place) -> None:
    if len(table.inputs) > MAX_COLUMNS:
        raise table.place.error(
            f", table header: at most {MAX_COLUMNS} columns are supported, got {len(table.inputs)}"
        )
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
    table: Table,
) -> tuple[dict[State, State | None], frozenset[tuple[State, str]], dict[State, int]]:
    truth: dict[State, State | None] = {}
    free: set[tuple[State, str]] = set()
    lines: dict[State, int] = {}
    for row in table.rows:
        for state in cover(row.inputs):
            if state in truth:
                raise row.error(_twice(state, lines[state]))
            truth[state] = _result(table, row, state)
            lines[state] = row.place.line
            if row.mark != "NP":
                loose = zip(table.outputs, row.outputs, strict=True)
                free.update((state, name) for name, cell in loose if cell == "x")
    missing = [state for state in cover(("-",) * len(table.inputs)) if state not in truth]
    if missing:
        rest = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise table.place.error(
            f", table: no row for {' '.join(table.inputs)} = {_bits(missing[0])}{rest}; "
            "say NP where a state is not possible"
        )
    return truth, frozenset(free), lines


def _twice(state: State, line: int) -> str:
    where = f" on line {line}" if line else ""
    return f"the state {_bits(state)} already has a row{where}"


def _bits(state: State) -> str:
    return " ".join(map(str, state))


def _result(table: Table, row: Row, state: State) -> State | None:
    if row.mark == "NP":
        return None
    bits = dict(zip(table.inputs, state, strict=True))
    for name, cell in zip(table.outputs, row.outputs, strict=True):
        if cell in "01":
            if row.mark in ("NC", "-") and int(cell) != bits[name]:
                raise row.error(f"NC means no change, but {name} goes from {bits[name]} to {cell}")
            bits[name] = int(cell)
    return tuple(bits.values())


def _passes(table: Table, keys: dict[str, Any], place: Place) -> tuple[Pass, ...]:
    if "passes" in keys:
        if table.marked:
            raise place.error(": give the passes in the pass column or under `passes`, not both")
        return _listed(read_table(keys["passes"], place, "passes"), table)
    if not table.marked:
        raise table.place.error(
            ", table header: expected a pass column, or a second table `passes`"
        )
    return _numbered(table)


def _listed(steps: Table, table: Table) -> tuple[Pass, ...]:
    for name in steps.inputs + steps.outputs:
        if name not in table.inputs:
            raise steps.place.error(
                f", passes header: column {name} is not in the table ({' '.join(table.inputs)})"
            )
    if steps.marked:
        raise steps.place.error(", passes header: rows run from top to bottom, without a column")
    return tuple(_pass(steps, row, number) for number, row in enumerate(steps.rows, 1))


def _numbered(table: Table) -> tuple[Pass, ...]:
    rows: dict[int, Row] = {}
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


def _pass(table: Table, row: Row, number: int) -> Pass:
    key = _cells(table.inputs, row.inputs)
    write = _cells(table.outputs, row.outputs)
    if not key or not write:
        raise row.error(f"pass {number} must {'compare' if not key else 'write'} some column")
    return Pass(key, write, label=str(number))


def _cells(names: tuple[str, ...], cells: tuple[str, ...]) -> Bits:
    pairs = zip(names, cells, strict=True)
    return tuple((name, int(cell)) for name, cell in pairs if cell in "01")
