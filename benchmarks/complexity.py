"""The paper's Fig. 5 and Table II, from execution: counted cycles over doubling sizes.

    python -m benchmarks.complexity [--function NAME] [--json FILE] [--plot FILE]

Every point is a program executed on emulated cells; beside it stands the printed equation.
Exit code 1 if a point is not explained to the last cycle, or a polynomial through executed
totals misses an execution far outside.  The plot (PNG or SVG) needs matplotlib.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from apsim.ap_kind import ApKind
from apsim.errors import ApsimError, InputError, MissingExtra
from apsim.files import replacing, write_json
from benchmarks.growth import Growth, measure
from benchmarks.sweeps import SWEEPS, Series, Sweep, run

COLORS = {"1d": "C0", "2d": "C1", "2d-seg": "C2", "2d-tc": "C3", "2d-seg-tc": "C4"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sweeps, print them, and write what was asked for."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.complexity", description=__doc__.split("\n")[0]
    )
    names = sorted({sweep.function for sweep in SWEEPS})
    parser.add_argument("--function", choices=names, action="append", help="only these sweeps")
    parser.add_argument("--json", metavar="FILE", help="write sweeps and growth as JSON")
    parser.add_argument("--plot", metavar="FILE", help="draw Fig. 5 (.png or .svg)")
    args = parser.parse_args(argv)
    try:
        return _main(args)
    except ApsimError as error:
        print(f"benchmarks.complexity: error: {error}", file=sys.stderr)
        return 2


def _main(args: argparse.Namespace) -> int:
    if args.plot and not args.plot.endswith((".png", ".svg")):
        raise InputError(f"--plot: wanted a name that ends in .png or .svg, got {args.plot!r}")
    chosen = [sweep for sweep in SWEEPS if sweep.function in (args.function or [sweep.function])]
    swept = []
    for sweep in chosen:
        swept.append(run(sweep))
        print("\n".join(_table(sweep, swept[-1])), end="\n\n")
    growth = [] if args.function else list(measure())
    print("\n".join(_growth_table(growth)))
    if args.json:
        write_json(args.json, _document(swept, growth))
    if args.plot:
        _plot(args.plot, swept)
    wrong = [line for series in swept for one in series for row in one.rows for line in row.wrong]
    wrong += [
        f"{g.function} on {g.ap}: {g.total} misses an execution" for g in growth if not g.holds
    ]
    print("\n".join(wrong), file=sys.stderr, end="\n" * bool(wrong))
    return 1 if wrong else 0


def _table(sweep: Sweep, series: Sequence[Series]) -> Iterator[str]:
    symbol = "M" if sweep.symbol == "Ma" else sweep.symbol
    yield f"{sweep.title}: cycles executed, and printed where it differs"
    width = max(
        18, *(len(_cell(c, p)) for s in series for c, p in zip(s.counted, s.printed, strict=True))
    )
    yield f"{symbol:>6}" + "".join(f"{one.ap:>{width + 2}}" for one in series)
    for n, size in enumerate(sweep.sizes):
        cells = (_cell(one.counted[n], one.printed[n]) for one in series)
        yield f"{size:6d}" + "".join(f"{cell:>{width + 2}}" for cell in cells)


def _cell(counted: int, printed: int) -> str:
    return f"{counted:,}" if counted == printed else f"{counted:,} ({printed:,})"


def _growth_table(growth: Sequence[Growth]) -> Iterator[str]:
    if not growth:
        return
    yield "Table II from execution: polynomials through executed totals, and their largest terms"
    for g in growth:
        verdict = "as printed" if g.agrees else f"printed: {_terms(g.printed)}"
        yield f"  {g.function:29} {g.ap:10} O: {_terms(g.measured):28} {verdict:32} {g.total}"


def _terms(terms: frozenset[str]) -> str:
    return " + ".join(sorted(terms))


def _document(swept: Sequence[Sequence[Series]], growth: Sequence[Growth]) -> dict[str, Any]:
    return {
        "schema": "apsim.complexity/1",
        "hardware": {kind.value: kind.hardware for kind in ApKind},
        "sweeps": [_sweep(one) for series in swept for one in series],
        "growth": [
            {
                "function": g.function, "ap": g.ap, "total": g.total,
                "measured": sorted(g.measured), "printed": sorted(g.printed), "holds": g.holds,
            }
            for g in growth
        ],
    }  # fmt: skip


def _sweep(one: Series) -> dict[str, Any]:
    return {
        "title": one.sweep.title,
        "function": one.sweep.function,
        "ap": one.ap,
        "symbol": one.sweep.symbol,
        "sizes": list(one.sweep.sizes),
        "fixed": dict(one.sweep.fixed),
        "counted": [row.counted.as_dict() for row in one.rows],
        "printed": [row.paper.as_dict() for row in one.rows if row.paper is not None],
        "status": [row.status for row in one.rows],
    }


def _plot(path: str, swept: Sequence[Sequence[Series]]) -> None:
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise MissingExtra("matplotlib", "report") from error
    matplotlib.use("agg")
    from matplotlib import pyplot

    columns = min(len(swept), 4)
    height = -(-len(swept) // columns)
    figure, axes = pyplot.subplots(
        height, columns, figsize=(4.5 * columns, 3.6 * height), squeeze=False
    )
    for panel, series in zip(axes.flat, swept, strict=False):
        _panel(panel, series)
    for unused in list(axes.flat)[len(swept) :]:
        unused.axis("off")
    axes[0][0].legend(fontsize=7)
    figure.suptitle("Run time in cycles: executed (markers) and printed equations (lines)")
    figure.tight_layout()
    with replacing(path) as stream:
        figure.savefig(stream, format=path[-3:], dpi=120)


def _panel(panel: Any, series: Sequence[Series]) -> None:
    sweep = series[0].sweep
    for one in series:
        color = COLORS[one.ap]
        panel.loglog(sweep.sizes, one.counted, "o", color=color, ms=4, mfc="none", label=one.ap)
        panel.loglog(sweep.sizes, one.printed, "-", color=color, lw=1)
    panel.set_title(sweep.title, fontsize=9)
    panel.set_xlabel("M" if sweep.symbol == "Ma" else sweep.symbol)
    panel.set_ylabel("cycles")
    panel.set_xscale("log", base=2)


if __name__ == "__main__":
    sys.exit(main())
