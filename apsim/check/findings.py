"""`apsim check --findings`: what the paper's equations leave out, and what it costs.

The rule: every number in the document was computed while it was written; counts come
from executions wherever an array of that size can be executed, which is everywhere here.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files

from apsim.check import table
from apsim.check.evidence import EVIDENCE
from apsim.check.row import Case, Row, examine
from apsim.check.theorem import literal_addition
from apsim.check.thresholds import Threshold, thresholds
from apsim.closed_form import AP_KINDS

__all__ = ["Document", "findings"]

LARGEST = {"i": 64, "j": 64, "u": 64, "Ma": 8, "Mw": 8, "signs": "uu"}


@dataclass(frozen=True)
class Document:
    """The text, what in it broke a rule (nothing, if all is well), and the rows it executed."""

    text: str
    wrong: tuple[str, ...]
    rows: tuple[Row, ...] = ()


def findings() -> Document:
    """Run everything that the document speaks of, and write it."""
    costs = [examine(case) for case in _cases()]
    crossings = list(thresholds())
    parts = [
        "# What executing BF-IMNA's equations shows",
        "This document is printed by `apsim check --findings`; every count in it was taken from "
        "an execution on emulated cells, with results equal to integer arithmetic.",
        _vertical(),
        _costs(costs),
        _crossings(crossings),
        _inconsistencies(),
    ]
    rows = [*costs, *(row for crossing in crossings for row in crossing.rows)]
    wrong = [line for row in rows for line in row.wrong]
    wrong += [
        f"{c.function}, {c.fixed}: no crossing at {c.executed}"
        for c in crossings
        if not c.confirmed
    ]
    return Document("\n\n".join(parts) + "\n", tuple(wrong), tuple(rows))


def _cases() -> Iterable[Case]:
    for ap in AP_KINDS:
        yield Case("matmul", ap, LARGEST)
    for ap in AP_KINDS[1:]:
        yield Case("reduce", ap, {"M": 8, "L": 1024, "signs": "u"})
    for ap in AP_KINDS[1:]:
        yield Case("average_pool", ap, {"M": 8, "S": 64, "K": 9, "signs": "u", "divide": "shift"})
    for ap in AP_KINDS[1:]:
        for scheme in ("chain",) if ap.endswith("-tc") else ("prefix", "moves"):
            yield Case("max_pool", ap, {"M": 8, "S": 16, "K": 9, "signs": "u", "scheme": scheme})


def _vertical() -> str:
    a, b, low, high = literal_addition(8)
    return f"""## Vertical passes do not add

In vertical mode the key is on rows and every column has a tag of its own. A column's content
after any list of vertical passes is therefore a function of that column alone; no carry and no
flag crosses columns. Carried out literally, the 8 cycles that Eqs. (4), (7) and (10) charge for
the addition of two rows turn {a} and {b} into {low} and {high}: `{a} xor {b}` = {a ^ b} and
`{a} and {b}` = {a & b}, not {a + b}."""


def _costs(rows: Sequence[Row]) -> str:
    head = ("function", "AP", "size", "printed", "executed", "C, W, R", "difference", "terms")
    body = [head, ("---",) * len(head), *(_cost(row) for row in rows)]
    return f"""## What the equations leave out, and what it costs

{_markdown(body)}

{table.markdown_list(table.hardware(rows))}

The terms:

{table.markdown_list(table.reasons(rows))}"""


def _cost(row: Row) -> tuple[str, ...]:
    assert row.paper is not None
    gap = row.counted.total - row.paper.total
    sizes = (f"{k}={v}" for k, v in row.case.params.items() if k not in ("signs", "divide"))
    c = row.counted
    return (
        row.case.function, row.case.ap, ", ".join(sizes), f"{row.paper.total:,}", f"{c.total:,}",
        f"{c.compare:,}, {c.write:,}, {c.read:,}", f"{gap:+,} ({gap / row.paper.total:+.2%})",
        table.named_terms(row),
    )  # fmt: skip


def _crossings(found: Sequence[Threshold]) -> str:
    head = ("function", "at", "1D wins from, printed", "1D wins from, executed", "1D, 2D there")
    body = [head, ("---",) * len(head), *(_crossing(one) for one in found)]
    return f"""## When the 1D AP beats the unsegmented 2D AP

The unsegmented 2D AP adds row after row, the 1D AP adds all rows of a level at once: from a
few hundred rows on the 1D AP is the faster one. The thresholds were searched; the sizes at
the executed threshold and just below it were executed on both kinds. (A 2D AP can run the
1D program, and does so for maxima by default.)

{_markdown(body)}"""


def _crossing(one: Threshold) -> tuple[str, ...]:
    def size(at: int | None) -> str:
        return f"not up to {one.symbol}={one.limit}" if at is None else f"{one.symbol}={at}"

    there = "not executed"
    if one.rows:
        there = ", ".join(f"{row.counted.total:,}" for row in one.rows[-2:])
    return one.function, one.fixed, size(one.printed), size(one.executed), there


def _inconsistencies() -> str:
    text = files("apsim.check").joinpath("inconsistencies.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)["inconsistency"]
    head = ("#", "where", "problem", "reading", "computed here")
    body = [
        (f"{n}", row["where"], row["problem"], row["reading"], number())
        for n, (row, number) in enumerate(zip(rows, EVIDENCE, strict=True), 1)
    ]
    return f"""## Inconsistencies of the paper, and the readings taken

{_markdown([head, ("---",) * len(head), *body])}"""


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(table.markdown_row(row) for row in rows)
