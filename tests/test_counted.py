"""Counts are what an array carried out: one that leaves out anything makes the run fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim import background, functions, ops
from apsim.cam import DenseCam, FusedCam, PackedCam, frame, packed
from apsim.cam.base import Cam, Execution, parts_of
from apsim.cam.vector_plain import At
from apsim.counts import Counts
from apsim.errors import CountError
from apsim.layout import Layout
from apsim.machine import Machine
from apsim.program import Gate, Loop, Microprogram, Mode, Op, Step

ENGINES = "dense", "strict", "fused"
PROGRAMS = {
    "add": functions.add(8, 1100),
    "2d": functions.reduce(4, 5, kind="2d"),
    "2d-tc": functions.reduce(4, 5, kind="2d-tc"),
    "2d-seg": functions.reduce(4, 6, kind="2d-seg"),
    "largest": functions.max_pool(4, 4, 3, kind="2d"),
}


def ran(name: str, engine: str) -> Machine:
    """A machine that has run a function's program."""
    function = PROGRAMS[name]
    machine = Machine(function.rows, function.layout, columns=function.columns, engine=engine)
    data, out = (np.zeros((4, function.rows), np.uint64) for _ in range(2))
    machine.run(function.program, data, out)
    return machine


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_carried_out_is_what_is_listed(name: str, engine: str) -> None:
    """counts(execution) == counts(listing), and so are those of each phase"""
    machine, program = ran(name, engine), PROGRAMS[name].program
    assert machine.counts == program.counts()
    assert machine.counts_by_phase == program.counts_by_phase()


def skipping(which: int, act: Callable[..., Any]) -> Callable[..., Any]:
    """The definition's step, which does nothing when it is called for the n-th time."""
    calls = iter(range(1 << 30))
    return lambda *args: np.zeros(5, np.int64) if next(calls) == which else act(*args)


@pytest.mark.parametrize("which", [0, 3, 17])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_definition_that_skips_one_step_is_found_out(
    name: str, which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DenseCam, "_act", skipping(which, DenseCam._act))
    with pytest.raises(CountError, match=r"carried out"):
        ran(name, "dense")


LATE = packed._late()


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    """They are there, so that no array carries a program out by the definition meanwhile."""
    background.is_made("kernels", packed.prepare)
    background.wait("kernels")


def without_a_row(first: int) -> Callable[..., None]:
    """A walk whose operations leave out the first of their rows, or the last."""

    def walk(own: int, given: int, ops: int, many: int, *rest: int) -> None:
        size = LATE.at.OP_SIZE
        changed = np.array([At(ops)[k] for k in range(size * many)]).reshape(many, size)
        changed[:, LATE.at.MANY_ROWS] -= 1
        changed[:, LATE.at.ROWS] += 64 * first
        LATE.walk(own, given, frame.address(changed), many, *rest)

    return walk


LEAVES_OUT: dict[str, Callable[..., None]] = {
    "the last step": without_a_row(0),
    "the first step": without_a_row(1),
    "the last tile": lambda own, given, ops, many, *rest: LATE.walk(
        own, given, ops, many - 1, *rest
    ),
    "everything": lambda *_: None,
}


@pytest.mark.parametrize("kind", [PackedCam, FusedCam])
@pytest.mark.parametrize("left_out", LEAVES_OUT)
def test_an_array_that_skips_is_found_out(
    left_out: str, kind: type[PackedCam], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps, tiles of rows, all of it."""
    leaving_out = LEAVES_OUT[left_out]
    walk = LATE.walk
    monkeypatch.setattr(FusedCam, "always", True)
    machine = Machine(1100, Layout(A=8, B=8, C=1))
    machine.cam = kind(1100, 17, tile=1)
    machine.run(ops.add("A", "B", carry="C"))
    before = machine.counts, machine.activity

    def run(*args: Any) -> None:
        with monkeypatch.context() as inner:
            inner.setattr(LATE, "walk", walk)
            leaving_out(*args)

    monkeypatch.setattr(LATE, "walk", run)
    with pytest.raises(CountError):
        machine.run(ops.add("A", "B", carry="C"))
    assert (machine.counts, machine.activity) == before


@pytest.mark.parametrize("name", ["2d", "2d-tc", "2d-seg"])
def test_an_array_that_skips_a_group_of_rows_is_found_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = LATE.loop
    monkeypatch.setattr(LATE, "loop", lambda *args: loop(*args[:7], args[7] - 1, *args[8:]))
    with pytest.raises(CountError):
        ran(name, "strict")


def vertical(op: Op, key: list[int], write: list[int], gate: Gate = Gate.NONE, **more: int) -> Step:
    bits = (tuple((slot, 1) for slot in slots) for slots in (key, write))
    return Step(op, Mode.VERTICAL, *bits, gate, **more)  # type: ignore[arg-type]


PARTS = {
    vertical(Op.WRITE_DATA, [0, 1], [], port=0, width=5): 2,
    vertical(Op.PASS, [0], [1]): 1,
    vertical(Op.PASS, [0], [1, 2], Gate.LOAD_G): 3,
    vertical(Op.PASS, [0], [], Gate.LOAD_K): 3,
    vertical(Op.COMPARE, [1], [], Gate.CARRY): 2,
    vertical(Op.WRITE, [], [0]): 1,
    vertical(Op.READ, [1], [], port=1, width=5): 2,
    vertical(Op.READ, [1], []): 1,
    vertical(Op.WRITE_TAG, [0, 1, 2], [], source=-1, width=5): 3,
    vertical(Op.WRITE_ALL, [], [2]): 1,
}
"""Vertical steps, and in how many parts each is carried out."""

WHOLE = Microprogram((Loop(tuple(PARTS), np.arange(12).reshape(4, 3)),))


def in_parts(engine: str) -> Machine:
    """A machine that has run `PARTS` on four groups of three rows."""
    machine = Machine(12, Layout(A=5), engine=engine)
    machine.run(WHOLE, *np.full((2, 2, 12), 21, np.uint64))
    return machine


@pytest.mark.parametrize("engine", ENGINES)
def test_every_part_of_a_vertical_step_counts_that_it_was_carried_out(engine: str) -> None:
    """and the parts of a step are one step: counts(execution) == counts(listing)"""
    assert parts_of(WHOLE.code.steps).tolist() == list(PARTS.values())
    assert in_parts(engine).counts == WHOLE.counts()


@pytest.mark.parametrize("which", range(sum(PARTS.values())))
def test_an_array_that_leaves_out_a_part_of_a_vertical_step_is_found_out(
    which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compare, a tag chain, the write of a gated pass, a word put out, one of several rows"""
    loop, size = LATE.loop, frame.ROW_SIZE

    def without(told: int, rows: int, many: int, *rest: int) -> None:
        assert many == sum(PARTS.values())
        whole = np.array([At(rows)[k] for k in range(size * many)]).reshape(many, size)
        left = np.delete(whole, which, axis=0)
        loop(told, frame.address(left), many - 1, *rest)

    monkeypatch.setattr(LATE, "loop", without)
    with pytest.raises(CountError):
        in_parts("strict")


def test_a_run_that_compares_fewer_lines_than_it_lists_is_found_out() -> None:
    """compared == lines of the compares that were carried out"""
    lines = np.array([[70, 70], [70, 0]])
    numbers = np.array([[70, 70], [70, 0], [3, 0], [3, 70], [1, 2]])
    assert Execution.of(numbers, lines, np.array([0, 3])).counts == Counts(1, 2, 0)
    for row, column in ((0, 0), (0, 1), (1, 0)):
        fewer = numbers.copy()
        fewer[row, column] -= 1
        with pytest.raises(CountError):
            Execution.of(fewer, lines, np.array([0, 3]))


class Forgetful:
    """An array that does nothing every other time."""

    def __init__(self, cam: Cam) -> None:
        self.cam, self.runs = cam, 0

    def execute(self, code: Any, *words: Any) -> Execution:
        """Carry out encoded steps, or not."""
        self.runs += 1
        done = self.cam.execute(code, *words)
        if self.runs % 2:
            return done
        nothing = np.zeros_like(done.times)
        return Execution(*[nothing] * 5, done.ops)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cam, name)


def test_a_program_that_is_not_carried_out_at_all_is_found_out() -> None:
    machine = Machine(8, Layout(A=4, B=4, C=1))
    machine.cam = Forgetful(machine.cam)
    machine.run(ops.add("A", "B", carry="C"))
    with pytest.raises(CountError, match=r"compute: the array carried out 0 compares.*lists 16"):
        machine.run(ops.add("A", "B", carry="C"))
    with pytest.raises(CountError):
        list(machine.steps(ops.add("A", "B", carry="C")))


@pytest.fixture(scope="module")
def loaded() -> None:
    """numba is loaded, and the kernels, before the first example is timed."""
    machine = Machine(3, Layout(A=4, B=4, C=1))
    machine.write("A", 1)
    machine.run(ops.add("A", "B", carry="C"))
    machine.read("B")


@settings(deadline=200)
@given(st.lists(st.integers(0, 15), min_size=1, max_size=20))
def test_a_popcount_of_bits_by_additions_keeps_to_the_default_deadline(
    loaded: None, values: list[int]
) -> None:
    """sum of the bits of each word, by an addition for each bit that is made anew each time"""
    machine = Machine(len(values), Layout(A=4, ones=3, carry=1, one=1))
    machine.write("A", values)
    for k in range(4):
        machine.write("one", [value >> k & 1 for value in values])
        machine.run(ops.clear("carry") + ops.add("one", "ones", carry="carry"))
    assert machine.read("ones").tolist() == [value.bit_count() for value in values]
    assert machine.counts.compare == 4 * sum(1 for s in _steps() if s.counts.compare)


def _steps() -> Any:
    layout = Layout(A=4, ones=3, carry=1, one=1)
    program: Microprogram = ops.add("one", "ones", carry="carry").on(layout)
    return program.items


def test_operations_of_equal_arguments_have_one_program() -> None:
    layout, same = Layout(A=4, B=4, C=1), Layout(A=4, B=4, C=1)
    one, other = ops.add("A", "B", carry="C"), ops.add("A", "B", carry="C")
    assert one.on(layout) is other.on(same)
    assert (one + ops.clear("C")).on(layout) is (other + ops.clear("C")).on(same)
    assert ops.add("B", "A", carry="C").on(layout) is not one.on(layout)
    assert one.on(Layout(B=4, A=4, C=1)) is not one.on(layout)
