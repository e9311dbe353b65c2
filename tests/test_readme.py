"""What the README shows is what runs: its Python, its files, its console sessions.

APSIM_GOLDEN=write puts the output that comes now below every console command.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from apsim import nn
from apsim.nn.rules import real
from benchmarks.readme import commands, stated
from tests.conftest import ROOT

README = ROOT / "README.md"
TEXT = README.read_text()
SECONDS = re.compile(r"\d+\.\d+ s\b")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def sessions() -> list[tuple[str, str]]:
    """Each `$ apsim ...` line of the console blocks, with the output shown below it."""
    parts = [re.split(r"^\$ ", block, flags=re.MULTILINE)[1:] for block in blocks("console")]
    found = [part.partition("\n") for block in parts for part in block]
    return [(command, shown) for command, _, shown in found]


Noted = Callable[[str, object], None]


def ran(arguments: list[str], folder: Path, note: Noted) -> subprocess.CompletedProcess[str]:
    """The command's process; its seconds are noted in the tests' report, and nothing more."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "apsim", *arguments],
        cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    note(f"seconds of apsim {shlex.join(arguments)}", round(time.perf_counter() - start, 2))
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the README shows, named in their first lines."""
    for block in blocks("toml"):
        name = block.split("\n")[0].removeprefix("# ")
        (tmp_path / name).write_text(block)
    return tmp_path


def test_the_python_snippets_run_in_order_and_print_what_they_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert blocks("python")
    for number, block in enumerate(blocks("python"), 1):
        example = doctest.DocTestParser().get_doctest(block, names, f"snippet {number}", None, 0)
        assert example.examples
        runner = doctest.DocTestRunner(optionflags=flags)
        assert runner.run(example, clear_globs=False).failed == 0
        names.update(example.globs)


@pytest.mark.parametrize(("command", "shown"), sessions())
def test_a_console_command_prints_what_the_readme_shows(
    command: str, shown: str, folder: Path, record_testsuite_property: Noted
) -> None:
    """output == shown, but for seconds, which no two runs share, and for lines left out (...)."""
    program, *arguments = shlex.split(command)
    assert program == "apsim"
    done = ran(arguments, folder, record_testsuite_property)
    assert done.returncode == 0, done.stderr
    came = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
    if "...\n" in shown:
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        wanted, got = SECONDS.sub("- s", shown), SECONDS.sub("- s", came)
        assert doctest.OutputChecker().check_output(wanted, got, flags), came
    elif os.environ.get("APSIM_GOLDEN") == "write":
        text = README.read_text().replace(f"$ {command}\n{shown}", f"$ {command}\n{came}")
        README.write_text(text)
    else:
        assert SECONDS.sub("- s", came) == SECONDS.sub("- s", shown)


def shell_commands() -> list[str]:
    """The `apsim` lines of the shell blocks that need nothing but apsim.

    Left out: `run` alone and `check`, which console blocks and tests of their own run.
    """
    elsewhere = ("apsim run", "apsim check", "apsim check --findings")
    return [line for line in apsim_lines() if "model.onnx" not in line and line not in elsewhere]


def apsim_lines() -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line.startswith("apsim ")]


@pytest.mark.parametrize("command", shell_commands())
def test_a_command_that_the_readme_names_runs(
    command: str, tmp_path: Path, record_testsuite_property: Noted
) -> None:
    """exit code == 0, and every file that the command names is written"""
    _, *arguments = shlex.split(command)
    done = ran(arguments, tmp_path, record_testsuite_property)
    assert done.returncode == 0, done.stderr
    named = [word for word in arguments if word.endswith((".vcd", ".json", ".html", ".jsonl"))]
    assert all((tmp_path / name).stat().st_size for name in named)


@pytest.mark.parametrize("command", [line for line in apsim_lines() if "model.onnx" in line])
def test_a_command_for_a_model_of_ones_own_runs(
    command: str, models_dir: Path, tmp_path: Path, record_testsuite_property: Noted
) -> None:
    """exit code == 0, with the keyword spotter as the user's model"""
    pytest.importorskip("onnx")
    if "onnxruntime" in command:
        pytest.importorskip("onnxruntime")
    source = models_dir / "converted_kws_int8_qdq.onnx"
    (tmp_path / "model.onnx").write_bytes(source.read_bytes())
    model = nn.load(str(source))
    entry = model.tensors[model.input]
    drawn = np.random.default_rng(0).integers(entry.lo, entry.hi + 1, (1, *entry.shape))
    np.save(tmp_path / "x.npy", real.dequantize(entry, drawn))
    _, *arguments = shlex.split(command)
    done = ran(arguments, tmp_path, record_testsuite_property)
    assert done.returncode == 0, done.stderr + done.stdout
    named = [word for word in arguments if word.endswith(".npz")]
    assert all((tmp_path / name).stat().st_size for name in named)


def test_durations_are_those_that_were_measured() -> None:
    """every `apsim` command of the README, none else, is in the benchmark; seconds rounded up

    `python -m benchmarks.readme --clone --model FILE --json benchmarks/readme.json` measures them.
    """
    figures = json.loads((ROOT / "benchmarks" / "readme.json").read_text())
    said, seconds = commands(TEXT), figures["figures"]["seconds"]
    assert set(said) == set(seconds)
    named = {one: number for one, number in said.items() if number is not None}
    assert {one: stated(seconds[one]) for one in named} == named
    assert len(said) - len(named) <= 1  # sessions show the seconds of their run themselves
    assert figures["machine"]["processor"] and figures["machine"]["cores"]
