"""`apsim rtl`: a program as SystemVerilog, run against the emulator clock by clock, and proved.

The rule: what is exported is the program that an ordinary run executes, on the cells and
words that it gets; a circuit that does anything else is a failed check (exit code 1).

Example: `apsim rtl add --rows 8 -o add`
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apsim.commands.debug import add_target, wanted
from apsim.commands.options import add_technology, write_json, wrote
from apsim.errors import InputError, shown

if TYPE_CHECKING:
    from apsim.rtl import Export, Load
    from apsim.rtl.prove import Proof
    from apsim.rtl.simulate import Outcome

__all__ = ["add_parser"]

BITS = {"multiply": 4, "reduce": 4}
"""Bits of a word where nobody says: proofs of these grow fast."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `rtl`."""
    parser = subparsers.add_parser(
        "rtl", help="export as SystemVerilog, run and prove it", description=__doc__.split("\n")[0]
    )
    add_target(parser, many="*")
    parser.set_defaults(bits=None)
    add = parser.add_argument
    add("-o", "--output", metavar="DIR", help="the folder to write (with --prove: for its Verilog)")
    add("--force", action="store_true", help="write into a folder that is there")
    add("--run", dest="simulate", action="store_true", help="build, run, compare every clock")
    add("--simulator", choices=("icarus", "verilator", "both"), help="default: what is there")
    add("--trace", action="store_true", help="with --run and -o: waves too, DIR/ap.vcd")
    add("--end-only", action="store_true", help="compare the end in place of every clock")
    add("--repeat", metavar="N", type=int, default=0, help="with --run: N times more, for speed")
    add_technology(parser, None)
    add("--json", metavar="FILE", help="write what came as JSON")
    add("--prove", metavar="LUT|OPERATION", help="prove it with yosys; `luts` proves all LUTs")
    add("--area", action="store_true", help="gates of 1D and 2D cells by yosys")
    add("--columns", metavar="N", type=int, default=16, help="with --area (default 16)")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    from apsim.files import require_writable

    require_writable(args.json)
    tasks = [bool(args.target), args.prove is not None, args.area]
    if sum(tasks) != 1:
        raise InputError("wanted one of TARGET, --prove LUT|OPERATION and --area")
    if args.target:
        return _export(args)
    return _area(args) if args.area else _prove(args)


def _export(args: argparse.Namespace) -> int:
    from apsim.rtl import export, write

    _refuse_idle(args)
    made = export(_load(args), _write_clocks(args.tech), not args.end_only)
    with _folder(args) as folder:
        write(made, folder)
        if args.output:
            wrote(folder, f" ({made.expected.counts}; {made.clocks} clocks)")
        if not made.expected.whole and not args.end_only:
            _warn("a trace of every clock is above 16 MiB: only the end is compared")
        outcomes = _simulate(args, made, folder) if args.simulate else []
        for outcome in outcomes:
            _show(made, outcome)
        if args.trace:
            wrote(folder / "ap.vcd")
    write_json(args.json, lambda: _as_json(made, outcomes))
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def _refuse_idle(args: argparse.Namespace) -> None:
    """Refuse options that would do nothing."""
    if not args.output and not args.simulate:
        raise InputError("wanted -o DIR, --run, or both")
    if not args.simulate and (args.trace or args.repeat or args.simulator):
        raise InputError("--simulator, --trace and --repeat say how to --run: wanted that, too")
    if args.trace and (args.repeat or not args.output):
        raise InputError("--trace writes the waves of one run to DIR: wanted -o, and no --repeat")
    if args.repeat < 0:
        raise InputError(f"--repeat: wanted 0 or more, got {args.repeat}")


def _simulate(args: argparse.Namespace, made: Export, folder: Path) -> list[Outcome]:
    from apsim.report.bar import Working
    from apsim.rtl.simulate import LONG, choose, expected_seconds, simulate

    try:
        names = choose(args.simulator)
    except InputError as error:
        where = f"; the folder is complete: {folder}/run" if args.output else ""
        raise InputError(f"{error}{where}") from None
    for name in names:
        if (seconds := expected_seconds(name, made)) > LONG:
            size = f"{made.load.rows} rows in {made.code.segments} segments"
            _warn(f"{size}: {name} builds and runs for about {seconds:.0f} s")
    with Working(f"running {', '.join(names)}"):
        return [simulate(folder, name, repeat=args.repeat, waves=args.trace) for name in names]


def _warn(text: str) -> None:
    print(f"apsim: warning: {text}", file=sys.stderr)


def _load(args: argparse.Namespace) -> Load:
    from apsim.commands.trace import is_whole_network
    from apsim.debug.targets import open_target
    from apsim.rtl import Load

    if is_whole_network(args):
        raise InputError(
            f"a whole network is many programs: name a layer as {args.target[0]}:LAYER, and with "
            "--load which of its loads"
        )
    args.bits = 8 if args.bits is None else args.bits
    session = open_target(wanted(args))
    if any(edit.point for edit in session.tape.edits):
        raise InputError(f"{args.target[0]}: cells set by hand on the way are no part of a program")
    session.go_to(0)
    return Load(session.program, session.machine.cam.peek(), session.tape.data, session.tape.out)


def _write_clocks(name: str | None) -> int:
    """Clocks of a write in a technology whose compares and reads take one."""
    if name is None:
        return 1
    from apsim.cost import technology

    found = technology(name)
    clocks = int(found.write_cycles)
    if (found.compare_cycles, found.read_cycles, clocks) != (1, 1, found.write_cycles):
        raise InputError(
            f"{name}: wanted compares and reads of 1 cycle and writes of whole cycles, got "
            f"{found.compare_cycles:g}, {found.read_cycles:g} and {found.write_cycles:g}"
        )
    return clocks


@contextmanager
def _folder(args: argparse.Namespace) -> Iterator[Path]:
    """The folder to write: the one named, or one that is gone afterwards."""
    from tempfile import TemporaryDirectory

    if not args.output:
        with TemporaryDirectory() as name:
            yield Path(name)
        return
    folder = Path(args.output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is there and is no folder")
    if folder.is_dir() and any(folder.iterdir()) and not args.force and not _may_replace(folder):
        raise InputError(f"{folder} is there and not empty: --force writes into it")
    yield folder


def _may_replace(folder: Path) -> bool:
    """Ask, where somebody is there to answer; nothing but an export is offered."""
    from apsim.rtl.folder import is_export

    if not sys.stdin.isatty() or not is_export(folder):
        return False
    return input(f"{folder} holds an export: replace it? [y/N] ").strip().lower() in ("y", "yes")


def _show(made: Export, outcome: Outcome) -> None:
    """What a simulator said, in a line, and where it failed."""
    from apsim.report.screen import screen

    say = screen().say
    load, writes = made.load, f"{outcome.writes} writes"
    if made.write_clocks != 1:
        writes = f"{made.write_clocks} x {writes}"
    verdict = "PASS" if outcome.passed else "FAIL"
    say(
        f"{outcome.simulator} {outcome.version}: {verdict}  {outcome.clocks} clocks = "
        f"{outcome.compares} compares + {writes} + {outcome.reads} reads; "
        f"{outcome.toggles} toggles, {made.expected.flips} flips; "
        f"{load.rows} rows x {load.columns} columns"
    )
    speed = outcome.ran_clocks / outcome.run_seconds
    say(
        f"  built in {outcome.build_seconds:.1f} s, ran {outcome.ran_clocks} clocks in "
        f"{outcome.run_seconds:.2f} s ({speed:,.0f} clocks a second)"
    )
    for clock, step, pc, what in outcome.failures:
        known = 0 <= pc < len(made.code.listing)
        listed = shown(made.code.listing[pc].step) if known else "no word"
        say(f"  clock {clock}, step {step}: {what} differ after word {pc}: {listed}")


def _as_json(made: Export, outcomes: list[Outcome]) -> dict[str, Any]:
    from dataclasses import asdict

    from apsim.rtl.microcode import segments_are_contiguous

    load, expected = made.load, made.expected
    return {
        "schema": "apsim.rtl/1",
        "program": shown(load.program.name),
        "rows": load.rows,
        "columns": load.columns,
        "segments": made.code.segments,
        "segments_contiguous": segments_are_contiguous(load.program),
        "counts": expected.counts.as_dict(),
        "write_clocks": made.write_clocks,
        "clocks": made.clocks,
        "flips": expected.flips,
        "compared": "every clock" if expected.whole else "the end",
        "simulators": [asdict(outcome) for outcome in outcomes],
    }


def _area(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from apsim.report.bar import Working
    from apsim.rtl.area import CAVEATS, areas

    with Working("synthesising"):
        found = list(areas(64 if args.rows is None else args.rows, args.columns))
    first = found[0]
    print(f"yosys, {first.rows} rows x {first.columns} columns:")
    for area in found:
        print(
            f"  {area.kind:6s} {area.gates:7d} gates, {area.gates / area.bits:5.1f} a bit "
            f"(x {area.gates / first.gates:.2f}); cmos4 {area.cmos4:7d}, "
            f"{area.cmos4 / area.bits:5.1f} a bit (x {area.cmos4 / first.cmos4:.2f})"
        )
    for caveat in CAVEATS:
        print(f"  {caveat}")
    areas_of = [asdict(area) for area in found]
    whole = {"schema": "apsim.rtl.areas/1", "areas": areas_of, "caveats": CAVEATS}
    write_json(args.json, lambda: whole)
    return 0


def _prove(args: argparse.Namespace) -> int:
    """Prove all that goes by a name: a LUT, an operation, or both."""
    from apsim import lut
    from apsim.debug.targets import ALIASES
    from apsim.rtl.prove import OPERATIONS

    name, operation = args.prove, ALIASES.get(args.prove, args.prove)
    is_lut = name in lut.names() or name.endswith(".toml")
    tables = lut.names() if name == "luts" else (name,) * is_lut
    if not tables and operation not in OPERATIONS:
        known = ", ".join(OPERATIONS)
        raise InputError(f"--prove: wanted a LUT, luts, or one of {known}, got {name!r}")
    with _folder(args) as folder:
        proofs = [_prove_table(table, folder) for table in tables]
        if operation in OPERATIONS:
            proofs.append(_prove_operation(args, operation, folder))
    write_json(args.json, lambda: {"schema": "apsim.rtl.proofs/1", "proofs": proofs})
    return 0 if all(proof["holds"] for proof in proofs) else 1


def _prove_table(name: str, folder: Path) -> dict[str, Any]:
    """Prove a LUT, sound or not, beside what apsim itself finds."""
    from apsim import lut
    from apsim.lut.check import Unsound, prove
    from apsim.lut.reader import read, read_text
    from apsim.rtl.prove import prove_lut

    path = lut.catalog.path_of(name)
    table, verdict = read(read_text(path), str(path)), "sound"
    try:
        prove(table)
    except Unsound:
        verdict = "unsound"
    try:
        proof = prove_lut(table, folder)
    except InputError as error:
        raise InputError(f"{error}; apsim's own check of {name}: {verdict}") from None
    what = f"LUT {table.name}: {len(table.reachable)} states, {len(table.passes)} passes"
    return _told(what, proof, f"; apsim's own check: {verdict}")


def _prove_operation(args: argparse.Namespace, name: str, folder: Path) -> dict[str, Any]:
    from apsim.debug.targets import OPERATIONS
    from apsim.report.bar import Working
    from apsim.rtl.prove import prove_operation

    known = OPERATIONS[name]
    words = (4 if name == "reduce" else 1) if args.rows is None else args.rows
    bits = BITS.get(name, 8) if args.bits is None else args.bits
    function = known.build(bits, words, args.ap)
    with Working(f"proving {name}"):
        proof = prove_operation(name, function, [known.shape(words)] * len(known.operands), folder)
    what = f"{name}, {bits} bits, {words} word{'s' * (words > 1)}, {args.ap}"
    return _told(f"{what}: {function.program.counts()}, all operands", proof, "")


def _told(what: str, proof: Proof, more: str) -> dict[str, Any]:
    from dataclasses import asdict

    print(f"{what}: {'proved' if proof.holds else 'REFUTED'} in {proof.seconds:.2f} s{more}")
    if not proof.holds:
        print("  not so for " + " ".join(f"{n} = {b}" for n, b in proof.counterexample.items()))
    return {"what": what + more, **asdict(proof)}
