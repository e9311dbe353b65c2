"""Functions over doubling sizes: what `benchmarks.complexity` runs.

The rule: the sizes of the paper's Fig. 5, every point executed and held against all three
conformance rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apsim.check.row import Case, Row, examine
from apsim.closed_form import AP_KINDS

__all__ = ["SWEEPS", "Series", "Sweep", "run"]


@dataclass(frozen=True)
class Sweep:
    """A function over one of its sizes, the others fixed."""

    title: str
    function: str
    symbol: str
    sizes: tuple[int, ...]
    fixed: Mapping[str, Any]

    def params(self, size: int, ap: str) -> dict[str, Any]:
        """The parameters of a case: a multiplication's two widths grow together."""
        grown = {"Ma": size, "Mw": size} if self.symbol == "Ma" else {self.symbol: size}
        return dict(self.fixed) | grown | scheme(self.function, ap)


@dataclass(frozen=True)
class Series:
    """A sweep on one AP kind."""

    sweep: Sweep
    ap: str
    rows: tuple[Row, ...]

    @property
    def counted(self) -> list[int]:
        """Executed totals, by size."""
        return [row.counted.total for row in self.rows]

    @property
    def printed(self) -> list[int]:
        """Totals of the printed equation, by size."""
        return [row.paper.total for row in self.rows if row.paper is not None]


def scheme(function: str, ap: str) -> dict[str, str]:
    """How a kind takes maxima: with its chain where it has one, else by moving rows."""
    if function != "max_pool":
        return {}
    return {"scheme": "chain" if ap.endswith("-tc") else "moves"}


def _doubling(first: int, last: int) -> tuple[int, ...]:
    return tuple(2**q for q in range(first, last + 1))


WORD = {"signs": "u"}
SWEEPS: Sequence[Sweep] = (
    Sweep("reduction over L", "reduce", "L", _doubling(1, 12), {"M": 8} | WORD),
    Sweep("reduction over M (L = 256)", "reduce", "M", _doubling(0, 4), {"L": 256} | WORD),
    Sweep("matrix product over j (i = u = 8)", "matmul", "j", _doubling(0, 10),
          {"Ma": 8, "Mw": 8, "i": 8, "u": 8, "signs": "uu"}),
    Sweep("matrix product over i (j = 64, u = 1)", "matmul", "i", _doubling(0, 8),
          {"Ma": 8, "Mw": 8, "j": 64, "u": 1, "signs": "uu"}),
    Sweep("average pooling over S (K = 64)", "average_pool", "S", _doubling(1, 10),
          {"M": 8, "K": 64, "divide": "shift"} | WORD),
    Sweep("max pooling over S (K = 64)", "max_pool", "S", _doubling(1, 10),
          {"M": 8, "K": 64} | WORD),
    Sweep("max pooling over K (S = 4)", "max_pool", "K", _doubling(0, 10), {"M": 8, "S": 4} | WORD),
    Sweep("addition over M", "add", "M", _doubling(0, 5), {"rows": 512} | WORD),
    Sweep("multiplication over M", "multiply", "Ma", _doubling(0, 4),
          {"rows": 512, "signs": "uu"}),
    Sweep("ReLU over M", "relu", "M", _doubling(0, 5), {"rows": 512, "signs": "s"}),
)  # fmt: skip


def run(sweep: Sweep) -> list[Series]:
    """Execute a sweep on every AP kind."""
    return [
        Series(
            sweep,
            ap,
            tuple(
                examine(Case(sweep.function, ap, sweep.params(size, ap))) for size in sweep.sizes
            ),
        )
        for ap in AP_KINDS
    ]
