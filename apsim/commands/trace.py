"""`apsim trace`: write what a program does as waves, a timeline, events or a film.

The rule: without a layer, a model is traced as a whole, and only as a timeline; every
other target is one program on one array, step by step.

Example: `apsim trace add --jsonl add.jsonl`
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsim.commands.debug import add_target, wanted
from apsim.commands.options import wrote
from apsim.errors import InputError

if TYPE_CHECKING:
    from apsim.debug.session import Session
    from apsim.trace import Limits

__all__ = ["add_parser", "is_whole_network"]

MANY = 100  # steps between two looks at the bar


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `trace`."""
    parser = subparsers.add_parser(
        "trace", help="waves, timelines, events and films", description=__doc__.split("\n")[0]
    )
    add_target(parser)
    add = parser.add_argument
    add("--vcd", metavar="FILE", help="waves for GTKWave and Surfer, and a .gtkw list beside them")
    add("--perfetto", metavar="FILE", help="a timeline in cycles; of a whole network too (MODEL)")
    add("--jsonl", metavar="FILE", help="one event a line")
    add("--html", metavar="FILE", help="a page that plays the passes, with heat maps")
    add("--steps", metavar="N", type=int, default=100_000, help="record at most N steps")
    add("--show-rows", metavar="0-15", help="the rows that are followed (default: the first 64)")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    files = [name for name in (args.vcd, args.jsonl, args.html) if name]
    if not files and not args.perfetto:
        raise InputError("wanted at least one of --vcd, --perfetto, --jsonl, --html")
    if args.steps < 1:
        raise InputError(f"--steps: wanted at least 1, got {args.steps}")
    _check_names(args)
    if is_whole_network(args):
        if files:
            raise InputError(
                f"a whole network is traced with --perfetto only; name a layer as "
                f"{args.target[0]}:LAYER for {files[0]}"
            )
        _write_network(args)
        return 0
    from apsim.debug.targets import open_target

    session = open_target(wanted(args))
    if args.perfetto:
        _write_timeline(session, args.perfetto)
    if files:
        _record(session, files, args)
    return 0


def _check_names(args: argparse.Namespace) -> None:
    for option in ("vcd", "jsonl", "html"):
        name = getattr(args, option)
        if name and Path(name).suffix != f".{option}":
            raise InputError(f"--{option}: wanted a file named .{option}, got {name}")


def is_whole_network(args: argparse.Namespace) -> bool:
    """Whether the target is a model without a layer."""
    from apsim.files import suffix_of
    from apsim.nn.zoo.bundled import BUNDLED

    name = args.target[0]
    is_model = name in BUNDLED or suffix_of(name) in (".npz", ".onnx", ".tflite")
    return is_model and len(args.target) == 1 and args.layer is None


def _write_network(args: argparse.Namespace) -> None:
    from apsim.debug.networks import write_timeline
    from apsim.files import replacing
    from apsim.report.bar import Working

    with replacing(args.perfetto) as stream, Working("layers") as bar:
        note = write_timeline(
            stream, args.target[0], args.ap, lambda many: bar.turn("layers", many)
        )
    _say(args.perfetto, note)


def _write_timeline(session: Session, path: str) -> None:
    from apsim.files import replacing
    from apsim.trace.perfetto import write_program

    with replacing(path) as stream:
        note = write_program(stream, session.program.name, session.programs)
    _say(path, note)


def _record(session: Session, files: list[str], args: argparse.Namespace) -> None:
    from apsim.files import write_text
    from apsim.report.bar import Working
    from apsim.trace import recorder
    from apsim.trace.vcd import signal_list

    limits = _limits(session, args)
    session.go_to(0)
    with ExitStack() as stack:
        opened: list[Any] = [
            stack.enter_context(recorder(name, session.machine, session.program, limits))
            for name in files
        ]
        with Working("steps", min(len(session.timeline), args.steps)) as bar:
            for number, event in enumerate(session, 1):
                for told in opened:
                    told(event)
                if number % MANY == 0:
                    bar.show(number)
                if all(told.full for told in opened):
                    break
    for name, told in zip(files, opened, strict=True):
        _say(name, told.note)
        if name.endswith(".vcd"):
            beside = Path(name).with_suffix(".gtkw")
            write_text(beside, signal_list(Path(name).name, told.names))
            _say(str(beside), "")


def _limits(session: Session, args: argparse.Namespace) -> Limits:
    from apsim.debug.view import read_rows
    from apsim.trace import Limits

    if args.show_rows is None:
        return Limits(args.steps)
    try:
        return Limits(args.steps, read_rows(args.show_rows, session))
    except ValueError:
        last = session.machine.rows - 1
        raise InputError(
            f"--show-rows: wanted rows 0 to {last} such as 0-15 or 0,5,9, got {args.show_rows!r}"
        ) from None


def _say(name: str, note: str) -> None:
    wrote(name, f" ({note})" if note else "")
