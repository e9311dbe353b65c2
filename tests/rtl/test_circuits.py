"""Circuits do what the emulator does, after every clock, by the word of a simulator."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from apsim import controller, lut
from apsim.cam.dense import DenseCam
from apsim.program import Op
from apsim.rtl import Load
from apsim.rtl.microcode import segments_are_contiguous
from tests.helpers.circuits import (
    KINDS,
    Ran,
    all_functions,
    exported,
    load_of,
    lut_target,
    needs,
    random_load,
    run,
    target,
)
from tests.helpers.waves import dump_of


@pytest.fixture(autouse=True)
def icarus() -> None:
    needs("icarus")


def check(load: Load, folder: Path, write_clocks: int = 1) -> None:
    """PASS, clocks == compares + reads + write_clocks * writes, toggles == flips."""
    made = exported(load, folder, write_clocks=write_clocks)
    ran, counts = run(folder), load.program.counts()
    assert ran.failures == [] and ran.passed
    clocks, compares, writes, reads, toggles = map(int, re.findall(r"\d+", ran.verdict))
    assert (compares, writes, reads) == (counts.compare, counts.write, counts.read)
    assert clocks == compares + reads + write_clocks * writes
    assert toggles == made.expected.flips
    assert len(made.expected.trace) == counts.total


@pytest.mark.parametrize("kind", KINDS)
def test_every_function_is_the_same_after_every_clock(kind: str, tmp_path: Path) -> None:
    for number, (name, function) in enumerate(all_functions(kind)):
        assert segments_are_contiguous(function.program), name
        check(load_of(function, number), tmp_path / str(number))


def test_every_lut_is_the_same_after_every_clock_and_does_something(tmp_path: Path) -> None:
    """cells flipped by the passes > 0: each table starts where its passes act"""
    for name in lut.names():
        load = lut_target(name)
        check(load, tmp_path / name)
        assert acts(load), name


def acts(load: Load) -> bool:
    """Whether a pass changed a cell."""
    cam = DenseCam(load.rows, load.columns)
    events = controller.steps(load.program, cam, load.data, None)
    return any(event.step.op is Op.PASS and event.activity.flipped for event in events)


@pytest.mark.parametrize("seeds", [range(20), pytest.param(range(20, 120), marks=pytest.mark.long)])
def test_random_programs_on_dirty_arrays(seeds: range, tmp_path: Path) -> None:
    for seed in seeds:
        check(random_load(seed), tmp_path / str(seed), write_clocks=1 + seed % 3)


def test_a_layer_of_a_network_end_to_end(tmp_path: Path) -> None:
    load = target("digits", model="digits", layer="add", ap="1d")
    assert load.rows == 256
    check(load, tmp_path)


def test_what_is_put_out_is_the_sum(tmp_path: Path) -> None:
    """bit k of word r of expected_out == bit k of A[r] + B[r], of Python's integers"""
    a, b = [3, 200, 255, 0], [9, 100, 255, 0]
    made = exported(target("add", given={"A": a, "B": b}), tmp_path)
    lines = [int(line, 16) for line in (tmp_path / "expected_out.hex").read_text().split()]
    assert [sum((line >> row & 1) << k for k, line in enumerate(lines)) for row in range(4)] == [
        x + y for x, y in zip(a, b, strict=True)
    ]
    assert run(tmp_path).passed and made.clocks == 89


def test_a_folder_runs_wherever_it_is_copied(tmp_path: Path) -> None:
    exported(target("relu", bits=4), tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    shutil.rmtree(tmp_path / "here")
    assert run(tmp_path / "there").passed
    texts = [path.read_text() for path in (tmp_path / "there").iterdir() if path.name != "tb.vvp"]
    assert not any(str(tmp_path) in text for text in texts)


def test_names_are_data_and_steer_nothing(tmp_path: Path) -> None:
    load = target("add", bits=2)
    load = replace(load, program=replace(load.program, name="\x1b]0;title\n`define ROWS 9"))
    exported(load, tmp_path)
    assert run(tmp_path).passed
    texts = "".join(path.read_text() for path in tmp_path.iterdir() if path.name != "tb.vvp")
    assert "\x1b" not in texts and r"\x1b]0;title\n`define ROWS 9" in texts


def test_only_the_end_is_compared_where_that_is_wanted(tmp_path: Path) -> None:
    made = exported(target("add", bits=4), tmp_path, whole=False)
    assert len(made.expected.trace) == 1
    assert run(tmp_path).passed
    text = (tmp_path / "expected_trace.hex").read_text()
    (tmp_path / "expected_trace.hex").write_text(f"{int(text, 16) ^ 1 << 40:x}\n")
    assert not run(tmp_path).passed


def test_waves_toggle_as_often_as_cells_flip(tmp_path: Path) -> None:
    """0 <-> 1 changes of `cells` in the VCD, after the cells were loaded == activity.flipped"""
    made = exported(target("add", rows=16, ap="1d"), tmp_path)
    assert run(tmp_path, WAVES="1").passed
    waves = dump_of(tmp_path / "ap.vcd")
    (name,) = [n for n in waves.signals if re.fullmatch(r"tb\.u_ap\.cells\[\d+:0\]", n)]
    values = [int(v, 2) for t, v in waves[name].tv if t >= 1 and set(v) <= {"0", "1"}]
    toggles = sum((x ^ y).bit_count() for x, y in pairwise(values))
    assert toggles == made.expected.flips > 0


VERILATED = [
    ("add", "1d"), ("reduce", "2d-seg-tc"),
    *[pytest.param(name, kind, marks=pytest.mark.long) for name, kind in [
        ("multiply", "1d"), ("relu", "1d"), ("maximum", "1d"), ("reduce", "1d"), ("reduce", "2d"),
        ("reduce", "2d-seg"), ("max-pool", "2d-seg-tc"), ("dot", "2d-tc"),
    ]],
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), VERILATED)
def test_another_simulator_says_the_same(name: str, kind: str, tmp_path: Path) -> None:
    needs("verilator")
    exported(target(name, bits=4, rows=6, ap=kind), tmp_path)
    by_icarus, by_verilator = run(tmp_path), run(tmp_path, "verilator")
    assert by_verilator.passed
    assert by_verilator.verdict == by_icarus.verdict


@pytest.mark.parametrize("name", ["add", "reduce"])
def test_the_text_is_clean_for_a_linter(name: str, tmp_path: Path) -> None:
    needs("verilator")
    exported(target(name, ap="2d-seg-tc", rows=8), tmp_path)
    command = ["verilator", "--lint-only", "-Wall", "--timing", "--top-module", "tb"]
    done = subprocess.run(
        [*command, "tb.sv", "controller.sv", "ap.sv"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


# Mutations of the microcode: lines of microcode.hex, a word a line, of add on 8 bits and 256 rows.
PASS = 16  # the first word of pass 1 of bit 0; each bit has 8 words


DROPPED = {
    f"pass {p} of bit {b}": (PASS + 8 * b + 2 * p - 2, 2) for p, b in [(1, 0), (2, 3), (4, 7)]
}
FLIPPED = {
    "a wrong key bit": (PASS + 8, 27 + 1), "a wrong written bit": (PASS + 9, 27 + 9),
    "the carry not masked in": (PASS + 8, 10 + 16), "another op": (PASS + 8, 2),
    "an end too early": (PASS + 20, 0), "no output": (80, 9),
}  # fmt: skip


@pytest.fixture(scope="module")
def add(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs("icarus")
    folder = tmp_path_factory.mktemp("add")
    exported(target("add", rows=256, ap="1d"), folder)
    return folder


@pytest.mark.parametrize("what", DROPPED)
def test_a_dropped_pass_is_found(what: str, add: Path, tmp_path: Path) -> None:
    at, count = DROPPED[what]
    words = (add / "microcode.hex").read_text().splitlines()
    assert not mutated(add, tmp_path, [*words[:at], *words[at + count :]]).passed


@pytest.mark.parametrize("what", FLIPPED)
def test_a_wrong_bit_is_found(what: str, add: Path, tmp_path: Path) -> None:
    at, bit = FLIPPED[what]
    words = (add / "microcode.hex").read_text().splitlines()
    words[at] = f"{int(words[at], 16) ^ 1 << bit:0{len(words[at])}x}"
    assert not mutated(add, tmp_path, words).passed


def test_passes_are_swapped_unseen_only_where_neither_matches(add: Path, tmp_path: Path) -> None:
    """passes 3 and 4 want a carry: at bit 0 there is none, at bit 1 there is"""
    words = (add / "microcode.hex").read_text().splitlines()

    def swapped(bit: int, one: int, other: int) -> bool:
        mutant = list(words)
        i, j = (PASS + 8 * bit + 2 * p - 2 for p in (one, other))
        mutant[i : i + 2], mutant[j : j + 2] = words[j : j + 2], words[i : i + 2]
        return mutated(add, tmp_path / f"{bit}{one}", mutant).passed

    assert swapped(0, 3, 4)
    assert not swapped(0, 1, 2)
    assert not swapped(1, 3, 4)


def mutated(original: Path, folder: Path, words: list[str]) -> Ran:
    shutil.copytree(original, folder, dirs_exist_ok=True)
    padded = words + [words[-1]] * 2
    (folder / "microcode.hex").write_text("\n".join(padded[:89]) + "\n")
    return run(folder)


BROKEN = [
    ("ap.sv", "(cells & ~into) | (value & into)", "cells | (value & into)"),
    ("ap.sv", "(op == WRITE ? tag : '1)", "'1"),
    ("ap.sv", "{ROWS{~mask}} | (cells ~^ {ROWS{key}})", "{ROWS{~mask}} | cells"),
    ("ap.sv", "found &= equal", "found |= equal"),
    ("ap.sv", "generated[c] | (~killed[c] & ripple)", "generated[c] | killed[c] & ripple"),
    ("ap.sv", "gate == LOAD_K ? match : clear ? '0 : k", "clear ? '0 : k"),
    ("ap.sv", "source << shift", "source << 0"),
    ("ap.sv", "differ & member[s*ROWS+:ROWS]", "differ"),
    ("ap.sv", "load && gate == LOAD_G", "load"),
    ("ap.sv", "{COLUMNS{1'b1}} << first)", "{COLUMNS{1'b1}})"),
    ("controller.sv", "base <= base + slots", "base <= base"),
    ("controller.sv", "group + 1 < groups", "group + 2 < groups"),
    ("controller.sv", "if (value) vkey |= line", "vkey |= line"),
    ("controller.sv", "mode && acting != acted", "1'b0"),
    ("controller.sv", "compares + 32'(op == COMPARE)", "compares + 1"),
]


@pytest.mark.parametrize(("name", "right", "wrong"), BROKEN, ids=range(len(BROKEN)))
def test_a_broken_circuit_is_found(name: str, right: str, wrong: str, tmp_path: Path) -> None:
    """Some program fails on every mutant of the array and of its controller."""
    loads = [
        load_of(dict(all_functions("2d-tc"))[what], 1) for what in ("max pool, chain", "merge")
    ]
    loads += [random_load(seed) for seed in range(20)]
    assert not all(
        passes_with(load, name, right, wrong, tmp_path / f"{n}") for n, load in enumerate(loads)
    )


def passes_with(load: Load, name: str, right: str, wrong: str, folder: Path) -> bool:
    exported(load, folder)
    text = (folder / name).read_text()
    assert text.count(right) == 1
    (folder / name).write_text(text.replace(right, wrong))
    return run(folder).passed


def test_unseen_cells_do_not_pass(tmp_path: Path) -> None:
    """An unknown bit is a failure: cells that nobody loads are X, and X is not what is expected."""
    exported(target("add", bits=2), tmp_path)
    lines = (tmp_path / "cells.hex").read_text().splitlines()
    (tmp_path / "cells.hex").write_text("\n".join(["x" * len(lines[0]), *lines[1:]]) + "\n")
    assert not run(tmp_path).passed
