"""`apsim fluid`: the best bit width for each layer under a budget, searched and executed.

The rule: widths are chosen on calibration images and executed costs, and scored once on
test images that the choice never saw.

Example: `apsim fluid --ap 2d-seg --budget 50%`
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from apsim.commands.options import (
    add_csv,
    add_json,
    add_technology,
    add_wide,
    write_json,
    write_text,
)  # fmt: skip
from apsim.errors import InputError

if TYPE_CHECKING:
    from apsim.nn.model import Model
    from apsim.nn.search import Images, Judge, Setting, Space
    from apsim.nn.search.outcome import Outcome
    from apsim.nn.search.settings import Budget, Candidate
    from apsim.nn.zoo.sensitivities import Sensitivities
    from apsim.report.bar import Working

__all__ = ["add_parser"]

DROPPED = ("EDP [J s]", "cycles", "measured")  # in this order, where there is no room


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `fluid`."""
    from apsim.commands.run import add_chip_options

    parser = subparsers.add_parser(
        "fluid", help="find a bit width for each layer", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    add(
        "model",
        metavar="MODEL",
        nargs="?",
        default="digits",
        help="digits (default), digits-vit, or a file",
    )
    how = "additive (default): exact front of summed losses; walk: greedy; exhaustive: all"
    add("--search", choices=("additive", "walk", "exhaustive"), default="additive", help=how)
    what = "loss of a width: kl (default, needs no labels), loss, or errors"
    add("--measure", choices=("kl", "loss", "errors"), default="kl", help=what)
    images = "images to choose on: a number of the bundled ones, or an .npz file (with labels)"
    add("--calibration", metavar="N|FILE", help=images)
    add("--input", metavar="FILE", help="images to score and execute on (.npz, with labels)")
    add("--sensitivities", metavar="FILE", help="losses from a CSV file, or hawq:resnet18")
    add("--from", dest="narrowest", metavar="B", type=int, default=2, help="narrowest (default 2)")
    add("--to", dest="widest", metavar="B", type=int, default=8, help="widest (default 8)")
    add("--widths", metavar="B,B", help="these widths alone, such as 4,8")
    add("--cost", choices=("energy", "cycles"), default="energy", help="what to save")
    add("--tie", metavar="A=B", action="append", default=[], help="layers that share a width")
    add("--budget", metavar="P%", help="budget: so far from the narrowest to the widest, in --cost")
    add("--latency", metavar="S", type=float, help="budget: seconds per image at most")
    add("--energy", metavar="J", type=float, help="budget: joules per image at most")
    add("--accuracy", metavar="A", type=float, help="budget: accuracy at least, 0.98 or 98")
    add("--points", metavar="N", type=int, default=12, help="settings shown (default 12)")
    add("--images", metavar="N", type=int, default=1, help="images executed (default 1)")
    add("--seed", metavar="S", type=int, default=0, help="seed of random weights and images")
    add_technology(parser)
    add_json(parser, "the search")
    add_csv(parser, "the settings shown")
    add("--plot", metavar="FILE", help="write a plot as SVG (extra report)")
    add_chip_options(parser)
    add_wide(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from apsim.files import require_writable

    _require(args)
    require_writable(args.json, args.csv, args.plot)
    widths = _widths(args)
    from apsim.report.bar import Working

    with Working("reading") as bar:
        found = _search(args, widths, bar)
    _show(found)
    _write(args, found)
    return 0


def _require(args: argparse.Namespace) -> None:
    """Refuse what is wrong in itself, before minutes of work."""
    if args.points < 2:
        raise InputError(f"--points: wanted 2 or more, got {args.points}")
    asked = (args.latency, args.energy, args.accuracy)
    if not all(value is None or 0 < value < float("inf") for value in asked):
        raise InputError("--latency, --energy, --accuracy: wanted positive numbers")
    if args.accuracy is not None and args.accuracy > 100:
        raise InputError(f"--accuracy: wanted at most 100 %, got {args.accuracy:g}")
    if args.budget is not None:
        _part(args.budget)
    for text in args.tie:
        _tie(text)


def _widths(args: argparse.Namespace) -> tuple[int, ...]:
    if args.widths is not None:
        parts = args.widths.split(",")
        if not all(part.strip().isdecimal() for part in parts):
            raise InputError(f"--widths: wanted numbers such as 4,8, got {args.widths!r}")
        widths = tuple(sorted({int(part) for part in parts}))
    else:  # none where an end is out of sense: a range may be of any length
        sensible = 2 <= args.narrowest < args.widest <= 8
        widths = tuple(range(args.narrowest, args.widest + 1)) if sensible else ()
    if len(widths) < 2 or widths[0] < 2 or widths[-1] > 8:
        raise InputError(
            f"wanted at least two widths, 2 <= --from < --to <= 8, got "
            f"{','.join(map(str, widths)) or f'{args.narrowest}, {args.widest}'}"
        )
    return widths


def _search(args: argparse.Namespace, widths: tuple[int, ...], bar: Working) -> Outcome:
    from apsim.commands.run import chip_of
    from apsim.cost.technology import technology
    from apsim.nn import search
    from apsim.nn.search.outcome import Outcome
    from apsim.nn.zoo import datasets

    model = _model(args)
    test, chosen_on = _images(args, model)
    bench = search.Bench(
        model, test, lambda: chip_of(args), technology(args.tech), batch=args.images,
        check="all" if model.name in datasets.OWNERS else "sample",
    )  # fmt: skip
    judge = None if chosen_on is None else search.Judge(model, chosen_on, args.measure, widths[-1])
    given = _given(args, model, chosen_on, widths)
    costs = bench.costs(widths, bar.turn("costs", len(widths)))
    bench.require_reachable(costs, args.energy, args.latency)
    losses = given or _measured(args, model, chosen_on, widths, bar)
    space = _space(args, model, losses, costs, widths[-1])
    budget = _budget(args, space)
    tried = search.candidates(space, args.search, judge, lambda many: bar.turn("settings", many))
    picked = None if budget is None else search.pick(tried, budget, args.cost, bench, space)
    shown = _shown(args, space, tried, picked, judge, widths)
    scored = None if test.labels is None else search.Judge(model, test, args.measure, widths[-1])
    settings, advance = [], bar.turn("shown", len(shown))
    for one in shown:
        whole = space.whole(one.widths)
        settings.append(
            search.Setting(one, bench.execute(whole), scored.score(whole) if scored else None)
        )
        advance()
    return Outcome(
        model, space, args.search, args.measure, args.images, chosen_on, test, losses.note,
        tuple(settings), _the(settings, picked), len(tried),
    )  # fmt: skip


def _model(args: argparse.Namespace) -> Model:
    from apsim.nn.rules import scales
    from apsim.nn.zoo import sources, synthetic

    model = sources.model(args.model, seed=args.seed)
    bare = args.model in synthetic.network_names()  # integers alone, without scales
    return scales.with_scales(model) if bare else model


def _images(args: argparse.Namespace, model: Model) -> tuple[Images, Images | None]:
    """What scores and what chooses, no image in both."""
    from apsim.nn.zoo import calibration

    test = calibration.test_images(model, args.input)
    chosen_on = calibration.calibration_images(model, args.calibration)
    if chosen_on is not None:
        calibration.require_disjoint(chosen_on, test)
    return test, chosen_on


def _given(
    args: argparse.Namespace, model: Model, images: Images | None, widths: tuple[int, ...]
) -> Sensitivities | None:
    """The losses of a file, None where they are to be measured."""
    from apsim.nn.zoo import sensitivities

    if args.sensitivities is not None:
        return sensitivities.read(args.sensitivities, widths)
    if images is None:
        raise InputError(
            f"{model.name} has random weights, nothing can be measured on it: give "
            "--sensitivities FILE (hawq:resnet18 is shipped) or --calibration FILE"
        )
    return None


def _measured(
    args: argparse.Namespace, model: Model, images: Images | None, widths: tuple[int, ...],
    bar: Working,
) -> Sensitivities:  # fmt: skip
    from apsim.nn import search
    from apsim.nn.zoo import sensitivities

    assert images is not None
    advance = bar.turn("losses", len(widths) * len(model.fluid))
    found = search.measure(model, images, args.measure, widths=widths, watch=advance)
    return sensitivities.Sensitivities(found.losses)


def _space(
    args: argparse.Namespace, model: Model, losses: Sensitivities, costs: Any, widest: int
) -> Space:
    from apsim.nn import search
    from apsim.nn.zoo.sensitivities import nearest

    known = tuple(layer.name for layer in model.fluid)
    for name in losses.losses:
        if name not in known:
            hint = nearest(name, known)
            raise InputError(f"{args.sensitivities}: {model.name} has no layer {name!r}{hint}")
    if not losses.note and (missing := [name for name in known if name not in losses.losses]):
        raise InputError(f"{args.sensitivities}: layer {missing[0]!r} of {model.name} is missing")
    ties = (*losses.ties, *(_tie(text) for text in args.tie))
    only = costs.only(tuple(losses.losses))
    return search.Space(known, losses.losses, only, args.cost, ties, widest)


def _tie(text: str) -> tuple[str, str]:
    a, equals, b = text.partition("=")
    if not (a and equals and b):
        raise InputError(f"--tie: wanted two layers as in conv1=conv2, got {text!r}")
    return a, b


def _budget(args: argparse.Namespace, space: Space) -> Budget | None:
    """The budget that the options ask for; an accuracy above 1 is in percent."""
    from apsim.nn import search

    asked = (args.latency, args.energy, args.accuracy)
    if all(value is None for value in (*asked, args.budget)):
        return None
    part = args.accuracy
    by_cost = space.costs.of(space.kind)
    cost = None if args.budget is None else search.limit(by_cost, _part(args.budget))
    accuracy = part / 100 if part and part > 1 else part
    return search.Budget(args.latency, args.energy, accuracy, cost)


def _part(text: str) -> float:
    try:
        part = float(text.removesuffix("%")) / 100
    except ValueError:
        part = -1.0
    if not 0 <= part <= 1:
        raise InputError(f"--budget: wanted 0..100 %, got {text!r}")
    return part


def _shown(
    args: argparse.Namespace, space: Space, tried: tuple[Candidate, ...],
    picked: Candidate | None, judge: Judge | None, widths: tuple[int, ...],
) -> list[Candidate]:  # fmt: skip
    """The points of the front and the uniform widths; with a budget what was picked as well."""
    from apsim.nn import search
    from apsim.nn.search.settings import candidate

    uniform = [candidate(space, (width,) * len(space.layers), judge) for width in widths]
    some = [] if picked is not None else search.spread(tried, args.cost, args.points)
    return list(dict.fromkeys([*some, *([picked] if picked is not None else []), *uniform]))


def _the(settings: list[Setting], picked: Candidate | None) -> Setting | None:
    return next((one for one in settings if picked is not None and one.candidate == picked), None)


def _show(found: Outcome) -> None:
    from apsim.report.run.fluid import fluid_lines, fluid_table
    from apsim.report.screen import screen

    console = screen()
    console.fit(fluid_table(found), DROPPED)
    for line in fluid_lines(found):
        console.say(line)


def _write(args: argparse.Namespace, found: Outcome) -> None:
    from apsim.report.run.fluid import fluid_csv, fluid_json, fluid_plot

    write_json(args.json, lambda: fluid_json(found))
    write_text(args.csv, lambda: fluid_csv(found))
    write_text(args.plot, lambda: fluid_plot(found))
