"""Plans with machine code in them, worked out once for each program and way of grouping.

The rule: without explicit vectors there is no such code, and the plan stays as it is.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from apsim.cam._plan import Plan, plan
from apsim.encoding import Code

__all__ = ["ALONE", "UNCODED", "coded", "possible"]

ALONE = 0
"""For `coded`: every pass by itself."""

UNCODED = -1
"""For `coded`: no machine code of its own for any pass."""

_plans: WeakKeyDictionary[Code, dict[int, Plan]] = WeakKeyDictionary()


def coded(code: Code, least: int = ALONE) -> Plan:
    """A program's plan, its passes with code: alone, or as LUT steps that occur `least` times."""
    known = _plans.setdefault(code, {})
    if least not in known:
        known[least] = _coded(plan(code), least)
    return known[least]


def possible() -> bool:
    """Whether passes can have machine code of their own here."""
    from apsim.cam._compile import PLAIN

    return not PLAIN


def _coded(blank: Plan, least: int) -> Plan:
    across = any(section.groups is None for section in blank.sections)
    if least == UNCODED or not across or not possible():
        return blank
    from apsim.cam._fusion import address
    from apsim.cam._grouping import fused, single

    return fused(blank, address, least) if least else single(blank, address)
