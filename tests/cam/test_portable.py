"""Kernels for other machines: as plain Python, and for an older processor; and when numba loads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_agreement_suite_passes_as_plain_python() -> None:
    """packed(program) == dense(program), planes are bits, with kernels as the Python they are"""
    files = ["tests/cam/test_agreement.py", "tests/cam/test_transfer.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT, env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the older processor is an x86-64")
@pytest.mark.parametrize("room", ["agreement", pytest.param("lanes", marks=pytest.mark.long)])
def test_an_older_processor_gives_the_same(room: str) -> None:
    """packed(program) == dense(program) and lanes == loads, without vectors of 512 bits"""
    suite = ["-q", "-p", "no:cacheprovider", f"tests/cam/test_{room}.py"]
    older = os.environ | {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *suite],
        cwd=ROOT, env=older, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(
    ("command", "loaded"), [("--help", False), ("run digits --images 1", True)]
)
def test_numba_is_loaded_by_a_run_and_not_by_help(command: str, loaded: bool) -> None:
    code = (
        "import sys, contextlib, io\n"
        "from apsim.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    main({command.split()!r})\n"
        "print('numba' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == str(loaded), done.stderr


def test_an_array_is_made_without_numba() -> None:
    code = "import sys, apsim.cam; apsim.cam.PackedCam(8, 8).peek(); print('numba' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
