"""The console that verbs print their tables on.

The rule: as wide as the terminal, or of a given width where nobody looks; a reader that
stops reading (`apsim run | head`) is not a check that failed.  Names are shown, not obeyed.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
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


def screen(width: int) -> Console:
    """Give the terminal, or a console of `width` columns where the output goes elsewhere."""
    console = Screen()
    return console if console.is_terminal else Screen(width=width)
