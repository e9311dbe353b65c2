"""Tables I and II of BF-IMNA, derived from the equations and beside what is printed.

The rule: nothing is copied from the printed tables into the derived ones.  Each total is
interpolated exactly, over the rationals, in the monomials M^a log2(N)^b N^c R^d, where N is
the size that is reduced (L, j or S) and R repeats it (i*u or K); its growth is the set of
monomials that no other one outgrows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product

from apsim.closed_form import cnn, macro, micro

__all__ = [
    "FUNCTIONS",
    "KINDS",
    "Polynomial",
    "derive",
    "growth",
    "interpolate",
    "largest_terms",
    "printed_growth",
    "printed_total",
]

KINDS = ("1d", "2d", "2d-seg")
Monomial = tuple[int, int, int, int]


@dataclass(frozen=True)
class Function:
    """One row of the tables: its total at (M, N, R, kind), and what the paper prints."""

    total: Callable[[int, int, int, str], int]
    size: str
    repeat: str
    table1: tuple[str, str, str]
    table2: tuple[str, str, str]


def _same(formula: str) -> tuple[str, str, str]:
    return (formula, formula, formula)


FUNCTIONS: Mapping[str, Function] = {
    "addition": Function(
        lambda m, n, r, ap: micro.add(m).total,
        "",
        "",
        _same("2*M + 8*M + M + 1"),
        _same("O(M)"),
    ),
    "multiplication": Function(
        lambda m, n, r, ap: micro.multiply(m).total,
        "",
        "",
        _same("2*M + 8*M**2 + 2*M"),
        _same("O(M) + O(M^2)"),
    ),
    "reduction": Function(
        lambda m, n, r, ap: micro.reduce(m, n, ap).total,
        "L",
        "",
        (
            "2*M + sum(8*(M+q-1) for q in levels(L)) + L - 1",
            "2*M + 8*M + 8*(L/2-1) + 1",
            "2*M + 8*M + 8*log2(L/2) + 1",
        ),
        ("O(M) + O(M log2(L)) + O(L)", "O(M) + O(L)", "O(M) + O(log2(L))"),
    ),
    "matrix-matrix multiplication": Function(
        lambda m, n, r, ap: macro.matmul(m, r, n, 1, ap).total,
        "j",
        "iu",
        (
            "2*M + 8*M**2 + sum(8*(2*M+q-1) for q in levels(j)) + 2*iu*(j-1) + 2*M + log2(j)",
            "2*M + 8*M**2 + 8*iu*(j-1) + 2*M + log2(j)",
            "2*M + 8*M**2 + 8*log2(j) + 2*M + log2(j)",
        ),
        (
            "O(M) + O(M^2) + O(M log2(j)) + O(iu j)",
            "O(M) + O(M^2) + O(iu j)",
            "O(M) + O(M^2) + O(log2(j))",
        ),
    ),
    "ReLU": Function(
        lambda m, n, r, ap: cnn.relu(m).total, "", "", _same("4*M + 1"), _same("O(M)")
    ),
    "max pooling": Function(
        lambda m, n, r, ap: cnn.max_pool(m, n, r, ap).total,
        "S",
        "K",
        (
            "2*M + (8*M+2)*log2(S) + 2*K*(S/2-1) + M",
            "2*M + (8*M+2) + 10*K*(S/2-1) + M",
            "2*M + (8*M+2) + (8+2*K)*log2(S/2) + M",
        ),
        (
            "O(M) + O(M log2(S)) + O(S K)",
            "O(M) + O(S K)",
            "O(M) + O(log2(S)) + O(K log2(S))",
        ),
    ),
    "average pooling": Function(
        lambda m, n, r, ap: cnn.average_pool(m, n, r, ap).total,
        "S",
        "K",
        (
            "2*M + 2*K*(S/2-1) + sum(8*(M+q-1) for q in levels(S)) + M",
            "2*M + 8*M + 8*K*(S/2-1) + M",
            "2*M + 8*M + 8*log2(S/2) + M",
        ),
        ("O(M) + O(S K) + O(M log2(S))", "O(M) + O(S K)", "O(M) + O(log2(S))"),
    ),
}


@dataclass(frozen=True)
class Polynomial:
    """Coefficients by monomial (a, b, c, d) of M^a log2(N)^b N^c R^d, zeros left out."""

    terms: tuple[tuple[Monomial, Fraction], ...]
    size: str
    repeat: str

    def __call__(self, bits: int, levels: int, repeat: int) -> Fraction:
        """The value at M = `bits`, N = 2**`levels`, R = `repeat`."""
        return sum(
            (c * _value(power, bits, levels, repeat) for power, c in self.terms), Fraction(0)
        )

    def __str__(self) -> str:
        shown = (_term(c, _factors(p, self.size, self.repeat)) for p, c in self.terms)
        return " + ".join(shown).replace("+ -", "- ")


@cache
def derive(function: str, kind: str) -> Polynomial:
    """A cell of Table I, interpolated from the equation's totals.

    >>> print(derive("addition", "1d"))
    11*M + 1
    >>> print(derive("reduction", "2d-seg"))
    10*M + 8*log2(L) - 7
    """
    row = FUNCTIONS[function]
    return interpolate(lambda m, n, r: row.total(m, n, r, kind), row.size, row.repeat)


def interpolate(
    total: Callable[[int, int, int], int], size: str, repeat: str, first: int = 1
) -> Polynomial:
    """The polynomial through the totals at (M, N, R) for small M and R and N = 2**first, ...

    `size` and `repeat` name N and R; "" where the total does not depend on them.
    """
    sizes, repeats = (6 if size else 1), (2 if repeat else 1)
    levels = range(first, first + sizes)
    points = list(product(range(1, 4), levels, range(1, repeats + 1)))
    powers = [
        (a, b, c, d)
        for a in range(3)
        for b in range(3 if size else 1)
        for c in range(2 if size else 1)
        for d in range(repeats)
    ]
    values = [Fraction(total(m, 2**level, r)) for m, level, r in points]
    found = _solve([[_value(p, *point) for p in powers] for point in points], values)
    terms = [(power, c) for power, c in zip(powers, found, strict=True) if c]
    terms.sort(reverse=True)
    return Polynomial(tuple(terms), size, repeat)


def growth(function: str, kind: str) -> frozenset[str]:
    """A cell of Table II: the derived terms that no other one outgrows.

    >>> sorted(growth("reduction", "1d"))
    ['L', 'M log2(L)']
    """
    return largest_terms(derive(function, kind))


def largest_terms(polynomial: Polynomial) -> frozenset[str]:
    """The terms that no other one outgrows."""
    powers = [power for power, _ in polynomial.terms]
    return _maximal(powers, polynomial.size, polynomial.repeat)


def printed_growth(function: str, kind: str) -> frozenset[str]:
    """The printed cell of Table II, without the terms that another one outgrows."""
    row = FUNCTIONS[function]
    factors = {"M": 0, f"log2({row.size})": 1, row.size: 2, row.repeat: 3}
    powers = []
    for term in re.findall(r"O\((.*?)\)(?= \+|$)", row.table2[KINDS.index(kind)]):
        power = [0, 0, 0, 0]
        for factor in term.split():
            base, _, exponent = factor.partition("^")
            power[factors[base]] += int(exponent or 1)
        powers.append((power[0], power[1], power[2], power[3]))
    return _maximal(powers, row.size, row.repeat)


def printed_total(function: str, kind: str, bits: int, levels: int, repeat: int) -> Fraction:
    """The printed cell of Table I at M = `bits`, N = 2**`levels`, R = `repeat`."""
    row = FUNCTIONS[function]
    names = {
        "M": Fraction(bits),
        "log2": lambda n: Fraction(int(n).bit_length() - 1),
        "levels": lambda n: range(1, int(n).bit_length()),
        "sum": sum,
        row.size: Fraction(2**levels),
        row.repeat: Fraction(repeat),
    }
    formula = row.table1[KINDS.index(kind)]
    return Fraction(eval(formula, {"__builtins__": {}} | names))  # our own constant text


def _value(power: Monomial, bits: int, levels: int, repeat: int) -> Fraction:
    a, b, c, d = power
    return Fraction(bits**a * levels**b * 2 ** (levels * c) * repeat**d)


def _term(coefficient: Fraction, factors: list[str]) -> str:
    leading = [] if coefficient == 1 and factors else [str(coefficient)]
    return "*".join(leading + factors)


def _factors(power: Monomial, size: str, repeat: str) -> list[str]:
    names = ("M", f"log2({size})", size, repeat)
    return [
        name if exponent == 1 else f"{name}^{exponent}"
        for name, exponent in zip(names, power, strict=True)
        if exponent
    ]


def _maximal(powers: list[Monomial], size: str, repeat: str) -> frozenset[str]:
    """Terms that stay when each of M, N and R may grow alone: N outgrows any log2(N)^b."""

    def outgrown(p: Monomial) -> bool:
        return any(
            q != p and q[0] >= p[0] and (q[2], q[1]) >= (p[2], p[1]) and q[3] >= p[3]
            for q in powers
        )

    kept = [p for p in powers if any(p) and not outgrown(p)]
    return frozenset(" ".join(_factors(p, size, repeat)) for p in kept)


def _solve(matrix: list[list[Fraction]], values: list[Fraction]) -> list[Fraction]:
    """Gauss-Jordan elimination; the monomials are independent on the points used."""
    rows = [[*row, value] for row, value in zip(matrix, values, strict=True)]
    for column in range(len(rows)):
        pivot = next(r for r in range(column, len(rows)) if rows[r][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        scale = rows[column][column]
        rows[column] = [x / scale for x in rows[column]]
        for r in range(len(rows)):
            factor = rows[r][column]
            if r != column and factor:
                rows[r] = [x - factor * y for x, y in zip(rows[r], rows[column], strict=True)]
    return [row[-1] for row in rows]
