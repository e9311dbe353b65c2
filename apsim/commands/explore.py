"""`apsim explore`: sweep networks, precisions, technologies and chips; find what is best.

The rule: the results file is the only state; the same command resumes a sweep that was
interrupted, and repeats nothing.

Example: `apsim explore precision -o precision.jsonl --csv precision.csv`
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from apsim.commands.options import add_also, add_csv, add_output, add_wide, write_csv, write_text
from apsim.errors import InputError

if TYPE_CHECKING:
    from apsim.explore.spec import Spec
    from apsim.report.screen import Screen

__all__ = ["add_parser"]

SHOWN = 12  # points of a front that the terminal shows
LONGEST = 24  # letters of a list of widths
DROPPED = ("cell_writes", "mult_latency", "columns_per_step", "vertical_add", "batch",
           "write_voltage", "ap", "chip", "latency_s", "area_m2", "mean_bits")  # fmt: skip
"""Columns of a front in the order in which they are left out where there is no room."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `explore`."""
    parser = subparsers.add_parser(
        "explore",
        help="sweep a design space, over processes or a Dask cluster",
        description=__doc__.split("\n")[0],
    )
    add = parser.add_argument
    add("spec", metavar="SPEC", help="axes to sweep: a TOML file, or attention, mixes or precision")
    add_output(parser, "results, one JSON line a point (default: SPEC.jsonl)")
    add_also(parser, "--out", "output")
    add("--workers", type=int, metavar="N", help="processes (default: one for each core)")
    add("--dask", metavar="ADDRESS", help="a Dask scheduler that shares the work instead")
    add_csv(parser, "all results")
    add("--plot", metavar="FILE", help="draw the first two objectives as SVG (needs report)")
    add_wide(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from apsim.explore import read_spec, sweep
    from apsim.files import require_writable
    from apsim.report.bar import Working
    from apsim.report.screen import screen
    from apsim.workers import worker_count

    require_writable(args.csv, args.plot)
    spec = read_spec(args.spec)
    worker_count(args.workers)
    if args.plot and (len(spec.objectives) < 2 or spec.kind == "run"):
        raise InputError("--plot: wanted a sweep of costs with two objectives (pareto) or more")
    out = args.output or f"{args.spec.removesuffix('.toml')}.jsonl"
    console = screen()
    with Working("points", len(spec.points)) as bar:
        try:
            results = sweep(
                spec, out, workers=args.workers, dask=args.dask,
                progress=lambda done, total: bar.show(done),
            )  # fmt: skip
        except KeyboardInterrupt as stop:
            kept = f"the {int(bar.done):,} points measured are kept in {out}"
            raise type(stop)(f"{kept}; go on with the same command") from stop
    console.say(f"{len(results):,} points in {out}")
    if _failures(results, console) == len(results):
        return 1
    write_csv(args.csv, results)
    if spec.kind == "run":
        held = _accuracy(results, console)
        _operations(results, console)
        return 0 if held else 1
    _fronts(spec, results, console, args.plot)
    return 0


def _failures(results: Sequence[Mapping[str, Any]], console: Screen) -> int:
    """How many points cannot be; shows that, and the first reasons."""
    failed = [result for result in results if "error" in result]
    if failed:
        reasons = list(dict.fromkeys(str(result["error"]) for result in failed))
        console.say(f"{len(failed):,} points cannot be: {'; '.join(reasons[:3])}")
    return len(failed)


def _fronts(
    spec: Spec, results: Sequence[Mapping[str, Any]], console: Screen, plot: str | None
) -> None:
    from rich.table import Table

    from apsim.explore import pareto_front

    by_network: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_network.setdefault(result["network"], []).append(result)
    fronts = {name: pareto_front(some, spec.objectives) for name, some in by_network.items()}
    axes = [name for name in spec.points[0] if len({str(p[name]) for p in spec.points}) > 1]
    table = Table(*axes, title=f"Pareto fronts: {', '.join(spec.objectives)}")
    for name in spec.objectives:
        table.add_column(name, justify="right")
    for front in fronts.values():
        for result in front[:SHOWN]:
            cells = [_short(result[name]) for name in axes]
            table.add_row(*cells, *(f"{result[name]:.4g}" for name in spec.objectives))
        if len(front) > SHOWN:
            table.add_row(f"and {len(front) - SHOWN} more")
        table.add_section()
    console.fit(table, DROPPED)
    if plot:
        _plot(plot, spec, results, fronts)


def _short(value: object) -> str:
    """A value for a table: of a long list of widths the first, and how many there are."""
    if not isinstance(value, list):
        return str(value)
    text = ",".join(map(str, value))
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST].rpartition(',')[0]},... ({len(value)})"


def _plot(
    path: str,
    spec: Spec,
    results: Sequence[Mapping[str, Any]],
    fronts: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    from apsim.report.paper.plots import draw_fronts

    x, y = spec.objectives[:2]
    points = [(r["network"], r[x], r[y]) for r in results if "error" not in r]
    edges = {name: [(r[x], r[y]) for r in front] for name, front in fronts.items()}
    labels, joined = (_label(x), _label(y)), len(spec.objectives) == 2
    write_text(path, lambda: draw_fronts(points, edges, labels, joined=joined))


def _label(metric: str) -> str:
    """A metric as an axis shows it: its unit after a comma."""
    for suffix, unit in (("_j_s", "J s"), ("_j", "J"), ("_s", "s"), ("_w", "W")):
        if metric.endswith(suffix):
            return f"{metric.removesuffix(suffix)}, {unit}"
    return metric.replace("_", " ")


def _operations(results: Sequence[Mapping[str, Any]], console: Screen) -> None:
    """Cycles of a transformer's products, softmax and norms, and the part that moves words."""
    from rich.table import Table

    heads = ("model", "ap", "products", "softmax", "moved", "norms", "moved ", "products %")
    table = Table(*heads[:2])
    for head in heads[2:]:
        table.add_column(head, justify="right")
    for result in results:
        if "cycles_by_operation" in result:
            table.add_row(result["model"], result["ap"], *_shares(result))
    if table.row_count:
        console.fit(table, ("norms", "moved "))
        console.say("cycles of a point by operation, all loads one after another; moved: of them")


def _shares(result: Mapping[str, Any]) -> list[str]:
    """Cycles of products, then cycles and moves of softmax and norms, then products of all."""
    cycles, moved = result["cycles_by_operation"], result["moved_by_operation"]
    products = cycles.get("linear", 0) + cycles.get("matmul", 0)
    cells = [f"{products:,}"]
    for name in ("softmax", "normalize"):
        spent = cycles.get(name, 0)
        cells += [f"{spent:,}", f"{moved.get(name, 0) / max(spent, 1):.0%}"]
    return [*cells, f"{products / sum(cycles.values()):.1%}"]


def _accuracy(results: Sequence[Mapping[str, Any]], console: Screen) -> bool:
    """Images, right answers, energy and checks by model, kind and widths; whether all hold."""
    from rich.table import Table

    table = Table("model", "ap", "chip", "bits", "images", "correct", "J an image", "checks")
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for result in results:
        if "error" not in result:
            bits = _short(result["bits"] or "as stored")
            if bits.startswith("search:"):
                bits += f" = {_short(result['widths'])}"
            named = (result["model"], result["ap"], result["chip"], bits)
            groups.setdefault(named, []).append(result)
    passed: dict[tuple[str, ...], bool] = {}
    for key, blocks in groups.items():
        images, right = sum(block["images"] for block in blocks), [b["correct"] for b in blocks]
        correct = "-" if None in right else str(sum(right))
        passed[key] = all(block["bit_exact"] and block["counts_match"] for block in blocks)
        joules = sum(block["energy_j"] for block in blocks) / images
        table.add_row(
            *key, str(images), correct, f"{joules:.4g}", "exact" if passed[key] else "FAIL"
        )
    console.fit(table, ("chip", "correct"))
    return all(passed.values())
