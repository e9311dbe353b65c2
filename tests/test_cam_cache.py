"""Compiled kernels on disk: found again, never stale, and not needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

RUN = """
from apsim.cam import PackedCam, _kernels
from apsim.encoding import encode
from apsim.program import Mode, Op, Step
code = encode([Step(Op.COMPARE, Mode.HORIZONTAL, ((0, 0),))])
print(PackedCam(70, 2).execute(code).matched[0], sum(_kernels.horizontal.stats.cache_hits.values()))
"""


def run(source: Path, folder: Path, home: str | None = None, program: str = RUN) -> list[int]:
    """Rows matched, and kernels found on disk, by a process of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    env = kept | {"HOME": home or str(folder), "TMPDIR": str(folder), "PYTHONPATH": str(source)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [int(number) for number in done.stdout.split()]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package that a test may change."""
    skip = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(ROOT / "apsim", tmp_path / "copy" / "apsim", ignore=skip)
    return tmp_path / "copy"


def test_kernels_are_found_again_and_a_changed_helper_is_not_served_old_ones(
    copy: Path, tmp_path: Path
) -> None:
    """The changed file is not the one that numba watches: `_vectors`, used by `_kernels`."""
    home = tmp_path / "home"
    home.mkdir()
    assert run(copy, home) == [70, 0]
    assert run(copy, home) == [70, 1]
    vectors = copy / "apsim" / "cam" / "_vectors.py"
    right, wrong = "build.sub(bit, integer(1))", "build.neg(bit)"
    text = vectors.read_text()
    assert text.count(right) == 1
    vectors.write_text(text.replace(right, wrong))
    assert run(copy, home) == [0, 0]


def test_a_home_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    """The folder for temporary files serves instead, and serves again."""
    assert run(ROOT, tmp_path, home="/dev/null") == [70, 0]
    assert run(ROOT, tmp_path, home="/dev/null") == [70, 1]


def test_without_any_folder_kernels_are_compiled_anew(tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("in the way")
    (tmp_path / f"apsim-{os.getuid()}").write_text("in the way")
    assert run(ROOT, tmp_path) == [70, 0]


def test_a_full_disk_is_no_obstacle(tmp_path: Path) -> None:
    """No file may hold a byte: kernels run, and the next process compiles them again."""
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    for _ in range(2):
        assert run(ROOT, tmp_path, program=full + RUN) == [70, 0]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]
