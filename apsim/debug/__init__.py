"""A debugger that goes both ways: session (state), panes (views), commands, terminal loop.

From Python: `machine.debug(program)`, or `open`, opens the prompt, and `for event in
Session(machine, program):` steps in a loop.  With PYTHONBREAKPOINT set to
`apsim.debug.breakpointhook`, a `breakpoint()` inside such a loop opens the prompt on
the loop's own session; the loop goes on from wherever the prompt leaves it.
"""

import numpy as np
from numpy.typing import NDArray

from apsim.debug.hook import breakpointhook
from apsim.debug.session import Session
from apsim.debug.terminal import prompt
from apsim.machine import Machine
from apsim.program import Microprogram, Operation

__all__ = ["Session", "breakpointhook", "open", "prompt"]


def open(
    machine: Machine,
    program: Operation | Microprogram,
    data: NDArray[np.uint64] | None = None,
    out: NDArray[np.uint64] | None = None,
) -> Session:
    """Open the prompt on a program of a machine; gives the session when the user leaves.

    `data` and `out` are the words that the program takes and puts out, as in `Cam.execute`.
    """
    return prompt(Session(machine, program, data=data, out=out))
