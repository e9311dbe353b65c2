"""`apsim run`: a quantized network on emulated APs, every layer checked.

The rule: exit code 0 only if every layer is bit-exact and every count is as predicted.

Example: `apsim run digits --images 1`
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from apsim.commands import judging
from apsim.commands.judging import add_check_option
from apsim.commands.options import (
    KINDS,
    add_array,
    add_broadcast,
    add_chip,
    add_cost,
    add_csv,
    add_json,
    add_output,
    add_requant,
    add_wide,
    require_cost,
    write_csv,
    write_json,
    wrote,
)  # fmt: skip
from apsim.errors import InputError

if TYPE_CHECKING:
    from apsim.nn.judges.against import Verdict
    from apsim.nn.judges.held import Held
    from apsim.nn.model import Model
    from apsim.nn.on_ap.chip import Chip
    from apsim.nn.runtime import Run

__all__ = ["add_chip_options", "add_parser", "chip_of"]

JUDGES = ("onnxruntime", "onnxruntime-plain", "reference", "litert")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `run`."""
    parser = subparsers.add_parser(
        "run", help="run a quantized network on emulated APs", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    known = "digits (default), digits-vit, a network of the literature such as resnet50, or a file"
    add("model", metavar="MODEL", nargs="?", default="digits", help=known)
    add("--images", metavar="N", type=int, help="how many images (default: 16 digits, else 1)")
    add("--input", metavar="FILE", help="inputs [N, ...] from an .npy or .npz file")
    add_output(parser, "write the outputs to an .npz file")
    add("--tensors", action="store_true", help="with --output: every tensor, by its name")
    add("--bits", metavar="B", help="widths: 8, 8,4,8 or hawq-low, ...")
    add("--rule", metavar="R", help="requantization rule (default: the model's own)")
    add("--shape", metavar="N,C,H,W", help="the input's shape, where an ONNX file leaves axes open")
    judging.add_import_options(parser)
    add_requant(parser)
    add("--seed", metavar="S", type=int, default=0, help="seed of random weights and images")
    compared = "compare all values with the exact twin (default), or some channels of each layer"
    add("--check", choices=("all", "sample"), default="all", help=compared)
    add("--against", choices=JUDGES, help="compare every layer with another reading of the file")
    add_check_option(parser)
    add_json(parser, "the run")
    add_csv(parser, "the layers")
    add("--checkpoint", metavar="FILE", help="write what is done after each layer")
    add("--resume", metavar="FILE", help="go on from a checkpoint, which is kept up to date")
    add("--steps", metavar="T", type=int, help="steps of a streaming network (default: all given)")
    add("--state", metavar="FILE", help="where a stream was left: read if there, then written")
    add("--schedule", metavar="FILE", help="batches under changing budgets (TOML), widths switched")
    add_chip_options(parser)
    add_cost(parser)
    add_wide(parser)
    parser.set_defaults(run=_run)


def add_chip_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose chip, AP kind and engine."""
    add = parser.add_argument
    add("--ap", choices=KINDS, help="AP kind (default: the chip's; 2d, as in the paper)")
    add("--tag-chain", action="store_true", help="a chain across the column tags (extra hardware)")
    add_chip(parser)
    add("--rows", type=int, help="rows of a CAP (default: the chip's)")
    add("--columns", type=int, help="physical columns of a CAP (default: the chip's)")
    add("--engine", default="fused", help="fused (default), strict, or dense (the definition)")
    add("--threads", type=int, default=2, help="threads of the emulator (default 2)")
    laid = "how products of weights are laid out: im2col (default), weights in the program, or auto"
    add("--mapping", choices=("im2col", "weights", "auto"), default="im2col", help=laid)
    add_broadcast(parser)
    add("--literal", action="store_true", help="every load on an array of its own, one by one")
    add_array(parser)


def chip_of(args: argparse.Namespace) -> Chip:
    """The chip that the options name; raises `InputError`."""
    from apsim import cost
    from apsim.nn.on_ap.chip import Chip

    kind = args.ap or cost.chip(args.chip).ap
    if args.tag_chain and not kind.endswith("-tc"):
        if kind == "1d":
            raise InputError("--tag-chain: the 1d AP has no column tags; it goes with 2d or 2d-seg")
        kind += "-tc"
    return Chip.preset(
        args.chip, ap=kind, engine=args.engine, threads=args.threads, literal=args.literal,
        rows=args.rows, columns=args.columns, requant=getattr(args, "requant", "host"),
        mapping=args.mapping, cost=getattr(args, "cost", None) or "energy",
        broadcast=args.broadcast, array=args.array,
    )  # fmt: skip


def _run(args: argparse.Namespace) -> int:
    from apsim.files import require_writable
    from apsim.nn.zoo import sources

    require_writable(args.json, args.csv, args.output, args.checkpoint)
    if args.schedule:
        return _stream(args)
    if args.tensors and not args.output:
        raise InputError("--tensors goes with --output FILE, which the tensors are written to")
    require_cost(args)
    chip = chip_of(args)
    model = sources.model(
        args.model, bits=args.bits, rule=args.rule, seed=args.seed,
        shape=sources.parse_shape(args.shape), options=judging.options_asked_of(args),
    )  # fmt: skip
    if model.states:
        return _streamed(args, model, chip)
    for option in ("steps", "state"):
        if getattr(args, option) is not None:
            raise InputError(f"--{option}: model {model.name!r} keeps no state from step to step")
    x, labels = sources.inputs(model, args.images, args.input, seed=args.seed)
    theirs = judging.answers(args, model)
    held = judging.told(args)
    if held is not None and not held.passed:
        return 1
    done = _watched(args, model, x, chip, labels)
    _show(done)
    verdict = judging.verdict(args, theirs, done)
    _write(done, args, held, verdict)
    return 0 if done.passed and (verdict is None or verdict.agreed) else 1


def _streamed(args: argparse.Namespace, model: Model, chip: Chip) -> int:
    """A streaming network: one step after the other, its state kept."""
    from apsim.files import require_writable
    from apsim.nn import streaming
    from apsim.nn.zoo import sources
    from apsim.report.run.progress import Bar

    for option in ("images", "checkpoint", "resume", "against"):
        if getattr(args, option) is not None:
            raise InputError(f"--{option} does not go with a network that keeps a state")
    require_writable(args.state)
    steps = sources.steps(model, args.input, args.steps)
    state = streaming.read_state(args.state, model) if args.state else None
    held = judging.told(args)
    if held is not None and not held.passed:
        return 1
    with Bar(model, len(steps), chip) as bar:
        done = streaming.run(
            model, steps, chip, state=state, check=args.check, watcher=bar,
            keep="all" if args.tensors else "outputs",
        )  # fmt: skip
    _show(done.run)
    _write(done.run, args, held)
    if args.state:
        streaming.write_state(args.state, model, done.state)
        wrote(args.state)
    return 0 if done.run.passed else 1


def _stream(args: argparse.Namespace) -> int:
    """Batch after batch at the widths that each budget allows."""
    from apsim.cost.technology import technology
    from apsim.nn import schedule
    from apsim.nn.zoo import calibration, sources
    from apsim.report.bar import Working
    from apsim.report.run import schedule as shown
    from apsim.report.screen import screen

    for option in ("bits", "images", "output", "against", "checkpoint", "resume"):
        if getattr(args, option) is not None:
            raise InputError(f"--schedule goes without --{option}: the schedule says it")
    planned = schedule.read_schedule(args.schedule)
    model = sources.model(args.model, rule=args.rule, seed=args.seed)
    images = calibration.test_images(model, args.input)
    took = []
    with Working("images", sum(batch.images for batch in planned.batches)) as bar:
        for one in schedule.stream(
            model, planned, images, lambda: chip_of(args), technology("sram"), check=args.check
        ):
            took.append(one)
            bar.advance(one.batch.images)
    screen().fit(shown.schedule_table(model, took), shown.DROPPED)
    print("\n".join(shown.schedule_lines(took)))
    whole = shown.schedule_json(model, took)
    write_json(args.json, lambda: whole)
    write_csv(args.csv, whole["batches"])
    return 0 if all(one.passed for one in took) else 1


def _watched(
    args: argparse.Namespace, model: Model, x: dict[str, Any], chip: Chip, labels: Any
) -> Run:
    """Run with a progress bar; an interruption says what is kept."""
    from apsim.nn import runtime
    from apsim.report.run.progress import Bar

    save = args.checkpoint or args.resume
    with Bar(model, len(next(iter(x.values()))), chip) as bar:
        try:
            return runtime.run(
                model, x, chip, labels=labels, check=args.check, watcher=bar,
                keep="all" if args.tensors or args.against else "outputs",
                save=save, resume=args.resume,
            )  # fmt: skip
        except KeyboardInterrupt as stop:
            raise type(stop)(bar.left_by(save)) from stop


def _show(run: Run) -> None:
    from apsim.report.run.tables import DROPPED, run_lines, run_table
    from apsim.report.screen import screen

    console = screen()
    console.fit_one(lambda short: run_table(run, short=short), DROPPED)
    for line in run_lines(run):
        console.say(line)


def _write(
    run: Run, args: argparse.Namespace, held: Held | None = None, verdict: Verdict | None = None
) -> None:
    from apsim.report.run.tables import run_json

    if args.output:
        _save_outputs(run, args.output, args.tensors)
    write_json(args.json, lambda: {**run_json(run), **judging.as_json(held, verdict)})
    write_csv(args.csv, run.table())


def _save_outputs(run: Run, path: str, tensors: bool) -> None:
    import numpy as np

    from apsim.files import replacing
    from apsim.nn.model.inputs import in_file

    names = run.tensors if tensors else run.model.outputs
    arrays: dict[str, Any] = {name: run.tensors[name] for name in names}
    if not run.model.states:
        arrays = {name: in_file(run.model, name, values) for name, values in arrays.items()}
    with replacing(path) as stream:
        np.savez_compressed(stream, **arrays)
    wrote(path)
