"""What `breakpoint()` does where PYTHONBREAKPOINT names `apsim.debug.breakpointhook`.

The rule: where the calling function holds a session, its prompt opens; everywhere
else Python's own debugger does, as if nothing had been set.
"""

from __future__ import annotations

import pdb
import sys

from apsim.debug.session import Session
from apsim.debug.terminal import prompt

__all__ = ["breakpointhook"]


def breakpointhook() -> None:
    """Open the prompt on the session that the caller holds, or Python's own debugger."""
    caller = sys._getframe(1)
    for value in caller.f_locals.values():
        if isinstance(value, Session):
            prompt(value)
            return
    pdb.Pdb().set_trace(caller)
