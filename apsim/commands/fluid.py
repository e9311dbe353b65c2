"""`apsim fluid`: what each layer's width does to accuracy, cycles, energy and EDP.

The rule: every setting is measured, on real images and on executed passes.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from apsim.errors import InputError

if TYPE_CHECKING:
    from apsim.nn.fluid import Budget, Fluid, Setting

__all__ = ["add_parser"]

WIDE = 120


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `fluid`."""
    from apsim.commands.run import add_chip_options

    parser = subparsers.add_parser(
        "fluid", help="sweep the bit widths of a network", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    add("--from", dest="narrowest", metavar="B", type=int, default=2, help="narrowest (default 2)")
    add("--to", dest="widest", metavar="B", type=int, default=8, help="widest (default 8)")
    add("--images", metavar="N", type=int, default=1, help="images executed (default 1)")
    add("--technology", default="sram", help="sram (default) or reram")
    add("--latency", metavar="S", type=float, help="budget: seconds per image at most")
    add("--energy", metavar="J", type=float, help="budget: joules per image at most")
    add("--accuracy", metavar="A", type=float, help="budget: accuracy at least, 0.98 or 98")
    add("--all", action="store_true", help="show every setting, not the Pareto front alone")
    add("--json", metavar="FILE", help="write the sweep as JSON")
    add("--plot", metavar="FILE", help="write a plot as SVG (extra report)")
    add_chip_options(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from apsim.nn import fluid

    if not 2 <= args.narrowest < args.widest <= 8:
        raise InputError(f"wanted 2 <= --from < --to <= 8, got {args.narrowest}, {args.widest}")
    budget = _budget(args)
    measured = _sweep(args)
    picked = None if budget is None else fluid.pick(measured.settings, budget)
    _show(args, measured, picked)
    _write(args, measured, picked)
    return 0


def _budget(args: argparse.Namespace) -> Budget | None:
    """The budget that the options ask for; an accuracy above 1 is in percent."""
    from apsim.nn.fluid import Budget

    asked = (args.latency, args.energy, args.accuracy)
    if all(value is None for value in asked):
        return None
    if not all(value is None or value > 0 for value in asked):
        raise InputError("--latency, --energy, --accuracy: wanted positive numbers")
    part = args.accuracy
    return Budget(args.latency, args.energy, part / 100 if part and part > 1 else part)


def _sweep(args: argparse.Namespace) -> Fluid:
    from rich.console import Console
    from rich.progress import Progress

    from apsim import nn
    from apsim.commands.run import chip_of
    from apsim.cost.technology import technology
    from apsim.nn import fluid

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("settings", total=None)
        return fluid.sweep(
            nn.load("digits"),
            nn.datasets.digits(),
            lambda: chip_of(args),
            technology(args.technology),
            narrowest=args.narrowest,
            widest=args.widest,
            batch=args.images,
            watch=lambda _: progress.advance(task),
        )


def _show(args: argparse.Namespace, measured: Fluid, picked: Setting | None) -> None:
    from apsim.report.run.fluid import fluid_table, sensitivity_lines
    from apsim.report.screen import screen

    console = screen(WIDE)
    console.print(fluid_table(measured, all_settings=args.all))
    for line in sensitivity_lines(measured):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    if picked is not None:
        widths = ",".join(map(str, picked.widths))
        print(
            f"picked: --bits {widths}: accuracy {picked.accuracy:.2%}, "
            f"{picked.seconds:.3g} s, {picked.joules:.3g} J, EDP {picked.edp:.3g} J s per image"
        )


def _write(args: argparse.Namespace, measured: Fluid, picked: Setting | None) -> None:
    from apsim.files import write_json, write_text
    from apsim.report.run.fluid import fluid_json, fluid_plot

    if args.json:
        write_json(args.json, fluid_json(measured, picked))
        print(f"wrote {args.json}")
    if args.plot:
        write_text(args.plot, fluid_plot(measured, picked))
        print(f"wrote {args.plot}")
