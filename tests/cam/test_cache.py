"""Compiled kernels on disk: found again, never stale, and not needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

RUN = """
from apsim.cam import PackedCam, _objects
from apsim.encoding import encode
from apsim.program import Mode, Op, Step
made, compiled = [], _objects._compiled
_objects._compiled = lambda *text: made.append(text) or compiled(*text)
code = encode([Step(Op.COMPARE, Mode.HORIZONTAL, ((0, 0),))])
print(PackedCam(70, 2).execute(code).matched[0], len(made))
"""

PLAIN = """
import os
os.environ["APSIM_KERNELS"] = "plain"
from apsim.cam import PackedCam, _kernels
from apsim.encoding import encode
from apsim.program import Mode, Op, Step
code = encode([Step(Op.COMPARE, Mode.HORIZONTAL, ((0, 0),))])
print(PackedCam(70, 2).execute(code).matched[0], len(_kernels.horizontal.stats.cache_misses))
"""

RUNS = pytest.mark.parametrize("program", [RUN, PLAIN], ids=["machine code", "plain source"])


def run(source: Path, folder: Path, home: str | None = None, program: str = RUN) -> list[int]:
    """Rows matched, and kernels compiled anew, by a process of its own."""
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


CHANGES = [
    (RUN, "_steps.py", "build.sub(bit, integer(1))", "build.neg(bit)"),
    (
        PLAIN,
        "_plain.py",
        "mask = ZERO if pool[k, 1] else ONES",
        "mask = ONES if pool[k, 1] else ZERO",
    ),
]


@pytest.mark.parametrize(
    ("program", "file", "right", "wrong"), CHANGES, ids=["machine code", "plain source"]
)
def test_kernels_are_found_again_and_a_changed_helper_is_not_served_old_ones(
    program: str, file: str, right: str, wrong: str, copy: Path, tmp_path: Path
) -> None:
    """The changed file is not the one that numba watches."""
    home = tmp_path / "home"
    home.mkdir()
    assert run(copy, home, program=program) == [70, 1]
    assert run(copy, home, program=program) == [70, 0]
    changed = copy / "apsim" / "cam" / file
    text = changed.read_text()
    assert text.count(right) == 1
    changed.write_text(text.replace(right, wrong))
    assert run(copy, home, program=program) == [0, 1]


@RUNS
def test_a_home_that_cannot_be_written_is_no_obstacle(program: str, tmp_path: Path) -> None:
    """The folder for temporary files serves instead, and serves again."""
    assert run(ROOT, tmp_path, home="/dev/null", program=program) == [70, 1]
    assert run(ROOT, tmp_path, home="/dev/null", program=program) == [70, 0]


def test_without_any_folder_kernels_are_compiled_anew(tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("in the way")
    (tmp_path / f"apsim-{os.getuid()}").write_text("in the way")
    assert run(ROOT, tmp_path) == [70, 1]


@RUNS
def test_a_full_disk_is_no_obstacle(program: str, tmp_path: Path) -> None:
    """No file may hold a byte: kernels run, and the next process compiles them again."""
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    for _ in range(2):
        assert run(ROOT, tmp_path, program=full + program) == [70, 1]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]


def test_a_file_cut_short_is_made_anew(tmp_path: Path) -> None:
    """Whatever is left of it, the next process counts right and writes it again."""
    assert run(ROOT, tmp_path) == [70, 1]
    (kept,) = tmp_path.rglob("*.o")
    whole = kept.read_bytes()
    for size in (0, 20, 100, len(whole) - 1):
        kept.write_bytes(whole[:size])
        assert run(ROOT, tmp_path) == [70, 1]
        assert kept.read_bytes() == whole
    assert [path.suffix for path in kept.parent.iterdir()] == [".o"]


EDITED = """
from pathlib import Path
from apsim.cam import _compile
path = Path(_compile.__file__).with_name("_steps.py")
right = path.read_text()
path.write_text(right.replace("build.sub(bit, integer(1))", "build.neg(bit)"))
"""
RESTORED = "\npath.write_text(right)\n"


def test_code_of_a_source_edited_meanwhile_is_not_kept(copy: Path, tmp_path: Path) -> None:
    """It would stand under the name of what the source was before."""
    home = tmp_path / "home"
    home.mkdir()
    assert run(copy, home, program=EDITED + RUN + RESTORED) == [0, 1]
    assert not list(home.rglob("*.o"))
    assert run(copy, home) == [70, 1]
