"""LUT steps with code of their own: marked in a program, never served for another LUT."""

from __future__ import annotations

import threading
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import background, lut
from apsim.cam import DenseCam, FusedCam, lut_step
from apsim.cam.jit import PLAIN, Operation
from apsim.cam.lut_step import LutStep, made_of, together, worth
from apsim.cam.lut_step import Pass as Made
from apsim.cam.plan import plan
from apsim.cam.step import COUNTED, KNOWN
from apsim.encoding import PASSES, Code, encode
from apsim.layout import Layout
from apsim.lut.model import Pass
from apsim.ops import multiply
from apsim.ops.steps import passes

ADD = (
    Pass((("A", 0), ("B", 0), ("C", 1)), (("B", 1), ("C", 0))),
    Pass((("A", 0), ("B", 1), ("C", 1)), (("B", 0),)),
    Pass((("A", 1), ("B", 1), ("C", 0)), (("B", 0), ("C", 1))),
    Pass((("A", 1), ("B", 0), ("C", 0)), (("B", 1),)),
)


class Eager(FusedCam):
    """Makes code for every LUT step."""

    always = True


def sweep(table: tuple[Pass, ...]) -> Code:
    """Four bits of a LUT on A (columns 0-3), B (4-7), C (8)."""
    return encode([s for k in range(4) for s in passes(table, {"A": k, "B": 4 + k, "C": 8})])


def result(kind: type[DenseCam] | type[FusedCam], code: Code) -> tuple[np.ndarray, ...]:
    cam = kind(2600, 9)
    cam.poke(np.random.default_rng(1).random((2600, 9)) < 0.5)
    done = cam.execute(code)
    return cam.peek(), done.times, done.compared, done.matched, done.written, done.flipped


def assert_same(first: tuple[np.ndarray, ...], second: tuple[np.ndarray, ...]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("table", [ADD, lut.find("add")], ids=["passes", "a LUT by name"])
def test_every_bit_of_a_sweep_is_one_lut_step(table: tuple[Pass, ...] | lut.Lut) -> None:
    steps = [s for k in range(4) for s in passes(table, {"A": k, "B": 4 + k, "C": 8})]
    assert encode(steps).steps[:, PASSES].tolist() == [4, 0, 0, 0] * 4


def test_a_product_is_a_lut_step_for_each_pair_of_bits() -> None:
    code = multiply("A", "B", "P").on(Layout(A=8, B=8, P=16)).code
    assert [p.stop - p.start for p in plan(code).pieces if p.stop > p.start + 1] == [4] * 64


def test_two_luts_on_the_same_lines_are_two_lut_steps() -> None:
    """A pass whose number is not above that of the one before begins anew."""
    lines = {"A": 0, "B": 1, "C": 2}
    steps = [*passes(ADD, lines), *passes(ADD[:2], lines), *passes(ADD[2:], lines)]
    assert encode(steps).steps[:, PASSES].tolist() == [4, 0, 0, 0, 2, 0, 2, 0]


@pytest.mark.parametrize("row", range(4))
def test_a_changed_lut_is_never_served_the_code_of_another(
    row: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fused(changed LUT) == dense(changed LUT), with the code of both LUTs in one cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    key, ((name, bit), *rest) = ADD[row].key, ADD[row].write
    changed = (*ADD[:row], Pass(key, ((name, 1 - bit), *rest)), *ADD[row + 1 :])
    assert_same(result(Eager, sweep(ADD)), result(DenseCam, sweep(ADD)))
    assert_same(result(Eager, sweep(changed)), result(DenseCam, sweep(changed)))


@pytest.mark.parametrize("cut", [1, 4, 6, 15])
def test_parts_of_a_program_are_its_steps_one_after_another(cut: int) -> None:
    """fused(first part), fused(the rest) == dense(whole), cut inside a LUT step and between two"""
    code, cells = sweep(ADD), np.random.default_rng(1).random((600, 9)) < 0.5
    cams = DenseCam(600, 9), Eager(600, 9), FusedCam(600, 9)
    for cam in cams:
        cam.poke(cells)
    whole = cams[0].execute(code)
    for cam in cams[1:]:
        parts = [cam.execute(code.part(*ends)) for ends in ((0, cut), (cut, len(code)))]
        for name in ("times", "compared", "matched", "written", "flipped"):
            done = np.concatenate([getattr(part, name) for part in parts])
            np.testing.assert_array_equal(done, getattr(whole, name))
        np.testing.assert_array_equal(cam.peek(), cams[0].peek())
        np.testing.assert_array_equal(cam.tag, cams[0].tag)


def bits(lines: int) -> st.SearchStrategy[dict[int, int]]:
    return st.dictionaries(st.integers(0, lines - 1), st.integers(0, 1), max_size=lines)


@given(st.lists(st.tuples(bits(4), bits(4)), min_size=1, max_size=5))
def test_passes_together_find_in_all_cells_what_they_find_in_turn(
    some: list[tuple[dict[int, int], dict[int, int]]],
) -> None:
    """matches(pass, in turn) == matches(pass, before the first of its group), and one at most"""
    made = [
        Made(tuple(key.items()), tuple((*w, COUNTED) for w in write.items())) for key, write in some
    ]
    groups = list(together(made))
    assert [k for group in groups for k in range(*group)] == list(range(len(made)))
    for first, (low, high) in product(product((0, 1), repeat=4), groups):
        cells, tags = list(first), []
        for key, write in some[low:high]:
            tags.append(all(cells[line] == bit for line, bit in key.items()))
            assert tags[-1] == all(first[line] == bit for line, bit in key.items())
            for line, bit in write.items() if tags[-1] else ():
                cells[line] = bit
        assert high == low + 1 or sum(tags) <= 1


def test_the_passes_of_a_product_and_of_a_sum_are_found_together() -> None:
    programs = multiply("A", "B", "P").on(Layout(A=8, B=8, P=16)).code, sweep(ADD)
    steps = {piece.lut_step for code in programs for piece in plan(code).pieces}
    whole = [one.passes for one in steps if len(one.passes) == 4]
    assert whole and all(list(together(one)) == [(0, 4)] for one in whole)


@pytest.mark.parametrize("back", [0, 1])
def test_a_line_that_flips_and_flips_back_is_what_it_was(back: int) -> None:
    """fused == dense where z flips in every pass, and rows match two of them, where x != y"""
    sides = [(("x", x), ("y", 1 - x)) for x in (0, 1)]
    table = tuple(
        Pass((*side, ("z", bit)), (("z", 1 - bit),)) for side in sides for bit in (back, 1 - back)
    )
    code = encode(
        [*passes(table, {"x": 0, "y": 1, "z": 2}), *passes(ADD, {"A": 3, "B": 4, "C": 8})]
    )
    assert_same(result(Eager, code), result(DenseCam, code))


def test_a_lut_step_is_worth_code_once_it_has_worked_as_long_as_that_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("apsim.cam.jit.cache_folder", lambda: None)
    one, _ = made_of([Made(((0, 1), (1, 0)), ((1, 1, KNOWN),)), Made(((0, 0),))])
    enough, hold = int(lut_step.COMPILING * lut_step.SPEED / len(one.passes)), threading.Event()
    background.is_made(hold, hold.wait)
    assert worth(one, enough - 1) is PLAIN
    assert worth(one, 1000) is PLAIN  # the thread that makes it is held up
    hold.set()
    if not PLAIN:
        background.wait(one)
    assert worth(one, 1)


def test_a_call_that_takes_longer_than_compiling_compiles_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("apsim.cam.jit.cache_folder", lambda: None)
    one, _ = made_of([Made(((0, 1), (1, 0)), ((1, 1, KNOWN),)), Made(((1, 0),))])
    assert worth(one, int(lut_step.COMPILING * lut_step.SPEED))


def test_code_that_falls_due_in_the_middle_is_made_by_another_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of calls one after another none makes code; dense == fused before it is there and after."""
    monkeypatch.setattr("apsim.cam.jit.cache_folder", lambda: None)
    monkeypatch.setattr(lut_step, "COMPILING", 100 / lut_step.SPEED)
    threads, made, hold = list[str](), Operation.address.func, threading.Event()

    def noted(one: Operation) -> int:
        threads.append(threading.current_thread().name)
        return int(made(one))

    monkeypatch.setattr(Operation.address, "func", noted)
    background.is_made(hold, hold.wait)
    code = sweep((ADD[2], ADD[0], ADD[3]))
    wanted = result(DenseCam, code)
    for _ in range(3):
        assert_same(result(FusedCam, code), wanted)
    assert threads == [] and not plan(code).chosen(worth, 0)
    hold.set()
    (one,) = [one for one, times in plan(code).lut_steps.items() if times == 3]
    background.wait(one)
    assert threads == ["apsim-background"]
    assert_same(result(FusedCam, code), wanted)
    assert one in plan(code).chosen(worth, 0) and threads == ["apsim-background"]


def test_a_lut_step_of_too_many_lines_runs_pass_by_pass() -> None:
    wide = LutStep((Made(tuple((line, 1) for line in range(11))),))
    assert not worth(wide, 1 << 60)
