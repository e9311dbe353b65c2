"""The console that verbs print their tables on.

The rule: as wide as the terminal, or of a given width where nobody looks; a reader that
stops reading (`apsim run | head`) is not a check that failed.
"""

from __future__ import annotations

from rich.console import Console

__all__ = ["screen"]


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # `cli.main` knows what to do with it; rich would exit with 1


def screen(width: int) -> Console:
    """Give the terminal, or a console of `width` columns where the output goes elsewhere."""
    console = _Screen()
    return console if console.is_terminal else _Screen(width=width)
