"""The packed array with LUT steps fused: one loop over the rows for the passes of a step.

The rule: same cells, tags and numbers as the strict array, by test; only how often a
cell travels between memory and registers differs.  Without explicit vectors it is the
strict array.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from apsim.cam._plan import Plan, plan
from apsim.cam.packed import PackedCam
from apsim.encoding import Code

__all__ = ["FusedCam"]


class FusedCam(PackedCam):
    """A packed array that makes machine code for the LUT steps of a program as they come."""

    least = 4
    """How often a step's pattern must occur in a program to be worth code of its own."""

    def plan(self, code: Code) -> Plan:
        """The plan of a program, with code for its LUT steps."""
        known = _plans.get(code)
        if known is None or known[0] != self.least:
            known = _plans[code] = self.least, _fuse(plan(code), self.least)
        return known[1]


def _fuse(strict: Plan, least: int) -> Plan:
    from apsim.cam._compile import PLAIN

    if PLAIN:
        return strict
    from apsim.cam._fusion import address
    from apsim.cam._grouping import fused

    return fused(strict, address, least)


_plans: WeakKeyDictionary[Code, tuple[int, Plan]] = WeakKeyDictionary()
