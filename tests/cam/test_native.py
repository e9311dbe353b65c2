"""Kernels that are translated to machine code: the same numbers as the Python that they are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim.cam._bits import get_bits, popcount, put_bits
from apsim.cam._compile import PLAIN
from apsim.cam._native import (
    Flag,
    Native,
    Number,
    Numbers1,
    Word,
    Words1,
    Words2,
    Words3,
    leaf,
)
from tests.cam.test_cache import ROOT, copy

__all__ = ["copy"]

pytestmark = pytest.mark.skipif(PLAIN, reason="kernels are not translated here")

ONES, LIMIT = np.uint64(0xFFFF_FFFF_FFFF_FFFF), 10


@leaf
def halves(word: Word) -> tuple[Word, Word]:
    """The upper and the lower 32 bits."""
    return word >> np.uint64(32), word & np.uint64(0xFFFF_FFFF)


@leaf
def sign(number: Number) -> Number:
    if number < 0:
        return -1
    if number == 0:
        return 0
    return 1


@leaf
def inside(words: Words1, place: Number) -> Flag:
    return 0 <= place < len(words) and words[place] != np.uint64(0)


@leaf
def clear(words: Words2, row: Number) -> None:
    for column in range(words.shape[1]):
        words[row, column] = ONES if column == LIMIT else np.uint64(0)


def kernel(a: Number, b: Number, words: Words1, table: Words2, out: Numbers1) -> None:
    """A little of everything."""
    out[0], out[1] = a + b, a * b - (a ^ b)
    out[2] = (a >> 3) + (b << 2) + ~a + -b
    out[3] = min(a, b) - max(a, 7)
    upper, lower = halves(words[0])
    out[4] = popcount(upper) + 100 * popcount(lower)
    out[5] = sign(a) + 10 * sign(b)
    out[6] = 1 if inside(words, a) or not inside(words, b) else 2
    words[1] -= words[0] * np.uint64(3)
    words[1] |= words[2] >> np.uint64(a & 63)
    place, seen = 0, False
    while place < len(words) and not seen:
        seen = words[place] > words[0]
        place += 1
    out[7] = place
    for index in range(b, a):
        out[8] += index
        index += 5
    for row in range(len(table)):
        if row == a:
            pass
        elif row == b:
            table[row, 0] ^= ONES
        else:
            clear(table, row)
    if a > b:
        out[9] = 5
        return
    out[9] = np.int64(words[1] == words[2]) + np.int64(words[0])


def arguments(a: int, b: int, seed: int) -> tuple[Any, ...]:
    random = np.random.default_rng(seed)
    words = random.integers(0, 1 << 64, 5, np.uint64)
    words[seed % 5] = 0
    table = random.integers(0, 1 << 64, (3, 12), np.uint64)
    return a, b, words, table, np.zeros(10, np.int64)


@given(a=st.integers(-70, 70), b=st.integers(-70, 70), seed=st.integers(0, 99))
@settings(deadline=None)
def test_machine_code_gives_the_numbers_of_the_python(a: int, b: int, seed: int) -> None:
    """translated(kernel)(args) == kernel(args), in every array"""
    ours, theirs = arguments(a, b, seed), arguments(a, b, seed)
    TRANSLATED(*ours)
    with np.errstate(over="ignore"):
        kernel(*theirs)
    for mine, yours in zip(ours[2:], theirs[2:], strict=True):
        np.testing.assert_array_equal(mine, yours)


TRANSLATED = Native(kernel)


def planes_and_back(words: Words2, planes: Words3, back: Words2) -> None:
    for row in range(len(words)):
        for place in range(planes.shape[1]):
            for word in range(planes.shape[2]):
                planes[row, place, word] = get_bits(words, row, word * 64, place)
                put_bits(back, row, word * 64, place, planes[row, place, word])


TO_PLANES = Native(planes_and_back)


@given(bits=st.integers(1, 64), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=20)
def test_bits_of_words_go_to_planes_and_back(bits: int, seed: int) -> None:
    """Bit r % 64 of plane word r / 64 is bit `place` of word r; the bits above stay."""
    words, old = np.random.default_rng(seed).integers(0, 1 << 64, (2, 3, 192), np.uint64)
    planes, back = np.zeros((3, bits, 3), np.uint64), old.copy()
    TO_PLANES(words, planes, back)
    octets = planes.astype("<u8").view(np.uint8)
    seen = np.unpackbits(octets, axis=2, bitorder="little").astype(np.uint64)
    for place in range(bits):
        np.testing.assert_array_equal(seen[:, place], words >> np.uint64(place) & np.uint64(1))
    low = ONES >> np.uint64(64 - bits)
    np.testing.assert_array_equal(back, words & low | old & ~low)


@pytest.fixture(scope="module", autouse=True)
def no_code_on_disk() -> Any:
    """Kernels of tests leave nothing in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apsim.cam._objects._stored", lambda name: None)
        yield


def mixed(out: Words1, a: Number) -> None:
    out[0] += a


def changed(out: Words1, a: Number) -> None:
    b = out[0]
    b = a  # noqa: F841


def unknown(out: Words1, a: Number) -> None:
    print(a)


def division(out: Words1, a: Number) -> None:
    out[a // 2] = out[0]


def over_words(out: Words1, a: Number) -> None:
    for word in out:
        out[a] = word


def two_names(out: Words1, a: Number) -> None:
    b = c = a
    out[b] = out[c]


def outside(out: Words1, a: Number) -> None:
    out[a] = __name__  # type: ignore[assignment]


@pytest.mark.parametrize(
    "function", [mixed, changed, unknown, division, over_words, two_names, outside]
)
def test_what_cannot_be_translated_is_refused(function: Callable[..., None]) -> None:
    """Never guessed: words and numbers are not mixed, names keep their type."""
    with pytest.raises(NotImplementedError):
        Native(function).assembly()


@pytest.mark.parametrize(
    "words",
    [np.zeros(4, np.int64), np.zeros(8, np.uint64)[::2], np.zeros((4, 1), np.uint64)],
    ids=["numbers", "not contiguous", "two dimensions"],
)
def test_other_arrays_are_refused_before_they_reach_machine_code(words: Any) -> None:
    with pytest.raises(TypeError, match="wanted a contiguous uint64 array of 1 dimensions"):
        TRANSLATED(1, 2, words, np.zeros((3, 12), np.uint64), np.zeros(10, np.int64))


VERTICAL = """
import sys
from apsim.cam import PackedCam, _objects
from apsim.encoding import encode
from apsim.program import Loop, Mode, Op, Step
import numpy as np
made, compiled = [], _objects._compiled
_objects._compiled = lambda *text: made.append(text) or compiled(*text)
code = encode([Loop((Step(Op.COMPARE, Mode.VERTICAL, ((0, 0),)),), np.zeros((1, 1), np.int64))])
print(PackedCam(2, 70).execute(code).matched[0], len(made), int("numba" in sys.modules))
"""


RIGHT, WRONG = "ZERO if pool[k, 1] else ONES", "ONES if pool[k, 1] else ZERO"

EDITED = f"""
from pathlib import Path
from apsim.cam import _vertical
path = Path(_vertical.__file__)
path.write_text(path.read_text().replace({RIGHT!r}, {WRONG!r}))
"""


def run(source: Path, home: Path, program: str = VERTICAL) -> list[int]:
    """Columns matched, kernels compiled, and whether numba was there, in a process of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    env = kept | {"HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(source)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=home, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [int(number) for number in done.stdout.split()]


def test_vertical_steps_need_no_numba_and_are_compiled_once(copy: Path, tmp_path: Path) -> None:
    """They are found again, and a changed source never meets old code."""
    home = tmp_path / "home"
    home.mkdir()
    assert run(copy, home) == [70, 3, 0]
    assert run(copy, home) == [70, 0, 0]
    vertical = copy / "apsim" / "cam" / "_vertical.py"
    text = vertical.read_text()
    assert text.count(RIGHT) == 1
    vertical.write_text(text.replace(RIGHT, WRONG))
    assert run(copy, home) == [0, 3, 0]


def test_a_source_changed_under_a_running_process_is_met_by_the_next(
    copy: Path, tmp_path: Path
) -> None:
    """What is kept under the digest of a source was made of that source."""
    home = tmp_path / "home"
    home.mkdir()
    assert run(copy, home, EDITED + VERTICAL) == [70, 3, 0]
    assert run(copy, home) == [0, 3, 0]


def test_without_any_folder_kernels_are_compiled_anew(tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("in the way")
    (tmp_path / f"apsim-{os.getuid()}").write_text("in the way")
    assert run(ROOT, tmp_path) == [70, 3, 0]


def test_a_run_needs_no_numba_and_leaves_the_cores_to_the_emulator(tmp_path: Path) -> None:
    """All of `apsim run` on machine code made here; BLAS on one thread, if nobody says more."""
    program = """
import os, sys
from apsim.cli import main
code = main(["run", "digits", "--images", "2"])
print(code, int("numba" in sys.modules), os.environ["OPENBLAS_NUM_THREADS"])
"""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env=kept | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split()[-3:] == ["0", "0", "1"]
