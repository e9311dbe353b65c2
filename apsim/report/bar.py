"""A bar with the time that is left, for whatever takes more than a moment.

The rule: drawn where a person looks and nowhere else.  What will take over a minute is said in
one line before it begins, where the work is known beforehand, and again, or first, as soon as
its pace is measured, wherever the errors go.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console

from apsim.errors import shown

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Working"]

SETTLED = 2.0  # seconds after which a pace is believed
LONG = 60.0  # seconds from which on a word is said beforehand
NEAR = 2.0  # a measured pace is said again where it is so many times off


class Working:
    """So much work, of which parts are done; used in a `with`.

    `total` 0 is work of which nobody knows how much it is.  `expected` seconds are said before it
    begins where they are many.
    """

    def __init__(self, what: str, total: float = 0, expected: float = 0.0) -> None:
        console = Console(stderr=True)
        self.progress = _drawn(console, bool(total)) if console.is_terminal else None
        if self.progress:
            self.task = self.progress.add_task(shown(what), total=total or None)
        self.total, self.done, self.begun = total, 0.0, time.monotonic()
        self.expected, self.settled = expected, not total
        self.first: tuple[float, float] | None = None  # when something was done, and how much

    def advance(self, by: float, what: str | None = None) -> None:
        """So much more is done, of `what`."""
        self.show(self.done + by, what)

    def show(self, done: float, what: str | None = None) -> None:
        """So much is done in all."""
        self.done = done
        if self.progress:
            said = None if what is None else shown(what)
            self.progress.update(self.task, completed=done, description=said)
        self._measure(time.monotonic())

    def turn(self, what: str, total: float) -> Callable[[], None]:
        """Another kind of work begins, so much of it; gives what is told each part that is done."""
        self.total, self.done, self.begun = total, 0.0, time.monotonic()
        self.settled, self.first = not total, None
        if self.progress:
            self.progress.reset(self.task, total=total or None, description=shown(what))
        return lambda: self.advance(1)

    def _measure(self, now: float) -> None:
        """Say once how long it will take, where that is long and was not said already.

        The pace is that of what comes after the first part, which may hold a compiler's time.
        """
        if self.settled or not self.done:
            return
        if self.first is None:
            self.first = now, self.done
            return
        passed, done = now - self.first[0], self.done - self.first[1]
        if passed < SETTLED or not done:
            return
        whole = now - self.begun + passed * (self.total - self.done) / done
        self.settled = True
        if not whole / NEAR < self.expected < whole * NEAR:
            self._say(whole, "")

    def _say(self, seconds: float, why: str) -> None:
        if seconds > LONG:
            line = f"apsim: this takes about {_duration(seconds)} in all{why}"
            if self.progress and self.progress.live.is_started:
                self.progress.console.print(line, markup=False, highlight=False)
            else:
                print(line, file=sys.stderr)

    def __enter__(self) -> Working:
        self.begun = time.monotonic()
        self._say(self.expected, ", as such work went elsewhere")
        if self.progress:
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress:
            self.progress.stop()


def _drawn(console: Console, counts: bool) -> Progress:
    """A bar on a terminal; only what is drawn is imported."""
    from rich import progress

    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        *[progress.TextColumn("{task.percentage:>3.0f}%")] * counts,
        progress.TimeRemainingColumn() if counts else progress.TimeElapsedColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # what is printed goes where it is to go, bar or not
        redirect_stderr=False,
    )


def _duration(seconds: float) -> str:
    """In words of two digits.

    >>> _duration(95.2), _duration(400), _duration(3 * 3600)
    ('95 s', '7 min', '3.0 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
