"""The closed forms by the name of their reading, as `apsim.cost` takes them.

The rule: `cost` knows no closed form; whoever costs a network hands them in from here.
"""

from __future__ import annotations

from collections.abc import Mapping

from apsim import closed_form
from apsim.cost.latency import Equations

__all__ = ["EQUATIONS"]

EQUATIONS: Mapping[str, Equations] = {"paper": closed_form, "realisable": closed_form.realisable}
