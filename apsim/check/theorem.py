"""Column locality: what vertical passes, however many, can do and what they cannot.

The rule: in vertical mode the key is on rows and the tag of a column depends on that
column alone, as does its write; so after any list of passes a column's content is a
function of its own former content.  A bit of a sum depends on the lower columns.
"""

from __future__ import annotations

import numpy as np

from apsim.layout import Field, Layout
from apsim.machine import Machine
from apsim.ops.rows import loop
from apsim.ops.steps import passes
from apsim.program import Microprogram, Mode

__all__ = ["literal_addition"]


def literal_addition(bits: int, a: int = 181, b: int = 110) -> tuple[int, int, int, int]:
    """Run the adder's four passes vertically on rows a, b and a clean carry row.

    Gives (a, b, what b became, what the carry row became): not a sum, but a xor b and a and b.
    """
    word = Field("W", 0, bits)
    machine = Machine(3, Layout.of(word))
    machine.write("W", np.array([a, b, 0]))
    body = passes("add", {"A": 0, "B": 1, "C": 2}, mode=Mode.VERTICAL)
    machine.run(Microprogram((loop(body, np.array([[0, 1, 2]]), False),), "eq. (4), literally"))
    _, low, high = machine.peek("W").tolist()
    return a, b, low, high
