"""`apsim faults`: what write errors, missed matches and stuck cells do to a network.

The rule: faults strike single compares and writes of the executed passes; nothing is
scaled or assumed.

Example: `apsim faults digits --images 1 --repeats 2 --write-error 1e-4`
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from apsim.commands.options import (
    KINDS,
    add_broadcast,
    add_chip,
    add_cost,
    add_csv,
    add_json,
    add_technology,
    add_wide,
    require_cost,
    write_csv,
    write_json,
)  # fmt: skip
from apsim.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from apsim.cost import Technology
    from apsim.faults import Study
    from apsim.nn.model import Model

__all__ = ["add_parser"]

SCHEMA = "apsim.faults/1"
DROPPED = ("95 % interval", "logits moved")  # in this order, where there is no room
RATES = {
    "write_error": "chances that a driven cell ends wrong (default 0.021, as at 0.5 V)",
    "missed_match": "chances that a matching line is sensed as a mismatch",
    "stuck_cells": "chances that a cell is stuck at 0 or 1",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `faults`."""
    parser = subparsers.add_parser(
        "faults",
        help="accuracy and energy of a network on failing arrays",
        description=__doc__.split("\n")[0],
    )
    add = parser.add_argument
    known = "digits (default), digits-vit, a network of the literature such as resnet18, or a file"
    add("model", metavar="MODEL", nargs="?", default="digits", help=known)
    for name, meaning in RATES.items():
        add(f"--{name.replace('_', '-')}", type=float, nargs="+", metavar="P", help=meaning)
    add(
        "--images",
        type=int,
        metavar="N",
        help="how many images (default: 16 digits, else 1, or all of a file)",
    )
    add("--input", metavar="FILE", help="inputs [N, ...] from an .npy or .npz file")
    add("--labels", metavar="FILE", help="with --input: right answers [N] from an .npy file")
    add("--bits", metavar="B", help="widths: 8, 8,4,8 or hawq-low, ...")
    add("--repeats", type=int, default=5, metavar="R", help="trials of each kind (default 5)")
    add("--seed", type=int, default=0, metavar="S", help="seed of the first trial (default 0)")
    add("--workers", type=int, metavar="N", help="processes (default: one for each core)")
    add_chip(parser)
    add("--ap", choices=KINDS, default="2d-seg", help="AP kind (default 2d-seg)")
    laid = "how products of weights are laid out: im2col (default), weights in the program, or auto"
    add("--mapping", choices=("im2col", "weights", "auto"), default="im2col", help=laid)
    add_cost(parser)
    add_broadcast(parser)
    add_technology(parser)
    volts = "volts of cell writes (default: 0.5, or V_DD where the technology has no lower one)"
    add("--write-voltage", type=float, metavar="V", help=volts)
    add_json(parser, "the studies")
    add_csv(parser, "the table")
    add_wide(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from apsim import cost
    from apsim.files import require_writable

    require_writable(args.json, args.csv)
    require_cost(args)
    technology = cost.technology(args.tech)
    lower = technology.scaled_write_voltage or technology.supply_voltage
    scaled = technology.at_write_voltage(
        lower if args.write_voltage is None else args.write_voltage
    )
    found = _studies(args)
    _show(_table(args, found, technology, scaled))
    write_json(args.json, lambda: _as_json(args, found, technology, scaled))
    write_csv(args.csv, [_row(one, technology, scaled) for one in found])
    return 0


def _studies(args: argparse.Namespace) -> list[Study]:
    from apsim import nn
    from apsim.faults import study
    from apsim.nn.zoo import sources
    from apsim.report.bar import Working
    from apsim.report.run.progress import expected, multiplications
    from apsim.workers import worker_count

    workers = worker_count(args.workers)
    if not 1 <= args.repeats <= 1000:
        raise InputError(f"--repeats: wanted 1 to 1000, got {args.repeats}")
    if args.seed < 0:
        raise InputError(f"--seed: wanted a number from 0 on, got {args.seed}")
    faults = _faults(args)
    model = sources.model(args.model, bits=args.bits)
    images, labels = _images(args, model)
    chip = nn.Chip.preset(
        args.chip, ap=args.ap, mapping=args.mapping, cost=args.cost or "energy",
        broadcast=args.broadcast,
    )  # fmt: skip
    many, trials = len(next(iter(images.values()))), args.repeats * len(faults)
    seconds = expected(model, many, chip, "faulty") * -(-trials // workers)
    with Working("trials", multiplications(model, many) * trials, seconds) as bar:
        return study(
            model, images, labels, chip, faults,
            repeats=args.repeats, workers=workers, watch=bar.show,
        )  # fmt: skip


def _images(args: argparse.Namespace, model: Model) -> tuple[dict[str, Any], Any]:
    """Inputs by tensor name, and right answers where there are any."""
    from apsim.nn.zoo import sources

    if args.input is None:
        if args.labels is not None:
            raise InputError("--labels: they belong to the inputs of --input")
        return sources.inputs(model, args.images, None)
    images, _ = sources.inputs(model, None, args.input)
    there = min(len(values) for values in images.values())
    wanted = there if args.images is None else args.images
    if not 1 <= wanted <= there:
        raise InputError(f"--images: wanted 1 to {there} inputs of {args.input}, got {wanted}")
    labels = None if args.labels is None else _labels(args.labels, there)[:wanted]
    return {name: values[:wanted] for name, values in images.items()}, labels


def _labels(path: str, wanted: int) -> Any:
    from apsim.readers import read_arrays

    labels = read_arrays(path, what="labels from")
    if isinstance(labels, dict) or labels.shape != (wanted,) or labels.dtype.kind not in "iu":
        shape, kind = getattr(labels, "shape", "no"), getattr(labels, "dtype", "archive")
        raise InputError(f"{path}: wanted {wanted} whole numbers, got shape {shape} of {kind}")
    return labels


def _show(table: Table) -> None:
    from apsim.report.screen import screen

    screen().fit(table, DROPPED)


def _faults(args: argparse.Namespace) -> list[Any]:
    """One study for each rate given; the published write error where none is."""
    from apsim.cam.faulty import Faults

    given = [
        Faults(**{name: rate}, seed=args.seed)
        for name in RATES
        for rate in getattr(args, name) or ()
    ]
    return given or [Faults(write_error=0.021, seed=args.seed)]


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _table(
    args: argparse.Namespace, found: Sequence[Study], technology: Technology, scaled: Technology
) -> Table:
    from rich.table import Table

    first = found[0]
    trials = f"{_many(args.repeats, 'trial')} each"
    title = f"{args.model}, {_many(first.images, 'image')}, {trials}, {args.ap} AP"
    if first.clean_correct is not None:
        title += f"; without faults {first.clean_correct} of {first.images} right"
    table = Table(title=title, title_justify="left")
    saved = f"saved {scaled.name[len(technology.name) :].strip()}".strip()
    for name in ("faults", "accuracy", "95 % interval", "logits moved", "95 % interval",
                 "answers changed", saved):  # fmt: skip
        table.add_column(name, justify="left" if name == "faults" else "right")
    for one in found:
        least, most = one.moved_interval
        table.add_row(
            _named(one),
            *_accuracy(one),
            f"{one.moved:.3g}",
            f"{least:.3g} ... {most:.3g}",
            f"{one.changed:.1%}",
            f"{_saved(one, technology, scaled):.4%}",
        )
    return table


def _row(one: Study, technology: Technology, scaled: Technology) -> dict[str, Any]:
    """A study as a record of numbers."""
    pairs = {"accuracy": one.accuracy_interval, "logits_moved": one.moved_interval,
             "answers_changed": one.changed_interval}  # fmt: skip
    values = (one.accuracy, one.moved, one.changed)
    record: dict[str, Any] = {name: getattr(one.faults, name) for name in RATES}
    record |= {"seed": one.faults.seed, "images": one.images, "trials": len(one.trials)}
    for (name, pair), value in zip(pairs.items(), values, strict=True):
        low, high = pair or (None, None)
        record |= {name: value, f"{name}_low": low, f"{name}_high": high}
    return record | {"energy_saved": _saved(one, technology, scaled)}


def _accuracy(one: Study) -> tuple[str, str]:
    """Mean and interval; dashes where nobody knows the right answers."""
    if one.accuracy is None or one.accuracy_interval is None:
        return "-", "-"
    low, high = one.accuracy_interval
    return f"{one.accuracy:.1%}", f"{low:.1%} ... {high:.1%}"


def _named(one: Study) -> str:
    rates = {name: getattr(one.faults, name) for name in RATES}
    return ", ".join(f"{name.replace('_', ' ')} {p:g}" for name, p in rates.items() if p) or "none"


def _saved(one: Study, technology: Technology, scaled: Technology) -> float:
    """The share of the executed energy that cheaper writes save."""
    from apsim import cost
    from apsim.counts import Counts

    full, less = (
        cost.estimate(Counts(), one.activity, tech).energy.total for tech in (technology, scaled)
    )
    return 1 - less / full


def _as_json(
    args: argparse.Namespace, found: Sequence[Study], technology: Technology, scaled: Technology
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "schema": SCHEMA,
        "model": args.model,
        "ap": args.ap,
        "images": found[0].images,
        "repeats": args.repeats,
        "clean_correct": found[0].clean_correct,
        "technology": technology.name,
        "scaled_technology": scaled.name,
        "studies": [
            {
                "faults": asdict(one.faults),
                "accuracy": one.accuracy,
                "accuracy_interval": one.accuracy_interval,
                "logits_moved": one.moved,
                "logits_moved_interval": one.moved_interval,
                "answers_changed": one.changed,
                "answers_changed_interval": one.changed_interval,
                "energy_saved": _saved(one, technology, scaled),
                "trials": [asdict(trial) for trial in one.trials],
            }
            for one in found
        ],
    }
