"""`apsim cost`: energy, latency and area of a network on a chip, or of an executed run.

The rule: every energy says whether it comes from the paper's averages or from the
activity of a run.

Example: `apsim cost resnet18 --bits hawq-low --tech reram`
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from apsim.commands.options import (
    KINDS,
    add_also,
    add_array,
    add_broadcast,
    add_chip,
    add_cost,
    add_csv,
    add_json,
    add_requant,
    add_technology,
    add_wide,
    require_cost,
    write_csv,
    write_json,
    write_text,
)  # fmt: skip
from apsim.errors import ApsimError, InputError

if TYPE_CHECKING:
    from rich.table import Table

    from apsim.cost import Chip, Inference, Technology
    from apsim.nn.model import Model

__all__ = ["add_parser"]

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
    add_chip(parser)
    add_technology(parser)
    add("--ap", choices=KINDS, help="AP kind (default: the chip's)")
    widths = "widths: 8, 8,4,8 or hawq-low, ...; of averages also 8/4 (activations/weights)"
    add("--bits", metavar="B", help=widths)
    add("--images", type=int, metavar="N", help="images in a batch (default 1)")
    add_also(parser, "--batch", "images", type=int)
    add("--write-voltage", type=float, metavar="V", help="volts of cell writes (default: V_DD)")
    add("--activity", choices=("paper", "executed"), help="averages, or those of a run made here")
    add("--input", metavar="FILE", help="with --activity executed: inputs from .npy or .npz")
    add_array(parser, None)
    laid = "both mappings of each weighted layer side by side, and the one that is taken; with "
    laid += "--activity executed: how the run lays products out"
    add("--mapping", choices=("im2col", "weights", "auto"), help=laid)
    add_cost(parser)
    add_requant(parser, None)
    add_broadcast(parser, None)
    add("--plot", metavar="FILE", help="draw both mappings, or a run's operations (SVG)")
    add_json(parser, "the cost")
    add_csv(parser, "the layers")
    add_wide(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from apsim import cost
    from apsim.files import require_writable

    chip, technology = cost.chip(args.chip), cost.technology(args.tech)
    chip = chip if args.ap is None else replace(chip, ap=args.ap)
    if args.write_voltage is not None:
        technology = technology.at_write_voltage(args.write_voltage)
    if args.images is not None and args.images < 1:
        raise InputError(f"--images: wanted at least 1, got {args.images}")
    if args.input is not None and args.activity != "executed":
        raise InputError("--input: only a run takes inputs; add --activity executed")
    for name in ("array", "requant", "broadcast"):
        if getattr(args, name) is not None and args.activity != "executed":
            raise InputError(f"--{name}: only a run knows it; add --activity executed")
    require_writable(args.json, args.csv, args.plot)
    require_cost(args)
    ran = args.net.endswith(".json") or args.activity == "executed"
    if args.plot and not (args.mapping or ran):
        raise InputError(
            "--plot goes with --mapping, which draws both mappings by forecast, or with a run, "
            "whose operations it draws (--activity executed)"
        )
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
    from apsim.report.cost.named import network_of
    from apsim.report.paper.cell_writes import CELL_WRITES

    network, own = network_of(args.net)
    bits = args.bits or own or 8
    batch = 1 if args.images is None else args.images
    return cost.infer(
        network, chip, technology, EQUATIONS, bits=bits, batch=batch, cell_writes=CELL_WRITES
    )


def _read(args: argparse.Namespace) -> dict[str, Any]:
    from apsim.report.cost.executed import read_run

    for name in ("bits", "images", "input", "ap", "mapping", "array", "requant", "broadcast"):
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
        args.chip, ap=chip.ap, engine="fused",
        mapping=args.mapping or "im2col", cost=args.cost or "energy", array=args.array or "load",
        requant=args.requant or "host", broadcast=args.broadcast or "group",
    )  # fmt: skip
    with Bar(model, len(next(iter(images.values()))), where) as bar:
        done = nn.run(model, images, where, labels=labels, keep="outputs", watcher=bar)
    if not done.passed:
        raise ApsimError(f"{args.net}: the run does not hold; see `apsim run {args.net}`")
    return run_json(done)


def _images(args: argparse.Namespace, model: Model) -> tuple[dict[str, Any], Any]:
    """Inputs by tensor name and labels: --images of them, of a file all where nothing is said."""
    from apsim.nn.zoo import sources

    wanted = 1 if args.images is None and args.input is None else args.images
    return sources.inputs(model, wanted, args.input)


def _averages(args: argparse.Namespace, found: Inference) -> int:
    from apsim.report.cost import inference_tables as tables

    _show(
        lambda short: tables.inference_table(found, short=short),
        tables.inference_lines(found),
        tables.DROPPED,
    )
    _write(args, tables.inference_json(found), tables.inference_rows(found))
    return 0


def _mappings(args: argparse.Namespace, chip: Chip) -> int:
    from apsim.ap_kind import ApKind
    from apsim.nn.on_ap.chip import design_of
    from apsim.nn.on_ap.tasks import Setting
    from apsim.nn.zoo import sources
    from apsim.report.cost import mappings

    if args.net.endswith(".csv"):
        raise InputError(f"--mapping: {args.net} is a layer table and has no weights")
    model = sources.model(args.net, bits=args.bits)
    images = 1 if args.images is None else args.images
    on = Setting(ApKind.named(chip.ap), chip.rows, images, mapping=args.mapping,
                 columns=design_of(chip).columns, cost=args.cost or "energy",
                 caps=design_of(chip).shared)  # fmt: skip
    layers = mappings.compare(model, on)
    title = f"{model.name}, batch of {images}, {chip.ap} AP, CAPs of {chip.rows} rows"
    _show(
        lambda short: mappings.mappings_table(title, layers, short=short),
        mappings.mappings_lines(layers, on),
        mappings.DROPPED,
    )
    _write(args, mappings.mappings_json(model, layers, on), mappings.mappings_rows(layers))
    write_text(args.plot, lambda: mappings.draw(title, layers))
    return 0


def _executed(
    args: argparse.Namespace, run: dict[str, Any], chip: Chip, technology: Technology
) -> int:
    from apsim.report.cost import executed_tables as tables
    from apsim.report.cost.blocks import draw_operations
    from apsim.report.cost.executed import cost_run

    found = cost_run(run, chip, technology)
    _show(
        lambda short: tables.executed_table(found, short=short),
        tables.executed_lines(found),
        tables.DROPPED,
    )
    _write(args, tables.executed_json(found), tables.executed_rows(found))
    write_text(args.plot, lambda: draw_operations(found))
    return 0


def _show(table: Callable[[bool], Table], lines: Sequence[str], dropped: Sequence[str]) -> None:
    from apsim.report.screen import screen

    console = screen()
    console.fit_one(table, dropped)
    for line in lines:
        console.say(line)


def _write(args: argparse.Namespace, whole: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    write_json(args.json, lambda: whole)
    write_csv(args.csv, rows)
