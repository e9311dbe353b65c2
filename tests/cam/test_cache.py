"""Compiled kernels on disk: found again, never stale, never another's, and not needed."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

COUNTING = """
from numba.core import compiler
made, compiled = [], compiler.compile_extra
compiler.compile_extra = lambda *args, **named: made.append(1) or compiled(*args, **named)
"""

SMALL = (
    COUNTING
    + """
from apsim.cam import jit
@jit.kernel("int64(int64)")
def answer(a):
    return 5 * a
print(answer(14), len(made))
"""
)

STEPS = (
    COUNTING
    + """
from apsim.cam import PackedCam
from apsim.encoding import encode
from apsim.step import Mode, Op, Step
code = encode([Step(Op.COMPARE, Mode.HORIZONTAL, ((0, 0),))])
print(PackedCam(70, 2).execute(code).matched[0], len(made))
"""
)


ROWS = (
    COUNTING
    + """
import numpy as np
from apsim.closed_form import weights
from apsim.functions import weight_run
counts, plan = weights([[5]], 1, 160, [0])
x = np.array([[[11]]], np.uint64)
done = weight_run.run(plan, np.array([[5]]), np.array([0]), x, 4, 4)
print(*done.planes[0, :, 0], len(made))
"""
)


def run(
    source: Path, home: Path | str, cache: Path | None = None, program: str = SMALL
) -> list[int]:
    """What a kernel gives, and kernels compiled anew, by a process of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    env = kept | {"HOME": str(home), "PYTHONPATH": str(source)}
    env |= {"XDG_CACHE_HOME": str(cache)} if cache else {}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=source, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


def files(folder: Path) -> list[Path]:
    """Compiled code below a folder."""
    return sorted(path for path in folder.rglob("kernels-*/*") if path.is_file())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package that a test may change."""
    skip = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(ROOT / "apsim", tmp_path / "copy" / "apsim", ignore=skip)
    return tmp_path / "copy"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with nothing in it."""
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


RIGHT, WRONG = "splat(pool[3 * k + 1] - 1)", "splat(-pool[3 * k + 1])"


def test_kernels_are_found_again_and_a_changed_source_is_not_served_old_ones(
    copy: Path, home: Path
) -> None:
    matched, compiled = run(copy, home, program=STEPS)
    assert (matched, compiled > 1) == (70, True)
    assert run(copy, home, program=STEPS) == [70, 0]
    changed = copy / "apsim" / "cam" / "step.py"
    text = changed.read_text()
    assert text.count(RIGHT) == 1
    changed.write_text(text.replace(RIGHT, WRONG))
    assert run(copy, home, program=STEPS) == [0, compiled]


def test_nor_is_one_of_a_kernel_that_lives_in_another_room(copy: Path, home: Path) -> None:
    """A sequencer that takes away what it should add; what else was compiled is found again."""
    shutil.copytree(ROOT / "luts", copy / "luts")
    assert run(copy, home, program=ROWS) == [11, 0, 11, 2]
    assert run(copy, home, program=ROWS) == [11, 0, 11, 0]
    changed = copy / "apsim" / "functions" / "weight_rows.py"
    text = changed.read_text()
    assert text.count("= SUBTRACT + sign") == 1
    changed.write_text(text.replace("= SUBTRACT + sign", "= ADD - sign"))
    assert run(copy, home, program=ROWS) == [11, 11, 11, 1]
    changed.write_text(text + "# edited\n")
    assert run(copy, home, program=ROWS) == [11, 0, 11, 1]


def test_kernels_in_other_rooms_name_nothing_but_their_file_and_the_arrays() -> None:
    """The name of compiled code holds a kernel's own file and all of cam: no other may matter."""
    found = []
    for path in set(ROOT.glob("apsim/**/*.py")) - set(ROOT.glob("apsim/cam/**/*.py")):
        text = path.read_text()
        if "apsim.cam.jit" in text:
            tree = ast.parse(text)
            kernels = [
                node for node in tree.body
                if isinstance(node, ast.FunctionDef) and "kernel" in map(ast.unparse, heads(node))
            ]  # fmt: skip
            used = {n.id for one in kernels for n in ast.walk(one) if isinstance(n, ast.Name)}
            for node in tree.body:
                if isinstance(node, ast.ImportFrom) and node.module != "typing":
                    some = {alias.asname or alias.name for alias in node.names} & used - {"kernel"}
                    assert not some or str(node.module).startswith("apsim.cam"), (path, some)
            found += [one.name for one in kernels]
    assert found == ["summed"]


def heads(function: ast.FunctionDef) -> list[ast.expr]:
    """What decorates a function, without what that is given."""
    return [one.func if isinstance(one, ast.Call) else one for one in function.decorator_list]


def test_a_constant_from_outside_that_kernels_name_is_part_of_their_name(
    copy: Path, home: Path
) -> None:
    """The gates of `apsim.step` are numbers in kernels."""
    assert run(copy, home) == [70, 1]
    changed = copy / "apsim" / "step.py"
    changed.write_text(changed.read_text() + "# edited\n")
    assert run(copy, home) == [70, 1]


def test_what_was_typed_in_is_known_by_what_it_does(copy: Path, home: Path) -> None:
    """Its own numbers, and those that it names."""
    named = "FIVE = 5\n" + SMALL.replace("5 *", "FIVE *")
    assert run(copy, home) == [70, 1]
    assert run(copy, home, program=SMALL.replace("5 *", "6 *")) == [84, 1]
    assert run(copy, home, program=named) == [70, 1]
    assert run(copy, home, program=named.replace("= 5", "= 6")) == [84, 1]
    assert run(copy, home, program=named) == [70, 0]


EDITED = """
from pathlib import Path
import apsim.cam.frame
path = Path(apsim.cam.frame.__file__).with_name("step.py")
right = path.read_text()
path.write_text(right + "# edited")
"""
RESTORED = "\npath.write_text(right)\n"


def test_code_of_a_source_edited_meanwhile_is_not_kept(copy: Path, home: Path) -> None:
    """It would stand under the name of what the source was before."""
    assert run(copy, home, program=EDITED + SMALL + RESTORED) == [70, 1]
    assert not files(home)
    assert run(copy, home) == [70, 1]


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_damaged_file_is_made_anew(size: int, copy: Path, home: Path) -> None:
    """Whatever is left of it, it is not loaded; the next process writes it again."""
    run(copy, home)
    whole = {path: path.read_bytes() for path in files(home)}
    for path, code in whole.items():
        path.write_bytes(code[:size])
    assert run(copy, home) == [70, 1]
    assert {path: len(path.read_bytes()) > 100 for path in files(home)} == dict.fromkeys(
        whole, True
    )
    assert run(copy, home) == [70, 0]


def test_one_changed_byte_is_not_loaded(copy: Path, home: Path) -> None:
    run(copy, home)
    for path in files(home):
        code = bytearray(path.read_bytes())
        code[len(code) // 2] ^= 1
        path.write_bytes(code)
    assert run(copy, home) == [70, 1]


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_can_write_is_not_used(mode: int, copy: Path, home: Path) -> None:
    run(copy, home)
    (folder,) = {path.parent for path in files(home)}
    folder.chmod(mode)
    assert run(copy, home) == [70, 1]


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_below_one_that_others_can_write_is_not_used(
    mode: int, copy: Path, home: Path
) -> None:
    """Whoever can write to a parent can exchange the folder."""
    cache = home / "open" / "cache"
    cache.mkdir(parents=True)
    (home / "open").chmod(mode)
    assert [run(copy, home, cache) for _ in range(2)] == [[70, 1]] * 2
    assert not files(home)


def test_a_file_that_others_can_write_is_not_loaded(copy: Path, home: Path) -> None:
    run(copy, home)
    for path in files(home):
        path.chmod(0o666)
    assert run(copy, home) == [70, 1]


def test_a_link_in_the_place_of_the_folder_is_not_followed(
    copy: Path, home: Path, tmp_path: Path
) -> None:
    run(copy, home)
    (folder,) = {path.parent for path in files(home)}
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert run(copy, home) == [70, 1]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
@pytest.mark.parametrize("place", ["folder", "parent", "file"])
def test_what_another_user_owns_is_not_used(place: str, copy: Path, home: Path) -> None:
    run(copy, home)
    for path in files(home):
        owned = {"folder": path.parent, "parent": home / ".cache", "file": path}[place]
        os.chown(owned, 12345, -1)
    assert run(copy, home) == [70, 1]


def test_a_home_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    """Nothing is kept, and nothing in a folder that all share."""
    assert [run(ROOT, "/dev/null") for _ in range(2)] == [[70, 1]] * 2


def test_a_full_disk_is_no_obstacle(copy: Path, home: Path) -> None:
    """No file may hold a byte: kernels run, and the next process compiles them again."""
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    for _ in range(2):
        assert run(copy, home, program=full + SMALL) == [70, 1]
    assert not [path for path in files(home) if path.stat().st_size]


def test_many_processes_start_at_once_on_an_empty_cache(copy: Path, home: Path) -> None:
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda _: run(copy, home)[0], range(12)))
    assert found == [70] * 12
    assert run(copy, home) == [70, 0]
