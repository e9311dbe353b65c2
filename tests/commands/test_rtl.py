"""`apsim rtl` as a user meets it: folders, verdicts, mistakes, and the page about it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from apsim import cli, schemas
from tests.conftest import ROOT
from tests.helpers.circuits import needs

FOLDER = {
    "README", "ap.sv", "cells.hex", "controller.sv", "data.hex", "expected_out.hex",
    "expected_trace.hex", "loops.hex", "masks.hex", "microcode.hex", "params.svh", "rows.hex",
    "run", "tb.sv",
}  # fmt: skip
GUIDE = ROOT / "apsim" / "guide" / "rtl.md"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rtl(line: str) -> int:
    return cli.main(["rtl", *shlex.split(line)])


def contents(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def document(name: str, schema: str = "apsim.rtl/1") -> dict[str, Any]:
    """A result file, which is of its schema."""
    return schemas.check(json.loads(Path(name).read_text()), schema, name)


def test_the_same_program_gives_the_same_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    assert rtl("add --rows 8 -o one") == rtl("add --rows 8 -o two") == 0
    assert set(contents("one")) == FOLDER
    assert contents("one") == contents("two")
    assert capsys.readouterr().out.startswith("wrote one (32 compares, 48 writes, 9 reads; 89 clo")


def test_a_run_is_told_in_a_line_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    needs("icarus")
    assert rtl("reduce --rows 6 --ap 2d-seg --run --technology sram --json out.json") == 0
    told, found = capsys.readouterr().out, document("out.json")
    counts, (ran,) = found["counts"], found["simulators"]
    assert found["clocks"] == counts["compare"] + counts["read"] + 2 * counts["write"]
    assert (ran["passed"], ran["clocks"], ran["toggles"]) == (True, found["clocks"], found["flips"])
    assert f"PASS  {found['clocks']} clocks = " in told and "clocks a second" in told
    assert found["segments_contiguous"] is True
    assert {path.name for path in Path().iterdir()} == {"out.json"}  # no folder was asked for


def test_a_circuit_that_differs_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("icarus")
    from apsim.rtl import folder

    right = folder._generated

    def wrong(made: folder.Export) -> dict[str, str]:
        texts = right(made)
        words = texts["microcode.hex"].splitlines()
        words[18], words[16] = words[16], words[18]
        return texts | {"microcode.hex": "\n".join(words)}

    monkeypatch.setattr(folder, "_generated", wrong)
    assert rtl("add --rows 64 --run") == 1
    told = capsys.readouterr().out
    assert "icarus" in told and ": FAIL  89 clocks" in told
    assert "row tags differ after word 16: bit 0  pass 1" in told


def test_what_takes_long_is_told_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """seconds grow with cells, segments and, where the circuit is not compiled, clocks"""
    needs("icarus")
    monkeypatch.setattr("apsim.rtl.simulate.LONG", 0.0)
    assert rtl("reduce --rows 8 --ap 2d-seg --run --simulator icarus") == 0
    told = capsys.readouterr().err
    assert re.fullmatch(r"apsim: warning: 4 rows in 2 segments: icarus builds .* \d+ s\n", told)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("add", "wanted -o DIR, --run, or both"),
        ("", "wanted one of TARGET, --prove LUT|OPERATION and --area"),
        ("add --area", "wanted one of TARGET"),
        ("digits -o x", "a whole network is many programs: name a layer as digits:LAYER"),
        ("nonesuch -o x", "nothing is called 'nonesuch'"),
        ("add -o x --rows 5000", "wanted at most 4096 rows"),
        ("add -o x --bits 0", "--bits: wanted 1 to 64, got 0"),
        ("--prove add --bits 0", "wanted "),
        ("add --run --repeat -1", "--repeat: wanted 0 or more, got -1"),
        ("add --run -o x --repeat 9 --trace", "--trace writes the waves of one run to DIR"),
        ("add --run --trace", "--trace writes the waves of one run to DIR: wanted -o"),
        ("add -o x --simulator icarus", "--simulator, --trace and --repeat say how to --run"),
        ("--prove add -o full", "full is there and not empty"),
        ("add -o x --technology nonesuch", "nonesuch"),
        ("--prove nonesuch", "--prove: wanted a LUT, luts, or one of add, subtract"),
        ("--prove nonesuch.toml", "cannot read the LUT file nonesuch.toml"),
        ("--area --rows 5000", "--area: wanted 1 to 16384 cells, got 5000 x 16"),
        ("add -o file", "file is there and is no folder"),
        ("add -o full", "full is there and not empty: --force writes into it"),
    ],
)
def test_a_mistake_is_one_sentence(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    Path("full").mkdir()
    Path("full", "mine").write_text("mine")
    assert rtl(line) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


def test_a_folder_is_replaced_only_where_that_is_wanted() -> None:
    assert rtl("add --rows 8 -o out") == 0
    first = contents("out")
    Path("out", "mine").write_text("mine")
    assert rtl("relu --rows 8 -o out") == 2
    assert contents("out") == first | {"mine": b"mine"}
    assert rtl("relu --rows 8 -o out --force") == 0
    assert contents("out")["params.svh"] != first["params.svh"]
    assert contents("out")["mine"] == b"mine"


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2)])
def test_somebody_who_is_there_is_asked(
    answer: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rtl("add --rows 8 -o out") == 0
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert rtl("relu --rows 8 -o out") == code


def test_without_a_simulator_the_folder_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert rtl("add --rows 8 -o out --run") == 2
    told = capsys.readouterr().err
    assert "iverilog is not installed: wanted Icarus Verilog 11.0 or newer" in told
    assert "verilator is not installed: wanted Verilator 5.006 or newer" in told
    assert "the folder is complete: out/run" in told
    assert set(contents("out")) == FOLDER


def fake(folder: Path, name: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that says which version it is, alone on the path."""
    tool = folder / name
    tool.write_text(f"#!/bin/sh\necho '{says}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_tool_that_is_too_old_is_named_with_the_version_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    fake(tmp_path, "verilator", "Verilator 4.038 2020-07-11", monkeypatch)
    assert rtl("add --rows 8 --run --simulator verilator") == 2
    wanted = "verilator is too old: wanted version Verilator 5.006, got 4.038"
    assert wanted in capsys.readouterr().err


def test_without_yosys_what_apsim_knows_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert rtl("--prove max3") == 2
    told = capsys.readouterr().err
    assert "yosys is not installed: wanted Yosys 0.23" in told
    assert "apsim's own check of max3: sound" in told


def test_what_a_simulator_cannot_build_is_told_by_its_first_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    needs("icarus")
    from importlib.resources import files

    real = files("apsim.rtl").joinpath("sv", "ap.sv").read_text()
    monkeypatch.setattr(
        "apsim.rtl.folder.write_text",
        lambda path, text: path.write_text(text if text != real else "module ap oops;"),
    )
    assert rtl("add --rows 8 -o out --run") == 2
    assert "icarus could not build out: ap.sv:1: " in capsys.readouterr().err
    assert Path("out", "build.log").exists()


def test_gates_are_told_with_their_caveats(capsys: pytest.CaptureFixture[str]) -> None:
    """gates: 1d < 2d < 2d-tc, and cells of two directions cost more than twice those of one"""
    needs("yosys")
    assert rtl("--area --rows 8 --columns 4 --json area.json") == 0
    found = document("area.json", "apsim.rtl.areas/1")
    gates = {area["kind"]: area["gates"] for area in found["areas"]}
    assert 2 * gates["1d"] < gates["2d"] < gates["2d-tc"]
    assert all(caveat in capsys.readouterr().out for caveat in found["caveats"][:1])


UNSOUND = """
name = "bad"
about = "An adder whose passes 1 and 2 are swapped."
source = "a test"
per_bit = ["A", "B"]
per_word = ["C"]
walk = "lsb-first"
table = '''
 A B C | pass | B C
 0 0 0 |  -   | 0 0
 0 0 1 |  3   | 1 0
 0 1 0 |  -   | 1 0
 0 1 1 |  4   | 0 1
 1 0 0 |  1   | 1 0
 1 0 1 |  -   | 0 1
 1 1 0 |  2   | 0 1
 1 1 1 |  -   | 1 1
'''
"""


def test_an_unsound_table_is_refuted_with_the_state(capsys: pytest.CaptureFixture[str]) -> None:
    needs("yosys")
    Path("bad.toml").write_text(UNSOUND)
    assert rtl("--prove bad.toml --json out.json -o proof") == 1
    (proof,) = document("out.json", "apsim.rtl.proofs/1")["proofs"]
    assert (proof["holds"], proof["counterexample"]) == (False, {"A": "1", "B": "0", "C": "0"})
    assert set(contents("proof")) == {"lut_bad.v"}
    told = capsys.readouterr().out
    assert "REFUTED" in told and "apsim's own check: unsound" in told
    assert "not so for A = 1 B = 0 C = 0" in told


KEYWORDS = UNSOUND.replace("|  1 ", "|  9 ").replace("|  2 ", "|  1 ").replace("|  9 ", "|  2 ")
KEYWORDS = re.sub(r'\bA\b(?=[" ])', "inside", KEYWORDS)
KEYWORDS = re.sub(r'\bB\b(?=[" \n])', "tagged", KEYWORDS)


def test_columns_may_be_named_as_keywords(capsys: pytest.CaptureFixture[str]) -> None:
    needs("icarus")
    needs("yosys")
    Path("table.toml").write_text(KEYWORDS)
    assert rtl("table.toml --bits 3 --run") == 0
    assert rtl("--prove table.toml") == 0
    assert "PASS" in capsys.readouterr().out


COMMANDS = re.findall(r"^```console\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
CHANGING = re.compile(r"\d+\.\d+ s|\([\d,]+ clocks a second\)|^(icarus|verilator) [\d.]+", re.M)


def same(text: str) -> str:
    """A text without times and versions; gates differ between versions of yosys."""
    lines = (re.sub(r"[\d.]+", "*", x) if " gates" in x else x for x in text.splitlines())
    return CHANGING.sub("*", re.sub(r"  +", " ", "\n".join(lines)))


@pytest.mark.parametrize("block", COMMANDS, ids=range(len(COMMANDS)))
def test_the_guide_shows_what_comes(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    for tool in ("icarus", "yosys"):
        needs(tool)
    assert len(COMMANDS) == 5
    for piece in re.split(r"^\$ apsim rtl ", block, flags=re.MULTILINE)[1:]:
        line, _, shown = piece.partition("\n")
        assert rtl(line) == 0
        assert same(capsys.readouterr().out) == same(shown)
