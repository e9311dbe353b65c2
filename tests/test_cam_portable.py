"""The kernels without explicit vectors: as plain Python, and as plain compiled source."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
    files = ["tests/test_cam_agreement.py", "tests/test_cam_transfer.py"]
    suite = ["-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *suite],
        cwd=ROOT, env=os.environ | setting, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


def test_numba_is_not_imported_before_the_first_array_runs() -> None:
    code = "import sys, apsim.cam; apsim.cam.PackedCam(8, 8).peek; print('numba' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
