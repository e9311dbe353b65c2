"""How a LUT is shown: as its table and its passes, in text or in HTML.

The rule: what is drawn is what a LUT file may say, in the file's own notation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from math import factorial
from typing import TYPE_CHECKING

from apsim.lut.check import valid_orders
from apsim.lut.order import MAX_ORDERS

if TYPE_CHECKING:  # a LUT draws itself by this module
    from apsim.lut.model import Bits, Lut, Pass, State

__all__ = ["as_html", "as_text", "inlined", "pass_rows", "proved", "table_lines", "truth_rows"]

Cells = tuple[str, ...]


def as_text(lut: Lut) -> str:
    """Name, purpose, source, truth table and passes, for a terminal."""
    where = ", ".join(
        f"{kind} {' '.join(columns)}"
        for kind, columns in (("per bit", lut.per_bit), ("per word", lut.per_word))
        if columns
    )
    parts = [f"{lut.name}: {lut.about}", f"{lut.source}; {where}; {lut.walk}", ""]
    parts += table_lines(truth_rows(lut))
    if not inlined(lut):
        parts += ["", "passes, in order:", *table_lines(pass_rows(lut))]
    return "\n".join(parts)


def as_html(lut: Lut) -> str:
    """The same as HTML tables, for a notebook."""
    tables = [_html_table(truth_rows(lut))]
    if not inlined(lut):
        tables.append(_html_table(pass_rows(lut)))
    return f"<p><b>{escape(lut.name)}</b>: {escape(lut.about)}</p>{''.join(tables)}"


def proved(lut: Lut) -> str:
    """What is proved of a sound LUT's passes, in one line.

    >>> from apsim.lut import find
    >>> proved(find("add"))
    'sound in 6 of 24 orders; 4 passes, proved the fewest'
    """
    count = len(lut.passes)
    fewest = {"": "", "proved": ", proved the fewest", "not proved": ", not proved the fewest"}
    orders = ""
    if 1 < count <= MAX_ORDERS:
        orders = f" in {valid_orders(lut)} of {factorial(count)} orders"
    return f"sound{orders}; {count} {'pass' if count == 1 else 'passes'}{fewest[lut.minimal]}"


def inlined(lut: Lut) -> bool:
    """Whether every pass is one row of the table: its whole state, its whole result."""
    rows = [_row_of(lut, step) for step in lut.passes]
    return None not in rows and len(set(rows)) == len(rows)


def truth_rows(lut: Lut) -> list[tuple[Cells, ...]]:
    """Header and rows of the truth table, with a pass column where passes are `inlined`."""
    shown = _result_columns(lut)
    names = tuple(lut.columns[i] for i in shown)
    marks = _marks(lut) if inlined(lut) else None
    header = (lut.columns, ("pass",), names) if marks is not None else (lut.columns, names)
    return [header, *(_truth_row(lut, state, shown, marks) for state in lut.truth)]


def pass_rows(lut: Lut) -> list[tuple[Cells, ...]]:
    """Header and rows of the passes, from first to last; `-` is a masked column."""
    keyed = [name for name in lut.columns if any(name in dict(p.key) for p in lut.passes)]
    rows = [(_masked(p.key, keyed), _masked(p.write, lut.outputs)) for p in lut.passes]
    return [(tuple(keyed), lut.outputs), *rows]


def table_lines(rows: Sequence[tuple[Cells, ...]]) -> list[str]:
    """Rows of cell groups as lines, each cell under its name: ` A F | pass | A`."""
    return [" " + " | ".join(_groups(row, rows[0])).rstrip() for row in rows]


def _groups(row: tuple[Cells, ...], header: tuple[Cells, ...]) -> Iterator[str]:
    for names, cells in zip(header, row, strict=True):
        if names == ("pass",):
            yield cells[0].center(len("pass"))
        else:  # the mark NP stands alone, whatever the number of columns
            yield " ".join(c.ljust(len(n)) for n, c in zip(names, cells, strict=False))


def _row_of(lut: Lut, step: Pass) -> State | None:
    """The state whose table row says just what this pass does, if there is one."""
    key = dict(step.key)
    if set(key) != set(lut.columns):
        return None
    state = tuple(key[name] for name in lut.columns)
    result = lut.truth.get(state)
    if result is None or any((state, name) in lut.free for name in lut.columns):
        return None
    shown = _result_columns(lut)
    wanted = tuple((lut.columns[i], result[i]) for i in shown)
    return state if dict(step.write) == dict(wanted) else None


def _result_columns(lut: Lut) -> list[int]:
    changed = {
        i
        for state, result in lut.truth.items()
        if result is not None
        for i in range(len(lut.columns))
        if state[i] != result[i] or (state, lut.columns[i]) in lut.free
    }
    shown = [i for i, name in enumerate(lut.columns) if i in changed or name in lut.outputs]
    return shown or list(range(len(lut.columns)))  # a table has outputs, even if nothing changes


def _marks(lut: Lut) -> dict[State, str]:
    marks = {state: "NP" if result is None else "-" for state, result in lut.truth.items()}
    for number, step in enumerate(lut.passes, 1):
        state = _row_of(lut, step)
        assert state is not None
        marks[state] = str(number)
    return marks


def _truth_row(
    lut: Lut, state: State, shown: list[int], marks: dict[State, str] | None
) -> tuple[Cells, ...]:
    result = lut.truth[state]
    inputs = tuple(map(str, state))
    mark: tuple[Cells, ...] = () if marks is None else ((marks[state],),)
    if result is None:
        return (inputs, *mark, ("NP",) if marks is None else ())
    free = [(state, lut.columns[i]) in lut.free for i in shown]
    cells = tuple("x" if loose else str(result[i]) for i, loose in zip(shown, free, strict=True))
    return (inputs, *mark, cells)


def _masked(bits: Bits, names: Sequence[str]) -> Cells:
    held = dict(bits)
    return tuple(str(held.get(name, "-")) for name in names)


def _html_table(rows: Sequence[tuple[Cells, ...]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for group in rows[0] for cell in group)
    lines = [f"<tr>{head}</tr>"]
    for row in rows[1:]:
        cells = (
            f"<td>{escape(row[g][c] if g < len(row) and c < len(row[g]) else '')}</td>"
            for g, group in enumerate(rows[0])
            for c in range(len(group))
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"
