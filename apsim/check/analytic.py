"""The printed equations alone, at the sizes of the grid: the mode `analytic`.

The rule: nothing is executed here, nothing is called emulated or measured, and no
verdict is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from apsim.check.grid import cases
from apsim.check.row import Case, subject
from apsim.counts import Counts

__all__ = ["ANALYTIC", "Equation", "equations"]

ANALYTIC = "analytic"
UNPRICED = ("rows", "signs", "dirty", "cap_rows")
PRINTED = ("1d", "2d", "2d-seg")


@dataclass(frozen=True)
class Equation:
    """What a printed equation gives for a case; the paper has three AP kinds."""

    case: Case
    paper: Counts

    def as_dict(self) -> dict[str, Any]:
        """A row of the result file, with nothing counted and no verdict."""
        params = {k: v for k, v in self.case.params.items() if k not in UNPRICED}
        return {
            "function": self.case.function,
            "ap": ANALYTIC,
            "tag_chain": False,
            "params": params | {"kind": self.case.ap},
            "counted": None,
            "realisable": None,
            "paper": self.paper.as_dict(),
            "terms": {},
            "bit_exact": None,
            "status": "equation",
        }


def equations(full: bool = False, names: Sequence[str] = ()) -> list[Equation]:
    """The equations of the functions that the paper has, each size once."""
    return list(_equations(full, names))


def _equations(full: bool, names: Sequence[str]) -> Iterator[Equation]:
    seen = set()
    for case in cases(full, PRINTED, names):
        paper = subject(case).paper(case.ap, case.params)
        if paper is None:
            continue
        equation = Equation(case, paper)
        key = str(equation.as_dict())
        if key not in seen:
            seen.add(key)
            yield equation
