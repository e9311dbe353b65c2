"""Programs whose passes have machine code, worked out once for each way of grouping.

The rule: without explicit vectors there is no such code, and kernels in plain source serve.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from apsim.cam._across import Across
from apsim.cam._grouping import Piece, fused, single
from apsim.cam._plan import Plan, plan
from apsim.encoding import Code

__all__ = ["ALONE", "UNCODED", "coded", "possible"]

ALONE = 0
"""For `coded`: every pass by itself."""

UNCODED = -1
"""For `coded`: no machine code of its own for any pass."""

_known: WeakKeyDictionary[Code, dict[tuple[int, int], Across]] = WeakKeyDictionary()


def coded(code: Code, least: int = ALONE, columns: int = 0) -> Across:
    """A program's operations, for an array or for lanes of so many columns.

    Passes have code alone, or as LUT steps that occur `least` times, or none of their own.
    """
    known = _known.setdefault(code, {})
    if (least, columns) not in known:
        known[least, columns] = Across(plan(code), _pieces(plan(code), least), columns)
    return known[least, columns]


def possible() -> bool:
    """Whether there can be machine code here."""
    from apsim.cam._compile import PLAIN

    return not PLAIN


def _pieces(blank: Plan, least: int) -> list[Piece]:
    across = any(section.groups is None for section in blank.sections)
    if least == UNCODED or not across:
        return []
    return fused(blank, least) if least else single(blank)
