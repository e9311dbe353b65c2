"""Eqs. (1)-(15) at the numbers of the design's unit vectors, and their refusals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apsim import closed_form
from apsim.counts import Counts
from apsim.errors import InputError

# M = 8, L = 16, i = u = 2, j = 8, S = K = 4; (compare, write, read) and their sum.
VECTORS = {
    "add": ((32, 48, 9), 89),
    "multiply": ((256, 272, 16), 544),
    "reduce 1d": ((152, 175, 8), 335),
    "reduce 2d": ((60, 76, 1), 137),
    "reduce 2d-seg": ((44, 60, 1), 105),
    "matmul 1d": ((460, 504, 47), 1011),
    "matmul 2d": ((368, 384, 19), 771),
    "matmul 2d-seg": ((268, 284, 19), 571),
    "average_pool 1d": ((68, 88, 12), 168),
    "average_pool 2d": ((48, 64, 8), 120),
    "average_pool 2d-seg": ((36, 52, 8), 96),
    "max_pool 1d": ((64, 88, 12), 164),
    "max_pool 2d": ((48, 74, 8), 130),
    "max_pool 2d-seg": ((36, 62, 8), 106),
    "relu": ((7, 17, 9), 33),
}
ARGUMENTS = {
    "add": (),
    "multiply": (),
    "relu": (),
    "reduce": (16,),
    "matmul": (2, 8, 2),
    "average_pool": (4, 4),
    "max_pool": (4, 4),
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_equation_gives_its_unit_vector(name: str) -> None:
    function, *ap = name.split()
    counts = getattr(closed_form, function)(8, *ARGUMENTS[function], *ap)
    expected, total = VECTORS[name]
    assert counts == Counts(*expected)
    assert counts.total == total


@pytest.mark.parametrize("function", ["reduce", "matmul", "average_pool", "max_pool"])
@pytest.mark.parametrize("ap", ["2d", "2d-seg"])
def test_the_paper_charges_nothing_for_a_tag_chain(function: str, ap: str) -> None:
    """f(ap) == f(ap with a tag chain)"""
    equation = getattr(closed_form, function)
    arguments = ARGUMENTS[function]
    assert equation(8, *arguments, ap) == equation(8, *arguments, f"{ap}-tc")


@given(st.integers(1, 16), st.integers(1, 16), st.integers(1, 64))
def test_a_dot_product_is_a_matmul_of_one_by_one(bits: int, bits_b: int, j: int) -> None:
    """dot(j) == matmul(1, j, 1)"""
    for ap in ("1d", "2d", "2d-seg"):
        assert closed_form.dot(bits, j, ap, bits_b) == closed_form.matmul(bits, 1, j, 1, ap, bits_b)


@given(st.integers(1, 16), st.integers(1, 16))
def test_mixed_widths_do_not_depend_on_which_operand_is_wide(a: int, b: int) -> None:
    """multiply(a, b) == multiply(b, a), and multiply(a, a) == multiply(a)"""
    assert closed_form.multiply(a, b) == closed_form.multiply(b, a)
    assert closed_form.multiply(a, a) == closed_form.multiply(a)


def test_odd_windows_take_the_rows_that_hold_them() -> None:
    """S = 9 fills 5 rows: 4 vertical additions a window, 4 horizontal levels on 1d."""
    assert closed_form.average_pool(8, 9, 3, "2d").compare == 4 * 8 + 4 * 3 * 4
    assert closed_form.average_pool(8, 9, 3, "1d").compare == 4 * (8 + 9 + 10 + 11)
    assert closed_form.max_pool(8, 9, 3, "1d").read == 8 + 3 * 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: closed_form.add(0), "bits must be at least 1, got 0"),
        (lambda: closed_form.reduce(8, 1, "1d"), "words must be at least 2, got 1"),
        (lambda: closed_form.max_pool(8, 1, 4, "1d"), "window must be at least 2, got 1"),
        (lambda: closed_form.matmul(8, 1, 0, 1, "2d"), "j must be at least 1, got 0"),
        (lambda: closed_form.dot(8, 4, "3d"), "AP kind '3d' is unknown; it is one of 1d, 2d"),
    ],
)
def test_arguments_outside_the_equation_are_refused(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        call()
