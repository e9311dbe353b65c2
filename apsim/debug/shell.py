"""What the typed commands share: the session, its stops, the view, and where text goes.

The rule: commands change a shell and say what came of it; how lines are read and
how the screen is drawn is the terminal's matter (`terminal`, `live`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.text import Text

from apsim.debug.conditions import Changed
from apsim.debug.interrupts import Interrupt
from apsim.debug.panes import PANES
from apsim.debug.session import Session, words_of
from apsim.debug.stops import Stop, Stops
from apsim.debug.view import View, describe
from apsim.errors import shown_lines

__all__ = ["Shell"]

MOST_CHANGES = 4


@dataclass
class Shell:
    """A session with all that surrounds it at a prompt; `running` ends with `quit`."""

    session: Session
    console: Console
    stops: Stops = field(default_factory=Stops)
    view: View = field(default_factory=View)
    displayed: list[str] = field(default_factory=list)
    running: bool = True
    failed: int = 0
    recording: ExitStack | None = None
    full_screen: Callable[[Shell], None] | None = None
    interrupt: Interrupt = field(default_factory=Interrupt)

    def __post_init__(self) -> None:
        self.session.tape.should_stop = self.interrupt.is_asked

    def say(self, text: str) -> None:
        """Print a line, or several, as they are."""
        self.console.print(Text(shown_lines(text)), soft_wrap=True)

    def show(self, names: Sequence[str]) -> None:
        """Draw panes by name."""
        self.view.width = self.console.width
        for name in names:
            self.console.print(PANES[name](self.session, self.view, self.stops), no_wrap=True)

    def halt(self, hits: Sequence[Stop] = ()) -> None:
        """Say where the run halted and why, then draw the displayed panes."""
        for stop in hits:
            self.say(f"{stop.kind} {stop.number}: {stop.text}{self._changes(stop)}")
        self.stops.hit(hits)
        event = self.session.event()
        self.say(describe(self.session, event) if event else "at the start")
        if self.session.point == self.session.end:
            self.say(f"the program has ended: {self.session.counts}")
        self.show(self.displayed)

    def _changes(self, stop: Stop) -> str:
        """What a watched field was and is, in the rows where it changed."""
        before = self.session.tape.cells_before()
        if not isinstance(stop.condition, Changed) or before is None:
            return ""
        field = stop.condition.field
        old, new = words_of(before, field), self.session.values(field)
        changed = np.flatnonzero(old != new)
        shown = [f"[{row}] {old[row]} -> {new[row]}" for row in changed[:MOST_CHANGES]]
        more = f", {len(changed) - MOST_CHANGES} more" if len(changed) > MOST_CHANGES else ""
        return ", ".join(shown) + more

    def stop_recording(self) -> None:
        """Finish a trace that is being written."""
        if self.recording is not None:
            self.session.on_step = None
            self.recording.close()
            self.recording = None
