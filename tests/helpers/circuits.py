"""Loads to export, and folders to run: what the tests of circuits share."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apsim import functions, lut
from apsim.ap_kind import ApKind
from apsim.debug.targets import Wanted, open_target
from apsim.errors import InputError
from apsim.functions import Function, Recipe, micro
from apsim.program import Gate, Item, Loop, Microprogram, Mode, Op, Step
from apsim.rtl import Export, Load, export, tools, write

KINDS = [kind.value for kind in ApKind]
RECIPE = Recipe(
    bits=6, signed=True, width=10, lo=-8, hi=7, multiplier=3, multiplier_bits=2, shift=2
)


def needs(tool: str) -> None:
    """Skip where a tool is missing or too old, and say which version is wanted."""
    try:
        tools.find(tool)
    except InputError as error:
        pytest.skip(str(error))


def all_functions(kind: str) -> Iterator[tuple[str, Function]]:
    """Every function, small, on an AP kind; maxima of windows by every scheme."""
    on: dict[str, Any] = {"kind": kind}
    yield "add", functions.add(5, 9, **on)
    yield "subtract", functions.subtract(5, 9, words="o", **on)
    yield "multiply", functions.multiply(3, 9, bits_b=4, words="s", words_b="s", **on)
    yield "maximum", functions.maximum(5, 9, words="s", **on)
    yield "minimum", functions.minimum(5, 9, **on)
    yield "relu", functions.relu(6, 9, **on)
    yield "reduce", functions.reduce(3, 11, clear=True, **on)
    yield "dot", functions.dot(2, 5, clear=True, **on)
    yield "matmul", functions.matmul(2, 2, 3, 2, words_b="s", **on)
    yield "merge", functions.merge(4, 3, 3, 6, **on)
    yield "average pool", functions.average_pool(2, 5, 2, divide="multiply", clear=True, **on)
    yield "table", micro.table([5, 0, 7, 7, 1, 2, 3, 4], 3, 3, 9, **on)
    yield "requantize", functions.requantize(RECIPE, 9, **on)
    yield "softmax", functions.softmax([255, 94, 35, 13], 2, 3, 2, **on)
    yield "layer norm", functions.layer_norm(2, 4, 2, broadcast="rows", **on)
    yield "RMS norm", functions.rms_norm(2, 2, 2, **on)
    vertical = ["prefix"] * ApKind(kind).vertical + ["chain"] * ApKind(kind).chain
    for scheme in ("moves", *vertical):
        yield f"max pool, {scheme}", functions.max_pool(3, 7, 2, scheme=scheme, **on)


def load_of(function: Function, seed: int = 0) -> Load:
    """A function on random cells, with random words: whatever is there, a circuit does the same."""
    rng = np.random.default_rng(seed)
    cells = rng.random((function.rows, function.columns)) < 0.5
    return loaded(function.program, cells, rng)


def loaded(program: Microprogram, cells: np.ndarray, rng: np.random.Generator) -> Load:
    """A program with random words at all of its ports."""
    steps = [step for step, _ in program.weighted()]
    ports = 1 + max((step.port for step in steps), default=0)
    groups = [len(item.rows) for item in program.items if isinstance(item, Loop)]
    rows = len(cells)
    assert max(groups, default=0) <= rows or not any(
        step.port >= 0 and step.mode is Mode.HORIZONTAL for step in steps
    )
    words = max([rows, *groups])
    data = rng.integers(0, 2**63, (max(ports, 1), words), dtype=np.uint64)
    return Load(program, cells, data, np.zeros_like(data))


def target(name: str, **options: Any) -> Load:
    """What `apsim rtl NAME` exports."""
    session = open_target(Wanted(name, **options))
    return Load(session.program, session.machine.cam.peek(), session.tape.data, session.tape.out)


def lut_target(name: str, bits: int = 2) -> Load:
    """A shipped LUT: by its file, since some operations have the names of LUTs."""
    return target(str(lut.catalog.path_of(name)), bits=bits)


@dataclass(frozen=True)
class Ran:
    """What the testbench said: whether all is well, its last line, and its complaints."""

    passed: bool
    verdict: str
    failures: list[str]


def run(folder: Path, simulator: str = "icarus", **environment: str) -> Ran:
    """Run an exported folder as a user does."""
    done = subprocess.run(
        ["sh", str(folder / "run"), simulator], capture_output=True, text=True, check=False,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", **environment}, timeout=120,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    verdicts = [line for line in lines if line.startswith(("PASS:", "FAIL:"))]
    assert verdicts, done.stdout + done.stderr
    passed = verdicts[-1].startswith("PASS")
    assert passed == (done.returncode == 0)
    return Ran(passed, verdicts[-1], [line for line in lines if line.startswith("FAIL clock")])


def exported(load: Load, folder: Path, **options: Any) -> Export:
    """Write a load's folder."""
    made = export(load, **options)
    write(made, folder)
    return made


def random_load(seed: int) -> Load:
    """Any program that hardware can run, on any cells: every op, mode and gate, and loops."""
    rng = np.random.default_rng(seed)
    rows, columns = int(rng.integers(1, 12)), int(rng.integers(1, 9))
    items: list[Item] = []
    for _ in range(int(rng.integers(3, 8))):
        items += _horizontal(rng, columns) if rng.random() < 0.5 else [_loop(rng, rows, columns)]
    cells = rng.random((rows, columns)) < 0.5
    return loaded(Microprogram(tuple(items), f"random {seed}"), cells, rng)


def _bits(rng: np.random.Generator, lines: int, least: int = 0) -> tuple[tuple[int, int], ...]:
    chosen = rng.permutation(lines)[: rng.integers(least, min(lines, 4) + 1)]
    return tuple((int(line), int(rng.integers(2))) for line in chosen)


def _horizontal(rng: np.random.Generator, columns: int) -> list[Step]:
    steps = []
    for _ in range(int(rng.integers(1, 5))):
        op = Op(rng.integers(len(Op)))
        port = int(rng.integers(0 if op is Op.WRITE_DATA else -1, 2))
        write = _bits(rng, columns, 1) if op in (Op.PASS, Op.WRITE, Op.WRITE_ALL) else ()
        key = _bits(rng, columns, int(op >= Op.READ))
        steps.append(
            Step(op, Mode.HORIZONTAL, key, write, port=port if op >= Op.READ else -1,
                 place=int(rng.integers(64)))
        )  # fmt: skip
    return steps


def _loop(rng: np.random.Generator, rows: int, columns: int) -> Loop:
    slots, parallel = int(rng.integers(1, min(rows, 3) + 1)), bool(rng.integers(2))
    groups = int(rng.integers(1, rows // slots + 1 if parallel else min(rows, 4) + 1))
    rows_of = [rng.permutation(rows)[:slots] for _ in range(groups)]
    table = rng.permutation(rows)[: groups * slots].reshape(groups, slots) if parallel else rows_of
    body = [_vertical(rng, slots, columns, parallel) for _ in range(int(rng.integers(1, 6)))]
    return Loop(tuple(body), np.array(table, np.int64), parallel)


def _vertical(rng: np.random.Generator, slots: int, columns: int, parallel: bool) -> Step:
    op = Op(rng.integers(len(Op) - parallel))  # no data from outside where segments act at once
    write = _bits(rng, slots, 1) if op in (Op.PASS, Op.WRITE, Op.WRITE_ALL) else ()
    key = _bits(rng, slots, int(op >= Op.READ))
    port = int(rng.integers(0 if op is Op.WRITE_DATA else -1, 2)) if op >= Op.READ else -1
    target = int(rng.integers(columns))
    gate = Gate(rng.integers(len(Gate))) if op in (Op.PASS, Op.COMPARE, Op.READ) else Gate.NONE
    source, width = rng.integers(-columns - 2, columns + 3), rng.integers(columns - target + 1)
    port = -1 if parallel else port
    return Step(op, Mode.VERTICAL, key, write, gate, port, 0, int(source), target, int(width))
