"""`apsim debug`: step through an operation, a LUT, a layer or a saved session, both ways.

The rule: typed commands go to a prompt; commands from a pipe or a file are a script,
whose output is plain text and whose exit code is 2 if one of them was mistaken.

Example: `apsim debug add --set A=1,2 --set B=3,4 -x continue -x quit`
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from apsim.commands.options import KINDS, add_broadcast, add_cost, add_requant, require_cost
from apsim.errors import InputError

if TYPE_CHECKING:
    from apsim.debug.session import Part, Session
    from apsim.debug.shell import Shell
    from apsim.debug.targets import Wanted

__all__ = ["add_parser", "add_target", "wanted"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `debug`."""
    parser = subparsers.add_parser(
        "debug", help="step through passes, forwards and back", description=__doc__.split("\n")[0]
    )
    add_target(parser)
    add = parser.add_argument
    add("--execute", "-x", metavar="COMMAND", action="append", default=[], help="do this first")
    add("--script", metavar="FILE", help="commands from a file, in place of a prompt")
    parser.set_defaults(run=_run)


def add_target(parser: argparse.ArgumentParser, many: str = "+") -> None:
    """Add what says which program is meant; `wanted` reads it."""
    add = parser.add_argument
    add("target", metavar="TARGET", nargs=many,
        help="add, subtract, multiply, maximum, minimum, relu, reduce, dot, max-pool, "
        "average-pool, softmax, ita-softmax, layer-norm, rms-norm; a LUT by name or file; a saved "
        "session (.json); MODEL:LAYER, or: run MODEL --layer LAYER")  # fmt: skip
    add("--set", metavar="FIELD=1,2,3", action="append", default=[], help="words of an operand")
    add("--bits", metavar="M", type=int, default=8, help="width of the words (default 8)")
    add("--rows", metavar="N", type=int, help="how many words (default: as given, or 4)")
    add("--seed", type=int, default=0, help="for the operands that are not set (default 0)")
    add("--ap", choices=KINDS, default="2d", help="AP kind (default 2d)")
    add("--engine", default="strict", help="strict (default), dense or fused")
    add("--layer", help="the layer of a network")
    laid = "of a layer: im2col (default), or weights in the program, a group of outputs at a time"
    add("--mapping", choices=("im2col", "weights", "auto"), default="im2col", help=laid)
    add_cost(parser)
    add_requant(parser)
    add_broadcast(parser)
    add("--caps", metavar="N", type=int, default=1, help="CAPs that share its loads (default 1)")
    add("--cap", metavar="N", type=int, default=0, help="which of those CAPs (default 0)")
    add("--load", metavar="N", type=int, default=0, help="which of that CAP's loads (default 0)")


def wanted(args: argparse.Namespace) -> Wanted:
    """The target that the arguments name; raises `InputError` where they contradict."""
    from apsim.debug.targets import Wanted

    name, *rest = args.target
    model, layer = None, args.layer
    if name == "run" and len(rest) == 1:
        model = rest[0]
    elif rest:
        raise InputError(f"wanted one target, got {' '.join(args.target)}")
    elif ":" in name:
        model, _, layer = name.rpartition(":")
    elif name == "run" or layer is not None:
        raise InputError("a layer is named as MODEL:LAYER, or as: run MODEL --layer LAYER")
    plain = {"mapping": "im2col", "cost": None, "requant": "host", "broadcast": "group",
             "caps": 1, "cap": 0, "load": 0}  # fmt: skip
    for option, value in plain.items() if model is None else ():
        if getattr(args, option) != value:
            raise InputError(f"--{option} goes with a layer of a network: MODEL:LAYER")
    require_cost(args)
    given = dict(_assignment(text) for text in args.set)
    return Wanted(
        name, given, args.bits, args.rows, args.ap, args.seed, args.engine, model, layer,
        args.cap, args.load, args.caps, args.mapping, args.cost or "energy", args.requant,
        args.broadcast,
    )  # fmt: skip


def _assignment(text: str) -> tuple[str, list[int]]:
    name, sign, values = text.partition("=")
    try:
        if not sign or not name:
            raise ValueError
        return name, [int(value, 0) for value in values.split(",")]
    except ValueError:
        raise InputError(f"--set: wanted FIELD=1,2,3 with integers, got {text!r}") from None


def _run(args: argparse.Namespace) -> int:
    import sys

    from apsim.debug import terminal
    from apsim.files import read_text

    shell = _shell(args)
    terminal.run_script(shell, iter(args.execute))
    if not shell.running:
        return 2 if shell.failed else 0
    if args.script is not None:
        return terminal.run_script(shell, iter(read_text(args.script).splitlines()))
    if not sys.stdin.isatty():
        return terminal.run_script(shell, sys.stdin)
    return terminal.converse(shell)


def _shell(args: argparse.Namespace) -> Shell:
    """A shell at the first step that computes: operands are in their places."""
    from apsim.debug import alter, terminal
    from apsim.debug.targets import open_target

    if args.target[0].endswith(".json") and len(args.target) == 1:
        console = terminal.new_console()
        shell = terminal.equipped(alter.restore(args.target[0], console))
    else:
        session = open_target(wanted(args))
        shell = terminal.equipped(terminal.Shell(session, terminal.new_console()))
        loaded = [part.stop for part in session.parts if _populates(session, part)]
        session.go_to(2 * max(loaded, default=0))
    _greet(shell)
    return shell


def _populates(session: Session, part: Part) -> bool:
    """Whether an operation does nothing but bring operands in."""
    from apsim.counts import Phase

    program = session.programs[session.parts.index(part)]
    return set(program.counts_by_phase()) == {Phase.POPULATE}


def _greet(shell: Shell) -> None:
    session = shell.session
    rows, columns = session.machine.rows, session.machine.cam.columns
    shell.say(f"{session.program.name}: {len(session.timeline)} steps on {rows} x {columns} cells")
    before = f"{session.point // 2} steps are done: {session.counts}" if session.point else ""
    shell.say(f"{session.machine.layout}\n{before}".rstrip())
