"""Table II measured: polynomials through executed totals, and their largest terms.

The rule: nothing is taken from the equations; a polynomial goes through counts of
executions, must meet a further execution far outside of them, and is then laid beside
what the paper prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apsim.check.row import Case, examine
from apsim.closed_form import AP_KINDS, tables
from benchmarks.sweeps import scheme

__all__ = ["Growth", "measure"]

PAPER = {"2d-tc": "2d", "2d-seg-tc": "2d-seg"}
FAR = (5, 9, 3)  # M, log2 N and R of the execution that a polynomial must meet


@dataclass(frozen=True)
class Growth:
    """One cell: the measured total, its largest terms, and those that the paper prints."""

    function: str
    ap: str
    total: str
    measured: frozenset[str]
    printed: frozenset[str]
    holds: bool  # whether the polynomial meets the execution far outside

    @property
    def agrees(self) -> bool:
        """Whether the measured growth is the printed one."""
        return self.measured == self.printed


def _params(function: str, m: int, n: int, r: int) -> tuple[str, dict[str, Any], int]:
    """The function's name, its parameters at (M, N, R), and the least log2 N that is regular."""
    match function:
        case "addition":
            return "add", {"M": m, "signs": "u", "rows": 64}, 0
        case "multiplication":
            return "multiply", {"Ma": m, "Mw": m, "signs": "uu", "rows": 64}, 0
        case "ReLU":
            return "relu", {"M": m, "signs": "s", "rows": 64}, 0
        case "reduction":
            return "reduce", {"M": m, "L": n, "signs": "u"}, 2
        case "matrix-matrix multiplication":
            return "matmul", {"Ma": m, "Mw": m, "i": r, "j": n, "u": 1, "signs": "uu"}, 1
        case "max pooling":
            return "max_pool", {"M": m, "S": n, "K": r, "signs": "u"}, 2
        case _:
            params = {"M": m, "S": n, "K": r, "signs": "u", "divide": "shift"}
            return "average_pool", params, 2


def _executed(function: str, ap: str, m: int, n: int, r: int) -> int:
    name, params, _ = _params(function, m, n, r)
    row = examine(Case(name, ap, params | scheme(name, ap)))
    if row.wrong:
        raise AssertionError(row.wrong[0])
    return row.counted.total


def measure() -> Iterator[Growth]:
    """Every cell of Table II, and those of the kinds that the paper has not."""
    for function in tables.FUNCTIONS:
        for ap in AP_KINDS:
            yield _cell(function, ap)


def _cell(function: str, ap: str) -> Growth:
    row, first = tables.FUNCTIONS[function], _params(function, 1, 1, 1)[2]
    total = tables.interpolate(
        lambda m, n, r: _executed(function, ap, m, n, r), row.size, row.repeat, first
    )
    bits, levels, repeat = FAR
    return Growth(
        function,
        ap,
        str(total),
        tables.largest_terms(total),
        tables.printed_growth(function, PAPER.get(ap, ap)),
        total(*FAR) == _executed(function, ap, bits, 2**levels, repeat),
    )
