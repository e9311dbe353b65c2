"""Outputs side by side as lanes: what the loads of a chip give and take, one after another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apsim.ap_kind import ApKind
from apsim.cam.lanes import LaneProgram, kernel
from apsim.cam.lanes.regular import Regular
from apsim.cam.lanes.rows import Walk
from apsim.encoding import encode
from apsim.errors import CountError, ProgramError
from apsim.functions import Function, dot_products, max_pool, softmax
from apsim.nn.model.words import Words
from apsim.nn.on_ap import matrix
from apsim.nn.on_ap.chip import Chip
from apsim.nn.on_ap.mapping import Fold
from apsim.ops.steps import clear_rows, passes
from apsim.program import Loop, Mode
from tests.helpers import on_ap

KINDS = [kind.value for kind in ApKind]
Array = np.ndarray[Any, np.dtype[np.int64]]


def words(draw: st.DrawFn) -> Words:
    return Words(draw(st.integers(2, 5)), draw(st.booleans()))


def values(generator: np.random.Generator, shape: tuple[int, int], kind: Words) -> Array:
    low = -(1 << kind.bits - 1) if kind.signed else 0
    return generator.integers(low, low + (1 << kind.bits), shape)


@st.composite
def products(draw: st.DrawFn) -> tuple[Array, Array, Words, Words, int]:
    """x [u, j], weights [i, j], their words, and the rows of a CAP."""
    i, j, u = draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.integers(1, 90))
    kinds = words(draw), words(draw)
    generator = np.random.default_rng(draw(st.integers(0, 999)))
    rows = draw(st.integers(max(j // 2, 4) + 1, 3 * j + 5))
    x, w = values(generator, (u, j), kinds[0]), values(generator, (i, j), kinds[1])
    return x, w, *kinds, rows


@pytest.mark.parametrize("engine", ["strict", "fused"])
@pytest.mark.parametrize("kind", KINDS)
@given(job=products(), threads=st.sampled_from((1, 2)))
@settings(max_examples=8)
def test_lanes_are_the_literal_loads(
    kind: str, engine: str, job: tuple[Array, Array, Words, Words, int], threads: int
) -> None:
    """lanes(x, w) == loads(x, w): sums, counts, loads and all numbers of activity"""
    x, w, act, weight, rows = job
    chips = [
        Chip.preset("bf-imna-lr", ap=kind, rows=rows, engine=engine, threads=threads, literal=lit)
        for lit in (True, False)
    ]
    sums = [on_ap.products(chip, x, w, act, weight)[0] for chip in chips]
    np.testing.assert_array_equal(sums[0], w @ x.T)
    np.testing.assert_array_equal(sums[1], sums[0])
    assert chips[0].counts == chips[1].counts
    assert chips[0].loads == chips[1].loads
    assert chips[0].activity == chips[1].activity


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(2, 5, 1300), (700, 5, 3)], ids=["many u", "many i"])
def test_many_lanes_are_the_literal_loads(kind: str, shape: tuple[int, int, int]) -> None:
    """The same over several tiles of lanes, whole ones and the last."""
    generator, eight = np.random.default_rng(5), Words(3, False)
    i, j, u = shape
    x, w = values(generator, (u, j), eight), values(generator, (i, j), Words(2, True))
    chips = [Chip.preset("bf-imna-lr", ap=kind, rows=199, literal=lit) for lit in (True, False)]
    sums = [on_ap.products(chip, x, w, eight, Words(2, True))[0] for chip in chips]
    np.testing.assert_array_equal(sums[0], sums[1])
    assert chips[0].activity == chips[1].activity


@st.composite
def windows(draw: st.DrawFn) -> tuple[Array, Words, int]:
    """Windows [K, S], their words, and the rows of a CAP: of which many loads are made."""
    kind, size, many = words(draw), draw(st.integers(2, 9)), draw(st.integers(8, 150))
    generator = np.random.default_rng(draw(st.integers(0, 999)))
    return values(generator, (many, size), kind), kind, draw(st.integers(9, 20))


@pytest.mark.parametrize("kind", KINDS)
@given(job=windows(), threads=st.sampled_from((1, 2)))
@settings(max_examples=8)
def test_windows_on_lanes_are_the_literal_loads(
    kind: str, job: tuple[Array, Words, int], threads: int
) -> None:
    """lanes(windows) == loads(windows): values, counts, loads and all numbers of activity"""
    some, held, rows = job
    taken = []
    for literal in (True, False):
        chip = Chip.preset("bf-imna-lr", ap=kind, rows=rows, threads=threads, literal=literal)
        sums, adding = on_ap.window_sums(chip, some, held)
        maxima, comparing = on_ap.window_maxima(chip, some, held)
        np.testing.assert_array_equal(sums, some.sum(axis=1))
        np.testing.assert_array_equal(maxima, some.max(axis=1))
        assert adding.counts_match
        assert comparing.counts_match
        taken.append((chip.counts, chip.loads, chip.activity))
    assert taken[0] == taken[1]


@pytest.mark.parametrize("which", range(3))
def test_a_pool_that_leaves_out_a_block_is_found_out(
    which: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """counted == predicted, or the run fails: whatever operation of a walk is left out"""
    prepare = LaneProgram.prepare

    def shorter(self: LaneProgram, words: int, *, fused: bool) -> Walk:
        walk = prepare(self, words, fused=fused)
        counted = np.flatnonzero(walk.ops[:, kernel.MANY_ROWS] > 0)
        return replace(walk, ops=np.delete(walk.ops, counted[which % len(counted)], axis=0))

    monkeypatch.setattr(LaneProgram, "prepare", shorter)
    chip = Chip.preset("bf-imna-lr", rows=20)
    with pytest.raises(CountError):
        on_ap.window_maxima(chip, np.arange(90).reshape(10, 9) % 16, Words(4, False))


def test_maxima_stand_side_by_side_but_where_the_tag_chain_finds_them() -> None:
    """Groups that use one another's rows of flags run one load after another."""
    found = {kind: matrix.is_independent(max_pool(3, 9, 4, kind=kind), 5) for kind in KINDS}
    assert found == {kind: not ApKind.named(kind).chain for kind in KINDS}


def test_groups_that_give_a_word_for_each_of_theirs_are_no_lanes() -> None:
    assert not matrix.is_independent(softmax([1] * 16, 4, 3, 2), 1)


def test_words_that_are_too_wide_to_come_in_as_one_are_no_lanes() -> None:
    assert matrix.is_independent(max_pool(32, 4, 4), 2)
    assert not matrix.is_independent(max_pool(33, 4, 4), 2)


def loop(rows: list[list[int]], body: str = "ha2") -> Regular:
    """Two groups of three rows under a loop over rows."""
    steps = tuple(passes(body, {"A": 1, "B": 0}, mode=Mode.VERTICAL))
    return Regular.of(encode([Loop(steps, np.array(rows))]), 2, 3)


def test_groups_that_are_treated_alike_may_stand_side_by_side() -> None:
    assert loop([[0, 1], [3, 4]]).shared == 0


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([[0, 1], [3, 5]], id="other rows in the second group"),
        pytest.param([[0, 3], [3, 0]], id="a row of the other group"),
        pytest.param([[0, 1], [3, 4], [0, 2]], id="more lines for one group"),
        pytest.param([[0, 6], [3, 6]], id="a shared row that is not cleared first"),
    ],
)
def test_groups_that_are_not_independent_are_refused(rows: list[list[int]]) -> None:
    """Only independent groups are batched."""
    with pytest.raises(ProgramError, match=r"not independent|alike"):
        loop(rows)


def test_a_shared_row_that_is_cleared_first_is_no_obstacle() -> None:
    steps = (clear_rows([1]), *passes("ha2", {"A": 1, "B": 0}, mode=Mode.VERTICAL))
    code = encode([Loop(steps, np.array([[0, 6], [3, 6]]))])
    assert Regular.of(code, 2, 3).shared == 1


def test_a_smaller_load_with_other_steps_is_not_counted_as_if_it_had_run() -> None:
    """counts are those of steps that ran, or there are none"""

    def make(groups: int) -> Function:
        return dot_products(4 if groups == 2 else 3, groups, 3)

    x, weights = np.ones((1, 3), np.int64), np.ones((3, 3), np.int64)
    with pytest.raises(ProgramError, match="must run the same steps"):
        matrix.dot_products(x, weights, Fold(full=1, size=2, rest=1), make)
