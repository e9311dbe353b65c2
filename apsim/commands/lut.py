"""`apsim lut`: list, show, check and make look-up tables.

The rule: a table that reads well but is unsound is a failed check (exit code 1); one
that cannot be read is the user's mistake (exit code 2); both name file, line and row.

Example: `apsim lut show add`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from apsim.commands.options import add_csv, write_csv, wrote
from apsim.errors import LutError, shown, shown_lines

if TYPE_CHECKING:
    from apsim.lut.model import Lut

__all__ = ["add_parser"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `lut` and its five actions."""
    parser = subparsers.add_parser(
        "lut", help="list, show, check or make look-up tables", description=__doc__.split("\n")[0]
    )
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    listing = actions.add_parser(
        "list", help="all LUTs that are known by name", epilog="example: apsim lut list"
    )
    add_csv(listing, "the list")
    listing.set_defaults(run=_list)
    show = actions.add_parser(
        "show",
        help="one LUT: its table, passes and what is proved of them",
        epilog="example: apsim lut show add --kernel",
    )
    show.add_argument("lut", metavar="NAME", help="a LUT's name, or the path of its file")
    show.add_argument(
        "--kernel", action="store_true", help="print the Python that numba compiles for it"
    )
    add_csv(show, "the passes")
    show.set_defaults(run=_show)
    check = actions.add_parser(
        "check",
        help="prove LUT files sound by replaying their passes",
        epilog="example: apsim lut check add sub",
    )
    check.add_argument("luts", metavar="FILE", nargs="*", help="files or names (default: all)")
    add_csv(check, "what is proved of each")
    check.set_defaults(run=_check)
    _add_make(actions)
    _add_table(actions)


def _add_table(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    table = actions.add_parser(
        "table",
        help="the passes of a function of a whole word, such as gelu",
        description="List the proved passes that give any function of a word of up to 12 bits: "
        "y = clip(round(f(scale (x - zero)) / out-scale) + out-zero).",
        epilog="example: apsim lut table gelu --scale 0.0625 --out-scale 0.0625",
    )
    add = table.add_argument
    add("function", metavar="NAME", help="a function: gelu, logistic, tanh, exp, ... or list")
    add("--word", metavar="W", default="s8", help="input word: s8 (default), u8, s4, ...")
    add("--out-word", metavar="W", help="output word (default: as the input)")
    add("--scale", type=float, default=1.0, help="scale of the input (default 1)")
    add("--zero", type=int, default=0, help="zero point of the input (default 0)")
    add("--out-scale", type=float, default=1.0, help="scale of the output (default 1)")
    add("--out-zero", type=int, default=0, help="zero point of the output (default 0)")
    add("--method", choices=("grouped", "tree", "prefix"), help="how passes are found")
    add("--count", action="store_true", help="only how many passes there are")
    add_csv(table, "the passes")
    table.set_defaults(run=_table)


def _add_make(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    make = actions.add_parser(
        "make",
        help="turn a truth table into a proved LUT file",
        description="Order the passes of a truth table so that they carry it out in place. "
        "The file holds a bare table (` A B | B`, a row for each state, NP where a state is "
        "not possible, x where any bit will do), or a LUT file whose passes are not looked at.",
        epilog="example: apsim lut make --truth xor.txt -o xor.toml",
    )
    make.add_argument("--truth", metavar="FILE", required=True, help="the truth table")
    make.add_argument("--name", help="the new LUT's name (default: the file's)")
    make.add_argument("--minimal", action="store_true", help="search for the fewest passes")
    make.add_argument("-o", "--output", metavar="OUT", help="file to write (default: stdout)")
    make.set_defaults(run=_make)


def _list(args: argparse.Namespace) -> int:
    from apsim import lut

    rows = [("LUT", "columns", "passes", "walk", "what it does")]
    for name in lut.names():
        one = lut.find(name)
        rows.append((name, " ".join(one.columns), str(len(one.passes)), one.walk, one.about))
    _print_table(rows)
    write_csv(args.csv, [dict(zip(rows[0], row, strict=True)) for row in rows[1:]])
    return 0


def _table(args: argparse.Namespace) -> int:
    from apsim.layout import Layout
    from apsim.lut.curves import CURVES, Curve, tabulated
    from apsim.lut.word_table import word_table
    from apsim.ops.table import patterns_of
    from apsim.report.bar import Working

    if args.function == "list":
        print("\n".join(CURVES))
        return 0
    layout = Layout(X=args.word, Y=args.out_word or args.word)
    what = Curve(args.function, args.scale, args.zero, args.out_scale, args.out_zero)
    source, target = layout["X"], layout["Y"]
    patterns = patterns_of(
        tabulated(what, source.values, target.lowest, target.highest), source, target
    )
    with Working("seeking passes"):
        found = word_table(patterns, target.width, args.method)
    print(str(found).splitlines()[0] if args.count else found)
    whole = (1 << target.width) - 1
    preset = {"pass": 0, "mask": 0, "key": 0, "write": whole, "value": found.preset}
    numbered = enumerate(found.passes, 1)
    write_csv(args.csv, [preset, *({"pass": number, **vars(one)} for number, one in numbered)])
    return 0


def _show(args: argparse.Namespace) -> int:
    from apsim import lut
    from apsim.lut.draw import proved

    one = lut.find(args.lut)
    print(_kernel(one) if args.kernel else shown_lines(f"{one}\n\n{proved(one)}"))
    write_csv(args.csv, [_pass_row(one, number) for number in range(len(one.passes))])
    return 0


def _pass_row(one: Lut, number: int) -> dict[str, object]:
    """A pass by columns: what the key wants, and what is written; nothing where masked."""
    step = one.passes[number]
    key, write = (dict(bits) for bits in (step.key, step.write))
    row: dict[str, object] = {"pass": number + 1}
    row |= {f"key_{column}": key.get(column) for column in one.columns}
    return row | {f"write_{column}": write.get(column) for column in one.columns}


def _kernel(one: Lut) -> str:
    """The Python that is compiled for a LUT step, and which line stands for which column."""
    from dataclasses import replace

    from apsim.cam import lut_step
    from apsim.cam.plan import plan
    from apsim.encoding import encode
    from apsim.ops.steps import passes

    code = encode(list(passes(one, {name: k for k, name in enumerate(one.columns)})))
    pieces = plan(code).pieces
    if not pieces:
        return f"# {one.name} has one pass: the kernel `step` of apsim.cam.step carries it out"
    letters = zip(lut_step.NAMES, pieces[0].lines, strict=False)
    named = ", ".join(f"{letter} is {one.columns[line]}" for letter, line in letters)
    made = replace(pieces[0].lut_step, keep=False)
    return f"# {one.name}: {named}\n{lut_step.source(made).rstrip()}"


def _check(args: argparse.Namespace) -> int:
    from apsim import lut

    names = args.luts or lut.names()
    found = [_check_one(name) for name in names]
    print(f"{sum(not code for code, _ in found)} of {len(found)} LUTs are sound")
    rows = zip(names, found, strict=True)
    write_csv(args.csv, [{"LUT": name, "code": code, "said": said} for name, (code, said) in rows])
    return max(code for code, _ in found)


def _check_one(name: str) -> tuple[int, str]:
    """The exit code, and what is proved, or wrong."""
    from apsim import lut
    from apsim.lut.check import Unsound
    from apsim.lut.compiler import prove_minimal
    from apsim.lut.draw import proved

    try:
        one = lut.find(name)
        prove_minimal(one)
        lonely = lut.droppable(one)
    except Unsound as error:
        print(shown_lines(f"apsim: unsound: {error}"), file=sys.stderr)
        return 1, str(error)
    except LutError as error:
        print(shown_lines(f"apsim: error: {error}"), file=sys.stderr)
        return 2, str(error)
    said = proved(one) + (f"; pass {lonely[0]} can be dropped" if lonely else "")
    print(shown(f"{name}: {said}"))
    return 0, said


def _make(args: argparse.Namespace) -> int:
    from apsim.files import write_text
    from apsim.lut.compiler import solve
    from apsim.lut.draw import proved
    from apsim.lut.write import to_toml
    from apsim.report.bar import Working

    spec, outputs = _read_spec(args)
    with Working("seeking passes"):
        made = solve(spec, outputs, minimal=args.minimal)
    if args.output is None:
        print(to_toml(made), end="")
        return 0
    write_text(args.output, to_toml(made))
    wrote(args.output, f": {proved(made)}")
    return 0


def _read_spec(args: argparse.Namespace) -> tuple[Lut, tuple[str, ...]]:
    import re
    from dataclasses import replace
    from pathlib import Path

    from apsim.lut.reader import check_name, read_text, read_truth

    stem = re.sub(r"\W+", "_", Path(args.truth).stem.lower())
    spec, outputs = read_truth(read_text(args.truth), name=stem, origin=args.truth)
    name = args.name or spec.name
    check_name(name, "--name: ")
    return replace(spec, name=name), outputs


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    from apsim.report.screen import screen

    table = Table(*rows[0], header_style="bold")
    for row in rows[1:]:
        table.add_row(*row)
    console = screen()
    if not console.is_terminal:
        console.width = 2 * console.width  # a line for each, what is said of it included
    console.fit(table)
