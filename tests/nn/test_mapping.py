"""Work folded over the rows of CAPs: nothing lost, nothing split, nothing too large."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim.ap_kind import ApKind
from apsim.errors import ProgramError
from apsim.nn.on_ap.mapping import Fold, chunks, fold_sums, fold_windows, fold_words, parts
from apsim.ops.reduction import carry_rows

KINDS = st.sampled_from(list(ApKind))
ROWS = st.integers(2, 500)


def covers(fold: Fold, groups: int) -> bool:
    """Whether the loads hold every group once, in order, and `sizes` says how many each."""
    loads = list(fold.ranges())
    sizes = [size for size, times in fold.sizes() for _ in range(times)]
    return (
        list(itertools.chain(*loads)) == list(range(groups))
        and [len(load) for load in loads] == sizes
        and len(loads) == fold.loads
        and 0 not in sizes
    )


@given(st.integers(0, 5000), ROWS)
def test_words_fill_the_rows_of_a_cap(words: int, rows: int) -> None:
    """loads == ceil(words / rows)"""
    fold = fold_words(words, rows)
    assert covers(fold, words)
    assert fold.loads == -(-words // rows)


@given(st.integers(1, 3000), st.integers(1, 400), KINDS, ROWS)
def test_sums_stand_whole_in_a_load(groups: int, size: int, kind: ApKind, rows: int) -> None:
    """load * size + carry rows <= rows, and one group more would not fit; else refused"""
    carries = carry_rows(kind) * (size > 1)
    if size + carries > rows:
        with pytest.raises(ProgramError, match=f"wants {size + carries} rows.*has {rows} rows"):
            fold_sums(groups, size, kind, rows)
        return
    fold = fold_sums(groups, size, kind, rows)
    assert covers(fold, groups)
    assert fold.size * size + carries <= rows < (fold.size + 1) * size + carries


@given(st.integers(1, 3000), st.integers(1, 60), KINDS, ROWS, st.sampled_from([None, "moves"]))
def test_windows_stand_whole_in_a_load(
    windows: int, size: int, kind: ApKind, rows: int, scheme: str | None
) -> None:
    """Every window in one load, in order, and one more with its flags would not fit; else refused

    A chain keeps 2 flag rows for all windows, or in each segment 2 for each pair of rows that
    meet at once; moves keep none.
    """
    pairs = size // 2 if kind.segmented else size > 1
    flags = 2 * pairs if kind.chain and scheme is None else 0
    if size + flags > rows:
        with pytest.raises(ProgramError, match=f"wants {size + flags} rows.*has {rows} rows"):
            fold_windows(windows, size, kind, rows, scheme)
        return
    fold = fold_windows(windows, size, kind, rows, scheme)

    def needed(count: int) -> int:
        return count * (size + flags) if kind.segmented else count * size + flags

    assert covers(fold, windows)
    assert needed(fold.size) <= rows < needed(fold.size + 1)


@given(st.integers(1, 20000), KINDS, ROWS)
def test_a_long_sum_is_cut_into_chunks_that_fit(length: int, kind: ApKind, rows: int) -> None:
    """sum(chunks) == length; each fits a CAP, and so do their partial sums; else refused"""
    carries = carry_rows(kind)
    try:
        cut = chunks(length, kind, rows)
    except ProgramError:
        count = -(-length // (rows - carries * (length > 1)))
        assert count + carries > rows
        return
    assert sum(cut) == length
    assert all(piece + carries * (length > 1) <= rows for piece in cut)
    assert len(cut) == 1 or len(cut) + carries <= rows


def test_a_sum_that_fits_no_cap_is_refused_with_the_rows_that_would_do() -> None:
    """4608 words: 68 + 1 rows on 2d, 68 on a kind without carry rows; one row less does not do"""
    for kind, enough in ((ApKind.TWO_D, 69), (ApKind.ONE_D, 68)):
        with pytest.raises(ProgramError, match=f"a sum of 4608 words wants a CAP of {enough} rows"):
            chunks(4608, kind, 50)
        assert sum(chunks(4608, kind, enough)) == 4608
        with pytest.raises(ProgramError):
            chunks(4608, kind, enough - 1)


@given(st.integers(1, 1000), st.integers(1, 50))
def test_parts_are_nearly_equal(length: int, count: int) -> None:
    """max - min <= 1, larger first, and they add up"""
    found = parts(length, count)
    assert (sum(found), len(found)) == (length, count)
    assert found == sorted(found, reverse=True)
    assert found[0] - found[-1] <= 1
