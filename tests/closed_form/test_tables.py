"""Tables I and II follow from the fifteen equations."""

from fractions import Fraction
from itertools import product

import pytest

from apsim.closed_form import tables

CELLS = list(product(tables.FUNCTIONS, tables.KINDS))
POINTS = list(product((1, 2, 5, 8, 16), (1, 2, 4, 9, 13), (1, 3, 64)))


@pytest.mark.parametrize(("function", "kind"), CELLS)
def test_the_derived_polynomial_is_the_equation(function: str, kind: str) -> None:
    """derived(M, N, R) == equation(M, N, R), far outside the points it was derived from"""
    equation, derived = tables.FUNCTIONS[function].total, tables.derive(function, kind)
    for bits, levels, repeat in POINTS:
        assert derived(bits, levels, repeat) == equation(bits, 2**levels, repeat, kind)


@pytest.mark.parametrize(("function", "kind"), CELLS)
def test_table_1_as_printed_is_the_derived_polynomial(function: str, kind: str) -> None:
    """printed(M, N, R) == derived(M, N, R)"""
    derived = tables.derive(function, kind)
    for bits, levels, repeat in POINTS:
        assert tables.printed_total(function, kind, bits, levels, repeat) == derived(
            bits, levels, repeat
        )


@pytest.mark.parametrize(("function", "kind"), CELLS)
def test_table_2_as_printed_has_the_derived_growth(function: str, kind: str) -> None:
    assert tables.printed_growth(function, kind) == tables.growth(function, kind)


@pytest.mark.parametrize(("function", "kind"), CELLS)
def test_the_measured_growth_is_the_stated_one(function: str, kind: str) -> None:
    """equation(t) / sum of stated terms(t) settles, along every ray, where one size grows"""
    row, stated = tables.FUNCTIONS[function], tables.growth(function, kind)
    for grown in range(3):
        ratios = []
        for scale in (40, 80, 160):
            point = [2, 2, 2]
            point[grown] = scale if grown == 1 else 2**scale
            bits, levels, repeat = point
            total = row.total(bits, 2**levels, repeat, kind)
            values = {"M": bits, row.size: 2**levels, row.repeat: repeat}
            values |= {f"log2({row.size})": levels}
            ratios.append(Fraction(total, _sum_of(stated, values)))
        assert 0 < ratios[-1] < 64
        assert abs(ratios[2] - ratios[1]) <= abs(ratios[1] - ratios[0])


def _sum_of(terms: frozenset[str], values: dict[str, int]) -> int:
    total = 0
    for term in terms:
        value = 1
        for factor in term.split():
            name, _, exponent = factor.partition("^")
            value *= values[name] ** int(exponent or 1)
        total += value
    return total
