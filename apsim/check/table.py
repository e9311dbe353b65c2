"""The conformance table: a line for each function and AP kind, from the rows just run.

The rule: a line shows the row where the paper and the execution differ most, and says
what the kind needs beyond the paper's hardware; what is below the paper is called so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from apsim.ap_kind import ApKind
from apsim.check.row import OPT, Row
from apsim.closed_form.differences import REASONS
from apsim.counts import Counts

__all__ = [
    "HEADER",
    "Line",
    "hardware",
    "html",
    "html_table",
    "lines",
    "markdown",
    "markdown_list",
    "markdown_row",
    "named_terms",
    "reasons",
    "verdict",
]

HEADER = (
    "function", "AP", "rows", "exact", "explained", "fail", "for example", "C, W, R", "counted",
    "paper", "terms",
)  # fmt: skip
BELOW = "below the paper"
LABEL = (
    "a label: all that is left of the difference, or the same on both sides, so that only the "
    "count of the run tests it"
)


@dataclass(frozen=True)
class Line:
    """The rows of one function on one AP kind."""

    rows: tuple[Row, ...]

    @property
    def status(self) -> Counter[str]:
        """How many rows have each verdict."""
        return Counter(row.status for row in self.rows)

    @property
    def example(self) -> Row:
        """A failed row where there is one, else the fresh one that differs most from the paper."""

        def differs(row: Row) -> tuple[bool, bool, int, int]:
            gap = 0 if row.paper is None else abs(row.counted.total - row.paper.total)
            fresh = "scratch_clear" not in row.terms
            return row.status == "fail", fresh, gap, row.counted.total

        return max(self.rows, key=differs)

    def cells(self) -> tuple[str, ...]:
        """The line's texts, in the order of `HEADER`."""
        row, status = self.example, self.status
        return (
            row.case.function,
            row.case.ap,
            f"{len(self.rows)}",
            *(f"{status[name]}" for name in ("exact", "explained", "fail")),
            ", ".join(f"{name}={value}" for name, value in row.case.params.items()),
            _numbers(row.counted),
            f"{row.counted.total:,}",
            "no equation" if row.paper is None else f"{row.paper.total:,}",
            named_terms(row),
        )


def _numbers(counts: Counts) -> str:
    return f"{counts.compare:,}, {counts.write:,}, {counts.read:,}"


def named_terms(row: Row) -> str:
    """Each term that is not 0 in all with its cycles, labels marked by a star."""
    named = [
        f"{name}{'*' * (name in row.labels)} {term.total:+,}"
        for name, term in row.terms.items()
        if term.total
    ]
    return ", ".join(named + [BELOW] * (row.case.ap == OPT and row.below)) or "none"


def lines(rows: Iterable[Row]) -> list[Line]:
    """Rows gathered by function and AP kind, in the order of the run."""
    gathered: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        gathered.setdefault((row.case.function, row.case.ap), []).append(row)
    return [Line(tuple(group)) for group in gathered.values()]


def hardware(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Each AP kind that ran, and what it needs beyond a plain CAM."""
    ran = dict.fromkeys(row.case.ap for row in rows)
    return [(ap, _hardware(ap)) for ap in ran]


def _hardware(ap: str) -> str:
    if ap == OPT:
        return "as the paper, with smaller LUTs and operands that may be destroyed: " + BELOW
    return ApKind.named(ap).hardware


def reasons(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Each term that occurred, and why there is a difference; last what a mark on one means."""
    rows = list(rows)
    found = [(name, REASONS[name]) for name in dict.fromkeys(n for r in rows for n in r.terms)]
    return [*found, ("*", LABEL)] if any(row.labels for row in rows) else found


def verdict(rows: Sequence[Row]) -> str:
    """How many rows have each verdict, in words."""
    status = Counter(row.status for row in rows)
    counts = ", ".join(f"{status[name]} {name}" for name in ("exact", "explained", "fail"))
    return f"{len(rows)} rows: {counts}"


def markdown(rows: Sequence[Row]) -> str:
    """The whole report as Markdown."""
    table = [HEADER, ("---",) * len(HEADER), *(line.cells() for line in lines(rows))]
    parts = [
        "# Conformance to the equations of BF-IMNA",
        f"{verdict(rows)}. Every row was executed on emulated cells.",
        "C, W, R are compares, writes and reads; `counted` and `paper` are their totals. "
        "The example of a line is the row that differs most from the paper.",
        "\n".join(markdown_row(cells) for cells in table),
        "## Hardware\n\n" + markdown_list(hardware(rows)),
        "## Terms\n\n" + markdown_list(reasons(rows)),
    ]
    return "\n\n".join(parts) + "\n"


def markdown_row(cells: Iterable[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def markdown_list(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they mean, as a Markdown list."""
    return "\n".join(f"- `{name}`: {text}" for name, text in pairs)


STYLE = """
body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}
th,td{padding:.2em .6em;border-bottom:1px solid #ccc;text-align:left}tr.fail{background:#fcc}
td:nth-child(n+3):nth-child(-n+6),td:nth-child(9),td:nth-child(10){text-align:right}
"""


def html(rows: Sequence[Row]) -> str:
    """The whole report as one HTML page."""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Conformance to BF-IMNA</title>
<style>{STYLE}</style></head><body>
<h1>Conformance to the equations of BF-IMNA</h1>
<p>{escape(verdict(rows))}. Every row was executed on emulated cells.</p>
{html_table(rows)}
<h2>Hardware</h2>{_html_list(hardware(rows))}
<h2>Terms</h2>{_html_list(reasons(rows))}
</body></html>
"""


def html_table(rows: Sequence[Row]) -> str:
    """The table alone, for a page or a notebook."""
    head = "".join(f"<th>{escape(name)}</th>" for name in HEADER)
    body = "".join(_html_row(line) for line in lines(rows))
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def _html_row(line: Line) -> str:
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in line.cells())
    return f'<tr class="{line.example.status}">{cells}</tr>\n'


def _html_list(pairs: Iterable[tuple[str, str]]) -> str:
    items = "".join(f"<li><code>{name}</code>: {escape(text)}</li>" for name, text in pairs)
    return f"<ul>{items}</ul>"
