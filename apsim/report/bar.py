"""A bar with the time that is left, for whatever takes more than a moment.

The rule: drawn where a person looks and nowhere else; what will take over a minute is said in
one line as soon as its pace is known, wherever the errors go.
"""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from apsim.errors import shown

__all__ = ["Working"]

SETTLED = 2.0  # seconds after which a pace is believed
LONG = 60.0  # seconds from which on a word is said beforehand


class Working:
    """So much work, of which parts are done; used in a `with`."""

    def __init__(self, what: str, total: float) -> None:
        console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task(shown(what), total=total)
        self.total, self.done, self.begun, self.said = total, 0.0, time.monotonic(), False

    def advance(self, by: float, what: str | None = None) -> None:
        """So much more is done, of `what`."""
        self.show(self.done + by, what)

    def show(self, done: float, what: str | None = None) -> None:
        """So much is done in all."""
        self.done = done
        if what is None:
            self.progress.update(self.task, completed=done)
        else:
            self.progress.update(self.task, completed=done, description=shown(what))
        self._estimate(time.monotonic() - self.begun)

    def _estimate(self, passed: float) -> None:
        """Say once how long it will take, where that is long."""
        if self.said or passed < SETTLED or not self.done:
            return
        whole = passed * self.total / self.done
        self.said = True
        if whole > LONG:
            print(f"apsim: this takes about {whole / 60:.0f} min in all", file=sys.stderr)

    def __enter__(self) -> Working:
        self.begun = time.monotonic()
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
