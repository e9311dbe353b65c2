"""Tables of plain records: what pandas takes, and what a notebook shows.

The rule: `table()` is the whole of it, one dict of plain values for each row; the page is made
from that and holds no figure of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from apsim.errors import shown

__all__ = ["Record", "Tabular", "html_records"]

Record = dict[str, Any]
MOST = 60  # rows that a notebook shows


class Tabular:
    """Something that is a table: `pandas.DataFrame(x.table())`."""

    def table(self) -> list[Record]:
        """A record of plain values for each row."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return html_records(self.table())


def html_records(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of records, escaped; of many rows the first, and how many there are."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(shown(name))}</th>" for name in names)
    lines = "".join(
        f"<tr>{''.join(f'<td>{_cell(row.get(name))}</td>' for name in names)}</tr>"
        for row in rows[:MOST]
    )
    rest = f"<p>and {len(rows) - MOST} more of {len(rows)}</p>" if len(rows) > MOST else ""
    return f"<table><tr>{head}</tr>{lines}</table>{rest}"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return escape(shown(f"{value:.6g}" if isinstance(value, float) else str(value)))
