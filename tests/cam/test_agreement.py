"""The packed array against the definition: the same cells, tags, words out and numbers.

Programs here are random: any operation, direction and gate, keys and writes of any
arity (columns named twice included), loops one after another and in parallel.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from apsim.cam import Cam, DenseCam, FusedCam, PackedCam
from apsim.cam.jit import PLAIN
from apsim.encoding import BODY, GROUPS, PARALLEL, Code, encode
from apsim.errors import ProgramError
from apsim.program import Gate, Loop, Mode, Op, Step
from tests.helpers.random_programs import PORTS, bits, loops, steps_across
from tests.helpers.strategies import ROWS, row_counts

NUMBERS = ("times", "compared", "matched", "written", "flipped")


def cells_from(seed: int, rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, columns)) < 0.5


def words_from(seed: int, words: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 1 << 64, (PORTS, words), np.uint64)


def assert_same_run(first: Cam, second: Cam, code: Code, seed: int, words: int) -> None:
    """execute(first) == execute(second): state, words out, and all four numbers of each step."""
    data = words_from(seed, words)
    outs = [words_from(seed + 1, words) for _ in range(2)]
    done = [cam.execute(code, data, out) for cam, out in zip((first, second), outs, strict=True)]
    assert done[0].times.tolist() == times_of(code)
    for name in NUMBERS:
        np.testing.assert_array_equal(getattr(done[0], name), getattr(done[1], name), name)
    np.testing.assert_array_equal(outs[0], outs[1])
    assert_same_state(first, second)


def times_of(code: Code) -> list[int]:
    """Each step once; in a loop once for each group, or for all of them that act at once."""
    times = [1] * len(code)
    for start, row in enumerate(code.steps.tolist()):
        for index in range(start, start + row[BODY]):
            times[index] = 1 if row[PARALLEL] else row[GROUPS]
    return times


def assert_same_state(first: Cam, second: Cam) -> None:
    np.testing.assert_array_equal(first.peek(), second.peek())
    np.testing.assert_array_equal(first.tag, second.tag)
    np.testing.assert_array_equal(first.column_tag, second.column_tag)


class Eager(PackedCam):
    """A packed array that shares even the smallest work among its threads."""

    worth_a_thread = 0


class Early(PackedCam):
    """A packed array whose kernels are not there yet at every second program."""

    waits, late = False, False

    def _is_small(self, code: Code, out: Any) -> bool:
        self.late = not self.late
        return not self.late


class Agreement(RuleBasedStateMachine):
    """Both arrays carry out the same programs, keep and restore the same snapshots."""

    @initialize(
        rows=row_counts(), columns=st.integers(1, 140), seed=st.integers(0, 1000),
        kind=st.sampled_from((PackedCam, Eager, FusedCam, Early)), tile=st.sampled_from((0, 1)),
    )  # fmt: skip
    def make(self, rows: int, columns: int, seed: int, kind: type[PackedCam], tile: int) -> None:
        self.dense = DenseCam(rows, columns)
        self.packed = kind(rows, columns, tile=tile)
        for cam in (self.dense, self.packed):
            cam.poke(cells_from(seed, rows, columns))
        self.saved = self.dense.snapshot(), self.packed.snapshot()

    @rule(data=st.data(), seed=st.integers(0, 1000))
    def run_horizontal_steps(self, data: st.DataObject, seed: int) -> None:
        steps = data.draw(st.lists(steps_across(self.dense.columns), min_size=1, max_size=6))
        assert_same_run(self.dense, self.packed, encode(steps), seed, self.dense.rows)

    @rule(data=st.data(), seed=st.integers(0, 1000))
    def run_loops(self, data: st.DataObject, seed: int) -> None:
        several = st.lists(loops(self.dense.rows, self.dense.columns), min_size=1, max_size=3)
        assert_same_run(self.dense, self.packed, encode(data.draw(several)), seed, 8)

    @rule(data=st.data(), seed=st.integers(0, 1000))
    def run_both_directions(self, data: st.DataObject, seed: int) -> None:
        across = steps_across(self.dense.columns, ports=False)
        loop = loops(self.dense.rows, self.dense.columns)
        items = data.draw(st.lists(across | loop, min_size=2, max_size=6))
        assert_same_run(self.dense, self.packed, encode(items), seed, 8)

    @rule()
    def save(self) -> None:
        self.saved = self.dense.snapshot(), self.packed.snapshot()

    @rule()
    def go_back(self) -> None:
        self.dense.restore(self.saved[0])
        self.packed.restore(self.saved[1])

    @invariant()
    def states_agree(self) -> None:
        if hasattr(self, "dense"):
            assert_same_state(self.dense, self.packed)


TestAgreement = Agreement.TestCase
TestAgreement.settings = settings(max_examples=40, stateful_step_count=6, deadline=None)


@pytest.mark.parametrize("rows", [*ROWS, 4800])
def test_a_key_of_zeros_never_matches_a_row_beyond_the_last(rows: int) -> None:
    """matched(key of zeros on a clear array) == rows"""
    step = Step(Op.PASS, Mode.HORIZONTAL, ((0, 0), (1, 0)), ((2, 1),))
    done = PackedCam(rows, 3).execute(encode([step]))
    assert done.matched.tolist() == [rows]
    assert done.flipped.tolist() == [rows]


@pytest.mark.parametrize("rows", [1, 513, 4800])
@given(steps=st.lists(steps_across(9), min_size=1, max_size=12), seed=st.integers(0, 1000))
@settings(max_examples=15)
def test_programs_agree_at_many_rows(rows: int, steps: list[Step], seed: int) -> None:
    """packed(program) == dense(program)"""
    cams = DenseCam(rows, 9), PackedCam(rows, 9)
    for cam in cams:
        cam.poke(cells_from(seed, rows, 9))
    assert_same_run(*cams, encode(steps), seed, rows)


def lut_steps(draw: st.DrawFn, columns: int) -> list[Step]:
    """A few passes on a few lines, repeated on other lines, as a LUT's sweep does."""
    lines = draw(st.integers(1, 4))
    one = st.builds(Step, st.just(Op.PASS), st.just(Mode.HORIZONTAL), bits(lines), bits(lines))
    drawn = draw(st.lists(one, min_size=1, max_size=4))
    passes = [replace(step, lut_pass=number) for number, step in enumerate(drawn)]
    places = st.permutations(range(columns)).map(lambda order: order[:lines])
    return [
        moved(one, on) for on in draw(st.lists(places, min_size=2, max_size=4)) for one in passes
    ]


def moved(step: Step, on: list[int]) -> Step:
    key, write = (tuple((on[line], bit) for line, bit in part) for part in (step.key, step.write))
    return replace(step, key=key, write=write)


@pytest.fixture(scope="module", autouse=True)
def no_code_on_disk() -> Iterator[None]:
    """Random LUT steps leave nothing in the user's cache; for who does not wait there is none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apsim.cam.packed.is_made", lambda *_: False)
        if not PLAIN:
            patch.setattr("apsim.cam.jit.cache_folder", lambda: None)
        yield


@pytest.mark.parametrize("rows", [1600, 4800])
@given(
    steps=st.lists(st.composite(lut_steps)(6), min_size=1, max_size=2),
    others=st.lists(steps_across(6), max_size=3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=6)
def test_fused_steps_agree(
    rows: int, steps: list[list[Step]], others: list[Step], seed: int
) -> None:
    """fused(program) == dense(program), for LUT steps between any others"""
    cams = DenseCam(rows, 6), FusedCam(rows, 6)
    cams[1].always = True
    for cam in cams:
        cam.poke(cells_from(seed, rows, 6))
    program = [*steps[0], *others, *steps[-1]]
    assert_same_run(*cams, encode(program), seed, rows)


@given(steps=st.lists(steps_across(5), min_size=1, max_size=8), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_neither_tile_nor_threads_change_anything(steps: list[Step], seed: int) -> None:
    """packed(program, tile, threads) == packed(program) for all tiles and threads"""
    rows = 9 * 512 + 77
    for tile, threads in ((1, 1), (3, 2), (8, 3)):
        first = PackedCam(rows, 5, threads=1)
        second = Eager(rows, 5, threads=threads, tile=tile)
        for cam in (first, second):
            cam.poke(cells_from(seed, rows, 5))
        assert_same_run(first, second, encode(steps), seed, rows)


def test_a_program_changed_after_its_first_run_still_runs_as_it_was() -> None:
    code = encode([Step(Op.PASS, Mode.HORIZONTAL, ((0, 0),), ((1, 1),))])
    first, second = PackedCam(70, 2), PackedCam(70, 2)
    first.execute(code)
    code.pool[:, 0] = 10**9
    second.execute(code)
    assert_same_state(first, second)


def test_loops_of_the_same_segments_share_their_column_tags() -> None:
    """The tag of one loop is there in the next, as in the definition."""
    rows = np.arange(6).reshape(3, 2)
    look = Loop((Step(Op.READ, Mode.VERTICAL, ((0, 1),)),), rows, parallel=True)
    copy = Step(Op.WRITE_TAG, Mode.VERTICAL, ((1, 1),), source=0, target=0, width=5)
    cams = DenseCam(6, 5), PackedCam(6, 5)
    for cam in cams:
        cam.poke(cells_from(3, 6, 5))
    assert_same_run(*cams, encode([look, Loop((copy,), rows, parallel=True)]), 0, 8)
    np.testing.assert_array_equal(cams[1].peek()[0::2], cams[1].peek()[1::2])


@given(one=loops(70, 9), rows=st.lists(st.integers(0, 69), min_size=3, max_size=3, unique=True))
def test_a_step_planned_before_acts_on_rows_of_its_own(one: Loop, rows: list[int]) -> None:
    """Each step of a loop alone, on rows that it was not planned for, as in the definition."""
    cams = DenseCam(70, 9), PackedCam(70, 9)
    for cam in cams:
        cam.poke(cells_from(5, 70, 9))
    slots = one.rows.shape[1]
    for places in (one.rows[:1], np.array([rows[:slots]])):
        for step in one.body:
            assert_same_run(*cams, encode([Loop((step,), places)]), 0, 8)


def test_a_step_planned_before_is_refused_on_rows_that_are_not_there() -> None:
    """What is known of a step says nothing of the rows that another code gives it."""
    cam = PackedCam(8, 3)
    code = encode([Loop((Step(Op.COMPARE, Mode.VERTICAL, ((0, 1),)),), np.array([[7]]))])
    cam.execute(code)
    for row in (8, -1):
        with pytest.raises(ProgramError):
            cam.execute(replace(code, rows=np.array([row])))


def test_a_copy_of_an_array_is_an_array_of_its_own() -> None:
    """execute(copy) changes the copy, as it would the original, and nothing else."""
    code = encode([Step(Op.PASS, Mode.HORIZONTAL, ((0, 0),), ((1, 1),))])
    first = PackedCam(70, 2)
    first.execute(code)
    first.poke(np.zeros((70, 2), bool))
    for other in (deepcopy(first), pickle.loads(pickle.dumps(first))):
        other.execute(code)
        assert other.peek()[:, 1].all() and not first.peek().any()


@pytest.mark.parametrize("kind", [DenseCam, PackedCam])
@pytest.mark.parametrize("target", [-1, 2**62, 2**63 - 1])
def test_columns_whose_last_is_no_number_are_refused(kind: type[Cam], target: int) -> None:
    """target + width is beyond 64 bits, and is not taken for a column before the first"""
    step = Step(Op.WRITE_TAG, Mode.VERTICAL, ((0, 1),), target=target, width=2**62 + 3)
    with pytest.raises(ProgramError, match="widths and targets"):
        kind(4, 5).execute(encode([Loop((step,), np.array([[0]]))]))


@pytest.mark.parametrize("kind", [DenseCam, PackedCam])
def test_words_that_may_not_be_written_are_refused(kind: type[Cam]) -> None:
    out = np.zeros((1, 8), np.uint64)
    out.flags.writeable = False
    code = encode([Step(Op.READ, Mode.HORIZONTAL, ((0, 0),), port=0)])
    with pytest.raises(ProgramError, match="read-only"):
        kind(8, 1).execute(code, out=out)
    assert not out.any()


def test_a_program_changed_after_another_array_has_seen_it_is_checked_as_it_is() -> None:
    code = encode([Step(Op.COMPARE, Mode.HORIZONTAL, ((0, 0),))] * 2)
    DenseCam(70, 2).execute(code)
    code.pool[:, 0] = 10**9
    with pytest.raises(ProgramError):
        PackedCam(70, 2).execute(code)


def test_a_word_that_goes_to_several_rows_is_one_write() -> None:
    """times == 1, whatever number of rows take the tags, or the word, and whatever is put out"""
    key = ((0, 1), (2, 1), (1, 1))
    body = (
        Step(Op.READ, Mode.VERTICAL, key[:1], port=0, width=5),
        Step(Op.WRITE_TAG, Mode.VERTICAL, key, width=5),
        Step(Op.WRITE_DATA, Mode.VERTICAL, key[:2], port=0, width=5),
        Step(Op.PASS, Mode.VERTICAL, key, key, Gate.LOAD_G),
        Step(Op.WRITE, Mode.VERTICAL, (), key, Gate.LOAD_G),
        Step(Op.COMPARE, Mode.VERTICAL, key, gate=Gate.LOAD_K),
    )
    cams = DenseCam(70, 5), PackedCam(70, 5)
    for cam in cams:
        cam.poke(cells_from(8, 70, 5))
    for table in ([[1, 65, 9]], [[1, 65, 9], [2, 3, 4]]):
        for parallel in (False, True):
            assert_same_run(*cams, encode([Loop(body, np.array(table), parallel)]), 0, 8)


def test_loops_that_touch_some_groups_of_rows_leave_the_others() -> None:
    """130 rows are three groups of 64: a loop on rows of one, or of two, as in the definition"""
    for touched in ([[3, 9]], [[70, 128]], [[1, 129], [2, 4]]):
        cams = DenseCam(130, 70), PackedCam(130, 70)
        for cam in cams:
            cam.poke(cells_from(8, 130, 70))
        step = Step(Op.PASS, Mode.VERTICAL, ((0, 1),), ((1, 0),))
        assert_same_run(*cams, encode([Loop((step,), np.array(touched))]), 0, 130)
