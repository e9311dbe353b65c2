"""What `apsim import` and `apsim run` ask of judges: is the import right, does another agree?

The rule: a network file is held against an independent reading before anything is said
about it; a difference is exit code 1.
"""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

from apsim.errors import InputError, ModelError, shown_lines

if TYPE_CHECKING:
    from apsim.nn.importers import Imported, Options
    from apsim.nn.judges.against import Answers, Verdict
    from apsim.nn.judges.cases import Case
    from apsim.nn.judges.held import Held
    from apsim.nn.model import Model
    from apsim.nn.runtime import Run

__all__ = [
    "add_check_option", "add_import_options", "answers", "as_json", "held", "options_asked_of",
    "options_of", "told",
    "verdict",
]  # fmt: skip

FILES = (".onnx", ".tflite")
INPUT_SCALE = "the step of an ONNX input that a layer takes unquantized"


def positive(text: str) -> float:
    """A positive, finite number of a command line."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"wanted a positive number, got {text}")
    return value


def add_import_options(parser: argparse.ArgumentParser) -> None:
    """Add what an import may be asked for beside its rule."""
    add = parser.add_argument
    add("--input-scale", metavar="S", type=positive, help=INPUT_SCALE)
    add("--input-bits", metavar="B", type=int, default=8, help="its width, signed (default 8)")
    softmax = "ONNX: real (default) or ort-fused; the AP's own gives other integers (TFLite, too)"
    add("--rule-softmax", choices=("real", "ort-fused", "ap"), help=softmax)
    add("--rule-norm", choices=("real", "ap"), help="ONNX layer norms: real, or the AP's own")
    until = "end a TFLite network at this tensor and leave what follows to the host (repeatable)"
    add("--until", metavar="TENSOR", action="append", default=[], help=until)


def options_of(args: argparse.Namespace) -> Options:
    """What the command line asks of an import; raises `InputError`."""
    from apsim.nn.importers.options import Options

    return Options(
        args.input_scale, args.input_bits, args.rule_softmax or "", args.rule_norm or "",
        tuple(args.until),
    )  # fmt: skip


def options_asked_of(args: argparse.Namespace) -> Options | None:
    """The same where anything is asked for; None elsewhere, without a look at the importers."""
    plain = args.input_bits == 8 and args.input_scale is None
    more = args.rule_softmax or args.rule_norm or args.until
    return None if plain and not more else options_of(args)


def add_check_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that leaves the check of the import out."""
    parser.add_argument(
        "--no-import-check", action="store_true",
        help="do not hold the import against an independent reading of the file",
    )  # fmt: skip


def held(args: argparse.Namespace) -> Held | None:
    """Hold the import of a network file against a reading of it; None for other models.

    It is the import under the file's own rules that is held: what a file means is the same
    under each.
    """
    from apsim.files import suffix_of

    if args.no_import_check or suffix_of(args.model) not in FILES:
        return None
    from apsim.nn.judges.held import Held, hold
    from apsim.report.bar import Working

    try:
        imported = _imported(args, None, options_of(args).of_the_file)
    except ModelError as error:
        if args.rule is None:
            raise
        return Held(reason=str(error))
    with Working("holding the import against another reading"):
        return hold(
            args.model, imported.model, imported.origins, own=_own_or_none(args, imported.model)
        )


def _own_or_none(args: argparse.Namespace, model: Model) -> Case | None:
    """The user's own inputs, where they are one batch of the network's."""
    if not getattr(args, "input", None) or getattr(model, "states", None):
        return None
    return _own(args, model)


def told(args: argparse.Namespace) -> Held | None:
    """The same, printed."""
    found = held(args)
    if found is not None:
        print(shown_lines(found.line))
        other = options_of(args).others
        if other:
            print(f"the network is made under {other}, not under the file's own rules")
    return found


def _imported(
    args: argparse.Namespace, rule: str | None, options: Options | None = None
) -> Imported:  # fmt: skip
    from apsim.nn import importers
    from apsim.nn.zoo.sources import parse_shape

    return importers.read(
        args.model, rule=rule, shape=parse_shape(args.shape), options=options or options_of(args)
    )


def _own(args: argparse.Namespace, model: Model) -> Case:
    """The user's inputs, as the file takes them and as the network does."""
    from apsim.nn.judges import cases
    from apsim.nn.zoo import sources

    x, _ = sources.inputs(model, args.images, args.input, seed=args.seed)
    raw = sources.file_inputs(model, args.images, args.input) if args.input else None
    return cases.given(model, x, raw)


def answers(args: argparse.Namespace, model: Model) -> Answers | None:
    """What the judge of `--against` makes of the inputs, asked before any work of our own."""
    if args.against is None:
        return None
    from apsim.nn.judges import against, kinds
    from apsim.report.bar import Working

    if args.bits is not None:
        raise InputError("--against judges the widths of the file: leave --bits out")
    kinds.require(args.against, args.model)
    with Working(f"asking {args.against}"):
        return against.ask(args.against, args.model, _own(args, model))


def verdict(args: argparse.Namespace, given: Answers | None, run: Run) -> Verdict | None:
    """How a run compares with the judge's answers, printed."""
    if given is None:
        return None
    from apsim.nn.judges import against
    from apsim.report.run.agreement import agreement_lines

    origins = _imported(args, args.rule).origins
    found = against.compared(given, run.model, origins, run.tensors)
    print(shown_lines("\n".join(agreement_lines(found))))
    return found


def as_json(held: Held | None, verdict: Verdict | None) -> dict[str, Any]:
    """Both for the JSON of a run; None where nothing was asked."""
    return {
        "import_check": None if held is None else held.as_dict(),
        "against": None if verdict is None else verdict.as_dict(),
    }
