"""The console that verbs print their tables on.

The rule: as wide as the terminal, or of a given width where nobody looks; columns that have no
room are left out in a declared order, and words are never broken.  A reader that stops reading
(`apsim run | head`) is not a check that failed.  Names are shown, not obeyed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from apsim.errors import shown_lines

__all__ = ["Screen", "screen"]


class Screen(Console):
    """A console on which texts cannot steer the terminal."""

    def render_str(self, text: str, **how: Any) -> Text:
        """As rich does it, control characters and the like spelled out."""
        return super().render_str(shown_lines(text), **how)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # `cli.main` knows what to do with it; rich would exit with 1

    def say(self, line: str) -> None:
        """A line of prose, taken as it is: wrapped between words on a terminal, else not at all."""
        self.print(line, highlight=False, markup=False, soft_wrap=not self.is_terminal)

    def fit(self, table: Table, dropped: Sequence[str] = ()) -> None:
        """A table; while it has no room, without the next of the columns `dropped`."""
        for name in dropped:
            if self.measure(table).maximum <= self.width:
                break
            table.columns = [column for column in table.columns if column.header != name]
        self.print(table)


def screen(width: int) -> Screen:
    """Give the terminal, or a console of `width` columns where the output goes elsewhere."""
    console = Screen()
    return console if console.is_terminal else Screen(width=width)
