"""`apsim paper`: the BF-IMNA paper's numbers, recomputed and held against the printed ones.

The rule: exit code 0 only if every row holds in its tier.

Example: `apsim paper --csv rows.csv`
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from apsim.commands.options import (
    add_csv,
    add_json,
    add_wide,
    write_csv,
    write_json,
    write_text,
)  # fmt: skip

if TYPE_CHECKING:
    from rich.table import Table

    from apsim.report.paper.executed import Executed
    from apsim.report.paper.published import Reproduced
    from apsim.report.screen import Screen

__all__ = ["add_parser"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `paper`."""
    parser = subparsers.add_parser(
        "paper",
        help="reproduce the paper's tables, figures and numbers",
        description=__doc__.split("\n")[0],
    )
    add_json(parser, "rows, tables and figures")
    add_csv(parser, "the rows")
    parser.add_argument("--html", metavar="FILE", help="write a report with figures (needs report)")
    parser.add_argument(
        "--executed",
        action="store_true",
        help="also execute AlexNet's conv steps and the digits network, in place of closed forms",
    )
    add_wide(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from apsim.files import require_writable
    from apsim.report.bar import Working
    from apsim.report.paper.reproduce import reproduce

    require_writable(args.html, args.json, args.csv)
    with Working("tables"):
        rows = reproduce()
    executed = _execute() if args.executed else None
    _show(rows)
    data, drawn = _figures(args) if args.json or args.html else ({}, {})
    if args.html:
        from apsim.report.paper.page import paper_page

        write_text(args.html, lambda: paper_page(rows, drawn, executed))
    write_json(args.json, lambda: _as_json(rows, data, executed))
    write_csv(args.csv, [row.as_dict() for row in rows.values()])
    held = all(row.holds for row in rows.values()) and (executed is None or executed.holds)
    return 0 if held else 1


def _execute() -> Executed:
    """Execute, and show what was counted."""
    from rich.table import Table

    from apsim.report.bar import Working
    from apsim.report.paper.executed import NAMES, execute

    with Working("executing"):
        executed = execute()
    table = Table(*NAMES, title="executed", title_justify="left")
    for row in executed.rows():
        table.add_row(*row)
    _console().fit(table)
    return executed


def _console() -> Screen:
    from apsim.report.screen import screen

    return screen()


def _show(rows: Mapping[str, Reproduced]) -> None:
    from apsim.report.paper.published import TIERS, by_tier

    console = _console()
    for tier in TIERS:
        console.fit(
            _table(tier, [r for r in rows.values() if r.published.tier == tier]), ("error",)
        )
    for row in rows.values():
        if row.published.reason:
            console.print(f"[dim]{row.published.quantity}:[/] {row.published.reason}")
    held = by_tier(rows).items()
    counts = ", ".join(f"{kept} of {total} {tier}" for tier, (kept, total) in held)
    passed = all(row.holds for row in rows.values())
    console.print(f"[bold]{'PASS' if passed else 'FAIL'}[/]  {counts} as documented")


def _table(title: str, rows: Sequence[Reproduced]) -> Table:
    from rich.table import Table

    from apsim.report.paper.page import shown, shown_error, shown_paper, verdict

    table = Table("where", "quantity", title=title, title_justify="left")
    for name in ("paper", "model", "error"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in rows:
        table.add_row(
            row.published.where,
            row.published.quantity,
            shown_paper(row),
            shown(row.model),
            shown_error(row),
            verdict(row),
            style="" if row.holds else "bold red",
        )
    return table


FIGURES = tuple(f"figure{n}" for n in range(5, 10))


def _figures(args: argparse.Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """The data of the figures, and with --html their drawings."""
    from apsim.report.bar import Working
    from apsim.report.paper import figures

    data = {}
    with Working("figures", len(FIGURES) * (1 + bool(args.html))) as bar:
        for name in FIGURES:
            data[name] = getattr(figures, name)()
            bar.advance(1, name)
        if not args.html:
            return data, {}
        from apsim.report.paper.plots import draw_figures

        return data, draw_figures(data, lambda name: bar.advance(1, name))


def _as_json(
    rows: Mapping[str, Reproduced], data: Mapping[str, Any], executed: Executed | None
) -> dict[str, Any]:
    from dataclasses import asdict

    from apsim import cost
    from apsim.closed_form import tables
    from apsim.report.paper.caveats import caveats, readings
    from apsim.report.paper.figures import table7, table8

    cells = [(name, kind) for name in tables.FUNCTIONS for kind in tables.KINDS]
    return {
        "schema": "apsim.paper/1",
        "passed": all(row.holds for row in rows.values()) and (executed is None or executed.holds),
        "rows": [row.as_dict() for row in rows.values()],
        "table1": {f"{n}, {k}": str(tables.derive(n, k)) for n, k in cells},
        "table2": {f"{n}, {k}": sorted(tables.growth(n, k)) for n, k in cells},
        "table5": cost.chip("lr").as_dict(),
        "table7": [asdict(row) for row in table7()],
        "table8": [asdict(row) for row in table8()],
        **{name: _plain(figure) for name, figure in data.items()},
        "executed": None if executed is None else _executed_json(executed),
        "readings": [asdict(reading) for reading in readings()],
        "caveats": [asdict(caveat) for caveat in caveats()],
    }


def _executed_json(executed: Executed) -> dict[str, Any]:
    from dataclasses import asdict

    from apsim.report.cost.executed_tables import executed_json

    return {
        "holds": executed.holds,
        "alexnet": [asdict(step) | {"holds": step.holds} for step in executed.steps],
        "digits": executed_json(executed.digits),
    }


def _plain(value: Any) -> Any:
    """Figure data with text keys and plain records, as JSON holds them."""
    from dataclasses import asdict, is_dataclass

    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, dict):
        return {
            ", ".join(key) if isinstance(key, tuple) else str(key): _plain(item)
            for key, item in value.items()
        }
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
