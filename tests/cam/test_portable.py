"""Kernels for other machines: as plain Python, as plain compiled source, for an older processor."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "setting",
    [
        {"NUMBA_DISABLE_JIT": "1"},
        pytest.param({"APSIM_KERNELS": "plain"}, marks=pytest.mark.long),
    ],
    ids=["as Python", "as plain source"],
)
def test_the_agreement_suite_passes_without_vectors(setting: dict[str, str]) -> None:
    """packed(program) == dense(program), planes are bits, whatever the kernels are made of"""
    files = ["tests/cam/test_agreement.py", "tests/cam/test_transfer.py"]
    suite = ["-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *suite],
        cwd=ROOT, env=os.environ | setting, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the older processor is an x86-64")
def test_an_older_processor_gives_the_same() -> None:
    """packed(program) == dense(program) and lanes == loads, without vectors of 512 bits"""
    files = ["tests/cam/test_agreement.py", "tests/cam/test_lanes.py", "tests/cam/test_transfer.py"]
    suite = ["-q", "-p", "no:cacheprovider", "-p", "tests.helpers.older_processor", *files]
    kept = {name: value for name, value in os.environ.items() if name != "APSIM_KERNELS"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *suite], cwd=ROOT, env=kept, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("name", ["numba", "llvmlite.binding"])
def test_no_compiler_is_imported_before_the_first_program_runs(name: str) -> None:
    code = f"import sys, apsim.cam; apsim.cam.PackedCam(8, 8).peek; print({name!r} in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_the_older_processor_is_for_those_who_ask() -> None:
    """Importing the plugin changes nothing."""
    from apsim.cam import _objects
    from tests.helpers import older_processor

    assert older_processor.pytest_configure
    assert _objects._processor.__module__ == _objects.__name__
