"""`apsim run`: a quantized network on emulated APs, every layer checked.

The rule: exit code 0 only if every layer is bit-exact and every count is as predicted.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from apsim.errors import InputError

if TYPE_CHECKING:
    from apsim.nn.chip import Chip
    from apsim.nn.model import Model
    from apsim.nn.runtime import Run

__all__ = ["add_parser"]

KINDS = ("1d", "2d", "2d-seg", "2d-tc", "2d-seg-tc")
WIDE = 150


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `run`."""
    parser = subparsers.add_parser(
        "run", help="run a quantized network on emulated APs", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    add("model", metavar="MODEL", nargs="?", default="digits", help="a bundled network or a file")
    add("--images", metavar="N", type=int, default=16, help="how many images (default 16)")
    add("--input", metavar="FILE", help="inputs [N, ...] from an .npy or .npz file")
    add("--output", metavar="FILE", help="write the outputs to an .npz file")
    add("--tensors", action="store_true", help="with --output: every tensor, by its name")
    add("--ap", choices=KINDS, default="2d", help="AP kind (default 2d, as in the paper)")
    add("--tag-chain", action="store_true", help="a chain across the column tags (extra hardware)")
    add(
        "--bits",
        metavar="B",
        help="widths of all layers, or one for each: 8,4,8 (default: as stored)",
    )
    add("--chip", default="bf-imna-lr", help="a chip by name (default bf-imna-lr)")
    add("--rows", type=int, help="rows of a CAP (default: the chip's)")
    add("--columns", type=int, help="physical columns of a CAP (default: the chip's)")
    add("--engine", default="strict", help="strict (default), dense or fused")
    add("--threads", type=int, default=2, help="threads of the emulator (default 2)")
    add("--literal", action="store_true", help="every load on an array of its own, one by one")
    add("--json", metavar="FILE", help="write the run as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from apsim.files import write_json
    from apsim.nn import runtime
    from apsim.report.runs import run_json

    model = _model(args)
    images, labels = _images(args, model)
    chip = _chip(args)
    with _Progress(model, len(images)) as progress:
        done = runtime.run(model, images, chip, labels=labels, progress=progress.advance)
    _show(done)
    if args.output:
        _save_outputs(done, args.output, args.tensors)
    if args.json:
        write_json(args.json, run_json(done))
        print(f"wrote {args.json}")
    return 0 if done.passed else 1


def _model(args: argparse.Namespace) -> Model:
    from apsim import nn

    model = nn.load(args.model)
    return model if args.bits is None else model.at(_widths(args.bits))


def _widths(text: str) -> int | list[int]:
    parts = text.split(",")
    if not all(part.strip().isdigit() for part in parts):
        raise InputError(f"--bits: wanted numbers such as 8 or 8,4,8, got {text!r}")
    widths = [int(part) for part in parts]
    return widths[0] if len(widths) == 1 else widths


def _images(args: argparse.Namespace, model: Model) -> tuple[Any, Any]:
    """Quantized inputs and labels (None where inputs came from a file)."""
    from apsim.nn import datasets, real

    if args.input:
        return _from_file(args.input, model), None
    if model.name != "digits":
        raise InputError(f"model {model.name!r} has no images of its own: give some with --input")
    digits = datasets.digits()
    if not 1 <= args.images <= len(digits):
        raise InputError(f"--images: wanted 1 to {len(digits)}, got {args.images}")
    return real.quantize(model, digits.images[: args.images]), digits.labels[: args.images]


def _from_file(path: str, model: Model) -> Any:
    import numpy as np

    from apsim.nn import real

    try:
        with open(path, "rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            values = loaded if isinstance(loaded, np.ndarray) else loaded[_only(path, loaded.files)]
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read inputs from {path}: {error}") from error
    return real.quantize(model, values) if values.dtype.kind == "f" else values


def _only(path: str, names: list[str]) -> str:
    if len(names) != 1:
        raise InputError(f"{path}: wanted one array, found {', '.join(names) or 'none'}")
    return names[0]


def _chip(args: argparse.Namespace) -> Chip:
    from apsim.nn.chip import Chip

    kind = args.ap
    if args.tag_chain and not kind.endswith("-tc"):
        if kind == "1d":
            raise InputError("--tag-chain: the 1d AP has no column tags; it goes with 2d or 2d-seg")
        kind += "-tc"
    return Chip.preset(
        args.chip, ap=kind, engine=args.engine, threads=args.threads, literal=args.literal,
        rows=args.rows, columns=args.columns,
    )  # fmt: skip


def _show(run: Run) -> None:
    from rich.console import Console

    from apsim.report.runs import run_lines, run_table

    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDE)
    console.print(run_table(run))
    for line in run_lines(run):
        console.print(line, highlight=False, soft_wrap=True)


def _save_outputs(run: Run, path: str, tensors: bool) -> None:
    import numpy as np

    from apsim.files import replacing

    names = run.tensors if tensors else run.model.outputs
    with replacing(path) as stream:
        arrays: dict[str, Any] = {name: run.tensors[name] for name in names}
        np.savez_compressed(stream, **arrays)
    print(f"wrote {path}")


class _Progress:
    """A bar over the multiplications of a run; silent where nobody looks."""

    def __init__(self, model: Model, images: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        from apsim.nn.execute import macs

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        total = sum(macs(model, layer, images) for layer in model.layers)
        self._task = self._bar.add_task(model.name, total=total)

    def advance(self, layer: Any, done: int) -> None:
        """Note `done` multiplications of a layer."""
        self._bar.update(self._task, advance=done, description=layer.name)

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
