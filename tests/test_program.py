"""Programs: counted before they run, listed, encoded, and refused where they make no sense."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import cam, functions, ops
from apsim.ap_kind import ApKind
from apsim.counts import Counts, Phase
from apsim.encoding import encode
from apsim.errors import ProgramError
from apsim.layout import Layout
from apsim.program import Loop, Microprogram, Mode, Op, Step
from tests.helpers.strategies import programs

VERTICAL = Step(Op.PASS, Mode.VERTICAL, ((0, 1),), ((1, 1),))
HORIZONTAL = Step(Op.PASS, Mode.HORIZONTAL, ((0, 1),), ((1, 1),))


@given(programs(rows=12, columns=6))
def test_counts_are_those_of_the_single_steps(program: Microprogram) -> None:
    """counts == sum of the steps that run == sum over phases; len == steps that run"""
    singles = [
        item.body[0] if isinstance(item, Loop) else item for item, _ in program.single_steps()
    ]
    assert sum((step.counts for step in singles), Counts()) == program.counts()
    assert sum(program.counts_by_phase().values(), Counts()) == program.counts()
    assert len(singles) == len(program)


@given(programs(rows=12, columns=6), programs(rows=12, columns=6))
def test_programs_add_up(first: Microprogram, second: Microprogram) -> None:
    """counts(a + b) == counts(a) + counts(b)"""
    both = first + second
    assert both.counts() == first.counts() + second.counts()
    assert len(both.code) == len(first.code) + len(second.code)


@given(st.integers(1, 64))
def test_the_length_of_a_parallel_loop_does_not_depend_on_its_groups(groups: int) -> None:
    """Segments act at once: one group's cost; one after another: each its own"""
    rows = np.arange(2 * groups).reshape(groups, 2)
    assert len(Microprogram((Loop((VERTICAL,), rows, parallel=True),))) == 1
    assert len(Microprogram((Loop((VERTICAL,), rows),))) == groups


def test_a_program_lists_its_steps_and_says_what_it_costs() -> None:
    program = functions.matmul(1, 1, 2, 1, kind="2d").program
    text = str(program)
    assert text.splitlines()[0].endswith(f"{len(program)} steps, {program.counts()}")
    assert "for 1 groups of rows, one after another:" in text
    assert "A B C = 1 0 0 -> B C = 1 0" in text
    assert str(len(program)) in repr(program)
    assert "&gt;" in program._repr_html_()


def test_phases_are_those_of_the_paper() -> None:
    """add(8): populate 16 writes, compute 32 + 32, read out 9"""
    phases = functions.add(8, 4).program.counts_by_phase()
    assert phases == {
        Phase.POPULATE: Counts(write=16),
        Phase.COMPUTE: Counts(compare=32, write=32),
        Phase.READ_OUT: Counts(read=9),
    }


def test_an_operation_follows_its_layout() -> None:
    """The same operation on two layouts: the same passes on other columns"""
    operation = ops.add("A", "B", carry="C")
    one = operation.on(Layout(A=4, B=4, C=1))
    other = operation.on(Layout(X=3, C=1, B=4, A=4))
    assert one.counts() == other.counts()
    moved = {0: 8, 1: 9, 2: 10, 3: 11, 4: 4, 5: 5, 6: 6, 7: 7, 8: 3}
    for step, twin in zip(one.items, other.items, strict=True):
        assert tuple((moved[line], bit) for line, bit in step.key) == twin.key  # type: ignore[union-attr]


def test_operations_in_sequence_are_one_operation() -> None:
    layout = Layout(A=4, B=4, C=1)
    both = ops.clear("C") + ops.add("A", "B", carry="C")
    assert str(both) == "clear C + add A, B"
    assert both.on(layout).counts() == Counts(compare=16, write=17)


@pytest.mark.parametrize(
    ("body", "rows", "parallel", "message"),
    [
        ((), [[0, 1]], False, r"got 0 steps and a table of shape \(1, 2\)"),
        ((VERTICAL,), [0, 1], False, r"wants steps and a table of rows .*shape \(2,\)"),
        ((VERTICAL,), [[0, -1]], False, "of numbers >= 0"),
        ((VERTICAL,), [[0]], False, "a step uses slot 1; the loop has 1 slots"),
        ((VERTICAL,), [[0, 1], [1, 2]], True, "segments that act at once must not share a row"),
    ],
)
def test_loops_that_make_no_sense_are_refused(
    body: tuple[Step, ...], rows: list[object], parallel: bool, message: str
) -> None:
    with pytest.raises(ProgramError, match=message):
        Loop(body, np.array(rows, np.int64), parallel)


def test_steps_stand_where_their_direction_wants_them() -> None:
    with pytest.raises(ProgramError, match="a vertical step stands outside a loop over rows"):
        encode([VERTICAL])
    with pytest.raises(ProgramError, match="a horizontal step stands inside a loop over rows"):
        encode([Loop((HORIZONTAL,), np.array([[0, 1]]))])


@pytest.mark.parametrize("engine", ["dense", "strict"])
def test_a_program_that_does_not_fit_its_array_says_what_it_needs(engine: str) -> None:
    program = ops.add("A", "B", carry="C").on(Layout(A=8, B=8, C=1))
    with pytest.raises(ProgramError, match="the program needs 17 columns; the array has 16"):
        cam.make(engine, 4, 16).execute(program.code)
    tall = Microprogram((Loop((VERTICAL,), np.array([[0, 9]])),))
    with pytest.raises(ProgramError, match="the program needs 10 rows; the array has 4"):
        cam.make(engine, 4, 16).execute(tall.code)


def test_kinds_are_known_by_name_and_state_their_hardware() -> None:
    assert [ApKind.named(kind.value) for kind in ApKind] == list(ApKind)
    for kind in ApKind:
        assert ("chain" in kind.hardware) == kind.chain
        assert ("segment" in kind.hardware) == kind.segmented
    with pytest.raises(ProgramError, match="unknown AP kind '5d': wanted one of 1d, 2d, 2d-seg"):
        ApKind.named("5d")
