"""LUTs derived from others stay sound and do what they are for."""

from __future__ import annotations

from itertools import product

import pytest

from apsim import lut
from apsim.errors import LutError
from apsim.lut.model import Lut


def sweep(first: Lut, rest: Lut, a: int, b: int, bits: int) -> int:
    """B after the maximum has walked from the highest bit, `first` there, `rest` below."""
    flags = (0, 0)
    result = 0
    for place in reversed(range(bits)):
        table = first if place == bits - 1 else rest
        _, bit, *flags = lut.run_passes(table, (a >> place & 1, b >> place & 1, *flags))  # type: ignore[assignment]
        result |= bit << place
    return result


@pytest.mark.parametrize("name", ["max", "max3", "min", "min3"])
def test_complementing_the_sign_column_compares_signed_words(name: str) -> None:
    """sweep(a, b) == max(a, b) (or min) on two's complement words of 4 bits."""
    table, pick = lut.find(name), max if name.startswith("max") else min
    top = lut.complemented(table, ("A", "B"))
    for a, b in product(range(-8, 8), repeat=2):
        assert sweep(top, table, a & 15, b & 15, 4) == pick(a, b) & 15


@pytest.mark.parametrize("name", ["max", "max3", "min", "min3"])
def test_without_complement_words_are_unsigned(name: str) -> None:
    """sweep(a, b) == max(a, b) (or min) on unsigned words of 4 bits."""
    table, pick = lut.find(name), max if name.startswith("max") else min
    for a, b in product(range(16), repeat=2):
        assert sweep(table, table, a, b, 4) == pick(a, b)


def test_the_minimum_is_the_complemented_maximum() -> None:
    made, read = lut.complemented(lut.find("max"), ("A", "B")), lut.find("min")
    assert (made.truth, {p.key for p in made.passes}) == (
        read.truth,
        {p.key for p in read.passes},
    )


@pytest.mark.parametrize("name", lut.names())
def test_complementing_keeps_a_lut_sound_and_twice_gives_it_back(name: str) -> None:
    """complemented(complemented(lut, c), c) == lut, in truth and passes, for every column c."""
    table = lut.find(name)
    for column in table.columns:
        once = lut.complemented(table, (column,))
        twice = lut.complemented(once, (column,))
        lut.prove(once)
        assert (twice.truth, twice.passes, twice.free) == (table.truth, table.passes, table.free)


def test_a_column_that_the_lut_has_not_is_named() -> None:
    with pytest.raises(LutError, match="LUT max has no column 'C'"):
        lut.complemented(lut.find("max"), ("A", "C"))
