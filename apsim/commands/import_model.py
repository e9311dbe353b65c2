"""`apsim import`: an ONNX or TFLite model as the project's own integer network.

The rule: what became of every node is printed; nothing is approximated in silence.

Example: `apsim import model.onnx -o model.npz`
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from apsim.commands.judging import add_check_option, add_import_options, options_of, told
from apsim.commands.options import write_json, write_text
from apsim.errors import InputError

if TYPE_CHECKING:
    from apsim.nn.importers import Imported

__all__ = ["add_parser"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `import`."""
    parser = subparsers.add_parser(
        "import",
        help="import a quantized ONNX or TFLite model",
        description=__doc__.split("\n")[0]
        + " Needs the extra onnx or tflite: pip install 'apsim[onnx,tflite]'.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", nargs="?", help="an .onnx or .tflite file")
    add("-o", "--output", metavar="FILE", help="write the network as this .npz file")
    add("--survey", metavar="FOLDER", help="say of every model file below a folder what blocks it")
    add("--json", metavar="FILE", help="with --survey: write it as JSON")
    add("--csv", metavar="FILE", help="with --survey: write it as CSV, a line for each file")
    add("--rule", help="requantization: onnx-exact, ort-f32, tflite or dyadic(k,mode)")
    add("--shape", metavar="N,C,H,W", help="the input's shape, where the file leaves axes open")
    add_import_options(parser)
    add("--quiet", action="store_true", help="do not list the nodes")
    add_check_option(parser)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from apsim.errors import shown, shown_lines
    from apsim.nn import importers
    from apsim.nn.model import store
    from apsim.nn.zoo.sources import parse_shape
    from apsim.report.bar import Working

    if args.survey is not None:
        return _survey(args)
    for option in ("json", "csv"):
        if getattr(args, option) is not None:
            raise InputError(f"--{option} goes with --survey FOLDER")
    if args.model is None:
        raise InputError("wanted MODEL (an .onnx or .tflite file), or --survey FOLDER")
    with Working("reading"):
        imported = importers.read(
            args.model, rule=args.rule, shape=parse_shape(args.shape), options=options_of(args)
        )
    if args.output is not None:
        store.save(imported.model, args.output)
    if not args.quiet:
        print("\n".join(shown(fate) for fate in imported.fates))
    print(shown_lines(_summary(imported, args.output)))
    found = told(args)
    return 0 if found is None or found.passed else 1


def _survey(args: argparse.Namespace) -> int:
    """One line for each file as it is looked at, then what blocks most of them."""
    from apsim.files import require_writable
    from apsim.nn.importers import survey
    from apsim.report.survey import csv_of, file_line, json_of, ranking_lines

    if args.model is not None or args.output is not None:
        raise InputError("--survey FOLDER goes without a model and without -o")
    require_writable(args.json, args.csv)
    files = []
    for one in survey.survey(args.survey):
        print(file_line(one), flush=True)
        files.append(one)
    print("\n".join(ranking_lines(files)))
    write_json(args.json, lambda: json_of(files))
    write_text(args.csv, lambda: csv_of(files))
    return 0


def _summary(imported: Imported, path: str | None) -> str:
    """What came of the nodes, and what was written."""
    model = imported.model
    widths = sorted({bits for pair in model.bits for bits in pair})
    hosts = [layer.name for layer in model.layers if layer.host]
    lines = [
        f"{len(imported.fates)} nodes became {len(model.layers)} layers, "
        f"{len(model.weighted)} with weights, of {', '.join(map(str, widths))} bits, "
        f"rule {model.rule}",
    ]
    if hosts:
        lines.append(f"on the host under this rule: {', '.join(hosts)}")
    if path is not None:
        lines.append(f"wrote {path}")
    return "\n".join(lines)
