"""A debugger that goes both ways: session (state), panes (views), commands, terminal loop.

From Python: `machine.debug(program)` opens the prompt, and `for event in
Session(machine, program):` steps in a loop.  With PYTHONBREAKPOINT set to
`apsim.debug.breakpointhook`, a `breakpoint()` inside such a loop opens the prompt on
the loop's own session; the loop goes on from wherever the prompt leaves it.
"""

from apsim.debug.hook import breakpointhook
from apsim.debug.session import Session
from apsim.debug.terminal import prompt

__all__ = ["Session", "breakpointhook", "prompt"]
