"""From the text of a LUT file to a `Lut`: what each key, row and mark means.

The rule: a file states its LUT twice, as truth and as passes, and nothing is guessed;
whether the two agree is for `check` to prove.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from apsim import files
from apsim.errors import LutError
from apsim.lut.check import prove, settle
from apsim.lut.keys import place_of, read_keys, text_place
from apsim.lut.model import Bits, Lut, Pass, State
from apsim.lut.tables import Place, Row, Table, cover, read_table
from apsim.readers import MOST_TOML

__all__ = ["load", "parse", "read_text", "read_truth"]


def load(path: str | Path) -> Lut:
    """Read and prove the LUT file at `path`; raises `LutError` naming file, line and row."""
    return parse(read_text(path), origin=str(path))


def read_text(path: str | Path) -> str:
    """The text of a LUT or truth file; raises `LutError` where there is none."""
    return files.read_text(path, MOST_TOML, LutError, "the LUT file")


def parse(text: str, *, origin: str = "LUT") -> Lut:
    """Read and prove a LUT from the text of its file; `origin` opens every message."""
    lut = settle(read(text, origin))
    prove(lut)
    return lut


def read(text: str, origin: str) -> Lut:
    """Read a LUT without proving it; cells marked `x` hold the input's bit for now."""
    keys = read_keys(text, origin)
    table = read_table(keys["table"], text_place(text, origin, "table"), "table")
    lut = _described(keys, table, place_of(text, origin, "per_bit"))
    passes = _passes(table, keys, text_place(text, origin, "passes"))
    return replace(lut, passes=passes, minimal=keys.get("minimal", ""), text=text)


def read_truth(text: str, *, name: str, origin: str) -> tuple[Lut, tuple[str, ...]]:
    """Read only the truth of a LUT file, or of a bare table; passes are not looked at.

    Gives a LUT without passes and the columns that its table lists as outputs.  Keys
    other than `table` may be missing; `name` is what the LUT is called then.
    """
    bare = re.search(r"^[\s\w\"'-]+=", text, re.MULTILINE) is None
    keys: dict[str, Any] = {"table": text}
    if not bare:
        keys = read_keys(text, origin, required=("table",))
    place = Place(origin, 1) if bare else text_place(text, origin, "table")
    table = read_table(keys["table"], place, "table")
    per_word = keys.get("per_word", [])
    defaults = {
        "name": name,
        "about": f"{name}, compiled from its truth table.",
        "source": origin,
        "per_bit": [column for column in table.inputs if column not in per_word],
        "walk": "lsb-first",
    }
    return _described(defaults | keys, table, place_of(text, origin, "per_bit")), table.outputs


def _described(keys: dict[str, Any], table: Table, place: Place) -> Lut:
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


def _check_columns(table: Table, keys: dict[str, Any], place: Place) -> None:
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
    _check_complete(table, truth)
    return truth, frozenset(free), lines


def _check_complete(table: Table, truth: dict[State, State | None]) -> None:
    missing = [state for state in cover(("-",) * len(table.inputs)) if state not in truth]
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
            raise place.error(": give the passes in the pass column or as `passes`, not both")
        return _listed(read_table(keys["passes"], place, "passes", truth=False), table)
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
        raise steps.place.error(", passes header: rows run in order, without a pass column")
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
