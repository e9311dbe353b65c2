"""Proofs by others: a look-up table or a whole operation, for every state at once, by SAT.

The rule: what is proved is what the array runs, the passes of a table or the steps of a
program; what it must equal is written in Verilog's own arithmetic.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import perf_counter

import numpy as np

from apsim.errors import InputError
from apsim.files import write_text
from apsim.functions import Function
from apsim.lut.model import Lut, State
from apsim.rtl import tools
from apsim.rtl.symbolic import Circuit, Place

__all__ = ["OPERATIONS", "Proof", "prove_lut", "prove_operation"]

SOLVE = "read_verilog -sv {file}; proc; opt; sat -show-inputs -prove ok 1 top"
MODEL = re.compile(r"^\s+\\(\w+)\s+\S+\s+\S+\s+([01x]+)\s*$", re.M)


@dataclass(frozen=True)
class Proof:
    """Whether it holds, the inputs for which it does not (bits by name), and the time taken."""

    holds: bool
    counterexample: dict[str, str]
    seconds: float


@dataclass(frozen=True)
class Specified:
    """What an operation must give, in Verilog, from the signed names of its operands' words."""

    result: Callable[[Sequence[Sequence[str]], int], str]
    most_bits: int = 64


OPERATIONS = {
    "add": Specified(lambda x, w: f"{x[0][w]} + {x[1][w]}", 62),
    "subtract": Specified(lambda x, w: f"{x[1][w]} - {x[0][w]}", 62),
    "multiply": Specified(lambda x, w: f"{x[0][w]} * {x[1][w]}", 8),  # 8 bits take two minutes
    "maximum": Specified(lambda x, w: f"{x[0][w]} > {x[1][w]} ? {x[0][w]} : {x[1][w]}", 62),
    "minimum": Specified(lambda x, w: f"{x[0][w]} < {x[1][w]} ? {x[0][w]} : {x[1][w]}", 62),
    "relu": Specified(lambda x, w: f"{x[0][w]} > 0 ? {x[0][w]} : 0", 62),
    "reduce": Specified(lambda x, _: " + ".join(x[0]), 16),
}
"""Operations whose results are specified here, by their names in `apsim.functions`."""


def prove_lut(lut: Lut, folder: Path) -> Proof:
    """Prove that the passes carry out the truth on every reachable state, cells marked x apart.

    As `apsim.lut.check.prove`, also that what a bit leaves in the per-word columns is met by
    the next.  `folder` gets the Verilog, lut_NAME.v.  Raises `InputError` where yosys is missing.
    """
    proof = _solve(_lut_text(lut), folder, f"lut_{lut.name}.v")
    bits = proof.counterexample.get("s", "")
    named = dict(zip(lut.columns, reversed(bits), strict=False))
    return Proof(proof.holds, named, proof.seconds)


def prove_operation(
    name: str, function: Function, shapes: Sequence[tuple[int, ...]], folder: Path
) -> Proof:
    """Prove that a function's own program gives what is specified, for all operands.

    `shapes` are the shapes of its operands; `folder` gets NAME.v.  Raises `InputError`
    where yosys is missing or the words are too wide to be tried.
    """
    known = OPERATIONS[name]
    bits = function.layout[function.inputs[0]].width
    if bits > known.most_bits:
        raise InputError(f"{name}: a proof is tried up to {known.most_bits} bits, got {bits}")
    return _solve(_operation_text(known, function, shapes), folder, f"{name}.v")


def _solve(text: Iterable[str], folder: Path, name: str) -> Proof:
    tools.find("yosys")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / name, "\n".join(text) + "\n")
    command = ["yosys", "-p", SOLVE.format(file=name)]
    start = perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = perf_counter() - start
    holds, failed = (f"model found: {word}!" in done.stdout for word in ("SUCCESS", "FAIL"))
    if not holds and not failed:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise InputError(f"yosys gave up: {lines[-1] if lines else 'no message'}")
    return Proof(holds, dict(MODEL.findall(done.stdout)) if failed else {}, seconds)


def _lut_text(lut: Lut) -> Iterator[str]:
    """A module whose `ok` says that state `s` (bit k is column k) becomes what the truth says."""
    count = len(lut.columns)
    yield f"module top(input [{count - 1}:0] s, output ok);"
    now = {name: f"s[{k}]" for k, name in enumerate(lut.columns)}
    for number, step in enumerate(lut.passes):
        keyed = [f"{'' if bit else '~'}{now[name]}" for name, bit in step.key]
        yield f"wire t{number} = {' & '.join(keyed) or 1};"
        for name, bit in step.write:
            new = f"p{number}_{lut.columns.index(name)}"
            yield f"wire {new} = {now[name]} {'|' if bit else '& ~'} t{number};"
            now[name] = new
    for number, state in enumerate(lut.reachable):
        yield f"wire r{number} = s != {_constant(state)} | ({_meets(lut, state, now)});"
    walk = " | ".join(
        f"{_joined([now[name] for name in lut.per_word])} == {_constant(met)}"
        for met in sorted(_met(lut))
    )
    reached = " | ".join(f"s == {_constant(state)}" for state in lut.reachable)
    yield f"wire walk = ~({reached}) | {walk if lut.per_word else 1};"
    yield f"assign ok = {' & '.join(f'r{k}' for k in range(len(lut.reachable)))} & walk;"
    yield "endmodule"


def _meets(lut: Lut, state: State, now: dict[str, str]) -> str:
    wanted = lut.truth[state] or ()
    bits = [
        f"{'' if bit else '~'}{now[name]}"
        for name, bit in zip(lut.columns, wanted, strict=True)
        if (state, name) not in lut.free
    ]
    return " & ".join(bits) or "1"


def _met(lut: Lut) -> set[State]:
    """What the per-word columns hold in the reachable states."""
    places = [lut.columns.index(name) for name in lut.per_word]
    return {tuple(state[k] for k in places) for state in lut.reachable}


def _constant(bits: State) -> str:
    return f"{len(bits)}'b{''.join(map(str, reversed(bits)))}"


def _joined(names: Sequence[str]) -> str:
    return "{" + ", ".join(reversed(names)) + "}"


def _operation_text(
    known: Specified, function: Function, shapes: Sequence[tuple[int, ...]]
) -> Iterator[str]:
    """A module whose `ok` says that every result is what is specified of operands x0_0, x0_1..."""
    fields = [function.layout[name] for name in function.inputs[: len(shapes)]]
    words = [
        [f"x{operand}_{word}" for word in range(int(np.prod(shape)))]
        for operand, shape in enumerate(shapes)
    ]
    named = [(field, name) for field, names in zip(fields, words, strict=True) for name in names]
    ports = ", ".join(f"input [{field.width - 1}:0] {name}" for field, name in named)
    yield f"module top({ports}, output ok);"
    circuit = Circuit(function.rows, function.columns, _wiring(function, shapes))
    circuit.run(function.program)
    yield from circuit.text
    width = function.output.width
    wide = sum(field.width for field in fields) + width + len(named)  # no result is cut off
    for field, name in named:
        value = f"{{1'b0, {name}}}" if field.kind == "u" else name
        yield f"wire signed [{wide}:0] e{name} = $signed({value});"
    extended = [[f"e{name}" for name in names] for names in words]
    for number, place in enumerate(function.places):
        bits = [circuit.out[0, int(place), k] for k in range(width)]
        yield f"wire signed [{wide}:0] w{number} = {known.result(extended, number)};"
        yield f"wire ok{number} = {_joined(bits)} == w{number}[{width - 1}:0];"
    yield f"assign ok = {' & '.join(f'ok{k}' for k in range(len(function.places)))};"
    yield "endmodule"


def _wiring(function: Function, shapes: Sequence[tuple[int, ...]]) -> dict[Place, str]:
    """Where each bit of each operand goes, found by setting it alone; other bits stay 0."""
    zeros = [np.zeros(shape, np.int64) for shape in shapes]
    if function.words(*zeros).any():
        raise InputError(f"{function.name}: words must be patterns of 0 for 0 to be proved")
    wiring: dict[Place, str] = {}
    for operand, zero in enumerate(zeros):
        field = function.layout[function.inputs[operand]]
        for word, bit in product(range(zero.size), range(field.width)):
            alone = [zero.copy() for zero in zeros]
            top = field.kind != "u" and bit == field.width - 1
            alone[operand].flat[word] = -(1 << bit) if top else 1 << bit
            data = function.words(*alone)
            for port, row in zip(*np.nonzero(data), strict=True):
                place = int(data[port, row]).bit_length() - 1
                wiring[int(port), int(row), place] = f"x{operand}_{word}[{bit}]"
    return wiring
