"""`apsim check`: every function on every AP kind, executed and held against the paper.

The rule: exit code 0 only if no row fails; a row says why it differs from the printed
equation, in named terms.

Example: `apsim check --function add --ap 1d`
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from apsim.commands.options import (
    add_csv,
    add_json,
    add_wide,
    write_csv,
    write_json,
    write_text,
)  # fmt: skip
from apsim.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from apsim.check.row import Row

__all__ = ["add_parser"]

KINDS = ("1d", "2d", "2d-seg", "2d-tc", "2d-seg-tc", "opt", "analytic")
FUNCTIONS = (
    "add", "subtract", "multiply", "relu", "max", "min", "reduce", "dot", "matmul",
    "average_pool", "max_pool", "table", "softmax", "ita_softmax", "layer_norm", "rms_norm",
    "weighted_sums",
)  # fmt: skip
MAPPED = {"im2col": FUNCTIONS[:-1], "weights": FUNCTIONS[-1:], "auto": FUNCTIONS}
SCHEMA = "apsim.check/1"
DROPPED = ("C, W, R", "for example", "terms", "rows")  # in this order, where there is no room


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `check`."""
    parser = subparsers.add_parser(
        "check",
        help="hold every function on every AP kind against the paper's equations",
        description="Execute the functions of the paper on emulated cells over a grid of sizes: "
        "counted cycles against the realisable formula, that against the printed equation with "
        "named terms, results against integer arithmetic.",
    )
    add = parser.add_argument
    add("--full", action="store_true", help="the whole grid (default: a reduced one)")
    add("--ap", action="append", choices=KINDS, metavar="KIND", help=_ap_help())
    add("--tag-chain", action="store_true", help="with --ap 2d or 2d-seg: a chain across the tags")
    add("--function", action="append", choices=FUNCTIONS, metavar="NAME", help=_function_help())
    mapped = "only what layers of that mapping run: im2col, weights, or auto (both)"
    add("--mapping", choices=MAPPED, help=mapped)
    add_json(parser, "every row")
    add_csv(parser, "every row")
    add("--markdown", metavar="FILE", help="write the table (or the findings) as Markdown")
    add("--html", metavar="FILE", help="write the table as an HTML page")
    add("--findings", action="store_true", help="what the equations leave out, and what it costs")
    add_wide(parser)
    parser.set_defaults(run=_run)


def _ap_help() -> str:
    return f"only this AP kind, may be repeated: {', '.join(KINDS)} (equations only)"


def _function_help() -> str:
    return f"only this function, may be repeated: {', '.join(FUNCTIONS)}"


def _run(args: argparse.Namespace) -> int:
    aps = _kinds(args)
    if args.findings:
        return _findings(args)
    if "analytic" in aps:
        return _equations(args, aps)
    return _check(args, aps)


def _kinds(args: argparse.Namespace) -> list[str]:
    aps = list(dict.fromkeys(args.ap or KINDS[:-1]))
    if not args.tag_chain:
        return aps
    if not set(aps) & {"2d", "2d-seg"}:
        raise InputError(f"--tag-chain: wanted --ap 2d or 2d-seg, got {', '.join(aps)}")
    return list(dict.fromkeys(f"{ap}-tc" if ap in ("2d", "2d-seg") else ap for ap in aps))


def _check(args: argparse.Namespace, aps: Sequence[str]) -> int:
    from apsim.check import cases, examine, table

    mapped = MAPPED[args.mapping or "auto"]
    names = [name for name in args.function or mapped if name in mapped]
    chosen = cases(args.full, aps, names) if names else []
    if not chosen:
        wanted = " or ".join(args.function or mapped)
        raise InputError(f"no {wanted} on {' or '.join(aps)}: nothing to check")
    rows = [examine(case) for case in _progress(chosen)]
    _show(rows)
    _write(args, rows)
    wrong = [line for row in rows for line in row.wrong]
    for line in wrong[:20]:
        print(f"fail: {line}", file=sys.stderr)
    print(f"{table.verdict(rows)}: {'FAIL' if wrong else 'PASS'}")
    return 1 if wrong else 0


def _write(args: argparse.Namespace, rows: Sequence[Row]) -> None:
    from apsim.check import table

    _write_rows(args, rows)
    write_text(args.markdown, lambda: table.markdown(rows))
    write_text(args.html, lambda: table.html(rows))


def _write_rows(args: argparse.Namespace, rows: Sequence[Any]) -> None:
    found = [row.as_dict() for row in rows]
    write_json(args.json, lambda: {"schema": SCHEMA, "rows": found})
    write_csv(args.csv, found)


def _equations(args: argparse.Namespace, aps: Sequence[str]) -> int:
    """The printed equations; nothing is executed."""
    from apsim.check.analytic import equations

    if len(aps) > 1 or args.markdown or args.html:
        raise InputError("--ap analytic prints equations: no other kind, no Markdown, no HTML")
    found = equations(args.full, args.function or ())
    print("equations (1)-(15) as printed; nothing below was executed")
    for equation in found:
        p = equation.as_dict()["params"]
        sizes = ", ".join(f"{name}={value}" for name, value in p.items())
        paper = equation.paper
        print(f"{equation.case.function:12}  {sizes:44}  {paper}, in all {paper.total:,}")
    _write_rows(args, found)
    return 0


def _findings(args: argparse.Namespace) -> int:
    from apsim.check.findings import findings
    from apsim.report.bar import Working

    if args.html or args.function or args.ap:
        raise InputError("--findings goes with --markdown, --json and --csv FILE only")
    with Working("executing"):
        document = findings()
    if not args.markdown:
        print(document.text, end="")
    write_text(args.markdown, lambda: document.text)
    _write_rows(args, document.rows)
    for line in document.wrong:
        print(f"fail: {line}", file=sys.stderr)
    return 1 if document.wrong else 0


def _progress(cases: Sequence[Any]) -> Iterator[Any]:
    """The cases, with a bar where a person watches."""
    from apsim.report.bar import Working

    with Working("checking", len(cases)) as bar:
        for case in cases:
            yield case
            bar.advance(1)


def _show(rows: Sequence[Row]) -> None:
    from rich.table import Table

    from apsim.check import table
    from apsim.report.screen import screen

    console = screen()
    shown = Table(*table.HEADER, header_style="bold")
    for line in table.lines(rows):
        style = "red" if line.status["fail"] else None
        shown.add_row(*line.cells(), style=style)
    console.fit(shown, DROPPED)
    for ap, text in table.hardware(rows):
        console.say(f"{ap:10} {text}")
    for name, text in table.reasons(rows):
        console.say(f"{name}: {text}")
