"""The console that verbs print their tables on.

The rule: as wide as the terminal; plain and of 80 columns where the output goes elsewhere, and
of $COLUMNS where that is set.  Columns that have no room are left out in a declared order, and
words are never broken.  A reader that stops reading (`apsim run | head`) is not a check that
failed.  Names are shown, not obeyed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from apsim.errors import shown_lines

__all__ = ["Screen", "screen"]

PIPED = 80  # columns where nobody looks
APART = (0, 2, 0, 0)  # between the columns of a plain table


class Screen(Console):
    """A console on which texts cannot steer the terminal."""

    def render_str(self, text: str, **how: Any) -> Text:
        """As rich does it, control characters and the like spelled out."""
        return super().render_str(shown_lines(text), **how)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # `cli.main` knows what to do with it; rich would exit with 1

    def say(self, line: str) -> None:
        """A line of prose, taken as it is: wrapped between words on a terminal, else not at all."""
        if self.is_terminal:
            self.print(line, highlight=False, markup=False)
        else:
            self.out(shown_lines(line), highlight=False)

    def fit(self, table: Table, dropped: Sequence[str] = ()) -> None:
        """A table; while it has no room, without the next of the columns `dropped`.

        Names in the first column, which may be of any length, go on in a second line where even
        that is not enough: never are numbers cut.
        """
        self._plain(table)
        room = self.has_room(table)
        for name in dropped:
            if room:
                break
            kept = [column for column in table.columns if column.header != name]
            table.columns = [replace(column, _index=k) for k, column in enumerate(kept)]
            room = self.has_room(table)
        if not room:
            names, *others = table.columns
            table.columns = [replace(names, no_wrap=False, overflow="fold")]
            table.columns += [
                replace(column, no_wrap=column.no_wrap or column.justify == "right")
                for column in others
            ]
        self._put(table)

    def fit_one(self, make: Callable[[bool], Table], dropped: Sequence[str] = ()) -> None:
        """The whole table, `make(False)`, or where it has no room the short one, `make(True)`."""
        whole = self._plain(make(False))
        if self.has_room(whole):
            self._put(whole)
        else:
            self.fit(make(True), dropped)

    def has_room(self, table: Table) -> bool:
        """Whether no cell need be broken or cut."""
        wide = self.options.update(width=10 * self.width)
        return self.measure(table, options=wide).maximum <= self.width

    def _put(self, table: Table) -> None:
        if self.is_terminal:
            self.print(table)
            return
        with self.capture() as lines:
            self.print(table)
        self.out("\n".join(line.rstrip() for line in lines.get().splitlines()), highlight=False)

    def _plain(self, table: Table) -> Table:
        """Without lines and frames where nobody looks."""
        table.title_justify = "left"
        if not self.is_terminal:
            table.box, table.pad_edge, table.padding = None, False, APART
        return table


def screen() -> Screen:
    """Give the terminal, or a plain console where the output goes elsewhere."""
    console = Screen(emoji=False)
    if console.is_terminal:
        return console
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() and int(columns) else PIPED
    return Screen(width=width, emoji=False)
