"""The types that users get: a program of theirs holds under mypy --strict, a wrong one does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROGRAM = """
import numpy as np
from numpy.typing import NDArray

import apsim
from apsim import Counts, Layout, Machine, Session, cost, nn, ops
from apsim.nn.runtime import Run


def added(a: list[int], b: list[int]) -> NDArray[np.int64]:
    machine = Machine(rows=len(a), layout=Layout(A=8, B=8, C=1))
    machine.write("A", a)
    machine.write("B", b)
    program = ops.add("A", "B", carry="C")
    for event in Session(machine, program):
        steps: Counts = event.counts
        print(event, steps.total)
    return machine.read("B", "C")


def joules(counts: Counts, activity: apsim.Activity) -> float:
    return cost.estimate(counts, activity, cost.technology("sram")).energy.total


def counted(run: Run) -> list[dict[str, object]]:
    chip: nn.Chip = run.chip
    print(chip.counts.compare)
    return list(run.table())
"""


def mypy(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """mypy --strict on a user's file, far from the settings of this project."""
    pytest.importorskip("mypy")
    (folder / "mine.py").write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull]
    where = ["--cache-dir", str(folder / "cache"), "--follow-imports", "silent", "mine.py"]
    settings = {**os.environ, "MYPYPATH": str(ROOT)}
    return subprocess.run(
        [*command, *where], cwd=folder, capture_output=True, text=True, env=settings
    )


def test_a_users_program_has_types(tmp_path: Path) -> None:
    done = mypy(PROGRAM, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_wrong_program_is_told(tmp_path: Path) -> None:
    """The types are not Any: a wrong use is an error"""
    wrong = "import apsim\nwords: str = apsim.Machine(4, apsim.Layout(A=8)).counts\n"
    done = mypy(wrong, tmp_path)
    assert done.returncode == 1
    assert 'has type "Counts"' in done.stdout


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "apsim" / "py.typed").exists()
