"""Realisable counts: the executed golden cells, and the named terms to the paper."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import closed_form
from apsim.closed_form import AP_KINDS, realisable, terms
from apsim.closed_form.differences import REASONS
from apsim.counts import Counts
from apsim.errors import InputError

# Executed counts (compare, write, read) of a correct prototype, one row for each case,
# in the order 1d, 2d, 2d-tc, 2d-seg, 2d-seg-tc; maxima on 2d and 2d-seg by prefix.
KINDS = ("1d", "2d", "2d-tc", "2d-seg", "2d-seg-tc")
GOLDEN = {
    ("matmul", (4, 2, 4, 2), 4): [
        (132, 152, 22), (132, 156, 22), (112, 120, 10), (108, 119, 13), (72, 80, 10)
    ],
    ("matmul", (8, 1, 16, 1), 8): [
        (536, 567, 35), (376, 408, 35), (316, 332, 20), (352, 375, 27), (272, 288, 20)
    ],
    ("matmul", (8, 4, 8, 4), 4): [
        (284, 408, 127), (504, 644, 127), (576, 588, 15), (198, 215, 20), (140, 152, 15)
    ],
    ("reduce", (8, 16), None): [
        (152, 175, 8), (96, 120, 8), (60, 76, 1), (90, 111, 6), (44, 60, 1)
    ],
    ("average_pool", (8, 4, 4), None): [
        (68, 88, 12), (76, 100, 12), (48, 64, 8), (70, 87, 9), (36, 52, 8)
    ],
    ("average_pool", (8, 16, 9), None): [
        (152, 231, 71), (256, 344, 71), (284, 300, 8), (90, 111, 13), (44, 60, 8)
    ],
    ("max_pool", (8, 4, 4), "prefix"): [
        (64, 88, 12), (72, 122, 32), (48, 74, 8), (42, 68, 14), (36, 56, 8)
    ],
    ("max_pool", (8, 16, 9), "prefix"): [
        (128, 215, 71), (662, 1184, 386), (284, 428, 8), (62, 104, 26), (44, 68, 8)
    ],
}  # fmt: skip
CELLS = [
    (function, arguments, ap, last, cell)
    for (function, arguments, last), row in GOLDEN.items()
    for ap, cell in zip(KINDS, row, strict=True)
]
bits = st.integers(1, 16)


@pytest.mark.parametrize(("function", "arguments", "ap", "last", "cell"), CELLS)
def test_the_formula_gives_the_golden_cell(function, arguments, ap, last, cell) -> None:  # type: ignore[no-untyped-def]
    rest = () if last is None else (last,)
    assert getattr(realisable, function)(*arguments, ap, *rest) == Counts(*cell)


def test_horizontal_functions_meet_the_paper_exactly() -> None:
    """add(8) == 89, multiply(8) == 544, relu(8) == 33; subtract and maximum alike"""
    assert realisable.add(8) == realisable.subtract(8) == closed_form.add(8)
    assert realisable.multiply(8, 4) == closed_form.multiply(8, 4)
    assert realisable.relu(8) == closed_form.relu(8)
    assert realisable.maximum(8) == realisable.minimum(8) == closed_form.max_pool(8, 2, 1, "1d")
    assert terms("multiply", "1d", bits=8) == {}


@given(bits, st.integers(2, 200))
def test_terms_explain_reductions(bits: int, words: int) -> None:
    """realisable == paper + sum(terms), on every kind"""
    for ap in AP_KINDS:
        named = terms("reduce", ap, bits=bits, words=words)
        paper = closed_form.reduce(bits, words, ap)
        assert realisable.reduce(bits, words, ap) == sum(named.values(), paper)


@given(bits, bits, st.integers(1, 9), st.integers(1, 80), st.integers(1, 9))
def test_terms_explain_matmuls(a: int, b: int, i: int, j: int, u: int) -> None:
    """realisable == paper + sum(terms), on every kind"""
    for ap in AP_KINDS:
        named = terms("matmul", ap, bits=a, bits_b=b, i=i, j=j, u=u)
        paper = closed_form.matmul(a, i, j, u, ap, b)
        assert realisable.matmul(a, i, j, u, ap, b) == sum(named.values(), paper)


@given(bits, st.integers(2, 80), st.integers(1, 30), st.sampled_from([None, False, True]))
def test_terms_explain_average_pools(
    bits: int, window: int, windows: int, full_sum: bool | None
) -> None:
    """realisable == paper + sum(terms), on every kind"""
    for ap in AP_KINDS:
        named = terms(
            "average_pool", ap, bits=bits, window=window, windows=windows, full_sum=full_sum
        )
        paper = closed_form.average_pool(bits, window, windows, ap)
        found = realisable.average_pool(bits, window, windows, ap, full_sum)
        assert found == sum(named.values(), paper)


@given(bits, st.integers(2, 80), st.integers(1, 30), st.sampled_from(realisable.SCHEMES))
def test_terms_explain_max_pools(bits: int, window: int, windows: int, scheme: str) -> None:
    """realisable == paper + sum(terms), on every kind and scheme"""
    for ap in AP_KINDS:
        named = terms("max_pool", ap, bits=bits, window=window, windows=windows, scheme=scheme)
        paper = closed_form.max_pool(bits, window, windows, ap)
        found = realisable.max_pool(bits, window, windows, ap, scheme)
        assert found == sum(named.values(), paper)
        assert set(named) <= set(REASONS)


@given(bits, st.integers(1, 10), st.integers(1, 12))
def test_the_omitted_carry_resolution_has_its_printed_size(bits: int, q: int, groups: int) -> None:
    """2d: total - P(7) == -iu + 8(W-1); 2d-seg: total - P(8) == 8Q - 10 + 8(W-1)"""
    j, width = 2**q, 2 * bits + q
    carry_save = realisable.matmul(bits, groups, j, 1, "2d")
    tree = realisable.matmul(bits, groups, j, 1, "2d-seg")
    paper = closed_form.matmul(bits, groups, j, 1, "2d").total
    segmented = closed_form.matmul(bits, groups, j, 1, "2d-seg").total
    assert carry_save.total - paper == -groups + 8 * (width - 1)
    assert tree.total - segmented == 8 * q - 10 + 8 * (width - 1)


@given(bits, st.integers(1, 6), st.integers(1, 9))
def test_powers_of_two_are_exact_on_1d_and_with_a_tag_chain(bits: int, q: int, k: int) -> None:
    """1d, 2d-tc and 2d-seg-tc have no terms but the flag reset of Eq. (14)"""
    for ap in ("1d", "2d-tc", "2d-seg-tc"):
        assert terms("reduce", ap, bits=bits, words=2**q) == {}
        assert terms("average_pool", ap, bits=bits, window=2**q, windows=k) == {}
        assert set(terms("max_pool", ap, bits=bits, window=2**q, windows=k)) <= {"flag_reset"}


def test_one_product_needs_no_reduction() -> None:
    """j = 1: matmul == multiply on every kind"""
    for ap in AP_KINDS:
        assert realisable.matmul(8, 3, 1, 5, ap) == realisable.multiply(8)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="scheme 'tree' is unknown; it is one of moves, prefix"):
        realisable.max_pool(8, 4, 4, "2d", "tree")
    with pytest.raises(InputError, match="no closed form is named 'divide'"):
        terms("divide", "1d", bits=8)
    with pytest.raises(InputError, match="AP kind"):
        realisable.reduce(8, 16, "4d")


@given(bits, bits, st.integers(1, 9), st.integers(2, 70), st.sampled_from(AP_KINDS))
def test_partial_sums_have_a_term_of_their_own_making(
    wide: int, width: int, groups: int, count: int, ap: str
) -> None:
    """merge == words and sums moved + what Eqs. (6)-(8) print for it + the terms of a reduction"""
    term = terms("merge", ap, bits=wide, words=count, u=groups, width=width)
    assert term == {"partial_sums": realisable.merge(groups, count, wide, width, ap)}


@given(bits, bits, st.integers(1, 9), st.integers(1, 70), st.sampled_from(AP_KINDS))
def test_a_product_whose_sums_go_on_reads_words(
    a: int, b: int, groups: int, length: int, ap: str
) -> None:
    """partial == printed + terms, with a read for each group in place of one for each bit"""
    sizes = {"bits_b": b, "i": 1, "j": length, "u": groups}
    named = terms("matmul", ap, bits=a, **sizes, partial=True)
    printed = closed_form.matmul(a, 1, length, groups, ap, b)
    counts = realisable.matmul(a, 1, length, groups, ap, b, partial=True)
    assert counts == sum(named.values(), printed)
    assert counts - realisable.matmul(a, 1, length, groups, ap, b) == Counts(
        read=groups - (a + b + (length - 1).bit_length())
    )
