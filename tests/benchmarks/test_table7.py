"""Where the energy of an executed multiply-accumulate goes."""

from __future__ import annotations

import pytest

from apsim.counts import Phase
from apsim.program import Mode
from benchmarks.table7_parts import PARTS, lines, measure, paper_compares

MULTIPLY = (Phase.COMPUTE, Mode.HORIZONTAL)
ADD_ROWS = (Phase.REDUCE, Mode.VERTICAL)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_multiplication_searches_as_often_as_the_paper_says(bits: int) -> None:
    """4 M^2 compares in every row, and one row more for the carries"""
    words = 16
    activity, _ = measure(bits, words)
    assert activity[MULTIPLY].compared == paper_compares(bits)["multiply"] * (words + 1)


@pytest.mark.parametrize("bits", [4, 8])
def test_an_addition_between_rows_searches_every_column(bits: int) -> None:
    """4 searches for each of words - 1 additions, in all columns instead of 2 M

    The first addition meets no carry and is one search shorter.
    """
    words = 16
    activity, columns = measure(bits, words)
    assert activity[ADD_ROWS].compared == (4 * (words - 1) - 1) * columns
    assert columns > 2 * bits


def test_the_table_names_every_part() -> None:
    text = "\n".join(lines(4))
    assert all(name in text for name in PARTS.values())
    assert "(paper's compares: 3.33)" in text
