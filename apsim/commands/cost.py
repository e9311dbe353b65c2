"""`apsim cost`: energy, latency and area of a network on a chip, or of an executed run.

The rule: every energy says whether it comes from the paper's averages or from the
activity of a run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from apsim.errors import ApsimError, InputError

if TYPE_CHECKING:
    from rich.table import Table

    from apsim.cost import Chip, Inference, Network, Technology
    from apsim.cost.precision import Widths
    from apsim.nn.model import Model

__all__ = ["add_parser"]

WIDE = 240  # where nobody looks, nothing is cut short
NET = (
    "a bundled network, a layer table (.csv), a model (a bundled one or a file), or the "
    "JSON of `apsim run --json`"
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `cost`."""
    parser = subparsers.add_parser(
        "cost",
        help="energy, latency and area of a network on a chip",
        description=__doc__.split("\n")[0],
    )
    add = parser.add_argument
    add("net", metavar="NET", help=NET)
    add("--chip", default="lr", metavar="lr|ir|FILE", help="a chip by name or TOML file")
    add("--tech", default="sram", metavar="sram|reram|FILE", help="a technology, likewise")
    add("--bits", metavar="B", help="8, 8/4 (activations/weights), 8,4,... or hawq-high, ...")
    add("--batch", type=int, metavar="N", help="images in a batch (default 1)")
    add("--write-voltage", type=float, metavar="V", help="volts of cell writes (default: V_DD)")
    add("--activity", choices=("paper", "executed"), help="averages, or those of a run made here")
    add("--input", metavar="FILE", help="with --activity executed: inputs from .npy or .npz")
    laid = "both mappings of each weighted layer side by side, and the one that is taken; with "
    laid += "--activity executed: how the run lays products out"
    add("--mapping", choices=("im2col", "weights", "auto"), help=laid)
    costs = "with --mapping auto: what is to be less, by forecast (default energy)"
    add("--cost", choices=("energy", "cycles", "latency"), help=costs)
    add("--plot", metavar="FILE", help="with --mapping: draw both (SVG)")
    add("--json", metavar="FILE", help="write the cost as JSON")
    add("--csv", metavar="FILE", help="write the layers as CSV")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from apsim import cost
    from apsim.files import require_writable

    chip, technology = cost.chip(args.chip), cost.technology(args.tech)
    if args.write_voltage is not None:
        technology = technology.at_write_voltage(args.write_voltage)
    if args.input is not None and args.activity != "executed":
        raise InputError("--input: only a run takes inputs; add --activity executed")
    require_writable(args.json, args.csv, args.plot)
    if args.cost and args.mapping != "auto":
        raise InputError("--cost goes with --mapping auto: the others are not chosen by a cost")
    if args.plot and (not args.mapping or args.activity == "executed"):
        raise InputError("--plot goes with --mapping, by forecast: it draws both mappings")
    if args.net.endswith(".json"):
        return _executed(args, _read(args), chip, technology)
    if args.activity == "executed":
        return _executed(args, _emulate(args, chip), chip, technology)
    if args.mapping:
        return _mappings(args, chip)
    return _averages(args, _infer(args, chip, technology))


def _infer(args: argparse.Namespace, chip: Chip, technology: Technology) -> Inference:
    from apsim import cost
    from apsim.functions.table import EQUATIONS
    from apsim.report.paper.cell_writes import CELL_WRITES

    if args.net in cost.network_names() or args.net.endswith(".csv"):
        network, bits = cost.network(args.net), args.bits or 8
    else:
        network, own = _model(args.net)
        bits = args.bits or own
    batch = 1 if args.batch is None else args.batch
    return cost.infer(
        network, chip, technology, EQUATIONS, bits=bits, batch=batch, cell_writes=CELL_WRITES
    )


def _model(name: str) -> tuple[Network, Widths]:
    """A bundled or imported model as a network, and its widths."""
    from pathlib import Path

    from apsim import cost, nn
    from apsim.nn.zoo.bundled import BUNDLED
    from apsim.report.cost.model_rows import network_of, widths_of

    if name not in BUNDLED and not Path(name).suffix:
        cost.network(name)  # no model file either: raises with the nearest network's name
    model = nn.load(name)
    return network_of(model), widths_of(model)


def _read(args: argparse.Namespace) -> dict[str, Any]:
    from apsim.report.cost.executed import read_run

    for name in ("bits", "batch", "input", "mapping"):
        if getattr(args, name) is not None:
            raise InputError(f"--{name}: a run has its own; give another run instead")
    if args.activity == "paper":
        raise InputError("--activity paper: a run has executed activity; give its model instead")
    return read_run(args.net)


def _emulate(args: argparse.Namespace, chip: Chip) -> dict[str, Any]:
    """Run the model's own images, or those of --input, on CAPs of the chip's kind and rows."""
    from apsim import nn
    from apsim.nn.zoo import sources
    from apsim.report.run.progress import Bar
    from apsim.report.run.tables import run_json

    if args.net.endswith(".csv"):
        raise InputError(f"--activity executed: {args.net} is a layer table and has no weights")
    model = sources.model(args.net, bits=args.bits)
    images, labels = _images(args, model)
    where = nn.Chip.preset(
        "bf-imna-lr", ap=chip.ap, rows=chip.rows, engine="fused",
        mapping=args.mapping or "im2col", cost=args.cost or "energy",
    )  # fmt: skip
    with Bar(model, len(next(iter(images.values())))) as bar:
        done = nn.run(model, images, where, labels=labels, keep="outputs", watcher=bar)
    if not done.passed:
        raise ApsimError(f"{args.net}: the run does not hold; see `apsim run {args.net}`")
    return run_json(done)


def _images(args: argparse.Namespace, model: Model) -> tuple[dict[str, Any], Any]:
    """Inputs by tensor name and labels: --batch of them, of a file all where nothing is said."""
    from apsim.nn.zoo import sources

    wanted = 1 if args.batch is None and args.input is None else args.batch
    try:
        return sources.inputs(model, wanted, args.input)
    except InputError as error:
        raise InputError(str(error).replace("--images", "--batch")) from error


def _averages(args: argparse.Namespace, found: Inference) -> int:
    from apsim.report.cost import inference_tables as tables

    _show(lambda short: tables.inference_table(found, short=short), tables.inference_lines(found))
    _write(args, tables.inference_json(found), tables.inference_rows(found))
    return 0


def _mappings(args: argparse.Namespace, chip: Chip) -> int:
    from apsim.ap_kind import ApKind
    from apsim.files import write_text
    from apsim.nn.on_ap.tasks import Setting
    from apsim.nn.zoo import sources
    from apsim.report.cost import mappings

    if args.net.endswith(".csv"):
        raise InputError(f"--mapping: {args.net} is a layer table and has no weights")
    model = sources.model(args.net, bits=args.bits)
    images = 1 if args.batch is None else args.batch
    on = Setting(ApKind.named(chip.ap), chip.rows, images, mapping=args.mapping,
                 cost=args.cost or "energy", caps=chip.caps)  # fmt: skip
    layers = mappings.compare(model, on)
    title = f"{model.name}, batch of {images}, {chip.ap} AP, CAPs of {chip.rows} rows"
    _show(
        lambda short: mappings.mappings_table(title, layers, short=short),
        mappings.mappings_lines(layers, on),
    )
    _write(args, mappings.mappings_json(model, layers, on), mappings.mappings_rows(layers))
    if args.plot:
        write_text(args.plot, mappings.draw(title, layers))
        print(f"wrote {args.plot}")
    return 0


def _executed(
    args: argparse.Namespace, run: dict[str, Any], chip: Chip, technology: Technology
) -> int:
    from apsim.report.cost import executed_tables as tables
    from apsim.report.cost.executed import cost_run

    found = cost_run(run, chip, technology)
    _show(lambda short: tables.executed_table(found, short=short), tables.executed_lines(found))
    _write(args, tables.executed_json(found), tables.executed_rows(found))
    return 0


def _show(table: Callable[[bool], Table], lines: Sequence[str]) -> None:
    from apsim.report.screen import screen

    console = screen(WIDE)
    whole = table(False)
    needed = console.measure(whole, options=console.options.update(width=WIDE)).maximum
    fits = needed <= console.width
    console.print(whole if fits else table(True))
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _write(args: argparse.Namespace, whole: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    from apsim.files import write_json, write_text
    from apsim.report.cost.files import as_csv

    if args.json:
        write_json(args.json, whole)
        print(f"wrote {args.json}")
    if args.csv:
        write_text(args.csv, as_csv(rows))
        print(f"wrote {args.csv}")
