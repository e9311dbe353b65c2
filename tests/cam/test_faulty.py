"""The faulty array: equal to the definition without faults, and faults of the stated size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim.cam import DenseCam
from apsim.cam.faulty import Faults, FaultyCam
from apsim.encoding import encode
from apsim.errors import InputError
from apsim.program import Loop, Mode, Op, Step
from tests.helpers.random_programs import PORTS, loops, steps_across

NUMBERS = ("compared", "matched", "written", "flipped")
ROWS, COLUMNS = 12, 9


@settings(max_examples=60)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_without_faults_it_is_the_definition(data: st.DataObject, seed: int) -> None:
    """faulty(program, no faults) == dense(program): cells, tags, words out and all numbers"""
    random = np.random.default_rng(seed)
    items = st.lists(steps_across(COLUMNS) | loops(ROWS, COLUMNS), min_size=1, max_size=6)
    code = encode(data.draw(items))
    arrays = DenseCam(ROWS, COLUMNS), FaultyCam(ROWS, COLUMNS, Faults())
    cells = random.random((ROWS, COLUMNS)) < 0.5
    words = random.integers(0, 1 << 64, (PORTS, ROWS), np.uint64)
    outs = [random.integers(0, 1 << 8, (PORTS, ROWS), np.uint64)] * 2
    outs = [out.copy() for out in outs]
    for array in arrays:
        array.poke(cells)
    for _ in range(2):
        done = [a.execute(code, words, out) for a, out in zip(arrays, outs, strict=True)]
        for name in NUMBERS:
            np.testing.assert_array_equal(getattr(done[0], name), getattr(done[1], name), name)
    np.testing.assert_array_equal(arrays[0].peek(), arrays[1].peek())
    np.testing.assert_array_equal(arrays[0].tag, arrays[1].tag)
    np.testing.assert_array_equal(arrays[0].column_tag, arrays[1].column_tag)
    np.testing.assert_array_equal(outs[0], outs[1])


def across(op: Op, key: tuple[tuple[int, int], ...], write: tuple[tuple[int, int], ...]) -> Step:
    return Step(op, Mode.HORIZONTAL, key, write)


FILL = encode([across(Op.WRITE_ALL, (), ((0, 1), (1, 0), (2, 1)))])
MATCH = encode([across(Op.COMPARE, ((0, 0),), ())])


@given(st.floats(0.05, 0.95), st.integers(0, 2**32 - 1))
def test_write_errors_strike_at_their_rate(rate: float, seed: int) -> None:
    """|wrong cells / driven cells - p| below 5 standard deviations"""
    rows = 4000
    array = FaultyCam(rows, 3, Faults(write_error=rate, seed=seed))
    done = array.execute(FILL)
    wrong = (array.peek() != np.array([True, False, True])).sum()
    assert done.activity.written == 3 * rows
    assert abs(wrong - 3 * rows * rate) < 5 * np.sqrt(3 * rows * rate * (1 - rate))


@given(st.floats(0.05, 0.95), st.integers(0, 2**32 - 1))
def test_missed_matches_strike_at_their_rate(rate: float, seed: int) -> None:
    """|matched / matching - (1 - p)| below 5 standard deviations; a mismatch never matches"""
    rows = 4000
    array = FaultyCam(rows, 1, Faults(missed_match=rate, seed=seed))
    matched = array.execute(MATCH).activity.matched
    assert abs(matched - rows * (1 - rate)) < 5 * np.sqrt(rows * rate * (1 - rate))
    array.poke(np.ones((rows, 1), bool))
    assert array.execute(MATCH).activity.matched == 0


def test_stuck_cells_hold_through_writes_pokes_and_snapshots() -> None:
    array = FaultyCam(500, 3, Faults(stuck_cells=0.3, seed=5))
    before, empty = array.peek(), array.snapshot()
    array.execute(FILL)
    wrong = array.peek() != np.array([True, False, True])
    assert 0.1 < wrong.mean() < 0.2
    array.poke(np.ones((500, 3), bool))
    again = array.peek() != np.ones((500, 3), bool)
    assert (again[:, 0] == wrong[:, 0]).all()
    array.restore(empty)
    np.testing.assert_array_equal(array.peek(), before)


@given(st.integers(0, 2**32 - 1))
def test_one_seed_gives_one_run(seed: int) -> None:
    faults = Faults(write_error=0.2, missed_match=0.1, stuck_cells=0.1, seed=seed)
    first, second = (FaultyCam(64, 3, faults) for _ in range(2))
    for array in (first, second):
        array.execute(FILL)
        array.execute(MATCH)
    np.testing.assert_array_equal(first.peek(), second.peek())
    np.testing.assert_array_equal(first.tag, second.tag)


def test_groups_that_share_a_row_act_one_after_another() -> None:
    """A row that all groups fill ends with what the last one wrote"""
    body = (
        Step(Op.COMPARE, Mode.VERTICAL, ((0, 1),)),
        Step(Op.WRITE_ALL, Mode.VERTICAL, (), ((1, 0),)),
        Step(Op.WRITE, Mode.VERTICAL, (), ((1, 1),)),
    )
    code = encode([Loop(body, np.array([[0, 3], [1, 3], [2, 3]]))])
    array = FaultyCam(4, 5, Faults())
    cells = np.random.default_rng(3).random((4, 5)) < 0.5
    array.poke(cells)
    array.execute(code)
    np.testing.assert_array_equal(array.peek()[3], cells[2])


@pytest.mark.parametrize("name", ["write_error", "missed_match", "stuck_cells"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_a_rate_that_is_no_probability_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} is a probability, 0 to 1"):
        Faults(**{name: value})  # type: ignore[arg-type]
